"""The false match rate by cosine, with its upper bound, from impostor comparisons of a few hundred people.

Far out there are too few impostors to count, so a generalised Pareto tail is fitted (Pickands 1975). People,
not comparisons, are what is drawn at random: the bound comes from a bootstrap over people, which keeps that
one look-alike, or one wrong label, makes several comparisons. Pure: arrays in, numbers out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["TAIL_FROM", "Impostors", "Tail", "fit_tail", "mated_scores", "references_of"]

TAIL_FROM = 0.45
"""Where the tail begins: about one impostor comparison in a thousand lies above. From .42 or .48 instead,
`tools/set_thresholds.py --tail-from` finds .616 or .609 for 240 people where it finds .607 from here."""

MOST_PICTURES = 3
"""A reference is the mean of up to so many pictures, as at enrolment (`kiosk.app.enrol.LOOKS`)."""


@dataclass(frozen=True, slots=True)
class Tail:
    """A generalised Pareto tail: `part` of all scores lie above `start`; `shape` and `scale` of the fall."""

    start: float
    part: float
    shape: float
    scale: float

    def rate(self, cosines: ArrayLike) -> NDArray[np.float64]:
        """The part of scores that reach each of `cosines`, which are `start` or higher."""
        beyond = (np.asarray(cosines, np.float64) - self.start) / self.scale
        if abs(self.shape) < 1e-6:
            return np.asarray(self.part * np.exp(-beyond), np.float64)
        return np.asarray(
            self.part * np.maximum(1 + self.shape * beyond, 0.0) ** (-1 / self.shape), np.float64
        )

    def cosine(self, rate: ArrayLike) -> NDArray[np.float64]:
        """The cosine that a part `rate` of scores reaches, for rates up to `part`: the inverse of `rate`."""
        ratio = np.asarray(rate, np.float64) / self.part
        if abs(self.shape) < 1e-6:
            return np.asarray(self.start - self.scale * np.log(ratio), np.float64)
        return np.asarray(self.start + self.scale / self.shape * (ratio**-self.shape - 1), np.float64)


def fit_tail(scores: NDArray[np.float64], weights: NDArray[np.float64], start: float, part: float) -> Tail:
    """The tail of ascending `scores` above `start`, by weighted moments (Hosking and Wallis 1987)."""
    excess, total = scores - start, weights.sum()
    below = (np.cumsum(weights) - weights / 2) / total
    mean = float((weights * excess).sum() / total)
    upper = float((weights * excess * (1 - below)).sum() / total)
    return Tail(start, part, 2 - mean / (mean - 2 * upper), 2 * mean * upper / (mean - 2 * upper))


def references_of(
    vectors: NDArray[np.float32], person: NDArray[np.intp], least: int
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """(references, whose): the mean of each person's first pictures, for people with at least `least`."""
    whose = np.flatnonzero(np.bincount(person) >= least)
    means = np.stack([vectors[person == who][:MOST_PICTURES].mean(axis=0) for who in whose])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32), whose


def mated_scores(
    vectors: NDArray[np.float32], person: NDArray[np.intp], least: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(scores, weights): each picture with the mean of up to three others of its person, at least `least`.

    Every person weighs the same, however many pictures there are; the weights add up to 1.
    """
    scores, weights = [], []
    for who in np.flatnonzero(np.bincount(person) > least):
        own = vectors[person == who]
        for number, probe in enumerate(own):
            mean = np.delete(own, number, axis=0)[:MOST_PICTURES].mean(axis=0)
            scores.append(float(probe @ mean / np.linalg.norm(mean)))
            weights.append(1 / len(own))
    return np.array(scores), np.array(weights) / np.sum(weights)


@dataclass(frozen=True, slots=True, eq=False)
class Impostors:
    """Comparisons of probes with other people's references; only the scores above `start` are kept.

    `scores` ascend, float64[k]; `probes` and `owners` (intp[k]) number the two people of each; `pictures` and
    `references` (float64[people]) say how many of each person were compared.
    """

    start: float
    scores: NDArray[np.float64]
    probes: NDArray[np.intp]
    owners: NDArray[np.intp]
    pictures: NDArray[np.float64]
    references: NDArray[np.float64]

    @classmethod
    def compared(
        cls, vectors: NDArray[np.float32], person: NDArray[np.intp], *, least: int, start: float = TAIL_FROM
    ) -> Self:
        """Every picture against the references of all other people who have `least` pictures or more."""
        references, whose = references_of(vectors, person, least)
        scores = vectors @ references.T
        probe, owner = np.nonzero((scores >= start) & (person[:, None] != whose[None]))
        order = np.argsort(scores[probe, owner])
        people = int(person.max()) + 1
        return cls(
            start=start,
            scores=scores[probe, owner][order].astype(np.float64),
            probes=person[probe][order],
            owners=whose[owner][order],
            pictures=np.bincount(person, minlength=people).astype(np.float64),
            references=np.bincount(whose, minlength=people).astype(np.float64),
        )

    def without(self, person: int) -> Self:
        """The same comparisons without those that `person` takes part in."""
        kept = (self.probes != person) & (self.owners != person)
        others = np.arange(len(self.pictures)) != person
        return type(self)(
            self.start,
            self.scores[kept],
            self.probes[kept],
            self.owners[kept],
            self.pictures * others,
            self.references * others,
        )

    def count(self, weights: NDArray[np.float64] | None = None) -> float:
        """How many comparisons there were, each weighing its two people's `weights` (default 1)."""
        each = np.ones(len(self.pictures)) if weights is None else weights
        all_with_all = (each * self.pictures).sum() * (each * self.references).sum()
        return float(all_with_all - (each**2 * self.pictures * self.references).sum())

    def tail(self, weights: NDArray[np.float64] | None = None) -> Tail:
        """The tail, each comparison weighing the product of its two people's `weights` (default 1)."""
        each = np.ones(len(self.pictures)) if weights is None else weights
        weigh = each[self.probes] * each[self.owners]
        return fit_tail(self.scores, weigh, self.start, float(weigh.sum()) / self.count(weights))

    def rate(self, cosines: ArrayLike) -> NDArray[np.float64]:
        """The part of comparisons counted at or above each of `cosines` (`start` or higher)."""
        above = len(self.scores) - np.searchsorted(self.scores, np.asarray(cosines), side="left")
        return np.asarray(above / self.count(), np.float64)

    def bootstrap(self, draws: int, seed: int) -> list[Tail]:
        """Tails of `draws` samples of people, with replacement; nobody is compared with themselves."""
        dice, people = np.random.default_rng(seed), len(self.pictures)
        return [
            self.tail(np.bincount(dice.integers(0, people, people), minlength=people).astype(np.float64))
            for _ in range(draws)
        ]
