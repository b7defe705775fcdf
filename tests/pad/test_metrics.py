from __future__ import annotations

import numpy as np
from metrics import eer_over_people


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


def test_many_frames_of_one_person_do_not_make_the_interval_narrower():
    rng = np.random.default_rng(3)
    scores, is_live = rng.normal(0, 1, 80), np.arange(80) % 2 == 0
    people = [f"p{i // 8}" for i in range(80)]
    once = eer_over_people(scores, is_live, people)
    often = eer_over_people(np.tile(scores, 10), np.tile(is_live, 10), people * 10)
    assert often.high - often.low >= 0.9 * (once.high - once.low)
