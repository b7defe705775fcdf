from __future__ import annotations

import numpy as np
import pytest

from kiosk.domain.errors import OperatorError
from kiosk.gallery.bench import search_figures, search_section
from kiosk.gallery.crowd import Crowd
from kiosk.gallery.gallery import Engine


def test_a_crowd_is_the_same_every_time_and_of_length_one():
    (_, first), (_, again) = next(Crowd(500).blocks()), next(Crowd(500).blocks())
    assert first.shape == (500, 192)
    assert np.array_equal(first, again)
    assert np.allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)


def test_two_looks_are_as_alike_as_those_of_the_shipped_network():
    crowd = Crowd(2000)
    (_, references), probes = next(crowd.blocks()), crowd.probes(2000)
    mated = (references * probes).sum(axis=1)
    assert mated.mean() == pytest.approx(0.75, abs=0.02)
    assert np.quantile(mated, [0.01, 0.25]) == pytest.approx([0.43, 0.69], abs=0.03)
    assert abs(float((references[:-1] * probes[1:]).sum(axis=1).mean())) < 0.02
    others = (references @ references.T)[np.triu_indices(2000, 1)]
    assert np.quantile(others, [0.5, 0.99, 0.999]) == pytest.approx([0.0, 0.34, 0.44], abs=0.02)


def test_a_crowd_mixed_of_real_people_stands_in_their_clusters():
    real = next(Crowd(40, seed=5).blocks())[1]
    crowd = Crowd(3000, real=real)
    (_, mixed), probes = next(crowd.blocks()), crowd.probes(300)
    assert np.allclose(np.linalg.norm(mixed, axis=1), 1, atol=1e-5)
    assert np.quantile((mixed @ mixed.T)[np.triu_indices(3000, 1)], 0.999) > 0.55
    assert (mixed[crowd.probed(300)] * probes).sum(axis=1).mean() == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("engine", list(Engine))
def test_each_engine_finds_what_the_exact_product_finds(engine):
    figures = search_figures(1500, engine, searches=100)
    assert figures["recall_at_1"] >= 0.99
    assert figures["added_fnir"] <= 1 - figures["recall_at_1"]
    assert figures["p50_ms"] <= figures["p99_ms"]
    assert figures["rss_bytes"] > 0
    assert figures["load_s"] > 0


def test_one_size_is_printed_by_itself_and_several_by_their_number():
    assert search_section((50,), "exact", 10)["size"] == 50
    assert set(search_section((50, 60), "exact", 10)) == {"50", "60"}


def test_an_engine_that_does_not_exist_is_refused():
    with pytest.raises(OperatorError, match="no engine 'faiss'"):
        search_section((50,), "faiss", 10)
