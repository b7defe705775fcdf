from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiosk.domain.decision import FalseMatchBound, Thresholds
from kiosk.gallery import neighbours
from kiosk.gallery.axes import leading_axes, with_rest
from kiosk.gallery.crowd import Crowd
from kiosk.gallery.neighbours import Pair, close_pairs, closeness, tokens_of
from kiosk.gallery.template import PayerRecord
from tests.gallery.people import people, record, unit

KNOWN = FalseMatchBound((0.5, 0.6, 0.7), (1e-3, 1e-4, 1e-5))


def enrolled(vectors: np.ndarray, references: int = 1) -> list[PayerRecord]:
    each = vectors.reshape(-1, references, vectors.shape[1])
    return [record(f"p{number:04}", looks) for number, looks in enumerate(each)]


def best_between(records: list[PayerRecord]) -> np.ndarray:
    """The best cosine between any two people's references, the slow way; -1 with themselves."""
    references = len(records[0].references)
    vectors = np.concatenate([one.vectors() for one in records])
    each = (vectors @ vectors.T).reshape(len(records), references, len(records), references)
    best = each.max(axis=(1, 3))
    np.fill_diagonal(best, -1)
    return best


def by_hand(records: list[PayerRecord], at: float) -> set[str]:
    """Who has another person near them."""
    return {records[number].token for number in np.flatnonzero(best_between(records).max(axis=1) >= at)}


@cache
def block() -> np.ndarray:
    return next(Crowd(10_000).blocks())[1]


def crowd(size: int, seed: int) -> np.ndarray:
    return block()[100 * seed % 9000 :][:size].copy()


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    references=st.integers(1, 3),
    at=st.floats(0.1, 0.9),
    like_the_network=st.booleans(),
)
def test_exactly_those_are_found_whom_comparing_everybody_finds(seed, references, at, like_the_network):
    vectors = crowd(60, seed) if like_the_network else unit(np.random.default_rng(seed), 60)
    vectors[7] = vectors[50] + 0.3 * vectors[3]
    records = enrolled(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), references)
    pairs = close_pairs(records, at)
    if np.abs(best_between(records) - at).min() > 1e-6:
        assert tokens_of(pairs) == by_hand(records, at)
    assert len(pairs) <= len(records)


def test_blocks_meet_at_their_edges(monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", 7)
    records = enrolled(crowd(80, 3), 2)
    assert tokens_of(close_pairs(records, 0.3)) == by_hand(records, 0.3) != set()


def test_a_pair_names_both_people_and_the_cosine_of_their_nearest_references():
    held = people(5, references=2)
    held["twin"] = np.stack([held["p000002"][1] + 0.02 * held["p000004"][0], held["p000001"][0]])
    held["twin"][1] = -held["twin"][1]
    records = [record(token, vectors) for token, vectors in held.items()]
    (pair,) = close_pairs(records, 0.9)
    assert (pair.first, pair.second) == ("p000002", "twin")
    best = (records[2].vectors() @ records[-1].vectors().T).max()
    assert pair.score == pytest.approx(float(best), abs=1e-6)


def test_two_looks_of_one_person_are_no_pair():
    looks = people(1, references=1)["p000000"]
    other = people(2, seed=9)["p000001"]
    assert close_pairs([record("a", np.concatenate([looks, looks])), record("b", other)], 0.9) == ()


def test_a_gallery_of_one_face_under_many_names_gives_no_more_pairs_than_people():
    one = unit(np.random.default_rng(1), 1)[0]
    pairs = close_pairs([record(f"p{number}", one[None]) for number in range(40)], 0.9)
    assert len(tokens_of(pairs)) == 40
    assert len(pairs) <= 40
    assert max(pair.score for pair in pairs) <= 1.0


def test_after_a_change_only_pairs_with_those_who_came_are_looked_for():
    records = enrolled(crowd(90, 4))
    everything = close_pairs(records, 0.3)
    came = {"p0003", "p0077", "unknown"}
    touched = close_pairs(records, 0.3, fresh=came)
    assert touched
    assert all({pair.first, pair.second} & came for pair in touched)
    for token in came & tokens_of(everything):
        nearest = max(pair.score for pair in everything if token in (pair.first, pair.second))
        assert max(p.score for p in touched if token in (p.first, p.second)) == pytest.approx(nearest)
    assert close_pairs(records, 0.3, fresh=()) == ()


def test_progress_ends_at_the_whole():
    seen = []
    close_pairs(enrolled(crowd(20, 1)), 0.5, progress=lambda done, of: seen.append((done, of)))
    assert seen[-1] == (1, 1)


@pytest.mark.parametrize("number", [0, 1])
def test_nobody_is_near_where_there_is_nobody_else(number):
    assert close_pairs(enrolled(crowd(2, 1))[:number], 0.5) == ()


def test_near_is_what_this_gallery_takes_for_one_person():
    thresholds = Thresholds(0.52, 0.5, 0.1, 0.01, KNOWN)
    assert closeness(thresholds, 10) == 0.52
    assert closeness(thresholds, 100) == pytest.approx(0.6)
    assert closeness(thresholds, 10**6) == 0.7


def test_pairs_are_in_order_of_nearness():
    records = enrolled(crowd(90, 4))
    scores = [pair.score for pair in close_pairs(records, 0.3)]
    assert scores == sorted(scores, reverse=True)
    assert tokens_of([Pair(0.9, "a", "b"), Pair(0.8, "b", "c")]) == {"a", "b", "c"}


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), rest=st.floats(0.001, 0.9), like_the_network=st.booleans())
def test_a_bound_is_never_below_the_cosine(seed, rest, like_the_network):
    vectors = crowd(50, seed) if like_the_network else unit(np.random.default_rng(seed), 50)
    axes = leading_axes(vectors[:20], rest)
    rows = with_rest(vectors, axes)
    assert np.all(rows @ rows.T >= vectors @ vectors.T - 1e-5)
    assert axes.shape[1] % 8 == 7 or axes.shape[1] == 192
