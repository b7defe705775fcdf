import QtQuick

Page {
    id: page

    showShop: false
    hero: Column {
        anchors.centerIn: parent
        width: parent.width
        spacing: Tokens.s5

        Glance {
            anchors.horizontalCenter: parent.horizontalCenter
            size: (page.wide ? 330 : 480) * Tokens.u
        }
        Column {
            width: parent.width
            spacing: Tokens.s2
            Words {
                width: parent.width
                text: page.v.shop
                color: Tokens.accent
                font.pixelSize: Tokens.label
                font.weight: Tokens.strong
                maximumLineCount: 2
                elide: Text.ElideRight
            }
            Words {
                width: parent.width
                text: page.v.title
                font.pixelSize: Tokens.display
                font.weight: Tokens.strong
                lineHeight: 1.05
            }
        }
        Words {
            width: parent.width
            text: page.v.body
            color: Tokens.quiet
            font.pixelSize: Tokens.label
        }
    }
    controls: Column {
        width: parent.width
        spacing: Tokens.s3

        Rectangle {
            width: parent.width
            height: line.height + 2 * Tokens.s4
            radius: Tokens.radius
            color: Tokens.accentSoft

            Row {
                id: line
                anchors.centerIn: parent
                width: parent.width - 2 * Tokens.s4
                spacing: Tokens.s3
                Icon {
                    id: off
                    anchors.verticalCenter: parent.verticalCenter
                    name: "camera_off"
                    color: Tokens.accent
                    size: 72 * Tokens.u
                }
                Column {
                    width: parent.width - off.width - parent.spacing
                    spacing: Tokens.s1
                    Words {
                        width: parent.width
                        text: page.v.facts[0].label
                        font.weight: Tokens.strong
                        horizontalAlignment: Text.AlignLeft
                    }
                    Words {
                        width: parent.width
                        text: page.v.note
                        font.pixelSize: Tokens.small
                        horizontalAlignment: Text.AlignLeft
                    }
                }
            }
        }
        Actions {
            width: parent.width
            v: page.v
            bridge: page.bridge
        }
        Languages {
            width: parent.width
            v: page.v
            bridge: page.bridge
        }
    }
}
