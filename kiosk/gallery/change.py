"""What changes a gallery from outside, and what can be said of one without opening its segments.

A `Change` is what one sync brings: deletions first, then segments, then the epoch that all of them belong to.
Plain data: `kiosk.gallery.sync` fills it in, `kiosk.gallery.store` carries it out whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from kiosk.gallery.epoch import Epoch
from kiosk.gallery.template import PayerRecord

__all__ = ["LOCAL", "Change", "NewSegment", "Source", "Status", "StoredSegment"]

LOCAL: Final = "local"
"""The region of an epoch that this kiosk made for itself: it never took anything from an acquirer."""


class Source(StrEnum):
    """Where the people of a segment were enrolled."""

    OWN = "own"
    ACQUIRER = "acquirer"


@dataclass(frozen=True, slots=True)
class NewSegment:
    """A segment of the acquirer's that the store is to hold, in the place of the older one of its `number`.

    `version` and `digest` are the published ones: SHA-256 of the sealed bytes, 64 hex digits. `name`: where it
    was published. `records` opens it: called once, when it is this segment's turn, so that one segment is in
    memory at a time; the store overwrites what it gives.
    """

    number: int
    version: int
    digest: str
    name: str
    records: Callable[[], Sequence[PayerRecord]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """One step of the gallery: deletions, then segments dropped and put, all in `epoch`.

    `deletions`: tokens that must be nowhere afterwards, wherever they came from; `tombstones_version`: of the
    list that names them. `put`, `drop`: segments of the acquirer's, the latter by number. `epoch`: what the
    put segments are turned by, when it is not the one in force: then every segment of the acquirer's that is
    not put goes, and own records are turned over. `neighbours`: who always gives a second factor; None: as
    before. `fresh_at_s`: when the acquirer's word was last known to be the newest, seconds since 1970 (UTC).
    """

    deletions: frozenset[str] = frozenset()
    tombstones_version: int | None = None
    put: tuple[NewSegment, ...] = ()
    drop: frozenset[int] = frozenset()
    epoch: Epoch | None = None
    neighbours: frozenset[str] | None = None
    fresh_at_s: float | None = None


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """One segment that is held. `digest`, `version`, `name`: as published; of an own one they are empty."""

    source: Source
    number: int
    version: int
    digest: str
    name: str
    people: int
    references: int


@dataclass(frozen=True, slots=True)
class Status:
    """What the manifest says: who is held is not looked at.

    `version` counts changes of who is enrolled. `epoch`: the one in force. `fresh_at_s`: None for a gallery
    that never came from an acquirer. `tombstones_version`: 0 before the first list.
    """

    version: int
    epoch: Epoch
    segments: tuple[StoredSegment, ...]
    tombstones_version: int
    neighbours: frozenset[str]
    fresh_at_s: float | None

    @property
    def people(self) -> int:
        """How many are enrolled, wherever they came from."""
        return sum(segment.people for segment in self.segments)

    @property
    def references(self) -> int:
        """How many reference templates are stored."""
        return sum(segment.references for segment in self.segments)

    def of(self, source: Source) -> tuple[StoredSegment, ...]:
        """The segments from one source, by number."""
        return tuple(segment for segment in self.segments if segment.source is source)
