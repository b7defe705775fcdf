import QtQuick

// The payer in a soft oval, one hint, a ring that fills; cancel is always there.
Page {
    id: page

    hero: FaceOval {
        readonly property real high: Math.min(parent.height, parent.width * 1.12)
        anchors.centerIn: parent
        height: high
        width: high * 0.8
        bridge: page.bridge
    }
    words: Item {
        width: parent.width
        height: hint.height
        Column {
            id: hint
            width: parent.width
            spacing: Tokens.s2
            Notice {
                width: parent.width
                height: 168 * Tokens.u
                text: page.v.title
                icon: page.v.icon
                tone: "neutral"
                textWeight: Tokens.strong
                textSize: 52 * Tokens.u
            }
            Words {
                width: parent.width
                text: page.v.note
                color: Tokens.quiet
                font.pixelSize: Tokens.small
            }
        }
    }
    controls: Actions {
        width: parent.width
        v: page.v
        bridge: page.bridge
    }
}
