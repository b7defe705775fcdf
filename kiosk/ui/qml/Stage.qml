import QtQuick

// Shows the bridge's view. A new layout fades in over the old one, which keeps its last words until it is gone.
Item {
    id: stage

    required property var bridge
    property Loader front: first
    readonly property string layout: bridge.view.layout

    function follow() {
        const v = bridge.view;
        const shows = v.screen + v.pose; // another request is another page: the payer sees that it changed
        if (front.item && front.shows === shows) {
            front.item.v = v;
            return;
        }
        const back = front === first ? second : first;
        const old = front;
        back.shows = shows;
        back.opacity = Tokens.still ? 1 : 0;
        back.setSource(v.layout + ".qml", {"v": v, "bridge": bridge});
        back.z = 1;
        old.z = 0;
        front = back;
        fade.stop();
        if (Tokens.still) {
            old.source = "";
            return;
        }
        fade.gone = old;
        fadeIn.target = back;
        fade.start();
    }

    Component.onCompleted: follow()

    Connections {
        target: stage.bridge
        function onViewChanged() {
            stage.follow();
        }
    }
    Rectangle {
        anchors.fill: parent
        color: Tokens.ground
    }
    Loader {
        id: first
        property string shows: ""
        anchors.fill: parent
    }
    Loader {
        id: second
        property string shows: ""
        anchors.fill: parent
    }
    SequentialAnimation {
        id: fade
        property Loader gone: null
        OpacityAnimator {
            id: fadeIn
            from: 0
            to: 1
            duration: Tokens.quick
        }
        ScriptAction {
            script: {
                fadeIn.target.opacity = 1;
                fade.gone.source = "";
            }
        }
    }
}
