"""The till's desk: one order is one payment, whatever becomes of the till, the kiosk and the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest

from kiosk.acquirer.client import Lost, ReversalConfirmed, Unsent, Verified
from kiosk.acquirer.operations import refund_request
from kiosk.app.till import MAX_HEARD, MAX_RETURNED, TillDesk
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import Limits
from kiosk.domain.money import Money
from kiosk.domain.payment import (
    Answer,
    Approved,
    Cancel,
    Confirm,
    Done,
    Identified,
    Idle,
    Means,
    Offered,
    PayAnotherWay,
    PayWithFace,
    Refused,
    Result,
    Unknown,
)
from kiosk.domain.till import Abort, AskStatus, Diagnose, OpenPayment, Outcome, Request, Told

from ..acquirer.parts import TERMINAL
from .test_kernel import APPROVED, Shop, unit


@dataclass(eq=False)
class FakeTill:
    """A till that writes down what it is told."""

    answers: list[tuple[str, Told]] = field(default_factory=list)
    news: list[Told] = field(default_factory=list)
    gone: bool = False

    def answer(self, request: Request, told: Told) -> None:
        self.answers.append((request.id, told))

    def notify(self, told: Told) -> None:
        self.news.append(told)

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return [(name, str(told.outcome)) for name, told in self.answers]


class Counter(Shop):
    """A kiosk that a till is connected to."""

    def open(self) -> None:
        super().open()
        self.desk, self.one = TillDesk(payee="Shop", currency="CNY"), FakeTill()
        self.kernel._till = self.desk
        self.desk.join(self.kernel)

    def hear(self, request: Request, till: FakeTill | None = None) -> None:
        self.desk.heard(request, till or self.one)
        self.drain()

    def order(self, name: str = "1", order_ref: str = "A-1", minor: int = 3850) -> None:
        self.hear(OpenPayment(name, order_ref, Money(minor, "CNY")))

    def press(self) -> None:
        """The shopper looks and confirms."""
        self.look(unit(1))
        self.kernel.handle(Confirm())
        self.drain()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Counter]:
    shop = Counter(tmp_path)
    yield shop
    shop.journal.close()


def test_a_till_opens_a_payment_and_gets_its_result_with_the_receipt(shop: Counter) -> None:
    shop.order()
    assert isinstance(shop.kernel.state, Offered)
    assert shop.kernel.state.order.payee == "Shop"
    assert shop.looker.starts == 0, "the camera is the shopper's to turn on"
    shop.press()
    assert shop.one.answers == []
    shop.reply(Verified(Answer(Result.APPROVED, "", "A1B2C3", "000000000001", "*ming")))
    ((name, told),) = shop.one.answers
    assert (name, told.outcome, told.amount) == ("1", Outcome.APPROVED, Money(3850, "CNY"))
    assert (told.approval, told.rrn, told.masked_payer) == ("A1B2C3", "000000000001", "*ming")
    assert told.ref == shop.acquirer.sent[0][0].ref
    assert any("APPROVED" in line for line in told.receipt)
    assert all(len(line) <= 42 for line in told.receipt)
    assert shop.one.news == []


@pytest.mark.parametrize(
    ("reply", "outcome", "code"),
    [
        (Verified(Answer(Result.DECLINED, "insufficient_funds")), Outcome.DECLINED, "insufficient_funds"),
        (Unsent("connection refused"), Outcome.DECLINED, "not_sent"),
    ],
)
def test_an_end_without_a_charge_is_told_with_its_reason(
    shop: Counter, reply: object, outcome: Outcome, code: str
) -> None:
    shop.order()
    shop.press()
    shop.reply(reply)  # type: ignore[arg-type]
    ((_, told),) = shop.one.answers
    assert (told.outcome, told.code) == (outcome, code)


def test_what_was_given_back_since_is_told_with_an_order_that_stays_approved(shop: Counter) -> None:
    shop.order()
    shop.press()
    shop.reply(APPROVED)
    (payment,) = shop.journal.payments(1)
    assert (shop.one.answers[-1][1].standing, shop.one.answers[-1][1].refunded) == ("", None)
    for number, minor, standing, refunded in (
        (1, 1_000, "refunded_in_part", 1_000),
        (2, 2_850, "refunded_in_full", 3_850),
    ):
        exchange = refund_request(
            TERMINAL,
            payment.ref,
            "A-1",
            Money(minor, "CNY"),
            number=number,
            reason="customer",
            approved_by="7",
            sequence=shop.journal.next_sequence(),
            batch=1,
            created_utc=shop.clock.utc_s(),
            previous=shop.journal.last_hash,
        )
        day = date.fromisoformat(payment.day)
        shop.journal.open_task(exchange, payment.order, token=payment.token, day=day, minor=minor)
        shop.journal.conclude_task(exchange.idempotency_key or "", "approved", b'{"result":"approved"}')
        shop.hear(AskStatus(f"s{number}", "A-1"))
        shop.order(f"p{number}")
        for _, told in shop.one.answers[-2:]:
            assert told.outcome is Outcome.APPROVED, "one order is one payment, whatever became of it"
            assert (told.standing, told.refunded) == (standing, Money(refunded, "CNY"))
            assert any("REFUNDED" in line for line in told.receipt)


def test_what_is_not_final_is_news_and_never_an_answer(shop: Counter) -> None:
    shop.order()
    shop.press()
    shop.reply(Lost("no answer"))
    shop.later(250)
    shop.later(250)
    assert shop.one.answers == []
    assert [told.outcome for told in shop.one.news] == [Outcome.NOT_FINAL]
    shop.later(2_000)
    shop.reply(APPROVED)
    assert shop.one.outcomes == [("1", "approved")]
    assert len(shop.one.news) == 1


def test_an_outcome_that_had_to_be_reversed_is_told_as_that(shop: Counter) -> None:
    shop.order()
    shop.press()
    shop.reply(Lost("no answer"))
    for _ in range(30):
        shop.later(5_000)
    shop.reply(ReversalConfirmed())
    assert shop.one.outcomes == [("1", "reversed")]


def test_the_same_request_twice_is_one_payment_and_each_gets_the_result(shop: Counter) -> None:
    shop.order("1")
    shop.order("1")
    shop.press()
    shop.order("1")
    shop.reply(APPROVED)
    shop.order("2")
    assert shop.one.outcomes == [("1", "approved"), ("2", "approved")]
    assert shop.one.answers[0][1] == shop.one.answers[1][1]
    assert shop.acquirer.operations() == ["payment"]


def test_a_till_that_died_after_asking_gets_the_same_payment_on_another_connection(shop: Counter) -> None:
    shop.order()
    shop.press()
    shop.one.gone = True
    shop.reply(APPROVED)
    again = FakeTill()
    shop.hear(OpenPayment("9", "A-1", Money(3850, "CNY")), again)
    assert again.outcomes == [("9", "approved")]
    assert shop.acquirer.operations() == ["payment"]


def test_a_till_that_vanishes_changes_nothing_about_the_money(shop: Counter) -> None:
    shop.order()
    shop.one.gone = True
    shop.press()
    shop.reply(APPROVED)
    assert isinstance(shop.kernel.state, Approved)
    assert not shop.journal.open_attempts()


def test_after_a_restart_the_result_is_the_same(shop: Counter) -> None:
    shop.order()
    shop.press()
    shop.reply(APPROVED)
    before = shop.one.answers[0][1]
    shop.restart()
    shop.order()
    shop.hear(AskStatus("2", "A-1"))
    assert [told for _, told in shop.one.answers] == [before, before]
    assert isinstance(shop.kernel.state, Idle)


def test_a_declined_order_stays_declined_after_a_restart_too(shop: Counter) -> None:
    shop.order()
    shop.press()
    shop.reply(Verified(Answer(Result.DECLINED, "insufficient_funds")))
    shop.restart()
    shop.order("2")
    assert shop.one.outcomes == [("2", "declined")]


def test_after_a_restart_an_open_order_is_not_paid_again_and_its_end_is_told(shop: Counter) -> None:
    shop.order()
    shop.press()  # and the power goes
    shop.restart()
    shop.order("2")
    asking = FakeTill()
    shop.hear(AskStatus("3", "A-1"), asking)
    assert shop.one.answers == []
    assert [told.outcome for told in shop.one.news] == [Outcome.NOT_FINAL]
    assert asking.outcomes == [("3", "not_final")]
    shop.later(250)
    assert shop.acquirer.operations() == ["status"]
    shop.reply(APPROVED)
    assert shop.one.outcomes == [("2", "approved")]
    assert [told.outcome for told in asking.news] == [Outcome.APPROVED]


def test_the_end_of_what_was_not_final_waits_behind_the_next_sale(shop: Counter) -> None:
    shop.order()
    shop.press()
    shop.reply(Lost("no answer"))
    shop.later(250)
    shop.kernel.handle(Done())
    shop.order("2", "A-2")
    assert isinstance(shop.kernel.state, Offered)
    shop.later(2_000)
    shop.reply(APPROVED)
    assert shop.one.outcomes == [("1", "approved")]


def test_a_declined_attempt_that_leads_back_to_the_screen_is_no_end(shop: Counter) -> None:
    """A wrong PIN, say: the same order is asked for another factor."""
    shop.order()
    shop.press()
    on_screen = Offered(shop.kernel.state.order, until=60_000)  # type: ignore[union-attr]
    shop.acquirer.sent[-1][1](Verified(Answer(Result.DECLINED, "wrong_pin")))
    message = shop.kernel._queue.get()
    assert message is not None
    shop.kernel.handle(message)
    shop.kernel.state = on_screen
    shop.drain()
    shop.later(250)
    assert shop.one.answers == []
    shop.kernel.handle(Cancel())
    shop.drain()
    ((_, told),) = shop.one.answers
    assert (told.outcome, told.code) == (Outcome.DECLINED, "wrong_pin")


# --- abort ---


def test_an_abort_before_the_press_is_confirmed_and_nothing_was_sent(shop: Counter) -> None:
    shop.order()
    shop.hear(Abort("2", "A-1"))
    assert sorted(shop.one.outcomes) == [("1", "aborted"), ("2", "aborted")]
    assert isinstance(shop.kernel.state, Idle)
    assert shop.acquirer.sent == []


def test_an_abort_on_the_confirm_page_turns_a_later_press_into_nothing(shop: Counter) -> None:
    shop.order()
    shop.look(unit(1))
    assert isinstance(shop.kernel.state, Identified)
    shop.hear(Abort("2", "A-1"))
    shop.kernel.handle(Confirm())
    assert shop.acquirer.sent == []
    assert sorted(shop.one.outcomes) == [("1", "aborted"), ("2", "aborted")]


def test_an_abort_while_somebody_looks_turns_the_camera_off(shop: Counter) -> None:
    shop.order()
    shop.kernel.handle(PayWithFace())
    shop.hear(Abort("2", "A-1"))
    assert not shop.looker.on
    assert ("1", "aborted") in shop.one.outcomes


@pytest.mark.parametrize("reply", [None, Lost("no answer")])
def test_an_abort_after_confirm_is_too_late_and_the_result_follows(shop: Counter, reply: Lost | None) -> None:
    shop.order()
    shop.press()
    if reply:
        shop.reply(reply)
    shop.hear(Abort("2", "A-1"))
    assert shop.one.outcomes == [("2", "too_late")]
    shop.later(2_000)
    shop.reply(APPROVED)
    assert shop.one.outcomes[-1] == ("1", "approved")


def test_an_abort_of_what_is_over_or_unknown_says_what_it_is(shop: Counter) -> None:
    shop.hear(Abort("1", "A-9"))
    shop.order("2")
    shop.press()
    shop.reply(APPROVED)
    shop.hear(Abort("3", "A-1"))
    assert shop.one.outcomes == [("1", "not_found"), ("2", "approved"), ("3", "approved")]


def test_an_abort_of_one_order_leaves_another_on_the_screen(shop: Counter) -> None:
    shop.order()
    shop.hear(Abort("2", "A-2"))
    assert isinstance(shop.kernel.state, Offered)
    assert shop.one.outcomes == [("2", "not_found")]


def test_another_till_may_abort_and_both_are_told(shop: Counter) -> None:
    shop.order()
    other = FakeTill()
    shop.hear(Abort("7", "A-1"), other)
    assert (other.outcomes, shop.one.outcomes) == ([("7", "aborted")], [("1", "aborted")])


# --- back to the till ---


def test_a_shopper_who_pays_another_way_gives_the_order_back(shop: Counter) -> None:
    for means in Means:
        shop.order(means.value, f"A-{means}")
        shop.kernel.handle(PayAnotherWay(means))
        shop.drain()
        shop.later(250)
        assert shop.one.answers[-1][1].outcome is Outcome.RETURNED
        assert shop.one.answers[-1][1].code == f"by_{means}"
        shop.kernel.handle(Done())
    assert [name for name, _ in shop.one.answers] == [means.value for means in Means], "each once"


def test_an_order_that_nobody_took_comes_back_with_why(shop: Counter) -> None:
    shop.order()
    shop.later(60_000)
    shop.order("2", "A-2")
    shop.look(unit(99))
    assert isinstance(shop.kernel.state, Refused)
    shop.later(250)
    shop.kernel.handle(Cancel())
    shop.drain()
    assert shop.one.outcomes == [("1", "returned"), ("2", "returned")]
    assert [told.code for _, told in shop.one.answers] == ["", "not_recognised"]


def test_an_order_that_staff_took_over_and_freed_at_once_still_comes_back(shop: Counter) -> None:
    shop.order()
    shop.kernel.handle(PayAnotherWay(Means.STAFF))
    shop.kernel.handle(Done())
    shop.later(250)
    assert shop.one.outcomes == [("1", "returned")]
    assert shop.one.answers[0][1].amount == Money(3850, "CNY")


def test_an_order_that_the_journal_could_not_take_was_not_sent_and_comes_back(
    shop: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*anything: object, **more: object) -> None:
        raise OperatorError("the disk is full")

    shop.order()
    monkeypatch.setattr(shop.journal, "open_attempt", full)
    shop.press()
    assert shop.acquirer.sent == []
    ((_, told),) = shop.one.answers
    assert (told.outcome, told.code) == (Outcome.RETURNED, "not_sent")


def test_a_declined_order_stays_declined_when_the_shopper_hands_it_back(shop: Counter) -> None:
    shop.order()
    shop.press()
    shop.reply(Verified(Answer(Result.DECLINED, "insufficient_funds")))
    shop.kernel.handle(PayAnotherWay(Means.TILL))
    shop.drain()
    shop.order("2")
    assert shop.one.outcomes == [("1", "declined"), ("2", "declined")]


def test_a_returned_order_may_be_offered_anew_but_a_repeated_request_is_answered(shop: Counter) -> None:
    shop.order("1")
    shop.kernel.handle(PayAnotherWay(Means.TILL))
    shop.drain()
    shop.order("1")
    assert shop.one.outcomes == [("1", "returned"), ("1", "returned")]
    shop.order("2", minor=4000)
    assert isinstance(shop.kernel.state, Offered)
    shop.press()
    shop.reply(APPROVED)
    assert shop.one.outcomes[-1] == ("2", "approved")
    shop.hear(AskStatus("3", "A-1"))
    assert shop.one.outcomes[-1] == ("3", "approved")


def test_how_many_returned_orders_are_remembered_is_bounded(shop: Counter) -> None:
    for number in range(MAX_RETURNED + 3):
        shop.order("1", f"A-{number}")
        shop.hear(Abort("2", f"A-{number}"))
    shop.hear(AskStatus("3", "A-0"))
    shop.hear(AskStatus("4", f"A-{MAX_RETURNED}"))
    assert shop.one.outcomes[-2:] == [("3", "not_found"), ("4", "aborted")]


# --- refused at once ---


def test_a_second_order_while_one_is_under_way_is_busy(shop: Counter) -> None:
    other = FakeTill()
    shop.order()
    for press in (lambda: None, shop.press, lambda: shop.reply(Lost("no answer"))):
        press()
        shop.hear(OpenPayment("7", "A-2", Money(100, "CNY")), other)
    assert other.outcomes == [("7", "busy")] * 3
    assert isinstance(shop.kernel.state, Unknown)


def test_the_next_order_takes_the_place_of_a_sale_that_is_over(shop: Counter) -> None:
    shop.order()
    shop.press()
    shop.reply(APPROVED)
    shop.order("2", "A-2")
    assert isinstance(shop.kernel.state, Offered)


@pytest.mark.parametrize("after", ["offered", "sent", "approved"])
def test_another_amount_for_a_known_order_is_a_mismatch(shop: Counter, after: str) -> None:
    shop.order()
    if after != "offered":
        shop.press()
    if after == "approved":
        shop.reply(APPROVED)
    shop.one.answers.clear()
    shop.order("2", minor=3851)
    assert shop.one.outcomes == [("2", "mismatch")]
    assert shop.one.answers[0][1].amount == Money(3850, "CNY")


def test_another_currency_is_not_taken(shop: Counter) -> None:
    shop.hear(OpenPayment("1", "A-1", Money(100, "EUR")))
    assert shop.one.outcomes == [("1", "out_of_order")]
    assert isinstance(shop.kernel.state, Idle)


def test_a_journal_that_can_t_be_read_is_out_of_order_and_never_not_found(
    shop: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(order_ref: str) -> None:
        raise OperatorError("the disk fails")

    shop.order()
    monkeypatch.setattr(shop.kernel, "attempts_of", fails)
    for request in (AskStatus("2", "A-1"), OpenPayment("3", "A-2", Money(1, "CNY")), Abort("4", "A-9")):
        shop.hear(request)
    assert [told.outcome for _, told in shop.one.answers] == [Outcome.OUT_OF_ORDER] * 3
    shop.kernel.handle(Cancel())
    shop.drain()
    assert len(shop.one.answers) == 3
    monkeypatch.undo()
    shop.later(250)
    assert shop.one.outcomes[-1] == ("1", "returned"), "as soon as it can be read again"


# --- status, readiness, floods ---


def test_the_status_of_an_order_at_each_step(shop: Counter) -> None:
    said = []
    for press in (
        lambda: None,
        lambda: shop.order("pay"),
        shop.press,
        lambda: shop.reply(Lost("no answer")),
        lambda: (shop.later(2_000), shop.reply(APPROVED)),
    ):
        press()
        shop.hear(AskStatus("s", "A-1"))
        said.append(shop.one.answers[-1][1].outcome.value)
    assert said == ["not_found", "in_progress", "in_progress", "not_final", "approved"]
    assert shop.one.outcomes.count(("pay", "approved")) == 1


def test_whoever_asks_about_an_order_in_progress_hears_its_end(shop: Counter) -> None:
    other = FakeTill()
    shop.order()
    shop.hear(AskStatus("s", "A-1"), other)
    shop.press()
    shop.reply(APPROVED)
    assert other.outcomes == [("s", "in_progress")]
    assert [told.outcome for told in other.news] == [Outcome.APPROVED]


def test_readiness_is_told(shop: Counter) -> None:
    shop.hear(Diagnose("1"))
    shop.order("p")
    shop.hear(Diagnose("2"))
    assert shop.one.outcomes == [("1", "ready"), ("2", "busy")]
    shop.policy = None  # type: ignore[assignment]
    shop.restart()
    shop.hear(Diagnose("3"))
    assert shop.one.outcomes == [("3", "out_of_order")]


def test_an_order_over_a_limit_comes_back_with_that_reason(shop: Counter) -> None:
    shop.merchant = Limits(per_payment=1000)
    shop.restart()
    shop.order()
    shop.kernel.handle(PayWithFace())
    shop.later(250)
    shop.kernel.handle(PayAnotherWay(Means.TILL))
    shop.drain()
    assert shop.one.outcomes == [("1", "returned")]
    assert shop.one.answers[0][1].code == "over_limit"


def test_a_flood_of_requests_is_answered_busy_and_does_not_fill_the_kernel_s_queue(shop: Counter) -> None:
    for number in range(MAX_HEARD + 5):
        shop.desk.heard(AskStatus(str(number), "A-1"), shop.one)
    assert shop.one.outcomes == [(str(MAX_HEARD + number), "busy") for number in range(5)]
    assert shop.kernel._queue.qsize() == MAX_HEARD
    shop.drain()
    shop.hear(AskStatus("last", "A-1"))
    assert shop.one.outcomes[-1] == ("last", "not_found")


def test_before_the_kernel_is_there_a_till_hears_that_it_is_not() -> None:
    desk, till = TillDesk(payee="Shop", currency="CNY"), FakeTill()
    desk.heard(Diagnose("1"), till)
    assert till.outcomes == [("1", "out_of_order")]


def test_tills_that_are_gone_are_forgotten(shop: Counter) -> None:
    shop.order()
    for number in range(50):
        gone = FakeTill()
        shop.hear(OpenPayment(str(number), "A-1", Money(3850, "CNY")), gone)
        gone.gone = True
    assert len(shop.desk._waiting["A-1"]) <= 2
