"""Figures of biometric performance, in ISO/IEC 19795-1 and 30107-3 terms. Pure: arrays in, numbers out.

A score speaks for acceptance: it is accepted at or above the threshold. A presentation that failed to be
acquired has score -inf where that counts as an error. Rates are in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "best_threshold",
    "bpcer_at_apcer",
    "eer",
    "fnir_at_fpir",
    "fold_accuracies",
    "identification_curve",
    "over_people",
    "tar_at_fmr",
    "threshold_at",
    "trade_off",
    "wilson",
]

Z_95 = 1.959964
"""The standard normal's 97.5 % point: two-sided 95 %."""


def wilson(events: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a rate of `events` in `n` (Wilson 1927); (0, 1) where n is 0."""
    if n == 0:
        return 0.0, 1.0
    rate, z2 = events / n, Z_95**2
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * sqrt(rate * (1 - rate) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return (middle - half if events else 0.0), (middle + half if events < n else 1.0)


def over_people(errors: ArrayLike, people: Sequence[str], resamples: int = 2000) -> tuple[float, float]:
    """The 95 % interval of a rate when people are drawn, not presentations: several of one person are alike.

    `errors` are true or false, one a presentation, `people` says whose each is. Percentile bootstrap over
    people (seeded: the same data give the same interval). Where nobody or everybody errs, resampling can't
    tell how rare the other thing is: then one error (or success) among so many people bounds it (Wilson).
    """
    wrong = np.asarray(errors, bool)
    names, whose = np.unique(np.asarray(people, str), return_inverse=True)
    if not len(wrong):
        return 0.0, 1.0
    if not wrong.any() or wrong.all():
        return wilson(len(names) if wrong.all() else 0, len(names))
    events = np.bincount(whose, weights=wrong)
    sizes = np.bincount(whose)
    drawn = np.random.default_rng(1).integers(0, len(names), (resamples, len(names)))
    low, high = np.percentile(events[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [2.5, 97.5])
    return float(low), float(high)


def threshold_at(negatives: ArrayLike, rate: float) -> float:
    """The lowest threshold that accepts no more than `rate` of `negatives`; -inf where all may pass."""
    ranked = np.sort(np.asarray(negatives, np.float64))[::-1]
    allowed = int(np.floor(rate * len(ranked) + 1e-9))
    return float("-inf") if allowed >= len(ranked) else float(np.nextafter(ranked[allowed], np.inf))


def fnir_at_fpir(
    mated: ArrayLike, correct: ArrayLike, non_mated: ArrayLike, fpir: float
) -> tuple[float, float]:
    """(FNIR, threshold) where no more than `fpir` of the non-mated probes' best scores are accepted.

    `mated` are the mated probes' best scores, `correct` whether the best was the right person: a probe whose
    best candidate is someone else is a miss at any threshold (rank-1 identification).
    """
    threshold = threshold_at(non_mated, fpir)
    hit = np.asarray(correct, bool) & (np.asarray(mated, np.float64) >= threshold)
    return float(1.0 - hit.mean()), threshold


def best_threshold(scores: ArrayLike, same: ArrayLike) -> float:
    """The threshold, out of the scores, at which most pairs are judged right; the lowest of several."""
    values, truth = np.asarray(scores, np.float64), np.asarray(same, bool)
    order = np.argsort(values, kind="stable")
    ranked, mates = values[order], truth[order]
    # At the i-th score: the non-mates below it and the mates from it on are right.
    right = np.concatenate([[0], np.cumsum(~mates)[:-1]]) + np.cumsum(mates[::-1])[::-1]
    first = np.concatenate([[True], ranked[1:] != ranked[:-1]])  # a tie is one threshold, its first score's
    return float(ranked[np.argmax(np.where(first, right, -1))])


def fold_accuracies(scores: ArrayLike, same: ArrayLike, folds: ArrayLike) -> NDArray[np.float64]:
    """Each fold's part of pairs judged right, at the threshold that is best on the other folds."""
    values, truth, fold = np.asarray(scores, np.float64), np.asarray(same, bool), np.asarray(folds)
    parts = []
    for name in np.unique(fold):
        here = fold == name
        threshold = best_threshold(values[~here], truth[~here])
        parts.append(np.mean((values[here] >= threshold) == truth[here]))
    return np.array(parts, np.float64)


def tar_at_fmr(mated: ArrayLike, non_mated: ArrayLike, fmr: float) -> float:
    """The part of mated scores accepted where no more than `fmr` of the non-mated ones are."""
    return float(np.mean(np.asarray(mated, np.float64) >= threshold_at(non_mated, fmr)))


def eer(live: ArrayLike, attacks: ArrayLike) -> float:
    """The equal error rate: where BPCER (live below the threshold) and APCER (attacks at or above it) meet.

    Between two thresholds where they cross, the mean of both at the nearer one.
    """
    bona_fide, presented = np.sort(np.asarray(live, np.float64)), np.sort(np.asarray(attacks, np.float64))
    thresholds = np.concatenate([np.unique(np.concatenate([bona_fide, presented])), [np.inf]])
    bpcer = np.searchsorted(bona_fide, thresholds, side="left") / len(bona_fide)
    apcer = 1.0 - np.searchsorted(presented, thresholds, side="left") / len(presented)
    nearest = int(np.argmin(np.abs(bpcer - apcer)))
    return float((bpcer[nearest] + apcer[nearest]) / 2)


def trade_off(accepted: ArrayLike, refused: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The curve of both errors over all thresholds: the part of `refused` that passes, and of `accepted` that
    fails (APCER and BPCER of attacks and live faces, FMR and FNMR of non-mated and mated scores). A score of
    -inf is never accepted."""
    good, bad = np.sort(np.asarray(accepted, np.float64)), np.sort(np.asarray(refused, np.float64))
    seen = np.unique(np.concatenate([good, bad]))
    thresholds = np.concatenate([seen[seen > -np.inf], [np.inf]])
    passed = 1.0 - np.searchsorted(bad, thresholds, side="left") / len(bad)
    failed = np.searchsorted(good, thresholds, side="left") / len(good)
    return passed, failed


def identification_curve(
    mated: ArrayLike, correct: ArrayLike, non_mated: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(FPIR, FNIR) over all thresholds, as `fnir_at_fpir` counts them: rank 1, a wrong best is a miss."""
    scores = np.where(np.asarray(correct, bool), np.asarray(mated, np.float64), -np.inf)
    return trade_off(scores, non_mated)


def bpcer_at_apcer(live: ArrayLike, species: Iterable[ArrayLike], apcer: float) -> float:
    """The part of live presentations refused where of no attack species more than `apcer` are accepted.

    The strictest species sets the threshold: a mean over species would hide the one that works.
    """
    threshold = max(threshold_at(attacks, apcer) for attacks in species)
    return float(np.mean(np.asarray(live, np.float64) < threshold))
