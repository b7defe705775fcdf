"""Every matcher keeps the port's promises (`kiosk.gallery.matcher.Matcher`)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kiosk.gallery.exact import ExactMatcher
from kiosk.gallery.hnsw import HnswMatcher
from kiosk.gallery.int8 import Int8Matcher
from kiosk.gallery.matcher import Matcher
from kiosk.gallery.template import TEMPLATE_SIZE, Template

CROWD = 300


def unit(rng: np.random.Generator, count: int) -> np.ndarray:
    vectors = rng.standard_normal((count, TEMPLATE_SIZE)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def looks(centre: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    near = centre + 0.75 * unit(rng, count)
    return (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def centres() -> np.ndarray:
    return unit(np.random.default_rng(11), CROWD)


@pytest.fixture(scope="module")
def crowd(centres: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(12)
    return {f"p{number}": looks(centre, rng, 2) for number, centre in enumerate(centres)}


@pytest.fixture(params=[ExactMatcher, Int8Matcher, HnswMatcher])
def make(request: pytest.FixtureRequest) -> Callable[[], Matcher]:
    return request.param


def filled(make: Callable[[], Matcher], people: dict[str, np.ndarray]) -> Matcher:
    matcher = make()
    matcher.add(people)
    return matcher


def test_a_look_of_an_enrolled_person_finds_them_first(make, crowd, centres):
    matcher = filled(make, crowd)
    rng = np.random.default_rng(13)
    for number in range(0, CROWD, 30):
        probe = Template.of(looks(centres[number], rng, 1)[0])
        first, second = matcher.search(probe, 2)
        assert first.token == f"p{number}"
        assert first.score > second.score


def test_what_is_wiped_finds_nobody_and_can_be_filled_anew(make, crowd):
    matcher = filled(make, crowd)
    matcher.wipe()
    assert len(matcher) == 0
    assert matcher.search(Template(crowd["p3"][0]), 2) == ()
    matcher.add({"p3": crowd["p3"]})
    assert [found.token for found in matcher.search(Template(crowd["p3"][0]), 2)] == ["p3"]


def test_scores_are_the_best_exact_cosine_of_each_person(make, crowd):
    matcher = filled(make, crowd)
    probe = Template.of(crowd["p7"][0] + 0.3 * crowd["p9"][1])
    for candidate in matcher.search(probe, 5):
        assert candidate.score == pytest.approx(float(max(crowd[candidate.token] @ probe.vector)), abs=1e-6)


def test_a_person_with_several_references_is_named_once(make, crowd):
    found = filled(make, crowd).search(Template.of(crowd["p3"].sum(axis=0)), 10)
    assert len({candidate.token for candidate in found}) == 10
    assert [candidate.score for candidate in found] == sorted((c.score for c in found), reverse=True)


def test_the_same_people_give_the_same_answer(make, crowd):
    probe = Template.of(crowd["p100"][0] + crowd["p200"][0])
    assert filled(make, crowd).search(probe, 8) == filled(make, crowd).search(probe, 8)


def test_an_empty_gallery_names_nobody(make):
    assert make().search(Template.of(np.ones(TEMPLATE_SIZE)), 3) == ()
    assert len(make()) == 0


def test_more_candidates_than_people_gives_everyone(make, crowd):
    few = {token: crowd[token] for token in ("p1", "p2", "p3")}
    found = filled(make, few).search(Template.of(crowd["p2"][0]), 50)
    assert found[0].token == "p2"
    assert {candidate.token for candidate in found} == set(few)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_probe_that_is_not_finite_cannot_be_made(value):
    vector = np.full(TEMPLATE_SIZE, 0.1)
    vector[5] = value
    with pytest.raises(ValueError, match="not finite"):
        Template.of(vector)
    with pytest.raises(ValueError, match="finite components"):
        Template(vector.astype(np.float32))


def test_a_wiped_probe_is_refused(make, crowd):
    probe = Template.of(crowd["p1"][0])
    probe.wipe()
    with pytest.raises(ValueError, match="wiped"):
        filled(make, crowd).search(probe, 1)


def test_fewer_than_one_candidate_is_refused(make, crowd):
    with pytest.raises(ValueError, match="at least one"):
        filled(make, crowd).search(Template.of(crowd["p1"][0]), 0)


def test_whoever_was_removed_is_never_found_again(make, crowd, centres):
    matcher = filled(make, crowd)
    gone = [f"p{number}" for number in range(0, CROWD, 3)]
    assert all(matcher.remove(token) for token in gone)
    assert len(matcher) == CROWD - len(gone)
    for token in gone[::10]:
        found = matcher.search(Template.of(crowd[token][0]), 5)
        assert len(found) == 5
        assert not {candidate.token for candidate in found} & set(gone)
    rng = np.random.default_rng(14)
    for number in range(1, CROWD, 30):
        probe = Template.of(looks(centres[number], rng, 1)[0])
        assert matcher.search(probe, 1)[0].token == f"p{number}"


def test_removing_someone_unknown_says_so(make, crowd):
    matcher = filled(make, crowd)
    assert not matcher.remove("nobody")
    assert matcher.remove("p5")
    assert not matcher.remove("p5")


def test_a_place_that_became_free_is_used_by_the_next_person(make, crowd):
    matcher = filled(make, crowd)
    for round_ in range(3):
        matcher.remove("p40" if round_ == 0 else f"new{round_ - 1}")
        matcher.add({f"new{round_}": crowd["p40"]})
        assert matcher.search(Template.of(crowd["p40"][0]), 1)[0].token == f"new{round_}"
    assert len(matcher) == CROWD


def test_everyone_can_be_removed(make, crowd):
    few = {token: crowd[token] for token in ("p1", "p2")}
    matcher = filled(make, few)
    assert matcher.remove("p1")
    assert matcher.remove("p2")
    assert matcher.search(Template.of(crowd["p1"][0]), 1) == ()


def test_a_narrowed_search_sees_only_those_people(make, crowd):
    matcher = filled(make, crowd)
    found = matcher.search(Template.of(crowd["p8"][0]), 5, among=("p9", "p10", "unknown"))
    assert {candidate.token for candidate in found} == {"p9", "p10"}
    assert matcher.search(Template.of(crowd["p8"][0]), 5, among=()) == ()


def test_someone_who_is_there_cannot_be_added_twice(make, crowd):
    matcher = filled(make, crowd)
    with pytest.raises(ValueError, match="already enrolled: p1"):
        matcher.add({"p1": crowd["p1"]})
