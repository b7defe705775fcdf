import QtQuick
import QtQuick.Shapes

// A part of an oval line, clockwise from the top; `part` in [0, 1].
Shape {
    id: ring

    property color color: Tokens.accent
    property real part: 1
    property real thickness: 16 * Tokens.u

    preferredRendererType: Shape.CurveRenderer
    visible: part > 0

    ShapePath {
        strokeColor: ring.color
        strokeWidth: ring.thickness
        fillColor: Tokens.none
        capStyle: ring.part < 1 ? ShapePath.RoundCap : ShapePath.FlatCap
        PathAngleArc {
            centerX: ring.width / 2
            centerY: ring.height / 2
            radiusX: ring.width / 2 - ring.thickness / 2
            radiusY: ring.height / 2 - ring.thickness / 2
            startAngle: -90
            sweepAngle: 360 * ring.part
        }
    }
}
