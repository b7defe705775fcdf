import QtQuick
import QtQuick.Shapes

// The product's mark: an oval that looks back. It rests: an idle kiosk draws nothing.
Item {
    id: glance

    property real size: 480 * Tokens.u

    implicitWidth: size * 0.86
    implicitHeight: size

    Repeater {
        model: 3
        Oval {
            required property int index
            anchors.centerIn: parent
            width: glance.width * (1 - 0.17 * index)
            height: glance.height * (1 - 0.17 * index)
            color: index === 2 ? Tokens.surface : Tokens.accentSoft
            opacity: index === 0 ? 0.55 : 1
        }
    }
    Shape {
        id: drawing
        width: 24
        height: 24
        scale: glance.size / 40
        transformOrigin: Item.TopLeft
        x: (glance.width - 24 * scale) / 2
        y: (glance.height - 24 * scale) / 2
        preferredRendererType: Shape.CurveRenderer
        ShapePath {
            strokeColor: Tokens.accent
            strokeWidth: 1.15
            fillColor: Tokens.none
            capStyle: ShapePath.RoundCap
            joinStyle: ShapePath.RoundJoin
            PathSvg {
                path: "M7.6 8.4 v1.8 M16.4 8.4 v1.8 M6.9 15 c1.4 2 3.1 3 5.1 3 s3.7 -1 5.1 -3"
            }
        }
    }
    Shape {
        anchors.fill: parent
        preferredRendererType: Shape.CurveRenderer
        ShapePath {
            strokeColor: Tokens.accent
            strokeWidth: 12 * Tokens.u
            fillColor: Tokens.none
            capStyle: ShapePath.RoundCap
            PathAngleArc {
                centerX: glance.width / 2
                centerY: glance.height / 2
                radiusX: glance.width * 0.415
                radiusY: glance.height * 0.415
                startAngle: -70
                sweepAngle: 230
            }
        }
    }
}
