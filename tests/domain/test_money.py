"""Money: exact in minor units, and refused in one line when it is not an amount."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain.money import CURRENCIES, MAX_MINOR, Money, MoneyError

MINORS = st.integers(0, MAX_MINOR)
CODES = st.sampled_from(sorted(CURRENCIES))


@given(MINORS, CODES)
def test_what_is_written_for_machines_reads_back_as_the_same_amount(minor: int, currency: str) -> None:
    money = Money(minor, currency)
    text = money.decimal()
    if len(text.partition(".")[0]) <= 12:
        assert Money.parse(text, currency) == money


@given(MINORS, CODES)
def test_what_is_written_for_people_has_the_same_digits(minor: int, currency: str) -> None:
    money = Money(minor, currency)
    assert str(money).split(" ", 1)[1].replace(",", "") == money.decimal()


@given(st.text(max_size=20), CODES)
def test_any_text_is_an_amount_or_a_money_error(text: str, currency: str) -> None:
    try:
        minor, complaint = Money.parse(text, currency).minor, ""
    except MoneyError as error:
        minor, complaint = 0, str(error)
    assert 0 <= minor <= MAX_MINOR
    assert complaint.isprintable()


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("38.50", "CNY", 3850),
        ("38.5", "CNY", 3850),
        ("38", "CNY", 3800),
        ("0.01", "EUR", 1),
        ("007.00", "EUR", 700),
        ("500", "JPY", 500),
        ("1.234", "KWD", 1234),
        ("9999999999.99", "CNY", MAX_MINOR),
    ],
)
def test_amounts_are_read_with_the_currencys_own_decimals(text: str, currency: str, minor: int) -> None:
    assert Money.parse(text, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    ("text", "currency", "part"),
    [
        ("-1", "CNY", "negative"),
        ("abc", "CNY", "not a number"),
        ("", "CNY", "not a number"),
        ("1,000.00", "CNY", "not a number"),
        ("1e3", "CNY", "not a number"),
        ("+1", "CNY", "not a number"),
        (" 1", "CNY", "not a number"),
        ("1\n", "CNY", "not a number"),
        ("1.", "CNY", "not a number"),
        (".5", "CNY", "not a number"),
        ("nan", "CNY", "not a number"),
        ("３８", "CNY", "not a number"),
        ("1.234", "CNY", "2 decimals"),
        ("1.0", "JPY", "decimals"),
        ("10000000000.00", "CNY", "outside"),
        ("1", "XXX", "unknown currency"),
        ("1", "cny", "unknown currency"),
    ],
)
def test_what_is_not_an_amount_says_why(text: str, currency: str, part: str) -> None:
    with pytest.raises(MoneyError, match=part):
        Money.parse(text, currency)


@pytest.mark.parametrize(
    ("minor", "currency"), [(-1, "CNY"), (MAX_MINOR + 1, "CNY"), (1, "XXX"), (1.0, "CNY"), (True, "CNY")]
)
def test_no_money_is_made_of_a_wrong_number_or_currency(minor: object, currency: str) -> None:
    with pytest.raises(MoneyError):
        Money(minor, currency)  # type: ignore[arg-type]


def test_people_read_grouped_digits_and_a_sign_they_know() -> None:
    assert str(Money(103850, "CNY")) == "¥ 1,038.50"
    assert str(Money(1200, "CHF")) == "CHF 12.00"
    assert str(Money(1500, "JPY")) == "¥ 1,500"


@given(st.integers(0, MAX_MINOR // 2), st.integers(0, MAX_MINOR // 2))
def test_sums_are_exact_and_differences_undo_them(one: int, other: int) -> None:
    total = Money(one, "CNY") + Money(other, "CNY")
    assert total.minor == one + other
    assert total - Money(other, "CNY") == Money(one, "CNY")
    assert Money(one, "CNY") <= total
    assert (Money(one, "CNY") < total) is (other > 0)


def test_a_difference_below_zero_is_no_money() -> None:
    with pytest.raises(MoneyError):
        Money(1, "CNY") - Money(2, "CNY")


@pytest.mark.parametrize("operation", ["__add__", "__sub__", "__lt__", "__le__"])
def test_currencies_do_not_mix(operation: str) -> None:
    with pytest.raises(MoneyError, match="do not mix"):
        getattr(Money(1, "CNY"), operation)(Money(1, "EUR"))
