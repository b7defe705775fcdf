import QtQuick

// The frame of every screen: shop on top, time-out at the bottom, and three areas. Portrait: hero, words and controls
// under each other, the controls in the lower half. Landscape: the hero beside the other two.
Item {
    id: page

    property var v
    property var bridge
    property alias hero: heroArea.data
    property alias words: wordArea.data
    property alias controls: controlArea.data
    property bool showShop: true
    property alias clockPaper: clock.paper
    readonly property bool wide: width > height
    readonly property bool alone: v.actions.length === 0 && v.facts.length === 0
    readonly property real innerTop: head.y + head.height
    readonly property real innerBottom: height - 116 * Tokens.u
    readonly property real heroWidth: heroArea.width
    readonly property real heroHeight: heroArea.height

    LayoutMirroring.enabled: v.mirrored
    LayoutMirroring.childrenInherit: true

    Banner {
        id: banner
        width: parent.width
        text: page.v.banner
    }
    Item {
        id: head
        anchors.top: banner.bottom
        width: parent.width
        height: (page.wide ? 92 : 116) * Tokens.u

        Words {
            anchors.left: parent.left
            anchors.right: parent.right
            anchors.leftMargin: Tokens.margin
            anchors.rightMargin: Tokens.margin
            anchors.verticalCenter: parent.verticalCenter
            text: page.showShop ? page.v.shop : ""
            font.pixelSize: Tokens.small
            font.weight: Tokens.strong
            color: Tokens.quiet
            wrapMode: Text.NoWrap
            elide: Text.ElideRight
            horizontalAlignment: Text.AlignHCenter
        }
    }
    Item {
        id: heroArea
        x: page.wide && !page.alone && page.v.mirrored ? parent.width - width - Tokens.margin : Tokens.margin
        y: page.innerTop
        width: page.wide && !page.alone ? parent.width * 0.54 - Tokens.margin : parent.width - 2 * Tokens.margin
        height: page.wide ? page.innerBottom - y
              : (wordArea.height > 0 ? wordArea.y - Tokens.s4 : controlArea.y - Tokens.s4) - y
    }
    Item {
        id: side
        readonly property real stackHeight: wordArea.height + (wordArea.height > 0 ? Tokens.s4 : 0) + controlArea.height
        width: page.wide ? page.width * 0.46 - 2 * Tokens.margin : page.width - 2 * Tokens.margin
        x: !page.wide ? Tokens.margin : page.v.mirrored ? Tokens.margin : page.width - width - Tokens.margin
        y: page.wide ? page.innerTop + (page.innerBottom - page.innerTop - stackHeight) / 2 : page.innerBottom - stackHeight - Tokens.s2
        height: stackHeight
    }
    Item {
        id: wordArea
        x: side.x
        y: side.y
        width: side.width
        height: childrenRect.height
    }
    Item {
        id: controlArea
        x: side.x
        y: side.y + side.height - height
        width: side.width
        height: childrenRect.height
    }
    TimeLeft {
        id: clock
        anchors.bottom: parent.bottom
        width: parent.width
        bridge: page.bridge
    }
}
