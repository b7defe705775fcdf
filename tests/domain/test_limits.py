"""Limits: a lower layer can only lower, at a limit is allowed, above it is not."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain.limits import (
    MAX_COUNT,
    Allowed,
    LimitKind,
    Limits,
    NeedPin,
    OverLimit,
    Policy,
    Spent,
    Verdict,
    check,
    effective,
)
from kiosk.domain.money import MAX_MINOR, Money

SMALL = st.integers(0, 50)
"""Amounts and counts of one size, so that every cap is run into by some example."""
CAPS = st.none() | SMALL
LAYERS = st.builds(Limits, **{field.name: CAPS for field in fields(Limits)})
AMOUNTS = st.integers(1, 50).map(lambda minor: Money(minor, "CNY"))
SPENDINGS = st.builds(Spent, **{field.name: SMALL for field in fields(Spent)})


def severity(verdict: Verdict) -> int:
    return [Allowed, NeedPin, OverLimit].index(type(verdict))


@given(AMOUNTS, SPENDINGS, LAYERS, LAYERS)
def test_another_layer_never_allows_what_the_first_refuses(
    amount: Money, spent: Spent, ceiling: Limits, merchant: Limits
) -> None:
    assert severity(check(amount, spent, ceiling, merchant)) >= severity(check(amount, spent, ceiling))


@given(AMOUNTS, SPENDINGS, st.lists(LAYERS, max_size=4), st.randoms())
def test_the_order_of_layers_does_not_matter(
    amount: Money, spent: Spent, layers: list[Limits], chance: object
) -> None:
    shuffled = list(layers)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert effective(*shuffled) == effective(*layers)
    assert check(amount, spent, *shuffled) == check(amount, spent, *layers)


@given(LAYERS, LAYERS, LAYERS)
def test_layers_may_be_joined_beforehand(one: Limits, other: Limits, third: Limits) -> None:
    assert effective(effective(one, other), third) == effective(one, other, third)
    assert effective(one, one) == one


@given(AMOUNTS, SPENDINGS, LAYERS, st.sampled_from([field.name for field in fields(Spent)]), SMALL)
def test_more_that_was_spent_never_allows_more(
    amount: Money, spent: Spent, limits: Limits, window: str, more: int
) -> None:
    grown = replace(spent, **{window: getattr(spent, window) + more})
    assert severity(check(amount, grown, limits)) >= severity(check(amount, spent, limits))


@given(AMOUNTS, SMALL, SPENDINGS, LAYERS)
def test_a_larger_amount_is_never_judged_milder(
    amount: Money, more: int, spent: Spent, limits: Limits
) -> None:
    larger = Money(amount.minor + more, amount.currency)
    assert severity(check(larger, spent, limits)) >= severity(check(amount, spent, limits))


@given(AMOUNTS, SPENDINGS, LAYERS)
def test_an_allowed_payment_leaves_every_window_inside_its_cap(
    amount: Money, spent: Spent, limits: Limits
) -> None:
    if isinstance(check(amount, spent, limits), OverLimit):
        return
    for cap, total in (
        (limits.per_payment, amount.minor),
        (limits.per_person_hour, spent.by_person_hour + amount.minor),
        (limits.per_person_day, spent.by_person + amount.minor),
        (limits.per_kiosk_day, spent.by_kiosk + amount.minor),
        (limits.per_person_hour_count, spent.person_hour_count + 1),
        (limits.per_person_day_count, spent.person_day_count + 1),
        (limits.per_kiosk_day_count, spent.kiosk_day_count + 1),
    ):
        assert cap is None or total <= cap


def test_no_layer_means_no_cap() -> None:
    assert effective() == Limits()
    assert check(Money(MAX_MINOR, "CNY"), Spent()) == Allowed()


@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        (Limits(per_payment=1000), LimitKind.PER_PAYMENT),
        (Limits(per_person_hour=1200), LimitKind.PER_PERSON_HOUR),
        (Limits(per_person_day=1300), LimitKind.PER_PERSON_DAY),
        (Limits(per_kiosk_day=1700), LimitKind.PER_KIOSK_DAY),
    ],
)
def test_at_a_cap_is_allowed_and_one_minor_unit_above_it_is_not(limits: Limits, kind: LimitKind) -> None:
    spent = Spent(by_person=300, by_kiosk=700, by_person_hour=200)
    assert check(Money(1000, "CNY"), spent, limits) == Allowed()
    cap = Money(getattr(limits, kind), "CNY")
    assert check(Money(1001, "CNY"), spent, limits) == OverLimit(kind, cap)
    assert not kind.counts


@pytest.mark.parametrize(
    ("window", "kind"),
    [
        ("person_hour_count", LimitKind.PER_PERSON_HOUR_COUNT),
        ("person_day_count", LimitKind.PER_PERSON_DAY_COUNT),
        ("kiosk_day_count", LimitKind.PER_KIOSK_DAY_COUNT),
    ],
)
def test_the_last_payment_of_a_count_is_allowed_and_the_next_one_is_not(window: str, kind: LimitKind) -> None:
    limits = Limits(**{str(kind): 3})
    assert check(Money(1, "CNY"), Spent(**{window: 2}), limits) == Allowed()
    assert check(Money(1, "CNY"), Spent(**{window: 3}), limits) == OverLimit(kind, 3)
    assert kind.counts


def test_the_first_cap_that_is_over_is_the_one_that_is_said() -> None:
    limits = Limits(**{str(kind): 0 for kind in LimitKind})
    for kind in LimitKind:
        verdict = check(Money(1, "CNY"), Spent(), limits)
        assert isinstance(verdict, OverLimit)
        assert verdict.kind is kind
        limits = replace(limits, **{str(kind): None})
    assert check(Money(1, "CNY"), Spent(), limits) == Allowed()


def test_a_pin_is_needed_above_the_amount_and_not_at_it() -> None:
    limits = Limits(per_payment=5000, pin_above=1000)
    assert check(Money(1000, "CNY"), Spent(), limits) == Allowed()
    assert check(Money(1001, "CNY"), Spent(), limits) == NeedPin(Money(1000, "CNY"))


def test_over_a_cap_comes_before_the_pin() -> None:
    verdict = check(Money(6000, "CNY"), Spent(), Limits(per_payment=5000, pin_above=1000))
    assert verdict == OverLimit(LimitKind.PER_PAYMENT, Money(5000, "CNY"))


def a_policy(two_factors_above: int | None) -> Policy:
    ceiling = Limits(per_payment=5000, pin_above=1000)
    return Policy(1, 0, "CNY", "Provider", "L-1", True, ceiling, two_factors_above)


@pytest.mark.parametrize(
    ("law", "minor", "needs"), [(None, 1000, False), (0, 1, True), (500, 500, False), (500, 501, True)]
)
def test_the_law_asks_for_the_pin_as_the_second_factor(law: int | None, minor: int, needs: bool) -> None:
    policy = a_policy(law)
    verdict = check(Money(minor, "CNY"), Spent(), policy.ceiling, policy.law)
    assert isinstance(verdict, NeedPin) is needs


@given(AMOUNTS, SPENDINGS, LAYERS, CAPS)
def test_the_law_never_allows_more(amount: Money, spent: Spent, limits: Limits, law: int | None) -> None:
    with_law = check(amount, spent, limits, a_policy(law).law)
    assert severity(with_law) >= severity(check(amount, spent, limits))


@pytest.mark.parametrize("value", [-1, MAX_MINOR + 1, 1.5, True, "10"])
def test_a_cap_is_a_whole_number_of_minor_units(value: object) -> None:
    with pytest.raises(ValueError, match=r"limit per_person_day .* minor units"):
        Limits(per_person_day=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, MAX_COUNT + 1, 1.5, True])
def test_a_cap_on_a_number_is_a_whole_number_of_payments(value: object) -> None:
    with pytest.raises(ValueError, match=r"limit per_kiosk_day_count .* payments"):
        Limits(per_kiosk_day_count=value)  # type: ignore[arg-type]
    assert Limits(per_kiosk_day_count=MAX_COUNT, per_person_day=MAX_MINOR).per_kiosk_day_count == MAX_COUNT


def test_a_policy_names_a_cap_for_every_payment() -> None:
    with pytest.raises(ValueError, match=r"^a policy names a cap for every payment \(per_payment\)$"):
        Policy(1, 0, "CNY", "Provider", "L-1", True, Limits(per_person_day=1))
    assert Policy(1, 0, "CNY", "Provider", "L-1", True, Limits(per_payment=1)).ceiling.per_payment == 1
