"""A journal made whole again: what can be read is saved, and the acquirer is asked for what is missing.

Each batch that is not settled is compared (nothing is closed by it); bookings that only the acquirer knew are
adopted. Payments may be begun again only when every batch was answered. Running it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from kiosk.acquirer.client import Reply, Told
from kiosk.acquirer.journal import Booking, Journal
from kiosk.acquirer.journal_recovery import Mended, is_whole, mend
from kiosk.acquirer.messages import Amount, Exchange, Terminal, encode, new_ref
from kiosk.acquirer.operations import (
    Difference,
    Item,
    ReconciliationAnswer,
    Total,
    reconciliation_request,
)
from kiosk.domain.ports import Clock

__all__ = ["DAYS", "Recovered", "Recovery", "mend_if_damaged"]

DAYS: Final = 35
"""How far back batches are compared when nobody says otherwise; one that is settled is not asked for."""


class Sender(Protocol):
    """`AcquirerClient`, or what stands for it."""

    def send(self, exchange: Exchange) -> Reply: ...


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was done. `unanswered`: batches that the acquirer did not compare; `differ`: bookings that both
    sides hold differently, for staff; `was_halted`: why no payment could be begun, empty when one could."""

    mended: Mended | None
    was_halted: str
    compared: int
    unanswered: tuple[int, ...]
    adopted: tuple[Difference, ...]
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
        adopted, differ, unanswered = list[Difference](), list[Difference](), list[int]()
        days = max(days, 1)  # nothing may be begun where nothing was compared
        batch, compared, furthest = max(journal.settled_batch(), newest - days), 0, newest + days
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
                if self._adopt(difference, batch, today):
                    adopted.append(difference)
                else:
                    differ.append(difference)
        if halted and not unanswered:
            journal.resume()
        still_open = {attempt.ref for attempt in journal.open_attempts()}
        return Recovered(
            mended,
            halted,
            compared,
            tuple(unanswered),
            tuple(adopted),
            tuple(found for found in differ if found.ref not in still_open),
            len(still_open),
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

    def _adopt(self, difference: Difference, batch: int, today: date) -> bool:
        created = difference.created
        return difference.kiosk is None and self.journal.adopt(
            difference,
            currency=self.currency,
            batch=batch,
            day=self._day(created.timestamp()) if created else today,
            payee=self.terminal.payee,
        )

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
