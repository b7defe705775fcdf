"""Who is it, and is that sure enough: scores, liveness and limits in, one decision out.

Invariants
- An attack, an unsure liveness, no face or two faces never reach the scores: they are refused before.
- A score that is not a finite number accepts nobody: a damaged template must not reorder the others.
- `Accept` needs the threshold *and* the margin to the next person *and* a gallery small enough that
  N x FMR keeps the promised FPIR (ISO/IEC 19795-1); otherwise digits are asked, which divide N.
- With digits, only people with those digits were searched; two of them within the margin are refused.
- An amount over a limit is refused whatever the scores say.

Example: threshold .50, margin .05; scores .71 (a), .40 (b) -> Accept a; .71, .68 -> digits; .35 -> refuse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import assert_never

from kiosk.domain.limits import Allowed, NeedPin, OverLimit, Verdict

__all__ = [
    "Accept",
    "AskSecondFactor",
    "Candidate",
    "Decision",
    "Factor",
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


@dataclass(frozen=True, slots=True)
class Candidate:
    """One enrolled person and the cosine of their reference with the probe, in [-1, 1]."""

    token: str
    score: float


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Set by a command that the model manifest names, on people that no evaluation reports.

    `match` and `match_with_digits` are cosines; `margin` is a difference of cosines; `max_gallery` is the
    largest number of enrolled people at which the face alone keeps the promised FPIR.
    """

    match: float
    match_with_digits: float
    margin: float
    max_gallery: int

    def __post_init__(self) -> None:
        for field in fields(self):
            if not math.isfinite(value := getattr(self, field.name)):
                raise ValueError(f"threshold {field.name} is {value}: a finite number")
        if self.margin < 0 or self.match_with_digits > self.match:
            raise ValueError("margin is 0 or more, and digits may only lower the match threshold")


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
    """No. `limit` says which cap, in words for the screen's text table, when the reason is OVER_LIMIT."""

    reason: Reason
    limit: OverLimit | None = None


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
        gallery_size: number of people enrolled (before digits narrow them).
        thresholds: see `Thresholds`.
        digits_given: the payer typed digits and the search was narrowed by them.
    """
    if look in _REFUSED_LOOKS:
        return Refuse(_REFUSED_LOOKS[look])
    return _person(candidates, gallery_size, thresholds, digits_given)


def within_limits(person: Accept, verdict: Verdict) -> Decision:
    """The same person, once the amount was judged against what they may pay (`limits.check`)."""
    match verdict:
        case OverLimit():
            return Refuse(Reason.OVER_LIMIT, verdict)
        case NeedPin():
            return AskSecondFactor(Factor.PIN)
        case Allowed():
            return person
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
    if digits_given:
        if margin < thresholds.margin:
            return Refuse(Reason.AMBIGUOUS)
        return Accept(best.token, best.score, margin)
    alone = best.score >= thresholds.match and margin >= thresholds.margin
    if alone and gallery_size <= thresholds.max_gallery:
        return Accept(best.token, best.score, margin)
    return AskSecondFactor(Factor.DIGITS)
