"""Enrolment: three looks, one reference, nothing else kept.

Every look passes the liveness of a payment and its quality gate, with stricter limits; a look in doubt is
challenged, and where the shop challenges everybody the first one. The looks must show one person; their
templates are averaged, weighted by quality, and then overwritten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kiosk.app.challenger import Challenger, Watch
from kiosk.app.look import look_at
from kiosk.domain.decision import LookOutcome
from kiosk.frames import FrameSource, SourceKind
from kiosk.vision.embed import combine
from kiosk.vision.look import LookResult, LookRules
from kiosk.vision.pipeline import Vision
from kiosk.vision.quality import ENROLMENT_LIMITS, Hint

__all__ = ["LOOKS", "Enrolment", "capture"]

LOOKS: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class Enrolment:
    """`reference` (float32[192], length 1) is there when `outcome` is live, made of `looks` looks."""

    outcome: LookOutcome
    looks: int
    reference: NDArray[np.float32] | None = field(default=None, repr=False)
    hint: Hint | None = None


def capture(
    source: FrameSource,
    vision: Vision,
    rules: LookRules,
    *,
    on_look: Callable[[int, LookResult], None] = lambda number, result: None,
    challenger: Challenger | None = None,
) -> Enrolment:
    """Take up to three looks from an open `source`. A camera must give all three, a file at least one.

    An attack in any look refuses the enrolment; a look that is not sure, or that a second person came into,
    is taken again where the source has more frames. `challenger` asks on the open camera; one that asks
    `always` is satisfied once: the other looks have to show the person who passed.
    """
    sharp, kept = vision.with_limits(ENROLMENT_LIMITS), list[LookResult]()
    asks = challenger or Challenger(lambda one: None, kinds=(), always=False, same_person=rules.same_person)

    def settled(found: LookResult, template: NDArray[np.float32] | None, watch: Watch) -> LookResult:
        return asks.settle(found, template, source.info.kind, watch)

    def look(number: int) -> LookResult | None:
        seen = look_at(source, sharp, rules, then=settled)
        if seen is not None:
            on_look(number, seen)
            asks.always &= seen.outcome is not LookOutcome.LIVE
        return seen

    try:
        return _captured(source, look, rules.same_person, kept)
    finally:
        for one in kept:
            if one.template is not None:
                one.template.fill(0.0)


def _captured(
    source: FrameSource,
    look: Callable[[int], LookResult | None],
    same_person: float,
    kept: list[LookResult],
) -> Enrolment:
    last: LookResult | None = None
    tries = LOOKS if source.info.kind is SourceKind.LIVE else 4 * LOOKS
    for number in range(1, tries + 1):
        if len(kept) == LOOKS or source.ended:
            break
        last = look(number)
        if last is None:
            break
        if last.outcome is LookOutcome.ATTACK:
            return Enrolment(last.outcome, len(kept), hint=last.hint)
        if last.outcome is LookOutcome.LIVE and last.template is not None:
            kept.append(last)
    templates = [one.template for one in kept if one.template is not None]
    needed = LOOKS if source.info.kind is SourceKind.LIVE else 1
    if len(templates) < needed:
        outcome = last.outcome if last and last.outcome is not LookOutcome.LIVE else LookOutcome.NO_FACE
        return Enrolment(outcome, len(templates), hint=last.hint if last else None)
    if any(float(templates[0] @ other) < same_person for other in templates[1:]):
        return Enrolment(LookOutcome.TWO_FACES, len(templates), hint=Hint.ONE_PERSON)
    weights = [one.quality.weight if one.quality else 0.0 for one in kept]
    return Enrolment(LookOutcome.LIVE, len(templates), combine(templates, weights))
