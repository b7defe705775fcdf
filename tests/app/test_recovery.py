"""A journal is held against the acquirer's books: what is missing comes back, and only then payments."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from kiosk.acquirer.client import Lost, Told, Unsent, Verified
from kiosk.acquirer.journal import Journal
from kiosk.acquirer.operations import Difference, ReconciliationAnswer, ReconciliationRequest
from kiosk.app.recovery import Recovery, mend_if_damaged
from kiosk.domain.payment import Answer, Result

from ..acquirer.journals import (
    APPROVED,
    DECLINED,
    REVERSED,
    TODAY,
    UNGUARDED,
    a_refund,
    opened_attempt,
    paid,
    raw,
)
from ..acquirer.parts import TERMINAL, an_effect

BATCH = TODAY.toordinal()
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()


class Clock:
    def monotonic_ms(self):
        return 0

    def utc_s(self):
        return NOON


@dataclass
class Books:
    """An acquirer that holds bookings and compares; `silent`: it does not answer about these batches.

    `refunds`: what it says to one that is sent.
    """

    held: dict[tuple[str, str, int], Difference] = field(default_factory=dict)
    silent: set[int] = field(default_factory=set)
    asked: list[ReconciliationRequest] = field(default_factory=list)
    reply: object = None
    settled: set[int] = field(default_factory=set)
    refunds: object = None

    def book(self, effect, kind="payment", batch=BATCH, minor=None):
        one = Difference(
            ref=effect.ref,
            kind=kind,
            acquirer=effect.order.amount.minor if minor is None else minor,
            order_ref=effect.order.order_ref,
            created=datetime(2026, 11, 25, 9, tzinfo=UTC),
            approval="ABC123",
            rrn="000000000001",
            token=effect.payer.token,
        )
        self.held[effect.ref, kind, batch] = one

    def send(self, exchange):
        if exchange.operation == "refund":
            return self.refunds or Unsent("no network")
        request = msgspec.json.decode(exchange.body, type=ReconciliationRequest)
        self.asked.append(request)
        if request.closes in self.silent:
            return self.reply or Unsent("no network")
        theirs = {(item.ref, item.kind): item for item in request.items}
        ours = {(ref, kind): one for (ref, kind, batch), one in self.held.items() if batch == request.closes}
        differences = [one for key, one in ours.items() if key not in theirs]
        differences += [
            Difference(ref=ref, kind=kind, kiosk=item.minor)
            for (ref, kind), item in theirs.items()
            if (ref, kind) not in ours
        ]
        answer = ReconciliationAnswer(
            version=1,
            operation="reconciliation",
            ref=request.ref,
            closes=request.closes,
            settled=request.closes in self.settled,
            totals=(),
            differences=tuple(differences),
        )
        return Told(answer)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


def recover(path, books, days=2, mended=None):
    with Journal(path, now=lambda: NOON) as journal:
        return Recovery(journal, books, TERMINAL, Clock(), ZoneInfo("Asia/Shanghai"), "CNY").run(
            mended, days=days
        )


def test_an_older_copy_gets_back_what_it_lacks_and_payments_begin_again(path):
    books = Books()
    with Journal(path) as journal:
        books.book(paid(journal))
    shutil.copy(path, path.with_name("older"))
    with Journal(path) as journal:
        lost = paid(journal)
        books.book(lost)
    shutil.copy(path.with_name("older"), path)
    found = recover(path, books)
    assert (found.was_halted, found.complete, found.mended) == ("older_copy", True, None)
    assert [one.ref for one in found.adopted] == [lost.ref]
    assert (found.differ, found.compared) == ((), 2)
    assert not any(request.settle for request in books.asked)
    with Journal(path) as journal:
        assert journal.halted == ""
        entry = journal.payment(lost.ref)
        assert (entry.order.order_ref, entry.order.payee) == (lost.order.order_ref, TERMINAL.payee)
        assert (entry.answer.approval, entry.day, entry.adopted) == ("ABC123", "2026-11-25", True)
        assert journal.is_paid_or_open(lost.order.order_ref)
        assert journal.open_tasks() == []
        opened_attempt(journal)
        assert journal.verify() is None


def test_running_it_again_adopts_nothing_more(path):
    books = Books()
    books.book(an_effect())
    books.book(an_effect(), "reversal")
    assert len(recover(path, books).adopted) == 2
    again = recover(path, books)
    assert (again.adopted, again.differ, again.was_halted) == ((), (), "")


@pytest.mark.parametrize("reply", [None, Lost("no answer")])
def test_until_every_day_is_answered_no_payment_is_begun(path, reply):
    books = Books(silent={BATCH - 1}, reply=reply)
    with Journal(path) as journal:
        journal.halt("sequence_reused")
    found = recover(path, books)
    assert (found.complete, found.unanswered, found.compared) == (False, (BATCH - 1,), 1)
    with Journal(path) as journal:
        assert journal.halted == "sequence_reused"
        assert journal.open_tasks() == [], "nothing hangs on an answer that did not come"
    books.silent.clear()
    assert recover(path, books).complete
    with Journal(path) as journal:
        assert journal.halted == ""


def test_an_answer_about_another_batch_is_none(path):
    class Wrong(Books):
        def send(self, exchange):
            told = super().send(exchange)
            return Told(msgspec.structs.replace(told.message, closes=1))

    assert not recover(path, Wrong(), days=1).complete


def test_a_damaged_journal_is_mended_and_filled(path):
    books = Books()
    with Journal(path) as journal:
        kept, lost = paid(journal), paid(journal)
        books.book(kept)
        books.book(lost)
    raw(path, *UNGUARDED, "DELETE FROM entries WHERE seq > 2")
    path.with_name("journal.sqlite.mark").unlink()
    content = bytearray(path.read_bytes())
    content[:16] = bytes(16)
    path.write_bytes(content)
    mended = mend_if_damaged(path, lambda: NOON)
    assert mended.saved == 2
    found = recover(path, books, mended=mended)
    assert (found.was_halted, [one.ref for one in found.adopted]) == ("recovering", [lost.ref])
    assert mend_if_damaged(path, lambda: NOON) is None


def test_what_is_open_is_not_adopted_and_what_differs_is_told(path):
    books = Books()
    with Journal(path) as journal:
        only_here = paid(journal)
        waiting, _ = opened_attempt(journal)
        books.book(waiting)
    found = recover(path, books)
    assert (found.adopted, found.open_attempts) == ((), 1)
    assert [(one.ref, one.kiosk, one.acquirer) for one in found.differ] == [(only_here.ref, 3850, None)]
    with Journal(path) as journal:
        journal.conclude(waiting.ref, APPROVED)


def test_settled_batches_are_not_asked_about(path):
    books = Books()
    with Journal(path) as journal:
        journal.settle(BATCH - 1, b"{}")
    recover(path, books, days=30)
    assert [request.closes for request in books.asked] == [BATCH]


def test_what_was_sold_after_a_close_that_the_copy_does_not_know_comes_back_too(path):
    books = Books(settled={BATCH, BATCH + 1})
    before, after, last = an_effect(), an_effect(), an_effect()
    books.book(before)
    books.book(after, batch=BATCH + 1)
    books.book(last, batch=BATCH + 2)
    found = recover(path, books)
    assert [one.ref for one in found.adopted] == [before.ref, after.ref, last.ref]
    assert (found.compared, found.complete) == (4, True)
    with Journal(path) as journal:
        assert journal.batch(TODAY) == BATCH + 2, "what is sold now is not refused as of a closed batch"
        assert journal.open_batches() == [BATCH, BATCH + 1, BATCH + 2]
    assert recover(path, books).adopted == ()


def test_an_acquirer_that_calls_every_batch_closed_is_not_asked_for_ever(path):
    assert recover(path, Books(settled=set(range(BATCH, BATCH + 9)))).compared == 4


def test_nothing_is_begun_where_nothing_was_compared(path):
    with Journal(path) as journal:
        journal.halt("sequence_reused")
    found = recover(path, Books(silent={BATCH}), days=0)
    assert (found.complete, found.unanswered) == (False, (BATCH,))


# --- what both sides hold differently -------------------------------------------------------------------


@pytest.mark.parametrize("end", [DECLINED, REVERSED])
def test_what_the_acquirer_charged_although_it_is_declined_here_is_corrected(path, end):
    books = Books()
    with Journal(path) as journal:
        effect, _ = opened_attempt(journal)
        journal.conclude(effect.ref, end)
    books.book(effect)
    found = recover(path, books)
    assert ([one.ref for one in found.corrected], found.adopted, found.differ) == ([effect.ref], (), ())
    with Journal(path) as journal:
        assert journal.payment(effect.ref).answer.result is Result.APPROVED
        assert [(one.kind, one.minor) for one in journal.receipts_in(BATCH)] == [("payment", 3850)]
    again = recover(path, books)
    assert (again.corrected, again.differ) == ((), ())


# --- refunds whose number another one has ---------------------------------------------------------------

OTHER = Lost("refused: other_content", "other_content")


@pytest.fixture
def given(path):
    """A payment with a refund of 100 that an older copy of the journal asked for anew, and halted on."""
    with Journal(path) as journal:
        effect = paid(journal)
        exchange = a_refund(journal, effect, 100)
        journal.open_task(exchange, effect.order, day=TODAY, minor=100)
        journal.halt("other_content")
    books = Books(refunds=OTHER)
    books.book(effect)
    return effect, books


def refund_of(path, effect):
    with Journal(path) as journal:
        (task,) = journal.tasks_of(effect.ref)
        return task, journal.halted


def test_the_same_amount_under_its_number_is_that_refund(path, given):
    effect, books = given
    books.book(effect, "refund", minor=100)
    found = recover(path, books)
    assert ([(one.kind, one.acquirer) for one in found.adopted], found.complete) == ([("refund", 100)], True)
    assert (found.corrected, found.refused, found.differ) == ((), (), ())
    task, halted = refund_of(path, effect)
    assert (task.result, task.minor, halted) == ("approved", 100, "")
    with Journal(path) as journal:
        assert {one.kind: one.minor for one in journal.receipts_in(BATCH)} == {"refund": 100}


def test_another_amount_under_its_number_ends_it_declined_and_is_booked_as_a_correction(path, given):
    effect, books = given
    books.book(effect, "refund", minor=250, batch=BATCH - 1)
    found = recover(path, books)
    assert [(one.kind, one.acquirer) for one in found.corrected] == [("refund", 250)]
    assert (found.adopted, found.refused, found.differ) == ((), (), ())
    task, halted = refund_of(path, effect)
    assert (task.result, task.minor, task.corrected, halted) == ("approved", 250, True, "")
    with Journal(path) as journal:
        assert [one.minor for one in journal.bookings(BATCH - 1)] == [250], "where the acquirer booked it"
    assert recover(path, books).differ == ()


def test_where_no_batch_names_its_number_nothing_went_back(path, given):
    effect, books = given
    found = recover(path, books)
    assert [task.minor for task in found.refused] == [100]
    task, halted = refund_of(path, effect)
    answer = msgspec.json.decode(task.answer, type=Answer)
    assert (answer.result, answer.code, halted) == (Result.DECLINED, "other_content", "")


def test_a_refund_s_number_is_looked_for_from_its_payment_s_batch_on(path, given):
    effect, books = given
    older = BATCH - 9
    with Journal(path) as journal:
        journal.resume()
        old = paid(journal, day=TODAY.replace(day=TODAY.day - 9))
        journal.open_task(a_refund(journal, old, 300), old.order, day=TODAY, minor=300)
    books.book(old, batch=older)
    books.book(old, "refund", batch=older + 1, minor=300)
    found = recover(path, books, days=1)
    assert min(request.closes for request in books.asked) == older
    assert [(one.ref, one.acquirer) for one in found.adopted] == [(old.ref, 300)]
    assert [task.ref for task in found.refused] == [effect.ref]


def test_while_a_batch_is_not_answered_it_stays_open(path, given):
    effect, books = given
    books.silent.add(BATCH - 1)
    found = recover(path, books)
    assert (found.complete, found.refused) == (False, ())
    task, halted = refund_of(path, effect)
    assert (task.result, halted) == (None, "other_content")


@pytest.mark.parametrize("reply", [None, Verified(APPROVED), Lost("refused: in_flight", "in_flight")])
def test_a_refund_that_may_still_be_answered_is_left_to_its_answer(path, given, reply):
    effect, books = given
    books.refunds = reply
    books.book(effect, "refund", minor=100)
    found = recover(path, books)
    assert (found.adopted, found.corrected, found.refused, found.differ) == ((), (), (), ())
    task, halted = refund_of(path, effect)
    assert (task.result, halted) == (None, "")
