"""Error rates of a presentation attack detector, in ISO/IEC 30107-3 terms, with intervals over people.

Scores are higher for live. APCER: share of attacks taken for live. BPCER: share of live faces taken for
attacks. EER: where the two meet. Intervals resample people, since frames of one person are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ErrorRate", "eer", "eer_over_people", "wilson"]

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


def eer(live: Scores, attacks: Scores) -> float:
    """Equal error rate in [0, 1], interpolated where APCER and BPCER cross; a ValueError without scores."""
    if not len(live) or not len(attacks):
        raise ValueError("an equal error rate needs live faces and attacks")
    thresholds = np.concatenate([[-np.inf], np.unique(np.concatenate([live, attacks])), [np.inf]])
    bpcer = np.searchsorted(np.sort(live), thresholds, side="left") / len(live)
    apcer = 1 - np.searchsorted(np.sort(attacks), thresholds, side="left") / len(attacks)
    gap = bpcer - apcer
    after = int(np.argmax(gap >= 0))
    if gap[after] == 0:
        return float(bpcer[after])
    part = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(bpcer[after - 1] + part * (bpcer[after] - bpcer[after - 1]))


def wilson(errors: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (Wilson 1927); (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    z, share = 1.959964, errors / trials
    centre = share + z * z / (2 * trials)
    spread = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return float(max(0.0, (centre - spread) / scale)), float(min(1.0, (centre + spread) / scale))


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
