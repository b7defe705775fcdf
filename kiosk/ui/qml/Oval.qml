import QtQuick
import QtQuick.Shapes

// A filled oval as large as the item.
Shape {
    id: oval

    property color color: Tokens.accentSoft

    preferredRendererType: Shape.CurveRenderer

    ShapePath {
        strokeWidth: -1
        strokeColor: Tokens.none
        fillColor: oval.color
        PathAngleArc {
            centerX: oval.width / 2
            centerY: oval.height / 2
            radiusX: oval.width / 2
            radiusY: oval.height / 2
            startAngle: 0
            sweepAngle: 360
        }
    }
}
