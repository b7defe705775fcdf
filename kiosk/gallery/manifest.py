"""The gallery's manifest: its segments, its epoch, who is gone; sealed, kept twice, never an older one.

    manifest      = header | ChaCha20-Poly1305(MessagePack) | 16 byte tag      and `manifest.copy`, the same
    gallery.mark  = how many manifests were written, under a secret of this kiosk; it lies beside the folder

A new manifest takes the old one's name in one step, then come the mark and the copy: a kill at any moment
leaves the old or the new gallery. A manifest that is older than its mark, or lacks one, somebody put back.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from kiosk.domain.errors import OperatorError
from kiosk.files import write_whole
from kiosk.gallery.change import Source, StoredSegment
from kiosk.gallery.epoch import Epoch
from kiosk.gallery.segment import wiped

__all__ = ["Entry", "GalleryDamaged", "GalleryRolledBack", "Manifest", "ManifestFile", "believed", "subkey"]

MAX_BYTES: Final = 64 * 2**20
"""Longer is refused unread: a thousand segments and a million withdrawn tokens are under 30 MB."""

_MAGIC: Final = b"FPMAN\r\n\x1a"  # the line end shows a transfer that changed it, as in PNG's signature
_FORMAT: Final = 1
_HEADER: Final = struct.Struct("<8sH12s")
_TAG: Final = 16
_COPY_SUFFIX: Final = ".copy"


class GalleryDamaged(OperatorError):  # noqa: N818 - read as a sentence: the gallery is damaged
    """A file of the gallery that can't be believed: cut off, changed, or sealed with another key."""


class GalleryRolledBack(OperatorError):  # noqa: N818 - the gallery is rolled back
    """An older gallery than this kiosk had: whoever was forgotten since would be recognised again."""


class Entry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One segment: its file on this kiosk (`written` is in its name and its place), and what was published.

    `sha256` is that of the file; `version`, `digest` and `name` are the published segment's.
    """

    source: Source
    number: Annotated[int, msgspec.Meta(ge=0)]
    written: Annotated[int, msgspec.Meta(ge=0)]
    sha256: bytes
    people: Annotated[int, msgspec.Meta(ge=0)]
    references: Annotated[int, msgspec.Meta(ge=0)]
    model_id: str
    version: int = 0
    digest: str = ""
    name: str = ""

    @property
    def file(self) -> str:
        """Its file's name; another one for each version, so that no file is ever changed."""
        return f"{self.source}-{self.number:06}-{self.written}.seg"

    def told(self) -> StoredSegment:
        """What others may know of it."""
        return StoredSegment(
            self.source, self.number, self.version, self.digest, self.name, self.people, self.references
        )


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`written` counts manifests, `version` changes of who is enrolled; the epoch is in three parts.

    `tombstones`: the acquirer's newest list; `forgotten`: those of the acquirer's people who were forgotten
    here and are not on it yet. No segment brings either back.
    """

    written: int
    version: int
    region: str
    number: int
    secret: bytes
    since_s: int
    entries: tuple[Entry, ...] = ()
    tombstones: frozenset[str] = frozenset()
    tombstones_version: int = 0
    forgotten: frozenset[str] = frozenset()
    neighbours: frozenset[str] = frozenset()
    fresh_at_s: float | None = None

    def __repr__(self) -> str:
        return f"Manifest(written={self.written}, version={self.version})"

    @property
    def epoch(self) -> Epoch:
        """The epoch in force."""
        return Epoch(self.region, self.number, self.secret)

    @property
    def gone(self) -> frozenset[str]:
        """Tokens that no segment brings back."""
        return self.tombstones | self.forgotten


class ManifestFile:
    """The manifest in `folder`, sealed under `secret` (32 bytes); the mark lies beside the folder."""

    def __init__(self, folder: Path, secret: bytes) -> None:
        self.path = folder / "manifest"
        self._copy = self.path.with_name(self.path.name + _COPY_SUFFIX)
        self._mark = folder.with_name(folder.name + ".mark")
        self._seal = ChaCha20Poly1305(subkey(secret, "manifest"))
        self._mark_secret = subkey(secret, "mark")

    def read(self) -> tuple[Manifest | None, str | None]:
        """The manifest, and a line for the operator where its copy had to be used. None: there never was one.

        Raises:
            GalleryDamaged: neither file can be believed.
            GalleryRolledBack: an older one than this kiosk had, or it was taken away.
        """
        newest = self._marked()  # first: what is written meanwhile is only newer
        if not self.path.exists() and not self._copy.exists():
            if newest:
                raise GalleryRolledBack("the gallery was taken away", where=str(self.path), do=_PUT_BACK)
            return None, None
        try:
            found, warning = self._open(self.path), None
        except GalleryDamaged as damaged:
            try:
                found = self._open(self._copy)
            except GalleryDamaged as copy_damaged:
                raise GalleryDamaged(
                    f"no gallery can be opened: {damaged.what}; the copy: {copy_damaged.what}",
                    where=str(self.path),
                    do=f"Put back this kiosk's key. {_PUT_BACK}",
                ) from damaged
            warning = f"{damaged}. Its copy is used"
        if newest is None or found.written < newest:
            had = "its mark is missing" if newest is None else f"{found.written} after {newest}"
            raise GalleryRolledBack(
                f"the gallery is older than what this kiosk had ({had})", where=str(self.path), do=_PUT_BACK
            )
        return found, warning

    def write(self, manifest: Manifest) -> None:
        """Put `manifest` in the place of the one before it. OSError for what the system refuses."""
        content = msgspec.msgpack.encode(manifest)
        if self._marked() is None:
            self._write_mark(0)  # before the first manifest: one without a mark is not believed
        write_whole(self.path, self._sealed(content))
        self._write_mark(manifest.written)
        write_whole(self._copy, self._sealed(content))

    def mend(self, manifest: Manifest) -> None:
        """Write both files again where one of them is not `manifest`. OSError as `write`."""
        try:
            whole = self._open(self.path) == self._open(self._copy) == manifest
        except GalleryDamaged:
            whole = False
        if not whole:
            self.write(manifest)

    def _open(self, path: Path) -> Manifest:
        """Read, check, decrypt, parse: in that order. GalleryDamaged says which step failed."""
        with believed(path):
            if path.stat().st_size > MAX_BYTES:
                raise ValueError("it is larger than a manifest can be")
            sealed = path.read_bytes()
            if len(sealed) < _HEADER.size + _TAG:
                raise ValueError("it is cut off")
            magic, layout, nonce = _HEADER.unpack_from(sealed)
            if magic != _MAGIC:
                raise ValueError("it is not a gallery")
            if layout != _FORMAT:
                raise ValueError(f"its format is {layout}, this program reads {_FORMAT}")
            with wiped(bytearray(len(sealed) - _HEADER.size - _TAG)) as body:
                rest = memoryview(sealed)[_HEADER.size :]
                self._seal.decrypt_into(nonce, rest, sealed[: _HEADER.size], body)
                return msgspec.msgpack.decode(body, type=Manifest)

    def _sealed(self, content: bytes) -> bytes:
        nonce = os.urandom(12)
        header = _HEADER.pack(_MAGIC, _FORMAT, nonce)
        return header + self._seal.encrypt(nonce, content, header)

    def _marked(self) -> int | None:
        """How many manifests this kiosk wrote, as it wrote down; None when nothing there is its own."""
        try:
            number, _, code = self._mark.read_bytes()[:200].partition(b" ")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OperatorError(f"cannot be read ({error.strerror})", where=str(self._mark)) from None
        return int(number) if hmac.compare_digest(code.strip(), self._code(number)) else None

    def _write_mark(self, written: int) -> None:
        number = b"%d" % written
        write_whole(self._mark, number + b" " + self._code(number) + b"\n")

    def _code(self, number: bytes) -> bytes:
        return hmac.new(self._mark_secret, number, hashlib.sha256).hexdigest().encode()


@contextmanager
def believed(path: Path) -> Iterator[None]:
    """GalleryDamaged for whatever in the block keeps the file at `path` from being believed."""
    try:
        yield
    except InvalidTag as error:
        what = "the gallery was changed, or was sealed with another key"
        raise GalleryDamaged(what, where=str(path)) from error
    except FileNotFoundError as error:
        raise GalleryDamaged("the gallery is missing", where=str(path)) from error
    except OSError as error:
        raise GalleryDamaged(f"the gallery can't be read ({error.strerror})", where=str(path)) from error
    except ValueError as error:  # msgspec's are ValueErrors
        raise GalleryDamaged(f"the gallery is damaged: {error}", where=str(path)) from error


_PUT_BACK: Final = (
    "Put back the newest gallery with its mark; or move gallery, gallery.mark and gallery.fpk away "
    "to start with nobody enrolled"
)


def subkey(secret: bytes, purpose: str) -> bytes:
    """32 bytes for one `purpose` from the kiosk's gallery secret (HKDF, RFC 5869)."""
    return HKDF(hashes.SHA256(), 32, salt=None, info=f"facepay gallery {purpose}".encode()).derive(secret)
