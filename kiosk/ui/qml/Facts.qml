import QtQuick

// Labelled lines on a card: label at the start, value at the end; a long value wraps under itself.
Rectangle {
    id: card

    property var facts: []

    implicitHeight: lines.implicitHeight + 2 * Tokens.s3
    radius: Tokens.radius
    color: Tokens.surface
    border.width: Tokens.stroke
    border.color: Tokens.line
    visible: facts.length > 0

    Column {
        id: lines
        anchors.left: parent.left
        anchors.right: parent.right
        anchors.verticalCenter: parent.verticalCenter
        anchors.leftMargin: Tokens.s4
        anchors.rightMargin: Tokens.s4

        Repeater {
            model: card.facts.length
            Item {
                id: line
                required property int index
                readonly property var fact: card.facts[index] ?? ({"label": "", "value": ""})
                width: lines.width
                height: Math.max(value.implicitHeight, name.implicitHeight) + 2 * Tokens.s2

                Words {
                    id: name
                    anchors.left: parent.left
                    y: Tokens.s2
                    text: line.fact.label
                    color: Tokens.quiet
                    horizontalAlignment: Text.AlignLeft
                    wrapMode: Text.NoWrap
                }
                Words {
                    id: value
                    anchors.left: name.right
                    anchors.right: parent.right
                    anchors.leftMargin: Tokens.s4
                    y: Tokens.s2
                    text: line.fact.value
                    font.weight: Tokens.strong
                    horizontalAlignment: Text.AlignRight
                }
                Rectangle {
                    anchors.left: parent.left
                    anchors.right: parent.right
                    height: Tokens.stroke / 2
                    color: Tokens.line
                    visible: line.index > 0
                }
            }
        }
    }
}
