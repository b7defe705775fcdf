"""A segment: up to a thousand people of a gallery in one sealed piece that fits one place only.

    segment = header | ChaCha20-Poly1305(body) | 16 byte tag
    header  = magic 8 | format u16 | people u32 | references u32 | nonce 12
    body    = length u32 | MessagePack list of people | float32[references, 192]            all little-endian

Header and place (which epoch, number and version) are authenticated: a segment in another's place, of another
time or with other counts does not open. Plain text is in memory only, in a buffer that is overwritten.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from sys import intern
from typing import Annotated, Final

import msgspec
import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from kiosk.domain.limits import NO_LIMITS, Limits
from kiosk.domain.money import MAX_MINOR
from kiosk.gallery.template import MAX_REFERENCES, MAX_TEXT, TEMPLATE_SIZE, PayerRecord, Reference, Template

__all__ = ["MAX_SEGMENT_BYTES", "SEGMENT_PEOPLE", "Place", "SegmentError", "open_segment", "seal", "wiped"]

SEGMENT_PEOPLE: Final = 1_000
"""People of one segment: about 1 MB, small enough to write anew for one deletion."""
MAX_SEGMENT_BYTES: Final = 16 * 2**20
"""Longer is refused unread: a thousand people with eight references each are 7 MB."""

_MAGIC: Final = b"FPSEG\r\n\x1a"  # the line end shows a transfer that changed it, as in PNG's signature
_FORMAT: Final = 1
_HEADER: Final = struct.Struct("<8sHII12s")
_LENGTH: Final = struct.Struct("<I")
_TAG: Final = 16
_VECTOR: Final = TEMPLATE_SIZE * 4

_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
_Minor = Annotated[int, msgspec.Meta(ge=0, le=MAX_MINOR)]


class SegmentError(ValueError):
    """A segment that can't be believed; the text says why in words for an operator."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a segment belongs: its epoch (`Epoch.id`), its number from 0, and which version of it this is."""

    epoch_id: str
    number: int
    version: int

    def bound(self) -> bytes:
        """What is authenticated of it."""
        return f"|{self.epoch_id}|{self.number}|{self.version}".encode()


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
    keep_until_s: int | None = None
    consent_text: _Text = ""
    by_guardian: bool = False


def seal(key: bytes, place: Place, records: Sequence[PayerRecord]) -> bytearray:
    """`records` sealed under `key` (32 bytes) for `place`. ValueError for more than `SEGMENT_PEOPLE`."""
    if len(records) > SEGMENT_PEOPLE:
        raise ValueError(f"{len(records)} people are more than a segment holds")
    listed = msgspec.msgpack.encode([_person(record) for record in records])
    references = [reference for record in records for reference in record.references]
    start = _LENGTH.size + len(listed)
    nonce = os.urandom(12)
    header = _HEADER.pack(_MAGIC, _FORMAT, len(records), len(references), nonce)
    with wiped(bytearray(start + len(references) * _VECTOR)) as body:
        _LENGTH.pack_into(body, 0, len(listed))
        body[_LENGTH.size : start] = listed
        for number, reference in enumerate(references):
            at = start + number * _VECTOR
            body[at : at + _VECTOR] = reference.template.vector.astype("<f4", copy=False).data.cast("B")
        sealed = bytearray(len(header) + len(body) + _TAG)
        sealed[: len(header)] = header
        with memoryview(sealed)[len(header) :] as rest:
            ChaCha20Poly1305(key).encrypt_into(nonce, body, header + place.bound(), rest)
    return sealed


def open_segment(key: bytes, place: Place, sealed: bytes | bytearray | memoryview) -> list[PayerRecord]:
    """The people of a segment that was sealed under `key` for `place`.

    Raises:
        SegmentError: cut off, changed, of another place or key, or not what it claims.
    """
    with memoryview(sealed) as whole:
        if not _HEADER.size + _LENGTH.size + _TAG <= len(whole) <= MAX_SEGMENT_BYTES:
            raise SegmentError("it is cut off, or larger than a segment can be")
        header = bytes(whole[: _HEADER.size])
        magic, layout, people, references, nonce = _HEADER.unpack(header)
        if magic != _MAGIC:
            raise SegmentError("it is not a segment of a gallery")
        if layout != _FORMAT:
            raise SegmentError(f"its format is {layout}, this program reads {_FORMAT}")
        if people > SEGMENT_PEOPLE or references > people * MAX_REFERENCES:
            raise SegmentError("it claims more people than a segment holds")
        with wiped(bytearray(len(whole) - _HEADER.size - _TAG)) as body:
            try:
                ChaCha20Poly1305(key).decrypt_into(nonce, whole[_HEADER.size :], header + place.bound(), body)
                with memoryview(body) as plain:
                    return _parsed(plain, people, references)
            except InvalidTag:
                raise SegmentError("it was changed, belongs elsewhere, or has another key") from None
            except (ValueError, struct.error) as error:  # msgspec's are ValueErrors
                raise SegmentError(f"it is damaged: {error}") from None


def _parsed(body: memoryview, people: int, references: int) -> list[PayerRecord]:
    """The records of a decrypted body; ValueError where it does not fit its header."""
    (length,) = _LENGTH.unpack_from(body)
    with body[_LENGTH.size : _LENGTH.size + length] as listed, body[_LENGTH.size + length :] as block:
        persons = msgspec.msgpack.decode(listed, type=list[_Person])
        if len(persons) != people or sum(person.references for person in persons) != references:
            raise ValueError("it holds other people than it claims")
        if len(block) != references * _VECTOR:
            raise ValueError("its templates do not fit its people")
        vectors = np.frombuffer(block, "<f4").reshape(-1, TEMPLATE_SIZE)
        records, at = [], 0
        for person in persons:
            records.append(_record(person, vectors[at : at + person.references]))
            at += person.references
        del vectors
        return records


def _record(person: _Person, vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> PayerRecord:
    model_id = intern(person.model_id)  # the same for everybody: kept once, not for each
    return PayerRecord(
        token=person.token,
        masked_name=person.masked_name,
        masked_account=person.masked_account,
        digits=person.digits,
        consent_ref=person.consent_ref,
        enrolled_at_s=person.enrolled_at_s,
        references=tuple(Reference(Template(vector), model_id) for vector in vectors),
        limits=NO_LIMITS
        if person.limit_per_payment is person.limit_per_day is None
        else Limits(person.limit_per_payment, person.limit_per_day),
        keep_until_s=person.keep_until_s,
        consent_text=intern(person.consent_text),
        by_guardian=person.by_guardian,
    )


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
        record.keep_until_s,
        record.consent_text,
        record.by_guardian,
    )


@contextmanager
def wiped(buffer: bytearray) -> Iterator[bytearray]:
    """A buffer that is overwritten when the block ends."""
    try:
        yield buffer
    finally:
        buffer[:] = bytes(len(buffer))
