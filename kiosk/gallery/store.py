"""The gallery on disk: segments sealed for their place, and a manifest that says which of them count.

    gallery/manifest, manifest.copy      see `kiosk.gallery.manifest`
    gallery/<source>-<number>-<n>.seg    see `kiosk.gallery.segment_files`
    gallery.mark  gallery.lock           beside the folder

A change writes new segment files, then the manifest, then deletes the old files: a kill at any moment leaves
the old or the new gallery. Only segments that change are written. Whoever is forgotten is in no file when the
call returns. Plain text exists in memory only, in buffers that are overwritten.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from kiosk.domain.errors import OperatorError
from kiosk.domain.ports import KeyPort
from kiosk.files import alone
from kiosk.gallery.catch_up import caught_up
from kiosk.gallery.change import Change, Source, Status
from kiosk.gallery.epoch import LOCAL_REGION, Epoch
from kiosk.gallery.gallery import Engine, Gallery
from kiosk.gallery.legacy import LegacyFile
from kiosk.gallery.manifest import GalleryDamaged, Manifest, ManifestFile
from kiosk.gallery.rewrite import only_own, with_person, with_segments, without
from kiosk.gallery.segment_files import SegmentFiles, wipe
from kiosk.gallery.template import PayerRecord
from kiosk.gallery.turning import turned

__all__ = ["PURPOSE", "GalleryStore", "Loaded"]

PURPOSE: Final = "gallery"
"""What the key port derives the sealing key for."""
FRESH_EVERY_S: Final = 300
"""Freshness alone is written this often at most: disks wear, and a restart may well take it for older."""
TRIES: Final = 5
"""How often a load begins anew because another process changed the gallery meanwhile."""

_Stamp: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A gallery and, where a file had to be replaced or left out, one line that the caller shows."""

    gallery: Gallery
    warning: str | None = None


class GalleryStore:
    """Keeps one gallery in `folder`, sealed with the key that `key` derives.

    Changes are made by one process and one thread at a time; loading waits for nobody.
    """

    def __init__(self, folder: Path, key: KeyPort) -> None:
        secret = key.derive(PURPOSE)
        self._folder = folder
        self._manifest = ManifestFile(folder, secret)
        self._files = SegmentFiles(folder, secret)
        self._legacy = LegacyFile(folder.with_name(folder.name + ".fpk"), secret)
        self._turn, self._depth = threading.RLock(), 0
        self._epoch: Epoch | None = None
        self._seen: _Stamp | None = None
        self._is_behind = self._is_to_load = False

    # --- reading ----------------------------------------------------------------------------------------

    def load(self, engine: Engine = Engine.SHIPPED) -> Loaded:
        """What was kept last; an empty gallery where nothing ever was.

        A segment of the acquirer's that can't be believed is left out with a warning, until it is fetched
        again. OperatorError when manifest or own people can't be believed, or are older than they were:
        the kiosk must not start with people missing, or with some who were forgotten.
        """
        for _ in range(TRIES):
            manifest, warning = self._read()
            if manifest is None:
                self._epoch = self._epoch or Epoch.new(LOCAL_REGION)
                return Loaded(Gallery(engine=engine, epoch=self._epoch))
            try:
                people, told = self._people(manifest)
            except GalleryDamaged:
                if self._is_newest(manifest):
                    raise
                continue
            if told and not self._is_newest(manifest):
                wipe(people)
                continue
            gallery = Gallery(
                people,
                version=manifest.version,
                engine=engine,
                epoch=self._epoch_of(manifest),
                neighbours=manifest.neighbours,
            )
            return Loaded(gallery, "; ".join(filter(None, (warning, *told))) or None)
        raise OperatorError("the gallery changes all the time", where=str(self._folder), do="Try again.")

    def status(self) -> Status | None:
        """What is kept, by the manifest alone; None where nothing ever was. OperatorError as `load`."""
        manifest, _ = self._read()
        if manifest is None:
            return None
        return Status(
            version=manifest.version,
            epoch=manifest.epoch,
            segments=tuple(entry.told() for entry in manifest.entries if self._files.is_there(entry)),
            tombstones_version=manifest.tombstones_version,
            neighbours=manifest.neighbours,
            fresh_at_s=manifest.fresh_at_s,
            since_s=manifest.since_s,
        )

    def verify(self) -> tuple[str, ...]:
        """Open every file: one line for each that can't be believed. OperatorError as `load`."""
        manifest, warning = self._read()
        if manifest is None:
            return ()
        found = (
            line for entry in manifest.entries for line in self._files.problems(entry, manifest.epoch.id)
        )
        return tuple(filter(None, (warning, *found)))

    def stamp(self) -> _Stamp | None:
        """Another one after every change, by whichever process; None: there is no gallery yet."""
        for path in (self._manifest.path, self._legacy.path):
            try:
                found = path.stat()
            except OSError:
                continue
            return found.st_ino, found.st_mtime_ns, found.st_size
        return None

    def in_step(self, stamp: _Stamp | None) -> None:
        """Whoever uses this store has in memory what was there at `stamp`, and follows its own changes."""
        self._seen = stamp
        self._is_behind = self._is_to_load = False

    def fall_behind(self) -> None:
        """What is in memory is not what this process kept last: it has to be loaded anew."""
        self._is_behind = self._is_to_load = True

    def catch_up(self, gallery: Gallery) -> bool:
        """Bring `gallery` in step with what other processes did; False: it has to be loaded anew."""
        stamp = self.stamp()
        manifest, _ = self._read()
        if self._is_to_load or manifest is None or gallery.epoch is None:
            return False
        if gallery.epoch.id != manifest.epoch.id or not caught_up(self._files, manifest, gallery):
            return False
        self.in_step(stamp)
        return True

    def changed_elsewhere(self) -> bool:
        """Whether another process changed the gallery since `in_step`.

        False while another thread of this one is changing it: ask again.
        """
        if not self._turn.acquire(blocking=False):
            return False
        try:
            return self._is_behind or self.stamp() != self._seen
        finally:
            self._turn.release()

    # --- changing ---------------------------------------------------------------------------------------

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One process and one thread at a time in the block; it may be entered again inside.

        OperatorError for what the disk refuses; what was there before is left.
        """
        try:
            with self._turn:
                if self._depth:
                    yield
                    return
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                with alone(self._folder.with_name(self._folder.name + ".lock")):
                    self._depth = 1
                    try:
                        yield
                    except Exception:
                        self._sweep()  # a disk that is full of what came to nothing holds up a deletion
                        raise
                    finally:
                        self._depth = 0
        except OSError as error:
            raise OperatorError(
                f"the gallery can't be written ({error.strerror})",
                where=str(self._folder),
                do="Check the disk's free space and the directory's owner",
            ) from error

    def save(self, gallery: Gallery) -> None:
        """Keep `gallery` in the place of whatever was there, as own people. ValueError without an epoch."""
        epoch = gallery.epoch
        if epoch is None:
            raise ValueError("templates that were not turned are not kept")
        with self.alone():
            before = self._current(epoch)
            self._commit(
                msgspec.structs.replace(
                    before,
                    version=gallery.version,
                    region=epoch.region,
                    number=epoch.number,
                    secret=epoch.secret,
                    entries=only_own(self._files, before.written + 1, epoch, gallery.records()),
                )
            )

    def enrol(self, gallery: Gallery, record: PayerRecord) -> None:
        """Add a person to `gallery` and to the disk; one with the same token is replaced.

        `record` is as the network made it; a copy that is turned into the gallery's epoch is kept.

        Raises:
            OperatorError: the acquirer withdrew the token, the network is another than the others', or the
                disk refuses; nothing has changed then.
        """
        with self.alone():
            manifest = self._current(gallery.epoch)
            if gallery.epoch is None or gallery.epoch.id != manifest.epoch.id:
                raise ValueError("this gallery is of another epoch: load it anew")
            if record.token in manifest.tombstones:
                raise OperatorError("the acquirer withdrew this token", do="Enrol the person there anew.")
            mine = turned(record, gallery.epoch)
            try:
                entries, _ = without(self._files, manifest, frozenset({record.token}))
                self._commit(
                    msgspec.structs.replace(
                        manifest,
                        version=max(gallery.version, manifest.version) + 1,
                        entries=with_person(self._files, manifest, entries, mine),
                        forgotten=manifest.forgotten - {record.token},
                    )
                )
            except BaseException:
                mine.wipe()
                raise
            gallery.enrol(mine)

    def forget(self, gallery: Gallery, token: str) -> bool:
        """Remove a person from `gallery` and from the disk; False when nobody has that token.

        When the disk refuses (OperatorError) the person is gone from memory already; calling again writes.
        """
        found = gallery.forget(token)
        return bool(self.delete(frozenset({token}))) or found

    def delete(self, tokens: frozenset[str], tombstones_version: int | None = None) -> frozenset[str]:
        """Remove people from the disk, wherever they came from; those who were there.

        With `tombstones_version`, `tokens` is the whole of the acquirer's list of that version.
        """
        with self.alone():
            manifest, _ = self._read()
            if manifest is None and tombstones_version is None:
                return frozenset()
            manifest = manifest or self._current()
            entries, found = without(self._files, manifest, tokens)
            after = msgspec.structs.replace(manifest, version=manifest.version + len(found), entries=entries)
            if tombstones_version is not None:
                after = msgspec.structs.replace(
                    after,
                    tombstones=tokens,
                    tombstones_version=tombstones_version,
                    forgotten=manifest.forgotten - tokens,
                )
            elif manifest.region != LOCAL_REGION:
                after = msgspec.structs.replace(after, forgotten=manifest.forgotten | tokens)
            if after != manifest:
                self._commit(after)
            return found

    def apply(self, change: Change, engine: Engine = Engine.SHIPPED) -> Gallery:
        """Carry out a sync's change, deletions first, each step whole or not at all; what is held then.

        Raises:
            ProtocolError: a token is in two of the acquirer's segments.
            OperatorError: the disk refuses, or the templates are another network's than those held.
        """
        with self.alone():
            if change.deletions or change.tombstones_version is not None:
                self.delete(change.deletions, change.tombstones_version)
            self._commit(with_segments(self._files, self._current(), change))
        return self.load(engine).gallery

    def note(
        self,
        *,
        fresh_at_s: float | None = None,
        neighbours: frozenset[str] | None = None,
        compared: int | None = None,
    ) -> None:
        """Keep when the acquirer's word was last its newest, and who always gives a second factor.

        `compared`: the version of the gallery in which they were found. When people came or went since, whom
        others found stay marked too.
        """
        with self.alone():
            manifest = self._current()
            after = manifest
            known = manifest.fresh_at_s
            if fresh_at_s is not None and (known is None or fresh_at_s - known >= FRESH_EVERY_S):
                after = msgspec.structs.replace(after, fresh_at_s=fresh_at_s)
            if neighbours is not None:
                others = manifest.neighbours if compared not in (None, manifest.version) else frozenset()
                after = msgspec.structs.replace(after, neighbours=neighbours | others)
            if after != manifest:
                self._commit(after)

    def tidy(self) -> None:
        """Delete what a change that was cut off has left behind, and mend what has a good copy."""
        if not self._folder.exists():
            return
        with self.alone():
            manifest, _ = self._read()
            if manifest is None:
                return
            self._files.sweep(manifest.entries)
            self._legacy.drop()
            self._manifest.mend(manifest)
            for entry in manifest.entries:
                self._files.mend(entry)

    # --- inside -----------------------------------------------------------------------------------------

    def _read(self) -> tuple[Manifest | None, str | None]:
        """The manifest, after a `gallery.fpk` was taken over where there is one and no manifest."""
        manifest, warning = self._manifest.read()
        if manifest is None and self._legacy.is_there():
            with self.alone():
                manifest, warning = self._manifest.read()
                if manifest is None:
                    return self._take_over()
        return manifest, warning

    def _current(self, epoch: Epoch | None = None) -> Manifest:
        """The manifest, or that of a gallery that begins now, in `epoch` or one of its own."""
        manifest, _ = self._read()
        if manifest is not None:
            return manifest
        begun = epoch or self._epoch or Epoch.new(LOCAL_REGION)
        return Manifest(0, 0, begun.region, begun.number, begun.secret, int(time.time()))

    def _take_over(self) -> tuple[Manifest, str | None]:
        """The people of `gallery.fpk` in segments, turned; the version goes on from there."""
        version, people, warning = self._legacy.read()
        epoch = self._epoch = Epoch.new(LOCAL_REGION)
        mine = [turned(record, epoch) for record in people]
        try:
            entries = only_own(self._files, 1, epoch, mine)
        finally:
            wipe(people)
            wipe(mine)
        begun = Manifest(0, version, epoch.region, epoch.number, epoch.secret, 0, entries)
        return self._commit(begun), warning

    def _commit(self, manifest: Manifest) -> Manifest:
        """Make `manifest` the one in force, and delete the files that it does not name."""
        manifest = msgspec.structs.replace(manifest, written=manifest.written + 1)
        self._is_behind |= self.stamp() != self._seen
        self._files.sync()
        self._manifest.write(manifest)
        self._seen = self.stamp()
        self._files.sweep(manifest.entries)
        self._legacy.drop()
        return manifest

    def _sweep(self) -> None:
        """Delete what a change that failed has left behind, where it is certain what counts."""
        with suppress(OSError, OperatorError):
            manifest, warning = self._manifest.read()
            if manifest is not None and warning is None:
                self._files.sweep(manifest.entries)

    def _people(self, manifest: Manifest) -> tuple[list[PayerRecord], list[str]]:
        """Everybody in the segments, and a line for each file that could not be believed."""
        people: list[PayerRecord] = []
        told: list[str] = []
        gone = manifest.gone
        for entry in manifest.entries:
            try:
                records, line = self._files.open(entry, manifest.epoch.id)
            except GalleryDamaged as damaged:
                if entry.source is Source.OWN:
                    wipe(people)
                    raise
                records, line = [], f"{damaged}. {entry.people} people wait for the next sync"
            wipe(record for record in records if record.token in gone)  # their file could not be rewritten
            people += (record for record in records if record.token not in gone)
            if line:
                told.append(line)
        return people, told

    def _epoch_of(self, manifest: Manifest) -> Epoch:
        """The epoch in force; the same object while it stays, since its turn is dear to make."""
        epoch = manifest.epoch
        if self._epoch is None or self._epoch.id != epoch.id:
            self._epoch = epoch
        return self._epoch

    def _is_newest(self, manifest: Manifest) -> bool:
        newest, _ = self._read()
        return newest is not None and newest.written == manifest.written
