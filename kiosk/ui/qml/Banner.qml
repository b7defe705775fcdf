import QtQuick

// Which mode this is, over every screen that isn't production.
Rectangle {
    id: banner

    property string text: ""

    height: text === "" ? 0 : 76 * Tokens.u
    visible: text !== ""
    color: Tokens.banner

    Row {
        anchors.centerIn: parent
        spacing: Tokens.s2
        Icon {
            anchors.verticalCenter: parent.verticalCenter
            name: "flask"
            color: Tokens.bannerInk
            size: 44 * Tokens.u
        }
        Words {
            anchors.verticalCenter: parent.verticalCenter
            text: banner.text
            color: Tokens.bannerInk
            font.pixelSize: Tokens.small
            font.weight: Tokens.strong
            wrapMode: Text.NoWrap
            lineHeight: 1
        }
    }
}
