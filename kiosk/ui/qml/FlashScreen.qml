import QtQuick

// The screen as a lamp: announced in calm, then every colour over all of it. Words and buttons keep grounds of their own,
// dark ones, so that they can be read on any colour and light the face little; so does the smaller oval.
Page {
    id: page

    showShop: false
    clockPaper: Tokens.surface

    Rectangle {
        objectName: "lamp"
        z: -1
        width: page.width
        height: page.height
        color: page.v.colour === "" ? Tokens.ground : page.v.colour
    }
    hero: FaceOval {
        readonly property real high: Math.min(parent.height, parent.width * 1.12) * 0.74
        anchors.centerIn: parent
        height: high
        width: high * 0.8
        bridge: page.bridge
    }
    words: Request {
        width: parent.width
        v: page.v
        leadSize: 144 * Tokens.u
        lead: Disc {
            anchors.fill: parent
            size: parent.width
            icon: page.v.count === "" ? "eye" : ""
            Words {
                objectName: "count"
                anchors.centerIn: parent
                text: page.v.count
                color: Tokens.accent
                font.pixelSize: Tokens.display
                font.weight: Tokens.strong
                font.features: {"tnum": 1}
                lineHeight: 1
            }
        }
    }
    controls: Actions {
        width: parent.width
        v: page.v
        bridge: page.bridge
    }
}
