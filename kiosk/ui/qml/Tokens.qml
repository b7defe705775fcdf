pragma Singleton

import QtQuick

// The one design: colour, space, type, motion. `u` is one pixel of the 1080-wide grid; Main.qml sets it.
QtObject {
    property real u: 1
    property bool dark: false
    property bool still: false

    // Colour. Every pair of text and ground has a contrast of 7:1 or more (tests/ui check the pixels).
    readonly property color ground: dark ? "#0e1216" : "#f7f6f3"
    readonly property color surface: dark ? "#1a2027" : "#ffffff"
    readonly property color line: dark ? "#39424d" : "#dcd9d2"
    readonly property color ink: dark ? "#f4f5f6" : "#15181c"
    readonly property color quiet: dark ? "#b9c0c9" : "#484e56"
    readonly property color accent: dark ? "#a9c1ff" : "#1f3fae"
    readonly property color accentDown: dark ? "#c9d8ff" : "#172f86"
    readonly property color accentInk: dark ? "#0b1738" : "#ffffff"
    readonly property color accentSoft: dark ? "#1b2745" : "#e6ebfa"
    readonly property color good: dark ? "#7fdcab" : "#0a5c3b"
    readonly property color goodSoft: dark ? "#123226" : "#e0f1e8"
    readonly property color careful: dark ? "#f2c56b" : "#6e4300"
    readonly property color carefulSoft: dark ? "#362a12" : "#fbefd6"
    readonly property color bad: dark ? "#ffb1a6" : "#96160f"
    readonly property color badSoft: dark ? "#3d1b17" : "#fbe5e2"
    readonly property color banner: dark ? "#f2c56b" : "#3b2a06"
    readonly property color bannerInk: dark ? "#231800" : "#ffe9b8"
    readonly property color paper: "#ffffff"
    readonly property color none: "transparent"

    function tone(name: string): color {
        return name === "good" ? good : name === "careful" ? careful : name === "bad" ? bad : accent;
    }
    function toneSoft(name: string): color {
        return name === "good" ? goodSoft : name === "careful" ? carefulSoft : name === "bad" ? badSoft : accentSoft;
    }

    // Space.
    readonly property real s1: 8 * u
    readonly property real s2: 16 * u
    readonly property real s3: 24 * u
    readonly property real s4: 32 * u
    readonly property real s5: 48 * u
    readonly property real s6: 72 * u
    readonly property real margin: 72 * u
    readonly property real radius: 32 * u
    readonly property real stroke: 3 * u
    readonly property real buttonHigh: 144 * u
    readonly property real buttonLow: 112 * u
    readonly property real keyHigh: 132 * u

    // Type. Nothing is smaller than 36 on the grid.
    readonly property real small: 36 * u
    readonly property real body: 42 * u
    readonly property real label: 46 * u
    readonly property real heading: 56 * u
    readonly property real title: 80 * u
    readonly property real display: 112 * u
    readonly property real amount: 144 * u
    readonly property int regular: Font.Normal
    readonly property int strong: Font.Bold

    // Motion, ms. `still` is for people who asked for less of it, and for pictures of the screens.
    readonly property int quick: still ? 0 : 180
    readonly property int slow: 900
    readonly property int turn: 1400
}
