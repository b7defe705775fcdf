"""A receipt as a picture: what a raster printer prints and what the documentation shows.

Drawn from the plain text with the fonts that ship: what stands at an edge of the text stands at that edge of
the paper, what stands in the middle is centred. No font here has the letters of a right-to-left language.
"""

from __future__ import annotations

import re
from typing import Final

from PySide6.QtCore import QBuffer, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QGuiApplication, QImage, QPainter

from kiosk import qr
from kiosk.domain.columns import RIGHT_TO_LEFT_MARK, width
from kiosk.domain.errors import OperatorError

__all__ = ["as_png", "picture"]

CELL_PX: Final = 12.0
"""A column: 42 of them are 504 of the 576 dots that 80 mm paper has, 32 are 384 of 58 mm's."""
LINE_PX: Final = 30
FONT_PX: Final = 20
MARGIN_PX: Final = 36
QR_MODULE_PX: Final = 4


def picture(text: str, *, columns: int, code: str = "") -> QImage:
    """`text` (see `kiosk.domain.receipt.render`) in black on white; under it `code` as a QR code.

    Needs the application (`window.application`).

    Raises:
        OperatorError: a right-to-left text.
        ValueError: `code` is longer than a QR code carries.
    """
    if RIGHT_TO_LEFT_MARK in text:
        raise OperatorError(
            "no font that ships has the letters of this language", do="Print it as text, or as a QR code."
        )
    lines, modules = text.splitlines(), qr.modules(code) if code else ()
    side = len(modules) * QR_MODULE_PX
    paper_px = max(round(columns * CELL_PX), side) + 2 * MARGIN_PX
    image = QImage(paper_px, len(lines) * LINE_PX + side + 2 * MARGIN_PX, QImage.Format.Format_Grayscale8)
    image.fill(Qt.GlobalColor.white)
    painter = QPainter(image)
    try:
        left = (paper_px - columns * CELL_PX) / 2
        for number, line in enumerate(lines):
            _draw_line(painter, line, left, MARGIN_PX + number * LINE_PX, columns)
        _draw_code(painter, modules, (paper_px - side) // 2, MARGIN_PX + len(lines) * LINE_PX)
    finally:
        painter.end()
    return image


def as_png(image: QImage) -> bytes:
    """The picture as a PNG file's bytes."""
    buffer = QBuffer()
    buffer.open(QBuffer.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")  # type: ignore[call-overload]  # the stubs want bytes; Qt takes text
    return bytes(buffer.data().data())


def _draw_line(painter: QPainter, line: str, left: float, top: float, columns: int) -> None:
    if set(line) == {"-"}:
        painter.drawLine(
            QPointF(left, top + LINE_PX / 2), QPointF(left + columns * CELL_PX, top + LINE_PX / 2)
        )
        return
    runs = list(re.finditer(r"\S+(?: \S+)*", line))
    for run in runs:
        begin, end = width(line[: run.start()]), width(line[: run.end()])
        if len(runs) == 1 and abs(begin - (columns - end)) <= 1:
            side, where = Qt.AlignmentFlag.AlignHCenter, QRectF(left, top, columns * CELL_PX, LINE_PX)
        elif begin <= 1:
            side, where = Qt.AlignmentFlag.AlignLeft, QRectF(left + begin * CELL_PX, top, 2000, LINE_PX)
        else:
            side, where = Qt.AlignmentFlag.AlignRight, QRectF(left, top, end * CELL_PX, LINE_PX)
        room = columns * CELL_PX if len(runs) == 1 else (end - begin + 1) * CELL_PX
        painter.setFont(_font(run.group(), room))
        painter.drawText(where, int(side | Qt.AlignmentFlag.AlignVCenter), run.group())


def _font(text: str, room_px: float) -> QFont:
    """The font, condensed where `text` would be wider than its room."""
    font = QFont(QGuiApplication.font())
    font.setPixelSize(FONT_PX)
    wide_px = QFontMetricsF(font).horizontalAdvance(text)
    if wide_px > room_px:
        font.setStretch(int(100 * room_px / wide_px))
    return font


def _draw_code(painter: QPainter, modules: tuple[bytes, ...], left: int, top: int) -> None:
    black = QColor(Qt.GlobalColor.black)
    for y, row in enumerate(modules):
        for x, dark in enumerate(row):
            if dark:
                painter.fillRect(
                    left + x * QR_MODULE_PX, top + y * QR_MODULE_PX, QR_MODULE_PX, QR_MODULE_PX, black
                )
