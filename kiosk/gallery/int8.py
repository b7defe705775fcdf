"""The matcher for many: an int8 product bounds every cosine, exact cosines of the few that are left decide.

Each reference is held twice: 24 bits a component, from which scores are computed, and a row of int8 along the
gallery's own directions (`kiosk.gallery.axes`). The product of these rows with a probe is no less than the
cosine; who stays below the k-th best exact cosine even so can't be among the k best. So nobody is missed, and
of the 616 bytes of a reference a search reads 40.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kiosk.domain.decision import Candidate
from kiosk.gallery.axes import SAMPLE, leading_axes, with_rest
from kiosk.gallery.matcher import Vectors, check_search
from kiosk.gallery.slots import Slots, grown
from kiosk.gallery.template import TEMPLATE_SIZE, Template

__all__ = ["Int8Matcher"]

STEPS: Final = 125
"""Steps of an int8 from 0 to 1: the longest that a template may be, rounded up, is still 127 or less."""
REST: Final = 0.2
"""Variance that the first look leaves to the rest's length: 39 directions and the rest, 40 bytes, with the
shipped network's spectrum. About 0.1 % of 1,000,000 of `kiosk bench`'s crowd are then looked at again."""
BLOCK: Final = 8192
"""Rows that are cast at a time: 1.3 MB of float32, which stay in the cache."""
SEEDS: Final = 32
"""So many rows of high bound are scored first: what they reach, others have to reach."""
SEGMENTS: Final = 4
"""For each of them the highest of so many parts of the gallery are looked at: sorting all takes longer."""
ROUNDING: Final = 1e-5
"""What float32 sums of 192 products may be off, and more."""
ROWS_A_THREAD: Final = 100_000
MAX_THREADS: Final = 4


class Int8Matcher:
    """See `kiosk.gallery.matcher.Matcher`. Memory: 620 bytes a reference, up to twice that after growth."""

    def __init__(self) -> None:
        self._slots = Slots()
        self._references = _Fixed()
        self._rows: NDArray[np.int8] = np.zeros((0, 0), np.int8)
        self._axes: Vectors = np.zeros((TEMPLATE_SIZE, 0), np.float32)
        self._axes_of = 0  # references that the directions were taken from
        self._cut = 0.0  # the longest that any row's rounding to int8 is

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, people: Mapping[str, Vectors]) -> None:
        if not people:
            return
        rows, vectors = self._slots.take(people), np.concatenate(list(people.values()))
        self._references.reserve(self._slots.used)
        self._references.put(rows, vectors)
        if self._slots.references >= 4 * self._axes_of and self._axes_of < SAMPLE:
            self._turn()
        else:
            self._make_room()
            self._encode(rows, vectors)
        vectors.fill(0.0)

    def remove(self, token: str) -> bool:
        rows = self._slots.release(token)
        self._references.wipe(rows)
        self._rows[rows] = 0
        return len(self._slots.owners[rows]) > 0

    def wipe(self) -> None:
        self._references.wipe(slice(None))
        self._rows.fill(0)
        self._slots, self._axes_of, self._cut = Slots(), 0, 0.0

    def search(self, probe: Template, k: int, among: Collection[str] | None = None) -> tuple[Candidate, ...]:
        check_search(probe, k)
        rows = self._within_reach(probe, k) if among is None else self._slots.of(among)
        return self._rank(probe, k, rows)

    def _rank(self, probe: Template, k: int, rows: NDArray[np.intp]) -> tuple[Candidate, ...]:
        scores = self._references.cosines(rows, probe)
        return self._slots.best_people(self._slots.owners[rows], scores, k)

    def _within_reach(self, probe: Template, k: int) -> NDArray[np.intp]:
        """The rows whose bound reaches the k-th best exact cosine of the most promising ones."""
        bounds = self._bounds(probe)
        best = self._rank(probe, k, self._promising(bounds, k))
        if len(best) < k:
            return np.arange(len(bounds))
        return np.flatnonzero(bounds >= best[-1].score - ROUNDING)

    def _bounds(self, probe: Template) -> NDArray[np.float32]:
        """float32[used]: no less than each row's cosine with the probe."""
        seen = with_rest(probe.vector[None], self._axes)[0]
        slack = np.float32(np.linalg.norm(seen[:-1]) * self._cut)
        bounds = _product(self._rows[: self._slots.used], seen / np.float32(STEPS))
        seen.fill(0.0)
        bounds += slack
        return bounds

    def _promising(self, bounds: NDArray[np.float32], k: int) -> NDArray[np.intp]:
        """Rows of high bound: the highest of the gallery's parts, or all rows where there are few."""
        wanted = max(SEEDS, 2 * k * self._slots.most)
        parts = SEGMENTS * wanted
        length = len(bounds) // parts
        if not length:
            return np.arange(len(bounds))
        highest = bounds[: parts * length].reshape(parts, length).argmax(axis=1)
        highest += np.arange(parts) * length
        best = np.argpartition(bounds[highest], parts - wanted)[parts - wanted :]
        return np.asarray(highest[best], np.intp)

    def _turn(self) -> None:
        """Take the directions from those who are here now, and write every row anew along them."""
        used = self._slots.used
        sample = self._references.get(np.arange(min(used, SAMPLE)))
        self._axes = leading_axes(sample, REST)
        sample.fill(0.0)
        self._axes_of, self._cut = self._slots.references, 0.0
        self._rows.fill(0)
        self._rows = np.zeros((self._references.capacity, self._axes.shape[1] + 1), np.int8)
        for start in range(0, used, BLOCK):
            rows = np.arange(start, min(start + BLOCK, used))
            vectors = self._references.get(rows)
            self._encode(rows, vectors)
            vectors.fill(0.0)

    def _make_room(self) -> None:
        if self._references.capacity > len(self._rows):
            rows = np.zeros((self._references.capacity, self._rows.shape[1]), np.int8)
            rows[: len(self._rows)] = self._rows
            self._rows.fill(0)
            self._rows = rows

    def _encode(self, rows: NDArray[np.intp], vectors: Vectors) -> None:
        exact = with_rest(vectors, self._axes)
        exact *= STEPS
        cut = np.rint(exact)
        np.ceil(exact[:, -1], out=cut[:, -1])  # the rest's length is a bound: it may only grow
        np.clip(cut, -STEPS, STEPS, out=cut)
        self._rows[rows] = cut
        cut -= exact
        longest = np.sqrt(np.einsum("ij,ij->i", cut[:, :-1], cut[:, :-1]).max(initial=0.0)) / STEPS
        self._cut = max(self._cut, float(longest))
        exact.fill(0.0)


class _Fixed:
    """References in fixed point of 24 bits: components are in [-1, 1], where float32 is hardly finer."""

    STEP: Final = np.float32(2.0**-23)

    def __init__(self) -> None:
        self._high: NDArray[np.int16] = np.zeros((0, TEMPLATE_SIZE), np.int16)
        self._low: NDArray[np.uint8] = np.zeros((0, TEMPLATE_SIZE), np.uint8)

    @property
    def capacity(self) -> int:
        return len(self._high)

    def reserve(self, needed: int) -> None:
        """Room for `needed` rows; the old ones are overwritten before they are let go."""
        capacity, held = grown(self.capacity, needed), self.capacity
        if capacity == held:
            return
        high = np.zeros((capacity, TEMPLATE_SIZE), np.int16)
        low = np.zeros((capacity, TEMPLATE_SIZE), np.uint8)
        high[:held], low[:held] = self._high, self._low
        self.wipe(slice(None))
        self._high, self._low = high, low

    def put(self, rows: NDArray[np.intp], vectors: Vectors) -> None:
        steps = np.rint(vectors * np.float32(2**23)).astype(np.int32)
        np.clip(steps, -(2**23), 2**23 - 1, out=steps)
        self._high[rows], self._low[rows] = steps >> 8, steps & 0xFF
        steps.fill(0)

    def get(self, rows: NDArray[np.intp]) -> Vectors:
        """float32[n, 192]: the references, each component to 2**-24."""
        vectors = self._high[rows].astype(np.float32)
        vectors *= np.float32(256)
        vectors += self._low[rows]
        vectors *= self.STEP
        return vectors

    def cosines(self, rows: NDArray[np.intp], probe: Template) -> NDArray[np.float32]:
        """float32[n]: the cosine of each row with the probe, some thousand rows at a time."""
        scores = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), BLOCK):
            vectors = self.get(rows[start : start + BLOCK])
            np.dot(vectors, probe.vector, out=scores[start : start + BLOCK])
            vectors.fill(0.0)
        return scores

    def wipe(self, rows: slice) -> None:
        self._high[rows], self._low[rows] = 0, 0


def _product(rows: NDArray[np.int8], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[n]: each row times `weights`. Rows become float32 block by block, where BLAS takes them."""
    out = np.empty(len(rows), np.float32)
    threads = min(MAX_THREADS, len(os.sched_getaffinity(0)), len(rows) // ROWS_A_THREAD + 1)
    if threads == 1:
        _blocks(rows, weights, out)
        return out
    share = -(-len(rows) // threads)
    jobs = [
        _pool().submit(_blocks, rows[start : start + share], weights, out[start : start + share])
        for start in range(share, len(rows), share)
    ]
    _blocks(rows[:share], weights, out[:share])
    for job in jobs:
        job.result()
    return out


def _blocks(rows: NDArray[np.int8], weights: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    cast = np.empty((min(BLOCK, len(rows)), rows.shape[1]), np.float32)
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        np.copyto(cast[: len(part)], part)
        np.dot(cast[: len(part)], weights, out=out[start : start + BLOCK])
    cast.fill(0.0)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MAX_THREADS - 1, "search")
