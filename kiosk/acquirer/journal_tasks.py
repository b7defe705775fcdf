"""Tasks: what must reach the acquirer although nobody waits for it, from its writing to its end.

Refunds, advices of offline sales, disputes and closes are written before they are sent, like payments, and
end by the acquirer's word. A journal that is an older copy of itself begins none, nor does a full disk.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import date

from kiosk.acquirer.journal_batches import Batches
from kiosk.acquirer.journal_chain import Draft
from kiosk.acquirer.journal_entries import Task, order_of
from kiosk.acquirer.journal_file import FULL_DISK
from kiosk.acquirer.journal_schema import TASKS
from kiosk.acquirer.messages import Exchange
from kiosk.domain.errors import OperatorError
from kiosk.domain.money import Money
from kiosk.domain.payment import Order

__all__ = ["JournalHalted", "Tasks", "about"]


class JournalHalted(OperatorError):  # noqa: N818 - what the journal is
    """The journal is an older copy of itself: entries are missing that acquirer or mark know of."""


class Tasks(Batches):
    """The journal's file with its tasks."""

    def check(self) -> None:
        """Whether a payment may be begun: call it before somebody is asked to look.

        Raises:
            JournalHalted: entries are missing; `kiosk journal recover` finds them.
            OperatorError: the disk has no room left for the end of another attempt.
        """
        with self._explained():
            if self.halted:
                raise JournalHalted(
                    f"the journal is an older copy of itself ({self.halted}): no payment is begun",
                    where=str(self._path),
                    do="Run `kiosk journal recover`: the acquirer knows what is missing.",
                )
            if not self._reserve.hold():
                raise OperatorError(FULL_DISK, where=str(self._path.parent), do="Free the disk.")

    def open_task(
        self,
        exchange: Exchange,
        order: Order | None,
        *,
        token: str = "",
        day: date,
        minor: int = 0,
        batch: int = 0,
    ) -> None:
        """Write down what must reach the acquirer, durably, before it is sent.

        `order` is the payment's (None: a close of a batch), `minor` what this task is about, in its currency.
        `batch` is the one that it belongs to, 0: the day's. A close that settles belongs to the batch after
        the one that it closes, and so does all that follows it, whatever becomes of it.

        Raises:
            OperatorError: not written; it may not be sent.
            ValueError: this task is written already.
        """
        if exchange.operation not in TASKS or exchange.idempotency_key is None:
            raise ValueError(f"{exchange.operation} is no task")
        if order is not None and minor:
            order = replace(order, amount=Money(minor, order.amount.currency))
        with self._explained():
            if exchange.operation != "reconciliation":  # a comparison is how a journal is made whole again
                self.check()
            self._append(
                Draft(
                    exchange.operation,
                    exchange.ref,
                    order,
                    token,
                    day.isoformat(),
                    number=int(exchange.idempotency_key.rpartition(":")[2]),
                    batch=batch or self.batch(day),
                    exchange=exchange,
                )
            )

    def conclude_task(self, key: str, result: str, answer: bytes) -> None:
        """Write the end of the task whose idempotency key is `key`; the same end again changes nothing."""
        with self._explained():
            rows = self._rows("SELECT * FROM tasks WHERE idempotency_key = ?", key)
            if not rows:
                raise ValueError(f"no task {key}")
            (row,) = rows
            if row["outcome"] is None:
                end = about(row, f"{row['kind']}_end")
                self._append_end(replace(end, number=row["number"], body=answer, result=result))
            elif row["outcome"] != result:
                raise ValueError(f"task {key} is final: {row['outcome']}, not {result}")

    def open_tasks(self) -> list[Task]:
        """Tasks without an end, oldest first."""
        with self._explained():
            rows = self._rows("SELECT * FROM tasks WHERE outcome IS NULL ORDER BY seq")
        return [Task.of(row) for row in rows]

    def tasks_of(self, ref: str) -> list[Task]:
        """Every task about `ref`, oldest first."""
        with self._explained():
            rows = self._rows("SELECT * FROM tasks WHERE ref = ? ORDER BY seq", ref)
        return [Task.of(row) for row in rows]

    def tasks(self, limit: int = 100) -> list[Task]:
        """The newest tasks first."""
        with self._explained():
            rows = self._rows("SELECT * FROM tasks ORDER BY seq DESC LIMIT ?", limit)
        return [Task.of(row) for row in rows]

    def advices(self) -> list[Task]:
        """Every sale that was accepted offline, forwarded or not, oldest first."""
        with self._explained():
            rows = self._rows("SELECT * FROM tasks WHERE kind = 'advice' ORDER BY seq")
        return [Task.of(row) for row in rows]

    def next_advice(self) -> int:
        """The number of the next sale that is accepted offline: 1 for the first of this kiosk."""
        with self._mutex:
            return self._chain.advices + 1


def about(row: sqlite3.Row, kind: str) -> Draft:
    """An entry of `kind` about what `row` is about."""
    order = order_of(row) if row["order_ref"] else None
    return Draft(
        kind, row["ref"], order, row["token"], row["day"], batch=row["batch"], currency=row["currency"]
    )
