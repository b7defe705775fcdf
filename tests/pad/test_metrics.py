from __future__ import annotations

import numpy as np
import pytest
from metrics import eer, eer_over_people, wilson


def test_classes_that_are_apart_have_no_errors():
    assert eer(np.array([3.0, 4.0]), np.array([-1.0, 2.0])) == 0


def test_scores_that_say_nothing_are_wrong_half_of_the_time():
    same = np.arange(100.0)
    assert eer(same, same) == pytest.approx(0.5, abs=0.01)


def test_one_attack_among_ten_that_looks_livelier_than_one_live_face_in_ten_is_ten_per_cent():
    live = np.array([0.5, *np.arange(2.0, 11.0)])
    attacks = np.array([1.0, *np.arange(-9.0, 0.0)])
    assert eer(live, attacks) == pytest.approx(0.1)


def test_swapping_the_classes_gives_the_other_errors():
    rng = np.random.default_rng(1)
    live, attacks = rng.normal(1, 1, 500), rng.normal(-1, 1, 400)
    assert eer(attacks, live) == pytest.approx(1 - eer(live, attacks), abs=0.01)


def test_a_rate_without_attacks_is_refused():
    with pytest.raises(ValueError, match="attacks"):
        eer(np.array([1.0]), np.array([]))


def test_wilson_gives_the_published_interval():
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_interval_holds_the_rate_and_is_the_same_every_time():
    rng = np.random.default_rng(2)
    people = [f"p{i % 12}" for i in range(240)]
    is_live = np.arange(240) % 24 < 12
    scores = np.where(is_live, 1.0, -1.0) + rng.normal(0, 1, 240)
    first = eer_over_people(scores, is_live, people)
    assert first.low <= first.rate <= first.high
    assert (first.live, first.attacks, first.people) == (120, 120, 12)
    assert eer_over_people(scores, is_live, people) == first


def test_no_error_among_few_people_still_has_an_upper_end():
    scores = np.array([1.0, -1.0, 1.0, -1.0])
    rate = eer_over_people(scores, scores > 0, ["a", "a", "b", "b"])
    assert rate.rate == 0
    assert rate.high > 0.5
