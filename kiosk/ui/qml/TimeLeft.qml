import QtQuick

// The visible time-out: words, and a bar that empties on the render thread.
Item {
    id: timeLeft

    property var bridge
    readonly property bool running: bridge.totalMs > 0
    readonly property real deadline: bridge.deadline
    // The ground of the words, where the page's own is a lamp.
    property color paper: Tokens.none

    function restart() {
        empty.stop();
        if (!running)
            return;
        const left = bridge.leftMs / bridge.totalMs;
        fill.x = (left - 1) * width;
        if (Tokens.still)
            return;
        empty.from = fill.x;
        empty.to = -width;
        empty.duration = Math.max(bridge.leftMs, 1);
        empty.start();
    }

    height: 104 * Tokens.u
    visible: running
    clip: true
    onDeadlineChanged: Qt.callLater(restart)
    onWidthChanged: Qt.callLater(restart)
    Component.onCompleted: restart()

    Rectangle {
        anchors.centerIn: left
        width: left.width + 2 * Tokens.s4
        height: left.height + Tokens.s1
        radius: height / 2
        color: timeLeft.paper
    }
    Words {
        id: left
        anchors.horizontalCenter: parent.horizontalCenter
        anchors.top: parent.top
        anchors.topMargin: timeLeft.paper === Tokens.none ? 0 : Tokens.s1
        text: timeLeft.bridge.countdownText
        color: Tokens.quiet
        font.pixelSize: Tokens.small
        font.features: {"tnum": 1}
    }
    Rectangle {
        anchors.bottom: parent.bottom
        width: parent.width
        height: 12 * Tokens.u
        color: Tokens.line
    }
    Rectangle {
        id: fill
        anchors.bottom: parent.bottom
        width: parent.width
        height: 12 * Tokens.u
        color: Tokens.accent
        XAnimator {
            id: empty
            target: fill
        }
    }
}
