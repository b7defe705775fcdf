from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.evaluation.metrics import (
    best_threshold,
    bpcer_at_apcer,
    eer,
    fnir_at_fpir,
    fold_accuracies,
    identification_curve,
    over_people,
    tar_at_fmr,
    threshold_at,
    trade_off,
    wilson,
)

FAILED = float("-inf")
scores = st.lists(st.floats(-1, 1), min_size=1, max_size=40)


def test_wilsons_interval_is_the_textbooks():
    # Newcombe 1998, table I: 81 of 263 and 15 of 148; 0 of 20.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(20, 20) == pytest.approx((0.8389, 1.0), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_threshold_lets_no_more_pass_than_it_may():
    negatives = [0.1, 0.2, 0.3, 0.4]
    assert threshold_at(negatives, 0.25) == np.nextafter(0.3, 1)  # .4 passes, .3 must not
    assert threshold_at(negatives, 0.24) == np.nextafter(0.4, 1)
    assert threshold_at(negatives, 0.0) == np.nextafter(0.4, 1)
    assert threshold_at(negatives, 1.0) == FAILED


def test_tied_negatives_are_all_kept_out():
    assert threshold_at([0.4, 0.4, 0.4, 0.1], 0.25) == np.nextafter(0.4, 1)


@given(scores, st.floats(0, 1))
def test_a_threshold_keeps_its_promise_for_any_scores(negatives, rate):
    assert np.mean(np.array(negatives) >= threshold_at(negatives, rate)) <= rate + 1e-9


def test_identification_at_a_given_fpir():
    strangers = np.linspace(0.01, 1.0, 100) * 0.5  # the best two: .5 and .495
    mated = [0.9, 0.8, 0.499, 0.3, 0.95]
    correct = [True, True, True, True, False]  # the last one's best candidate is someone else
    fnir, threshold = fnir_at_fpir(mated, correct, strangers, 0.01)
    assert threshold == pytest.approx(0.495)
    assert fnir == pytest.approx(2 / 5)  # .3 is below, and the wrong one
    assert fnir_at_fpir(mated, correct, strangers, 0.0)[0] == pytest.approx(3 / 5)


def test_who_failed_to_be_acquired_is_missed_and_never_falsely_identified():
    assert fnir_at_fpir([0.9, FAILED], [True, False], [0.1, FAILED], 0.5)[0] == pytest.approx(0.5)


def test_the_best_threshold_of_a_few_scores_is_found_by_hand():
    assert best_threshold([0.1, 0.2, 0.3, 0.4], [False, False, True, True]) == 0.3
    assert best_threshold([0.1, 0.2, 0.3, 0.4], [False, True, False, True]) in (0.2, 0.4)
    assert best_threshold([0.5, 0.5, 0.5], [False, True, True]) == 0.5


@given(st.lists(st.tuples(st.floats(-1, 1), st.booleans()), min_size=1, max_size=30))
def test_no_threshold_beats_the_best_one(pairs):
    values, same = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])

    def right(threshold: float) -> float:
        return np.mean((values >= threshold) == same)

    assert right(best_threshold(values, same)) == max(right(value) for value in values)


def test_each_fold_is_judged_by_the_others():
    values = [0.1, 0.9, 0.1, 0.9, 0.5, 0.6]
    same = [False, True, False, True, False, True]
    folds = ["1", "1", "2", "2", "3", "3"]
    # Folds 1 and 2 learn .6 of fold 3 and the other; fold 3 learns .9: its mate at .6 is missed.
    assert fold_accuracies(values, same, folds).tolist() == [1.0, 1.0, 0.5]


def test_true_accepts_at_a_false_match_rate():
    assert tar_at_fmr([0.3, 0.5, 0.7, 0.9], np.linspace(0, 0.49, 50), 0.02) == pytest.approx(0.75)


def test_the_equal_error_rate_by_hand():
    assert eer([0.8, 0.9], [0.1, 0.2]) == 0.0
    assert eer([0.1, 0.2], [0.8, 0.9]) == 1.0
    # At .6: two of four live below, two of four attacks at or above.
    assert eer([0.3, 0.5, 0.7, 0.9], [0.2, 0.4, 0.6, 0.8]) == pytest.approx(0.5)
    assert eer([0.5, 0.7, 0.8, 0.9], [0.1, 0.2, 0.3, 0.6]) == pytest.approx(0.25)
    assert eer([0.5, 0.5], [0.5, 0.5]) == 0.5


@given(scores, scores)
def test_an_equal_error_rate_is_a_rate(live, attacks):
    assert 0.0 <= eer(live, attacks) <= 1.0


def test_the_hardest_species_sets_the_price():
    live = [0.35, 0.6, 0.8, 0.9]
    easy, hard = [0.1] * 20, [0.1] * 18 + [0.5, 0.7]
    assert bpcer_at_apcer(live, [easy], 0.05) == 0.0
    assert bpcer_at_apcer(live, [easy, hard], 0.05) == pytest.approx(0.25)  # .7 may pass, .5 may not


def test_an_interval_over_people_is_wider_where_each_persons_pictures_agree():
    errors, people = [True] * 10 + [False] * 40, [f"p{i // 10}" for i in range(50)]
    low, high = over_people(errors, people)
    each = wilson(10, 50)
    assert low < each[0]
    assert high > each[1]
    assert over_people(errors, people) == (low, high)


def test_where_nobody_errs_the_number_of_people_bounds_the_rate():
    assert over_people([False] * 100, ["a", "b"] * 50) == wilson(0, 2)
    assert over_people([True] * 100, ["a", "b"] * 50) == wilson(2, 2)
    assert over_people([], []) == (0.0, 1.0)


def test_a_trade_off_runs_from_all_pass_to_none():
    passed, failed = trade_off([0.9, 0.4], [0.5, 0.1])
    assert list(zip(passed, failed, strict=True)) == [(1, 0), (0.5, 0), (0.5, 0.5), (0, 0.5), (0, 1)]


def test_a_wrong_best_is_a_miss_at_every_threshold_of_the_identification_curve():
    fpir, fnir = identification_curve([0.9, 0.8], [True, False], [0.1])
    assert fnir.min() == 0.5
    assert (fpir[0], fnir[-1]) == (1.0, 1.0)
