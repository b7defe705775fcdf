import QtQuick
import QtQuick.Shapes
import Kiosk

// The payer in a soft oval, one hint, a ring that fills; cancel is always there.
Page {
    id: page

    hero: Item {
        id: stage
        readonly property real high: Math.min(parent.height, parent.width * 1.12)
        anchors.centerIn: parent
        height: high
        width: high * 0.8

        Oval {
            anchors.fill: parent
            anchors.margins: 34 * Tokens.u
            visible: !preview.filled
            Icon {
                anchors.centerIn: parent
                name: "person"
                color: Tokens.accent
                size: stage.width * 0.4
                weight: 1
            }
        }
        FacePreview {
            id: preview
            readonly property bool filled: page.bridge.hasPicture
            anchors.fill: parent
            anchors.margins: 30 * Tokens.u
            bridge: page.bridge
        }
        Ring {
            anchors.fill: parent
            color: Tokens.line
            part: 1
        }
        Ring {
            objectName: "ring"
            anchors.fill: parent
            color: Tokens.accent
            part: page.bridge.progress
        }
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
