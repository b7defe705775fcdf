"""The gallery in step with the acquirer's: one round is deletions first, then what is lacking, at once.

A round that is refused, or cut off at any moment, leaves the gallery as it was, less the people who were
deleted. Downloads may take several rounds, so that no deletion waits for them; they are applied together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from kiosk.domain.errors import OperatorError
from kiosk.domain.freshness import CLOCK_BACK_S
from kiosk.domain.ports import Clock
from kiosk.files import alone
from kiosk.gallery.change import Change, NewSegment, Source, Status
from kiosk.gallery.epoch import LOCAL_REGION, Epoch
from kiosk.gallery.fetch import Fetcher, Paused
from kiosk.gallery.gallery import Gallery
from kiosk.gallery.neighbours import close_pairs, tokens_of
from kiosk.gallery.segment import Place, SegmentError, open_segment
from kiosk.gallery.store import GalleryStore
from kiosk.gallery.sync import Cause, Published, Repository, SyncRefused
from kiosk.gallery.template import PayerRecord

__all__ = ["Follower", "Round"]

DELETIONS_MS: Final = 20_000
"""How often deletions are asked for while neighbours are looked for."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round came to. `at_s`: when what is held was known to be the newest (UTC).

    `deleted`: who is gone now and was here. `fetched`: segments, `received`: bytes of everything.
    `gallery`: the new one, where anybody came or went. `whole`: False while segments are still to come.
    """

    at_s: float
    deleted: frozenset[str] = frozenset()
    fetched: int = 0
    received: int = 0
    gallery: Gallery | None = None
    whole: bool = True


class Follower:
    """`folder` holds what was verified last and what is on its way; one process at a time uses it.

    `ask`: the epochs that the acquirer has for this kiosk, or `SyncRefused`. `model_id`: the network here.
    `close_from`: the cosine from which two of so many people are neighbours. `withdrawn`: who withdrew here
    and is published still, because the acquirer has not heard of it.
    """

    def __init__(
        self,
        store: GalleryStore,
        folder: Path,
        repository: Callable[[Fetcher], Repository],
        fetcher: Fetcher,
        clock: Clock,
        *,
        ask: Callable[[], Sequence[Epoch]],
        model_id: str,
        close_from: Callable[[int], float],
        withdrawn: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._store, self._folder, self._open, self._fetcher = store, folder, repository, fetcher
        self._clock, self._ask, self._model_id, self._close_from = clock, ask, model_id, close_from
        self._withdrawn = withdrawn
        self._epochs: dict[str, Epoch] = {}
        self._audited: frozenset[int] | None = None
        self._unaudited = folder / "unaudited"
        self.on_deletions: Callable[[Collection[str]], None] = lambda tokens: None
        """Told who withdrew, before anything is written: they are to be found by no search from then on."""
        self.on_whole: Callable[[Repository], None] = lambda repository: None
        """Told when the gallery is in step, to ask for what else the repository holds; must not raise."""
        self.on_progress: Callable[[int, int], None] = lambda done, of: None
        """Told how many of the segments of a round are here."""

    def round(self, budget_s: float | None = None) -> Round:
        """One round; segments are fetched for `budget_s` at most (None: until all are here).

        Raises:
            SyncRefused: what is served is not believed, can't be had or can't be opened.
            ProtocolError: two of its segments hold the same person.
            OperatorError: store or disk refuse.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with alone(self._folder / "lock"):
                return self._round(budget_s)
        except OSError as error:
            raise OperatorError(
                f"what is synced can't be kept ({error.strerror})",
                where=str(self._folder),
                do="Check the disk's free space and the folder's owner.",
            ) from None
        finally:
            self._fetcher.hang_up()  # the next round comes later than a server waits

    def _round(self, budget_s: float | None) -> Round:
        before, received, at_s = self._store.status(), self._fetcher.received, self._clock.utc_s()
        known_s = before.fresh_at_s if before else None
        if known_s is not None and at_s < known_s - CLOCK_BACK_S:
            raise SyncRefused(Cause.CLOCK, f"by {known_s - at_s:.0f} s")
        region = self._region(before)
        repository, deleted = self._deleted(region)
        wanted = self._wanted(repository.segments(region), before)
        held = _held(before, wanted)
        lacking = [one for one in wanted if held.get(one.number) != one.sha256]
        gone = frozenset(held) - {one.number for one in wanted}
        gallery = None
        try:
            files = self._fetch(repository, lacking, budget_s)
        except Paused:
            return Round(at_s, deleted, 0, self._fetcher.received - received, whole=False)
        if lacking or gone:
            epoch = self._epochs[wanted[0].epoch_id] if wanted else None
            put = tuple(_put(one, file, epoch) for one, file in zip(lacking, files, strict=True) if epoch)
            self._unaudited.touch(0o600)
            withdrawn = frozenset(self._withdrawn())
            change = Change(deletions=withdrawn, put=put, drop=gone, epoch=epoch, fresh_at_s=at_s)
            gallery = self._store.apply(change)
        else:
            self._store.note(fresh_at_s=at_s)
            if self._unaudited.exists():  # cut off before they were compared
                gallery = self._store.load().gallery
        repository.keep(())
        self.on_whole(repository)
        if gallery is not None:
            deleted |= self._audit(gallery, region)
        return Round(at_s, deleted, len(lacking), self._fetcher.received - received, gallery)

    # --- steps ------------------------------------------------------------------------------------------

    def _region(self, before: Status | None) -> str:
        """Whose gallery it is: as before, or as the acquirer says."""
        if before is not None and before.epoch.region != LOCAL_REGION:
            self._epochs[before.epoch.id] = before.epoch
        if not self._epochs:
            self._learn()
        return next(iter(self._epochs.values())).region

    def _learn(self) -> None:
        self._epochs |= {epoch.id: epoch for epoch in self._ask()}
        if not self._epochs:
            raise SyncRefused(Cause.NO_KEY, "it publishes no gallery")

    def _deleted(self, region: str) -> tuple[Repository, frozenset[str]]:
        """The repository as it is now; whoever is on a newer list is gone from searches, then from the disk.

        Those who were there are returned.
        """
        repository = self._open(self._fetcher)
        repository.refresh()
        listed, status = repository.tombstones(region), self._store.status()
        known = status.tombstones_version if status else 0
        if listed.version < known:
            raise SyncRefused(Cause.ROLLBACK, f"list {listed.version} of deletions after {known}")
        if listed.version == known:
            return repository, frozenset()
        tokens = frozenset(tombstone.token for tombstone in listed.tokens)
        if tokens:
            self.on_deletions(tokens)
        try:
            return repository, self._store.delete(tokens, listed.version)
        except OperatorError:
            repository.keep(())  # downloads make room on a full disk: they are had again
            return repository, self._store.delete(tokens, listed.version)

    def _wanted(self, listed: Sequence[Published], before: Status | None) -> list[Published]:
        """The segments of the newest epoch, of the network that runs here."""
        if not listed:
            return []
        newest = max(listed, key=lambda one: one.epoch)
        if before and before.epoch.region == newest.region and newest.epoch < before.epoch.number:
            raise SyncRefused(Cause.ROLLBACK, f"epoch {newest.epoch} after {before.epoch.number}")
        if newest.epoch_id not in self._epochs:
            self._learn()
        epoch = self._epochs.get(newest.epoch_id)
        if epoch is None or (epoch.region, epoch.number) != (newest.region, newest.epoch):
            raise SyncRefused(Cause.NO_KEY, f"epoch {newest.epoch}, {newest.epoch_id}")
        of_epoch = [one for one in listed if one.epoch_id == epoch.id]
        wanted = [one for one in of_epoch if one.model_id == self._model_id]
        if of_epoch and not wanted:
            raise SyncRefused(Cause.OTHER_NETWORK, f"{of_epoch[0].model_id}, not {self._model_id}")
        return wanted

    def _fetch(
        self, repository: Repository, lacking: Sequence[Published], budget_s: float | None
    ) -> list[Path]:
        """Where each of the segments lies now. `Paused`: the time was up before."""
        repository.keep(lacking)  # what an earlier state wanted is wanted no more
        files: list[Path] = []
        if budget_s is not None:
            self._fetcher.until_ms = self._clock.monotonic_ms() + int(1000 * budget_s)
        try:
            for one in lacking:
                self.on_progress(len(files), len(lacking))
                files.append(repository.segment(one))
        finally:
            self._fetcher.until_ms = None
        return files

    # --- neighbours -------------------------------------------------------------------------------------

    def audited(self, gallery: Gallery) -> None:
        """`gallery` is what is on the disk, neighbours marked: from here on only who comes is compared."""
        if not self._unaudited.exists():
            self._audited = frozenset(map(_mark, gallery.records()))

    def _audit(self, gallery: Gallery, region: str) -> frozenset[str]:
        """Mark who is too close to another for a face alone, before anybody pays; who was deleted meanwhile.

        Comparing a large gallery takes minutes, and deletions don't wait for it.
        """
        known, deleted, people = self._audited, frozenset[str](), gallery.records()
        fresh = None if known is None else {one.token for one in people if _mark(one) not in known}
        due = self._clock.monotonic_ms() + DELETIONS_MS

        def between(done: int, of: int) -> None:
            nonlocal due, deleted
            if self._clock.monotonic_ms() >= due:
                with suppress(SyncRefused):  # the next round says why
                    deleted |= self._deleted(region)[1]
                due = self._clock.monotonic_ms() + DELETIONS_MS

        found = frozenset[str]()
        if fresh is None or fresh:
            at = self._close_from(gallery.size)
            found = tokens_of(close_pairs(people, at, fresh=fresh, progress=between))
        before = frozenset[str]() if fresh is None else gallery.neighbours
        gallery.neighbours = found | before.intersection(one.token for one in people)
        for token in deleted:
            gallery.forget(token)
        self._store.note(neighbours=gallery.neighbours, compared=gallery.version)
        self._unaudited.unlink(missing_ok=True)
        self._audited = frozenset(map(_mark, people))
        return deleted


def _mark(record: PayerRecord) -> int:
    """A person as they enrolled, in eight bytes: whoever enrolled anew is another."""
    return hash((record.token, record.enrolled_at_s))


def _held(before: Status | None, wanted: Sequence[Published]) -> dict[int, str]:
    """SHA-256 of the published segments that are here, by number; none of another epoch's is any use."""
    if before is None or (wanted and wanted[0].epoch_id != before.epoch.id):
        return {}
    held = {one.number: one for one in before.of(Source.ACQUIRER)}
    for one in wanted:
        if one.number in held and one.version < held[one.number].version:
            raise SyncRefused(
                Cause.ROLLBACK, f"{one.path}: version {one.version} after {held[one.number].version}"
            )
    return {number: one.digest for number, one in held.items()}


def _put(one: Published, file: Path, epoch: Epoch) -> NewSegment:
    return NewSegment(one.number, one.version, one.sha256, one.path, partial(_opened, one, file, epoch))


def _opened(one: Published, file: Path, epoch: Epoch) -> list[PayerRecord]:
    """The people of a published segment. SyncRefused: it doesn't open, or isn't what it was listed as."""
    try:
        place = Place(epoch.id, one.number, one.version)
        records = open_segment(epoch.key("segment"), place, file.read_bytes())
    except SegmentError as error:
        raise SyncRefused(Cause.ALTERED, f"{one.path}: {error}") from None
    if len(records) != one.people or any(record.model_id != one.model_id for record in records):
        raise SyncRefused(Cause.ALTERED, f"{one.path}: other people or another network than listed")
    return records
