"""The int8 matcher finds what the float32 product finds, whoever the people are and however they came."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiosk.domain.decision import Candidate
from kiosk.gallery import int8
from kiosk.gallery.crowd import Crowd
from kiosk.gallery.exact import ExactMatcher
from kiosk.gallery.int8 import Int8Matcher
from kiosk.gallery.template import TEMPLATE_SIZE, Template
from tests.gallery.people import unit


@cache
def block() -> np.ndarray:
    return next(Crowd(10_000).blocks())[1]


def of_the_network(seed: int, count: int) -> np.ndarray:
    first = seed % 1000
    return block()[first : first + count].copy()


def of_chance(seed: int, count: int) -> np.ndarray:
    return unit(np.random.default_rng(seed), count)


def of_few_faces(seed: int, count: int) -> np.ndarray:
    """Four faces, again and again, hardly different: everybody is somebody's double."""
    centres, dice = of_chance(seed, 4), np.random.default_rng(seed)
    near = centres[dice.integers(0, 4, count)] + 0.02 * of_chance(seed + 1, count)
    return (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)


def along_axes(seed: int, count: int) -> np.ndarray:
    """Components of 1, 0 and -1: the ends of what fixed point holds."""
    vectors = np.zeros((count, TEMPLATE_SIZE), np.float32)
    dice = np.random.default_rng(seed)
    vectors[np.arange(count), dice.integers(0, TEMPLATE_SIZE, count)] = dice.choice([-1.0, 1.0], count)
    return vectors


def same(found: tuple[Candidate, ...], expected: tuple[Candidate, ...]) -> bool:
    """The same scores, and the same people wherever their scores differ by more than float32 can tell."""
    scores, truth = [c.score for c in found], [c.score for c in expected]
    if scores != pytest.approx(truth, abs=1e-6):
        return False
    clear = [number for number in range(len(truth)) if min_distance(truth, number) > 2e-6]
    return all(found[number].token == expected[number].token for number in clear[:-1])


def min_distance(scores: list[float], number: int) -> float:
    return min(
        (abs(scores[number] - other) for place, other in enumerate(scores) if place != number), default=1.0
    )


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from([of_the_network, of_chance, of_few_faces, along_axes]),
    batches=st.lists(st.integers(1, 80), min_size=1, max_size=4),
    k=st.integers(1, 5),
)
def test_it_finds_what_the_product_finds_after_any_additions_and_deletions(seed, kind, batches, k):
    exact, matcher, dice = ExactMatcher(), Int8Matcher(), np.random.default_rng(seed)
    for batch, size in enumerate(batches):
        vectors, start, people = kind(seed + batch, 3 * size), 0, {}
        for number in range(size):
            references = int(dice.integers(1, 4))
            people[f"{batch}-{number}"] = vectors[start : start + references]
            start += references
        for each in (exact, matcher):
            each.add(people)
        for token in list(people)[: size // 3]:
            assert exact.remove(token) == matcher.remove(token) is True
        probes = np.concatenate([kind(seed + 77, 2), vectors[:1] + 0.4 * of_chance(seed, 1)])
        for vector in probes:
            probe = Template.of(vector)
            assert same(matcher.search(probe, k), exact.search(probe, k))
            narrowed = list(people)[::2]
            assert same(matcher.search(probe, k, narrowed), exact.search(probe, k, narrowed))
    assert len(matcher) == len(exact)


def test_blocks_and_threads_meet_without_a_gap(monkeypatch):
    monkeypatch.setattr(int8, "BLOCK", 64)
    monkeypatch.setattr(int8, "ROWS_A_THREAD", 100)
    monkeypatch.setattr(int8.os, "sched_getaffinity", lambda process: {0, 1, 2})
    vectors = of_the_network(3, 997)
    exact, matcher = ExactMatcher(), Int8Matcher()
    for each in (exact, matcher):
        each.add({f"{number}": vector[None] for number, vector in enumerate(vectors)})
    for number in range(0, 997, 31):
        probe = Template.of(vectors[number] + 0.5 * vectors[-1])
        assert same(matcher.search(probe, 2), exact.search(probe, 2))


def test_few_are_looked_at_again_in_a_crowd_like_the_network_s():
    crowd = Crowd(6000, seed=4)
    matcher = Int8Matcher()
    matcher.add({f"{number}": vector[None] for number, vector in enumerate(next(crowd.blocks())[1])})
    assert matcher._rows.shape[1] == 40
    looked_at = [len(matcher._within_reach(Template(probe), 2)) for probe in crowd.probes(60)]
    assert np.mean(looked_at) < 100


def test_directions_are_taken_anew_while_a_gallery_grows_from_one_person():
    vectors = of_the_network(6, 900)
    matcher = Int8Matcher()
    for number, vector in enumerate(vectors):
        matcher.add({f"{number}": vector[None]})
    assert 256 <= matcher._axes_of < 900
    assert matcher.search(Template(vectors[5]), 1)[0].token == "5"


def test_a_reference_is_held_in_616_bytes_and_a_forgotten_one_in_none():
    vectors = of_the_network(8, 3000)
    matcher = Int8Matcher()
    matcher.add({f"{number}": vectors[3 * number : 3 * number + 3] for number in range(1000)})
    held = (matcher._references._high, matcher._references._low, matcher._rows)
    assert sum(array[0].nbytes for array in held) == 616
    matcher.remove("7")
    assert not any(array[21:24].any() for array in held)
    assert all(array[20].any() and array[24].any() for array in held)
    matcher.wipe()
    assert not any(array.any() for array in held)


def test_a_place_of_three_references_takes_one_of_one_and_then_one_of_two():
    vectors = of_the_network(9, 9)
    matcher = Int8Matcher()
    matcher.add({"a": vectors[:3], "b": vectors[3:6]})
    matcher.remove("a")
    matcher.add({"c": vectors[6:7]})
    matcher.add({"d": vectors[7:9]})
    assert matcher._slots.used == 6
    assert [matcher.search(Template(vectors[row]), 1)[0].token for row in (4, 6, 7, 8)] == [
        "b",
        "c",
        "d",
        "d",
    ]
