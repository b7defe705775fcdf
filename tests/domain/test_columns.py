"""Lines of a receipt printer: never wider than the paper, and no character lost on the way."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain.columns import Columns, clean, width

TEXTS = st.text(max_size=120) | st.text(alphabet="店a é́\u0301\u0651م١-", max_size=120)
PAGES = st.builds(Columns, st.integers(16, 60), st.booleans())


def seen(lines: list[str]) -> str:
    """What takes a column, without the space that a layout moves about."""
    return "".join(c for line in lines for c in line if not c.isspace() and width(c))


def same(lines: list[str], *texts: str) -> bool:
    return seen(lines) == "".join(seen([clean(text)]) for text in texts)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("abc", 3),
        ("店员", 4),
        ("ｶﾅ", 2),
        ("Ａ", 2),
        ("e\u0301", 1),
        ("¥ 38.50", 7),
        ("مُحَمَّد", 4),
        ("\u20681\u2069", 1),
        ("", 0),
    ],
)
def test_wide_characters_take_two_columns_and_marks_none(text: str, columns: int) -> None:
    assert width(text) == columns


@given(TEXTS)
def test_what_is_cleaned_can_be_printed_and_turns_no_line_round(text: str) -> None:
    assert clean(text).isprintable()
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in clean(text))


def test_a_line_break_inside_a_name_is_a_space() -> None:
    assert clean("Corner\nShop\u3000张\x07") == "Corner Shop 张"


@given(PAGES, TEXTS)
def test_a_centred_text_fits_and_keeps_every_character(page: Columns, text: str) -> None:
    lines = page.centred(text)
    assert all(width(line) <= page.number for line in lines)
    assert same(lines, text)


@given(PAGES, TEXTS, TEXTS)
def test_a_pair_fits_and_keeps_every_character(page: Columns, label: str, value: str) -> None:
    lines = page.pair(label, value)
    assert all(width(line) <= page.number for line in lines)
    assert same(lines, label, value)


@given(PAGES, st.text(max_size=30), st.integers(0, 10**6), st.text(max_size=30))
def test_three_columns_fit_and_keep_every_character(
    page: Columns, label: str, number: int, value: str
) -> None:
    lines = page.three(label, str(number), value)
    assert all(width(line) <= page.number for line in lines)
    assert same(lines, label, str(number), value)


def test_a_value_stands_at_the_other_edge() -> None:
    assert Columns(20).pair("TOTAL", "¥ 38.50") == ["TOTAL        ¥ 38.50"]
    assert Columns(20).pair("合计", "¥ 38.50") == ["合计         ¥ 38.50"]


def test_a_value_that_does_not_fit_has_lines_of_its_own_at_the_other_edge() -> None:
    assert Columns(16).pair("Attempt", "0123456789abcdef01") == [
        "Attempt",
        "0123456789abcdef",
        " " * 14 + "01",
    ]


def test_a_break_is_at_a_space_where_there_is_one() -> None:
    assert Columns(16).centred("The very long name of it") == [" The very long", "   name of it"]


def test_a_mark_stays_with_its_letter() -> None:
    lines = Columns(16).centred("e\u0301" * 20)
    assert [line.strip() for line in lines] == ["e\u0301" * 16, "e\u0301" * 4]


def test_a_right_to_left_line_says_so_and_keeps_its_value_together() -> None:
    (line,) = Columns(24, mirrored=True).pair("المجموع", "¥ 38.50")
    assert line.startswith("\u200fالمجموع")
    assert line.endswith(" \u2068¥ 38.50\u2069")
    assert width(line) == 24


def test_paper_of_fewer_than_sixteen_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="16"):
        Columns(15)
