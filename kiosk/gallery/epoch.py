"""An epoch of a gallery: the secret that turns its templates, so that they mean nothing in another gallery.

Every reference of an epoch is multiplied by one secret orthogonal matrix and so is every probe: cosines stay,
while templates of two epochs score like strangers' (ISO/IEC 24745: unlinkable, renewable). It is no one-way
function: whoever holds the secret turns them back. After a leak a new epoch is begun.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from kiosk.gallery.template import TEMPLATE_SIZE

__all__ = ["LOCAL_REGION", "SECRET_BYTES", "Epoch"]

SECRET_BYTES: Final = 32
LOCAL_REGION: Final = "local"
"""The region of a kiosk that has never had a gallery from an acquirer."""
MAX_REGION: Final = 64


@dataclass(frozen=True, eq=False)
class Epoch:
    """`region` says whose gallery (1 to 64 printable characters), `number` counts from 1.

    `secret`: 32 bytes from a random source. It never shows in a `repr`. ValueError for anything else.
    """

    region: str
    number: int
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.region) <= MAX_REGION or not self.region.isprintable():
            raise ValueError(f"a region is 1 to {MAX_REGION} printable characters")
        if not 1 <= self.number < 2**31:
            raise ValueError("an epoch's number is 1 or more")
        if len(self.secret) != SECRET_BYTES:
            raise ValueError(f"an epoch's secret has {SECRET_BYTES} bytes")

    @classmethod
    def new(cls, region: str, number: int = 1) -> Epoch:
        """One that nobody had before."""
        return cls(region, number, secrets.token_bytes(SECRET_BYTES))

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits that name this epoch in public and say nothing of its secret."""
        return hashlib.sha256(self.key("id")).hexdigest()[:16]

    def key(self, purpose: str) -> bytes:
        """32 secret bytes, another for each `purpose` (HKDF, RFC 5869), bound to region and number."""
        info = f"facepay gallery epoch|{self.region}|{self.number}|{purpose}".encode()
        return HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(self.secret)

    def turn(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[..., 192] into this epoch, in a new array; cosines between turned ones are those before."""
        return np.asarray(vectors @ self._matrix, np.float32)

    def turn_back(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """What `turn` was given, to about 1e-7 a component; for records that move to another epoch."""
        return np.asarray(vectors @ self._matrix.T, np.float32)

    @cached_property
    def _matrix(self) -> NDArray[np.float32]:
        """float32[192, 192], orthogonal: the Q of a Gaussian matrix, each column with R's sign.

        That makes it uniform over all turns (Mezzadri, arXiv:math-ph/0609050) and the same on every machine
        to rounding. The Gaussians come from SHAKE-256 by Box and Muller, since no library's generator
        promises the same normal numbers for ever.
        """
        count = TEMPLATE_SIZE * TEMPLATE_SIZE
        raw = hashlib.shake_256(self.key("turn")).digest(8 * count)
        uniform = (np.frombuffer(raw, "<u8") >> np.uint64(11)).astype(np.float64) * 2.0**-53
        length = np.sqrt(-2.0 * np.log1p(-uniform[: count // 2]))
        angle = 2.0 * np.pi * uniform[count // 2 :]
        normal = np.concatenate([length * np.cos(angle), length * np.sin(angle)])
        turned, scale = np.linalg.qr(normal.reshape(TEMPLATE_SIZE, TEMPLATE_SIZE))
        matrix = (turned * np.sign(np.diag(scale))).astype(np.float32)
        matrix.setflags(write=False)
        return matrix
