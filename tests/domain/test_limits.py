"""Limits: a lower layer can only lower, at a limit is allowed, above it is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain.limits import (
    Allowed,
    LimitKind,
    Limits,
    NeedPin,
    OverLimit,
    Policy,
    Spent,
    check,
    effective,
)
from kiosk.domain.money import MAX_MINOR, Money

CAPS = st.none() | st.integers(0, 100_000)
LAYERS = st.builds(Limits, per_payment=CAPS, per_person_day=CAPS, per_kiosk_day=CAPS, pin_above=CAPS)
AMOUNTS = st.integers(1, 100_000).map(lambda minor: Money(minor, "CNY"))
SPENDINGS = st.builds(Spent, by_person=st.integers(0, 100_000), by_kiosk=st.integers(0, 100_000))


@given(AMOUNTS, SPENDINGS, LAYERS, LAYERS)
def test_another_layer_never_allows_what_the_first_refuses(
    amount: Money, spent: Spent, ceiling: Limits, merchant: Limits
) -> None:
    order = {Allowed: 0, NeedPin: 1, OverLimit: 2}
    alone, both = check(amount, spent, ceiling), check(amount, spent, ceiling, merchant)
    assert order[type(both)] >= order[type(alone)]


@given(LAYERS, LAYERS)
def test_the_order_of_layers_does_not_matter(one: Limits, other: Limits) -> None:
    assert effective(one, other) == effective(other, one)
    assert effective(one, one) == one


def test_no_layer_means_no_cap() -> None:
    assert effective() == Limits()
    assert check(Money(MAX_MINOR, "CNY"), Spent()) == Allowed()


@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        (Limits(per_payment=1000), LimitKind.PER_PAYMENT),
        (Limits(per_person_day=1300), LimitKind.PER_PERSON_DAY),
        (Limits(per_kiosk_day=1700), LimitKind.PER_KIOSK_DAY),
    ],
)
def test_at_a_cap_is_allowed_and_one_minor_unit_above_it_is_not(limits: Limits, kind: LimitKind) -> None:
    spent = Spent(by_person=300, by_kiosk=700)
    assert check(Money(1000, "CNY"), spent, limits) == Allowed()
    verdict = check(Money(1001, "CNY"), spent, limits)
    assert isinstance(verdict, OverLimit)
    assert verdict.kind is kind


def test_a_pin_is_needed_above_the_amount_and_not_at_it() -> None:
    limits = Limits(per_payment=5000, pin_above=1000)
    assert check(Money(1000, "CNY"), Spent(), limits) == Allowed()
    assert check(Money(1001, "CNY"), Spent(), limits) == NeedPin(Money(1000, "CNY"))


def test_over_a_cap_comes_before_the_pin() -> None:
    verdict = check(Money(6000, "CNY"), Spent(), Limits(per_payment=5000, pin_above=1000))
    assert verdict == OverLimit(LimitKind.PER_PAYMENT, Money(5000, "CNY"))


@pytest.mark.parametrize("value", [-1, MAX_MINOR + 1, 1.5, True, "10"])
def test_a_cap_is_a_whole_number_of_minor_units(value: object) -> None:
    with pytest.raises(ValueError, match="per_person_day"):
        Limits(per_person_day=value)  # type: ignore[arg-type]


def test_a_policy_names_a_cap_for_every_payment() -> None:
    with pytest.raises(ValueError, match="per_payment"):
        Policy(1, 0, "CNY", "Provider", "L-1", True, Limits(per_person_day=1))
    assert Policy(1, 0, "CNY", "Provider", "L-1", True, Limits(per_payment=1)).ceiling.per_payment == 1
