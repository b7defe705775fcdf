"""The segments of a gallery as files of this kiosk, sealed with its own key.

No file is ever changed: each version of a segment is another file, and the manifest says which ones count.
Own segments are kept twice, the acquirer's once: it gives them again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from kiosk.files import write_whole
from kiosk.gallery.change import NewSegment, Source
from kiosk.gallery.manifest import Entry, GalleryDamaged, believed, subkey
from kiosk.gallery.segment import MAX_SEGMENT_BYTES, Place, open_segment, seal
from kiosk.gallery.template import PayerRecord

__all__ = ["SegmentFiles", "wipe"]

COPY_SUFFIX: Final = ".copy"


class SegmentFiles:
    """The segment files in `folder`; `secret` (32 bytes) is the kiosk's for its gallery."""

    def __init__(self, folder: Path, secret: bytes) -> None:
        self._folder = folder
        self._keys = {source: subkey(secret, f"segment {source}") for source in Source}
        self._tokens: dict[str, frozenset[str]] = {}  # by file, of those that were opened or written
        self.damaged: set[str] = set()
        """Files that could not be believed, as far as anyone looked."""

    def write(
        self,
        source: Source,
        place: Place,
        records: Sequence[PayerRecord],
        published: NewSegment | Entry | None = None,
    ) -> Entry:
        """A new file with `records`, on the disk when this returns (its name only after `sync`)."""
        sealed = seal(self._keys[source], place, records)
        entry = Entry(
            source,
            place.number,
            place.version,
            hashlib.sha256(sealed).digest(),
            len(records),
            sum(len(record.references) for record in records),
            records[0].model_id if records else "",
            *((published.version, published.digest, published.name) if published else ()),
        )
        for path in self._paths(entry):
            path.unlink(missing_ok=True)  # left by a change that was cut off
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(sealed)
                file.flush()
                os.fsync(file.fileno())
        self._tokens[entry.file] = frozenset(record.token for record in records)
        self.damaged.discard(entry.file)
        return entry

    def open(self, entry: Entry, epoch_id: str) -> tuple[list[PayerRecord], str | None]:
        """The people of a segment, and a line for the operator where its copy had to be used.

        GalleryDamaged when no file of it can be believed.
        """
        path, *copies = self._paths(entry)
        try:
            return self._opened(path, entry, epoch_id), None
        except GalleryDamaged as damaged:
            for copy in copies:
                try:
                    return self._opened(copy, entry, epoch_id), f"{damaged}. Its copy is used"
                except GalleryDamaged:
                    continue
            self.damaged.add(entry.file)
            raise

    def tokens(self, entry: Entry, epoch_id: str) -> frozenset[str]:
        """Who is in a segment; of one that can't be believed, nobody."""
        found = self._tokens.get(entry.file)
        if found is not None:
            return found
        try:
            records, _ = self.open(entry, epoch_id)
        except GalleryDamaged:
            return frozenset()
        wipe(records)
        return frozenset(record.token for record in records)

    def knows(self, entry: Entry) -> bool:
        """Whether it was opened or written by this process."""
        return entry.file in self._tokens

    def is_there(self, entry: Entry) -> bool:
        """Whether a file of it lies here, and was not found damaged so far."""
        return entry.file not in self.damaged and any(path.exists() for path in self._paths(entry))

    def problems(self, entry: Entry, epoch_id: str) -> tuple[str, ...]:
        """Open each file of a segment: one line for each that can't be believed."""
        found, paths = [], self._paths(entry)
        for path in paths:
            try:
                wipe(self._opened(path, entry, epoch_id))
            except GalleryDamaged as damaged:
                found.append(str(damaged))
        if len(found) == len(paths):
            self.damaged.add(entry.file)  # a sync fetches it again
        return tuple(found)

    def mend(self, entry: Entry) -> None:
        """Write a segment's file again from its copy, or the copy from the file, where one is broken."""
        paths = self._paths(entry)
        found = {path: _is_file_of(path, entry) for path in paths}
        good = next((path for path, is_good in found.items() if is_good), None)
        if good is not None:
            for path in paths:
                if not found[path]:
                    write_whole(path, good.read_bytes())

    def sync(self) -> None:
        """The names of what was written outlive a power cut when this returns."""
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def sweep(self, entries: Iterable[Entry]) -> None:
        """Delete every segment file but those of `entries`, and what was cut off while it was written.

        Whoever was forgotten is in no other file then.
        """
        kept = {path.name for entry in entries for path in self._paths(entry)}
        for path in (*self._folder.glob("*.seg*"), *self._folder.glob("*.new")):
            if path.name not in kept:
                path.unlink(missing_ok=True)
        for name in self._tokens.keys() - kept:  # also of files that another process deleted
            self._tokens.pop(name, None)

    def _opened(self, path: Path, entry: Entry, epoch_id: str) -> list[PayerRecord]:
        with believed(path):
            if path.stat().st_size > MAX_SEGMENT_BYTES:
                raise ValueError("it is larger than a segment can be")
            sealed = path.read_bytes()
            if hashlib.sha256(sealed).digest() != entry.sha256:
                raise ValueError("it is not the segment that was written")
            place = Place(epoch_id, entry.number, entry.written)
            records = open_segment(self._keys[entry.source], place, sealed)
        self._tokens[entry.file] = frozenset(record.token for record in records)
        return records

    def _paths(self, entry: Entry) -> tuple[Path, ...]:
        path = self._folder / entry.file
        return (path, path.with_name(path.name + COPY_SUFFIX)) if entry.source is Source.OWN else (path,)


def _is_file_of(path: Path, entry: Entry) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).digest() == entry.sha256
    except FileNotFoundError:
        return False


def wipe(records: Iterable[PayerRecord]) -> None:
    """Overwrite the templates of `records`."""
    for record in records:
        record.wipe()
