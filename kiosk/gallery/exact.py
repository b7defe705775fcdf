"""The reference matcher: one float32 matrix product over every reference, nothing missed.

Rows are slots: a forgotten person's rows are overwritten with zeros at once and used again later, so a slot's
number stays valid as long as its person (`HnswMatcher` names its nodes by it).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from kiosk.domain.decision import Candidate
from kiosk.gallery.matcher import Vectors
from kiosk.gallery.template import TEMPLATE_SIZE, Template

__all__ = ["ExactMatcher"]

_FREE = -1
_FIRST_CAPACITY = 256


class ExactMatcher:
    """See `kiosk.gallery.matcher.Matcher`. Memory: 776 bytes a reference, up to twice that after growth."""

    def __init__(self) -> None:
        self._rows: Vectors = np.zeros((0, TEMPLATE_SIZE), np.float32)
        self._owners: NDArray[np.int32] = np.zeros(0, np.int32)  # number of the person in each slot
        self._used = 0
        self._free: list[int] = []
        self._tokens: list[str] = []  # by number; "" once forgotten
        self._slots: dict[str, tuple[int, ...]] = {}
        self._most = 1  # references that any one person has had

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, token: str) -> bool:
        return token in self._slots

    @property
    def references(self) -> int:
        """How many reference vectors are held."""
        return self._used - len(self._free)

    @property
    def most_references(self) -> int:
        """The largest number of references that one person has or had."""
        return self._most

    def add(self, people: Mapping[str, Vectors]) -> None:
        known = sorted(people.keys() & self._slots.keys())
        if known:
            raise ValueError(f"already enrolled: {', '.join(known[:3])}")
        self._reserve(sum(len(vectors) for vectors in people.values()))
        for token, vectors in people.items():
            slots = tuple(self._take_slot() for _ in vectors)
            self._rows[list(slots)] = vectors
            self._owners[list(slots)] = len(self._tokens)
            self._tokens.append(token)
            self._slots[token] = slots
            self._most = max(self._most, len(slots))

    def remove(self, token: str) -> bool:
        slots = self._slots.pop(token, ())
        for slot in slots:
            self._tokens[self._owners[slot]] = ""
            self._rows[slot] = 0.0
            self._owners[slot] = _FREE
            self._free.append(slot)
        return bool(slots)

    def wipe(self) -> None:
        self._rows.fill(0.0)
        self._owners.fill(_FREE)
        self._used, self._most = 0, 1
        self._free, self._tokens, self._slots = [], [], {}

    def slots(self, token: str) -> tuple[int, ...]:
        """Where a person's references stand; stable until they are removed."""
        return self._slots[token]

    def search(self, probe: Template, k: int, among: Collection[str] | None = None) -> tuple[Candidate, ...]:
        if among is None:
            return self.rank(probe, k, None)
        slots = [slot for token in sorted(set(among)) for slot in self._slots.get(token, ())]
        return self.rank(probe, k, np.asarray(slots, np.intp))

    def rank(self, probe: Template, k: int, slots: NDArray[np.intp] | None) -> tuple[Candidate, ...]:
        """The `k` best people among those who own `slots` (None: all slots; free ones are left out)."""
        if k < 1:
            raise ValueError(f"k is {k}: at least one candidate")
        if probe.wiped:
            raise ValueError("the probe was wiped: it cannot be searched")
        if slots is None:
            owners, scores = self._owners[: self._used], self._rows[: self._used] @ probe.vector
        else:
            owners, scores = self._owners[slots], self._rows[slots] @ probe.vector
        if self._free:
            taken = owners != _FREE
            owners, scores = owners[taken], scores[taken]
        return self._best_people(owners, scores, k)

    def _best_people(
        self, owners: NDArray[np.int32], scores: NDArray[np.float32], k: int
    ) -> tuple[Candidate, ...]:
        """One candidate a person: the k best people own the k x most_references best rows."""
        enough = min(k * self._most, len(scores))
        if enough < len(scores):
            kept = np.argpartition(scores, len(scores) - enough)[-enough:]
            owners, scores = owners[kept], scores[kept]
        best: dict[int, float] = {}
        for row in np.lexsort((owners, -scores)):
            best.setdefault(int(owners[row]), float(np.clip(scores[row], -1.0, 1.0)))
        return tuple(Candidate(self._tokens[owner], score) for owner, score in list(best.items())[:k])

    def _take_slot(self) -> int:
        if self._free:
            return self._free.pop()
        self._used += 1
        return self._used - 1

    def _reserve(self, more: int) -> None:
        """Room for `more` references; the old rows are overwritten before they are let go."""
        needed = self._used + more - len(self._free)
        if needed <= len(self._rows):
            return
        first = self._used == 0  # a load at start knows its size: no slack then
        capacity = max(needed if first else 2 * self._used, needed, _FIRST_CAPACITY)
        rows = np.zeros((capacity, TEMPLATE_SIZE), np.float32)
        owners = np.full(capacity, _FREE, np.int32)
        rows[: self._used] = self._rows[: self._used]
        owners[: self._used] = self._owners[: self._used]
        self._rows.fill(0.0)
        self._rows, self._owners = rows, owners
