import QtQuick
import QtQuick.Shapes

// A line drawing on a 24 x 24 grid, drawn for this product.
Item {
    id: icon

    property string name: ""
    property color color: Tokens.ink
    property real size: 56 * Tokens.u
    property real weight: 1.7
    // Arrows along the line of reading turn with it; all others must not.
    property bool directional: name === "back" || name === "exit"

    implicitWidth: size
    implicitHeight: size
    visible: name !== ""
    transform: Scale {
        origin.x: icon.size / 2
        xScale: icon.directional && icon.LayoutMirroring.enabled ? -1 : 1
    }

    readonly property var paths: ({
        "face": "M3.5 8 V6.5 a3 3 0 0 1 3 -3 H8 M16 3.5 h1.5 a3 3 0 0 1 3 3 V8 M20.5 16 v1.5 a3 3 0 0 1 -3 3 H16 M8 20.5 H6.5 a3 3 0 0 1 -3 -3 V16 M8.7 9.3 v1.4 M15.3 9.3 v1.4 M8.4 14.6 c1 1.3 2.2 1.9 3.6 1.9 s2.6 -.6 3.6 -1.9",
        "wallet": "M5.5 7.5 h12.5 a2.5 2.5 0 0 1 2.5 2.5 v7 a2.5 2.5 0 0 1 -2.5 2.5 h-12 a2.5 2.5 0 0 1 -2.5 -2.5 v-10 a2.5 2.5 0 0 1 2.5 -2.5 h10 v3 M20.5 12 h-4 a1.6 1.6 0 0 0 0 3.2 h4",
        "cross": "M6 6 L18 18 M18 6 L6 18",
        "check": "M4.5 12.8 L9.8 18 L19.5 6.8",
        "back": "M19.5 12 H5 M11 5.8 L4.8 12 L11 18.2",
        "again": "M19.5 12 a7.5 7.5 0 1 1 -2.4 -5.5 M19.8 3.6 v4 h-4",
        "undo": "M8.5 4.5 L4.5 8.5 L8.5 12.5 M4.5 8.5 h9.5 a5.5 5.5 0 0 1 0 11 h-5",
        "shield": "M12 3.2 L19 6 v5.4 c0 4.3 -2.7 7.4 -7 9.4 c-4.3 -2 -7 -5.1 -7 -9.4 V6 Z M9 11.8 l2.2 2.2 L15.2 9.6",
        "camera": "M3.5 8.5 a2 2 0 0 1 2 -2 h2.3 l1.4 -2.2 h5.6 l1.4 2.2 h2.3 a2 2 0 0 1 2 2 v8.5 a2 2 0 0 1 -2 2 h-13 a2 2 0 0 1 -2 -2 Z M15.6 12.6 a3.6 3.6 0 1 1 -7.2 0 a3.6 3.6 0 1 1 7.2 0",
        "camera_off": "M7 6.5 h.8 l1.4 -2.2 h5.6 l1.4 2.2 h2.3 a2 2 0 0 1 2 2 v8.2 M18.2 19 H5.5 a2 2 0 0 1 -2 -2 V8.5 a2 2 0 0 1 .8 -1.6 M3.5 3 L20.5 21 M14.6 15 a3.6 3.6 0 0 1 -5.2 -5",
        "numbers": "M9.5 4 L7.5 20 M16.5 4 L14.5 20 M4.5 9 H20 M4 15 H19.5",
        "person": "M15.8 8 a3.8 3.8 0 1 1 -7.6 0 a3.8 3.8 0 1 1 7.6 0 M4.8 20 c.6 -4 3.4 -6 7.2 -6 s6.6 2 7.2 6",
        "exit": "M10 4 H6.5 a2 2 0 0 0 -2 2 v12 a2 2 0 0 0 2 2 H10 M10 12 H20 M15.8 7.6 L20.2 12 L15.8 16.4",
        "wrench": "M14.2 6.2 a4.6 4.6 0 0 1 5.6 -2 l-2.9 2.9 v2.2 h2.2 L22 6.4 a4.6 4.6 0 0 1 -6.3 5.3 L8 19.4 a2.2 2.2 0 0 1 -3.2 -3.2 L12.5 8.5 a4.6 4.6 0 0 1 1.7 -2.3",
        "till": "M4 19.5 h16 v-4.5 h-16 Z M6 15 L7.2 8.5 h9.6 L18 15 M9 8.5 V4.5 h8 v4 M9.6 11.6 h.1 M12 11.6 h.1 M14.4 11.6 h.1",
        "qr": "M4 4 h6 v6 h-6 Z M14 4 h6 v6 h-6 Z M4 14 h6 v6 h-6 Z M14 14 h2.2 v2.2 M20 14 v2.6 M14 20 h2 M19.9 20 h.1 M17 17.6 h.1",
        "printer": "M7 9 V4 h10 v5 M7 17 H5.5 a2 2 0 0 1 -2 -2 v-4 a2 2 0 0 1 2 -2 h13 a2 2 0 0 1 2 2 v4 a2 2 0 0 1 -2 2 H17 M7 14 h10 v6 H7 Z",
        "phone": "M8.5 3 h7 a2 2 0 0 1 2 2 v14 a2 2 0 0 1 -2 2 h-7 a2 2 0 0 1 -2 -2 V5 a2 2 0 0 1 2 -2 M11 18 h2",
        "warning": "M12 4 L21 19.5 H3 Z M12 10 v4.5 M12 17 h.05",
        "eye": "M2.5 12 c2.4 -4.2 5.6 -6.3 9.5 -6.3 s7.1 2.1 9.5 6.3 c-2.4 4.2 -5.6 6.3 -9.5 6.3 s-7.1 -2.1 -9.5 -6.3 M15 12 a3 3 0 1 1 -6 0 a3 3 0 1 1 6 0",
        "closer": "M4 9.5 h5.5 V4 M20 9.5 h-5.5 V4 M4 14.5 h5.5 V20 M20 14.5 h-5.5 V20",
        "further": "M9.5 4 H4 v5.5 M14.5 4 H20 v5.5 M9.5 20 H4 v-5.5 M14.5 20 H20 v-5.5",
        "light": "M16 12 a4 4 0 1 1 -8 0 a4 4 0 1 1 8 0 M12 2.5 v2 M12 19.5 v2 M2.5 12 h2 M19.5 12 h2 M5.3 5.3 l1.4 1.4 M17.3 17.3 l1.4 1.4 M18.7 5.3 l-1.4 1.4 M6.7 17.3 l-1.4 1.4",
        "pause": "M9 5.5 v13 M15 5.5 v13",
        "left": "M19.5 12 H5 M11 5.8 L4.8 12 L11 18.2",
        "right": "M4.5 12 H19 M13 5.8 L19.2 12 L13 18.2",
        "hourglass": "M6 3.5 h12 M6 20.5 h12 M7.5 3.5 v3.5 c0 2.6 4.5 3.4 4.5 5 s-4.5 2.4 -4.5 5 v3.5 M16.5 3.5 v3.5 c0 2.6 -4.5 3.4 -4.5 5 s4.5 2.4 4.5 5 v3.5",
        "offline": "M3 4 L21 20 M8 8.2 A5.5 5.5 0 0 0 6.8 9.4 A4.3 4.3 0 0 0 7.5 18 H18 M11 6.9 a5.6 5.6 0 0 1 6.3 4.2 a3.6 3.6 0 0 1 3.2 4.9",
        "question": "M8.2 8.6 a3.9 3.9 0 1 1 5.8 3.6 c-1.3 .8 -2 1.6 -2 3 M12 19.2 h.05",
        "limit": "M4.5 4.5 h15 M12 20 V9 M7.2 13.4 L12 8.6 L16.8 13.4",
        "dots": "M6 12 h.05 M12 12 h.05 M18 12 h.05",
        "erase": "M8.5 5.5 H19 a2 2 0 0 1 2 2 v9 a2 2 0 0 1 -2 2 H8.5 L2.8 12 Z M11.5 9.5 l5 5 M16.5 9.5 l-5 5",
        "flask": "M9 3.5 h6 M10 3.5 v6 L4.8 18 a1.8 1.8 0 0 0 1.6 2.6 h11.2 a1.8 1.8 0 0 0 1.6 -2.6 L14 9.5 v-6 M7.4 14.5 h9.2",
        "globe": "M21 12 a9 9 0 1 1 -18 0 a9 9 0 1 1 18 0 M3 12 h18 M12 3 c3 2.6 4.2 5.6 4.2 9 s-1.2 6.4 -4.2 9 c-3 -2.6 -4.2 -5.6 -4.2 -9 s1.2 -6.4 4.2 -9"
    })

    Shape {
        width: 24
        height: 24
        scale: icon.size / 24
        transformOrigin: Item.TopLeft
        preferredRendererType: Shape.CurveRenderer

        ShapePath {
            strokeColor: icon.color
            strokeWidth: icon.weight
            fillColor: Tokens.none
            capStyle: ShapePath.RoundCap
            joinStyle: ShapePath.RoundJoin
            PathSvg {
                path: icon.paths[icon.name] ?? ""
            }
        }
    }
}
