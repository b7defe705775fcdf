"""What changes a gallery from outside, and what can be said of one without opening its segments.

A `Change` is what one sync brings: deletions first, then segments, then the epoch that all of them belong to.
Plain data: `kiosk.gallery.sync` fills it in, `kiosk.gallery.store` carries it out whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from kiosk.gallery.epoch import Epoch
from kiosk.gallery.template import PayerRecord

__all__ = ["Change", "NewSegment", "Source", "Status", "StoredSegment"]


class Source(StrEnum):
    """Where the people of a segment were enrolled."""

    OWN = "own"
    ACQUIRER = "acquirer"


@dataclass(frozen=True, slots=True)
class NewSegment:
    """A segment of the acquirer that is to be held, in the place of the older one of its `number`.

    `version` and `digest` are the published ones: SHA-256 of the sealed bytes, 64 hex digits. `name`: where
    it was published. `records` opens it: called once, when it is its turn, so that one segment is in memory
    at a time; the store overwrites what it gives.
    """

    number: int
    version: int
    digest: str
    name: str
    records: Callable[[], Sequence[PayerRecord]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """One step of the gallery: deletions first, then segments dropped and put, all in `epoch`.

    `deletions`: tokens that must be nowhere afterwards, wherever they came from. With `tombstones_version`
    they are the whole of the acquirer's newest list, and no segment that is put later brings one back.
    `put`, `drop`: the acquirer's segments, the latter by number. `epoch`: what the put ones are turned by,
    when it is not the one in force: then every other segment of the acquirer's goes, and own records are
    turned over. `fresh_at_s`: when the acquirer's word was known to be its newest, seconds since 1970 (UTC).
    """

    deletions: frozenset[str] = frozenset()
    tombstones_version: int | None = None
    put: tuple[NewSegment, ...] = ()
    drop: frozenset[int] = frozenset()
    epoch: Epoch | None = None
    fresh_at_s: float | None = None


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """One segment that is held. `version`, `digest`, `name`: as published; of an own one 0 and empty."""

    source: Source
    number: int
    version: int
    digest: str
    name: str
    people: int
    references: int


@dataclass(frozen=True, slots=True)
class Status:
    """What the manifest says: nobody's record is opened.

    `version` counts changes of who is enrolled. `epoch`: the one in force. `segments`: those whose file is
    there. `tombstones_version`: 0 before the first list. `fresh_at_s`: None for a gallery that never came
    from an acquirer. `since_s`: when this gallery was begun; 0 for one that came from `gallery.fpk`.
    """

    version: int
    epoch: Epoch
    segments: tuple[StoredSegment, ...] = ()
    tombstones_version: int = 0
    neighbours: frozenset[str] = frozenset()
    fresh_at_s: float | None = None
    since_s: int = 0

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
