"""What a shop's till and the kiosk say to each other, whatever wire carries it.

A till opens a payment and hears its end once; it may abort it, and ask about it at any time, after a lost
connection or a restart of either side too. The order is the key: one order is one payment, and whoever asks
for it again gets the same result. What is not final is never answered like a failure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from kiosk.domain.money import Money

__all__ = [
    "Abort",
    "Answered",
    "AskStatus",
    "Diagnose",
    "News",
    "OpenPayment",
    "Outcome",
    "Rejected",
    "Request",
    "Said",
    "Till",
    "TillWire",
    "Told",
]

ORDER_REF: Final = re.compile(r"[!-~]{1,64}", re.ASCII)
"""Printable ASCII without a space: both wires carry it as it is."""


def _check_order_ref(text: str) -> None:
    if not ORDER_REF.fullmatch(text):
        raise ValueError("an order's name is 1 to 64 printable ASCII characters without a space")


@dataclass(frozen=True, slots=True)
class OpenPayment:
    """Take `amount` (more than zero) for the order; `id` is the till's name for this request."""

    id: str
    order_ref: str
    amount: Money

    def __post_init__(self) -> None:
        _check_order_ref(self.order_ref)
        if self.amount.minor <= 0:
            raise ValueError("a payment is more than zero")


@dataclass(frozen=True, slots=True)
class Abort:
    """Give the order up, if nothing of it was sent yet."""

    id: str
    order_ref: str

    def __post_init__(self) -> None:
        _check_order_ref(self.order_ref)


@dataclass(frozen=True, slots=True)
class AskStatus:
    """What became of the order?"""

    id: str
    order_ref: str

    def __post_init__(self) -> None:
        _check_order_ref(self.order_ref)


@dataclass(frozen=True, slots=True)
class Diagnose:
    """Is the kiosk ready for an order?"""

    id: str


Request = OpenPayment | Abort | AskStatus | Diagnose


class Outcome(StrEnum):
    """What a till is told; the words stand in both protocols."""

    APPROVED = "approved"
    """Final: paid."""
    DECLINED = "declined"
    """Final: the acquirer said no, or was not reached (code `not_sent`); nothing is charged."""
    REVERSED = "reversed"
    """Final: the outcome was not known and has been undone; nothing is charged."""
    RETURNED = "returned"
    """The shopper pays another way or left; nothing was sent, the order is the till's again."""
    ABORTED = "aborted"
    """The till gave the order up in time; nothing was sent."""
    IN_PROGRESS = "in_progress"
    """The order is on the screen or on its way to the acquirer."""
    NOT_FINAL = "not_final"
    """Sent, and no verified answer yet: do not take the money another way. The end follows."""
    TOO_LATE = "too_late"
    """Said to an abort: the payment was sent already; its result follows."""
    BUSY = "busy"
    """Another order is under way; this one was not begun."""
    MISMATCH = "mismatch"
    """The order is known here with another amount; this request was not begun."""
    NOT_FOUND = "not_found"
    """Nothing is known of the order."""
    OUT_OF_ORDER = "out_of_order"
    """The kiosk can't take or look up payments now; this request was not begun."""
    READY = "ready"
    """Said to a diagnosis: an order may come."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the till is told about an order. Texts are empty where there is nothing to say.

    `ref` is the attempt, `code` the reason, `approval` and `rrn` ISO 8583 DE 38 and 37; `at_s` is when the
    attempt was made (seconds since 1970, UTC; 0 without one). `receipt` is for printing: lines of at most 42
    columns. `standing` is what an approved payment became since: `refunded_in_full` or `refunded_in_part`
    (`refunded` is how much), `offline_charged` or `offline_not_charged`.
    """

    outcome: Outcome
    order_ref: str = ""
    amount: Money | None = None
    ref: str = ""
    code: str = ""
    approval: str = ""
    rrn: str = ""
    masked_payer: str = ""
    at_s: float = 0.0
    receipt: tuple[str, ...] = ()
    standing: str = ""
    refunded: Money | None = None

    @property
    def is_open(self) -> bool:
        """Whether an end is still to come."""
        return self.outcome in (Outcome.IN_PROGRESS, Outcome.NOT_FINAL)


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to the till's request with that `id`."""

    id: str
    told: Told


@dataclass(frozen=True, slots=True)
class News:
    """About an order that the till waits for: it is not final, or its end."""

    told: Told


@dataclass(frozen=True, slots=True)
class Rejected:
    """What the till sent was no request; `why` is for whoever builds the till."""

    why: str


Said = Answered | News | Rejected
"""All that a kiosk says to a till."""


class Till(Protocol):
    """One till that is connected. Its methods may be called from any thread and never wait."""

    @property
    def gone(self) -> bool:
        """Whether nothing reaches it any more."""
        ...

    def answer(self, request: Request, told: Told) -> None:
        """The one answer to `request`. Lost with the connection: whoever comes back asks for the status."""
        ...

    def notify(self, told: Told) -> None:
        """News of an order that the till waits for, or has asked about: not final yet, or its end."""
        ...


class TillWire(Protocol):
    """A wire on which tills ask: TCP, a serial line. `tests/contracts/test_till_link.py` holds all to it.

    What arrives damaged, forged, repeated or out of turn never becomes a request.
    """

    def open(self, heard: Callable[[Request, Till], None]) -> None:
        """Begin to listen; `heard` is called for each request, from the wire's own thread, and never waits.

        Raises:
            OperatorError: this can't be listened on.
        """
        ...

    def close(self) -> None:
        """Listen no more; when this returns, `heard` is not called again."""
        ...
