"""Twins and others who look alike: each person's nearest other, where it is near enough to be mistaken.

References of two people that score like one person's can't tell them apart for certain, so both always give a
second factor (`Gallery.neighbours`, `domain.decision`). Every pair is compared: nothing is left to an index.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kiosk.domain.decision import Thresholds
from kiosk.gallery.axes import leading_axes, with_rest
from kiosk.gallery.matcher import Vectors
from kiosk.gallery.template import TEMPLATE_SIZE, PayerRecord

__all__ = ["Pair", "close_pairs", "closeness", "tokens_of"]

BLOCK: Final = 2048
"""References on each side of one product: 16 MB of cosines, 2 MB of references."""
REST: Final = 0.001
"""Variance that the product may leave to the exact cosine. With the shipped network 63 directions do."""
ROUNDING: Final = 1e-5


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """Two people (`first` < `second`, tokens) and the cosine of their two nearest references."""

    score: float
    first: str
    second: str


def closeness(thresholds: Thresholds, people: int) -> float:
    """The cosine from which two people's references could be one person's, in a gallery of `people`.

    It is the one that accepts a face without digits; where none does, the highest whose false match rate is
    known. By chance alone so few of a gallery are marked as strangers are accepted (`promised_fpir`).
    """
    accepted = thresholds.match_among(people)
    return thresholds.false_matches.cosines[-1] if accepted is None else accepted


def tokens_of(pairs: Iterable[Pair]) -> frozenset[str]:
    """Everybody who is in one of the pairs: what `Gallery.neighbours` holds."""
    return frozenset(token for pair in pairs for token in (pair.first, pair.second))


def close_pairs(
    records: Iterable[PayerRecord],
    at: float,
    *,
    fresh: Collection[str] | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[Pair, ...]:
    """Each person's nearest other with a cosine of `at` or more between their references, nearest first.

    Everybody who has such another is in a pair; a person with many is named with the nearest only, so there
    are never more pairs than people. `fresh`: only pairs with one of these tokens (after an enrolment or a
    sync; it takes len(fresh) / len(records) of twice the time). `progress(done, of)` counts products. All
    references must be of one network and turned by one epoch. What is computed in between is overwritten.
    """
    people = list(records)
    vectors, owners = _stacked(people)
    if len(people) < 2:
        return ()
    axes = leading_axes(vectors, REST)
    bounds = with_rest(vectors, axes)
    rows = np.arange(len(vectors))
    if fresh is not None:
        chosen = set(fresh)
        rows = rows[np.asarray([people[owner].token in chosen for owner in owners], bool)]
    nearest = _Nearest(vectors, owners, at)
    blocks = [
        (rows[start : start + BLOCK], other)
        for start in range(0, len(rows), BLOCK)
        for other in range(start if fresh is None else 0, len(vectors), BLOCK)
    ]
    product = np.empty((min(BLOCK, len(rows)), min(BLOCK, len(vectors))), np.float32)
    for done, (own, other) in enumerate(blocks, start=1):
        others = bounds[other : other + BLOCK]
        cosines = product[: len(own), : len(others)]
        np.matmul(bounds[own], others.T, out=cosines)
        near = np.flatnonzero(cosines >= at - ROUNDING)  # of one dimension: NumPy is quick at that alone
        nearest.compare(own[near // len(others)], near % len(others) + other)
        progress(done, len(blocks))
    for held in (vectors, bounds, product):
        held.fill(0.0)
    return nearest.pairs([person.token for person in people])


class _Nearest:
    """For each reference the nearest one of another person, among those compared so far."""

    def __init__(self, vectors: Vectors, owners: NDArray[np.intp], at: float) -> None:
        self._vectors, self._owners, self._at = vectors, owners, at
        self._scores = np.full(len(vectors), -np.inf, np.float32)
        self._others = np.zeros(len(vectors), np.intp)

    def compare(self, one: NDArray[np.intp], other: NDArray[np.intp]) -> None:
        """Exact cosines of these pairs of references; those of one person with themselves are left out."""
        apart = self._owners[one] != self._owners[other]
        one, other = one[apart], other[apart]
        for start in range(0, len(one), BLOCK * 8):
            part = slice(start, start + BLOCK * 8)
            scores = np.einsum("ij,ij->i", self._vectors[one[part]], self._vectors[other[part]])
            self._note(one[part], other[part], scores)
            self._note(other[part], one[part], scores)

    def _note(self, one: NDArray[np.intp], other: NDArray[np.intp], scores: NDArray[np.float32]) -> None:
        better = (scores >= self._at) & (scores > self._scores[one])
        one, other, scores = one[better], other[better], scores[better]
        order = np.argsort(scores, kind="stable")  # of several for one reference the last, the highest, stays
        self._scores[one[order]] = scores[order]
        self._others[one[order]] = other[order]

    def pairs(self, tokens: list[str]) -> tuple[Pair, ...]:
        """The nearest other of each person, each pair once."""
        best: dict[int, Pair] = {}
        for row in np.flatnonzero(self._scores >= self._at):
            owner, other = int(self._owners[row]), int(self._owners[self._others[row]])
            first, second = sorted((tokens[owner], tokens[other]))
            pair = Pair(min(float(self._scores[row]), 1.0), first, second)
            best[owner] = max(best.get(owner, pair), pair)
        return tuple(sorted(set(best.values()), key=lambda pair: (-pair.score, pair.first, pair.second)))


def _stacked(people: list[PayerRecord]) -> tuple[Vectors, NDArray[np.intp]]:
    """All references in one array that is ours to overwrite, and whose each is."""
    counts = [len(person.references) for person in people]
    vectors = np.empty((sum(counts), TEMPLATE_SIZE), np.float32)
    row = 0
    for person in people:
        for reference in person.references:
            vectors[row] = reference.template.vector
            row += 1
    return vectors, np.repeat(np.arange(len(people)), counts)
