"""Offline sales: off unless the acquirer and the merchant both say so, and never above a cap."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain.limits import Limits, OfflineCaps, Policy
from kiosk.domain.money import Money
from kiosk.domain.offline import Doubt, OfflineSetting, Sale, Waiting, caps_in_force, refusal

NOW = 1_800_000_000.0
CAPS = OfflineCaps(per_payment=5_000, count=3, total=9_000, age_s=3_600)
POLICY = Policy(
    1, int(NOW) + 60, "CNY", "Sandbox Pay", "LIC-1", True, Limits(per_payment=20_000), offline=CAPS
)
ON = OfflineSetting(enabled=True)
SALE = Sale(Money(3_850, "CNY"), in_good_standing=True, pin=False)
NONE = Waiting()


def of(minor: int) -> Sale:
    return replace(SALE, amount=Money(minor, "CNY"))


def doubt(
    sale: Sale = SALE,
    waiting: Waiting = NONE,
    *,
    policy: Policy | None = POLICY,
    setting: OfflineSetting = ON,
    now_s: float = NOW,
    latest_s: float = NOW,
) -> Doubt | None:
    return refusal(sale, waiting, policy=policy, setting=setting, now_s=now_s, latest_s=latest_s)


def test_a_known_payer_may_buy_offline_where_both_allow_it() -> None:
    assert doubt() is None


def test_nothing_is_accepted_by_default() -> None:
    assert doubt(setting=OfflineSetting()) is Doubt.SWITCHED_OFF
    assert doubt(policy=replace(POLICY, offline=None)) is Doubt.NOT_SIGNED
    assert doubt(policy=None) is Doubt.NOT_SIGNED


def test_an_expired_policy_or_one_without_faces_accepts_nothing() -> None:
    assert doubt(policy=replace(POLICY, expires_s=int(NOW))) is Doubt.POLICY_EXPIRED
    assert doubt(policy=replace(POLICY, expires_s=int(NOW) + 1)) is None
    assert doubt(policy=replace(POLICY, face_allowed=False)) is Doubt.FACE_NOT_ALLOWED


def test_another_currency_is_not_accepted() -> None:
    assert doubt(replace(SALE, amount=Money(1, "EUR"))) is Doubt.CURRENCY


def test_a_clock_that_was_set_back_accepts_nothing() -> None:
    assert doubt(latest_s=NOW + 1) is Doubt.CLOCK
    assert doubt(waiting=Waiting(1, 10, NOW + 1)) is Doubt.CLOCK


def test_no_sale_with_a_pin_is_accepted() -> None:
    assert doubt(replace(SALE, pin=True)) is Doubt.PIN


def test_a_payer_whom_the_acquirer_never_approved_here_is_not_believed() -> None:
    assert doubt(replace(SALE, in_good_standing=False)) is Doubt.PAYER


@pytest.mark.parametrize(
    ("inside", "outside", "why"),
    [
        ({"sale": of(5_000)}, {"sale": of(5_001)}, Doubt.OVER_AMOUNT),
        ({"waiting": Waiting(2, 0, NOW)}, {"waiting": Waiting(3, 0, NOW)}, Doubt.OVER_COUNT),
        ({"waiting": Waiting(1, 5_150, NOW)}, {"waiting": Waiting(1, 5_151, NOW)}, Doubt.OVER_TOTAL),
        ({"waiting": Waiting(1, 1, NOW - 3_600)}, {"waiting": Waiting(1, 1, NOW - 3_600.5)}, Doubt.OVER_AGE),
    ],
)  # fmt: skip
def test_at_a_cap_is_inside_it_and_above_is_not(inside: dict, outside: dict, why: Doubt) -> None:
    assert doubt(**inside) is None
    assert doubt(**outside) is why


def test_the_merchant_lowers_each_cap() -> None:
    for field in fields(OfflineCaps):
        own = replace(ON, **{field.name: 1})
        assert getattr(caps_in_force(CAPS, own), field.name) == 1
    assert doubt(setting=replace(ON, per_payment=3_849)) is Doubt.OVER_AMOUNT
    assert doubt(setting=replace(ON, count=0)) is Doubt.OVER_COUNT


@given(st.builds(OfflineSetting, st.booleans(), *[st.none() | st.integers(0, 10**12)] * 4))
def test_the_merchant_raises_none(own: OfflineSetting) -> None:
    caps = caps_in_force(CAPS, own)
    assert all(getattr(caps, field.name) <= getattr(CAPS, field.name) for field in fields(OfflineCaps))


AMOUNTS = st.integers(1, 6_000)
STEPS = st.lists(
    st.tuples(st.just("sell"), AMOUNTS)
    | st.tuples(st.just("pass"), st.integers(1, 2_000))
    | st.tuples(st.just("back"), st.integers(1, 5_000))
    | st.tuples(st.just("forwarded"), st.just(0)),
    max_size=60,
)


@given(STEPS, st.builds(OfflineSetting, st.just(True), *[st.none() | st.integers(0, 10_000)] * 4))
def test_whatever_is_sold_forwarded_or_done_to_the_clock_no_cap_is_exceeded(
    steps: list[tuple[str, int]], setting: OfflineSetting
) -> None:
    caps, now, latest = caps_in_force(CAPS, setting), NOW, NOW
    stored: list[tuple[float, int]] = []
    policy = replace(POLICY, expires_s=int(NOW) + 10**9)
    for step, value in steps:
        match step:
            case "pass":
                now += value
            case "back":
                now -= value
            case "forwarded":
                stored = stored[1:]
            case _:
                waiting = Waiting(
                    len(stored), sum(m for _, m in stored), min((s for s, _ in stored), default=None)
                )
                sale = Sale(Money(value, "CNY"), True, False)
                if doubt(sale, waiting, policy=policy, setting=setting, now_s=now, latest_s=latest) is None:
                    assert value <= caps.per_payment
                    assert all(0 <= now - at <= caps.age_s for at, _ in stored)
                    stored.append((now, value))
                    latest = max(latest, now)
        assert len(stored) <= caps.count
        assert sum(minor for _, minor in stored) <= caps.total
