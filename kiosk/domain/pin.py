"""A PIN while it is in this process: typed, sealed for the acquirer, overwritten.

It shows itself in no representation, is compared by nobody here, and is never part of a payment's state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["MAX_DIGITS", "MIN_DIGITS", "Keypad", "Pin", "PinTyped"]

MIN_DIGITS: Final = 4
MAX_DIGITS: Final = 12
"""ISO 9564-1: a PIN has four to twelve digits."""


class Pin:
    """The digits, in memory that `wipe` overwrites.

    Raises:
        ValueError: not 4 to 12 digits; the message does not repeat them.
    """

    __slots__ = ("_digits",)

    def __init__(self, digits: str) -> None:
        if not (MIN_DIGITS <= len(digits) <= MAX_DIGITS and digits.isascii() and digits.isdigit()):
            raise ValueError(f"a PIN has {MIN_DIGITS} to {MAX_DIGITS} digits")
        self._digits = bytearray(digits, "ascii")

    def reveal(self) -> bytes:
        """The digits, for the one who seals them; nothing after `wipe`."""
        return bytes(self._digits)

    def wipe(self) -> None:
        """Overwrite the digits; once more changes nothing."""
        self._digits[:] = bytes(len(self._digits))
        self._digits.clear()

    def __repr__(self) -> str:
        return "Pin(...)"


class Keypad:
    """Digits as they are typed, until they become a `Pin`; as silent about them as that."""

    __slots__ = ("_digits",)

    def __init__(self) -> None:
        self._digits = bytearray()

    def __len__(self) -> int:
        return len(self._digits)

    def key(self, digit: str) -> None:
        """One more digit; anything else, and a thirteenth, changes nothing."""
        if len(digit) == 1 and digit.isascii() and digit.isdigit() and len(self._digits) < MAX_DIGITS:
            self._digits += digit.encode()

    def erase(self) -> None:
        """Take the last digit back."""
        if self._digits:
            self._digits[-1] = 0
            del self._digits[-1]

    def take(self) -> Pin | None:
        """The PIN, once there are enough digits; nothing of it stays here."""
        if len(self._digits) < MIN_DIGITS:
            return None
        pin = Pin(self._digits.decode())
        self.wipe()
        return pin

    def wipe(self) -> None:
        """Overwrite what was typed."""
        self._digits[:] = bytes(len(self._digits))
        self._digits.clear()

    def __repr__(self) -> str:
        return f"Keypad({len(self)} digits)"


@dataclass(frozen=True, slots=True)
class PinTyped:
    """The payer typed a PIN and pressed the green key, with amount and payee before them."""

    pin: Pin
