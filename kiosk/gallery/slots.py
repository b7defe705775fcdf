"""Which rows of a matcher belong to whom: a token and a few bytes each, for a million people as for one.

A person's references stand in neighbouring rows that never move; rows of a forgotten person are used again.
The matchers keep the vectors, this keeps the names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kiosk.domain.decision import Candidate
from kiosk.gallery.matcher import Vectors

__all__ = ["FREE", "Slots", "grown"]

FREE: Final = -1
_FIRST_CAPACITY: Final = 256


def grown(capacity: int, needed: int) -> int:
    """The next capacity for `needed` rows: exactly as many at first (a load knows its size), then doubled."""
    if needed <= capacity:
        return capacity
    return max(needed, 2 * capacity, _FIRST_CAPACITY)


class Slots:
    """Rows 0..used - 1; a person is known by the first of theirs."""

    def __init__(self) -> None:
        self.used = 0
        """Rows that were ever given out."""
        self.most = 1
        """References that any one person has or had."""
        self.free = 0
        """Rows that are waiting to be used again."""
        self._owners: NDArray[np.int32] = np.full(0, FREE, np.int32)  # first row of the person in each row
        self._tokens: list[str] = []  # by row: the token at a person's first, "" elsewhere
        self._first: dict[str, int] = {}
        self._runs: dict[int, list[int]] = {}  # free rows in a run, by its length

    def __len__(self) -> int:
        return len(self._first)

    def __contains__(self, token: str) -> bool:
        return token in self._first

    @property
    def references(self) -> int:
        """How many rows are somebody's."""
        return self.used - self.free

    @property
    def owners(self) -> NDArray[np.int32]:
        """int32[used]: the first row of the person whose each row is; FREE where it is nobody's. A view."""
        return self._owners[: self.used]

    def take(self, people: Mapping[str, Vectors]) -> NDArray[np.intp]:
        """Rows for each person's references, in the order of `people`. ValueError for one who has some."""
        known = sorted(people.keys() & self._first.keys())
        if known:
            raise ValueError(f"already enrolled: {', '.join(known[:3])}")
        counts = np.fromiter(map(len, people.values()), np.intp, len(people))
        firsts = [self._run(count) for count in counts.tolist()]
        self._tokens.extend([""] * (self.used - len(self._tokens)))
        self._reserve()
        rows = np.arange(counts.sum()) + np.repeat(firsts - (np.cumsum(counts) - counts), counts)
        self._owners[rows] = np.repeat(firsts, counts)
        for token, first in zip(people, firsts, strict=True):
            self._tokens[first] = token
            self._first[token] = first
        self.most = max(self.most, int(counts.max(initial=1)))
        return rows.astype(np.intp, copy=False)

    def release(self, token: str) -> slice:
        """Give back a person's rows, which the caller overwrites; an empty slice for somebody unknown."""
        rows = self.rows(token)
        if rows.stop > rows.start:
            self._owners[rows] = FREE
            self._tokens[rows.start] = ""
            del self._first[token]
            self._give_back(rows.start, rows.stop - rows.start)
        return rows

    def rows(self, token: str) -> slice:
        """A person's rows; an empty slice for somebody unknown."""
        first = self._first.get(token)
        if first is None:
            return slice(0, 0)
        end = first + 1
        while end < self.used and self._owners[end] == first:
            end += 1
        return slice(first, end)

    def of(self, tokens: Collection[str]) -> NDArray[np.intp]:
        """All rows of those people, in the order of their tokens, each once; unknown ones are left out."""
        found = [self.rows(token) for token in sorted(set(tokens))]
        return np.concatenate([np.arange(r.start, r.stop) for r in found] or [np.zeros(0, np.intp)])

    def best_people(
        self, owners: NDArray[np.int32], scores: NDArray[np.float32], k: int
    ) -> tuple[Candidate, ...]:
        """The `k` best people among rows of `owners`, one candidate a person; free rows are left out.

        The k best people own the k x most best rows. Equal scores stand in the order of rows.
        """
        if self.free:
            taken = owners != FREE
            owners, scores = owners[taken], scores[taken]
        enough = min(k * self.most, len(scores))
        if enough < len(scores):
            least = scores[np.argpartition(scores, len(scores) - enough)[-enough:]].min()
            kept = scores >= least
            owners, scores = owners[kept], scores[kept]
        best: dict[int, float] = {}
        for row in np.lexsort((owners, -scores)):
            best.setdefault(int(owners[row]), float(np.clip(scores[row], -1.0, 1.0)))
        return tuple(Candidate(self._tokens[owner], score) for owner, score in list(best.items())[:k])

    def _run(self, count: int) -> int:
        """The first of `count` neighbouring rows: of the shortest free run that holds them, or new ones."""
        fitting = [length for length, runs in self._runs.items() if length >= count and runs]
        if fitting:
            length = min(fitting)
            first = self._runs[length].pop()
            self.free -= length
            if length > count:
                self._give_back(first + count, length - count)
            return first
        first, self.used = self.used, self.used + count
        return first

    def _reserve(self) -> None:
        more = grown(len(self._owners), self.used) - len(self._owners)
        if more:
            self._owners = np.concatenate([self._owners, np.full(more, FREE, np.int32)])

    def _give_back(self, first: int, count: int) -> None:
        self._runs.setdefault(count, []).append(first)
        self.free += count
