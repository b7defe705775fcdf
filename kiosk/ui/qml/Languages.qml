import QtQuick

// The languages, each in its own name; the chosen one is marked by a tick as well.
Row {
    id: languages

    property var v
    property var bridge

    spacing: Tokens.s3

    Repeater {
        model: languages.v.languages.length
        PressButton {
            required property int index
            readonly property var choice: languages.v.languages[index]
            width: (languages.width - languages.spacing * (languages.v.languages.length - 1)) / languages.v.languages.length
            implicitHeight: Tokens.buttonLow
            label: choice.name
            icon: choice.chosen ? "check" : ""
            weight: choice.chosen ? "secondary" : "plain"
            onPressed: languages.bridge.choose(choice.code)
        }
    }
}
