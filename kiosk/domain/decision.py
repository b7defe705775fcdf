"""Who is it, and is that sure enough: scores, liveness and limits in, one decision out.

Invariants
- An attack, an unsure liveness, no face or two faces never reach the scores: they are refused before.
- A score that is not a finite number accepts nobody: a damaged template must not reorder the others.
- `Accept` needs the threshold *and* the margin to the next person. The threshold grows with N, the people
  searched: N x FMR(threshold), at FMR's upper bound, keeps the promised FPIR (ISO/IEC 19795-1).
- Where no threshold that is worth asking for keeps it, digits are asked from everybody: they divide N.
- With digits, only people with those digits were searched; two of them within the margin are refused.
- An amount over a limit is refused whatever the scores say.
- Someone who has a near double among the enrolled (a twin) gives their PIN for every amount. Digits are no
  second factor for them: two who grew up together may share a phone, and each knows the other's number.

Example: FPIR .01 promised, FMR at most 1e-4 at .50 and 1e-5 at .60, margin .05. Among 100 people .50 is
enough, among 1,000 it takes .60, among more everybody is asked for digits. Among 100, scores .71 (a), .40 (b)
-> Accept a; .71, .68 -> digits; .35 -> refuse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import assert_never

from kiosk.domain.limits import Allowed, NeedPin, OverLimit, Verdict

__all__ = [
    "Accept",
    "AskSecondFactor",
    "Candidate",
    "Decision",
    "Factor",
    "FalseMatchBound",
    "LookOutcome",
    "Reason",
    "Refuse",
    "Thresholds",
    "decide",
    "within_limits",
]


class LookOutcome(StrEnum):
    """What a look says about the presentation, before anyone is searched (ISO/IEC 30107-3)."""

    LIVE = "live"
    ATTACK = "attack"
    UNSURE = "unsure"
    NO_FACE = "no_face"
    TWO_FACES = "two_faces"


class Factor(StrEnum):
    """What is asked on top of the face."""

    DIGITS = "digits"
    """The last four digits of the payer's phone number: they narrow the search."""
    PIN = "pin"
    """The wallet PIN, checked by the acquirer."""


class Reason(StrEnum):
    """Why a look did not lead to a person who may pay."""

    NOT_RECOGNISED = "not_recognised"
    ATTACK_SUSPECTED = "attack_suspected"
    LIVENESS_UNSURE = "liveness_unsure"
    NO_FACE = "no_face"
    TWO_FACES = "two_faces"
    AMBIGUOUS = "ambiguous"
    OVER_LIMIT = "over_limit"
    PIN_NEEDED = "pin_needed"
    FACE_NOT_ALLOWED = "face_not_allowed"
    TIMED_OUT = "timed_out"
    LOCKED = "locked"
    """Too many guesses: payment by face is closed for a while, for this payer or for everybody."""
    GALLERY_STALE = "gallery_stale"
    """Nobody knows who withdrew since: the gallery was not compared with the acquirer's for too long."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One enrolled person and the cosine of their reference with the probe, in [-1, 1]."""

    token: str
    score: float


@dataclass(frozen=True, slots=True)
class FalseMatchBound:
    """How often an impostor reaches a cosine at most: points on the upper bound of the FMR curve.

    `cosines` ascend in [-1, 1], `rates` descend in (0, 1]. Between two points the logarithm of the rate is
    linear, as the tail of impostor scores nearly is. Beyond the last point nothing is known, or worth asking.
    """

    cosines: tuple[float, ...]
    rates: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.cosines) != len(self.rates) or len(self.cosines) < 2:
            raise ValueError("a false match bound has two points or more, each a cosine and a rate")
        if not all(-1 <= cosine <= 1 for cosine in self.cosines) or not all(0 < r <= 1 for r in self.rates):
            raise ValueError("a false match bound's cosines are in [-1, 1], its rates in (0, 1]")
        if not all(a < b for a, b in pairwise(self.cosines)) or not all(
            a > b for a, b in pairwise(self.rates)
        ):
            raise ValueError("a false match bound's cosines ascend and its rates descend")

    def cosine_at(self, rate: float) -> float | None:
        """The lowest known cosine that an impostor reaches at no more than `rate`; None beyond the last."""
        if rate >= self.rates[0]:
            return self.cosines[0]
        for (low, often), (high, seldom) in pairwise(zip(self.cosines, self.rates, strict=True)):
            if rate >= seldom:
                return low + (high - low) * math.log(often / rate) / math.log(often / seldom)
        return None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Set by a command that the model manifest names, on people that no evaluation reports.

    `match` and `match_with_digits` are the lowest cosines that may be enough however few people are searched,
    without and with digits; `margin` is a difference of cosines; `promised_fpir` is the part, in (0, 1), of
    people who are not enrolled that may be taken for someone who is.
    """

    match: float
    match_with_digits: float
    margin: float
    promised_fpir: float
    false_matches: FalseMatchBound

    def __post_init__(self) -> None:
        for name in ("match", "match_with_digits", "margin"):
            if not math.isfinite(value := getattr(self, name)):
                raise ValueError(f"threshold {name} is {value}: a finite number")
        if self.margin < 0 or self.match_with_digits > self.match:
            raise ValueError("margin is 0 or more, and digits may only lower the match threshold")
        if not 0 < self.promised_fpir < 1:
            raise ValueError(f"threshold promised_fpir is {self.promised_fpir}: a rate between 0 and 1")

    def match_among(self, people: int, *, digits_given: bool = False) -> float | None:
        """The cosine at which `people` x FMR keeps the promised FPIR, FMR taken at its upper bound.

        None where no known cosine does: then the face alone is never enough. `people` are all those searched.
        """
        cosine = self.false_matches.cosine_at(self.promised_fpir / max(people, 1))
        least = self.match_with_digits if digits_given else self.match
        return None if cosine is None else max(cosine, least)


@dataclass(frozen=True, slots=True)
class Accept:
    """This person, and sure enough to ask for a confirmation."""

    token: str
    score: float
    margin: float


@dataclass(frozen=True, slots=True)
class AskSecondFactor:
    """Perhaps; one more factor decides."""

    factor: Factor


@dataclass(frozen=True, slots=True)
class Refuse:
    """No. `limit` says which cap when the reason is OVER_LIMIT; `note` is what the law says; `opens_at`
    when a lock (LOCKED) ends: the store's time, a full minute."""

    reason: Reason
    limit: OverLimit | None = None
    note: str = ""
    opens_at: datetime | None = None


Decision = Accept | AskSecondFactor | Refuse

_REFUSED_LOOKS = {
    LookOutcome.ATTACK: Reason.ATTACK_SUSPECTED,
    LookOutcome.UNSURE: Reason.LIVENESS_UNSURE,
    LookOutcome.NO_FACE: Reason.NO_FACE,
    LookOutcome.TWO_FACES: Reason.TWO_FACES,
}


def decide(
    look: LookOutcome,
    candidates: tuple[Candidate, ...],
    *,
    gallery_size: int,
    thresholds: Thresholds,
    digits_given: bool = False,
) -> Decision:
    """One decision from one look.

    Args:
        look: outcome of the presentation attack detection.
        candidates: best reference of each person, any order; with `digits_given` only people with them.
        gallery_size: number of people searched: all who are enrolled, or with digits those who have them.
        thresholds: see `Thresholds`.
        digits_given: the payer typed digits and the search was narrowed by them.
    """
    if look in _REFUSED_LOOKS:
        return Refuse(_REFUSED_LOOKS[look])
    return _person(candidates, gallery_size, thresholds, digits_given)


def within_limits(person: Accept, verdict: Verdict, *, always_second_factor: bool = False) -> Decision:
    """The same person, once the amount was judged against what they may pay (`limits.check`).

    `always_second_factor`: their face alone is never enough (`payment.Payer`), whatever the amount.
    """
    match verdict:
        case OverLimit():
            return Refuse(Reason.OVER_LIMIT, verdict)
        case NeedPin():
            return AskSecondFactor(Factor.PIN)
        case Allowed():
            return AskSecondFactor(Factor.PIN) if always_second_factor else person
        case _:
            assert_never(verdict)


def _person(
    candidates: tuple[Candidate, ...], gallery_size: int, thresholds: Thresholds, digits_given: bool
) -> Decision:
    if not all(math.isfinite(candidate.score) for candidate in candidates):
        return Refuse(Reason.NOT_RECOGNISED)  # a NaN has no rank: what it would be sorted between is chance
    ranked = sorted(candidates, key=lambda candidate: candidate.score, reverse=True)
    if not ranked or ranked[0].score < thresholds.match_with_digits:
        return Refuse(Reason.NOT_RECOGNISED)
    best = ranked[0]
    margin = best.score - (ranked[1].score if len(ranked) > 1 else -1.0)
    searched = max(gallery_size, len(candidates))
    needed = thresholds.match_among(searched, digits_given=digits_given)
    enough = needed is not None and best.score >= needed
    if enough and margin >= thresholds.margin:
        return Accept(best.token, best.score, margin)
    if not digits_given:
        return AskSecondFactor(Factor.DIGITS)
    return Refuse(Reason.AMBIGUOUS if enough else Reason.NOT_RECOGNISED)
