"""Pictures that QML can't draw by itself: the camera in a soft oval, and a QR code.

`mirrored_image` copies a frame small and mirrored, on the caller's thread. `FacePreview` paints the bridge's
newest picture through a mask drawn beforehand (the software renderer has no shader effects). Neither waits.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from PySide6.QtCore import Property, QObject, QPointF, QRectF, QSizeF, Qt, Signal
from PySide6.QtGui import QColor, QImage, QPainter, QRadialGradient
from PySide6.QtQml import qmlRegisterType
from PySide6.QtQuick import QQuickItem, QQuickPaintedItem

from kiosk import qr
from kiosk.frames import Frame

__all__ = ["PREVIEW_SIDE_PX", "FacePreview", "QrCode", "mirrored_image", "register_types"]

PREVIEW_SIDE_PX: Final = 720
"""The preview's longer side: more is not seen in an oval, and costs."""
SOFT_EDGE: Final = 0.05
"""Part of the oval's radius over which it fades out."""


def mirrored_image(frame: Frame) -> QImage:
    """The frame as a mirror shows it, at most `PREVIEW_SIDE_PX` long; a copy of its own."""
    import cv2

    picture = frame.rgb()
    scale = PREVIEW_SIDE_PX / max(frame.width, frame.height)
    if scale < 1:
        size = (max(round(frame.width * scale), 1), max(round(frame.height * scale), 1))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    picture = np.ascontiguousarray(picture[:, ::-1])
    height, width = picture.shape[:2]
    return QImage(picture.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()


class FacePreview(QQuickPaintedItem):
    """The newest camera picture, filling a soft oval as large as the item; nothing while there is none."""

    bridgeChanged = Signal()  # noqa: N815 (QML's spelling)

    def __init__(self, parent: QQuickItem | None = None) -> None:
        super().__init__(parent)
        self._bridge: QObject | None = None
        self._mask = QImage()

    def _get_bridge(self) -> QObject | None:
        return self._bridge

    def _set_bridge(self, bridge: QObject | None) -> None:
        if bridge is self._bridge:
            return
        self._bridge = bridge
        if bridge is not None:
            bridge.framed.connect(self.update)  # type: ignore[attr-defined]  # Bridge.framed; no import cycle
        self.bridgeChanged.emit()

    bridge = Property(QObject, _get_bridge, _set_bridge, notify=bridgeChanged)

    def paint(self, painter: QPainter) -> None:
        """Called by Qt on its render thread while the Qt thread waits."""
        picture: QImage | None = getattr(self._bridge, "image", None)
        size = self.size().toSize()
        if picture is None or size.isEmpty():
            return
        if self._mask.size() != size:
            self._mask = _oval(size.width(), size.height())
        layer = QImage(size, QImage.Format.Format_ARGB32_Premultiplied)
        layer.fill(Qt.GlobalColor.transparent)
        onto = QPainter(layer)
        onto.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        onto.drawImage(QRectF(layer.rect()), picture, _filling(picture, QSizeF(size)))
        onto.setCompositionMode(QPainter.CompositionMode.CompositionMode_DestinationIn)
        onto.drawImage(0, 0, self._mask)
        onto.end()
        painter.drawImage(0, 0, layer)


class QrCode(QQuickPaintedItem):
    """A QR code of `text`, black on white whatever the theme: scanners expect it so."""

    textChanged = Signal()  # noqa: N815 (QML's spelling)

    def __init__(self, parent: QQuickItem | None = None) -> None:
        super().__init__(parent)
        self._text = ""
        self._modules = QImage()

    def _get_text(self) -> str:
        return self._text

    def _set_text(self, text: str) -> None:
        if text == self._text:
            return
        self._text = text
        self._modules = _qr(text) if text else QImage()
        self.textChanged.emit()
        self.update()

    text = Property(str, _get_text, _set_text, notify=textChanged)

    def paint(self, painter: QPainter) -> None:
        """Whole pixels a module, centred."""
        if self._modules.isNull():
            return
        side = self._modules.width()
        scale = max(int(min(self.width(), self.height())) // side, 1)
        left, top = int(self.width() - side * scale) // 2, int(self.height() - side * scale) // 2
        painter.drawImage(QRectF(left, top, side * scale, side * scale), self._modules)


def register_types() -> None:
    """Make the items known to QML as `import Kiosk`."""
    qmlRegisterType(FacePreview, "Kiosk", 1, 0, "FacePreview")  # type: ignore[call-overload]
    qmlRegisterType(QrCode, "Kiosk", 1, 0, "QrCode")  # type: ignore[call-overload]


def _oval(width: int, height: int) -> QImage:
    """The mask: opaque inside, fading out over the last `SOFT_EDGE` of the radius."""
    mask = QImage(width, height, QImage.Format.Format_ARGB32_Premultiplied)
    mask.fill(Qt.GlobalColor.transparent)
    painter = QPainter(mask)
    painter.scale(width / 2, height / 2)
    fade = QRadialGradient(QPointF(1, 1), 1)
    opaque, clear = QColor(Qt.GlobalColor.black), QColor(Qt.GlobalColor.transparent)
    fade.setColorAt(1 - SOFT_EDGE, opaque)
    fade.setColorAt(1, clear)
    painter.fillRect(QRectF(0, 0, 2, 2), fade)
    painter.end()
    return mask


def _filling(picture: QImage, size: QSizeF) -> QRectF:
    """The middle of `picture` with the shape of `size`."""
    part = size.scaled(QSizeF(picture.size()), Qt.AspectRatioMode.KeepAspectRatio)
    left, top = (picture.width() - part.width()) / 2, (picture.height() - part.height()) / 2
    return QRectF(QPointF(left, top), part)


def _qr(text: str) -> QImage:
    """One pixel a module, the quiet zone included."""
    rows = qr.modules(text)
    dark = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)
    grey = np.ascontiguousarray(255 * (1 - dark), dtype=np.uint8)
    side = grey.shape[0]
    return QImage(grey.data, side, side, side, QImage.Format.Format_Grayscale8).copy()
