"""Three failures ask for another factor, five lock for a while; time and only time, or a success, opens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain.lockout import (
    LOCK_AFTER,
    LOCK_S,
    MEMORY_S,
    OTHER_FACTOR_AFTER,
    Locked,
    OtherFactor,
    Unsuspected,
    of_payer,
    recounted,
    standing,
    tries_left,
)

NOW = 1_800_000_000.0


@pytest.mark.parametrize("number", range(8))
def test_three_ask_for_another_factor_and_five_lock(number):
    expected = Unsuspected() if number < 3 else OtherFactor() if number < 5 else Locked(NOW + LOCK_S)
    assert standing([NOW] * number, NOW) == expected


def test_a_lock_ends_and_the_next_failure_locks_again():
    failures = [NOW - second for second in range(LOCK_AFTER)]
    assert standing(failures, NOW + LOCK_S - 0.001) == Locked(NOW + LOCK_S)
    assert standing(failures, NOW + LOCK_S) == OtherFactor()
    assert standing([*failures, NOW + LOCK_S], NOW + LOCK_S) == Locked(NOW + 2 * LOCK_S)


@pytest.mark.parametrize(("number", "left"), [(0, 5), (1, 4), (4, 1), (5, 0), (9, 0)])
def test_so_many_more_may_fail_before_the_lock(number, left):
    assert tries_left([NOW] * number, NOW) == left
    assert tries_left([NOW] * number, NOW + LOCK_S) == max(1, left), "after a lock, the next one locks again"
    assert tries_left([NOW] * number, NOW + MEMORY_S) == LOCK_AFTER


@given(st.lists(st.floats(NOW - 2 * MEMORY_S, NOW), max_size=8))
def test_as_many_failures_as_are_left_lock_and_none_fewer(failures):
    left = tries_left(failures, NOW)
    for number in range(left + 1):
        locked = isinstance(standing([*failures, *[NOW] * number], NOW), Locked)
        assert locked == (number == left)


def test_failures_are_forgotten():
    failures = [NOW] * 9
    assert standing(failures, NOW + MEMORY_S - 0.001) == OtherFactor()
    assert standing(failures, NOW + MEMORY_S) == Unsuspected()


def test_a_clock_set_back_opens_nothing():
    failures = [NOW] * LOCK_AFTER
    assert standing(failures, NOW - LOCK_S) == Locked(NOW + LOCK_S)
    assert standing(failures, NOW - LOCK_S - 1) == OtherFactor()
    assert standing(failures, NOW - 365 * 86_400) == OtherFactor()


def test_kept_as_recounted_a_clock_set_back_shortens_no_lock_and_makes_none_longer():
    failures, back = [NOW] * LOCK_AFTER, NOW - 86_400
    kept = recounted(failures, back)
    assert standing(kept, back) == Locked(back + LOCK_S)
    assert standing(recounted(kept, back + LOCK_S), back + LOCK_S) == OtherFactor()


times = st.lists(st.floats(NOW - 2 * MEMORY_S, NOW + 2 * MEMORY_S), max_size=9)


@given(times, st.floats(NOW - MEMORY_S, NOW + MEMORY_S))
def test_one_more_failure_never_opens(failures, at):
    order = (Unsuspected, OtherFactor, Locked)
    assert order.index(type(standing([*failures, at], NOW))) >= order.index(type(standing(failures, NOW)))


@given(times)
def test_recounting_loses_none_and_changes_nothing_while_no_failure_is_far_ahead(failures):
    kept = recounted(failures, NOW)
    assert len(kept) == len(failures)
    assert recounted(kept, NOW) == kept
    if all(at <= NOW + LOCK_S for at in failures):
        assert kept == failures


@given(times)
def test_a_lock_is_never_longer_than_two_of_its_lengths(failures):
    found = standing(failures, NOW)
    if isinstance(found, Locked):
        assert NOW < found.until_s <= NOW + 2 * LOCK_S
        assert len(failures) >= LOCK_AFTER > OTHER_FACTOR_AFTER


def test_a_payers_count_is_their_own():
    assert of_payer("a") != of_payer("b")
