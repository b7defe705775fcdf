"""The kernel with a real journal and gallery: what it promises about money, cameras and faces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kiosk.acquirer.client import Lost, PolicyReceived, Reply, ReversalConfirmed, Unsent, Verified
from kiosk.acquirer.journal import Journal
from kiosk.acquirer.jwe import PIN_TYP, Recipient
from kiosk.acquirer.messages import Exchange, PaymentRequest, Terminal, parse
from kiosk.app.kernel import Kernel, LookChallenge, LookDone, Setting
from kiosk.app.people import EnrolledPeople
from kiosk.domain import lockout
from kiosk.domain.challenge import Challenge, ChallengeKind
from kiosk.domain.decision import FalseMatchBound, LookOutcome, Reason, Refuse, Thresholds
from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.domain.limits import Limits, PinKey, Policy
from kiosk.domain.money import Money
from kiosk.domain.payment import (
    Answer,
    Approved,
    Cancel,
    Challenged,
    Confirm,
    Declined,
    DigitsTyped,
    Done,
    Identified,
    Idle,
    Looking,
    Means,
    NotSent,
    Offer,
    Offered,
    Order,
    OtherMeans,
    PayAnotherWay,
    PayWithFace,
    PinEntry,
    Refused,
    Result,
    Reversed,
    SecondFactor,
    Sent,
    Tick,
    Unknown,
)
from kiosk.domain.pin import Pin, PinTyped
from kiosk.gallery.gallery import Gallery
from kiosk.gallery.template import PayerRecord, Reference, Template

NOON = 1_800_000_000.0
APPROVED = Verified(Answer(Result.APPROVED, approval="A1B2C3", rrn="000000000001"))


@dataclass
class FakeClock:
    ms: int = 0
    utc: float = NOON

    def monotonic_ms(self) -> int:
        return self.ms

    def utc_s(self) -> float:
        return self.utc

    def pass_ms(self, ms: int) -> None:
        self.ms += ms
        self.utc += ms / 1000


@dataclass
class ScriptedAcquirer:
    """Keeps what was submitted; a test answers when it likes."""

    sent: list[tuple[Exchange, Callable[[Reply], None]]] = field(default_factory=list)

    def submit(self, exchange: Exchange, done: Callable[[Reply], None], *, behind: bool) -> None:
        self.sent.append((exchange, done))

    def operations(self) -> list[str]:
        return [exchange.operation for exchange, _ in self.sent]


@dataclass
class ScriptedLooker:
    on: bool = False
    starts: int = 0
    look: int = 0

    def start(self, look: int, tell: Callable[[LookDone | LookChallenge], None]) -> None:
        self.on, self.look = True, look
        self.starts += 1

    def stop(self) -> None:
        self.on = False


@dataclass
class RecordingTill:
    ends: list[Result] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def concluded(self, order: Order, ref: str, result: Result, answer: Answer) -> None:
        self.ends.append(result)

    def handed_back(self, order: Order) -> None:
        self.back.append(order.order_ref)

    def not_to_be_paid(self, order: Order) -> None:
        self.closed.append(order.order_ref)


def unit(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=192)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def record(token: str, seed: int, digits: str = "") -> PayerRecord:
    reference = Reference(Template(unit(seed)), "net-1")
    return PayerRecord(token, f"*{token}", "•••• 1234", digits, "consent-v1", int(NOON), (reference,))


class Shop:
    """One kiosk in a folder; `restart` is a new process on the same folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.policy = Policy(
            1, int(NOON) + 86_400, "CNY", "Sandbox Pay", "LIC-1", True, Limits(per_payment=20_000)
        )
        self.merchant = Limits()
        self.gallery = Gallery([record("ming", 1, "1111"), record("li", 2, "2222")])
        self.thresholds = Thresholds(0.5, 0.4, 0.05, 0.01, FalseMatchBound((0.4, 0.5), (1e-3, 1e-4)))
        self.open()

    def open(self) -> None:
        self.acquirer, self.looker, self.till = ScriptedAcquirer(), ScriptedLooker(), RecordingTill()
        self.journal = Journal(self.folder / "journal.sqlite", now=self.clock.utc_s)
        self.kernel = Kernel(
            Setting(
                Terminal("M-1", "S-1", "T-1", "test", "Shop"),
                self.policy,
                self.merchant,
                self.thresholds,
                ZoneInfo("Asia/Shanghai"),
            ),
            clock=self.clock,
            journal=self.journal,
            acquirer=self.acquirer,
            looker=self.looker,
            people=EnrolledPeople(self.gallery),
            till=self.till,
            accept_policy=self.accept_policy,
        )

    def accept_policy(self, jws: bytes) -> Policy:
        if jws == b"forged":
            raise ProtocolError("not signed by a pinned key")
        if jws == b"full":
            raise OperatorError("the policy can't be stored")
        return replace(self.policy, version=2, ceiling=Limits(per_payment=1_000))

    def restart(self) -> None:
        self.journal.close()
        self.open()

    # --- what people do ---

    def offer(self, minor: int = 3850, order_ref: str = "O-1") -> None:
        self.kernel.handle(Offer(Order(order_ref, Money(minor, "CNY"), "Shop")))

    def look(self, probe: np.ndarray | None, outcome: LookOutcome = LookOutcome.LIVE) -> None:
        self.kernel.handle(PayWithFace())
        self.kernel.handle(LookDone(self.looker.look, outcome, probe, 0.9, ("net-1",)))

    def pay(self, minor: int = 3850, order_ref: str = "O-1") -> None:
        self.offer(minor, order_ref)
        self.look(unit(1))
        self.kernel.handle(Confirm())

    def reply(self, reply: Reply, index: int = -1) -> None:
        self.acquirer.sent[index][1](reply)
        self.drain()

    def drain(self) -> None:
        while not self.kernel._queue.empty():
            message = self.kernel._queue.get()
            assert message is not None
            self.kernel.handle(message)

    def later(self, ms: int) -> None:
        self.clock.pass_ms(ms)
        self.kernel.handle(Tick())
        self.drain()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.journal.close()


def test_no_frame_is_taken_before_the_press(shop: Shop) -> None:
    shop.offer()
    assert isinstance(shop.kernel.state, Offered)
    assert shop.looker.starts == 0
    shop.kernel.handle(PayWithFace())
    assert shop.looker.on


def test_a_payment_from_offer_to_receipt(shop: Shop) -> None:
    shop.pay()
    assert isinstance(shop.kernel.state, Sent)
    assert not shop.looker.on
    shop.reply(APPROVED)
    assert isinstance(shop.kernel.state, Approved)
    assert shop.till.ends == [Result.APPROVED]
    assert shop.kernel.last_receipt is not None
    assert shop.kernel.last_receipt.masked_payer == "*ming"


def test_the_attempt_is_in_the_journal_before_it_is_sent(shop: Shop) -> None:
    held = []
    submit = shop.acquirer.submit

    def spy(exchange: Exchange, done: Callable[[Reply], None], *, behind: bool) -> None:
        held.append([attempt.ref for attempt in shop.journal.open_attempts()])
        submit(exchange, done, behind=behind)

    shop.acquirer.submit = spy  # type: ignore[method-assign]
    shop.pay()
    assert held == [[shop.acquirer.sent[0][0].ref]]


def test_the_face_is_overwritten_when_the_look_is_over(shop: Shop) -> None:
    probe = unit(1)
    shop.offer()
    shop.look(probe)
    assert isinstance(shop.kernel.state, Identified)
    assert not probe.any()


def test_a_look_that_was_cancelled_pays_nothing(shop: Shop) -> None:
    shop.offer()
    shop.kernel.handle(PayWithFace())
    old = shop.looker.look
    shop.kernel.handle(Cancel())
    shop.offer(order_ref="O-2")
    shop.kernel.handle(PayWithFace())
    shop.kernel.handle(LookDone(old, LookOutcome.LIVE, unit(1), 0.9))
    assert isinstance(shop.kernel.state, Looking)


def test_a_stranger_and_an_attack_are_refused_and_nothing_is_sent(shop: Shop) -> None:
    shop.offer()
    shop.look(unit(99))
    assert isinstance(shop.kernel.state, Refused)
    assert shop.kernel.state.reason is Reason.NOT_RECOGNISED
    shop.look(None, LookOutcome.ATTACK)
    assert isinstance(shop.kernel.state, Refused)
    assert shop.kernel.state.reason is Reason.ATTACK_SUSPECTED
    assert shop.acquirer.sent == []


TURN, BLINK = Challenge(ChallengeKind.TURN_LEFT), Challenge(ChallengeKind.BLINK)


def challenged(shop: Shop, *challenges: Challenge) -> None:
    """A look that isn't sure, and what it asks for."""
    shop.offer()
    shop.kernel.handle(PayWithFace())
    for challenge in challenges:
        shop.kernel.handle(LookChallenge(shop.looker.look, challenge))
    assert isinstance(shop.kernel.state, Challenged)
    assert shop.kernel.state.challenge is challenges[-1], "the screen reports on this very object"
    assert shop.looker.on


def test_a_challenge_that_was_passed_leads_to_the_confirm_page(shop: Shop) -> None:
    challenged(shop, TURN, BLINK)
    probe = unit(1)
    shop.kernel.handle(LookDone(shop.looker.look, LookOutcome.LIVE, probe, 0.6, ("net-1",)))
    assert isinstance(shop.kernel.state, Identified)
    assert shop.kernel.state.payer.token == "ming"
    assert shop.kernel.state.evidence.methods == ("face",), "the protocol knows face, digits and pin"
    assert (shop.looker.starts, shop.looker.on) == (1, False)
    assert not probe.any()


def test_a_challenge_that_was_failed_is_a_suspected_attack_and_nothing_is_sent(shop: Shop) -> None:
    challenged(shop, TURN)
    shop.kernel.handle(LookDone(shop.looker.look, LookOutcome.ATTACK, None, 0.6))
    assert isinstance(shop.kernel.state, Refused)
    assert shop.kernel.state.reason is Reason.ATTACK_SUSPECTED
    assert not shop.looker.on
    assert shop.acquirer.sent == []


def test_a_challenge_that_is_cancelled_leaves_nothing(shop: Shop) -> None:
    challenged(shop, TURN)
    late, probe = shop.looker.look, unit(1)
    shop.kernel.handle(Cancel())
    assert isinstance(shop.kernel.state, Idle)
    assert not shop.looker.on
    shop.kernel.handle(LookDone(late, LookOutcome.LIVE, probe, 0.9))
    shop.kernel.handle(LookChallenge(late, BLINK))
    assert isinstance(shop.kernel.state, Idle)
    assert shop.kernel._found is None
    assert not probe.any()


def test_a_challenge_of_an_old_look_is_not_asked(shop: Shop) -> None:
    challenged(shop, TURN)
    old = shop.looker.look
    shop.kernel.handle(Cancel())
    shop.offer(order_ref="O-2")
    shop.kernel.handle(PayWithFace())
    looking = shop.kernel.state
    shop.kernel.handle(LookChallenge(old, BLINK))
    assert isinstance(looking, Looking)
    assert shop.kernel.state is looking


def test_a_challenge_that_nobody_answers_is_given_up_and_the_camera_is_off(shop: Shop) -> None:
    challenged(shop, BLINK)
    assert isinstance(shop.kernel.state, Challenged)
    shop.later(shop.kernel.state.until - shop.clock.ms - 1)
    assert isinstance(shop.kernel.state, Challenged)
    shop.later(1)
    assert isinstance(shop.kernel.state, Refused)
    assert shop.kernel.state.reason is Reason.LIVENESS_UNSURE
    assert not shop.looker.on


def test_close_people_are_told_apart_by_digits(shop: Shop) -> None:
    between = unit(1) + unit(2)
    between /= np.linalg.norm(between)
    shop.offer()
    shop.look(between)
    assert isinstance(shop.kernel.state, SecondFactor)
    shop.kernel.handle(DigitsTyped("0000"))
    assert isinstance(shop.kernel.state, SecondFactor)
    shop.kernel.handle(DigitsTyped("2222"))
    assert isinstance(shop.kernel.state, Identified)
    assert shop.kernel.state.payer.token == "li"
    assert shop.kernel.state.evidence.methods == ("face", "digits")


def test_another_way_hands_the_order_back(shop: Shop) -> None:
    shop.offer()
    shop.kernel.handle(PayAnotherWay(Means.TILL))
    assert isinstance(shop.kernel.state, OtherMeans)
    assert shop.till.back == ["O-1"]


@pytest.mark.parametrize("minor", [20_001, 999_999])
def test_over_the_ceiling_is_said_before_anyone_looks(shop: Shop, minor: int) -> None:
    shop.offer(minor)
    shop.kernel.handle(PayWithFace())
    assert isinstance(shop.kernel.state, Refused)
    assert shop.kernel.state.reason is Reason.OVER_LIMIT
    assert shop.looker.starts == 0


def test_a_person_s_day_counts_what_was_approved_and_what_is_open(shop: Shop) -> None:
    shop.merchant = Limits(per_person_day=5000)
    shop.restart()
    shop.pay(3000)
    shop.reply(APPROVED)
    shop.kernel.handle(Done())
    shop.offer(3000, "O-2")
    shop.look(unit(1))
    assert isinstance(shop.kernel.state, Refused)
    assert shop.kernel.state.reason is Reason.OVER_LIMIT
    shop.kernel.handle(Done())
    shop.offer(3000, "O-3")
    shop.look(unit(2))
    assert isinstance(shop.kernel.state, Identified)


@pytest.mark.parametrize(
    "change",
    [
        {"face_allowed": False},
        {"expires_s": int(NOON) - 1},
        {"currency": "EUR"},
    ],
)
def test_without_a_policy_that_allows_it_there_is_no_look(shop: Shop, change: dict[str, object]) -> None:
    shop.policy = replace(shop.policy, **change)  # type: ignore[arg-type]
    shop.restart()
    shop.offer()
    shop.kernel.handle(PayWithFace())
    assert isinstance(shop.kernel.state, Refused)
    assert shop.kernel.state.reason is Reason.FACE_NOT_ALLOWED
    assert shop.looker.starts == 0


def test_unreachable_means_nothing_was_sent_and_the_order_may_be_paid_again(shop: Shop) -> None:
    shop.pay()
    shop.reply(Unsent("connection refused"))
    assert isinstance(shop.kernel.state, NotSent)
    assert not shop.journal.open_attempts()
    shop.kernel.handle(Done())
    shop.pay()
    shop.reply(APPROVED)
    assert isinstance(shop.kernel.state, Approved)


def test_a_lost_answer_is_asked_for_and_never_sent_twice(shop: Shop) -> None:
    shop.pay()
    shop.reply(Lost("no answer"))
    assert isinstance(shop.kernel.state, Unknown)
    shop.later(2_000)
    assert shop.acquirer.operations() == ["payment", "status"]
    shop.reply(APPROVED)
    assert isinstance(shop.kernel.state, Approved)
    assert not shop.journal.open_attempts()


def test_an_outcome_that_stays_unknown_is_reversed_with_the_same_bytes_until_acknowledged(shop: Shop) -> None:
    shop.pay()
    shop.reply(Lost("no answer"))
    for _ in range(60):
        shop.later(5_000)
    reversals = [exchange for exchange, _ in shop.acquirer.sent if exchange.operation == "reversal"]
    assert len(reversals) > 2
    assert {exchange.body for exchange in reversals} == {reversals[0].body}
    assert shop.acquirer.operations().count("payment") == 1
    assert shop.acquirer.operations().count("status") == 4
    shop.reply(ReversalConfirmed())
    assert not shop.journal.open_attempts()
    assert shop.till.ends == [Result.REVERSED]


def test_the_next_shopper_pays_while_an_outcome_is_open_but_that_order_is_not_paid_twice(shop: Shop) -> None:
    shop.pay()
    shop.reply(Lost("no answer"))
    shop.kernel.handle(Done())
    assert isinstance(shop.kernel.state, Idle)
    shop.offer(order_ref="O-1")
    shop.kernel.handle(PayWithFace())
    assert isinstance(shop.kernel.state, Refused)
    shop.kernel.handle(Done())
    shop.pay(order_ref="O-2")
    shop.reply(APPROVED)
    assert isinstance(shop.kernel.state, Approved)
    assert len(shop.journal.open_attempts()) == 1


@pytest.mark.parametrize("reversing", [False, True])
def test_a_restart_takes_up_what_was_open(shop: Shop, reversing: bool) -> None:
    shop.pay()
    if reversing:
        shop.reply(Lost("no answer"))
        for _ in range(12):
            shop.later(5_000)
        frozen = shop.journal.exchange(shop.acquirer.sent[0][0].ref, "reversal")
    shop.restart()
    assert len(shop.kernel.behind) == 1
    shop.kernel.handle(Tick())
    exchange, _ = shop.acquirer.sent[0]
    if reversing:
        assert frozen is not None
        assert exchange.body == frozen.body
        shop.reply(ReversalConfirmed())
        assert shop.till.ends == [Result.REVERSED]
    else:
        assert exchange.operation == "status"
        shop.reply(APPROVED)
        assert shop.till.ends == [Result.APPROVED]
    assert not shop.kernel.behind
    assert not shop.journal.open_attempts()


def test_a_late_approval_of_another_attempt_does_not_end_this_sale(shop: Shop) -> None:
    shop.pay()
    shop.reply(Lost("no answer"))
    shop.kernel.handle(Done())
    shop.pay(order_ref="O-2")
    first, second = shop.acquirer.sent[0], shop.acquirer.sent[1]
    first[1](APPROVED)
    shop.drain()
    assert isinstance(shop.kernel.state, Sent)
    assert shop.kernel.state.ref == second[0].ref


def test_every_state_that_is_shown_is_told_once(shop: Shop) -> None:
    seen: list[str] = []
    shop.kernel.on_state = lambda state: seen.append(type(state).__name__)
    shop.pay()
    shop.reply(APPROVED)
    shop.kernel.handle(Done())
    assert seen == ["Offered", "Looking", "Identified", "Sent", "Approved", "Idle"]


def test_the_answer_s_wait_ends_even_when_the_worker_says_nothing(shop: Shop) -> None:
    shop.pay()
    shop.later(21_000)
    assert isinstance(shop.kernel.state, Unknown)
    shop.reply(APPROVED, 0)
    assert isinstance(shop.kernel.state, Approved)


def test_nobody_waits_at_a_reversed_screen_for_ever(shop: Shop) -> None:
    shop.pay()
    shop.reply(Lost("no answer"))
    shop.later(2_000)
    shop.reply(Verified(Answer(Result.REVERSED, code="tombstone")))
    assert isinstance(shop.kernel.state, Reversed)
    shop.later(21_000)
    assert isinstance(shop.kernel.state, Idle)


def test_an_attempt_that_can_t_be_written_down_is_not_sent(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OperatorError("the journal can't be written (disk full)")

    monkeypatch.setattr(shop.journal, "open_attempt", full)
    shop.pay()
    shop.drain()
    assert isinstance(shop.kernel.state, NotSent)
    assert shop.acquirer.sent == []
    assert shop.till.ends == [Result.DECLINED]


def unwritable(*args: object, **kwargs: object) -> None:
    raise OperatorError("the journal can't be written (disk full)")


def test_an_approval_that_can_t_be_written_down_is_asked_for_again_and_told_then(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(shop.journal, "conclude", unwritable)
        shop.pay()
        shop.reply(APPROVED)
        assert isinstance(shop.kernel.state, Sent)
        assert (shop.till.ends, shop.kernel.last_receipt) == ([], None)
        shop.later(21_000)
        shop.later(2_000)
        shop.reply(APPROVED)
        assert isinstance(shop.kernel.state, Unknown)
    shop.kernel.handle(Done())
    shop.later(4_000)
    shop.reply(APPROVED)
    assert shop.till.ends == [Result.APPROVED]
    assert not shop.kernel.behind
    assert not shop.journal.open_attempts()


@pytest.mark.parametrize("failing", ["open_reversal", "exchange"])
def test_a_reversal_that_can_t_be_written_down_is_not_sent_and_tried_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    shop.pay()
    shop.reply(Lost("no answer"))
    with monkeypatch.context() as full:
        full.setattr(shop.journal, failing, unwritable)
        for _ in range(20):
            shop.later(5_000)
        assert "reversal" not in shop.acquirer.operations()
        assert shop.kernel.failure is not None
    shop.later(300_000)
    assert shop.acquirer.operations()[-1] == "reversal"
    with monkeypatch.context() as full:
        full.setattr(shop.journal, "conclude", unwritable)
        shop.reply(ReversalConfirmed())
        assert len(shop.journal.open_attempts()) == 1
    shop.later(300_000)
    shop.reply(ReversalConfirmed())
    assert shop.till.ends == [Result.REVERSED]
    assert not shop.journal.open_attempts()


def test_an_order_whose_name_the_protocol_does_not_carry_is_not_sent(shop: Shop) -> None:
    shop.pay(order_ref="two\nlines")
    shop.drain()
    assert isinstance(shop.kernel.state, NotSent)
    assert shop.kernel.failure is not None
    assert shop.acquirer.sent == []


@pytest.mark.parametrize("failing", ["is_paid_or_open", "spent", "check"])
def test_a_journal_that_can_t_be_read_allows_no_payment(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    shop.offer()
    with monkeypatch.context() as broken:
        broken.setattr(shop.journal, failing, unwritable)
        shop.look(unit(1))
        assert isinstance(shop.kernel.state, Refused)
        assert shop.kernel.state.reason is Reason.FACE_NOT_ALLOWED
        shop.kernel.handle(Done())
        shop.offer()
        shop.kernel.handle(PayWithFace())
        assert isinstance(shop.kernel.state, Refused)
    assert shop.looker.starts == 1


def test_a_policy_that_ran_out_since_the_offer_allows_no_payment(shop: Shop) -> None:
    shop.policy = replace(shop.policy, expires_s=int(NOON) + 10)
    shop.restart()
    shop.offer()
    shop.clock.pass_ms(10_000)
    shop.look(unit(1))
    assert isinstance(shop.kernel.state, Refused)
    assert shop.kernel.state.reason is Reason.FACE_NOT_ALLOWED


def test_the_face_of_a_look_that_was_cancelled_is_overwritten(shop: Shop) -> None:
    late, again = unit(1), unit(1)
    shop.offer()
    shop.kernel.handle(PayWithFace())
    look = shop.looker.look
    shop.kernel.handle(Cancel())
    shop.kernel.handle(LookDone(look, LookOutcome.LIVE, late, 0.9))
    assert not late.any()
    shop.offer(order_ref="O-2")
    shop.look(unit(1))
    shop.kernel.handle(LookDone(shop.looker.look, LookOutcome.LIVE, again, 0.9))
    assert not again.any()


def test_a_second_result_of_one_look_decides_nothing(shop: Shop) -> None:
    between = unit(1) + unit(2)
    between /= np.linalg.norm(between)
    shop.offer()
    shop.look(between)
    shop.kernel.handle(DigitsTyped("0000"))
    second = unit(1)
    shop.kernel.handle(LookDone(shop.looker.look, LookOutcome.LIVE, second, 0.9))
    assert isinstance(shop.kernel.state, SecondFactor)
    assert not second.any()
    shop.kernel.handle(DigitsTyped("2222"))
    assert isinstance(shop.kernel.state, Identified)


def test_the_receipt_is_the_one_of_the_sale_on_the_screen(shop: Shop) -> None:
    shop.pay(order_ref="O-1")
    shop.reply(Lost("no answer"))
    shop.kernel.handle(Done())
    shop.offer(order_ref="O-2")
    shop.look(unit(2))
    shop.kernel.handle(Confirm())
    shop.reply(APPROVED)
    shop.clock.pass_ms(3_000)
    shop.kernel.handle(Tick())
    _, answer = next(sent for sent in shop.acquirer.sent if sent[0].operation == "status")
    answer(APPROVED)
    shop.drain()
    assert shop.till.ends == [Result.APPROVED, Result.APPROVED]
    assert shop.kernel.last_receipt is not None
    assert (shop.kernel.last_receipt.order_ref, shop.kernel.last_receipt.masked_payer) == ("O-2", "*li")


def test_an_order_that_comes_while_another_is_on_the_screen_is_the_till_s_again(shop: Shop) -> None:
    shop.offer(order_ref="O-1")
    shop.offer(order_ref="O-2")
    assert shop.till.back == ["O-2"]
    shop.offer(order_ref="O-1")  # a repeat of what is on the screen: it is not to be paid elsewhere
    assert shop.till.back == ["O-2"]
    assert shop.till.closed == []


@pytest.mark.parametrize("paid", [True, False])
@pytest.mark.parametrize("busy", [True, False])
def test_an_order_that_is_paid_or_not_final_is_never_given_back(shop: Shop, paid: bool, busy: bool) -> None:
    shop.pay(order_ref="O-1")
    shop.reply(APPROVED if paid else Lost("no answer"))
    shop.kernel.handle(Done())
    if busy:
        shop.offer(order_ref="O-2")
        shop.offer(order_ref="O-1")
    else:
        shop.offer(order_ref="O-1")
        shop.kernel.handle(PayAnotherWay(Means.TILL))
    assert shop.till.closed == ["O-1"]
    assert shop.till.back == []


def test_without_a_journal_to_look_into_no_order_is_given_back(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.offer()
    monkeypatch.setattr(shop.journal, "is_paid_or_open", unwritable)
    shop.kernel.handle(Cancel())
    assert (shop.till.closed, shop.till.back) == (["O-1"], [])


@pytest.mark.parametrize("page", range(5))
def test_an_order_that_the_shopper_leaves_is_the_till_s_again(shop: Shop, page: int) -> None:
    between = unit(1) + unit(2)
    between /= np.linalg.norm(between)
    shop.offer()
    if page == 1:
        shop.kernel.handle(PayWithFace())
    elif page > 1:
        shop.look([unit(1), unit(99), between][page - 2])
    shop.kernel.handle(Cancel())
    assert isinstance(shop.kernel.state, Idle)
    assert shop.till.back == ["O-1"]


def test_time_passes_also_while_somebody_drums_on_the_screen(shop: Shop) -> None:
    class Drummed(FakeClock):
        """Whenever somebody looks at the clock, 100 ms have passed and another press waits."""

        def monotonic_ms(self) -> int:
            assert self.ms < 100_000, "the offer's time never ends"
            shop.kernel.post(Done())
            self.ms += 100
            return self.ms

    shop.kernel._clock = Drummed()
    shop.offer()
    shop.kernel.run(until=lambda state: isinstance(state, Idle))


@pytest.mark.parametrize("behind", [True, False])
def test_an_end_that_the_till_was_not_told_before_the_process_died_is_told_at_the_next_start(
    shop: Shop, behind: bool
) -> None:
    def die(*args: object) -> None:
        raise SystemExit

    shop.pay()
    if behind:
        shop.reply(Lost("no answer"))
        shop.kernel.handle(Done())
        shop.later(2_000)
    shop.till.concluded = die  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        shop.reply(APPROVED)
    shop.restart()
    assert shop.till.ends == [Result.APPROVED]
    assert shop.kernel.last_receipt is None


def test_a_gallery_that_can_t_be_believed_any_more_recognises_nobody(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = unit(1)
    shop.offer()
    monkeypatch.setattr(shop.kernel._people, "search", unwritable)
    shop.look(probe)
    assert isinstance(shop.kernel.state, Refused)
    assert shop.kernel.state.reason is Reason.FACE_NOT_ALLOWED
    assert not probe.any()


def test_a_kiosk_that_runs_on_follows_the_acquirer_s_policy(shop: Shop) -> None:
    shop.later(599_000)
    assert shop.acquirer.sent == []
    shop.later(1_000)
    assert shop.acquirer.operations() == ["policy"]
    shop.reply(PolicyReceived(b"good"))
    shop.offer(3850)
    shop.kernel.handle(PayWithFace())
    assert isinstance(shop.kernel.state, Refused)
    assert shop.kernel.state.reason is Reason.OVER_LIMIT
    shop.later(600_000)
    assert shop.acquirer.operations() == ["policy", "policy"]


def test_an_answer_that_names_a_newer_policy_has_it_fetched_at_once(shop: Shop) -> None:
    shop.pay()
    shop.reply(replace(APPROVED, refresh_policy=True))
    assert isinstance(shop.kernel.state, Approved)
    shop.later(250)
    assert shop.acquirer.operations() == ["payment", "policy"]


@pytest.mark.parametrize("reply", [PolicyReceived(b"forged"), PolicyReceived(b"full"), Lost("no answer")])
def test_a_policy_that_is_refused_or_does_not_come_changes_nothing(shop: Shop, reply: Reply) -> None:
    shop.later(600_000)
    shop.reply(reply)
    assert shop.kernel.setting.policy == shop.policy
    shop.offer()
    shop.look(unit(1))
    assert isinstance(shop.kernel.state, Identified)


def test_a_kiosk_that_started_without_a_policy_takes_payments_once_one_comes(shop: Shop) -> None:
    wanted, shop.policy = shop.policy, None  # type: ignore[assignment]
    shop.restart()
    came: list[Policy] = []
    shop.kernel.on_policy = came.append
    shop.offer()
    shop.kernel.handle(PayWithFace())
    assert isinstance(shop.kernel.state, Refused)
    shop.kernel.handle(Done())
    shop.policy = wanted
    shop.later(15_000)
    assert shop.acquirer.operations() == ["policy"]
    shop.reply(PolicyReceived(b"jws"))
    assert [policy.version for policy in came] == [2]
    shop.offer(500, "O-2")
    shop.look(unit(1))
    assert isinstance(shop.kernel.state, Identified)


def test_the_next_order_takes_the_place_of_a_page_that_only_says_how_the_last_one_ended(shop: Shop) -> None:
    shop.pay()
    shop.reply(APPROVED)
    shop.offer(order_ref="O-1")  # the till asks again about what is on the screen
    assert isinstance(shop.kernel.state, Approved)
    shop.offer(order_ref="O-2")
    assert isinstance(shop.kernel.state, Offered)
    assert shop.kernel.state.order.order_ref == "O-2"
    assert shop.till.back == []


def test_the_law_of_the_place_closes_payment_by_face_and_says_why(shop: Shop) -> None:
    shop.policy = replace(shop.policy, face_allowed=False, law_note="Not in schools (Act 7, 2027).")
    shop.restart()
    shop.offer()
    assert isinstance(shop.kernel.state, Offered)
    assert shop.kernel.state.refusal == Refuse(Reason.FACE_NOT_ALLOWED, note=shop.policy.law_note)


def test_a_note_of_the_law_is_not_the_reason_where_faces_may_pay(shop: Shop) -> None:
    shop.policy = replace(shop.policy, expires_s=int(NOON), law_note="Two factors (Act 7, 2027).")
    shop.restart()
    assert shop.kernel.refusal_of(Order("O-1", Money(1, "CNY"), "Shop")) == Refuse(Reason.FACE_NOT_ALLOWED)


@pytest.mark.parametrize(("own", "paid"), [(3850, True), (3849, False)])
def test_what_a_payer_allows_themselves_holds_for_them_alone(shop: Shop, own: int, paid: bool) -> None:
    mine = replace(record("ming", 1, "1111"), limits=Limits(per_payment=own))
    shop.gallery = Gallery([mine, record("li", 2, "2222")])
    shop.restart()
    shop.offer()
    shop.look(unit(1))
    assert isinstance(shop.kernel.state, Identified if paid else Refused)
    shop.kernel.handle(Cancel())
    shop.offer(order_ref="O-2")
    shop.look(unit(2))
    assert isinstance(shop.kernel.state, Identified)


def test_what_the_merchant_sets_meanwhile_holds_for_the_next_payment(shop: Shop) -> None:
    shop.kernel.merchant = lambda: Limits(per_payment=1000)
    refusal = shop.kernel.refusal_of(Order("O-1", Money(1001, "CNY"), "Shop"))
    assert refusal is not None
    assert refusal.reason is Reason.OVER_LIMIT
    assert shop.kernel.refusal_of(Order("O-1", Money(1000, "CNY"), "Shop")) is None


def test_while_the_merchant_s_caps_can_t_be_told_nobody_pays_by_face(shop: Shop) -> None:
    shop.kernel.merchant = unwritable
    refusal = shop.kernel.refusal_of(Order("O-1", Money(1, "CNY"), "Shop"))
    assert refusal == Refuse(Reason.FACE_NOT_ALLOWED)
    assert shop.kernel.failure is not None


def test_an_expiry_is_noted_while_nobody_pays(shop: Shop) -> None:
    asked = []
    shop.kernel._is_over = lambda policy, now_s: asked.append((policy.version, now_s)) or True
    shop.later(250)
    assert asked == [(1, NOON + 0.25)]
    assert shop.kernel.refusal_of(Order("O-1", Money(1, "CNY"), "Shop")) == Refuse(Reason.FACE_NOT_ALLOWED)


# --- PIN and lock-out -----------------------------------------------------------------------------------

PRIVATE = ec.generate_private_key(ec.SECP256R1())
PIN_KEY = PinKey(
    "pin-1",
    PRIVATE.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    ),
)


@pytest.fixture
def pin_shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    shop.policy = replace(shop.policy, ceiling=Limits(per_payment=20_000, pin_above=5_000), pin_key=PIN_KEY)
    shop.restart()
    yield shop
    shop.journal.close()


def type_pin(shop: Shop, digits: str = "908172") -> Pin:
    pin = Pin(digits)
    shop.kernel.handle(PinTyped(pin))
    return pin


def declined(code: str) -> Verified:
    return Verified(Answer(Result.DECLINED, code))


def test_a_pin_goes_to_the_acquirer_sealed_for_its_attempt_and_is_nowhere_else(
    pin_shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    pin_shop.offer(6_000)
    pin_shop.look(unit(1))
    assert isinstance(pin_shop.kernel.state, PinEntry)
    assert not pin_shop.looker.on
    pin = type_pin(pin_shop)
    assert pin.reveal() == b""
    exchange, _ = pin_shop.acquirer.sent[-1]
    request = parse(exchange.body or b"", PaymentRequest)
    assert request.evidence.methods == ("face", "pin")
    opened = Recipient(PRIVATE, "pin-1").open(request.pin or "", PIN_TYP, request.ref)
    assert opened == b'{"pin":"908172","ref":"%b"}' % request.ref.encode()
    files = b"".join(path.read_bytes() for path in pin_shop.folder.rglob("*") if path.is_file())
    assert b"908172" not in files + repr(vars(pin_shop.kernel)).encode() + caplog.text.encode()


def test_a_wrong_pin_is_another_attempt_of_the_same_order(pin_shop: Shop) -> None:
    pin_shop.offer(6_000)
    pin_shop.look(unit(1))
    type_pin(pin_shop)
    pin_shop.reply(declined("wrong_pin"))
    assert isinstance(pin_shop.kernel.state, PinEntry)
    type_pin(pin_shop)
    first, second = (parse(sent.body or b"", PaymentRequest) for sent, _ in pin_shop.acquirer.sent[-2:])
    assert first.order_ref == second.order_ref
    assert first.ref != second.ref
    assert first.sequence < second.sequence
    pin_shop.reply(Verified(Answer(Result.APPROVED, "approved", "ABC123", "1")))
    assert isinstance(pin_shop.kernel.state, Approved)


def test_without_a_key_to_seal_it_no_pin_is_asked_for(shop: Shop) -> None:
    shop.policy = replace(shop.policy, ceiling=Limits(per_payment=20_000, pin_above=5_000))
    shop.restart()
    shop.offer(6_000)
    shop.look(unit(1))
    assert isinstance(shop.kernel.state, Refused)
    assert shop.kernel.state.reason is Reason.PIN_NEEDED
    assert type_pin(shop).reveal() == b""


def test_a_key_that_is_none_refuses_and_says_so(pin_shop: Shop) -> None:
    pin_shop.offer(6_000)
    pin_shop.look(unit(1))
    pin_shop.kernel.setting = replace(
        pin_shop.kernel.setting, policy=replace(pin_shop.policy, pin_key=PinKey("pin-1", b"none"))
    )
    assert type_pin(pin_shop).reveal() == b""
    assert isinstance(pin_shop.kernel.state, Refused)
    assert pin_shop.kernel.failure is not None


def test_close_people_type_digits_and_then_their_pin(pin_shop: Shop) -> None:
    pin_shop.offer(6_000)
    pin_shop.look(between_two())
    pin_shop.kernel.handle(DigitsTyped("2222"))
    assert isinstance(pin_shop.kernel.state, PinEntry)
    type_pin(pin_shop)
    request = parse(pin_shop.acquirer.sent[-1][0].body or b"", PaymentRequest)
    assert request.evidence.methods == ("face", "digits", "pin")


def test_who_has_a_near_double_types_their_pin_for_any_amount_with_digits_or_without(pin_shop: Shop) -> None:
    pin_shop.gallery.neighbours = frozenset({"ming"})
    pin_shop.offer(1)
    pin_shop.look(unit(1))
    assert isinstance(pin_shop.kernel.state, PinEntry)
    pin_shop.kernel.handle(Cancel())
    pin_shop.offer(1, "O-2")
    pin_shop.look(between_two())
    pin_shop.kernel.handle(DigitsTyped("1111"))
    assert isinstance(pin_shop.kernel.state, PinEntry)
    pin_shop.kernel.handle(Cancel())
    pin_shop.offer(1, "O-3")
    pin_shop.look(unit(2))
    assert isinstance(pin_shop.kernel.state, Identified)


def test_a_near_double_pays_by_other_means_where_no_pin_can_be_taken(shop: Shop) -> None:
    shop.gallery.neighbours = frozenset({"ming"})
    shop.offer(1)
    shop.look(unit(1))
    assert isinstance(shop.kernel.state, Refused)
    assert shop.kernel.state.reason is Reason.PIN_NEEDED


def between_two() -> np.ndarray:
    """A probe as near to one as to the other; a new one each time, because a look overwrites it."""
    between = unit(1) + unit(2)
    return (between / np.linalg.norm(between)).astype(np.float32)


def guess_digits(shop: Shop, number: int) -> None:
    """So many wrong digits, three an order."""
    for made in range(number):
        if made % 3 == 0:
            shop.kernel.handle(Cancel())
            shop.offer(order_ref=f"G-{number}-{made}")
            shop.look(between_two())
        shop.kernel.handle(DigitsTyped("0000"))
    shop.kernel.handle(Cancel())


def test_five_wrong_digits_over_orders_and_restarts_end_the_guessing_for_a_while(shop: Shop) -> None:
    guess_digits(shop, 3)
    shop.restart()
    guess_digits(shop, 2)
    shop.offer(order_ref="O-locked")
    shop.look(between_two())
    assert isinstance(shop.kernel.state, Refused)
    assert shop.kernel.state.reason is Reason.LOCKED
    shop.kernel.handle(Cancel())

    shop.pay(order_ref="O-clear")  # who is clear without digits may pay, and buys no more guesses by it
    shop.reply(APPROVED)
    assert isinstance(shop.kernel.state, Approved)
    shop.kernel.handle(Done())
    shop.offer(order_ref="O-after")
    shop.look(between_two())
    assert isinstance(shop.kernel.state, Refused)
    assert shop.kernel.state.reason is Reason.LOCKED


def pay_with_digits(shop: Shop, order_ref: str, *, wrong: int) -> None:
    """Mistype `wrong` times, then type one's own digits and pay."""
    shop.offer(order_ref=order_ref)
    shop.look(between_two())
    for digits in ["0000"] * wrong + ["2222"]:
        shop.kernel.handle(DigitsTyped(digits))
    assert isinstance(shop.kernel.state, Identified)
    shop.kernel.handle(Confirm())
    shop.reply(APPROVED)
    shop.kernel.handle(Done())


def test_who_mistypes_and_then_pays_takes_back_the_own_mistakes_and_no_one_else_s(shop: Shop) -> None:
    guess_digits(shop, 2)
    for number in range(4):
        pay_with_digits(shop, f"O-{number}", wrong=2)
    assert len(shop.journal.failures(lockout.GUESSES)) == 2
    pay_with_digits(shop, "O-clean", wrong=0)
    assert len(shop.journal.failures(lockout.GUESSES)) == 2


def test_a_late_approval_takes_back_nothing_of_the_next_order(shop: Shop) -> None:
    shop.offer()
    shop.look(between_two())
    shop.kernel.handle(DigitsTyped("2222"))
    shop.kernel.handle(Confirm())
    shop.reply(Lost("cut"))
    shop.kernel.handle(Done())
    guess_digits(shop, 2)
    shop.later(2_000)
    shop.reply(APPROVED)
    assert shop.kernel.behind == {}
    assert len(shop.journal.failures(lockout.GUESSES)) == 2


def test_after_three_wrong_digits_right_ones_are_not_enough_where_a_pin_can_be_taken(pin_shop: Shop) -> None:
    guess_digits(pin_shop, 3)
    pin_shop.offer()
    pin_shop.look(between_two())
    pin_shop.kernel.handle(DigitsTyped("2222"))
    assert isinstance(pin_shop.kernel.state, PinEntry)
    pin_shop.kernel.handle(Cancel())
    pin_shop.offer(order_ref="O-clear")
    pin_shop.look(unit(1))
    assert isinstance(pin_shop.kernel.state, Identified)


def test_prints_of_a_face_close_no_shop_whose_acquirer_takes_no_pin(shop: Shop) -> None:
    for number in range(4):
        shop.offer(order_ref=f"A-{number}")
        shop.look(unit(1), LookOutcome.ATTACK)
        shop.kernel.handle(Cancel())
    shop.offer()
    shop.look(unit(1))
    assert isinstance(shop.kernel.state, Identified)


def test_a_clock_set_back_opens_no_lock_and_makes_none_longer(shop: Shop) -> None:
    shop.pay(order_ref="O-before")
    shop.reply(APPROVED)
    shop.kernel.handle(Done())
    guess_digits(shop, 5)
    shop.clock.utc -= 86_400
    shop.offer(order_ref="O-back")
    shop.look(between_two())
    assert isinstance(shop.kernel.state, Refused)
    assert shop.kernel.state.reason is Reason.LOCKED
    shop.kernel.handle(Cancel())
    shop.clock.pass_ms(lockout.LOCK_S * 1000)
    shop.offer(order_ref="O-later")
    shop.look(between_two())
    assert isinstance(shop.kernel.state, SecondFactor)


def test_a_wrong_pin_that_is_told_late_counts_once_and_its_ciphertext_is_let_go(pin_shop: Shop) -> None:
    pin_shop.offer(6_000)
    pin_shop.look(unit(1))
    type_pin(pin_shop)
    pin_shop.reply(Lost("cut"))
    pin_shop.later(2_000)
    assert pin_shop.kernel._on_its_way is not None
    pin_shop.reply(declined("wrong_pin"))
    pin_shop.reply(declined("wrong_pin"))
    assert isinstance(pin_shop.kernel.state, Declined)
    assert len(pin_shop.journal.failures(lockout.of_payer("ming"))) == 1
    assert pin_shop.kernel._on_its_way is None


def test_a_lock_ends_by_itself(shop: Shop) -> None:
    guess_digits(shop, 5)
    shop.clock.pass_ms(lockout.LOCK_S * 1000)
    shop.offer(order_ref="O-later")
    shop.look(between_two())
    assert isinstance(shop.kernel.state, SecondFactor)


def test_three_suspected_attacks_ask_for_a_pin_too_and_five_close_the_camera(pin_shop: Shop) -> None:
    for number in range(3):
        pin_shop.offer(order_ref=f"A-{number}")
        pin_shop.look(unit(1), LookOutcome.ATTACK)
        pin_shop.kernel.handle(Cancel())
    pin_shop.offer(order_ref="O-1")
    pin_shop.look(unit(1))
    assert isinstance(pin_shop.kernel.state, PinEntry)
    pin_shop.kernel.handle(Cancel())
    for number in range(2):
        pin_shop.offer(order_ref=f"B-{number}")
        pin_shop.look(unit(1), LookOutcome.ATTACK)
        pin_shop.kernel.handle(Cancel())
    pin_shop.offer(order_ref="O-2")
    state = pin_shop.kernel.state
    assert isinstance(state, Offered)
    assert state.refusal is not None
    assert state.refusal.reason is Reason.LOCKED
    ends = pin_shop.clock.utc + lockout.LOCK_S
    assert state.refusal.opens_at is not None
    assert 0 <= state.refusal.opens_at.timestamp() - ends < 60, "a full minute, and not before it is over"
    assert state.refusal.opens_at.tzinfo is pin_shop.kernel.setting.timezone


def test_wrong_pins_and_denied_recognitions_lock_their_payer_and_nobody_else(pin_shop: Shop) -> None:
    for _ in range(4):
        pin_shop.kernel.contradicted("ming")
    pin_shop.offer(6_000)
    pin_shop.look(unit(1))
    type_pin(pin_shop)
    pin_shop.reply(declined("wrong_pin"))
    pin_shop.kernel.handle(Cancel())
    pin_shop.offer(order_ref="O-2")
    pin_shop.look(unit(1))
    assert isinstance(pin_shop.kernel.state, Refused)
    assert pin_shop.kernel.state.reason is Reason.LOCKED
    pin_shop.kernel.handle(Cancel())
    pin_shop.offer(order_ref="O-3")
    pin_shop.look(unit(2))
    assert isinstance(pin_shop.kernel.state, Identified)


def test_a_payer_who_is_locked_by_a_wrong_pin_sends_no_other_from_the_same_page(pin_shop: Shop) -> None:
    for _ in range(4):
        pin_shop.kernel.contradicted("ming")
    pin_shop.offer(6_000)
    pin_shop.look(unit(1))
    type_pin(pin_shop)
    pin_shop.reply(declined("wrong_pin"))
    assert isinstance(pin_shop.kernel.state, PinEntry)
    assert type_pin(pin_shop).reveal() == b""
    assert isinstance(pin_shop.kernel.state, Refused)
    assert pin_shop.acquirer.operations() == ["payment"]


def test_counts_that_can_t_be_read_lock_and_counts_that_can_t_be_written_stop_nobody(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise OperatorError("the journal can't be read")

    monkeypatch.setattr(shop.journal, "note_failure", broken)
    shop.kernel.contradicted("ming")
    assert shop.kernel.failure is not None
    monkeypatch.setattr(shop.journal, "failures", broken)
    shop.offer()
    state = shop.kernel.state
    assert isinstance(state, Offered)
    assert state.refusal == Refuse(Reason.LOCKED)


# --- offline --------------------------------------------------------------------------------------------


def test_what_could_not_be_sent_is_accepted_where_the_acquirer_allows_it(shop: Shop) -> None:
    offline = Answer(Result.APPROVED, "offline", "123456", "1")
    shop.kernel.offline = lambda effect: offline if effect.order.order_ref == "O-1" else None
    shop.pay()
    shop.reply(Unsent("no route"))
    assert isinstance(shop.kernel.state, Approved)
    assert shop.till.ends == [Result.APPROVED]
    shop.kernel.handle(Done())
    shop.pay(order_ref="O-2")
    shop.reply(Unsent("no route"))
    assert isinstance(shop.kernel.state, NotSent)


def test_what_was_not_sent_but_is_told_too_late_is_not_accepted_offline(shop: Shop) -> None:
    asked = []
    shop.kernel.offline = asked.append  # type: ignore[assignment]
    shop.pay()
    shop.later(20_000)
    assert isinstance(shop.kernel.state, Unknown)
    shop.reply(Unsent("gaierror: Temporary failure in name resolution"), 0)
    assert not asked
    for _ in range(60):
        shop.later(1_000)
    assert shop.acquirer.operations()[-1] == "reversal"
    shop.reply(ReversalConfirmed())
    assert shop.till.ends == [Result.REVERSED]


def test_neither_a_pin_nor_a_stranger_at_the_acquirer_s_address_is_ever_accepted_offline(
    pin_shop: Shop,
) -> None:
    asked: list[object] = []
    pin_shop.kernel.offline = asked.append  # type: ignore[assignment]
    pin_shop.offer(6_000)
    pin_shop.look(unit(1))
    type_pin(pin_shop)
    pin_shop.reply(Unsent("no route"))
    assert isinstance(pin_shop.kernel.state, NotSent)
    pin_shop.kernel.handle(Done())
    pin_shop.pay(order_ref="O-2")
    pin_shop.reply(Unsent("another key than the pinned one", "server_pin"))
    assert isinstance(pin_shop.kernel.state, NotSent)
    assert asked == []
    pin_shop.pay(order_ref="O-3")
    pin_shop.reply(Unsent("no route"))
    assert len(asked) == 1


def test_an_acceptance_that_can_t_be_written_down_is_none(shop: Shop) -> None:
    def full(effect: object) -> Answer:
        raise OperatorError("the disk is full")

    shop.kernel.offline = full
    shop.pay()
    shop.reply(Unsent("no route"))
    assert isinstance(shop.kernel.state, NotSent)
    assert shop.kernel.failure is not None
