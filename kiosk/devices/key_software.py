"""The kiosk's key in a file: for development, demo and tests (`class=dev`; an acquirer may refuse it).

Made on the device when the file is not there, readable by its owner only, never sent anywhere. The seed for
sealing local data stands beside it. The public half is written as `.pub` for whoever registers this kiosk.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Final, Literal, Self

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from kiosk.devices.ecdsa import raw_signature
from kiosk.domain.errors import OperatorError

__all__ = ["SoftwareKey"]

SEED_BYTES: Final = 32


class SoftwareKey:
    """A P-256 key and a sealing seed in memory; implements `KeyPort`."""

    key_class: Literal["dev", "hardware"] = "dev"

    def __init__(self, key: ec.EllipticCurvePrivateKey, seed: bytes) -> None:
        self._key, self._seed = key, seed
        self._public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.key_id = "dev-" + hashlib.sha256(self._public).hexdigest()[:32]

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """The key at `path` (PKCS#8, PEM) with its `.seed`; both are made, mode 0600, when neither is there.

        Raises:
            OperatorError: damaged, of another kind, half there, or open to others.
        """
        seed_path = path.with_suffix(".seed")
        try:
            if not path.exists() and not seed_path.exists():
                _create(path, seed_path)
            key, seed = _load_key(path), _read(seed_path)
        except OSError as error:
            raise OperatorError(
                f"the kiosk's key can't be used ({error.strerror})",
                where=str(error.filename or path),
                do="Key and seed belong together: restore both, or remove both and enrol everybody again.",
            ) from None
        if len(seed) != SEED_BYTES:
            raise OperatorError(
                "damaged", where=str(seed_path), do="Restore it from the same backup as the key."
            )
        return cls(key, seed)

    def public_key_der(self) -> bytes:
        """SubjectPublicKeyInfo, DER."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """r || s, 64 bytes, of ECDSA P-256 over SHA-256 of `message`; s is the smaller one."""
        return raw_signature(*decode_dss_signature(self._key.sign(message, ec.ECDSA(hashes.SHA256()))))

    def derive(self, purpose: str) -> bytes:
        """HKDF-SHA256 (RFC 5869) of the seed, with `purpose` as info; 32 bytes."""
        return HKDF(hashes.SHA256(), 32, salt=None, info=purpose.encode()).derive(self._seed)

    def check(self) -> None:
        """A key in memory is there."""


def _create(path: Path, seed_path: Path) -> None:
    """Seed first: a cut between the two leaves a seed without a key, which is refused, never a key reused."""
    key = ec.generate_private_key(ec.SECP256R1())
    _write(seed_path, secrets.token_bytes(SEED_BYTES))
    _write(
        path,
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _write(path.with_suffix(".pub"), public)


def _write(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> bytes:
    if path.stat().st_mode & 0o077:
        raise OperatorError("others may read it", where=str(path), do=f"Run: chmod 600 {path}")
    return path.read_bytes()


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise OperatorError("not a P-256 private key", where=str(path), do="Restore it from the backup.")
    return key
