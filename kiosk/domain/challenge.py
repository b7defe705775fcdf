"""The active challenge: what a payer is asked to do when looking alone did not settle that they are there.

Data only: what is asked, in which order, and what came of it. Who measures the answer is vision's business,
who shows the question is the screen's; neither knows the other. What is asked is drawn from a cryptographic
source by the caller (`secrets`), so that no recording can have been made to fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["FLASH_COLOURS", "Challenge", "ChallengeKind", "ChallengeOutcome", "Colour"]

Colour = tuple[int, int, int]
"""Red, green, blue, 0..255 each, as the screen is told (sRGB)."""

FLASH_COLOURS: Final[tuple[Colour, ...]] = (
    (255, 40, 40),
    (40, 255, 40),
    (60, 60, 255),
    (255, 255, 255),
    (0, 0, 0),
)
"""Far apart in chroma, and never a saturated red that alternates faster than 3 Hz (WCAG 2.3.1)."""


class ChallengeKind(StrEnum):
    """What is asked."""

    TURN_LEFT = "turn_left"
    """Turn the head to the payer's own left."""
    TURN_RIGHT = "turn_right"
    BLINK = "blink"
    FLASH = "flash"
    """Hold still while the screen shows `Challenge.colours` one after the other."""


class ChallengeOutcome(StrEnum):
    """What came of it. Only `PASSED` is a pass."""

    PASSED = "passed"
    FAILED = "failed"
    """Something was contrary to the request: another person, the wrong way, another sequence of colours."""
    INCONCLUSIVE = "inconclusive"
    """Nothing was contrary and nothing was shown: no answer in time, or one that could not be measured."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One request. `colours` and `step_ms` (how long each is shown) are those of a flash; else empty and 0.

    `timeout_ms` counts from the moment the request is on the screen.
    """

    kind: ChallengeKind
    colours: tuple[Colour, ...] = ()
    step_ms: int = 0
    timeout_ms: int = 5_000

    def __post_init__(self) -> None:
        flash = self.kind is ChallengeKind.FLASH
        if flash != bool(self.colours) or flash != (self.step_ms > 0):
            raise ValueError("colours and step_ms belong to a flash, and to nothing else")
        if self.timeout_ms <= 0:
            raise ValueError("a challenge ends: timeout_ms is more than 0")
