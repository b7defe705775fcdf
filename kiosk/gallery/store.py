"""The gallery on disk: sealed, checked before it is believed, kept twice, without whoever was forgotten.

    file  = header | ChaCha20-Poly1305(sealed body) | 16 byte tag        header is authenticated, not secret
    header = magic 8 | format u16 | gallery version u64 | people u32 | references u32 | nonce 12
    body  = length u32 | MessagePack list of people | float32[references, 192]            all little-endian

`save` writes both copies (`gallery.fpk`, `gallery.fpk.copy`) from the same gallery, so that whoever was
forgotten is in neither when it returns; a crash at any moment leaves at least one good file. `load` takes the
copy when the file is damaged, and says so. Plain text exists in memory only, in buffers that are overwritten.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Self

import msgspec
import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import Limits
from kiosk.domain.money import MAX_MINOR
from kiosk.domain.ports import KeyPort
from kiosk.gallery.gallery import Engine, Gallery
from kiosk.gallery.template import MAX_REFERENCES, MAX_TEXT, TEMPLATE_SIZE, PayerRecord, Reference, Template

__all__ = ["COPY_SUFFIX", "PURPOSE", "GalleryDamaged", "GalleryStore", "Loaded"]

PURPOSE: Final = "gallery"
"""What the key port derives the sealing key for."""
COPY_SUFFIX: Final = ".copy"
MAX_PEOPLE: Final = 1_000_000
MAX_BODY_BYTES: Final = 2**31 - 1 - 64
"""What the AEAD takes in one piece."""

_NEW_SUFFIX: Final = ".new"
_MAGIC: Final = b"FPGAL\r\n\x1a"  # the line end shows a transfer that changed it, as in PNG's signature
_FORMAT: Final = 1
_HEADER: Final = struct.Struct("<8sHQII12s")
_LENGTH: Final = struct.Struct("<I")
_TAG: Final = 16
_VECTOR: Final = TEMPLATE_SIZE * 4


class GalleryDamaged(OperatorError):  # noqa: N818 - read as a sentence: the gallery is damaged
    """A gallery file that can't be believed: cut off, changed, or sealed with another key."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A gallery and, when the file had to be replaced by its copy, one line that the caller shows."""

    gallery: Gallery
    warning: str | None = None


_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
_Minor = Annotated[int, msgspec.Meta(ge=0, le=MAX_MINOR)]


class _Person(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A record as it is written; its vectors stand in the block, in the same order."""

    token: _Text
    masked_name: _Text
    masked_account: _Text
    digits: Annotated[str, msgspec.Meta(max_length=4)]
    consent_ref: _Text
    enrolled_at_s: int
    model_id: _Text
    references: Annotated[int, msgspec.Meta(ge=1, le=MAX_REFERENCES)]
    limit_per_payment: _Minor | None = None
    limit_per_day: _Minor | None = None


@dataclass(frozen=True, slots=True)
class _Header:
    version: int
    people: int
    references: int
    nonce: bytes

    def pack(self) -> bytes:
        return _HEADER.pack(_MAGIC, _FORMAT, self.version, self.people, self.references, self.nonce)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """The header of a file's first bytes; ValueError for what this program did not write."""
        if len(raw) != _HEADER.size:
            raise ValueError("it is cut off")
        magic, layout, version, people, references, nonce = _HEADER.unpack(raw)
        if magic != _MAGIC:
            raise ValueError("it is not a gallery")
        if layout != _FORMAT:
            raise ValueError(f"its format is {layout}, this program reads {_FORMAT}")
        if people > MAX_PEOPLE or references > people * MAX_REFERENCES:
            raise ValueError("it claims more people than a gallery holds")
        return cls(version, people, references, nonce)


class GalleryStore:
    """Keeps one gallery at `path` (and `path` + `.copy`), sealed with the key that `key` derives."""

    def __init__(self, path: Path, key: KeyPort) -> None:
        self._path = path
        self._copy = path.with_name(path.name + COPY_SUFFIX)
        self._key = key
        self._version_on_disk: int | None = None

    def load(self, engine: Engine = Engine.SHIPPED) -> Loaded:
        """What was saved last; an empty gallery where nothing ever was.

        OperatorError when neither file can be believed: the kiosk must not start with people missing.
        """
        if not self._path.exists() and not self._copy.exists():
            return Loaded(Gallery(engine=engine))
        try:
            return self._loaded(_open(self._path, self._secret(), engine))
        except GalleryDamaged as damaged:
            try:
                gallery = _open(self._copy, self._secret(), engine)
            except GalleryDamaged as copy_damaged:
                raise OperatorError(
                    f"no gallery can be opened: {damaged.what}; the copy: {copy_damaged.what}",
                    where=str(self._path),
                    do="Put back this kiosk's key, or both files from a backup; "
                    "or move them away to start with nobody enrolled",
                ) from damaged
            return self._loaded(gallery, f"{damaged}. The copy of it is used ({gallery.size} people)")

    def save(self, gallery: Gallery) -> None:
        """Write both copies, one process at a time. OperatorError when the disk refuses; an old file is left.

        The new file is on the disk before the old copy goes, and the old copy goes before the new file takes
        its name: so no crash leaves a forgotten person in a copy beside a file that lacks them.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(_new(self._path), gallery, self._secret())
            _unlink(self._copy)
            _sync_directory(self._path.parent)
            _new(self._path).replace(self._path)
            _sync_directory(self._path.parent)
            _write(_new(self._copy), gallery, self._secret())
            _new(self._copy).replace(self._copy)
            _sync_directory(self._path.parent)
        except OSError as error:
            raise OperatorError(
                f"the gallery can't be written ({error.strerror})",
                where=str(self._path),
                do="Check the disk's free space and the directory's owner",
            ) from error
        self._version_on_disk = gallery.version

    def forget(self, gallery: Gallery, token: str) -> bool:
        """Remove a person from `gallery` and from the disk; False when nobody has that token.

        When the disk refuses (OperatorError) the person is gone from memory already; calling again writes.
        """
        found = gallery.forget(token)
        if gallery.version != self._version_on_disk:
            self.save(gallery)
        return found

    def _loaded(self, gallery: Gallery, warning: str | None = None) -> Loaded:
        self._version_on_disk = gallery.version if warning is None else None
        return Loaded(gallery, warning)

    def _secret(self) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(self._key.derive(PURPOSE))


def _open(path: Path, secret: ChaCha20Poly1305, engine: Engine) -> Gallery:
    """Read, check, decrypt, parse: in that order. GalleryDamaged says which step failed."""
    try:
        size = path.stat().st_size
        if size > MAX_BODY_BYTES + _HEADER.size + _TAG:
            raise ValueError("it is larger than a gallery can be")
        with path.open("rb") as file:
            header = _Header.parse(file.read(_HEADER.size))
            sealed = file.read(size)
        with _wiped(bytearray(max(0, len(sealed) - _TAG))) as body:
            if len(body) < _LENGTH.size + header.references * _VECTOR:
                raise ValueError("it is cut off")
            secret.decrypt_into(header.nonce, sealed, header.pack(), body)
            return Gallery(_parse(header, memoryview(body)), version=header.version, engine=engine)
    except InvalidTag as error:
        what = "the gallery was changed, or was sealed with another key"
        raise GalleryDamaged(what, where=str(path)) from error
    except FileNotFoundError as error:
        raise GalleryDamaged("the gallery is missing", where=str(path)) from error
    except OSError as error:
        raise GalleryDamaged(f"the gallery can't be read ({error.strerror})", where=str(path)) from error
    except (ValueError, msgspec.MsgspecError) as error:
        raise GalleryDamaged(f"the gallery is damaged: {error}", where=str(path)) from error


def _parse(header: _Header, body: memoryview) -> Iterator[PayerRecord]:
    """The records of a decrypted body; ValueError where it does not fit its header."""
    (length,) = _LENGTH.unpack_from(body)
    listed, block = body[_LENGTH.size : _LENGTH.size + length], body[_LENGTH.size + length :]
    people = msgspec.msgpack.decode(listed, type=list[_Person])
    if len(people) != header.people or sum(person.references for person in people) != header.references:
        raise ValueError("it holds other people than it claims")
    if len(block) != header.references * _VECTOR:
        raise ValueError("its templates do not fit its people")
    vectors = iter(np.frombuffer(block, "<f4").reshape(-1, TEMPLATE_SIZE))
    for person in people:
        yield PayerRecord(
            token=person.token,
            masked_name=person.masked_name,
            masked_account=person.masked_account,
            digits=person.digits,
            consent_ref=person.consent_ref,
            enrolled_at_s=person.enrolled_at_s,
            references=tuple(
                Reference(Template(next(vectors)), person.model_id) for _ in range(person.references)
            ),
            limits=Limits(person.limit_per_payment, person.limit_per_day),
        )


def _write(path: Path, gallery: Gallery, secret: ChaCha20Poly1305) -> None:
    """A sealed gallery in a new file that only its owner may read, on the disk when this returns."""
    records = gallery.records()
    references = [reference for record in records for reference in record.references]
    header = _Header(gallery.version, len(records), len(references), os.urandom(12))
    listed = msgspec.msgpack.encode([_person(record) for record in records])
    if header.people > MAX_PEOPLE or len(listed) + len(references) * _VECTOR > MAX_BODY_BYTES:
        raise OperatorError(
            f"{header.people} people are more than one gallery holds",
            where=str(path),
            do=f"Keep at most {MAX_PEOPLE} people on a kiosk",
        )
    with _wiped(bytearray(_LENGTH.size + len(listed) + len(references) * _VECTOR)) as body:
        _LENGTH.pack_into(body, 0, len(listed))
        start = _LENGTH.size + len(listed)
        body[_LENGTH.size : start] = listed
        for number, reference in enumerate(references):
            at = start + number * _VECTOR
            body[at : at + _VECTOR] = reference.template.vector.astype("<f4", copy=False).data.cast("B")
        sealed = bytearray(len(body) + _TAG)
        secret.encrypt_into(header.nonce, body, header.pack(), sealed)
    _unlink(path)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(header.pack())
        file.write(sealed)
        file.flush()
        os.fsync(file.fileno())


def _person(record: PayerRecord) -> _Person:
    return _Person(
        record.token,
        record.masked_name,
        record.masked_account,
        record.digits,
        record.consent_ref,
        record.enrolled_at_s,
        record.model_id,
        len(record.references),
        record.limits.per_payment,
        record.limits.per_person_day,
    )


@contextmanager
def _wiped(buffer: bytearray) -> Iterator[bytearray]:
    """A buffer that is overwritten when the block ends."""
    try:
        yield buffer
    finally:
        buffer[:] = bytes(len(buffer))


def _new(path: Path) -> Path:
    return path.with_name(path.name + _NEW_SUFFIX)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
