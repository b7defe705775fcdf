import QtQuick

// Something that must be read: a soft panel with an icon, a heading if there is one, and words.
Rectangle {
    id: notice

    property string title: ""
    property string text: ""
    property string tone: "careful"
    property string icon: "warning"
    property color ground: Tokens.toneSoft(tone)
    property int textWeight: Tokens.regular
    property real textSize: Tokens.body

    height: visible ? Math.max(words.height + 2 * Tokens.s3, 136 * Tokens.u) : 0
    visible: text !== ""
    radius: Tokens.radius
    color: ground

    Icon {
        id: mark
        anchors.left: parent.left
        anchors.leftMargin: Tokens.s4
        anchors.verticalCenter: parent.verticalCenter
        name: notice.icon
        color: Tokens.tone(notice.tone)
        size: 72 * Tokens.u
        weight: 1.8
    }
    Column {
        id: words
        anchors.left: mark.right
        anchors.right: parent.right
        anchors.leftMargin: Tokens.s4
        anchors.rightMargin: Tokens.s4
        anchors.verticalCenter: parent.verticalCenter
        spacing: Tokens.s1
        Words {
            width: parent.width
            text: notice.title
            font.weight: Tokens.strong
            horizontalAlignment: Text.AlignLeft
        }
        Words {
            width: parent.width
            text: notice.text
            font.pixelSize: notice.textSize
            font.weight: notice.textWeight
            horizontalAlignment: Text.AlignLeft
        }
    }
}
