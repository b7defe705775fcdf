import QtQuick

Page {
    id: page

    hero: Column {
        anchors.centerIn: parent
        width: parent.width
        spacing: (page.wide ? 26 : 56) * Tokens.u

        Words {
            width: parent.width
            text: page.v.title
            font.pixelSize: Tokens.title
            font.weight: Tokens.strong
            lineHeight: 1.05
            visible: !page.wide
        }
        Repeater {
            model: page.v.sections.length
            Row {
                id: entry
                required property int index
                readonly property var section: page.v.sections[index]
                width: parent.width
                spacing: Tokens.s4
                Disc {
                    id: mark
                    size: (page.wide ? 112 : 128) * Tokens.u
                    icon: entry.section.icon
                }
                Column {
                    width: parent.width - mark.width - parent.spacing
                    anchors.verticalCenter: parent.verticalCenter
                    spacing: Tokens.s1
                    Words {
                        width: parent.width
                        text: entry.section.title
                        font.pixelSize: Tokens.label
                        font.weight: Tokens.strong
                        horizontalAlignment: Text.AlignLeft
                        lineHeight: 1.05
                    }
                    Words {
                        width: parent.width
                        text: entry.section.body
                        color: Tokens.quiet
                        font.pixelSize: page.wide ? Tokens.small : Tokens.body
                        horizontalAlignment: Text.AlignLeft
                        lineHeight: page.wide ? 1.1 : 1.18
                    }
                }
            }
        }
    }
    words: Column {
        width: parent.width
        spacing: Tokens.s4
        Words {
            width: parent.width
            text: page.v.title
            font.pixelSize: Tokens.title
            font.weight: Tokens.strong
            visible: page.wide
        }
        Words {
            width: parent.width
            text: page.v.note
            color: Tokens.quiet
            font.pixelSize: Tokens.small
        }
    }
    controls: Actions {
        width: parent.width
        v: page.v
        bridge: page.bridge
    }
}
