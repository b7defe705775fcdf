"""The false match rate's tail: what was put in comes out, and people, not comparisons, make the bound."""

from __future__ import annotations

import numpy as np
import pytest

from kiosk.evaluation.false_match import Impostors, Tail, fit_tail, mated_scores, references_of


def drawn(tail: Tail, count: int, seed: int = 1) -> np.ndarray:
    """`count` scores above the tail's start, ascending."""
    return np.sort(tail.cosine(tail.part * (1 - np.random.default_rng(seed).random(count))))


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def crowd() -> tuple[np.ndarray, np.ndarray]:
    """60 people of two pictures each, few dimensions so that impostors come near."""
    dice = np.random.default_rng(3)
    centre = dice.normal(size=(60, 8)).repeat(2, axis=0)
    return unit(centre + 0.3 * dice.normal(size=(120, 8))), np.arange(60).repeat(2)


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.15])
def test_a_tail_is_found_again_from_what_was_drawn_of_it(shape):
    truth = Tail(0.45, 1e-3, shape, 0.035)
    scores = drawn(truth, 20_000)
    found = fit_tail(scores, np.ones(len(scores)), 0.45, 1e-3)
    assert found.shape == pytest.approx(shape, abs=0.03)
    assert found.scale == pytest.approx(0.035, rel=0.04)
    assert found.rate(0.55) == pytest.approx(truth.rate(0.55), rel=0.1)


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.15])
def test_cosine_and_rate_are_each_others_inverse(shape):
    tail = Tail(0.45, 1e-3, shape, 0.035)
    rates = np.array([1e-3, 1e-4, 1e-5])
    assert tail.cosine(rates)[0] == pytest.approx(0.45)
    assert tail.rate(tail.cosine(rates)) == pytest.approx(rates)


def test_a_tail_that_ends_has_nobody_beyond_its_end():
    assert Tail(0.45, 1e-3, -0.5, 0.05).rate([0.54, 0.55, 0.9])[1:].tolist() == [0.0, 0.0]


def test_a_score_that_weighs_two_counts_like_two():
    scores = drawn(Tail(0.45, 1e-3, 0.0, 0.035), 400)
    twice = fit_tail(np.repeat(scores, 2), np.ones(800), 0.45, 1e-3)
    weighed = fit_tail(scores, np.full(400, 2.0), 0.45, 1e-3)
    assert weighed.scale == pytest.approx(twice.scale, rel=0.01)


def test_everybody_is_compared_with_everybody_else_and_nobody_with_themselves(crowd):
    vectors, person = crowd
    impostors = Impostors.compared(vectors, person, least=2)
    assert impostors.count() == 120 * 60 - 120
    assert np.all(impostors.probes != impostors.owners)
    references, _ = references_of(vectors, person, 2)
    scores = vectors @ references.T
    scores[np.arange(120), person] = -1.0
    assert len(impostors.scores) == int((scores >= 0.45).sum())
    assert impostors.rate([0.6])[0] == pytest.approx((scores >= 0.6).sum() / (120 * 60 - 120))
    assert impostors.tail().rate(0.6) == pytest.approx(impostors.rate(0.6), rel=0.3)


def test_only_people_with_enough_pictures_are_references(crowd):
    vectors, person = crowd
    references, whose = references_of(vectors[:-1], person[:-1], 2)
    assert whose.tolist() == list(range(59))
    assert np.linalg.norm(references, axis=1) == pytest.approx(np.ones(59))


def test_a_person_can_be_left_out(crowd):
    impostors = Impostors.compared(*crowd, least=2)
    fewer = impostors.without(7)
    assert 7 not in set(fewer.probes) | set(fewer.owners)
    assert fewer.count() == 118 * 59 - 118
    assert len(fewer.scores) == int(((impostors.probes != 7) & (impostors.owners != 7)).sum())


def test_a_bootstrap_draws_people_and_gives_the_same_again_from_the_same_seed(crowd):
    impostors = Impostors.compared(*crowd, least=2)
    tails = impostors.bootstrap(200, seed=5)
    assert tails[:20] == impostors.bootstrap(20, seed=5)
    rates = np.array([tail.rate(0.6) for tail in tails])
    assert np.quantile(rates, 0.05) < impostors.tail().rate(0.6) < np.quantile(rates, 0.95)
    as_if_independent = np.sqrt(impostors.rate(0.6) / impostors.count())
    assert rates.std() > as_if_independent  # comparisons of one person stand and fall together


def test_mated_scores_leave_the_probe_out_of_its_reference_and_weigh_people_alike():
    vectors = unit(np.array([[1, 0], [1, 0], [0, 1], [1, 1], [1, 1]], float))
    scores, weights = mated_scores(vectors, np.array([0, 0, 0, 1, 1]), 1)
    assert scores == pytest.approx([np.sqrt(0.5), np.sqrt(0.5), 0.0, 1.0, 1.0], abs=1e-6)
    assert weights == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 4, 1 / 4])
    assert len(mated_scores(vectors, np.array([0, 0, 0, 1, 1]), 2)[0]) == 3
