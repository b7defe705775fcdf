"""New segment files for a change: who leaves, who comes, what a sync brings, all turned over to a new epoch.

Each function writes files that no manifest names yet and gives the manifest or the entries that would: until
that is written, nothing has changed. Records that are opened on the way are overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.gallery.change import Change, NewSegment, Source
from kiosk.gallery.epoch import Epoch
from kiosk.gallery.manifest import Entry, Manifest
from kiosk.gallery.segment import Place
from kiosk.gallery.segment_files import SegmentFiles, wipe
from kiosk.gallery.template import PayerRecord
from kiosk.gallery.turning import turned_over

__all__ = ["OWN_PEOPLE", "only_own", "with_person", "with_segments", "without"]

OWN_PEOPLE: Final = 250
"""People of one own segment: an enrolment writes it anew, twice; 200 kB with one reference each."""

Entries = tuple[Entry, ...]


def without(
    files: SegmentFiles, manifest: Manifest, tokens: frozenset[str]
) -> tuple[Entries, frozenset[str]]:
    """The entries with `tokens` in no segment, and which of them were in one."""
    epoch_id, entries, found = manifest.epoch.id, [], set[str]()
    for entry in manifest.entries:
        there = files.tokens(entry, epoch_id) & tokens
        if not there:
            entries.append(entry)
            continue
        found |= there
        records, _ = files.open(entry, epoch_id)
        left = [record for record in records if record.token not in there]
        try:
            if left or entry.source is Source.ACQUIRER:
                place = Place(epoch_id, entry.number, manifest.written + 1)
                entries.append(files.write(entry.source, place, left, entry))
        finally:
            wipe(records)
    return tuple(entries), frozenset(found)


def with_person(files: SegmentFiles, manifest: Manifest, entries: Entries, record: PayerRecord) -> Entries:
    """`entries` with one more own person, in the last own segment that has room."""
    one_network(entries, record.model_id)
    epoch_id = manifest.epoch.id
    own = [entry for entry in entries if entry.source is Source.OWN]
    room = next((entry for entry in reversed(own) if entry.people < OWN_PEOPLE), None)
    number = room.number if room else max((entry.number for entry in own), default=-1) + 1
    others = files.open(room, epoch_id)[0] if room else []
    place = Place(epoch_id, number, manifest.written + 1)
    try:
        made = files.write(Source.OWN, place, [*others, record])
    finally:
        wipe(others)
    return (*(entry for entry in entries if entry is not room), made)


def only_own(files: SegmentFiles, written: int, epoch: Epoch, records: Sequence[PayerRecord]) -> Entries:
    """Entries for `records`, which are turned into `epoch` already, as own people."""
    return tuple(
        files.write(
            Source.OWN, Place(epoch.id, start // OWN_PEOPLE, written), records[start : start + OWN_PEOPLE]
        )
        for start in range(0, len(records), OWN_PEOPLE)
    )


def with_segments(files: SegmentFiles, manifest: Manifest, change: Change) -> Manifest:
    """The manifest after a sync's segments.

    Who is enrolled here and published as well is held once: as published, unless enrolled here later.

    Raises:
        ProtocolError: a token is in two of the acquirer's segments.
        OperatorError: the templates are another network's than those held.
    """
    old = manifest.epoch
    epoch = change.epoch or old
    switched = epoch.id != old.id
    replaced = change.drop | {segment.number for segment in change.put}
    own = [entry for entry in manifest.entries if entry.source is Source.OWN]
    held = (
        []
        if switched
        else [
            entry
            for entry in manifest.entries
            if entry.source is Source.ACQUIRER and entry.number not in replaced
        ]
    )
    enrolled_at = _enrolled_at(files, old, own) if change.put else {}
    gone = manifest.gone | change.deletions

    def is_wanted(record: PayerRecord) -> bool:
        return record.token not in gone and enrolled_at.get(record.token, -1) <= record.enrolled_at_s

    published = set[str]()
    for entry in held:
        published |= files.tokens(entry, old.id)
    for segment in change.put:
        place = Place(epoch.id, segment.number, manifest.written + 1)
        held.append(_put(files, place, segment, is_wanted, published))
    kept = tuple(
        entry
        for before in own
        for entry in _moved(files, before, manifest, epoch, frozenset(published & enrolled_at.keys()))
    )
    entries = (*sorted(held, key=lambda entry: entry.number), *kept)
    one_network(entries)
    moved = bool(change.put) or switched or len(entries) != len(manifest.entries)
    return msgspec.structs.replace(
        manifest,
        version=manifest.version + moved,
        region=epoch.region,
        number=epoch.number,
        secret=epoch.secret,
        entries=entries,
        fresh_at_s=manifest.fresh_at_s if change.fresh_at_s is None else change.fresh_at_s,
    )


def one_network(entries: Sequence[Entry], *others: str) -> None:
    """OperatorError when the templates of `entries`, and of `others`, come from more than one network."""
    models = sorted({*(entry.model_id for entry in entries if entry.people), *others})
    if len(models) > 1:
        raise OperatorError(
            f"templates of {models[0]} can't join those of {models[1]}",
            do="Enrol those of the older network again.",
        )


def _put(
    files: SegmentFiles,
    place: Place,
    segment: NewSegment,
    is_wanted: Callable[[PayerRecord], bool],
    published: set[str],
) -> Entry:
    """A published segment as a file of this kiosk; who is in it is added to `published`."""
    records = segment.records()
    try:
        kept = [record for record in records if is_wanted(record)]
        tokens = {record.token for record in kept}
        if len(tokens) != len(kept) or tokens & published:
            raise ProtocolError(f"{segment.name}: a person is in the gallery twice")
        published |= tokens
        return files.write(Source.ACQUIRER, place, kept, segment)
    finally:
        wipe(records)


def _moved(
    files: SegmentFiles, entry: Entry, manifest: Manifest, epoch: Epoch, superseded: frozenset[str]
) -> Entries:
    """An own segment in `epoch`, without whoever the acquirer publishes now; none when nobody is left."""
    old = manifest.epoch
    if epoch.id == old.id and not files.tokens(entry, old.id) & superseded:
        return (entry,)
    records, _ = files.open(entry, old.id)
    left = [turned_over(record, old, epoch) for record in records if record.token not in superseded]
    wipe(records)
    try:
        place = Place(epoch.id, entry.number, manifest.written + 1)
        return (files.write(Source.OWN, place, left),) if left else ()
    finally:
        wipe(left)


def _enrolled_at(files: SegmentFiles, epoch: Epoch, own: Sequence[Entry]) -> dict[str, int]:
    """When each own person was enrolled, seconds since 1970 (UTC)."""
    found: dict[str, int] = {}
    for entry in own:
        records, _ = files.open(entry, epoch.id)
        found |= {record.token: record.enrolled_at_s for record in records}
        wipe(records)
    return found
