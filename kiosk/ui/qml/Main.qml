import QtQuick

// The root: sets the grid, and turns the picture where the panel hangs the other way round.
Item {
    id: root

    required property var bridge
    property string orientation: "auto"
    readonly property bool turned: (orientation === "portrait" && width > height) || (orientation === "landscape" && height > width)
    readonly property real shortSide: Math.min(width, height)
    readonly property real longSide: Math.max(width, height)

    Binding {
        target: Tokens
        property: "u"
        value: Math.min(root.shortSide / 1080, root.longSide / 1920)
    }
    Binding {
        target: Tokens
        property: "dark"
        value: root.bridge.dark || root.bridge.view.night
    }
    Binding {
        target: Tokens
        property: "still"
        value: root.bridge.reducedMotion
    }
    Stage {
        anchors.centerIn: parent
        width: root.turned ? root.height : root.width
        height: root.turned ? root.width : root.height
        rotation: root.turned ? 90 : 0
        bridge: root.bridge
    }
}
