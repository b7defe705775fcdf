"""One payment without a screen: what it returns is what became of the money."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kiosk.acquirer.client import Lost, ReversalConfirmed, Verified
from kiosk.acquirer.messages import Exchange
from kiosk.app.kernel import LookChallenge, LookDone
from kiosk.app.unattended import Exit, exit_code, pay_once
from kiosk.domain import lockout
from kiosk.domain.challenge import Challenge, ChallengeKind
from kiosk.domain.decision import LookOutcome, Reason
from kiosk.domain.limits import Limits
from kiosk.domain.money import Money
from kiosk.domain.payment import (
    Answer,
    Approved,
    Idle,
    Order,
    PinEntry,
    Refused,
    Result,
    Reversed,
    Reversing,
    State,
    Tick,
)

from .test_kernel import APPROVED, PIN_KEY, Shop, unit

ORDER = Order("O-1", Money(3850, "CNY"), "Shop")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A kiosk whose payer looks at once, whose acquirer is never heard, and whose time flies."""
    shop = Shop(tmp_path)

    def look(number: int, done: Callable[[LookDone], None]) -> None:
        done(LookDone(number, LookOutcome.LIVE, unit(1), 0.9, ("net-1",)))

    def run(until: Callable[[State], bool]) -> None:
        while not until(shop.kernel.state):
            shop.drain()
            shop.clock.pass_ms(250)
            shop.kernel.handle(Tick())

    monkeypatch.setattr(shop.looker, "start", look)
    monkeypatch.setattr(shop.kernel, "run", run)
    yield shop
    shop.journal.close()


@pytest.mark.parametrize("resolve_s", [0, 30, 61, 600])
def test_an_outcome_that_stays_unknown_is_unknown_however_long_it_was_waited_for(
    shop: Shop, resolve_s: float
) -> None:
    end = pay_once(shop.kernel, ORDER, clock=shop.clock, resolve_s=resolve_s)
    assert exit_code(end, digits_given=False) is Exit.UNKNOWN
    assert len(shop.journal.open_attempts()) == 1
    assert resolve_s * 1000 <= shop.clock.ms <= resolve_s * 1000 + 22_000


def test_a_reversal_that_is_acknowledged_late_is_the_end(shop: Shop) -> None:
    submit = shop.acquirer.submit

    def late(exchange: Exchange, done: Callable[..., None], *, behind: bool) -> None:
        submit(exchange, done, behind=behind)
        heard = exchange.operation == "reversal" and shop.clock.ms > 100_000
        done(ReversalConfirmed() if heard else Lost("no answer"))

    shop.acquirer.submit = late  # type: ignore[method-assign]
    seen: list[State] = []
    end = pay_once(shop.kernel, ORDER, clock=shop.clock, resolve_s=600, watch=seen.append)
    assert isinstance(end, Reversed)
    assert any(isinstance(state, Reversing) for state in seen)
    assert not shop.journal.open_attempts()


def test_whoever_called_is_told_what_to_ask_the_payer(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    turn, asked = Challenge(ChallengeKind.TURN_RIGHT), []

    def look(number: int, tell: Callable[[LookDone | LookChallenge], None]) -> None:
        tell(LookChallenge(number, turn))
        tell(LookDone(number, LookOutcome.ATTACK, None, 0.5))

    monkeypatch.setattr(shop.looker, "start", look)
    end = pay_once(shop.kernel, ORDER, clock=shop.clock, ask=asked.append)
    assert asked == [turn]
    assert exit_code(end, digits_given=False) is Exit.ATTACK_SUSPECTED


@pytest.fixture
def pin_shop(shop: Shop) -> Shop:
    """The same; ORDER needs a PIN."""
    policy = replace(shop.policy, ceiling=Limits(per_payment=20_000, pin_above=1_000), pin_key=PIN_KEY)
    shop.kernel.setting = replace(shop.kernel.setting, policy=policy)
    return shop


def answer_with(shop: Shop, monkeypatch: pytest.MonkeyPatch, reply: Verified) -> None:
    monkeypatch.setattr(shop.acquirer, "submit", lambda exchange, done, *, behind: done(reply))


def test_a_pin_that_is_given_is_typed_once(pin_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(pin_shop, monkeypatch, APPROVED)
    end = pay_once(pin_shop.kernel, ORDER, clock=pin_shop.clock, pin="908172")
    assert isinstance(end, Approved)
    assert exit_code(end, digits_given=False) is Exit.APPROVED


def test_a_wrong_pin_is_not_typed_again(pin_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(pin_shop, monkeypatch, Verified(Answer(Result.DECLINED, "wrong_pin")))
    end = pay_once(pin_shop.kernel, ORDER, clock=pin_shop.clock, pin="908172")
    assert isinstance(end, PinEntry)
    assert end.tries == 1
    assert exit_code(end, digits_given=False) is Exit.DECLINED


def test_a_pin_that_is_needed_and_not_given_is_a_second_factor(pin_shop: Shop) -> None:
    end = pay_once(pin_shop.kernel, ORDER, clock=pin_shop.clock)
    assert isinstance(end, PinEntry)
    assert exit_code(end, digits_given=False) is Exit.SECOND_FACTOR


@pytest.mark.parametrize("amount", [3850, 500], ids=["with a PIN", "without"])
def test_digits_that_deny_the_face_pay_nothing_and_count_against_its_payer(
    pin_shop: Shop, amount: int
) -> None:
    order = replace(ORDER, amount=Money(amount, "CNY"))
    for _ in range(lockout.OTHER_FACTOR_AFTER):
        end = pay_once(pin_shop.kernel, order, clock=pin_shop.clock, digits="0000", pin="908172")
        assert isinstance(end, Idle)
        assert exit_code(end, digits_given=True) is Exit.NOT_RECOGNISED
    assert pin_shop.acquirer.sent == []
    assert len(pin_shop.journal.failures(lockout.of_payer("ming"))) == lockout.OTHER_FACTOR_AFTER
    asked = pay_once(pin_shop.kernel, order, clock=pin_shop.clock, digits="1111")
    assert isinstance(asked, PinEntry)


def test_a_payer_who_is_locked_out_can_t_pay_with_the_right_digits_and_pin(pin_shop: Shop) -> None:
    for _ in range(lockout.LOCK_AFTER):
        pin_shop.kernel.contradicted("ming")
    end = pay_once(pin_shop.kernel, ORDER, clock=pin_shop.clock, digits="1111", pin="908172")
    assert isinstance(end, Refused)
    assert end.reason is Reason.LOCKED
    assert exit_code(end, digits_given=True) is Exit.SECOND_FACTOR
