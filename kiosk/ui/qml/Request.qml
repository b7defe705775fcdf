import QtQuick

// What the payer is asked to do: `lead` shows it, the words say it; below them what to mend first, or why it is asked.
Rectangle {
    id: request

    property var v
    property alias lead: leadArea.data
    property real leadSize: 208 * Tokens.u

    height: Math.max(words.height + 2 * Tokens.s3, 312 * Tokens.u)
    radius: Tokens.radius
    color: Tokens.accentSoft

    Item {
        id: leadArea
        anchors.left: parent.left
        anchors.leftMargin: Tokens.s4
        anchors.verticalCenter: parent.verticalCenter
        width: request.leadSize
        height: request.leadSize
    }
    Column {
        id: words
        anchors.left: leadArea.right
        anchors.right: parent.right
        anchors.leftMargin: Tokens.s4
        anchors.rightMargin: Tokens.s4
        anchors.verticalCenter: parent.verticalCenter
        spacing: Tokens.s2
        Words {
            width: parent.width
            text: request.v.title
            font.pixelSize: 52 * Tokens.u
            font.weight: Tokens.strong
            lineHeight: 1.12
            horizontalAlignment: Text.AlignLeft
        }
        Row {
            spacing: Tokens.s2
            visible: request.v.body !== ""
            Icon {
                id: mark
                anchors.verticalCenter: parent.verticalCenter
                name: request.v.icon
                color: Tokens.tone(request.v.tone)
                size: 48 * Tokens.u
                weight: 1.9
            }
            Words {
                anchors.verticalCenter: parent.verticalCenter
                width: words.width - mark.width - parent.spacing
                text: request.v.body
                font.pixelSize: Tokens.small
                horizontalAlignment: Text.AlignLeft
            }
        }
    }
}
