"""QR codes: what goes in comes out of a scanner, and what could not be scanned is not made."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import cv2
import numpy as np
import pytest

from kiosk import qr
from kiosk.domain.receipt import MAX_QR_BYTES

LONG = "".join(chr(0x4E00 + 37 * n % 20_000) for n in range(MAX_QR_BYTES // 3))
TEXTS = ["TOTAL: ¥ 38.50\n", "合计: ¥ 38.50\n付款人: *明\n", "المجموع: ¥ 38.50\n", "x" * MAX_QR_BYTES, LONG]


def scanned(grey: np.ndarray) -> str:
    return str(cv2.QRCodeDetectorAruco().detectAndDecode(grey)[0])


@pytest.mark.parametrize("text", TEXTS)
def test_a_png_is_read_back(text: str) -> None:
    picture = cv2.imdecode(np.frombuffer(qr.png(text), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert scanned(picture) == text


@pytest.mark.parametrize("text", TEXTS)
def test_the_modules_are_read_back_and_have_their_margin(text: str) -> None:
    rows = qr.modules(text)
    grey = 255 - 255 * np.array([list(row) for row in rows], np.uint8)
    assert grey.shape[0] == grey.shape[1] <= 117 + 2 * qr.QUIET_MODULES
    assert grey[: qr.QUIET_MODULES].min() == 255
    assert scanned(cv2.resize(grey, None, fx=5, fy=5, interpolation=cv2.INTER_NEAREST)) == text


def test_an_svg_is_a_drawing_of_the_same_size() -> None:
    drawing = ET.fromstring(qr.svg(TEXTS[0]))  # noqa: S314 - made one line above
    assert drawing.tag.endswith("svg")
    assert int(drawing.attrib["width"]) == len(qr.modules(TEXTS[0]))


def test_a_text_that_no_cheap_scanner_could_read_is_refused() -> None:
    with pytest.raises(ValueError, match="998 bytes"):
        qr.modules("x" * (MAX_QR_BYTES + 1))
