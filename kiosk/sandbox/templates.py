"""Templates in the books: sealed with a key of this machine (`people.key`), each bound to its own token."""

from __future__ import annotations

import secrets
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from kiosk.domain.errors import OperatorError
from kiosk.sandbox.files import secret

__all__ = ["SEALED_BYTES", "Templates"]

NONCE_BYTES: Final = 12
SEALED_BYTES: Final = NONCE_BYTES + 16
"""What sealing adds to a template: nonce and tag."""


class Templates:
    """Seals and opens them; the key is made when it is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _cipher(self) -> AESGCM:
        return AESGCM(secret(self._folder / "people.key"))

    def seal(self, token: str, template: NDArray[np.float32]) -> bytes:
        """`template`: float32 of any shape; it comes back flat."""
        return self.seal_bytes(token, template.astype("<f4").tobytes())

    def seal_bytes(self, token: str, content: bytes) -> bytes:
        """The same of any bytes."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, token.encode())

    def open(self, token: str, sealed: bytes) -> NDArray[np.float32]:
        """float32[n]. OperatorError: it is another person's, changed, or sealed with another key."""
        return np.frombuffer(self.open_bytes(token, sealed), "<f4").astype(np.float32)

    def open_bytes(self, token: str, sealed: bytes) -> bytes:
        """What `seal_bytes` was given. OperatorError as `open`."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], token.encode())
        except InvalidTag:
            raise OperatorError(
                f"the template of {token} can't be opened", do="Put the right people.key back."
            ) from None
