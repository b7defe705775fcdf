"""How fast and how complete the search is, on a gallery of people who do not exist.

Vectors are drawn to look like the shipped network's: the same decay of variance over directions and the same
cosine between two looks of one person. On directions of pure chance an index looks worse than it is.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kiosk.domain.errors import OperatorError
from kiosk.gallery.gallery import Engine, new_matcher
from kiosk.gallery.matcher import Vectors
from kiosk.gallery.template import TEMPLATE_SIZE, Template

__all__ = ["DEFAULT_SIZES", "Crowd", "search_figures", "search_section"]

DEFAULT_SIZES: Final = (1_000, 10_000, 50_000)

DIRECTIONS: Final = 96
DECAY: Final = 28.0
"""Variance of direction i falls as exp(-i / DECAY) over 96 directions, as that of the shipped network's 540
first embeddings in LFW's `identify.csv` (effective dimension 45; this gives 52)."""
LOOK_VARIANCE: Final = 1 / 3
"""Variance within a person over that between people: two looks then have a cosine of 0.75 on average, as the
same embeddings have (0.75)."""
BLOCK: Final = 10_000


class Crowd:
    """`size` people with one reference each, the same for a seed, made block by block and never kept."""

    def __init__(self, size: int, seed: int = 1) -> None:
        self.size = size
        self._seed = seed
        axes = np.random.default_rng(seed).standard_normal((TEMPLATE_SIZE, DIRECTIONS))
        spread = np.exp(-np.arange(DIRECTIONS) / (2 * DECAY))
        self._axes = (np.linalg.qr(axes)[0] * spread).T.astype(np.float32)

    def blocks(self) -> Iterator[tuple[int, Vectors]]:
        """(number of the first, their references) for one block of people after the other."""
        for start in range(0, self.size, BLOCK):
            yield start, self._looks(start, 0)[: self.size - start]

    def probes(self, count: int) -> Vectors:
        """Other looks of `count` people, spread over the crowd; float32[min(count, size), 192]."""
        numbers = np.linspace(0, self.size - 1, min(count, self.size)).astype(int)
        blocks = {start: self._looks(start, 1) for start in sorted({n // BLOCK * BLOCK for n in numbers})}
        return np.stack([blocks[n // BLOCK * BLOCK][n % BLOCK] for n in numbers])

    def nearest(self, probes: Vectors) -> NDArray[np.intp]:
        """Whose reference is nearest to each probe: the truth that a search is held to."""
        best = np.full(len(probes), -2.0, np.float32)
        who = np.zeros(len(probes), np.intp)
        for start, block in self.blocks():
            scores = probes @ block.T
            first = scores.argmax(axis=1)
            score = scores[np.arange(len(probes)), first]
            better = score > best
            best[better], who[better] = score[better], start + first[better]
        return who

    def _looks(self, start: int, look: int) -> Vectors:
        people = np.random.default_rng((self._seed, start))
        noise = np.random.default_rng((self._seed, start, 1 + look))
        shape = (BLOCK, DIRECTIONS)
        drawn = people.standard_normal(shape, np.float32)
        drawn += np.float32(np.sqrt(LOOK_VARIANCE)) * noise.standard_normal(shape, np.float32)
        vectors = drawn @ self._axes
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def search_section(sizes: Sequence[int], engine: str, searches: int) -> dict[str, Any]:
    """What `kiosk bench --only search` prints: one size's figures, or those of each size by its number.

    OperatorError for an engine that does not exist.
    """
    if engine not in set(Engine):
        raise OperatorError(f"no engine {engine!r}", do=f"There are: {', '.join(Engine)}.")
    measured = {str(size): search_figures(size, Engine(engine), searches) for size in sizes or DEFAULT_SIZES}
    return measured if len(measured) > 1 else next(iter(measured.values()))


def search_figures(size: int, engine: Engine = Engine.SHIPPED, searches: int = 1000) -> dict[str, Any]:
    """Build a matcher of `size` people and search it `searches` times, one thread asking.

    `recall_at_1`: share of searches whose first candidate is the exact product's (with `searches` as n). What
    it lacks to 1 is added to the false non-match rate. `p50_ms`, `p99_ms`: one search for two candidates.
    `load_s`: from vectors in memory to ready. `rss_bytes`: the whole process after loading.
    """
    crowd = Crowd(size)
    probes = crowd.probes(searches)
    matcher = new_matcher(engine, size)
    load_s = 0.0
    for start, block in crowd.blocks():
        people = {f"{start + number:07}": block[number : number + 1] for number in range(len(block))}
        began = time.perf_counter()
        matcher.add(people)
        load_s += time.perf_counter() - began
    del people, block
    gc.collect()
    resident = _resident_bytes()
    found, times = [], []
    for vector in probes:
        probe = Template(vector)
        began = time.perf_counter()
        first, *_ = matcher.search(probe, 2)
        times.append(1000 * (time.perf_counter() - began))
        found.append(int(first.token))
    return {
        "size": size,
        "engine": engine.value,
        "matcher": type(matcher).__name__,
        "searches": len(probes),
        "recall_at_1": float(np.mean(np.asarray(found) == crowd.nearest(probes))),
        "p50_ms": float(np.percentile(times, 50)),
        "p99_ms": float(np.percentile(times, 99)),
        "rss_bytes": resident,
        "load_s": load_s,
    }


def _resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
