"""A moment as people read it: the clock on the wall, and which one.

The same on receipts, on the screen and in every command's lines: `2026-11-25 16:00:03 +08:00`. What programs
read (`--json`) is the same moment as RFC 3339.
"""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Final

__all__ = ["moment", "rfc3339", "written"]

_OFFSET: Final = len("+08:00")


def moment(at_s: float, zone: tzinfo | None) -> str:
    """`at_s` (seconds since 1970, UTC) in `zone`, the store's; None: this machine's own."""
    return written(datetime.fromtimestamp(at_s, zone).astimezone(zone))


def rfc3339(at_s: float, zone: tzinfo) -> str:
    """The same for programs: `2026-11-25T16:00:03+08:00`."""
    return datetime.fromtimestamp(at_s, zone).isoformat(timespec="seconds")


def written(when: datetime) -> str:
    """`when`, which has a zone."""
    text = when.isoformat(" ", "seconds")
    return f"{text[:-_OFFSET]} {text[-_OFFSET:]}"
