"""Who failed how often, and what follows: three failures ask for another factor, five lock for a while.

Counted are guesses that claim somebody: digits that fit nobody, digits or a PIN that contradict the payer who
was recognised, and suspected presentation attacks. A face that is merely not recognised claims nobody and is
not counted. Whose count it is: the payer's where one is claimed, else one for all guesses of this kiosk.

Pure: failures are times, as the journal keeps them over restarts, `now_s` the caller's clock.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

__all__ = [
    "ATTACKS",
    "GUESSES",
    "LOCK_AFTER",
    "LOCK_S",
    "MEMORY_S",
    "OTHER_FACTOR_AFTER",
    "Locked",
    "OtherFactor",
    "Standing",
    "Unsuspected",
    "of_payer",
    "recounted",
    "standing",
    "tries_left",
]

OTHER_FACTOR_AFTER: Final = 3
LOCK_AFTER: Final = 5
LOCK_S: Final = 300
"""Long enough that guessing four digits takes weeks, short enough that a prank doesn't close a shop."""
MEMORY_S: Final = 3_600
"""A failure is forgotten after this, or at the first success."""

GUESSES: Final = "digits"
"""The count of digits that fit nobody: locked, no digits are asked; who is clear without them may pay."""
ATTACKS: Final = "attack"
"""The count of suspected presentation attacks: locked, nobody looks."""


def of_payer(token: str) -> str:
    """The count of what contradicts one payer."""
    return f"payer:{token}"


@dataclass(frozen=True, slots=True)
class Unsuspected:
    """Fewer failures than count."""


@dataclass(frozen=True, slots=True)
class OtherFactor:
    """A face alone is not enough now."""


@dataclass(frozen=True, slots=True)
class Locked:
    """Not until `until_s` (seconds since 1970, UTC); None: the count can't be read, nobody knows."""

    until_s: float | None


Standing = Unsuspected | OtherFactor | Locked


def recounted(failures: Collection[float], now_s: float) -> list[float]:
    """The same failures; where the clock was set back behind a lock, those ahead of it as if they were new.

    Whoever keeps them so instead has a lock that lasts no shorter for it, and none that lasts until that day.
    """
    if any(at > now_s + LOCK_S for at in failures):
        return [min(at, now_s) for at in failures]
    return list(failures)


def standing(failures: Collection[float], now_s: float) -> Standing:
    """What follows from failures at these times.

    A clock that was set back makes them younger, so that nothing opens early; failures that lie further ahead
    than a lock lasts count, and lock nobody out until that day (`recounted` brings them back).
    """
    counted = [at for at in failures if at > now_s - MEMORY_S]
    if len(counted) < OTHER_FACTOR_AFTER:
        return Unsuspected()
    locking = [at for at in counted if at <= now_s + LOCK_S]
    until_s = max(locking, default=now_s - LOCK_S) + LOCK_S
    if len(counted) >= LOCK_AFTER and now_s < until_s:
        return Locked(until_s)
    return OtherFactor()


def tries_left(failures: Collection[float], now_s: float) -> int:
    """How many failures from now on lock; 0: it is locked. After a lock the next failure locks again."""
    if isinstance(standing(failures, now_s), Locked):
        return 0
    return max(1, LOCK_AFTER - sum(at > now_s - MEMORY_S for at in failures))
