"""A receipt as a picture: what stood at an edge of the text is at an edge of the paper; no ink is lost."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from kiosk.domain.columns import Columns
from kiosk.domain.errors import OperatorError
from kiosk.ui.slip import CELL_PX, LINE_PX, MARGIN_PX, as_png, picture


def drawn(text: str, columns: int = 42, code: str = "") -> np.ndarray:
    png = as_png(picture(text, columns=columns, code=code))
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)


def inked(paper: np.ndarray, line: int) -> tuple[int, int]:
    """The first and last column of pixels with ink on a line, counted from the text's left edge."""
    rows = paper[MARGIN_PX + line * LINE_PX : MARGIN_PX + (line + 1) * LINE_PX]
    found = np.flatnonzero(rows.min(axis=0) < 128)
    return int(found[0]) - MARGIN_PX, int(found[-1]) - MARGIN_PX


@pytest.mark.parametrize("columns", [32, 42])
@pytest.mark.usefixtures("qapp")
def test_labels_are_at_the_left_values_at_the_right_titles_in_the_middle(columns: int) -> None:
    page = Columns(columns)
    text = "\n".join(
        [*page.pair("TOTAL", "¥ 38.50"), *page.centred("REFUND"), *page.rule(), *page.pair("合计", "1")]
    )
    paper, right = drawn(text, columns), columns * CELL_PX
    first, last = inked(paper, 0)
    assert first < 6
    assert right - 6 < last <= right
    first, last = inked(paper, 1)
    assert abs((first + last) - right) < 6
    assert inked(paper, 2) == (0, right)
    assert inked(paper, 3)[0] < 6


@pytest.mark.usefixtures("qapp")
def test_a_line_as_wide_as_the_paper_stays_on_it() -> None:
    first, last = inked(drawn("W" * 32, 32), 0)
    assert 0 <= first < last <= 32 * CELL_PX
    first, last = inked(drawn("WWWWWWWWWWWWWW  WWWWWWWWWWWWWWWW", 32), 0)
    assert 0 <= first < last <= 32 * CELL_PX


@pytest.mark.usefixtures("qapp")
def test_the_code_under_it_is_read_back() -> None:
    paper = drawn("TOTAL\n", code="合计: ¥ 38.50\n")
    assert cv2.QRCodeDetectorAruco().detectAndDecode(paper)[0] == "合计: ¥ 38.50\n"


@pytest.mark.usefixtures("qapp")
def test_a_language_without_a_font_is_refused_in_words() -> None:
    (line,) = Columns(32, mirrored=True).pair("المجموع", "1")
    with pytest.raises(OperatorError, match="letters of this language"):
        picture(line, columns=32)
