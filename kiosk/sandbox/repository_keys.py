"""The keys of the published repository: one file each, the root's apart from those that sign every day.

A key is found by its id and never by its name, so that a file may lie on another disk or be gone: two of
the root's three are enough. Ed25519 in PKCS#8 (PEM, 0600); a real acquirer keeps the root's in safes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

from kiosk.domain.errors import OperatorError
from kiosk.sandbox.files import explained, write

__all__ = ["KeyFiles", "name_of"]

SUFFIX: Final = ".key"


def name_of(role: str, keyid: str) -> str:
    """How a key is called for people: its role and the first 8 digits of its id."""
    return f"{role}-{keyid[:8]}"


class KeyFiles:
    """The keys in `folders`; new ones are made in the first of them."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = tuple(folders)

    def make(self, role: str) -> CryptoSigner:
        """A new key for `role`, on the disk when this returns."""
        signer = CryptoSigner.generate_ed25519()
        folder = self._folders[0]
        with explained(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(folder / (name_of(role, signer.public_key.keyid) + SUFFIX), signer.private_bytes)
        return signer

    def find(self, keyids: Collection[str]) -> list[CryptoSigner]:
        """Those of `keyids` that are here."""
        return [signer for _, signer in self._all() if signer.public_key.keyid in keyids]

    def remove(self, keyids: Collection[str]) -> None:
        """Delete the files of keys that sign nothing any more."""
        for path, signer in self._all():
            if signer.public_key.keyid in keyids:
                with explained(path):
                    path.unlink()

    def _all(self) -> list[tuple[Path, CryptoSigner]]:
        found = []
        for folder in self._folders:
            with explained(folder):
                paths = sorted(folder.glob("*" + SUFFIX))
            found += [(path, _read(path)) for path in paths]
        return found


def _read(path: Path) -> CryptoSigner:
    with explained(path):
        pem = path.read_bytes()
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise OperatorError("not an Ed25519 private key", where=str(path), do="Remove it, or put it back.")
    return CryptoSigner(key)
