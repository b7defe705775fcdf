"""The equal error rate of an attack detector, with an interval over people, not frames.

Scores are higher for live. The rate itself is the product's own (`kiosk.evaluation.metrics`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import checkout  # noqa: F401  (kiosk is found through it)
import numpy as np
from numpy.typing import NDArray

from kiosk.evaluation.metrics import eer, wilson

__all__ = ["ErrorRate", "Scores", "eer", "eer_over_people"]

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """A rate with its 95 % interval, all in [0, 1], and what it was counted on."""

    rate: float
    low: float
    high: float
    live: int
    attacks: int
    people: int


def eer_over_people(
    scores: Scores, is_live: NDArray[np.bool_], people: Sequence[str], *, seed: int = 1, draws: int = 300
) -> ErrorRate:
    """EER of all scores together, and the 2.5th and 97.5th percentile when people are drawn with replacement.

    With an EER of 0 resampling cannot leave 0: the upper end is then Wilson's for 0 errors among the people.
    """
    names = np.array(people)
    unique = np.unique(names)
    members = [np.flatnonzero(names == name) for name in unique]
    rate = eer(scores[is_live], scores[~is_live])
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(draws):
        chosen = np.concatenate([members[i] for i in rng.integers(0, len(unique), len(unique))])
        live = is_live[chosen]
        if live.any() and not live.all():
            drawn.append(eer(scores[chosen][live], scores[chosen][~live]))
    low, high = (float(v) for v in np.percentile(drawn, [2.5, 97.5])) if drawn else (0.0, 1.0)
    if rate == 0:
        high = max(high, wilson(0, len(unique))[1])
    return ErrorRate(rate, low, high, int(is_live.sum()), int((~is_live).sum()), len(unique))
