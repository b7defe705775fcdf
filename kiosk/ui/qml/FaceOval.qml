import QtQuick
import QtQuick.Shapes
import Kiosk

// The payer in a soft oval as in a mirror, and the ring around it that fills.
Item {
    id: oval

    property var bridge

    Oval {
        anchors.fill: parent
        anchors.margins: 34 * Tokens.u
        visible: !preview.filled
        Icon {
            anchors.centerIn: parent
            name: "person"
            color: Tokens.accent
            size: oval.width * 0.4
            weight: 1
        }
    }
    FacePreview {
        id: preview
        readonly property bool filled: oval.bridge.hasPicture
        anchors.fill: parent
        anchors.margins: 30 * Tokens.u
        bridge: oval.bridge
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
        part: oval.bridge.progress
    }
}
