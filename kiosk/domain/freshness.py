"""How long a gallery that comes from an acquirer may be searched without a word from there.

Whoever withdraws is gone everywhere within a minute, as far as kiosks are online. One that is not can't know
who withdrew: after the time to live nobody pays by face there. Neither does a clock that was set back help.
"""

from __future__ import annotations

from typing import Final

__all__ = ["CLOCK_BACK_S", "is_stale"]

CLOCK_BACK_S: Final = 300
"""How far the clock may be behind the last word from the acquirer: more than any clock is corrected by."""


def is_stale(fresh_at_s: float | None, now_s: float, time_to_live_s: float) -> bool:
    """Whether a gallery is too old, or nobody can tell. Times are seconds since 1970 (UTC).

    `fresh_at_s`: when the gallery was last known to be the acquirer's newest; None for one that never came
    from an acquirer: it has no older state to be in.
    """
    if fresh_at_s is None:
        return False
    return not -CLOCK_BACK_S <= now_s - fresh_at_s <= time_to_live_s
