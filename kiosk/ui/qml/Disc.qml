import QtQuick
import QtQuick.Shapes

// What kind of news it is: an icon on a soft disc; while something is under way, an arc goes round it.
Item {
    id: disc

    property string icon: ""
    property string tone: "neutral"
    property bool busy: false
    property real size: 260 * Tokens.u

    implicitWidth: size
    implicitHeight: size

    Rectangle {
        anchors.fill: parent
        radius: width / 2
        color: Tokens.toneSoft(disc.tone)
    }
    Icon {
        anchors.centerIn: parent
        name: disc.icon
        color: Tokens.tone(disc.tone)
        size: disc.size * 0.5
        weight: disc.icon === "dots" ? 3.4 : 1.8
    }
    Item {
        anchors.fill: parent
        visible: disc.busy
        rotation: Tokens.still ? 40 : 0
        Shape {
            anchors.fill: parent
            preferredRendererType: Shape.CurveRenderer
            ShapePath {
                strokeColor: Tokens.tone(disc.tone)
                strokeWidth: 10 * Tokens.u
                fillColor: Tokens.none
                capStyle: ShapePath.RoundCap
                PathAngleArc {
                    centerX: disc.size / 2
                    centerY: disc.size / 2
                    radiusX: disc.size / 2 - 5 * Tokens.u
                    radiusY: radiusX
                    startAngle: -90
                    sweepAngle: 100
                }
            }
        }
        RotationAnimator on rotation {
            running: disc.busy && !Tokens.still
            from: 0
            to: 360
            duration: Tokens.turn
            loops: Animation.Infinite
        }
    }
}
