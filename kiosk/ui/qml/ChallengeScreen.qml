import QtQuick

// The payer in the same oval, and what they are asked to do: a head that does it, words, and an arrow at the side to
// which to turn. The preview is a mirror, so the payer's own left is on the left.
Page {
    id: page

    readonly property real way: v.pose === "left" ? -1 : v.pose === "right" ? 1 : 0

    hero: FaceOval {
        id: oval
        readonly property real high: Math.min(parent.height, parent.width * 1.12)
        anchors.centerIn: parent
        height: high
        width: high * 0.8
        bridge: page.bridge

        Item {
            id: rail
            readonly property real reach: 28 * Tokens.u
            visible: page.way !== 0
            width: 184 * Tokens.u
            height: width
            x: oval.width * (1 + page.way) / 2 - width / 2
            anchors.verticalCenter: parent.verticalCenter

            Rectangle {
                id: arrow
                width: parent.width
                height: parent.height
                radius: width / 2
                color: Tokens.accent
                border.width: 8 * Tokens.u
                border.color: Tokens.ground
                Icon {
                    anchors.centerIn: parent
                    name: page.v.pose === "blink" ? "" : page.v.pose
                    color: Tokens.accentInk
                    size: 104 * Tokens.u
                    weight: 2.4
                }
            }
            SequentialAnimation {
                running: rail.visible && !Tokens.still
                loops: Animation.Infinite
                XAnimator {
                    target: arrow
                    from: 0
                    to: page.way * rail.reach
                    duration: Tokens.slow
                    easing.type: Easing.OutCubic
                }
                XAnimator {
                    target: arrow
                    from: page.way * rail.reach
                    to: 0
                    duration: Tokens.slow
                    easing.type: Easing.InOutCubic
                }
            }
        }
    }
    words: Request {
        width: parent.width
        v: page.v
        lead: HeadFigure {
            pose: page.v.pose
        }
    }
    controls: Actions {
        width: parent.width
        v: page.v
        bridge: page.bridge
    }
}
