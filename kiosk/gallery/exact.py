"""The reference matcher: one float32 matrix product over every reference, nothing missed.

A forgotten person's rows are overwritten with zeros at once and used again later (`kiosk.gallery.slots`); a
row's number stays valid as long as its person, and `HnswMatcher` names its nodes by it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from kiosk.domain.decision import Candidate
from kiosk.gallery.matcher import Vectors, check_search
from kiosk.gallery.slots import Slots, grown
from kiosk.gallery.template import TEMPLATE_SIZE, Template

__all__ = ["ExactMatcher"]


class ExactMatcher:
    """See `kiosk.gallery.matcher.Matcher`. Memory: 772 bytes a reference, up to twice that after growth."""

    def __init__(self) -> None:
        self.slots = Slots()
        """Whose each row is."""
        self._rows: Vectors = np.zeros((0, TEMPLATE_SIZE), np.float32)

    def __len__(self) -> int:
        return len(self.slots)

    def add(self, people: Mapping[str, Vectors]) -> None:
        if not people:
            return
        rows, vectors = self.slots.take(people), np.concatenate(list(people.values()))
        self._reserve()
        self._rows[rows] = vectors
        vectors.fill(0.0)

    def remove(self, token: str) -> bool:
        rows = self.slots.release(token)
        self._rows[rows] = 0.0
        return len(self.slots.owners[rows]) > 0

    def wipe(self) -> None:
        self._rows.fill(0.0)
        self.slots = Slots()

    def search(self, probe: Template, k: int, among: Collection[str] | None = None) -> tuple[Candidate, ...]:
        return self.rank(probe, k, None if among is None else self.slots.of(among))

    def rank(self, probe: Template, k: int, rows: NDArray[np.intp] | None) -> tuple[Candidate, ...]:
        """The `k` best people among those who own `rows` (None: all rows)."""
        check_search(probe, k)
        if rows is None:
            return self.slots.best_people(self.slots.owners, self._rows[: self.slots.used] @ probe.vector, k)
        return self.slots.best_people(self.slots.owners[rows], self._rows[rows] @ probe.vector, k)

    def _reserve(self) -> None:
        """Room for every row; the old ones are overwritten before they are let go."""
        capacity = grown(len(self._rows), self.slots.used)
        if capacity > len(self._rows):
            rows = np.zeros((capacity, TEMPLATE_SIZE), np.float32)
            rows[: len(self._rows)] = self._rows
            self._rows.fill(0.0)
            self._rows = rows
