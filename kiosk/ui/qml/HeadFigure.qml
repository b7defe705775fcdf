import QtQuick
import QtQuick.Shapes

// A drawn head that does what is asked, as the payer would see themselves in a mirror: it turns to `left` or `right`
// and back, or it closes and opens its eyes. It moves on the render thread; where motion is reduced it holds the pose.
Item {
    id: figure

    property string pose: ""
    property real size: 208 * Tokens.u
    property color color: Tokens.accent
    readonly property real unit: size / 24
    readonly property bool blinks: pose === "blink"
    readonly property real way: pose === "left" ? -1 : pose === "right" ? 1 : 0
    readonly property bool moves: pose !== "" && !Tokens.still

    implicitWidth: size
    implicitHeight: size

    component Line: Shape {
        property alias path: svg.path
        width: 24
        height: 24
        scale: figure.unit
        transformOrigin: Item.TopLeft
        preferredRendererType: Shape.CurveRenderer
        ShapePath {
            strokeColor: figure.color
            strokeWidth: 1.15
            fillColor: Tokens.none
            capStyle: ShapePath.RoundCap
            joinStyle: ShapePath.RoundJoin
            PathSvg {
                id: svg
            }
        }
    }

    // From the middle to the side and back, with rests in which one can follow.
    component Sway: SequentialAnimation {
        id: sway
        property Item part
        property real far
        running: figure.moves && figure.way !== 0
        loops: Animation.Infinite
        PauseAnimation {
            duration: Tokens.slow / 2
        }
        XAnimator {
            target: sway.part
            from: 0
            to: sway.far
            duration: Tokens.slow
            easing.type: Easing.InOutCubic
        }
        PauseAnimation {
            duration: Tokens.slow / 2
        }
        XAnimator {
            target: sway.part
            from: sway.far
            to: 0
            duration: Tokens.slow
            easing.type: Easing.InOutCubic
        }
    }

    component Blink: SequentialAnimation {
        id: blink
        property Item part
        property real seen
        running: figure.moves && figure.blinks
        loops: Animation.Infinite
        PauseAnimation {
            duration: Tokens.slow
        }
        OpacityAnimator {
            target: blink.part
            from: 1 - blink.seen
            to: blink.seen
            duration: Tokens.quick / 2
        }
        PauseAnimation {
            duration: Tokens.quick
        }
        OpacityAnimator {
            target: blink.part
            from: blink.seen
            to: 1 - blink.seen
            duration: Tokens.quick / 2
        }
    }

    Line {
        path: "M12 1.6 c4.6 0 7.9 3.8 7.9 9.3 c0 6.4 -3.5 11.5 -7.9 11.5 s-7.9 -5.1 -7.9 -11.5 c0 -5.5 3.3 -9.3 7.9 -9.3"
    }
    Item {
        id: eyes
        readonly property real far: figure.way * 2.3 * figure.unit
        x: figure.moves ? 0 : far
        width: figure.size
        height: figure.size
        Line {
            id: open
            opacity: figure.blinks && !figure.moves ? 0 : 1
            path: "M10 10 a1.1 1.1 0 1 1 -2.2 0 a1.1 1.1 0 1 1 2.2 0 M16.2 10 a1.1 1.1 0 1 1 -2.2 0 a1.1 1.1 0 1 1 2.2 0"
        }
        Line {
            id: shut
            opacity: figure.blinks && !figure.moves ? 1 : 0
            path: "M7.1 9.8 c.5 .9 3.1 .9 3.6 0 M13.3 9.8 c.5 .9 3.1 .9 3.6 0"
        }
        Line {
            path: "M9.6 17.2 c1.5 1 3.3 1 4.8 0"
        }
    }
    Item {
        id: nose
        readonly property real far: figure.way * 3.7 * figure.unit
        x: figure.moves ? 0 : far
        width: figure.size
        height: figure.size
        Line {
            path: figure.way < 0 ? "M12 11 c-.4 1.4 -1 2.4 -1.4 3 c.3 .5 .9 .6 1.6 .6"
                : figure.way > 0 ? "M12 11 c.4 1.4 1 2.4 1.4 3 c-.3 .5 -.9 .6 -1.6 .6"
                : "M10.9 14.3 c.6 .5 1.6 .5 2.2 0"
        }
    }
    Sway {
        part: eyes
        far: eyes.far
    }
    Sway {
        part: nose
        far: nose.far
    }
    Blink {
        part: open
        seen: 0
    }
    Blink {
        part: shut
        seen: 1
    }
}
