"""What several frames of one face say together that no single frame does, as bounded evidence.

Pure: landmarks and times go in, a cue comes out. A cue that could not be measured is `unavailable` and
weighs nothing; no cue weighs as much as the network's own bounds, so none of them decides alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Cue", "CueName", "Reading"]


class CueName(StrEnum):
    """What is read beside the anti-spoof network."""

    PLANE = "plane"
    """The landmarks of several frames lie on one rigid plane (a picture), or do not (a head)."""
    BLINK = "blink"
    """The eyes closed and opened."""
    BORDER = "border"
    """Straight edges of a sheet or a screen enclose the face."""


class Reading(StrEnum):
    """Which way a cue points."""

    LIVE = "live"
    ATTACK = "attack"
    NEUTRAL = "neutral"
    """Measured, and says nothing either way."""
    UNAVAILABLE = "unavailable"
    """Not measurable in these frames."""


@dataclass(frozen=True, slots=True)
class Cue:
    """One cue of one look: its measure (None when unavailable) and its log-likelihood ratio.

    `llr` is in nats, positive for live; 0 when it says nothing. What `value` measures is the cue's own.
    """

    name: CueName
    reading: Reading
    value: float | None
    llr: float
