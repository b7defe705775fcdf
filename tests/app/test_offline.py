"""Offline sales at a kiosk that loses power at any moment: paid once, forwarded in order, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kiosk.acquirer.client import Lost, Unsent, Verified
from kiosk.acquirer.messages import PaymentRequest, parse
from kiosk.acquirer.offline import OFFLINE_TYP, local_approval
from kiosk.acquirer.operations import AdviceRequest
from kiosk.acquirer.signing import TrustedKeys, verify_jws
from kiosk.app.offline import OfflineSales, stored_sales, waiting, why
from kiosk.app.outbox import Outbox
from kiosk.app.receipts import declined_offline, of_payment, of_refund
from kiosk.app.withdrawals import Withdrawals
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import Limits, OfflineCaps
from kiosk.domain.money import Money
from kiosk.domain.offline import Doubt, OfflineSetting, Waiting
from kiosk.domain.payment import Answer, Approved, Done, NotSent, Result
from kiosk.domain.receipt import Outcome

from ..acquirer.parts import a_key
from .test_kernel import APPROVED, Shop

AWAY = Unsent("no route")
NO = Answer(Result.DECLINED, "payer_blocked")
CAPS = OfflineCaps(per_payment=5_000, count=2, total=9_000, age_s=3_600)


class PowerCut(BaseException):
    """Nothing after this line happened."""


def cut(*args: object, **kwargs: object) -> None:
    raise PowerCut


class OfflineShop(Shop):
    """A kiosk whose acquirer allows offline sales."""

    def __init__(self, folder: Path) -> None:
        self.key = a_key()
        super().__init__(folder)

    def open(self) -> None:
        self.policy = replace(self.policy, offline=CAPS)
        super().open()
        self.offline = OfflineSales(
            self.journal,
            self.clock,
            own=OfflineSetting(enabled=True),
            setting=lambda: self.kernel.setting,
            merchant=lambda: self.merchant,
            key=lambda: self.key,
        )
        self.kernel.offline = self.offline.accept
        self.outbox = Outbox(
            self.journal, self.acquirer, self.clock, self.kernel.post, Withdrawals(self.folder)
        )
        self.kernel.on_tick.append(self.outbox.tick)

    def known(self) -> None:
        """The payer pays online once."""
        self.pay(order_ref="O-0")
        self.reply(APPROVED)
        self.kernel.handle(Done())

    def sell(self, order_ref: str = "O-1", minor: int = 3_850) -> None:
        self.kernel.handle(Done())
        self.pay(minor, order_ref)
        self.reply(AWAY)

    def is_paid(self, order_ref: str) -> bool:
        return any(
            entry.answer is not None and entry.answer.result is Result.APPROVED
            for entry in self.journal.attempts_of(order_ref)
        )

    def forwarded(self) -> list[str]:
        return [one.idempotency_key or "" for one, _ in self.acquirer.sent if one.operation == "advice"]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[OfflineShop]:
    made = OfflineShop(tmp_path)
    yield made
    made.journal.close()


def test_a_sale_is_signed_written_and_told_and_waits_to_be_forwarded(shop: OfflineShop) -> None:
    shop.known()
    shop.sell()
    state = shop.kernel.state
    assert isinstance(state, Approved)
    assert (state.answer.code, state.answer.masked_payer) == ("offline", "*ming")
    (advice,) = shop.journal.open_tasks()
    sale = parse(advice.exchange.body or b"", AdviceRequest).sale
    trusted = TrustedKeys({shop.key.key_id: shop.key.public_key_der()})
    payload = parse(verify_jws(sale.encode(), OFFLINE_TYP, trusted), PaymentRequest)
    assert (payload.ref, payload.order_ref, payload.amount.minor) == (state.ref, "O-1", 3_850)
    assert payload.offline is not None
    assert payload.offline.sequence == 1
    assert state.answer.approval == local_approval(sale)
    assert shop.kernel.last_receipt is not None
    assert shop.kernel.last_receipt.outcome is Outcome.OFFLINE
    assert shop.till.ends == [Result.APPROVED, Result.APPROVED]
    found = waiting(shop.journal.open_tasks())
    assert (found.count, found.minor, found.oldest_s) == (1, 3_850, advice.at)


def test_the_receipt_of_an_offline_sale_counts_as_one(shop: OfflineShop) -> None:
    shop.known()
    shop.sell()
    batch = shop.journal.payments(1)[0].batch
    assert [(one.kind, one.minor) for one in shop.journal.receipts_in(batch)] == [
        ("payment", 3_850),
        ("offline", 3_850),
    ]


@pytest.mark.parametrize("doubt", Doubt)
def test_every_doubt_has_words_for_staff(doubt: Doubt) -> None:
    said = why(doubt, Money(3_850, "CNY"), Waiting(2, 7_000, 0.0), CAPS)
    assert said != str(doubt)
    assert ":" not in said


def test_a_payer_who_never_paid_here_is_not_believed(shop: OfflineShop) -> None:
    shop.sell()
    assert isinstance(shop.kernel.state, NotSent)
    assert shop.offline.doubt is Doubt.PAYER
    assert shop.journal.advices() == []


@pytest.mark.parametrize("who", ["merchant", "law", "ceiling"])
def test_an_amount_that_needs_a_pin_is_not_sold_offline(shop: OfflineShop, who: str) -> None:
    shop.known()
    shop.offer()
    shop.pay(order_ref="O-1")
    if who == "merchant":
        shop.merchant = Limits(pin_above=3_000)
    else:
        over = {"two_factors_above": 3_000} if who == "law" else {"ceiling": Limits(20_000, pin_above=3_000)}
        policy = replace(shop.policy, **over)  # type: ignore[arg-type]
        shop.kernel.setting = replace(shop.kernel.setting, policy=policy)
    shop.reply(AWAY)
    assert isinstance(shop.kernel.state, NotSent)
    assert shop.offline.doubt is Doubt.PIN


def test_without_a_policy_nothing_is_sold(shop: OfflineShop) -> None:
    shop.known()
    shop.pay(order_ref="O-1")
    shop.kernel.setting = replace(shop.kernel.setting, policy=None)
    shop.reply(AWAY)
    assert shop.offline.doubt is Doubt.NOT_SIGNED


def test_number_and_sum_end_it_until_something_was_forwarded(shop: OfflineShop) -> None:
    shop.known()
    shop.sell("O-1", 4_000)
    shop.sell("O-2", 5_001)
    assert (shop.offline.doubt, shop.is_paid("O-2")) == (Doubt.OVER_AMOUNT, False)
    shop.sell("O-2", 5_000)
    shop.sell("O-3", 100)
    assert shop.offline.doubt is Doubt.OVER_COUNT
    shop.later(0)
    shop.reply(Verified(Answer(Result.APPROVED, "approved", "AB12CD", "000000000002")))
    shop.sell("O-3", 4_001)
    assert shop.offline.doubt is Doubt.OVER_TOTAL
    shop.sell("O-3", 4_000)
    assert shop.is_paid("O-3")


def test_an_old_sale_and_a_clock_that_was_set_back_end_it(shop: OfflineShop) -> None:
    shop.known()
    shop.sell("O-1", 100)
    shop.clock.utc -= 60
    shop.sell("O-2", 100)
    assert shop.offline.doubt is Doubt.CLOCK
    shop.clock.utc += 60 + CAPS.age_s + 1
    shop.sell("O-2", 100)
    assert shop.offline.doubt is Doubt.OVER_AGE
    assert shop.offline.why == "a sale waits for longer than 1 h"


def test_a_key_that_can_t_sign_sells_nothing_and_says_why(
    shop: OfflineShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> None:
        raise OperatorError("the token is away")

    shop.known()
    monkeypatch.setattr(shop.offline, "_key", gone)
    shop.sell()
    assert isinstance(shop.kernel.state, NotSent)
    assert str(shop.kernel.failure) == "the token is away"
    assert not shop.is_paid("O-1")


def test_a_journal_that_can_t_write_it_sells_nothing(
    shop: OfflineShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OperatorError("the disk is full")

    shop.known()
    monkeypatch.setattr(shop.journal, "conclude_offline", full)
    shop.sell()
    assert isinstance(shop.kernel.state, NotSent)
    assert shop.journal.advices() == []


# --- power cuts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["next_advice", "next_sequence", "conclude_offline"])
def test_cut_before_it_is_written_the_order_is_asked_for_and_undone(
    shop: OfflineShop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    shop.known()
    shop.pay(order_ref="O-1")
    monkeypatch.setattr(shop.journal, step, cut)
    with pytest.raises(PowerCut):
        shop.reply(AWAY)
    monkeypatch.undo()
    shop.restart()
    assert shop.journal.advices() == []
    assert not shop.is_paid("O-1")
    (ref,) = shop.kernel.behind  # open as any attempt: asked for, then reversed; never sold offline later
    for _ in range(8):
        shop.later(20_000)
    assert "reversal" in shop.acquirer.operations()
    assert shop.journal.advices() == []
    assert ref in shop.kernel.behind


def test_cut_after_it_is_written_the_order_is_paid_and_the_till_hears_it(
    shop: OfflineShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = shop.journal.conclude_offline

    def write_and_cut(*args: object, **kwargs: object) -> None:
        written(*args, **kwargs)  # type: ignore[arg-type]
        raise PowerCut

    shop.known()
    shop.pay(order_ref="O-1")
    monkeypatch.setattr(shop.journal, "conclude_offline", write_and_cut)
    with pytest.raises(PowerCut):
        shop.reply(AWAY)
    monkeypatch.undo()
    shop.restart()
    assert (shop.is_paid("O-1"), shop.kernel.behind) == (True, {})
    assert shop.till.ends == [Result.APPROVED]
    shop.later(0)
    assert len(shop.forwarded()) == 1
    batch = shop.journal.payments(1)[0].batch
    assert sorted(one.kind for one in shop.journal.receipts_in(batch)) == ["offline", "payment"]


def test_whatever_is_lost_on_the_way_the_same_bytes_go_under_the_same_key(
    shop: OfflineShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.known()
    shop.sell()
    shop.later(0)
    first, _ = shop.acquirer.sent[-1]
    shop.reply(Lost("no answer"))
    shop.restart()
    shop.later(0)
    second, _ = shop.acquirer.sent[-1]
    monkeypatch.setattr(shop.journal, "conclude_task", cut)
    with pytest.raises(PowerCut):
        shop.reply(Verified(Answer(Result.APPROVED, "approved", "AB12CD", "000000000002")))
    monkeypatch.undo()
    shop.restart()
    shop.later(0)
    third, _ = shop.acquirer.sent[-1]
    assert first == second == third
    shop.reply(Verified(Answer(Result.APPROVED, "approved", "AB12CD", "000000000002")))
    shop.later(400_000)
    assert shop.journal.open_tasks() == []
    assert shop.forwarded() == [first.idempotency_key]


# --- afterwards -----------------------------------------------------------------------------------------


def test_sales_are_forwarded_in_their_order_and_a_declined_one_is_shown(shop: OfflineShop) -> None:
    shop.known()
    shop.sell("O-1", 1_000)
    shop.sell("O-2", 1_100)
    shop.later(0)
    shop.reply(Verified(Answer(Result.APPROVED, "approved", "AB12CD", "000000000002", "W**")))
    shop.later(0)
    shop.reply(Verified(NO))
    first, second = stored_sales(shop.journal.advices())
    assert (first.task.minor, first.declined, second.task.minor, second.declined) == (
        1_000, False, 1_100, True,
    )  # fmt: skip
    assert shop.is_paid("O-2")  # for the till it stays paid
    shop.sell("O-3", 100)
    assert (shop.offline.doubt, shop.is_paid("O-3")) == (Doubt.PAYER, False)

    setting = shop.kernel.setting
    for sale, slip in ((first, None), (second, Outcome.OFFLINE_DECLINED)):
        payment, tasks = shop.journal.payment(sale.task.ref), shop.journal.tasks_of(sale.task.ref)
        assert payment is not None
        declined = declined_offline(setting, payment, tasks)
        assert (declined and declined.outcome) == slip
        copy = of_payment(setting, payment, tasks)
        became = Outcome.OFFLINE_NOT_CHARGED if slip else Outcome.OFFLINE_CHARGED
        assert (copy.outcome, copy.copy) == (became, True)
        assert copy.code == ("payer_blocked" if slip else "")
        assert copy.rrn == ("" if slip else "000000000002")
        assert of_refund(setting, payment, tasks, 1) is None


@pytest.mark.parametrize("result", [Result.APPROVED, Result.DECLINED])
def test_a_sale_whose_answer_was_lost_with_a_damaged_page_does_not_wait(
    shop: OfflineShop, result: Result
) -> None:
    shop.known()
    shop.sell("O-1")
    (task,) = shop.journal.advices()
    (sale,) = stored_sales([replace(task, result=str(result), answer=None)])
    assert sale.answer is not None
    assert sale.declined == (result is Result.DECLINED)


def test_a_copy_says_the_same_time_as_the_receipt_however_long_the_answer_took(shop: OfflineShop) -> None:
    shop.pay()
    shop.later(14_000)
    shop.reply(APPROVED)
    made, (payment,) = shop.kernel.last_receipt, shop.journal.payments(1)
    assert made is not None
    copy = of_payment(shop.kernel.setting, payment, [])
    assert (copy.when, copy.amount, copy.approval) == (made.when, made.amount, made.approval)


@pytest.mark.parametrize("call", ["payment", "note_receipt"])
def test_a_receipt_that_can_t_be_counted_stops_no_sale(
    shop: OfflineShop, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def damaged(*args: object, **kwargs: object) -> None:
        raise OperatorError("the disk is full")

    monkeypatch.setattr(shop.journal, call, damaged)
    shop.pay()
    shop.reply(APPROVED)
    assert isinstance(shop.kernel.state, Approved)
    assert shop.kernel.last_receipt is not None
    assert str(shop.kernel.failure) == "the disk is full"


def test_an_open_payment_s_receipt_is_not_final(shop: OfflineShop) -> None:
    shop.pay()
    (payment,) = shop.journal.payments(1)
    assert of_payment(shop.kernel.setting, payment, []).outcome is Outcome.NOT_FINAL
