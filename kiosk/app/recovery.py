"""A journal made whole again: what can be read is saved, and the acquirer is asked for what is missing.

Each batch that is not settled is compared (nothing is closed by it). Bookings that only the acquirer knew are
adopted; what is held here as declined and there as approved gets a correction. A refund whose number belongs
to another one at the acquirer ends by what its books hold under that number. Payments may be begun again only
when every batch was answered. Running it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final, Protocol
from zoneinfo import ZoneInfo

import msgspec

from kiosk.acquirer.client import Lost, Reply, Told
from kiosk.acquirer.journal import Booking, Journal, Taken, Task
from kiosk.acquirer.journal_recovery import Mended, is_whole, mend
from kiosk.acquirer.messages import Amount, Exchange, Terminal, encode, new_ref
from kiosk.acquirer.operations import (
    Difference,
    Item,
    ReconciliationAnswer,
    Total,
    reconciliation_request,
)
from kiosk.domain.payment import Answer, Result
from kiosk.domain.ports import Clock

__all__ = ["DAYS", "Recovered", "Recovery", "mend_if_damaged"]

DAYS: Final = 35
"""How far back batches are compared when nobody says otherwise; one that is settled is not asked for."""
OTHER_CONTENT: Final = "other_content"
"""The acquirer's word for a key that another message had."""


class Sender(Protocol):
    """`AcquirerClient`, or what stands for it."""

    def send(self, exchange: Exchange) -> Reply: ...


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was done. `unanswered`: batches that the acquirer did not compare; `adopted`: written as the
    acquirer has it; `corrected`: held here as declined or undone, and no longer; `refused`: refunds that
    ended declined, because nothing went back under their number; `differ`: bookings that both sides hold
    differently, for staff; `was_halted`: why no payment could be begun, empty when one could."""

    mended: Mended | None
    was_halted: str
    compared: int
    unanswered: tuple[int, ...]
    adopted: tuple[Difference, ...]
    corrected: tuple[Difference, ...]
    refused: tuple[Task, ...]
    differ: tuple[Difference, ...]
    open_attempts: int

    @property
    def complete(self) -> bool:
        """Whether every batch was answered: payments may be begun."""
        return not self.unanswered


def mend_if_damaged(path: Path, now: Callable[[], float]) -> Mended | None:
    """Put a new journal in the place of a damaged one; None when it is sound. See `mend` for errors."""
    return None if is_whole(path) else mend(path, now=now)


@dataclass(frozen=True, slots=True)
class Recovery:
    """An open journal, and whom to ask. `currency`: the store's (ISO 4217)."""

    journal: Journal
    acquirer: Sender
    terminal: Terminal
    clock: Clock
    timezone: ZoneInfo
    currency: str

    def run(self, mended: Mended | None = None, *, days: int = DAYS) -> Recovered:
        """Ask for the batches of the last `days` days and adopt what only the acquirer knows.

        Raises:
            OperatorError: the journal can't be written; what was adopted before stays.
        """
        journal, today = self.journal, self._day(self.clock.utc_s())
        halted, newest = journal.halted, journal.batch(today)
        found: dict[Taken, list[Difference]] = {"": [], "adopted": [], "ended": [], "corrected": []}
        refused, unanswered = self._refused(), list[int]()
        days = max(days, 1)  # nothing may be begun where nothing was compared
        batch, compared, furthest = self._before_first(newest - days, refused.values()), 0, newest + days
        while batch < newest:
            batch += 1
            answer = self._compare(batch, today)
            if answer is None:
                unanswered.append(batch)
                continue
            compared += 1
            if answer.settled and batch == newest < furthest:  # closed after the copy was made: what was
                newest += 1  # sold since belongs to the next one, and so does what will be
            for difference in answer.differences:
                found[self._take(difference, batch, today, refused)].append(difference)
        if not unanswered:
            self._end_declined(refused.values())
            if halted:
                journal.resume()
        known = {attempt.ref for attempt in journal.open_attempts()}
        known |= {one.ref for one in found["corrected"] if one.kind != "refund"}  # its other half went away
        return Recovered(
            mended,
            halted,
            compared,
            tuple(unanswered),
            (*found["adopted"], *found["ended"]),
            tuple(found["corrected"]),
            () if unanswered else tuple(refused.values()),
            tuple(one for one in found[""] if one.ref not in known and not self._is_open_refund(one)),
            len(journal.open_attempts()),
        )

    def _refused(self) -> dict[str, Task]:
        """Open refunds, by key, whose number another one has at the acquirer: a copy was put back that lacks
        that one. The same bytes will never be treated, so only the acquirer's books can end them."""
        refunds = [task for task in self.journal.open_tasks() if task.operation == "refund"]
        return {
            task.key: task
            for task in refunds
            if isinstance(reply := self.acquirer.send(task.exchange), Lost) and reply.code == OTHER_CONTENT
        }

    def _before_first(self, wanted: int, refused: Iterable[Task]) -> int:
        """The batch before the first that is asked for: a refund is in none before its payment's."""
        paid = [self.journal.payment(task.ref) for task in refused]
        return max(self.journal.settled_batch(), min([wanted, *(one.batch - 1 for one in paid if one)]))

    def _end_declined(self, refused: Iterable[Task]) -> None:
        """Refunds that no batch named: what has their number there was declined, and nothing went back."""
        word = msgspec.json.encode(Answer(Result.DECLINED, OTHER_CONTENT))
        for task in refused:
            self.journal.conclude_task(task.key, str(Result.DECLINED), word)

    def _is_open_refund(self, difference: Difference) -> bool:
        return difference.kind == "refund" and any(
            (task.operation, task.number, task.result) == ("refund", difference.number, None)
            for task in self.journal.tasks_of(difference.ref)
        )

    def _compare(self, batch: int, today: date) -> ReconciliationAnswer | None:
        """The acquirer's view of `batch`; None when it gave none. Written down like all that is sent."""
        bookings = [one for one in self.journal.bookings(batch) if one.currency == self.currency]
        now, own = self.clock.utc_s(), max(self.journal.batch(today), batch)
        exchange = reconciliation_request(
            self.terminal,
            new_ref(self.clock),
            closes=batch,
            settle=False,
            currency=self.currency,
            totals=totals_of(bookings, self.currency),
            items=tuple(
                Item(ref=one.ref, kind=one.kind, number=one.number, minor=one.minor) for one in bookings
            ),
            sequence=self.journal.next_sequence(),
            batch=own,
            created_utc=now,
            previous=self.journal.last_hash,
        )
        self.journal.open_task(exchange, None, day=today, batch=own)
        key = exchange.idempotency_key or ""
        match self.acquirer.send(exchange):
            case Told(ReconciliationAnswer() as answer) if answer.closes == batch:
                self.journal.conclude_task(key, "compared", encode(answer))
                return answer
        self.journal.conclude_task(key, "no_answer", b"")  # nothing hangs on it
        return None

    def _take(self, difference: Difference, batch: int, today: date, refused: dict[str, Task]) -> Taken:
        """Believe the acquirer's books, as far as the journal lets them; each entry has its receipt."""
        key = f"{difference.ref}:refund:{difference.number}"
        if key not in refused and self._is_open_refund(difference):
            return ""  # its own answer is on the way
        created = difference.created
        taken = self.journal.adopt(
            difference,
            currency=self.currency,
            batch=batch,
            day=self._day(created.timestamp()) if created else today,
            payee=self.terminal.payee,
        )
        if taken:
            self.journal.note_receipt(
                difference.ref, difference.kind, difference.number, difference.acquirer or 0,
                self.currency, batch, copy=False,
            )  # fmt: skip
            refused.pop(key, None)
        return taken

    def _day(self, seconds: float) -> date:
        return datetime.fromtimestamp(seconds, self.timezone).date()


def totals_of(bookings: list[Booking], currency: str) -> tuple[Total, ...]:
    """Number and sum of each kind that occurs."""
    sums: dict[str, list[Booking]] = {}
    for one in bookings:
        sums.setdefault(one.kind, []).append(one)
    return tuple(
        Total(
            kind=ones[0].kind,
            count=len(ones),
            amount=Amount(minor=sum(one.minor for one in ones), currency=currency),
        )
        for ones in sums.values()
    )
