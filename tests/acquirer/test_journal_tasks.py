"""Tasks, offline sales, batches, adopted bookings, and what lies beside the chain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kiosk.acquirer.journal import Booking, Journal, JournalHalted
from kiosk.acquirer.operations import Difference
from kiosk.domain.money import Money
from kiosk.domain.payment import Result

from .journals import (
    APPROVED,
    DECLINED,
    OFFLINE,
    REVERSED,
    TODAY,
    TOMORROW,
    a_refund,
    a_task,
    opened_attempt,
    paid,
)
from .parts import a_payment, an_effect

BATCH = TODAY.toordinal()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path):
    with Journal(path) as opened:
        yield opened


def test_a_payment_is_found_by_whatever_its_receipts_name_it_by(journal):
    effect, _ = opened_attempt(journal)
    journal.conclude(effect.ref, replace(APPROVED, rrn="000000000007"))
    other = paid(journal, order_ref="A-2")
    exchange = a_refund(journal, effect, minor=850)
    journal.open_task(exchange, effect.order, token=effect.payer.token, day=TODAY, minor=850)
    assert journal.named("000000000042") == []
    journal.conclude_task(
        f"{effect.ref}:refund:1", "approved", b'{"result": "approved", "rrn": "000000000042"}'
    )
    for name in (effect.ref, effect.order.order_ref, "000000000007", "000000000042"):
        assert [entry.ref for entry in journal.named(name)] == [effect.ref], name
    assert [entry.ref for entry in journal.named(other.order.order_ref)] == [other.ref]
    for name in ("", "nobody", "%", "00000000000_"):
        assert journal.named(name) == []


def test_a_task_outlives_a_restart_byte_for_byte_and_ends_once(path):
    with Journal(path) as journal:
        effect = paid(journal)
        exchange = a_refund(journal, effect, minor=850)
        journal.open_task(exchange, effect.order, token=effect.payer.token, day=TODAY, minor=850)
    with Journal(path) as journal:
        (task,) = journal.open_tasks()
        assert (task.exchange, task.operation, task.number) == (exchange, "refund", 1)
        assert (task.minor, task.order.amount, task.batch) == (850, Money(850, "CNY"), BATCH)
        journal.conclude_task(task.key, "approved", b"{}")
        last = journal.last_hash
        journal.conclude_task(task.key, "approved", b"{}")
        assert journal.last_hash == last
        with pytest.raises(ValueError, match="final"):
            journal.conclude_task(task.key, "declined", b"{}")
        assert journal.open_tasks() == []
        (done,) = journal.tasks_of(effect.ref)
        assert (done.result, done.answer) == ("approved", b"{}")
        assert journal.tasks() == [done]
        assert journal.verify() is None


def test_refunds_of_a_payment_are_numbered_and_each_is_written_once(journal):
    effect = paid(journal)
    for number in (1, 2):
        journal.open_task(a_refund(journal, effect, 100, number), effect.order, day=TODAY, minor=100)
    assert [task.number for task in journal.open_tasks()] == [1, 2]
    with pytest.raises(ValueError, match="written already"):
        journal.open_task(a_refund(journal, effect, 100, 2), effect.order, day=TODAY, minor=100)


def test_only_a_task_is_a_task(journal):
    with pytest.raises(ValueError, match="no task"):
        journal.open_task(a_payment(an_effect()), None, day=TODAY)
    with pytest.raises(ValueError, match="no task"):
        journal.conclude_task("x:refund:1", "approved", b"")


def test_a_close_is_a_task_without_an_order(journal):
    journal.open_task(a_task("reconciliation"), None, day=TODAY)
    (task,) = journal.open_tasks()
    assert (task.order, task.minor, task.operation) == (None, 0, "reconciliation")
    journal.conclude_task(task.key, "settled", b"{}")
    assert journal.verify() is None


def test_an_offline_sale_ends_with_its_advice_or_not_at_all(journal):
    effect, _ = opened_attempt(journal)
    advice = a_task("advice", effect.ref, sequence=7)
    before = journal.last_hash
    with pytest.raises(ValueError, match="not the advice"):
        journal.conclude_offline(effect.ref, a_task("advice"), OFFLINE, day=TODAY)
    with pytest.raises(ValueError, match="is approved"):
        journal.conclude_offline(effect.ref, advice, DECLINED, day=TODAY)
    assert journal.last_hash == before
    journal.conclude_offline(effect.ref, advice, OFFLINE, day=TODAY)
    assert journal.payments()[0].offline
    assert journal.open_attempts() == []
    assert (
        [task.exchange for task in journal.open_tasks()]
        == [advice]
        == [task.exchange for task in journal.advices()]
    )
    assert journal.next_advice() == 2
    with pytest.raises(ValueError, match="final"):
        journal.conclude_offline(effect.ref, advice, OFFLINE, day=TODAY)
    assert journal.spent(effect.payer.token, journal.latest_s(), TODAY).by_person == 3850


@pytest.mark.parametrize(
    ("forwarded", "word"), [("approved", Result.APPROVED), ("declined", Result.DECLINED), (None, None)]
)
def test_the_last_word_about_a_payer_is_the_acquirers(journal, forwarded, word):
    assert journal.last_word("pyr-a") is None
    effect, _ = opened_attempt(journal, an_effect(token="pyr-a"))
    advice = a_task("advice", effect.ref)
    journal.conclude_offline(effect.ref, advice, OFFLINE, day=TODAY)
    if forwarded:
        journal.conclude_task(advice.idempotency_key, forwarded, b"{}")
    assert journal.last_word("pyr-a") is word


def test_bookings_of_a_batch_say_how_each_payment_ended(journal):
    approved = paid(journal, minor=100)
    for end in (REVERSED, DECLINED):
        effect, _ = opened_attempt(journal, an_effect(minor=200))
        journal.conclude(effect.ref, end)
        if end is REVERSED:
            undone = effect
    offline, _ = opened_attempt(journal, an_effect(minor=300))
    journal.conclude_offline(offline.ref, a_task("advice", offline.ref), OFFLINE, day=TODAY)
    refused, _ = opened_attempt(journal, an_effect(minor=400))
    advice = a_task("advice", refused.ref)
    journal.conclude_offline(refused.ref, advice, OFFLINE, day=TODAY)
    journal.conclude_task(advice.idempotency_key, "declined", b"{}")
    opened_attempt(journal)
    paid(journal, day=TOMORROW)
    for number, end in ((1, "approved"), (2, "declined"), (3, None)):
        exchange = a_refund(journal, approved, 10 * number, number)
        journal.open_task(exchange, approved.order, day=TODAY, minor=10 * number)
        if end:
            journal.conclude_task(exchange.idempotency_key, end, b"{}")
    assert journal.bookings(BATCH) == [
        Booking(approved.ref, "payment", 1, 100, "CNY"),
        Booking(undone.ref, "reversal", 1, 200, "CNY"),
        Booking(offline.ref, "offline", 1, 300, "CNY"),
        Booking(approved.ref, "refund", 1, 10, "CNY"),
    ]
    assert len(journal.bookings(BATCH + 1)) == 1


def test_no_request_belongs_to_a_batch_that_is_settled(path):
    with Journal(path) as journal:
        assert (journal.batch(TODAY), journal.settled_batch()) == (BATCH, 0)
        journal.settle(BATCH, b"{}")
        last = journal.last_hash
        journal.settle(BATCH, b"{}")
        assert journal.last_hash == last
    with Journal(path) as journal:
        assert (journal.batch(TODAY), journal.settled_batch()) == (BATCH + 1, BATCH)
        effect = paid(journal)
        assert journal.payment(effect.ref).batch == BATCH + 1
        assert journal.payment("nobody") is None
        assert journal.batch(TOMORROW) == BATCH + 1


def test_an_attempt_that_the_acquirer_has_not_approved_does_not_say_what_time_it_is(path):
    """A clock that was ahead for a moment: tomorrow's caps are not opened today by what is never approved."""
    clock = [1_795_600_000.0]
    with Journal(path, now=lambda: clock[0]) as journal:
        paid(journal)
        clock[0] += 86_400
        effect, _ = opened_attempt(journal)
        assert journal.latest_s() == 1_795_600_000.0
        journal.conclude(effect.ref, REVERSED)
        assert journal.latest_s() == 1_795_600_000.0


def test_a_clock_that_is_set_back_reopens_no_window(path):
    clock = [1_795_600_000.0]
    with Journal(path, now=lambda: clock[0]) as journal:
        assert journal.latest_s() == 0.0
        paid(journal, token="pyr-a", minor=100)
        clock[0] -= 86_400
        paid(journal, token="pyr-a", minor=20)
        assert journal.latest_s() == 1_795_600_000.0
        assert journal.spent("pyr-a", journal.latest_s(), TODAY).by_person_hour == 120
        effect, _ = opened_attempt(journal)
        journal.conclude(effect.ref, DECLINED)
        assert [entry.result for entry in journal.entries_of(effect.ref)] == ["", "declined"]


# --- adopted --------------------------------------------------------------------------------------------


def a_difference(**words):
    return replace_struct(
        Difference(
            ref=an_effect().ref,
            kind="payment",
            acquirer=3850,
            order_ref="order-x",
            approval="ABC123",
            rrn="000000000009",
            token="pyr-x",
        ),
        **words,
    )


def replace_struct(struct, **words):
    import msgspec

    return msgspec.structs.replace(struct, **words)


def adopt(journal, difference):
    return journal.adopt(difference, currency="CNY", batch=BATCH, day=TODAY, payee="Corner Shop")


@pytest.mark.parametrize("kind", ["payment", "reversal", "refund", "offline"])
def test_what_only_the_acquirer_knew_is_adopted_once(journal, kind):
    number = 2 if kind == "refund" else 1
    difference = a_difference(kind=kind, number=number)
    assert adopt(journal, difference)
    assert not adopt(journal, difference)
    assert journal.bookings(BATCH) == [Booking(difference.ref, kind, number, 3850, "CNY")]
    assert journal.open_attempts() == journal.open_tasks() == []
    assert journal.verify() is None
    if kind in {"payment", "offline"}:
        assert journal.is_paid_or_open("order-x")
        (entry,) = journal.attempts_of("order-x")
        assert (entry.adopted, entry.answer.approval, entry.token) == (True, "ABC123", "pyr-x")


def test_nothing_is_adopted_that_the_acquirer_does_not_hold_or_that_is_here(journal):
    effect, _ = opened_attempt(journal)
    assert not adopt(journal, a_difference(acquirer=None))
    assert not adopt(journal, a_difference(acquirer=0))
    assert not adopt(journal, a_difference(ref=effect.ref))
    assert len(journal.open_attempts()) == 1


# --- halted ---------------------------------------------------------------------------------------------


def test_a_halted_journal_begins_no_payment_and_lets_what_is_open_end(path):
    with Journal(path) as journal:
        effect, exchange = opened_attempt(journal)
        journal.check()
        journal.halt("sequence_reused")
        journal.halt("sequence_reused")
    with Journal(path) as journal:
        assert journal.halted == "sequence_reused"
        with pytest.raises(JournalHalted, match="older copy"):
            opened_attempt(journal)
        with pytest.raises(JournalHalted):
            journal.open_task(a_task("refund"), effect.order, day=TODAY)
        journal.open_task(a_task("reconciliation"), None, day=TODAY)
        journal.conclude(effect.ref, APPROVED)
        journal.resume()
    with Journal(path) as journal:
        assert journal.halted == ""
        assert journal.next_sequence() > exchange.sequence + 1_000_000
        opened_attempt(journal)
        assert journal.verify() is None


# --- beside the chain -----------------------------------------------------------------------------------


def test_failures_are_kept_across_restarts_until_cleared_and_only_the_newest(path):
    with Journal(path) as journal:
        for second in range(40):
            journal.note_failure("payer:a", 100.0 - second)
        journal.note_failure("kiosk", 5.0)
    with Journal(path) as journal:
        assert journal.failures("payer:a") == [100.0 - second for second in range(8, 40)]
        journal.clear_failures("payer:a")
        assert (journal.failures("payer:a"), journal.failures("kiosk")) == ([], [5.0])


def test_a_copy_of_a_receipt_or_the_same_one_again_counts_once(journal):
    for copy in (False, False, True):
        journal.note_receipt("r-1", "payment", 1, 100, "CNY", BATCH, copy=copy)
    journal.note_receipt("r-2", "payment", 1, 50, "CNY", BATCH, copy=False)
    journal.note_receipt("r-1", "refund", 1, 30, "CNY", BATCH, copy=False)
    assert journal.receipts_in(BATCH) == [
        Booking("r-1", "payment", 1, 100, "CNY"),
        Booking("r-2", "payment", 1, 50, "CNY"),
        Booking("r-1", "refund", 1, 30, "CNY"),
    ]
    assert [one.copy for one in journal.receipts_of("r-1")] == [False, True, False]


def test_a_booking_of_an_unknown_kind_is_no_booking():
    with pytest.raises(ValueError, match="no booking"):
        Booking.of({"kind": "gift", "ref": "", "number": 1, "minor": 1, "currency": "CNY"})


def test_an_order_cannot_change_under_a_task(journal):
    effect = paid(journal)
    bigger = replace(effect.order, amount=Money(9_999, "CNY"))
    journal.open_task(a_task("dispute", effect.ref), bigger, day=TODAY)
    assert journal.open_tasks()[0].minor == 9_999


def test_what_ended_last_and_which_batches_are_not_closed(journal):
    assert (journal.last_end(), journal.open_batches()) == (None, [])
    paid(journal)
    paid(journal, day=TOMORROW)
    opened_attempt(journal, day=TOMORROW)
    assert journal.last_end().day == TOMORROW.isoformat()
    assert journal.open_batches() == [BATCH, BATCH + 1]
    journal.settle(BATCH, b"{}")
    assert journal.open_batches() == [BATCH + 1]
