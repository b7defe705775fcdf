"""What this kiosk asked for and what became of it: written, and on the disk, before anything is sent.

Append-only and hash-chained (`domain.chain`) in SQLite (WAL, synchronous=FULL): a call that returned is
durable. No order gets a second attempt while one is open or approved. The chain names the hash of a body,
not the body, so that a body can later be erased without breaking it.

One process holds a journal at a time (a lock beside it); its methods may be called from any thread.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import msgspec

from kiosk.acquirer.messages import Exchange
from kiosk.domain.chain import GENESIS, link
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import Spent
from kiosk.domain.money import Money
from kiosk.domain.payment import Answer, Authorise, Order, Result

__all__ = ["InUse", "Journal", "OpenAttempt", "OrderNotFinal", "PaymentEntry"]

APPLICATION_ID: Final = 0x6650_4B4A
"""Marks the file as ours (SQLite's application_id): "fPKJ"."""
SCHEMA_VERSION: Final = 1

SCHEMA: Final = """
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('payment', 'reversal', 'concluded')),
    ref TEXT NOT NULL, order_ref TEXT NOT NULL, payee TEXT NOT NULL, token TEXT NOT NULL,
    minor INTEGER NOT NULL, currency TEXT NOT NULL, day TEXT NOT NULL,
    sequence INTEGER NOT NULL, path TEXT NOT NULL, idempotency_key TEXT NOT NULL, body BLOB,
    body_sha256 TEXT NOT NULL, result TEXT NOT NULL, prev_hash TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX once ON entries (ref, kind);
CREATE INDEX by_order ON entries (order_ref);
CREATE INDEX by_day ON entries (day);
CREATE TRIGGER no_change BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER no_removal BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE VIEW attempts AS
    SELECT p.*, c.result AS outcome, c.body AS answer, c.at AS concluded_at,
           r.path AS r_path, r.idempotency_key AS r_key, r.body AS r_body, r.sequence AS r_sequence
    FROM entries p
    LEFT JOIN entries c ON c.ref = p.ref AND c.kind = 'concluded'
    LEFT JOIN entries r ON r.ref = p.ref AND r.kind = 'reversal'
    WHERE p.kind = 'payment';
"""
MARKS: Final = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"

CHAINED: Final = (
    "seq, at, kind, ref, order_ref, payee, token, minor, currency, day, sequence, path, idempotency_key, "
    "body_sha256, result"
)
"""The columns that an entry's hash covers, in this order, as a JSON array."""


class InUse(OperatorError):  # noqa: N818 - the journal is in use
    """A running kiosk holds the journal; it checked the chain when it started."""


class OrderNotFinal(OperatorError):  # noqa: N818 - the till's word for it
    """The order was paid already, or an attempt to pay it is not final: there is no second one."""


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """An attempt without an end; `reversal_exchange` is what was frozen when it is being reversed."""

    order: Order
    ref: str
    exchange: Exchange
    reversing: bool
    reversal_exchange: Exchange | None


@dataclass(frozen=True, slots=True)
class PaymentEntry:
    """One attempt as staff see it; times are seconds since 1970 (UTC); `answer` is None while it is open."""

    at: float
    ref: str
    order: Order
    token: str
    day: str
    answer: Answer | None
    reversing: bool


class Journal:
    """The journal at `path`; made (mode 0600, its folder 0700) when it is not there. Also a context manager.

    Raises:
        OperatorError: damaged, of another version, held by another kiosk, or the disk is full. What raised
            it was not written, so it must not be sent.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mutex = threading.RLock()
        self._lock_handle: int | None = _lock(path)
        self._sequence, self._last_seq, self._last_hash = 0, 0, GENESIS
        try:
            with self._explained():
                self._db = self._open()
                self._take_up()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of file and lock; calling it again does nothing."""
        with self._mutex:
            if hasattr(self, "_db"):
                self._db.close()
            if self._lock_handle is not None:
                os.close(self._lock_handle)
                self._lock_handle = None

    # --- write ------------------------------------------------------------------------------------------

    def next_sequence(self) -> int:
        """A number for the next request: larger than any before it, also across restarts.

        It is kept with the request; a number that was never written was never sent.
        """
        with self._mutex:
            self._sequence += 1
            return self._sequence

    @property
    def last_hash(self) -> str:
        """The hash of the last entry (64 hex digits): what the next request names as `previous`."""
        with self._mutex:
            return self._last_hash

    def open_attempt(self, effect: Authorise, exchange: Exchange, *, day: date) -> None:
        """Write the attempt down, durably, before it is sent. `day` is the store's.

        Raises:
            OrderNotFinal: the order is paid, or an attempt to pay it is open.
            OperatorError: not written; nothing may be sent.
        """
        if exchange.operation != "payment" or exchange.ref != effect.ref:
            raise ValueError("not the payment of this attempt")
        with self._explained():
            self._refuse_second(effect.order.order_ref)
            self._append(
                "payment",
                effect.ref,
                effect.order,
                token=effect.payer.token,
                day=day.isoformat(),
                exchange=exchange,
            )

    def open_reversal(self, ref: str, exchange: Exchange) -> None:
        """Write the reversal of the open attempt `ref` down, durably, before it is sent the first time."""
        if exchange.operation != "reversal" or exchange.ref != ref:
            raise ValueError("not the reversal of this attempt")
        with self._explained():
            row = self._attempt(ref)
            if row["outcome"] is not None:
                raise ValueError(f"attempt {ref} is final: {row['outcome']}")
            self._append("reversal", ref, _order(row), token=row["token"], day=row["day"], exchange=exchange)

    def conclude(self, ref: str, answer: Answer) -> None:
        """Write the end of the attempt `ref`; the same end again changes nothing."""
        if answer.result is Result.PENDING:
            raise ValueError("pending is not an end")
        with self._explained():
            row = self._attempt(ref)
            if row["outcome"] is None:
                self._append(
                    "concluded",
                    ref,
                    _order(row),
                    token=row["token"],
                    day=row["day"],
                    body=msgspec.json.encode(answer),
                    result=answer.result,
                )
            elif row["outcome"] != answer.result:
                raise ValueError(f"attempt {ref} is final: {row['outcome']}, not {answer.result}")

    # --- read -------------------------------------------------------------------------------------------

    def is_paid_or_open(self, order_ref: str) -> bool:
        """Whether a new attempt to pay this order would be refused."""
        with self._explained():
            return self._blocking(order_ref) is not None

    def open_attempts(self) -> list[OpenAttempt]:
        """Attempts without an end, oldest first: what a restart has to resolve."""
        with self._explained():
            rows = self._rows("SELECT * FROM attempts WHERE outcome IS NULL ORDER BY seq")
        return [_open_attempt(row) for row in rows]

    def exchange(self, ref: str, operation: Literal["payment", "reversal"]) -> Exchange | None:
        """What was frozen for `operation` of `ref`; None when nothing was."""
        with self._explained():
            rows = self._rows(
                "SELECT path, body, idempotency_key, sequence FROM entries WHERE ref = ? AND kind = ?",
                ref,
                operation,
            )
        return Exchange(ref, operation, "POST", *rows[0]) if rows else None

    def spent_today(self, token: str, day: date) -> Spent:
        """Approved or still open on the store's `day`, in minor units: by this payer, and in all."""
        with self._explained():
            (row,) = self._rows(
                """SELECT coalesce(sum(minor) FILTER (WHERE token = ?), 0), coalesce(sum(minor), 0)
                   FROM attempts WHERE day = ? AND (outcome IS NULL OR outcome = 'approved')""",
                token,
                day.isoformat(),
            )
        return Spent(by_person=row[0], by_kiosk=row[1])

    def payments(self, limit: int = 100) -> list[PaymentEntry]:
        """The newest attempts first."""
        with self._explained():
            rows = self._rows("SELECT * FROM attempts ORDER BY seq DESC LIMIT ?", limit)
        return [_payment_entry(row) for row in rows]

    def attempts_of(self, order_ref: str) -> list[PaymentEntry]:
        """Every attempt to pay one order, the newest first."""
        with self._explained():
            rows = self._rows("SELECT * FROM attempts WHERE order_ref = ? ORDER BY seq DESC", order_ref)
        return [_payment_entry(row) for row in rows]

    def last_end(self) -> PaymentEntry | None:
        """The attempt that ended last; None when none did."""
        with self._explained():
            rows = self._rows(
                """SELECT * FROM attempts WHERE ref =
                   (SELECT ref FROM entries WHERE kind = 'concluded' ORDER BY seq DESC LIMIT 1)"""
            )
        return _payment_entry(rows[0]) if rows else None

    def verify(self) -> int | None:
        """Follow the chain: None when it is whole, else the number of the first entry that does not fit."""
        with self._explained():
            return self._follow()[0]

    # --- inside -----------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._db = db  # so that close() finds it whatever happens below
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA trusted_schema = OFF")
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        empty = not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if empty and not application:
            db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} {MARKS} COMMIT;")
        elif (application, version) != (APPLICATION_ID, SCHEMA_VERSION):
            raise OperatorError(
                f"not a journal of this release (version {version}, this one writes {SCHEMA_VERSION})",
                where=str(self._path),
                do="Use the release that wrote it.",
            )
        return db

    def _take_up(self) -> None:
        broken, self._last_seq, self._last_hash = self._follow()
        if broken is not None:
            raise OperatorError(
                f"entry {broken} was changed or is missing",
                where=str(self._path),
                do="Keep the file for the acquirer and ask it for the open payments.",
            )
        (self._sequence,) = self._db.execute("SELECT coalesce(max(sequence), 0) FROM entries").fetchone()

    def _follow(self) -> tuple[int | None, int, str]:
        """First broken entry or None, number and hash of the last good one."""
        seq, last = 0, GENESIS
        rows = self._db.execute(f"SELECT {CHAINED}, body, prev_hash, hash FROM entries ORDER BY seq")  # noqa: S608
        for row in rows:
            chained = tuple(row)[:-3]
            whole = (
                row["seq"] == seq + 1
                and row["prev_hash"] == last
                and row["hash"] == link(last, msgspec.json.encode(chained))
                and row["body_sha256"] == hashlib.sha256(row["body"] or b"").hexdigest()
            )
            if not whole:
                return seq + 1, seq, last
            seq, last = row["seq"], row["hash"]
        return None, seq, last

    def _append(
        self,
        kind: str,
        ref: str,
        order: Order,
        *,
        token: str,
        day: str,
        exchange: Exchange | None = None,
        body: bytes | None = None,
        result: str = "",
    ) -> None:
        frozen = body if exchange is None else exchange.body
        chained = (
            self._last_seq + 1,
            time.time(),
            kind,
            ref,
            order.order_ref,
            order.payee,
            token,
            order.amount.minor,
            order.amount.currency,
            day,
            exchange.sequence if exchange else 0,
            exchange.path if exchange else "",
            (exchange.idempotency_key or "") if exchange else "",
            hashlib.sha256(frozen or b"").hexdigest(),
            result,
        )
        digest = link(self._last_hash, msgspec.json.encode(chained))
        marks = ", ".join("?" * (len(chained) + 3))
        self._db.execute(
            f"INSERT INTO entries ({CHAINED}, body, prev_hash, hash) VALUES ({marks})",  # noqa: S608
            (*chained, frozen, self._last_hash, digest),
        )  # autocommit: durable when this returns
        self._last_seq, self._last_hash = self._last_seq + 1, digest

    def _attempt(self, ref: str) -> sqlite3.Row:
        rows = self._rows("SELECT * FROM attempts WHERE ref = ?", ref)
        if not rows:
            raise ValueError(f"no attempt {ref}")
        return rows[0]

    def _blocking(self, order_ref: str) -> sqlite3.Row | None:
        rows = self._rows(
            """SELECT ref, outcome FROM attempts
               WHERE order_ref = ? AND (outcome IS NULL OR outcome = 'approved')""",
            order_ref,
        )
        return rows[0] if rows else None

    def _refuse_second(self, order_ref: str) -> None:
        row = self._blocking(order_ref)
        if row is not None:
            state = "is paid" if row["outcome"] else "has an attempt whose outcome is open"
            raise OrderNotFinal(f"order {order_ref} {state} (ref {row['ref']})", do="Don't pay it again.")

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        return self._db.execute(query, values).fetchall()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """One caller at a time, and SQLite's errors as what they mean for an operator."""
        with self._mutex:
            try:
                yield
            except sqlite3.OperationalError as error:
                raise OperatorError(
                    f"the journal can't be written or read ({error})",
                    where=str(self._path),
                    do="Free the disk, or let the kiosk's user write there; nothing was sent.",
                ) from None
            except sqlite3.IntegrityError as error:
                raise ValueError(f"written already: {error}") from None
            except sqlite3.DatabaseError as error:
                raise OperatorError(
                    f"the journal is damaged ({error})",
                    where=str(self._path),
                    do="Keep the file for the acquirer and restore the last good one.",
                ) from None
            except OSError as error:
                raise _not_opened(self._path, error) from None


def _not_opened(path: Path, error: OSError) -> OperatorError:
    return OperatorError(
        f"the journal can't be opened ({error.strerror})",
        where=str(path),
        do="Run as the data folder's owner, on a disk that can be written.",
    )


def _lock(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _not_opened(path, error) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise InUse(
            "another kiosk is running on this data folder",
            where=str(path.parent),
            do="Stop it, or use another --data-dir.",
        ) from None
    return handle


def _order(row: sqlite3.Row) -> Order:
    return Order(row["order_ref"], Money(row["minor"], row["currency"]), row["payee"])


def _payment_entry(row: sqlite3.Row) -> PaymentEntry:
    return PaymentEntry(
        row["at"],
        row["ref"],
        _order(row),
        row["token"],
        row["day"],
        msgspec.json.decode(row["answer"], type=Answer) if row["answer"] is not None else None,
        row["r_path"] is not None,
    )


def _open_attempt(row: sqlite3.Row) -> OpenAttempt:
    ref, reversing = row["ref"], row["r_path"] is not None
    frozen = (row["path"], row["body"], row["idempotency_key"], row["sequence"])
    undoing = (row["r_path"], row["r_body"], row["r_key"], row["r_sequence"])
    return OpenAttempt(
        _order(row),
        ref,
        Exchange(ref, "payment", "POST", *frozen),
        reversing,
        Exchange(ref, "reversal", "POST", *undoing) if reversing else None,
    )
