"""Who may do what after a sale: staff numbers, two roles, and which PINs are too easy.

Numbers, never names. Refunds, voids, disputes, changes of staff and a child's consent are a manager's. Wrong
PINs lock by the same rule as everybody's guesses (`domain.lockout`), for the number that was claimed.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from kiosk.domain.errors import OperatorError
from kiosk.domain.lockout import Locked, standing

__all__ = ["PIN_DIGITS", "Action", "Member", "Role", "check_number", "check_pin", "locked_until", "may"]

PIN_DIGITS: Final = (6, 12)
"""At least and at most."""
MAX_NUMBER: Final = 9999


class Role(StrEnum):
    """A cashier sells; a manager also gives money back and decides who is staff."""

    CASHIER = "cashier"
    MANAGER = "manager"


class Action(StrEnum):
    """What is asked for a PIN."""

    CLOSE = "close"
    REFUND = "refund"
    DISPUTE = "dispute"
    LIMITS = "limits"
    STAFF = "staff"
    CHILD = "child"
    """A guardian agreed for a child: who approves it sees both of them."""


MANAGERS_ONLY: Final = frozenset({Action.REFUND, Action.DISPUTE, Action.LIMITS, Action.STAFF, Action.CHILD})


@dataclass(frozen=True, slots=True)
class Member:
    """One of staff; `failures`: when a PIN was wrong since the last right one (seconds since 1970, UTC)."""

    number: int
    role: Role
    failures: tuple[float, ...] = ()


def may(role: Role, action: Action) -> bool:
    """Whether somebody of this role may approve it."""
    return role is Role.MANAGER or action not in MANAGERS_ONLY


def locked_until(failures: Collection[float], now_s: float) -> float | None:
    """Until when no PIN of this number is tried (seconds since 1970, UTC); None: it may be tried now."""
    found = standing(failures, now_s)
    return found.until_s if isinstance(found, Locked) else None


def check_number(number: int) -> None:
    """OperatorError: not a staff number."""
    if not 1 <= number <= MAX_NUMBER:
        raise OperatorError(f"staff number {number}", do=f"Use 1 to {MAX_NUMBER}.")


def check_pin(pin: str) -> None:
    """OperatorError, which does not repeat the PIN: not digits, too short, too long, or guessed at once."""
    shortest, longest = PIN_DIGITS
    if not re.fullmatch(rf"[0-9]{{{shortest},{longest}}}", pin, re.ASCII):
        raise OperatorError("not a PIN", do=f"Use {shortest} to {longest} digits.")
    steps = {int(after) - int(before) for before, after in pairwise(pin)}
    if steps in ({0}, {1}, {-1}):
        raise OperatorError("this PIN is too easy", do="Don't repeat one digit, and don't count.")
