"""The epochs that the published gallery is turned by: their secrets, sealed in a file of this sandbox.

The newest one is in force; the one before it stays until the next, for kiosks that are half-way through a
gallery of it. The key is a file too (`epochs.key`): a real acquirer keeps it in hardware.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from kiosk.acquirer.messages import Name
from kiosk.domain.errors import OperatorError
from kiosk.gallery.epoch import Epoch
from kiosk.sandbox.files import explained, secret, write

__all__ = ["Epochs"]

KEPT: Final = 2
NONCE_BYTES: Final = 12
BOUND: Final = b"facepay sandbox epochs"


class _Kept(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    region: Name
    number: int
    secret: bytes


class Epochs:
    """Those in `epochs.sealed` of `folder`."""

    def __init__(self, folder: Path) -> None:
        self._path, self._key = folder / "epochs.sealed", folder / "epochs.key"
        self._known: tuple[bytes, list[Epoch]] | None = (
            None  # an epoch's turn is long to compute, and is kept
        )

    def begin(self, region: str) -> Epoch:
        """The first epoch of `region`, or what is in force already.

        Raises:
            OperatorError: the region has no name that a file can have, or epochs of another one are there.
        """
        known = self.all()
        if known:
            if known[0].region != region:
                raise OperatorError(
                    f"this sandbox publishes for the region {known[0].region!r}, not {region!r}",
                    do="Use another --data-dir for another region.",
                )
            return known[0]
        try:
            msgspec.convert(region, Name)
        except msgspec.ValidationError:
            raise OperatorError(
                f"the region {region!r} is none", do="Use 1 to 64 letters, digits and . _ : -"
            ) from None
        return self._keep([Epoch.new(region)])

    def renew(self) -> Epoch:
        """A new epoch in the place of the newest. OperatorError: there is none yet."""
        known = self.all()
        if not known:
            raise OperatorError("no gallery is published here", do="Run `kiosk sandbox repository init`.")
        return self._keep([Epoch.new(known[0].region, known[0].number + 1), *known])

    def all(self) -> list[Epoch]:
        """Newest first; empty before the first. OperatorError: the file or its key is not what it was."""
        with explained(self._path):
            if not self._path.exists():
                return []
            sealed = self._path.read_bytes()
        if self._known is None or self._known[0] != sealed:
            self._known = sealed, self._opened(sealed)
        return list(self._known[1])

    def _opened(self, sealed: bytes) -> list[Epoch]:
        try:
            content = self._cipher().decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], BOUND)
            kept = msgspec.msgpack.decode(content, type=list[_Kept])
            return [Epoch(one.region, one.number, one.secret) for one in kept]
        except (InvalidTag, ValueError):
            raise OperatorError(
                "the epochs can't be opened", where=str(self._path), do="Put the right epochs.key back."
            ) from None

    def _keep(self, epochs: list[Epoch]) -> Epoch:
        content = msgspec.msgpack.encode(
            [_Kept(epoch.region, epoch.number, epoch.secret) for epoch in epochs[:KEPT]]
        )
        nonce = secrets.token_bytes(NONCE_BYTES)
        write(self._path, nonce + self._cipher().encrypt(nonce, content, BOUND))
        return epochs[0]

    def _cipher(self) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(secret(self._key))
