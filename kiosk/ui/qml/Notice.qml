import QtQuick

// Something that must be read: a soft panel with an icon.
Rectangle {
    id: notice

    property string text: ""
    property string tone: "careful"
    property string icon: "warning"

    height: text === "" ? 0 : words.height + 2 * Tokens.s4
    visible: text !== ""
    radius: Tokens.radius
    color: Tokens.toneSoft(tone)

    Icon {
        id: mark
        anchors.left: parent.left
        anchors.leftMargin: Tokens.s4
        anchors.verticalCenter: parent.verticalCenter
        name: notice.icon
        color: Tokens.tone(notice.tone)
        size: 64 * Tokens.u
    }
    Words {
        id: words
        anchors.left: mark.right
        anchors.right: parent.right
        anchors.leftMargin: Tokens.s3
        anchors.rightMargin: Tokens.s4
        anchors.verticalCenter: parent.verticalCenter
        text: notice.text
        horizontalAlignment: Text.AlignLeft
    }
}
