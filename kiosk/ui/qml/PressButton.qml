import QtQuick

// One action: icon and word. `weight` is primary, secondary or plain; `tall` stacks the icon over the word.
Item {
    id: button

    property string label: ""
    property string icon: ""
    property string weight: "secondary"
    property bool tall: false
    property real padding: Tokens.s2
    property real labelSize: plain ? Tokens.body : Tokens.label
    readonly property bool touchTarget: true
    readonly property bool primary: weight === "primary"
    readonly property bool plain: weight === "plain"
    readonly property color ink: primary ? Tokens.accentInk : plain ? Tokens.quiet : Tokens.ink

    signal pressed

    implicitHeight: plain ? Tokens.buttonLow : Tokens.buttonHigh
    scale: area.pressed ? 0.985 : 1

    Accessible.role: Accessible.Button
    Accessible.name: label
    Accessible.onPressAction: button.pressed()

    Rectangle {
        anchors.fill: parent
        radius: Tokens.radius
        color: button.primary ? (area.pressed ? Tokens.accentDown : Tokens.accent)
             : area.pressed ? Tokens.accentSoft
             : button.plain ? Tokens.none : Tokens.surface
        border.width: button.primary || button.plain ? 0 : Tokens.stroke
        border.color: Tokens.line
    }

    Column {
        visible: button.tall
        anchors.centerIn: parent
        width: parent.width - 2 * button.padding
        spacing: Tokens.s3
        Icon {
            anchors.horizontalCenter: parent.horizontalCenter
            name: button.icon
            color: button.ink
            size: 120 * Tokens.u
            weight: 1.4
        }
        Words {
            width: parent.width
            text: button.label
            color: button.ink
            font.pixelSize: button.labelSize
            font.weight: Tokens.strong
            lineHeight: 1.05
        }
    }

    Row {
        visible: !button.tall
        anchors.centerIn: parent
        spacing: Tokens.s2
        LayoutMirroring.enabled: button.LayoutMirroring.enabled
        Icon {
            id: mark
            anchors.verticalCenter: parent.verticalCenter
            name: button.icon
            color: button.ink
            size: 50 * Tokens.u
            weight: 1.9
        }
        Words {
            anchors.verticalCenter: parent.verticalCenter
            width: Math.min(implicitWidth, button.width - (mark.visible ? mark.width + Tokens.s2 : 0) - 2 * button.padding)
            text: button.label
            color: button.ink
            font.pixelSize: button.labelSize
            font.weight: Tokens.strong
            lineHeight: 1
        }
    }

    MouseArea {
        id: area
        anchors.fill: parent
        onClicked: button.pressed()
    }
}
