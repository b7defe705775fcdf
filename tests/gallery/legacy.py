"""Writes a `gallery.fpk` as releases before segments did: what `kiosk.gallery.legacy` has to read."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from kiosk.gallery.template import PayerRecord

HEADER = struct.Struct("<8sHQII12s")


def write_legacy(
    path: Path, records: Sequence[PayerRecord], *, version: int, key: bytes = b"k" * 32, limits: bool = True
) -> None:
    """`limits`: False for the first releases, whose people had none of their own."""
    persons = [
        (
            one.token,
            one.masked_name,
            one.masked_account,
            one.digits,
            one.consent_ref,
            one.enrolled_at_s,
            one.model_id,
            len(one.references),
            *((one.limits.per_payment, one.limits.per_person_day) if limits else ()),
        )
        for one in records
    ]
    listed = msgspec.msgpack.encode(persons)
    vectors = b"".join(one.vectors().astype("<f4").tobytes() for one in records)
    body = struct.pack("<I", len(listed)) + listed + vectors
    references = sum(len(one.references) for one in records)
    for file in (path, path.with_name(path.name + ".copy")):
        nonce = os.urandom(12)
        header = HEADER.pack(b"FPGAL\r\n\x1a", 1, version, len(records), references, nonce)
        file.write_bytes(header + ChaCha20Poly1305(key).encrypt(nonce, body, header))
