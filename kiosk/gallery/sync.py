"""What the acquirer publishes, by TUF: the client of its repository, and what is refused of what it serves.

`Repository.refresh` verifies that what is served is fresh, no older than what was seen, one whole, and signed
by those whom the pinned root names; then deletions, segments and other files can be asked for. Whatever is
refused is a `SyncRefused` with a cause of its own, and changes nothing. The only file that knows python-tuf.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import msgspec
from tuf.api import exceptions as tuf
from tuf.api.metadata import Metadata, Root, TargetFile, Targets
from tuf.ngclient import Updater

from kiosk.domain.errors import ProtocolError
from kiosk.gallery.fetch import Fetcher, Paused
from kiosk.gallery.segment import MAX_SEGMENT_BYTES
from kiosk.gallery.template import MAX_TEXT

__all__ = ["Cause", "Published", "Repository", "SyncRefused", "Tombstones"]

MAX_TOMBSTONES_BYTES: Final = 16 * 1024 * 1024
MAX_SEGMENTS: Final = 2_000
NOWHERE: Final = "gallery/-/-"
"""A path that only the role `gallery` could answer for: asking for it fetches and verifies that role."""
NO_TEXT: Final = "consent/-/-"
"""The same for the role `texts`."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SEGMENT: Final = re.compile(r"gallery/([0-9a-f]{16})/(\d{1,6})\.seg", re.ASCII)


class Cause(StrEnum):
    """Why what the repository served is not taken."""

    ROLLBACK = "rollback"
    FREEZE = "freeze"
    MIX_AND_MATCH = "mix_and_match"
    WRONG_KEY = "wrong_key"
    ENDLESS_DATA = "endless_data"
    SLOW = "slow_retrieval"
    ALTERED = "altered"
    INCOMPLETE = "incomplete"
    MALFORMED = "malformed"
    UNREACHABLE = "unreachable"
    NO_KEY = "no_key"
    OTHER_NETWORK = "other_network"
    CLOCK = "clock"


_WORDS: Final = {
    Cause.ROLLBACK: "it serves an older state than this kiosk has seen already",
    Cause.FREEZE: "what it serves has expired: somebody holds back what is newer, its publisher sleeps, "
    "or the clock here is ahead",
    Cause.MIX_AND_MATCH: "it serves files of different states together",
    Cause.WRONG_KEY: "it is not signed by enough of the keys that the pinned root names",
    Cause.ENDLESS_DATA: "it sends more than a file may be long",
    Cause.SLOW: "it sends too slowly",
    Cause.ALTERED: "a file is not the one that was signed for",
    Cause.INCOMPLETE: "a file that it lists can't be had",
    Cause.MALFORMED: "it can't be read as a repository (does another page answer at this address?)",
    Cause.UNREACHABLE: "it can't be reached",
    Cause.NO_KEY: "the acquirer gives no key that opens it",
    Cause.OTHER_NETWORK: "its templates are another network's than this kiosk's",
    Cause.CLOCK: "the clock here is before the last sync, so nobody can tell what has expired",
}


class SyncRefused(ProtocolError):  # noqa: N818 - read as a sentence: the sync is refused
    """What was served is not believed. The gallery stays as it was."""

    def __init__(self, cause: Cause, detail: str) -> None:
        self.cause, self.detail = cause, detail
        super().__init__(f"{cause}: {_WORDS[cause]} ({detail})")


class _Custom(msgspec.Struct, frozen=True):
    """What the publisher says of a segment beside length and hash."""

    region: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    epoch: Annotated[int, msgspec.Meta(ge=0, le=2**32)]
    version: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    people: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    model_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    references: Annotated[int, msgspec.Meta(ge=0, le=8_000_000)]


@dataclass(frozen=True, slots=True)
class Published:
    """One segment as it is signed for: where it stands, what it holds, the SHA-256 of its sealed bytes."""

    epoch_id: str
    number: int
    region: str
    epoch: int
    version: int
    people: int
    references: int
    model_id: str
    sha256: str
    length: int

    @property
    def path(self) -> str:
        return f"gallery/{self.epoch_id}/{self.number}.seg"


class Tombstone(msgspec.Struct, frozen=True):
    """A person who is to be in no gallery."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]


class Tombstones(msgspec.Struct, frozen=True):
    """Who withdrew in the last 90 days; older ones are in no segment any more."""

    version: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    tokens: Annotated[tuple[Tombstone, ...], msgspec.Meta(max_length=1_000_000)]


class Repository:
    """The repository at `url`, believed by `root` (root.json as it was handed over out of band).

    `folder` (there already, one process at a time) holds the metadata that was verified last, which is what
    a rollback is seen by, and downloads that are under way.
    """

    def __init__(self, url: str, root: bytes, folder: Path, fetcher: Fetcher) -> None:
        self._url, self._root, self._folder, self._fetcher = url.rstrip("/") + "/", root, folder, fetcher
        self._updater: Updater | None = None

    def refresh(self) -> None:
        """Verify what is served now, down to which version of each role there is.

        Raises:
            SyncRefused: it is not believed, or can't be had.
            OSError: the disk refuses what is to be kept.
        """
        metadata = self._folder / "metadata"
        metadata.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _explained():
            self._updater = Updater(
                str(metadata),
                self._url + "metadata/",
                str(self._folder),
                self._url + "targets/",
                self._fetcher,
                bootstrap=self._root,
            )
            self._updater.refresh()

    def tombstones(self, region: str) -> Tombstones:
        """Who is to be in no gallery of `region`. To be asked for first. Raises as `refresh`."""
        raw = self.file(f"tombstones/{region}.json", MAX_TOMBSTONES_BYTES)
        try:
            return msgspec.json.decode(raw, type=Tombstones)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise SyncRefused(Cause.MALFORMED, f"tombstones/{region}.json: {error}") from None

    def segments(self, region: str) -> tuple[Published, ...]:
        """All segments of `region`, by epoch and number. Raises as `refresh`."""
        with _explained():
            self._known().get_targetinfo(NOWHERE)
            listed = self._role("gallery").targets
        found = sorted(
            (one for one in map(_published, listed.values()) if one.region == region),
            key=lambda one: (one.epoch, one.number),
        )
        if len(found) > MAX_SEGMENTS:
            raise SyncRefused(Cause.MALFORMED, f"{len(found)} segments of {region}")
        return tuple(found)

    def texts(self) -> dict[str, str]:
        """The consent texts that are published: SHA-256 by path. Raises as `refresh`."""
        with _explained():
            self._known().get_targetinfo(NO_TEXT)
            listed = self._role("texts").targets
        return {path: target.hashes.get("sha256", "") for path, target in listed.items()}

    def segment(self, one: Published) -> Path:
        """Where the sealed bytes of a segment lie, as they were signed for. Raises as `refresh`; `Paused`.

        They stay, also for the next process, until `keep` is called without them.
        """
        place = self._folder / "segments" / f"{one.sha256}.seg"
        with _explained():
            found = self._target(one.path, MAX_SEGMENT_BYTES)
        with _explained(Cause.ALTERED):
            if self._known().find_cached_target(found, str(place)) is None:
                self._known().download_target(found, str(place))
        return place

    def keep(self, wanted: Collection[Published]) -> None:
        """Let go of every downloaded segment but these."""
        names = {f"{one.sha256}.seg" for one in wanted}
        for there in (self._folder / "segments").glob("*"):
            if there.name not in names:
                there.unlink()

    def file(self, path: str, most: int) -> bytes:
        """Any file of the repository, verified, of at most `most` bytes. Raises as `refresh`; `Paused`."""
        with _explained():
            found = self._target(path, most)
        with _explained(Cause.ALTERED):
            there = Path(self._known().download_target(found, str(self._folder / "download")))
            try:
                return there.read_bytes()
            finally:
                there.unlink()

    def _target(self, path: str, most: int) -> TargetFile:
        found = self._known().get_targetinfo(path)
        if found is None:
            raise SyncRefused(Cause.INCOMPLETE, f"{path} is not listed")
        if found.length > most:
            raise SyncRefused(Cause.ENDLESS_DATA, f"{path}: {found.length} bytes")
        return found

    def _known(self) -> Updater:
        if self._updater is None:
            raise RuntimeError("refresh comes first")
        return self._updater

    def _role(self, name: str) -> Targets:
        """The list of a delegated role as python-tuf left it, checked again up to the root."""
        folder = self._folder / "metadata"
        root = Metadata[Root].from_file(str(folder / "root.json")).signed
        targets = Metadata[Targets].from_file(str(folder / "targets.json"))
        root.verify_delegate(Targets.type, targets.signed_bytes, targets.signatures)
        role = Metadata[Targets].from_file(str(folder / f"{name}.json"))
        targets.signed.verify_delegate(name, role.signed_bytes, role.signatures)
        return role.signed


def _published(target: TargetFile) -> Published:
    """SyncRefused: what stands under `gallery/` is no segment."""
    found = _SEGMENT.fullmatch(target.path)
    sha256 = target.hashes.get("sha256", "")
    try:
        if found is None or not _SHA256.fullmatch(sha256):  # a file is named by it
            raise ValueError("not a segment's name and SHA-256")
        custom = msgspec.convert(target.custom or {}, _Custom)
    except (ValueError, msgspec.ValidationError) as error:
        raise SyncRefused(Cause.MALFORMED, f"{target.path[:100]}: {error}") from None
    return Published(
        epoch_id=found[1],
        number=int(found[2]),
        region=custom.region,
        epoch=custom.epoch,
        version=custom.version,
        people=custom.people,
        references=custom.references,
        model_id=custom.model_id,
        sha256=sha256,
        length=target.length,
    )


@contextmanager
def _explained(mismatch: Cause = Cause.MIX_AND_MATCH) -> Iterator[None]:
    """python-tuf's errors as what they mean for a kiosk; its texts are details.

    `mismatch`: what a file is that has another hash than the one it is listed with.
    """
    try:
        yield
    except Paused:
        raise
    except tuf.LengthOrHashMismatchError as error:
        raise SyncRefused(mismatch, str(error)[:200]) from error
    except (tuf.RepositoryError, tuf.DownloadError, tuf.StorageError) as error:
        raise SyncRefused(_cause(error), str(error).splitlines()[0][:200] or type(error).__name__) from error


def _cause(error: Exception) -> Cause:
    match error:
        case tuf.ExpiredMetadataError():
            return Cause.FREEZE
        case tuf.UnsignedMetadataError():
            return Cause.WRONG_KEY
        case tuf.BadVersionNumberError() if _STATES.match(str(error)):
            return Cause.MIX_AND_MATCH
        case tuf.BadVersionNumberError():
            return Cause.ROLLBACK
        case tuf.DownloadLengthMismatchError():
            return Cause.ENDLESS_DATA
        case tuf.SlowRetrievalError():
            return Cause.SLOW
        case tuf.DownloadHTTPError() | tuf.StorageError():
            return Cause.INCOMPLETE
        case tuf.DownloadError():
            return Cause.UNREACHABLE
    return Cause.MALFORMED


_STATES: Final = re.compile(r"Expected (snapshot version \d+, got|\S+ v\d+, got)", re.ASCII)
"""How python-tuf says that a file is of another version than the one that lists it; tests hold it to that."""
