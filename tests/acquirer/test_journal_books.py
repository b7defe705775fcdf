"""A journal held against the acquirer's books: what is written, and what is left to people."""

from __future__ import annotations

import msgspec
import pytest

from kiosk.acquirer.journal import Booking, Journal
from kiosk.acquirer.journal_recovery import mend
from kiosk.acquirer.operations import Difference
from kiosk.domain.errors import OperatorError
from kiosk.domain.payment import Answer, Result

from .journals import (
    APPROVED,
    DECLINED,
    OFFLINE,
    REVERSED,
    TODAY,
    UNGUARDED,
    a_refund,
    a_task,
    of_schema_2,
    opened_attempt,
    paid,
    raw,
)

BATCH = TODAY.toordinal()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path):
    with Journal(path) as opened:
        yield opened


def take(journal, effect, kind="payment", minor=None, *, batch=BATCH, kiosk=None):
    """Adopt what the acquirer says of `effect`; how it was written."""
    difference = Difference(
        ref=effect.ref,
        kind=kind,
        kiosk=kiosk,
        acquirer=effect.order.amount.minor if minor is None else minor,
        order_ref=effect.order.order_ref,
        approval="XYZ789",
        rrn="000000000007",
        token=effect.payer.token,
    )
    return journal.adopt(difference, currency="CNY", batch=batch, day=TODAY)


def ended(journal, end):
    effect, _ = opened_attempt(journal)
    journal.conclude(effect.ref, end)
    return effect


def refund(journal, effect, minor=100, number=1, end=None):
    exchange = a_refund(journal, effect, minor, number)
    journal.open_task(exchange, effect.order, token=effect.payer.token, day=TODAY, minor=minor)
    if end is not None:
        journal.conclude_task(exchange.idempotency_key, str(end.result), msgspec.json.encode(end))


# --- attempts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [DECLINED, REVERSED])
def test_what_was_declined_or_undone_here_and_is_approved_there_was_charged(path, end):
    with Journal(path) as journal:
        effect = ended(journal, end)
        assert journal.spent(effect.payer.token, 0.0, TODAY).by_kiosk == 0
        assert take(journal, effect) == "corrected"
        assert take(journal, effect) == "", "once is enough"
        assert journal.spent(effect.payer.token, 0.0, TODAY).by_kiosk == 3850
    with Journal(path) as journal:
        entry = journal.payment(effect.ref)
        assert (entry.answer.result, entry.answer.code) == (Result.APPROVED, "corrected")
        assert (entry.answer.approval, entry.answer.rrn) == ("XYZ789", "000000000007")
        assert (entry.corrected, entry.adopted) == (True, False)
        assert journal.is_paid_or_open(effect.order.order_ref)
        assert journal.bookings(BATCH) == [Booking(effect.ref, "payment", 1, 3850, "CNY")]
        told = [(one.kind, one.result) for one in journal.entries_of(effect.ref)]
        assert told[-2:] == [("concluded", str(end.result)), ("corrected", "approved")], "both stay"
        assert journal.verify() is None


def test_what_was_declined_here_and_undone_there_is_counted_as_undone(journal):
    effect = ended(journal, DECLINED)
    assert take(journal, effect, "reversal") == "corrected"
    assert journal.bookings(BATCH) == [Booking(effect.ref, "reversal", 1, 3850, "CNY")]
    assert not journal.is_paid_or_open(effect.order.order_ref)


def test_no_approval_is_taken_back_no_amount_changed_and_nothing_ended_that_is_open(journal):
    effect, waiting = paid(journal), opened_attempt(journal)[0]
    declined = ended(journal, DECLINED)
    last = journal.last_hash
    assert take(journal, effect, "reversal") == ""
    assert take(journal, effect, kiosk=3850, minor=4000) == ""
    assert take(journal, waiting) == ""
    assert take(journal, declined, minor=3851) == ""
    assert take(journal, declined, "offline") == "", "it was never accepted offline here"
    assert journal.last_hash == last


def test_an_offline_sale_that_was_declined_here_and_is_paid_there_was_paid(journal):
    effect, _ = opened_attempt(journal)
    advice = a_task("advice", effect.ref)
    journal.conclude_offline(effect.ref, advice, OFFLINE, day=TODAY)
    assert take(journal, effect, "offline") == "", "it is on its way"
    journal.conclude_task(advice.idempotency_key, "declined", msgspec.json.encode(DECLINED))
    assert take(journal, effect, "payment") == ""
    assert journal.bookings(BATCH) == []
    assert take(journal, effect, "offline") == "corrected"
    assert journal.bookings(BATCH) == [Booking(effect.ref, "offline", 1, 3850, "CNY")]
    (task,) = journal.advices()
    assert (task.result, task.corrected) == ("approved", True)
    assert journal.payment(effect.ref).corrected
    assert journal.last_word(effect.payer.token) is Result.APPROVED


# --- refunds --------------------------------------------------------------------------------------------


def test_an_open_refund_ends_by_the_same_amount_in_the_batch_that_it_has_there(journal):
    effect = paid(journal)
    refund(journal, effect, 100)
    assert take(journal, effect, "refund", 100, batch=BATCH + 1) == "ended"
    (task,) = journal.tasks_of(effect.ref)
    assert (task.result, task.minor, task.corrected) == ("approved", 100, False)
    assert msgspec.json.decode(task.answer, type=Answer).code == "adopted"
    assert journal.open_tasks() == []
    assert [one.kind for one in journal.bookings(BATCH)] == ["payment"]
    assert journal.bookings(BATCH + 1) == [Booking(effect.ref, "refund", 1, 100, "CNY")]
    assert BATCH + 1 in journal.open_batches()
    assert take(journal, effect, "refund", 100) == ""


@pytest.mark.parametrize("end", [None, DECLINED])
def test_another_amount_under_the_same_number_is_a_correction_that_is_seen(journal, end):
    effect = paid(journal)
    refund(journal, effect, 100, end=end)
    assert take(journal, effect, "refund", 250) == "corrected"
    (task,) = journal.tasks_of(effect.ref)
    assert (task.result, task.minor, task.corrected) == ("approved", 250, True)
    assert task.order.amount.minor == 100, "what was asked for stays"
    told = [(one.kind, one.result) for one in journal.entries_of(effect.ref)][-2:]
    assert told == [("refund_end", "declined"), ("refund_corrected", "approved")]
    assert Booking(effect.ref, "refund", 1, 250, "CNY") in journal.bookings(BATCH)
    assert journal.verify() is None


# --- files ----------------------------------------------------------------------------------------------


def test_a_correction_that_lost_what_it_corrects_still_says_what_moved(path):
    with Journal(path) as journal:
        effect = ended(journal, DECLINED)
        take(journal, effect)
        refund(journal, effect, 100, end=DECLINED)
        take(journal, effect, "refund", 250)
    raw(path, *UNGUARDED, "DELETE FROM entries WHERE seq IN (1, 2, 4, 5)")
    mend(path)
    with Journal(path) as journal:
        entry = journal.payment(effect.ref)
        assert (entry.answer.result, entry.adopted, entry.corrected) == (Result.APPROVED, True, True)
        assert {(one.kind, one.minor) for one in journal.bookings(BATCH)} == {
            ("payment", 3850), ("refund", 250),
        }  # fmt: skip
        assert journal.verify() is None


def test_a_file_of_schema_2_goes_on_and_its_archives_are_still_read(path):
    with Journal(path) as journal:
        old = paid(journal, day=TODAY.replace(year=2020))
        journal.settle(TODAY.replace(year=2020).toordinal(), b"{}")
        effect = ended(journal, DECLINED)
        last = journal.last_hash
    of_schema_2(path)
    for _ in range(2):
        with Journal(path) as journal:
            assert journal.last_hash == last
            assert journal.payment(old.ref).answer == APPROVED
    with Journal(path) as journal:
        assert take(journal, effect) == "corrected"
        assert journal.verify() is None
    of_schema_2_archive = path.with_name("archive.sqlite")
    with Journal(of_schema_2_archive) as journal:
        paid(journal)
    of_schema_2(of_schema_2_archive)
    with Journal(of_schema_2_archive, archive=True) as archive:
        assert archive.verify() is None
    with pytest.raises(OperatorError, match="not a journal of this release"):
        Journal(of_schema_2_archive, read_only=True)
