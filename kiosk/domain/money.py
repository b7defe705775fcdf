"""Money in minor units: exact, never a float.

`Money(3850, "CNY")` is 38.50 yuan. The exponent of a currency comes from ISO 4217; the largest amount is what
ISO 8583 field 4 (n 12) can carry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["CURRENCIES", "MAX_MINOR", "Money", "MoneyError"]

MAX_MINOR: Final = 999_999_999_999
"""ISO 8583 DE 4 is n 12."""

CURRENCIES: Final[dict[str, int]] = {
    "AED": 2, "AUD": 2, "BHD": 3, "BRL": 2, "CAD": 2, "CHF": 2, "CNY": 2, "CZK": 2, "DKK": 2, "EUR": 2,
    "GBP": 2, "HKD": 2, "HUF": 2, "IDR": 2, "ILS": 2, "INR": 2, "JOD": 3, "JPY": 0, "KRW": 0, "KWD": 3,
    "MOP": 2, "MXN": 2, "MYR": 2, "NOK": 2, "NZD": 2, "OMR": 3, "PHP": 2, "PLN": 2, "QAR": 2, "SAR": 2,
    "SEK": 2, "SGD": 2, "THB": 2, "TND": 3, "TRY": 2, "TWD": 2, "USD": 2, "VND": 0, "ZAR": 2,
}  # fmt: skip
"""ISO 4217 alphabetic code -> number of digits after the decimal point."""

_SYMBOLS: Final = {"CNY": "¥", "JPY": "¥", "USD": "$", "EUR": "€", "GBP": "£", "HKD": "HK$", "KRW": "₩"}
_DECIMAL: Final = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,3}))?", re.ASCII)


class MoneyError(ValueError):
    """A text or number that is not an amount; the message is one line for the person who typed it."""


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An amount: `minor` units (0..999,999,999,999) of an ISO 4217 `currency`."""

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.minor) is not int:
            raise MoneyError(f"an amount is a whole number of minor units, not {type(self.minor).__name__}")
        if self.currency not in CURRENCIES:
            raise MoneyError(f"unknown currency {self.currency!r}: use an ISO 4217 code such as CNY")
        if not 0 <= self.minor <= MAX_MINOR:
            raise MoneyError(f"amount {self.minor} is outside 0..{MAX_MINOR} minor units")

    @classmethod
    def parse(cls, text: str, currency: str) -> Money:
        """Read `"38.50"` as an amount of `currency`; no sign, no grouping, no exponent.

        Raises:
            MoneyError: not a decimal number, more decimals than the currency has, negative or too large.
        """
        if currency not in CURRENCIES:
            raise MoneyError(f"unknown currency {currency!r}: use an ISO 4217 code such as CNY")
        if text.startswith("-"):
            raise MoneyError(f"amount {text!r} is negative: a payment is more than zero")
        found = _DECIMAL.fullmatch(text)
        if found is None:
            raise MoneyError(f"amount {text!r} is not a number such as 38.50")
        exponent = CURRENCIES[currency]
        whole, fraction = found[1], found[2] or ""
        if len(fraction) > exponent:
            raise MoneyError(f"amount {text!r} has more than {exponent} decimals, {currency} has {exponent}")
        return cls(int(whole) * 10**exponent + int(fraction.ljust(exponent, "0") or "0"), currency)

    def __add__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.minor + other.minor, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.minor - other.minor, self.currency)

    def __lt__(self, other: Money) -> bool:
        self._same(other)
        return self.minor < other.minor

    def __le__(self, other: Money) -> bool:
        self._same(other)
        return self.minor <= other.minor

    def _same(self, other: Money) -> None:
        if self.currency != other.currency:
            raise MoneyError(f"{self.currency} and {other.currency} do not mix")

    def decimal(self) -> str:
        """`"38.50"`: digits and a point, for machines and for `parse`."""
        exponent = CURRENCIES[self.currency]
        whole, fraction = divmod(self.minor, 10**exponent)
        return f"{whole}.{fraction:0{exponent}}" if exponent else str(whole)

    def __str__(self) -> str:
        """`"¥ 1,038.50"` or `"CHF 12.00"`: for people."""
        whole, _, fraction = self.decimal().partition(".")
        digits = f"{int(whole):,}" + (f".{fraction}" if fraction else "")
        return f"{_SYMBOLS.get(self.currency, self.currency)} {digits}"
