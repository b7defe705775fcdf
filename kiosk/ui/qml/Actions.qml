import QtQuick

// The view's buttons from `first` on, one under the other. The delegates outlive a change of words: a press that
// began before it still counts.
Column {
    id: actions

    property var v
    property var bridge
    property int first: 0

    spacing: Tokens.s3

    Repeater {
        model: Math.max(actions.v.actions.length - actions.first, 0)
        PressButton {
            required property int index
            readonly property var action: actions.v.actions[index + actions.first] ?? ({})
            width: actions.width
            label: action.label ?? ""
            icon: action.icon ?? ""
            weight: action.weight ?? "plain"
            onPressed: actions.bridge.press(action.id)
        }
    }
}
