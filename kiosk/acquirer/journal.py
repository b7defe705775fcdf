"""What this kiosk asked for and what became of it: written, and on the disk, before anything is sent.

Append-only and hash-chained in SQLite (`journal_file`): a call that returned is durable. No order gets a
second attempt while one is open or approved. What must reach the acquirer although nobody waits for it is a
task here until it has its end.

One process holds a journal at a time (a lock beside it); its methods may be called from any thread.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import date, timedelta
from typing import Final, Literal

import msgspec

from kiosk.acquirer.journal_archive import archive_days
from kiosk.acquirer.journal_books import Books, Taken
from kiosk.acquirer.journal_chain import Draft
from kiosk.acquirer.journal_entries import (
    Booking,
    Entry,
    OpenAttempt,
    PaymentEntry,
    Receipted,
    Task,
)
from kiosk.acquirer.journal_file import Checkpoint
from kiosk.acquirer.journal_guard import InUse
from kiosk.acquirer.journal_schema import MARKS, SCHEMA
from kiosk.acquirer.journal_tasks import JournalHalted, about
from kiosk.acquirer.messages import Exchange
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import Spent
from kiosk.domain.payment import Answer, Authorise, Result

__all__ = [
    "MARKS",
    "SCHEMA",
    "Booking",
    "Entry",
    "InUse",
    "Journal",
    "JournalHalted",
    "OpenAttempt",
    "OrderNotFinal",
    "PaymentEntry",
    "Receipted",
    "Taken",
    "Task",
]

HOUR_S: Final = 3600.0


class OrderNotFinal(OperatorError):  # noqa: N818 - the till's word for it
    """The order was paid already, or an attempt to pay it is not final: there is no second one."""


class Journal(Books):
    """The journal at `path`; `JournalFile` says how it is opened and what that raises. A context manager."""

    _counts = (0, 0)
    """Sum and number of `_count_day`, the store's day that was asked about last."""

    # --- payments: write --------------------------------------------------------------------------------

    def open_attempt(self, effect: Authorise, exchange: Exchange, *, day: date) -> None:
        """Write the attempt down, durably, before it is sent. `day` is the store's.

        Raises:
            OrderNotFinal: the order is paid, or an attempt to pay it is open.
            OperatorError: not written; nothing may be sent.
        """
        if exchange.operation != "payment" or exchange.ref != effect.ref:
            raise ValueError("not the payment of this attempt")
        with self._explained():
            self.check()
            self._refuse_second(effect.order.order_ref)
            kept, self._count_day = self._count_day, ""  # a write that fails may be there all the same
            self._append(
                Draft(
                    "payment",
                    effect.ref,
                    effect.order,
                    effect.payer.token,
                    day.isoformat(),
                    batch=self.batch(day),
                    exchange=exchange,
                    secret=effect.pin is not None,
                    at=self.not_before(self._now()),  # no window goes by a clock that was set back
                )
            )
            self._count_day = kept
            self._count(day.isoformat(), effect.order.amount.minor, 1)

    def open_reversal(self, ref: str, exchange: Exchange) -> None:
        """Write the reversal of the open attempt `ref` down, durably, before it is sent the first time."""
        if exchange.operation != "reversal" or exchange.ref != ref:
            raise ValueError("not the reversal of this attempt")
        with self._explained():
            row = self._attempt(ref)
            if row["outcome"] is not None:
                raise ValueError(f"attempt {ref} is final: {row['outcome']}")
            self._append_end(replace(about(row, "reversal"), exchange=exchange))

    def conclude(self, ref: str, answer: Answer) -> None:
        """Write the end of the attempt `ref`; the same end again changes nothing. A PIN goes with it."""
        if answer.result is Result.PENDING:
            raise ValueError("pending is not an end")
        with self._explained():
            row = self._attempt(ref)
            if row["outcome"] is None:
                self._to_erase |= self._has_secret(row["seq"])
                self._append_end(_end_of(row, answer))
                if answer.result is not Result.APPROVED:
                    self._count(row["day"], -row["minor"], -1)
            elif row["outcome"] != answer.result:
                raise ValueError(f"attempt {ref} is final: {row['outcome']}, not {answer.result}")

    def conclude_offline(self, ref: str, advice_exchange: Exchange, answer: Answer, *, day: date) -> None:
        """The open attempt `ref` ends accepted offline, and its advice is to be sent: both or none.

        `day`: the store's, on which it was accepted.
        """
        if advice_exchange.operation != "advice" or advice_exchange.ref != ref:
            raise ValueError("not the advice of this attempt")
        if answer.result is not Result.APPROVED:
            raise ValueError("what is accepted offline is approved")
        with self._explained():
            row = self._attempt(ref)
            if row["outcome"] is not None:
                raise ValueError(f"attempt {ref} is final: {row['outcome']}")
            advice = replace(about(row, "advice"), day=day.isoformat(), exchange=advice_exchange)
            self._append_end(_end_of(row, answer), advice)

    # --- payments: read ---------------------------------------------------------------------------------

    def is_paid_or_open(self, order_ref: str) -> bool:
        """Whether a new attempt to pay this order would be refused."""
        with self._explained():
            return self._blocking(order_ref) is not None

    def open_attempts(self) -> list[OpenAttempt]:
        """Attempts without an end, oldest first: what a restart has to resolve."""
        with self._explained():
            rows = self._rows("SELECT * FROM attempts WHERE outcome IS NULL ORDER BY seq")
        return [OpenAttempt.of(row) for row in rows]

    def exchange(self, ref: str, operation: Literal["payment", "reversal"]) -> Exchange | None:
        """What was frozen for `operation` of `ref`; None when nothing was, or when it is erased."""
        with self._explained():
            rows = self._rows(
                """SELECT path, body, idempotency_key, sequence FROM written
                   WHERE ref = ? AND kind = ? AND body IS NOT NULL""",
                ref,
                operation,
            )
        return Exchange(ref, operation, "POST", *rows[0]) if rows else None

    def spent(self, token: str, now_s: float, day: date) -> Spent:
        """What is approved, accepted offline or still open: by this payer, and in all.

        `day` is the store's, `now_s` seconds since 1970 (UTC): the hour is the 60 minutes before it. What was
        written under a later day counts as well: the clock was ahead then, or is behind now.
        """
        with self._explained():
            by_kiosk, kiosk_count = self._counted(day.isoformat())
            by_person, by_hour, hour_count, day_count = self._db.execute(
                """SELECT coalesce(sum(minor) FILTER (WHERE day >= :day), 0),
                          coalesce(sum(minor) FILTER (WHERE at > :hour), 0),
                          count(*) FILTER (WHERE at > :hour),
                          count(*) FILTER (WHERE day >= :day)
                   FROM attempts WHERE token = :token AND day >= :yesterday
                                 AND (outcome IS NULL OR outcome = 'approved')""",
                {
                    "token": token,
                    "day": day.isoformat(),
                    "yesterday": (day - timedelta(days=1)).isoformat(),
                    "hour": now_s - HOUR_S,
                },
            ).fetchone()
        return Spent(by_person, by_kiosk, by_hour, hour_count, day_count, kiosk_count)

    def _counted(self, day: str) -> tuple[int, int]:
        """Sum and number of the kiosk's day: read once, then kept by `_count`; a long day stays quick."""
        if self._count_day != day:
            row = self._db.execute(
                """SELECT coalesce(sum(minor), 0), count(*) FROM attempts
                   WHERE day >= ? AND (outcome IS NULL OR outcome = 'approved')""",
                (day,),
            ).fetchone()
            self._count_day, self._counts = day, (row[0], row[1])
        return self._counts

    def _count(self, day: str, minor: int, number: int) -> None:
        if self._count_day and day >= self._count_day:
            self._counts = self._counts[0] + minor, self._counts[1] + number

    def latest_s(self) -> float:
        """When the newest approved attempt was written (seconds since 1970, UTC); 0 when none was.

        A clock that is before it was set back: days and windows go by the later of the two. One that is open
        proves nothing: its clock may have been ahead, and then the acquirer never approves it.
        """
        with self._explained():
            rows = self._rows("SELECT at FROM attempts WHERE outcome = 'approved' ORDER BY at DESC LIMIT 1")
        return float(rows[0]["at"]) if rows else 0.0

    def not_before(self, now_s: float) -> float:
        """The clock's `now_s`, or the newest approval where that is later: what days and windows go by."""
        return max(now_s, self.latest_s())

    def payments(self, limit: int = 100) -> list[PaymentEntry]:
        """The newest attempts first."""
        with self._explained():
            rows = self._rows("SELECT * FROM attempts ORDER BY seq DESC LIMIT ?", limit)
        return [PaymentEntry.of(row) for row in rows]

    def attempts_of(self, order_ref: str) -> list[PaymentEntry]:
        """Every attempt to pay one order, the newest first."""
        with self._explained():
            rows = self._rows("SELECT * FROM attempts WHERE order_ref = ? ORDER BY seq DESC", order_ref)
        return [PaymentEntry.of(row) for row in rows]

    def payments_of(self, token: str) -> list[PaymentEntry]:
        """Every attempt of one payer, the newest first: what they may ask for."""
        with self._explained():
            rows = self._rows("SELECT * FROM attempts WHERE token = ? ORDER BY seq DESC", token)
        return [PaymentEntry.of(row) for row in rows]

    def payment(self, ref: str) -> PaymentEntry | None:
        """The attempt `ref`; None when this journal does not hold it."""
        with self._explained():
            rows = self._rows("SELECT * FROM attempts WHERE ref = ?", ref)
        return PaymentEntry.of(rows[0]) if rows else None

    def named(self, name: str) -> list[PaymentEntry]:
        """The attempts that `name` means, the newest first: an attempt's ref, an order, or the acquirer's
        reference (rrn) as it stands on a receipt: the payment's, its refund's or its advice's."""
        if (by_ref := self.payment(name)) is not None:
            return [by_ref]
        if not name or (attempts := self.attempts_of(name)):
            return attempts if name else []
        with self._explained():
            rows = self._rows(
                """SELECT * FROM attempts WHERE ref IN (
                     SELECT ref FROM attempts WHERE json_extract(CAST(answer AS TEXT), '$.rrn') = :name
                     UNION SELECT ref FROM tasks WHERE kind IN ('refund', 'advice')
                       AND json_extract(CAST(answer AS TEXT), '$.rrn') = :name)
                   ORDER BY seq DESC""",
                {"name": name},
            )
        return [PaymentEntry.of(row) for row in rows]

    def last_end(self) -> PaymentEntry | None:
        """The attempt that ended last; None when none did."""
        with self._explained():
            rows = self._rows(
                """SELECT * FROM attempts WHERE ref =
                   (SELECT ref FROM entries WHERE kind = 'concluded' ORDER BY seq DESC LIMIT 1)"""
            )
        return PaymentEntry.of(rows[0]) if rows else None

    def last_word(self, token: str) -> Result | None:
        """What the acquirer last said of a payment by this payer, approved or declined; None: nothing yet.

        What it did not say itself does not count: not sent, reversed, accepted offline and not forwarded yet.
        """
        with self._explained():
            rows = self._rows(
                """SELECT coalesce(advice_result, outcome) AS word FROM attempts
                   WHERE token = ? AND coalesce(advice_result, outcome) IN ('approved', 'declined')
                     AND (advice_seq IS NULL OR advice_result IS NOT NULL)
                     AND coalesce(json_extract(CAST(answer AS TEXT), '$.code'), '') <> 'not_sent'
                   ORDER BY coalesce((SELECT e.seq FROM entries e
                                      WHERE e.ref = attempts.ref AND e.kind = 'advice_end'), end_seq) DESC
                   LIMIT 1""",
                token,
            )
        return Result(rows[0]["word"]) if rows else None

    def entries_of(self, ref: str) -> list[Entry]:
        """Every entry about `ref`, oldest first, as it hangs in the chain: a dispute's evidence."""
        with self._explained():
            rows = self._rows(
                """SELECT seq, at, kind, ref, number, result, body_sha256, hash
                   FROM entries WHERE ref = ? ORDER BY seq""",
                ref,
            )
        return [Entry(*row) for row in rows]

    # --- compaction -------------------------------------------------------------------------------------

    def compact(self, before: date) -> Checkpoint | None:
        """Move settled days before the store's day `before` into a sealed archive file; None: there are none.

        Nothing that is open, unsettled, or of that day or later leaves; a payment goes with all about it.

        Raises:
            OperatorError: not moved; the journal is as it was.
        """
        with self._explained():
            self.check()
            found, self._chain = archive_days(self._db, self._path, self._chain, before, self._now())
            self._noted()
            return found

    # --- inside -----------------------------------------------------------------------------------------

    def _attempt(self, ref: str) -> sqlite3.Row:
        rows = self._rows("SELECT * FROM attempts WHERE ref = ?", ref)
        if not rows:
            raise ValueError(f"no attempt {ref}")
        return rows[0]

    def _has_secret(self, seq: int) -> bool:
        return bool(self._rows("SELECT 1 FROM bodies WHERE seq = ? AND secret", seq))

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


def _end_of(row: sqlite3.Row, answer: Answer) -> Draft:
    return replace(about(row, "concluded"), body=msgspec.json.encode(answer), result=str(answer.result))
