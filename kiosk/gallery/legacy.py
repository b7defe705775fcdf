"""`gallery.fpk`: the one sealed file that a gallery was before it had segments. Read once, then taken over.

file  = header | ChaCha20-Poly1305(sealed body) | 16 byte tag        header is authenticated, not secret
header = magic 8 | format u16 | gallery version u64 | people u32 | references u32 | nonce 12
body  = length u32 | MessagePack list of people | float32[references, 192]            all little-endian
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Annotated, Final

import msgspec
import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import Limits
from kiosk.gallery.manifest import GalleryDamaged, believed
from kiosk.gallery.segment import wiped
from kiosk.gallery.template import MAX_REFERENCES, TEMPLATE_SIZE, PayerRecord, Reference, Template

__all__ = ["LegacyFile"]

MAX_BODY_BYTES: Final = 2**31 - 1 - 64
"""What the AEAD takes in one piece."""

_MAGIC: Final = b"FPGAL\r\n\x1a"
_FORMAT: Final = 1
_HEADER: Final = struct.Struct("<8sHQII12s")
_LENGTH: Final = struct.Struct("<I")
_TAG: Final = 16
_VECTOR: Final = TEMPLATE_SIZE * 4


class _Person(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A record as it was written; its vectors stand in the block, in the same order."""

    token: str
    masked_name: str
    masked_account: str
    digits: str
    consent_ref: str
    enrolled_at_s: int
    model_id: str
    references: Annotated[int, msgspec.Meta(ge=1, le=MAX_REFERENCES)]
    limit_per_payment: int | None = None
    limit_per_day: int | None = None


class LegacyFile:
    """The file at `path`, its copy, and what was half-written of both; `secret` sealed them."""

    def __init__(self, path: Path, secret: bytes) -> None:
        self.path, self._secret = path, secret
        self._files = tuple(
            path.with_name(path.name + suffix) for suffix in ("", ".copy", ".new", ".copy.new")
        )

    def is_there(self) -> bool:
        """Whether any of them is."""
        return any(file.exists() for file in self._files)

    def drop(self) -> None:
        """Delete all of them. OSError for what the system refuses."""
        for file in self._files:
            file.unlink(missing_ok=True)

    def read(self) -> tuple[int, list[PayerRecord], str | None]:
        """Version and people of the file, or of its copy; with a line for the operator in that case.

        OperatorError when neither can be believed: the kiosk must not start with people missing.
        """
        path, copy, *_ = self._files
        try:
            return *_open(path, self._secret), None
        except GalleryDamaged as damaged:
            try:
                return *_open(copy, self._secret), f"{damaged}. The copy of it is used"
            except GalleryDamaged as copy_damaged:
                raise OperatorError(
                    f"no gallery can be opened: {damaged.what}; the copy: {copy_damaged.what}",
                    where=str(path),
                    do="Put back this kiosk's key, or both files from a backup; "
                    "or move them away to start with nobody enrolled",
                ) from damaged


def _open(path: Path, secret: bytes) -> tuple[int, list[PayerRecord]]:
    """Read, check, decrypt, parse: in that order. GalleryDamaged says which step failed."""
    with believed(path):
        if path.stat().st_size > MAX_BODY_BYTES + _HEADER.size + _TAG:
            raise ValueError("it is larger than a gallery can be")
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
            sealed = file.read()
        if len(header) != _HEADER.size or len(sealed) < _LENGTH.size + _TAG:
            raise ValueError("it is cut off")
        magic, layout, version, people, references, nonce = _HEADER.unpack(header)
        if magic != _MAGIC:
            raise ValueError("it is not a gallery")
        if layout != _FORMAT:
            raise ValueError(f"its format is {layout}, this program reads {_FORMAT}")
        with wiped(bytearray(len(sealed) - _TAG)) as body:
            ChaCha20Poly1305(secret).decrypt_into(nonce, sealed, header, body)
            return version, _parsed(memoryview(body), people, references)


def _parsed(body: memoryview, people: int, references: int) -> list[PayerRecord]:
    """The records of a decrypted body; ValueError where it does not fit its header."""
    (length,) = _LENGTH.unpack_from(body)
    listed, block = body[_LENGTH.size : _LENGTH.size + length], body[_LENGTH.size + length :]
    persons = msgspec.msgpack.decode(listed, type=list[_Person])
    if len(persons) != people or sum(person.references for person in persons) != references:
        raise ValueError("it holds other people than it claims")
    if len(block) != references * _VECTOR:
        raise ValueError("its templates do not fit its people")
    vectors = iter(np.frombuffer(block, "<f4").reshape(-1, TEMPLATE_SIZE))
    return [
        PayerRecord(
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
        for person in persons
    ]
