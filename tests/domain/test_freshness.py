from __future__ import annotations

import math

import pytest

from kiosk.domain.freshness import CLOCK_BACK_S, is_stale

DAY = 86_400.0
NOW = 1_795_000_000.0


@pytest.mark.parametrize(("age_s", "stale"), [(0, False), (3 * DAY, False), (3 * DAY + 1, True), (9e9, True)])
def test_a_gallery_is_too_old_after_its_time_to_live(age_s: float, stale: bool) -> None:
    assert is_stale(NOW - age_s, NOW, 3 * DAY) is stale


def test_a_gallery_that_never_came_from_an_acquirer_does_not_age() -> None:
    assert not is_stale(None, NOW, 1)


def test_a_clock_that_was_set_back_makes_nothing_younger() -> None:
    assert not is_stale(NOW + CLOCK_BACK_S, NOW, 3 * DAY)
    assert is_stale(NOW + CLOCK_BACK_S + 1, NOW, 3 * DAY)


def test_a_time_that_is_no_number_is_too_old() -> None:
    assert is_stale(math.nan, NOW, 3 * DAY)
    assert is_stale(NOW, math.nan, 3 * DAY)
