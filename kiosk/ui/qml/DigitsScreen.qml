import QtQuick

// Four digits, or a PIN, on a big keypad.
Page {
    id: page

    hero: Column {
        anchors.centerIn: parent
        width: parent.width
        spacing: Tokens.s4

        Words {
            width: parent.width
            text: page.v.title
            font.pixelSize: page.wide ? Tokens.heading : 72 * Tokens.u
            font.weight: Tokens.strong
            lineHeight: 1.08
        }
        Row {
            anchors.horizontalCenter: parent.horizontalCenter
            spacing: page.v.slots > 6 ? Tokens.s2 : Tokens.s4
            topPadding: Tokens.s2
            bottomPadding: Tokens.s2
            LayoutMirroring.enabled: false
            Repeater {
                model: page.v.slots
                Rectangle {
                    required property int index
                    readonly property bool typed: index < page.v.digits
                    width: Math.min(104 * Tokens.u, 104 * 6 / page.v.slots * Tokens.u)
                    height: 128 * Tokens.u
                    radius: Tokens.s3
                    color: Tokens.surface
                    border.width: (index === page.v.digits ? 2 : 1) * Tokens.stroke
                    border.color: page.v.tone === "bad" ? Tokens.bad : index <= page.v.digits ? Tokens.accent : Tokens.line
                    Rectangle {
                        anchors.centerIn: parent
                        width: Math.min(36 * Tokens.u, parent.width / 2)
                        height: width
                        radius: width / 2
                        color: Tokens.ink
                        visible: parent.typed
                    }
                }
            }
        }
        Words {
            width: parent.width
            text: page.v.tone === "bad" ? "" : page.v.body
            color: Tokens.quiet
        }
        Notice {
            width: parent.width
            text: page.v.tone === "bad" ? page.v.body : ""
            icon: page.v.icon
            tone: page.v.tone
        }
        Words {
            width: parent.width
            text: page.v.note
            color: Tokens.quiet
            font.pixelSize: Tokens.small
        }
    }
    controls: Column {
        width: parent.width
        spacing: Tokens.s3

        Grid {
            id: keys
            readonly property real gap: Tokens.s2
            width: parent.width
            columns: 3
            spacing: gap
            LayoutMirroring.enabled: false
            Repeater {
                model: ["1", "2", "3", "4", "5", "6", "7", "8", "9", "", "0", "erase"]
                Item {
                    id: cell
                    required property string modelData
                    width: (keys.width - 2 * keys.gap) / 3
                    height: (page.wide ? 122 : page.v.actions.length > 2 ? 122 : 128) * Tokens.u
                    PressButton {
                        anchors.fill: parent
                        visible: cell.modelData !== "" && cell.modelData !== "erase"
                        label: cell.modelData
                        labelSize: Tokens.heading
                        onPressed: page.bridge.digit(cell.modelData)
                    }
                    PressButton {
                        anchors.fill: parent
                        visible: cell.modelData === "erase"
                        label: page.v.erase
                        icon: "erase"
                        weight: "plain"
                        labelSize: Tokens.small
                        onPressed: page.bridge.erase()
                    }
                }
            }
        }
        PressButton {
            readonly property var action: page.v.actions[0] ?? ({})
            visible: page.v.actions.length > 2
            enabled: page.v.digits >= 4
            width: parent.width
            implicitHeight: Tokens.buttonLow
            labelSize: Tokens.body
            label: action.label ?? ""
            icon: action.icon ?? ""
            weight: enabled ? (action.weight ?? "plain") : "secondary"
            onPressed: page.bridge.press(action.id)
        }
        Row {
            id: ways
            readonly property int first: Math.max(0, page.v.actions.length - 2)
            width: parent.width
            spacing: Tokens.s3
            Repeater {
                model: Math.min(2, page.v.actions.length)
                PressButton {
                    required property int index
                    readonly property var action: page.v.actions[ways.first + index] ?? ({})
                    width: (ways.width - ways.spacing) * (index === 0 ? 0.62 : 0.38)
                    implicitHeight: Tokens.buttonLow
                    labelSize: Tokens.body
                    label: action.label ?? ""
                    icon: action.icon ?? ""
                    weight: action.weight ?? "plain"
                    onPressed: page.bridge.press(action.id)
                }
            }
        }
    }
}
