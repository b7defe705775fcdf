"""This kiosk's health for the acquirer: versions, counters and how each check ended; nothing about persons.

What a check found stays here: its words may name files, cameras or people's mistakes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal
from zoneinfo import ZoneInfo

from kiosk import __version__
from kiosk.acquirer.messages import Exchange, new_ref
from kiosk.acquirer.operations import telemetry_request
from kiosk.app.asking import envelope
from kiosk.app.health import Check
from kiosk.app.wiring import Base

__all__ = ["report"]

STATES: Final[dict[str, Literal["ok", "warning", "failed"]]] = {
    "green": "ok",
    "amber": "warning",
    "red": "failed",
}


def report(base: Base, checks: Iterable[Check]) -> Exchange:
    """The request that tells it. OperatorError: the journal is in use or can't be read."""
    policy, enrolled = base.stored_policy(), base.enrolled.store.status()
    followed = {}
    if enrolled is not None and enrolled.fresh_at_s is not None:  # by these the acquirer sees who is behind
        followed = {
            "gallery_epoch": enrolled.epoch.number,
            "tombstones_version": enrolled.tombstones_version,
        }
    with base.journal() as journal:
        return telemetry_request(
            base.terminal(),
            new_ref(base.clock),
            software=f"kiosk-{__version__}",
            gallery_version=base.gallery.version,
            policy_version=policy.version if policy else 0,
            counters={
                "enrolled": base.gallery.size,
                "open_attempts": len(journal.open_attempts()),
                "open_tasks": len(journal.open_tasks()),
                **followed,
            },
            checks={check.name: STATES[check.status] for check in checks},
            **envelope(journal, base.clock, ZoneInfo(base.config.store.timezone)),
        )
