"""Receipts: 42 columns whatever the names, no person named, and no doubt about the mode."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain.money import Money
from kiosk.domain.payment import Answer, Order, Result
from kiosk.domain.receipt import COLUMNS, Receipt, render

ORDER = Order("A-1", Money(3850, "CNY"), "Corner Shop")
RECEIPT = Receipt.of(
    ORDER,
    "019ac2f0-0000-7000-8000-000000000001",
    Answer(Result.APPROVED, approval="A12345", rrn="000000000001"),
    terminal_id="T-1",
    mode="production",
    when="2026-11-25 08:00:00",
    masked_payer="*ming",
    provider="Sandbox Pay",
    licence="LIC-1",
)
NAMES = st.text(max_size=90)


def width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in line)


@given(NAMES, NAMES, NAMES, st.sampled_from(Result))
def test_no_line_is_wider_than_the_printer(payee: str, payer: str, provider: str, result: Result) -> None:
    receipt = replace(RECEIPT, payee=payee, masked_payer=payer, provider=provider, result=result)
    assert all(width(line) <= COLUMNS for line in render(receipt).splitlines())


@given(NAMES)
def test_a_name_can_bring_no_control_characters_to_the_printer(payee: str) -> None:
    assert render(replace(RECEIPT, payee=payee)).replace("\n", "").isprintable()


def test_a_receipt_says_what_was_paid_to_whom_and_how_to_find_it() -> None:
    text = render(RECEIPT)
    for part in (
        "Corner Shop",
        "PAYMENT APPROVED",
        "¥ 38.50",
        "A-1",
        "A12345",
        "000000000001",
        "*ming",
        "LIC-1",
    ):
        assert part in text


def test_a_long_name_breaks_at_its_spaces() -> None:
    lines = render(
        replace(RECEIPT, payee="The Very Long Name Of A Shop That Sells Everything Twice")
    ).splitlines()
    assert [line.strip() for line in lines[:2]] == [
        "The Very Long Name Of A Shop That Sells",
        "Everything Twice",
    ]


def test_wide_characters_count_double() -> None:
    lines = render(replace(RECEIPT, payee="店" * 30)).splitlines()
    assert [line.strip() for line in lines[:2]] == ["店" * 21, "店" * 9]


@pytest.mark.parametrize("mode", ["demo", "test", "training"])
def test_outside_production_the_first_and_last_line_say_that_nothing_real_is_charged(mode: str) -> None:
    lines = render(replace(RECEIPT, mode=mode)).splitlines()
    assert lines[0] == lines[-1]
    assert f"{mode.upper()}: NOTHING REAL IS CHARGED" in lines[0]


def test_production_carries_no_such_line() -> None:
    assert "NOTHING REAL" not in render(RECEIPT)


@pytest.mark.parametrize(
    ("result", "title"),
    [
        (Result.DECLINED, "NOTHING CHARGED"),
        (Result.REVERSED, "NOTHING CHARGED"),
        (Result.PENDING, "DO NOT PAY AGAIN"),
    ],
)
def test_what_is_not_approved_says_so(result: Result, title: str) -> None:
    assert title in render(replace(RECEIPT, result=result))


def test_the_acquirers_masked_name_comes_before_the_kiosks() -> None:
    answer = Answer(Result.APPROVED, masked_payer="W*** M**")
    receipt = Receipt.of(
        ORDER, "ref", answer, terminal_id="T-1", mode="demo", when="now", masked_payer="*ming"
    )
    assert receipt.masked_payer == "W*** M**"


def test_fields_that_are_empty_take_no_line() -> None:
    assert "Approval" not in render(replace(RECEIPT, approval=""))
