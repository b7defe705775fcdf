import QtQuick
import Kiosk

// News: what happened, what it means for the money, what to do now.
Page {
    id: page

    hero: Column {
        anchors.centerIn: parent
        width: parent.width
        spacing: Tokens.s4

        Rectangle {
            anchors.horizontalCenter: parent.horizontalCenter
            width: (page.wide ? 500 : 620) * Tokens.u
            height: width
            radius: Tokens.radius
            color: Tokens.paper
            border.width: Tokens.stroke
            border.color: Tokens.line
            visible: page.v.qr !== ""
            QrCode {
                anchors.fill: parent
                anchors.margins: Tokens.s1
                text: page.v.qr
            }
        }
        Disc {
            anchors.horizontalCenter: parent.horizontalCenter
            icon: page.v.icon
            tone: page.v.tone
            busy: page.v.busy
            size: (page.wide ? 200 : 240) * Tokens.u
            visible: page.v.qr === ""
        }
        Words {
            width: parent.width
            text: page.v.title
            font.pixelSize: Tokens.title
            font.weight: Tokens.strong
            lineHeight: 1.06
        }
        Words {
            objectName: "amount"
            width: parent.width
            text: page.v.qr === "" ? page.v.amount : ""
            font.pixelSize: Tokens.display
            minimumPixelSize: Tokens.heading
            fontSizeMode: Text.HorizontalFit
            font.weight: Tokens.strong
            font.features: {"tnum": 1}
            wrapMode: Text.NoWrap
            lineHeight: 1
        }
        Words {
            width: parent.width
            text: page.v.body
            color: Tokens.quiet
            font.pixelSize: Tokens.label
        }
        Words {
            width: parent.width
            text: page.v.note
            font.weight: Tokens.strong
        }
    }
    words: Facts {
        width: parent.width
        height: visible ? implicitHeight : 0
        facts: page.v.facts
    }
    controls: Actions {
        width: parent.width
        v: page.v
        bridge: page.bridge
    }
}
