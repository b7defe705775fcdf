import QtQuick

// Text of the product: plain, never cut in silence, mirrored with its page.
Text {
    color: Tokens.ink
    font.pixelSize: Tokens.body
    font.weight: Tokens.regular
    lineHeight: 1.18
    textFormat: Text.PlainText
    wrapMode: Text.Wrap
    horizontalAlignment: Text.AlignHCenter
    verticalAlignment: Text.AlignVCenter
    visible: text !== ""
}
