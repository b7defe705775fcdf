"""The outbox: one call at a time, in order, again until a verified word; restarts forget nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kiosk.acquirer.client import Lost, Reply, Told, Unsent, Verified
from kiosk.acquirer.journal import Journal
from kiosk.acquirer.messages import Exchange
from kiosk.acquirer.operations import PayerAnswer, advice_request, refund_request
from kiosk.app.aftersale import AfterSale, answer_of, dispute_of
from kiosk.app.kernel import Kernel
from kiosk.app.outbox import ANSWER_MS, DELAYS_MS, Outbox
from kiosk.app.withdrawals import Withdrawals
from kiosk.domain.aftersale import Refund, left_of, plan_refund
from kiosk.domain.errors import OperatorError
from kiosk.domain.money import Money
from kiosk.domain.payment import Answer, Authorise, Result

from ..acquirer.journals import a_task
from ..acquirer.parts import TERMINAL, a_payment, an_effect

DAY = date(2026, 11, 25)
DONE = Verified(Answer(Result.APPROVED, "refunded", "AB12CD", "000000000001"))
NO = Verified(Answer(Result.DECLINED, "over_refundable"))


class Line:
    """A clock, a wire that a test answers on, and the kernel's queue, in one."""

    def __init__(self, folder: Path) -> None:
        self.now = 0
        self.folder = folder
        self.sent: list[tuple[Exchange, Callable[[Reply], None]]] = []
        self.posted: list[Callable[[], None]] = []
        self.start()

    def start(self) -> None:
        self.journal = Journal(self.folder / "journal.sqlite")
        self.withdrawals = Withdrawals(self.folder)
        self.outbox = Outbox(self.journal, self, self, self.posted.append, self.withdrawals)

    def restart(self) -> None:
        self.journal.close()
        self.sent.clear()
        self.posted.clear()
        self.start()

    def monotonic_ms(self) -> int:
        return self.now

    def utc_s(self) -> float:
        return 1_795_564_800.0 + self.now / 1000

    def submit(self, exchange: Exchange, done: Callable[[Reply], None], *, behind: bool) -> None:
        assert behind
        self.sent.append((exchange, done))

    def tick(self, after_ms: int = 0) -> list[str]:
        """Let time pass, tick, and say what went out."""
        self.now += after_ms
        before = len(self.sent)
        self.outbox.tick()
        return [exchange.idempotency_key or exchange.path for exchange, _ in self.sent[before:]]

    def answer(self, reply: Reply, call: int = -1) -> None:
        self.sent[call][1](reply)
        for work in self.posted:
            work()
        self.posted.clear()

    def sold(self, effect: Authorise) -> None:
        self.journal.open_attempt(effect, a_payment(effect, self.journal.next_sequence()), day=DAY)
        self.journal.conclude(effect.ref, Answer(Result.APPROVED, "approved", "AB12CD", "000000000001"))

    def refund(self, effect: Authorise, minor: int, number: int = 1) -> str:
        exchange = refund_request(
            TERMINAL, effect.ref, effect.order.order_ref, Money(minor, "CNY"), number=number, reason="goods",
            approved_by="7", sequence=self.journal.next_sequence(), batch=1, created_utc=self.utc_s(),
            previous=self.journal.last_hash,
        )  # fmt: skip
        self.journal.open_task(exchange, effect.order, day=DAY, minor=minor)
        return exchange.idempotency_key or ""

    def offline(self, effect: Authorise) -> str:
        self.journal.open_attempt(effect, a_payment(effect, self.journal.next_sequence()), day=DAY)
        exchange = advice_request(
            TERMINAL, effect.ref, "a.b.c", sequence=self.journal.next_sequence(), batch=1,
            created_utc=self.utc_s(), previous=self.journal.last_hash,
        )  # fmt: skip
        approved = Answer(Result.APPROVED, "offline", "AB12CD", "000000000001")
        self.journal.conclude_offline(effect.ref, exchange, approved, day=DAY)
        return exchange.idempotency_key or ""


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path)
    yield made
    made.journal.close()


def test_one_call_is_under_way_at_a_time_and_the_oldest_goes_first(line: Line) -> None:
    first, second = an_effect(), an_effect()
    for effect in (first, second):
        line.sold(effect)
    keys = [line.refund(first, 10), line.refund(second, 20)]
    ended: list[str] = []
    line.outbox.on_end = ended.append
    assert line.tick() == [keys[0]]
    assert line.tick(250) == []
    line.answer(DONE)
    assert line.tick(250) == [keys[1]]
    line.answer(NO)
    assert ended == keys
    assert line.outbox.waiting() == []
    assert [task.result for task in line.journal.tasks_of(second.ref)] == ["declined"]


def test_the_same_bytes_go_again_later_and_later_until_there_is_a_word(line: Line) -> None:
    effect = an_effect()
    line.sold(effect)
    key = line.refund(effect, 10)
    assert line.tick() == [key]
    for delay in (*DELAYS_MS, DELAYS_MS[-1]):
        line.answer(Lost("nobody answered"))
        assert line.outbox.why[key] == "nobody answered"
        assert line.tick(delay - 1) == []
        assert line.tick(1) == [key]
    assert len({exchange.body for exchange, _ in line.sent}) == 1
    line.answer(DONE)
    assert line.outbox.why == {}
    assert line.tick(10**7) == []


def test_an_answer_that_is_not_final_or_about_another_thing_ends_nothing(line: Line) -> None:
    effect = an_effect()
    line.sold(effect)
    key = line.refund(effect, 10)
    assert line.tick() == [key]
    for reply in (
        Verified(Answer(Result.PENDING)),
        Verified(Answer(Result.REVERSED)),
        Lost("x", "in_flight"),
    ):
        line.answer(reply)
        assert line.outbox.waiting() == [key]
        assert line.tick(10**6) == [key]


def test_one_that_gets_no_word_holds_up_no_other_payment_but_its_own(line: Line) -> None:
    stuck, other = an_effect(), an_effect()
    for effect in (stuck, other):
        line.sold(effect)
    first, second, third = line.refund(stuck, 10), line.refund(stuck, 20, 2), line.refund(other, 30)
    assert line.tick() == [first]
    line.answer(Lost("refused: internal", "internal"))
    assert line.tick() == [third]
    line.answer(DONE)
    assert line.tick() == []
    assert line.tick(DELAYS_MS[0]) == [first]
    line.answer(DONE)
    assert line.tick() == [second]


def test_advices_go_in_the_order_of_their_sales(line: Line) -> None:
    keys = [line.offline(an_effect()), line.offline(an_effect())]
    assert line.tick() == [keys[0]]
    line.answer(Lost("nobody answered"))
    assert line.tick() == []
    assert line.tick(DELAYS_MS[0]) == [keys[0]]
    line.answer(Verified(Answer(Result.DECLINED, "too_old")))
    assert line.tick() == [keys[1]]


def test_where_nobody_can_be_reached_the_whole_line_waits(line: Line) -> None:
    first, second = an_effect(), an_effect()
    for effect in (first, second):
        line.sold(effect)
    key = line.refund(first, 10)
    line.refund(second, 20)
    assert line.tick() == [key]
    line.answer(Unsent("no route"))
    assert line.tick(DELAYS_MS[0] - 1) == []
    assert line.tick(1) == [key]
    line.answer(Unsent("no route"))
    line.outbox.hurry()
    assert line.tick() == [key]


def test_a_call_that_was_dropped_on_its_way_is_made_again_and_a_late_word_counts_once(line: Line) -> None:
    effect = an_effect()
    line.sold(effect)
    key = line.refund(effect, 10)
    assert line.tick() == [key]
    assert line.tick(ANSWER_MS - 1) == []
    assert line.tick(1) == [key]
    line.answer(DONE, call=0)
    line.answer(DONE, call=1)
    assert [task.result for task in line.journal.tasks_of(effect.ref)] == ["approved"]


def test_a_restart_sends_the_same_again(line: Line) -> None:
    effect = an_effect()
    line.sold(effect)
    key = line.refund(effect, 10)
    line.tick()
    body = line.sent[0][0].body
    line.restart()
    assert line.tick() == [key]
    assert line.sent[0][0].body == body


def test_an_end_that_can_t_be_written_was_not_heard(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    effect = an_effect()
    line.sold(effect)
    key = line.refund(effect, 10)
    line.tick()

    def full(*args: object) -> None:
        raise OperatorError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(line.journal, "conclude_task", full)
        line.answer(DONE)
    assert str(line.outbox.failure) == "the disk is full"
    assert line.tick(DELAYS_MS[0]) == [key]
    line.answer(DONE)
    assert line.outbox.waiting() == []


def left_of_payment(line: Line, effect: Authorise) -> int:
    sale = AfterSale(cast("Kernel", None), line.journal, line.outbox, line)
    return sale.left(sale.payment(effect.ref)).minor


def test_a_refund_whose_number_another_one_has_waits_for_recovery_and_counts_as_gone(line: Line) -> None:
    effect = an_effect()
    line.sold(effect)
    key = line.refund(effect, 10)
    assert line.tick() == [key]
    line.answer(Lost("refused: other_content", "other_content"))
    assert line.journal.halted == "other_content"
    assert line.outbox.waiting() == [key], "nobody is told that nothing went back: something did"
    assert line.tick(10**6) == [], "and the same bytes are not sent for ever"
    other = an_effect()
    line.journal.resume()
    line.sold(other)
    assert line.tick() == []
    line.restart()
    assert line.tick() == [key]
    assert left_of_payment(line, effect) == effect.order.amount.minor - 10


def test_a_refund_whose_sequence_another_call_had_halts_an_older_copy_once_and_ends(line: Line) -> None:
    effect = an_effect()
    line.sold(effect)
    key = line.refund(effect, 10)
    assert line.tick() == [key]
    line.answer(Lost("refused: sequence_reused", "sequence_reused"))
    assert line.journal.halted == "sequence_reused"
    (task,) = line.journal.tasks_of(effect.ref)
    ended = answer_of(task)
    assert ended is not None
    assert (task.result, ended.code) == ("declined", "sequence_reused")
    assert left_of_payment(line, effect) == effect.order.amount.minor
    line.journal.resume()
    assert line.tick(10**6) == []
    assert not line.journal.halted


def test_a_dispute_that_the_acquirer_has_in_other_words_ends_and_halts_no_journal_again(line: Line) -> None:
    effect = an_effect()
    line.sold(effect)
    exchange = replace(a_task("dispute", effect.ref), sequence=line.journal.next_sequence())
    line.journal.open_task(exchange, effect.order, day=DAY)
    assert line.tick() == [exchange.idempotency_key]
    line.answer(Lost("refused: other_content", "other_content"))
    (task,) = line.journal.tasks_of(effect.ref)
    assert (task.result, dispute_of(task), line.journal.halted) == ("declined", None, "other_content")
    line.journal.resume()
    line.restart()
    assert (line.tick(10**6), line.journal.halted) == ([], "")


def test_an_offline_sale_ends_by_no_problem_at_all(line: Line) -> None:
    effect = an_effect()
    key = line.offline(effect)
    assert line.tick() == [key]
    line.answer(Lost("refused: sequence_reused", "sequence_reused"))
    assert line.outbox.waiting() == [key]
    assert line.tick(10**6) == [key]
    line.answer(DONE)
    assert line.outbox.waiting() == []


def test_a_withdrawal_waits_behind_money_and_outlives_a_restart(line: Line) -> None:
    effect = an_effect()
    line.sold(effect)
    line.withdrawals.add("pyr-1")
    line.withdrawals.add("pyr-1")
    key = line.refund(effect, 10)
    assert line.tick() == [key]
    line.answer(DONE)
    assert line.tick() == ["/v1/payers/pyr-1"]
    line.restart()
    assert line.outbox.waiting() == ["withdrawal:pyr-1"]
    assert line.tick() == ["/v1/payers/pyr-1"]
    line.answer(Lost("HTTP 500"))
    assert line.tick(DELAYS_MS[0]) == ["/v1/payers/pyr-1"]
    gone = PayerAnswer(version=1, operation="withdrawal", token="pyr-1", state="withdrawn")
    line.answer(Told(gone))
    assert (line.outbox.waiting(), line.withdrawals.tokens()) == ([], [])


def test_whom_the_acquirer_does_not_hold_is_withdrawn(line: Line) -> None:
    line.withdrawals.add("pyr-1")
    line.tick()
    line.answer(Lost("refused: not_found", "not_found"))
    assert line.withdrawals.tokens() == []


def test_a_damaged_list_of_withdrawals_is_told_and_the_journal_s_tasks_still_go(line: Line) -> None:
    effect = an_effect()
    line.sold(effect)
    (line.folder / "withdrawals.json").write_bytes(b"{")
    key = line.refund(effect, 10)
    assert line.tick() == [key]
    line.answer(DONE)
    assert line.tick() == []
    assert "damaged" in str(line.outbox.failure)


class Books:
    """An acquirer that treats a key once and never gives back more than was paid."""

    def __init__(self, paid: int) -> None:
        self.paid, self.given = paid, 0
        self.answers: dict[str, Verified] = {}

    def treat(self, key: str, minor: int) -> Verified:
        if key not in self.answers:
            fits = self.given + minor <= self.paid
            self.given += minor if fits else 0
            self.answers[key] = DONE if fits else NO
        return self.answers[key]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["refund", "tick", "answer", "lose", "late", "unsent", "restart"]), st.integers(1, 60)
    ),
    max_size=40,
)
COUNTER = itertools.count()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_in_whatever_order_things_fail_no_more_goes_back_than_was_paid_and_both_sides_agree(
    tmp_path: Path, steps: list[tuple[str, int]]
) -> None:
    """Answers lost, late, doubled; calls that never left; restarts at any point; then all is well again."""
    folder = tmp_path / str(next(COUNTER))
    folder.mkdir()
    line, paid = Line(folder), Money(100, "CNY")
    effect, books = an_effect(minor=100), Books(100)
    line.sold(effect)

    def refunds() -> list[Refund]:
        return [
            Refund(task.number, Money(task.minor, "CNY"), Result(task.result) if task.result else None)
            for task in line.journal.tasks_of(effect.ref)
        ]

    def treated() -> Verified:
        exchange = line.sent[-1][0]
        task = next(one for one in line.journal.tasks_of(effect.ref) if one.key == exchange.idempotency_key)
        return books.treat(task.key, task.minor)

    try:
        for step, number in steps:
            match step:
                case "refund":
                    try:
                        plan = plan_refund(paid, refunds(), Money(number, "CNY"))
                    except OperatorError:
                        continue
                    line.refund(effect, plan.amount.minor, plan.number)
                case "tick":
                    line.tick(number * 10_000)
                case "answer" if line.sent:
                    line.answer(treated())
                case "lose" if line.sent:
                    treated()
                    line.answer(Lost("nobody answered"))
                case "late" if line.sent:
                    call, word = len(line.sent) - 1, treated()
                    line.tick(ANSWER_MS)  # another call may go out before this one is answered
                    line.answer(word, call)
                case "unsent" if line.sent:
                    line.answer(Unsent("no route"))
                case "restart":
                    line.restart()
            assert books.given <= 100
            assert 100 - left_of(paid, refunds()).minor >= books.given
        for _ in range(10):  # the line is well again
            if line.tick(10**6):
                line.answer(treated())
        assert line.outbox.waiting() == []
        assert 100 - left_of(paid, refunds()).minor == books.given
    finally:
        line.journal.close()
