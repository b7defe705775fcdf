"""Caps over hours and days, at the kernel: counted from the journal, by a time that never goes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kiosk.acquirer.client import Verified
from kiosk.domain.decision import Reason
from kiosk.domain.limits import LimitKind, Limits
from kiosk.domain.money import Money
from kiosk.domain.payment import (
    Answer,
    Approved,
    Confirm,
    Done,
    Identified,
    NotSent,
    Order,
    Refused,
    Result,
)

from .test_kernel import NOON, Shop, unit

HOUR_MS = 3_600_000
APPROVED = Verified(Answer(Result.APPROVED, "approved", "A1B2C3", "000000000001"))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.journal.close()


def signed(shop: Shop, **caps: int) -> None:
    shop.policy = replace(
        shop.policy, ceiling=Limits(per_payment=20_000, **caps), expires_s=int(NOON) + 30 * 86_400
    )
    shop.restart()


def paid(shop: Shop, order_ref: str, minor: int = 1000) -> None:
    shop.pay(minor, order_ref)
    shop.reply(APPROVED)
    assert isinstance(shop.kernel.state, Approved)
    shop.kernel.handle(Done())


def refusal(shop: Shop, order_ref: str, minor: int = 1000, who: int = 1) -> LimitKind | None:
    """Which cap the payer runs into who looks now; None: they may pay. Nothing is paid."""
    shop.offer(minor, order_ref)
    shop.look(unit(who))
    state = shop.kernel.state
    shop.kernel.handle(Done())
    shop.restart()
    if isinstance(state, Identified):
        return None
    assert isinstance(state, Refused)
    assert state.reason is Reason.OVER_LIMIT
    assert state.refusal.limit is not None
    return state.refusal.limit.kind


@pytest.mark.parametrize(
    ("caps", "kind"),
    [
        ({"per_person_hour": 2999}, LimitKind.PER_PERSON_HOUR),
        ({"per_person_hour_count": 2}, LimitKind.PER_PERSON_HOUR_COUNT),
    ],
)
def test_an_hour_is_any_60_minutes_and_one_person_s(
    shop: Shop, caps: dict[str, int], kind: LimitKind
) -> None:
    signed(shop, **caps)
    paid(shop, "O-1")
    shop.clock.pass_ms(HOUR_MS // 2)
    paid(shop, "O-2")
    assert refusal(shop, "O-3") is kind
    assert refusal(shop, "O-3", who=2) is None
    shop.clock.pass_ms(HOUR_MS // 2 - 1)
    assert refusal(shop, "O-3") is kind
    shop.clock.pass_ms(1)  # the first is an hour old now
    assert refusal(shop, "O-3") is None


@pytest.mark.parametrize(
    ("caps", "kind"),
    [
        ({"per_person_day": 2999}, LimitKind.PER_PERSON_DAY),
        ({"per_person_day_count": 2}, LimitKind.PER_PERSON_DAY_COUNT),
    ],
)
def test_a_person_s_day_ends_at_the_store_s_midnight(
    shop: Shop, caps: dict[str, int], kind: LimitKind
) -> None:
    signed(shop, **caps)
    paid(shop, "O-1")
    paid(shop, "O-2")
    midnight_ms = int(86_400 - (NOON + 8 * 3_600) % 86_400) * 1000  # Asia/Shanghai
    shop.clock.pass_ms(midnight_ms - 1000)
    assert refusal(shop, "O-3") is kind
    shop.clock.pass_ms(1000)
    assert refusal(shop, "O-3") is None


def test_a_kiosk_s_day_is_counted_over_everybody_and_said_before_anyone_looks(shop: Shop) -> None:
    signed(shop, per_kiosk_day_count=2)
    paid(shop, "O-1")
    shop.pay(1000, "O-2")  # still open: it counts
    shop.restart()
    refused = shop.kernel.refusal_of(Order("O-3", Money(1, "CNY"), "Shop"))
    assert refused is not None
    assert refused.limit is not None
    assert (refused.limit.kind, refused.limit.limit) == (LimitKind.PER_KIOSK_DAY_COUNT, 2)


@pytest.mark.parametrize("back_s", [60, 3_600, 86_400, 40 * 86_400])
@pytest.mark.parametrize("cap", ["per_person_hour_count", "per_person_day_count", "per_kiosk_day_count"])
def test_a_clock_that_is_set_back_reopens_no_cap(shop: Shop, cap: str, back_s: int) -> None:
    signed(shop, **{cap: 1})
    paid(shop, "O-1")
    shop.clock.utc -= back_s
    shop.restart()
    shop.offer(1000, "O-2")
    shop.look(unit(1))
    assert isinstance(shop.kernel.state, Refused)
    assert shop.kernel.state.reason is Reason.OVER_LIMIT


def test_a_clock_set_back_between_look_and_press_does_not_open_a_day_that_is_used_up(shop: Shop) -> None:
    signed(shop, per_person_day=1_500)
    paid(shop, "O-1")
    shop.clock.utc += 86_400
    shop.offer(1000, "O-2")
    shop.look(unit(1))
    shop.clock.utc -= 86_400
    before = len(shop.acquirer.sent)
    shop.kernel.handle(Confirm())
    shop.drain()
    assert isinstance(shop.kernel.state, NotSent)
    assert len(shop.acquirer.sent) == before
    assert "per_person_day" in str(shop.kernel.failure)
    assert shop.journal.attempts_of("O-2") == []
