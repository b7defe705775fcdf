"""A crowd of people who do not exist, and how fast and how complete a search among them is.

Vectors are drawn to look like the shipped network's: the same decay of variance over directions, the same
cosines between two people and between two looks of one. On directions of pure chance an index looks worse
than it is. It takes NumPy alone: `benchmarks/search` measures other libraries with this file.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kiosk.gallery.matcher import Matcher, Vectors
from kiosk.gallery.template import TEMPLATE_SIZE, Template

__all__ = ["Crowd", "measure"]

DIRECTIONS: Final = 59
DECAY: Final = 28.0
"""Variance of direction i falls as exp(-i / DECAY) over 59 directions, and there is none beyond: as for the
shipped network's 1,534 embeddings of LFW's `identify.csv`. Cosines of two people then have a deviation of
0.148 (0.144 there) and pass .34 and .44 in one of 100 and of 1,000 pairs (.34 and .44)."""
LOOK_VARIANCE: Final = 0.285
LOOK_SPREAD: Final = 0.7
"""Variance within a person over that between people: its median, and the deviation of its logarithm, for
some looks are poor. Two looks then have a cosine of .75, below .44 in one of 100 and below .69 in one of
four; LFW's have .75, .43 and .69. `benchmarks/search/compare.py --check` holds a crowd against embeddings."""
BLOCK: Final = 10_000
MIXED: Final = 3


class Crowd:
    """`size` people with one reference each, the same for a seed, made block by block and never kept.

    With `real`, float32[n, 192] of length 1, one embedding of each of n people: each of the crowd is mixed of
    three of them at random weights, so that people stand in clusters as near as real ones do, and looks of
    them vary along the real people's directions.
    """

    def __init__(self, size: int, seed: int = 1, real: Vectors | None = None) -> None:
        self.size = size
        self._seed, self._real = seed, real
        if real is None:
            axes = np.random.default_rng(seed).standard_normal((TEMPLATE_SIZE, DIRECTIONS))
            spread = np.exp(-np.arange(DIRECTIONS) / (2 * DECAY))
            self._axes = (np.linalg.qr(axes)[0] * spread).T.astype(np.float32)
        else:
            variances, axes = np.linalg.eigh(real.T @ real / len(real))
            self._axes = (axes * np.sqrt(np.maximum(variances, 0.0))).T[-DIRECTIONS:].astype(np.float32)

    def blocks(self) -> Iterator[tuple[int, Vectors]]:
        """(number of the first, their references) for one block of people after the other."""
        for start in range(0, self.size, BLOCK):
            yield start, self._looks(start, 0)[: self.size - start]

    def probed(self, count: int) -> NDArray[np.intp]:
        """Whose looks `probes(count)` are: spread over the crowd; int[min(count, size)]."""
        return np.linspace(0, self.size - 1, min(count, self.size)).astype(np.intp)

    def probes(self, count: int) -> Vectors:
        """Other looks of `count` people; float32[min(count, size), 192]."""
        numbers = self.probed(count)
        found = [
            self._looks(start, 1)[numbers[numbers // BLOCK == start // BLOCK] - start]
            for start in range(0, self.size, BLOCK)
        ]
        return np.concatenate(found)

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
        noise = np.random.default_rng((self._seed, start, 1 + look))
        variance = LOOK_VARIANCE * np.exp(LOOK_SPREAD * noise.standard_normal((BLOCK, 1), np.float32))
        varied = noise.standard_normal((BLOCK, len(self._axes)), np.float32) @ self._axes
        vectors = self._centres(np.random.default_rng((self._seed, start))) + np.sqrt(variance) * varied
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    def _centres(self, people: np.random.Generator) -> Vectors:
        if self._real is None:
            return people.standard_normal((BLOCK, len(self._axes)), np.float32) @ self._axes
        weights = people.dirichlet(np.ones(MIXED), BLOCK).astype(np.float32)
        weights /= np.linalg.norm(weights, axis=1, keepdims=True)  # as long as real ones
        chosen = people.integers(0, len(self._real), (MIXED, BLOCK))
        parts = [weights[:, part, None] * self._real[chosen[part]] for part in range(MIXED)]
        return np.asarray(sum(parts), np.float32)


def measure(crowd: Crowd, matcher: Matcher, engine: str, searches: int) -> dict[str, Any]:
    """Fill `matcher` with the crowd and search it `searches` times, one thread asking.

    `recall_at_1`: share of searches whose first candidate is the exact product's (with `searches` as n).
    `added_fnir`: share of searches whose person the product finds first and the matcher does not: what it
    adds to the false rejections. `p50_ms`, `p99_ms`: one search for two candidates; `cpu_ms`: what it
    takes of all processors, on average. `load_s`: from vectors in memory to ready. `rss_bytes`: the whole
    process after loading and searching.
    """
    probes, mated = crowd.probes(searches), crowd.probed(searches)
    load_s = 0.0
    for start, block in crowd.blocks():
        people = {f"{start + number:07}": block[number : number + 1] for number in range(len(block))}
        began = time.perf_counter()
        matcher.add(people)
        load_s += time.perf_counter() - began
    del people, block
    gc.collect()
    found, times, processor = [], [], time.process_time()
    for vector in probes:
        probe = Template(vector)
        began = time.perf_counter()
        first, *_ = matcher.search(probe, 2)
        times.append(1000 * (time.perf_counter() - began))
        found.append(int(first.token))
    cpu_ms = 1000 * (time.process_time() - processor) / len(probes)
    resident, nearest = _resident_bytes(), crowd.nearest(probes)
    return {
        "size": crowd.size,
        "engine": engine,
        "matcher": type(matcher).__name__,
        "searches": len(probes),
        "recall_at_1": float(np.mean(found == nearest)),
        "added_fnir": float(np.mean((nearest == mated) & (found != mated))),
        "p50_ms": float(np.percentile(times, 50)),
        "p99_ms": float(np.percentile(times, 99)),
        "cpu_ms": cpu_ms,
        "rss_bytes": resident,
        "load_s": load_s,
    }


def _resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
