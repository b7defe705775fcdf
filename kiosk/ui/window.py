"""The window: one application, the shipped fonts, the QML stage. The Qt main thread draws and never waits.

`application()` first (once), then a `Bridge`, then `run_window`. Without a display the same code runs with
`QT_QPA_PLATFORM=offscreen`; `stage` alone makes a window that nobody shows, for pictures and tests.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import PySide6.QtQuick  # noqa: F401 (before QGuiApplication: QQuickView's grabWindow needs it)
from PySide6.QtCore import QCoreApplication, QEvent, QSize, QSocketNotifier, QUrl
from PySide6.QtGui import QFont, QFontDatabase, QGuiApplication
from PySide6.QtQuick import QQuickView

from kiosk.assets import assets_dir
from kiosk.domain.errors import OperatorError
from kiosk.ui.bridge import Bridge
from kiosk.ui.preview import register_types

__all__ = [
    "FAMILIES",
    "Orientation",
    "application",
    "fonts_dir",
    "has_display",
    "run_window",
    "stage",
    "unload",
]

Orientation = Literal["auto", "portrait", "landscape"]
"""How people see the picture; on a panel that hangs the other way round it is turned by a quarter."""

FAMILIES: Final = ("Kiosk Sans", "Kiosk Hans")
"""The fonts that ship: Latin first, so that digits look the same in every language."""
QML: Final = Path(__file__).parent / "qml"
WINDOW_PX: Final = {"portrait": QSize(540, 960), "landscape": QSize(960, 540)}


def has_display() -> bool:
    """Whether Qt is told where to draw; where it finds no screen it ends the process by itself."""
    return any(os.environ.get(name) for name in ("QT_QPA_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY"))


def fonts_dir() -> Path:
    """Where the fonts are."""
    return assets_dir() / "fonts"


def application() -> QGuiApplication:
    """The one application object, with the fonts that ship. Raises OperatorError when one can't be read."""
    app = QGuiApplication.instance()
    if not isinstance(app, QGuiApplication):
        for cache in ("QML_DISABLE_DISK_CACHE", "QSG_RHI_DISABLE_DISK_CACHE"):
            os.environ.setdefault(cache, "1")  # nothing is written outside the data folder
        app = QGuiApplication(["kiosk"])
    app.setApplicationName("kiosk")
    if FAMILIES[0] not in QFontDatabase.families():
        _load_fonts()
    font = QFont()
    font.setFamilies(list(FAMILIES))
    font.setHintingPreference(QFont.HintingPreference.PreferNoHinting)
    app.setFont(font)
    register_types()
    return app


def stage(bridge: Bridge, orientation: Orientation = "auto") -> QQuickView:
    """A window with the screens in it, not yet shown. Call `unload` before the bridge goes.

    Raises:
        RuntimeError: the QML does not load (a bug).
    """
    view = QQuickView()
    view.setResizeMode(QQuickView.ResizeMode.SizeRootObjectToView)
    view.setInitialProperties({"bridge": bridge, "orientation": orientation})
    # Not directly on the render thread: it would wait for Python's lock, and a call here (grab) for it.
    view.afterAnimating.connect(bridge.frame_begun)
    view.frameSwapped.connect(bridge.frame_swapped)
    view.setSource(QUrl.fromLocalFile(str(QML / "Main.qml")))
    if view.status() is not QQuickView.Status.Ready:
        raise RuntimeError("; ".join(error.toString() for error in view.errors()) or "Main.qml did not load")
    return view


def unload(view: QQuickView) -> None:
    """Take the screens out of the window and close it: nothing is bound to the bridge any more."""
    view.close()
    screens = view.rootObject()
    if screens is not None:
        # Out of the scene first: what binds to the window is not asked again. Its stubs do not know None.
        screens.setParentItem(None)  # type: ignore[arg-type]
    view.setSource(QUrl())
    view.deleteLater()
    QCoreApplication.sendPostedEvents(view, QEvent.Type.DeferredDelete)  # no loop runs any more that would


def run_window(
    app: QGuiApplication,
    bridge: Bridge,
    *,
    fullscreen: bool = True,
    orientation: Orientation = "auto",
    on_ready: Callable[[], None] | None = None,
) -> int:
    """Show the screens until `bridge.quit()`, SIGTERM or SIGINT, or until the window is closed.

    Args:
        app: what `application()` returned.
        fullscreen: False opens a small window of the orientation's shape.
        on_ready: called once, on the Qt thread, when the first picture is on the screen.

    Returns:
        the event loop's exit code, 0 in the ordinary case.
    """
    view = stage(bridge, orientation if fullscreen else "auto")
    if on_ready is not None:
        _once(view, on_ready)
    if fullscreen:
        view.setGeometry(app.primaryScreen().geometry())  # where no window manager does it
        view.showFullScreen()
    else:
        view.resize(WINDOW_PX["landscape" if orientation == "landscape" else "portrait"])
        view.show()
    bridge.quitting.connect(app.quit)
    stop = _stop_on_signals(app)
    try:
        return app.exec()
    finally:
        stop()
        unload(view)


def _load_fonts() -> None:
    """Every font of the folder; a fresh machine has no Chinese glyphs of its own."""
    folder = fonts_dir()
    files = sorted((*folder.glob("*.ttf"), *folder.glob("*.otf")))
    if not files:
        raise OperatorError("there are no fonts", where=str(folder), do="Install the kiosk again")
    for file in files:
        if QFontDatabase.addApplicationFont(str(file)) < 0:
            raise OperatorError("this font can't be read", where=str(file), do="Install the kiosk again")


def _once(view: QQuickView, on_ready: Callable[[], None]) -> None:
    """Call `on_ready` after the first frame was swapped."""

    waiting = [True]

    def ready() -> None:
        if (
            waiting
        ):  # where pictures are drawn on a thread of their own, the next one may be on its way already
            waiting.clear()
            view.frameSwapped.disconnect(ready)
            on_ready()

    view.frameSwapped.connect(ready)


def _stop_on_signals(app: QGuiApplication) -> Callable[[], None]:
    """Let SIGTERM and SIGINT end the event loop: Python's handlers wait for Qt, a socket wakes it."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    notifier = QSocketNotifier(reader.fileno(), QSocketNotifier.Type.Read)
    notifier.activated.connect(app.quit)
    wakeup = signal.set_wakeup_fd(writer.fileno())
    handlers = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}

    def undo() -> None:
        notifier.setEnabled(False)
        signal.set_wakeup_fd(wakeup)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        reader.close()
        writer.close()

    return undo
