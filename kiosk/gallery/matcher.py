"""The port of the search: who among the enrolled is nearest to a probe.

`ExactMatcher` is the reference, `Int8Matcher` as exact and made for many, `HnswMatcher` an index;
`tests/contracts/test_matcher.py` holds all of them to this text. Scores are exact cosines (to 1e-6) in each:
an index may miss a person, it never invents a score.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kiosk.domain.decision import Candidate
from kiosk.gallery.template import Template

__all__ = ["Matcher", "Vectors", "check_search"]

Vectors: TypeAlias = NDArray[np.float32]
"""float32[n, 192], each row of length 1."""


class Matcher(Protocol):
    """A set of people with one or more reference vectors each. Not thread-safe: one owner."""

    def __len__(self) -> int:
        """How many people."""
        ...

    def add(self, people: Mapping[str, Vectors]) -> None:
        """Enrol `people` (token to reference vectors). ValueError for one who is there already."""
        ...

    def remove(self, token: str) -> bool:
        """Forget a person and overwrite their vectors in memory. False when they are not there."""
        ...

    def wipe(self) -> None:
        """Forget everybody at once, and overwrite the vectors that are ours to overwrite."""
        ...

    def search(self, probe: Template, k: int, among: Collection[str] | None = None) -> tuple[Candidate, ...]:
        """The `k` nearest people by their best reference, nearest first; all of them where there are fewer.

        `among` narrows the search to those tokens (unknown ones are left out). The same people, added in the
        same order, give the same answer. ValueError for k < 1 and for a probe that was wiped.
        """
        ...


def check_search(probe: Template, k: int) -> None:
    """ValueError for what no matcher searches: fewer than one candidate, or a probe that was wiped."""
    if k < 1:
        raise ValueError(f"k is {k}: at least one candidate")
    if probe.wiped:
        raise ValueError("the probe was wiped: it cannot be searched")
