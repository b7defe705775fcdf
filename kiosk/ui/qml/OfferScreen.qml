import QtQuick

// The amount, and ways to pay of exactly equal size; what leads back is below them.
Page {
    id: page

    readonly property bool refused: v.body !== ""
    readonly property int choices: v.actions.length - 1

    hero: Column {
        anchors.centerIn: parent
        width: parent.width
        spacing: Tokens.s3

        Words {
            width: parent.width
            text: page.v.title
            font.pixelSize: page.v.screen === "ways" ? Tokens.title : Tokens.heading
            font.weight: page.v.screen === "ways" ? Tokens.strong : Tokens.regular
            color: page.v.screen === "ways" ? Tokens.ink : Tokens.quiet
            lineHeight: 1.08
        }
        Words {
            objectName: "amount"
            width: parent.width
            height: Tokens.amount * 1.2
            text: page.v.amount
            font.pixelSize: page.v.screen === "ways" ? Tokens.display : Tokens.amount
            minimumPixelSize: Tokens.heading
            fontSizeMode: Text.HorizontalFit
            font.weight: Tokens.strong
            font.features: {"tnum": 1}
            wrapMode: Text.NoWrap
        }
        Words {
            width: parent.width
            text: page.v.facts.length > 0 ? page.v.facts[0].value : ""
            font.pixelSize: Tokens.heading
            lineHeight: 1.1
        }
    }
    words: Notice {
        width: parent.width
        title: page.refused ? page.v.note : ""
        text: page.v.body
        tone: page.v.tone
    }
    controls: Column {
        width: parent.width
        spacing: Tokens.s3

        Words {
            width: parent.width
            text: page.refused ? "" : page.v.note
            color: Tokens.quiet
            font.pixelSize: Tokens.small
            bottomPadding: Tokens.s2
        }
        Grid {
            id: choice
            readonly property bool pair: page.choices === 2
            width: parent.width
            columns: pair ? 2 : 1
            spacing: Tokens.s3
            Repeater {
                model: page.choices
                PressButton {
                    required property int index
                    readonly property var action: page.v.actions[index] ?? ({})
                    objectName: "choice"
                    width: choice.pair ? (choice.width - choice.spacing) / 2 : choice.width
                    implicitHeight: (choice.pair ? 320 : 144) * Tokens.u
                    tall: choice.pair
                    labelSize: page.wide && choice.pair ? Tokens.body : Tokens.label
                    label: action.label ?? ""
                    icon: action.icon ?? ""
                    weight: "primary"
                    onPressed: page.bridge.press(action.id)
                }
            }
        }
        Actions {
            width: parent.width
            v: page.v
            bridge: page.bridge
            first: page.choices
        }
        Languages {
            width: parent.width
            v: page.v
            bridge: page.bridge
            visible: page.v.languages.length > 0
        }
    }
}
