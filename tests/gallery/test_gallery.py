from __future__ import annotations

import numpy as np
import pytest

from kiosk.gallery.exact import ExactMatcher
from kiosk.gallery.gallery import EXACT_UP_TO, Engine, Gallery, new_matcher
from kiosk.gallery.hnsw import HnswMatcher
from kiosk.gallery.int8 import Int8Matcher
from kiosk.gallery.template import Template

from .people import people, record


@pytest.fixture
def gallery():
    crowd = people(20)
    return Gallery(record(t, v, digits=f"{i % 4:04}") for i, (t, v) in enumerate(crowd.items()))


def test_the_version_counts_every_change(gallery):
    before = gallery.version
    gallery.enrol(record("new", people(1, seed=2)["p000000"]))
    gallery.forget("new")
    gallery.forget("new")
    assert gallery.version == before + 2


def test_enrolling_again_replaces_the_old_references(gallery):
    old = gallery.payer("p000003")
    memory = old.references[0].template.vector
    fresh = people(1, seed=3)["p000000"]
    gallery.enrol(record("p000003", fresh))
    assert gallery.size == 20
    assert not memory.any()
    assert gallery.search(Template.of(fresh[0]), 1)[0].token == "p000003"


def test_a_forgotten_person_is_overwritten_in_memory_and_not_found(gallery):
    held = gallery.payer("p000005")
    vector = held.references[0].template.vector
    probe = Template.of(vector)
    rows = gallery._matcher._rows
    assert (rows == probe.vector).all(axis=1).any()
    assert gallery.forget("p000005")
    assert not vector.any()
    assert not (rows == probe.vector).all(axis=1).any()
    assert gallery.payer("p000005") is None
    assert "p000005" not in [c.token for c in gallery.search(probe, 20)]


def test_a_node_of_the_graph_is_overwritten_when_its_person_is_forgotten():
    crowd = people(300)
    gallery = Gallery((record(t, v) for t, v in crowd.items()), engine=Engine.HNSW)
    graph = gallery._matcher._graph
    slots = np.r_[gallery._matcher._exact.slots.rows("p000042")]
    assert np.array_equal(graph.get_items(slots), gallery.payer("p000042").vectors())
    gallery.forget("p000042")
    graph.unmark_deleted(slots[0])  # a marked node can't be read otherwise
    assert abs(float(np.dot(graph.get_items(slots[:1])[0], crowd["p000042"][0]))) < 0.5


def test_digits_name_those_whose_number_ends_in_them(gallery):
    assert gallery.with_digits("0003") == tuple(f"p{n:06}" for n in (3, 7, 11, 15, 19))
    assert gallery.with_digits("9999") == ()
    assert gallery.with_digits("") == ()
    gallery.forget("p000007")
    gallery.enrol(record("p000003", people(1, seed=5)["p000000"], digits=""))
    gallery.enrol(record("new", people(1, seed=6)["p000000"], digits="0003"))
    assert gallery.with_digits("0003") == ("p000011", "p000015", "p000019", "new")
    gallery.wipe()
    assert gallery.with_digits("0003") == ()


def test_a_load_in_several_parts_holds_everybody(monkeypatch):
    monkeypatch.setattr("kiosk.gallery.gallery.LOADED_AT_ONCE", 7)
    crowd = people(20)
    loaded = Gallery(record(token, vectors) for token, vectors in crowd.items())
    assert loaded.size == 20
    assert all(loaded.search(Template.of(v[0]), 1)[0].token == token for token, v in crowd.items())


def test_digits_narrow_the_search(gallery):
    probe = gallery.payer("p000004").references[0].template
    assert gallery.search(probe, 1)[0].token == "p000004"
    narrowed = gallery.search(probe, 20, among=gallery.with_digits("0003"))
    assert {c.token for c in narrowed} == set(gallery.with_digits("0003"))


def test_templates_of_another_network_are_refused(gallery):
    with pytest.raises(ValueError, match="enrol again"):
        gallery.enrol(record("new", people(1)["p000000"], model="network-2"))
    assert gallery.size == 20


def test_the_last_person_may_move_to_another_network():
    vectors = people(1)["p000000"]
    gallery = Gallery([record("only", vectors)])
    gallery.enrol(record("only", vectors, model="network-2"))
    assert gallery.model_id == "network-2"


def test_the_size_chooses_the_matcher():
    assert isinstance(new_matcher(Engine.SHIPPED, EXACT_UP_TO), ExactMatcher)
    assert isinstance(new_matcher(Engine.SHIPPED, EXACT_UP_TO + 1), Int8Matcher)
    assert isinstance(new_matcher(Engine.EXACT, 10**6), ExactMatcher)
    assert isinstance(new_matcher(Engine.HNSW, 1), HnswMatcher)


def test_a_token_that_is_there_twice_is_refused():
    vectors = people(1)["p000000"]
    with pytest.raises(ValueError, match="twice"):
        Gallery([record("a", vectors), record("a", vectors)])


def test_a_wiped_gallery_is_empty_and_its_templates_are_overwritten():
    gallery = Gallery(record(token, vectors) for token, vectors in people(3).items())
    held = [reference.template for one in gallery.records() for reference in one.references]
    gallery.wipe()
    assert gallery.size == 0
    assert all(template.wiped for template in held)
