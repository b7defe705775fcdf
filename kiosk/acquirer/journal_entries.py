"""What the journal hands out: attempts, payments, tasks and bookings, each read from one row of a view."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import cast, get_args

import msgspec

from kiosk.acquirer.messages import Exchange, Operation
from kiosk.acquirer.operations import Kind
from kiosk.domain.money import Money
from kiosk.domain.payment import Answer, Order, Result

__all__ = ["Booking", "Entry", "OpenAttempt", "PaymentEntry", "Receipted", "Task"]


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """An attempt without an end; `reversal_exchange` is what was frozen when it is being reversed."""

    order: Order
    ref: str
    exchange: Exchange
    reversing: bool
    reversal_exchange: Exchange | None

    @classmethod
    def of(cls, row: sqlite3.Row) -> OpenAttempt:
        ref, reversing = row["ref"], row["r_path"] is not None
        frozen = (row["path"], row["body"], row["idempotency_key"], row["sequence"])
        undoing = (row["r_path"], row["r_body"], row["r_key"], row["r_sequence"])
        return cls(
            order_of(row),
            ref,
            Exchange(ref, "payment", "POST", *frozen),
            reversing,
            Exchange(ref, "reversal", "POST", *undoing) if reversing else None,
        )


@dataclass(frozen=True, slots=True)
class PaymentEntry:
    """One attempt as staff see it; times are seconds since 1970 (UTC); `answer` is None while it is open.

    `offline`: it was accepted without the acquirer. `adopted`: this journal has it from the acquirer's books.
    `corrected`: it ended otherwise here, and the acquirer's books were believed (`Journal.adopt`).
    """

    at: float
    ref: str
    order: Order
    token: str
    day: str
    answer: Answer | None
    reversing: bool
    batch: int = 0
    offline: bool = False
    adopted: bool = False
    corrected: bool = False

    @classmethod
    def of(cls, row: sqlite3.Row) -> PaymentEntry:
        return cls(
            row["at"],
            row["ref"],
            order_of(row),
            row["token"],
            row["day"],
            _answer_of(row),
            row["r_path"] is not None,
            row["batch"],
            row["advice_seq"] is not None,
            row["result"] == "adopted",
            row["corrected_seq"] is not None,
        )


@dataclass(frozen=True, slots=True)
class Task:
    """What must reach the acquirer although nobody waits: a refund, an advice, a dispute, a close.

    `at`: seconds since 1970 (UTC). `order` is None for a close. `result` and `answer` (the answer's body) are
    None while it is open. `corrected`: the acquirer's books say so, against its word or in its place; `minor`
    is then what they hold.
    """

    at: float
    operation: Operation
    ref: str
    number: int
    key: str
    order: Order | None
    minor: int
    token: str
    day: str
    batch: int
    exchange: Exchange
    result: str | None
    answer: bytes | None
    corrected: bool = False

    @classmethod
    def of(cls, row: sqlite3.Row) -> Task:
        operation = cast("Operation", row["kind"])
        frozen = (row["path"], row["body"], row["idempotency_key"] or None, row["sequence"])
        return cls(
            row["at"],
            operation,
            row["ref"],
            row["number"],
            row["idempotency_key"],
            order_of(row) if row["order_ref"] else None,
            row["booked_minor"],
            row["token"],
            row["day"],
            row["batch"],
            Exchange(row["ref"], operation, "POST", *frozen),
            row["outcome"],
            row["answer"],
            row["corrected_seq"] is not None,
        )


@dataclass(frozen=True, slots=True)
class Booking:
    """What counts in a batch; the same words as the protocol's (`operations.Item`)."""

    ref: str
    kind: Kind
    number: int
    minor: int
    currency: str

    @classmethod
    def of(cls, row: sqlite3.Row) -> Booking:
        kind = row["kind"]
        if kind not in get_args(Kind):
            raise ValueError(f"no booking of kind {kind!r}")
        return cls(row["ref"], kind, row["number"], row["minor"], row["currency"])


@dataclass(frozen=True, slots=True)
class Receipted:
    """One receipt that was printed or shown."""

    kind: Kind
    number: int
    minor: int
    copy: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the chain as it stands: what a dispute's evidence and an export name."""

    seq: int
    at: float
    kind: str
    ref: str
    number: int
    result: str
    body_sha256: str
    hash: str


def _answer_of(row: sqlite3.Row) -> Answer | None:
    if row["answer"] is not None:
        return msgspec.json.decode(row["answer"], type=Answer)
    return Answer(Result(row["outcome"]), "recovered") if row["outcome"] else None  # its body was lost


def order_of(row: sqlite3.Row) -> Order:
    """The order that an entry is about."""
    return Order(row["order_ref"], Money(row["minor"], row["currency"]), row["payee"])
