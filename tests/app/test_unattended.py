"""One payment without a screen: what it returns is what became of the money."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kiosk.acquirer.client import Lost, ReversalConfirmed
from kiosk.acquirer.messages import Exchange
from kiosk.app.kernel import LookChallenge, LookDone
from kiosk.app.unattended import Exit, exit_code, pay_once
from kiosk.domain.challenge import Challenge, ChallengeKind
from kiosk.domain.decision import LookOutcome
from kiosk.domain.money import Money
from kiosk.domain.payment import Order, Reversed, Reversing, State, Tick

from .test_kernel import Shop, unit

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
