import QtQuick

// Amount, payee, masked payer, one press.
Page {
    id: page

    hero: Column {
        anchors.centerIn: parent
        width: parent.width
        spacing: Tokens.s3

        Words {
            width: parent.width
            text: page.v.title
            font.pixelSize: Tokens.heading
            color: Tokens.quiet
        }
        Words {
            objectName: "amount"
            width: parent.width
            height: Tokens.amount * 1.2
            text: page.v.amount
            font.pixelSize: Tokens.amount
            minimumPixelSize: Tokens.heading
            fontSizeMode: Text.HorizontalFit
            font.weight: Tokens.strong
            font.features: {"tnum": 1}
            wrapMode: Text.NoWrap
        }
        Facts {
            width: parent.width
            facts: page.v.facts
        }
        Words {
            width: parent.width
            text: page.wide ? "" : page.v.note
            color: Tokens.quiet
            font.pixelSize: Tokens.small
            topPadding: Tokens.s2
        }
    }
    controls: Column {
        width: parent.width
        spacing: Tokens.s3
        Words {
            width: parent.width
            text: page.wide ? page.v.note : ""
            color: Tokens.quiet
            font.pixelSize: Tokens.small
        }
        Words {
            width: parent.width
            text: page.v.body
            color: Tokens.quiet
            font.pixelSize: Tokens.small
            bottomPadding: Tokens.s1
        }
        Actions {
            width: parent.width
            v: page.v
            bridge: page.bridge
        }
    }
}
