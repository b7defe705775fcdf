"""The self-test of the gallery's age: whether this kiosk knows who withdrew lately."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Literal

from kiosk.app.gallery_sync import pinned_root

if TYPE_CHECKING:
    from kiosk.app.wiring import Base

__all__ = ["sync_found"]

LATE_POLLS: Final = 20
"""After so many polls without a word something is wrong, though nobody is refused yet."""


def sync_found(base: Base) -> tuple[Literal["green", "amber", "red"], str, str]:
    """Status, what was found, what to do. OperatorError: root or gallery can't be read."""
    status = base.enrolled.store.status()
    fresh_at_s = status.fresh_at_s if status else None
    if fresh_at_s is None:
        if pinned_root(base) is None:
            return "green", "off: no repository is pinned here", ""
        return "amber", "never in step with the acquirer's so far", _SYNC
    age_s = time.time() - fresh_at_s
    detail = f"in step with the acquirer's {_long(age_s)}"
    hours = f"{base.config.gallery.time_to_live_h:g} h"
    if base.freshness.is_stale():
        return "red", f"{detail}; older than {hours}: nobody pays by face", _SYNC
    if age_s > LATE_POLLS * base.config.gallery.poll_s:
        return "amber", f"{detail}; after {hours} nobody pays by face", _SYNC
    return "green", detail, ""


_SYNC: Final = "Run `kiosk gallery sync`: it says what is wrong. A running kiosk tries by itself."


def _long(seconds: float) -> str:
    if seconds < 0:
        return "in the future (the clock was set back)"
    return f"{seconds / 60:.0f} min ago" if seconds < 7200 else f"{seconds / 3600:.0f} h ago"
