"""Frames on a TCP connection between till and kiosk, each authenticated by the key that both have.

Pure bytes: no socket, no clock. A frame that was altered, replayed, reordered, taken from another connection
or sent back to where it came from does not verify, and ends the connection. What is said is not encrypted.

    greeting  8 bytes "FPTILL1" LF, 16 random bytes; each side sends one at once
    frame     4 bytes length n of body and tag (big endian), body, 32 bytes tag
    tag       HMAC-SHA256(side's key, 8 bytes number of the frame from 0 (big endian), body)
    side's key HMAC-SHA256(shared key, "till to kiosk" or "kiosk to till", till's random, kiosk's random)
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from typing import Final, Literal

from kiosk.domain.errors import ProtocolError

__all__ = ["GREETING_BYTES", "KEY_BYTES", "MAX_BODY_BYTES", "NONCE_BYTES", "Channel"]

MAGIC: Final = b"FPTILL1\n"
NONCE_BYTES: Final = 16
GREETING_BYTES: Final = len(MAGIC) + NONCE_BYTES
KEY_BYTES: Final = 32
TAG_BYTES: Final = 32
LENGTH_BYTES: Final = 4
MAX_BODY_BYTES: Final = 16 * 1024
"""A result with a long receipt is about 4 kB."""

Side = Literal["till", "kiosk"]
LABELS: Final[dict[Side, bytes]] = {"till": b"till to kiosk", "kiosk": b"kiosk to till"}


class Channel:
    """One side of one connection. `nonce`: 16 random bytes, fresh for every connection."""

    def __init__(self, key: bytes, side: Side, nonce: bytes) -> None:
        if len(key) != KEY_BYTES or len(nonce) != NONCE_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, a nonce {NONCE_BYTES}")
        self._key, self._side, self._nonce = key, side, nonce
        self._received = bytearray()
        self._numbers: dict[Side, int] = {"till": 0, "kiosk": 0}
        self._keys: dict[Side, bytes] = {}

    @property
    def greeting(self) -> bytes:
        """What this side sends first."""
        return MAGIC + self._nonce

    @property
    def ready(self) -> bool:
        """Whether the other side's greeting came: before it nothing can be sealed."""
        return bool(self._keys)

    @property
    def unfinished(self) -> bool:
        """Whether a frame (or the greeting) has begun and its end has not come."""
        return bool(self._received)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bodies that `data`, after what came before it, completes; each is verified before it comes.

        Raises:
            ProtocolError: not a frame of the other side's. The connection is worth nothing any more.
        """
        self._received += data
        if self._keys or self._greeted():
            while (body := self._next()) is not None:
                yield body

    def seal(self, body: bytes) -> bytes:
        """`body` as this side's next frame."""
        if len(body) > MAX_BODY_BYTES:
            raise ValueError(f"{len(body)} bytes are more than a frame carries")
        tag = self._tag(self._side, body)
        return (len(body) + TAG_BYTES).to_bytes(LENGTH_BYTES, "big") + body + tag

    def _greeted(self) -> bool:
        """Take the greeting, as soon as it is whole; what can't become one is refused at its first byte."""
        if not MAGIC.startswith(self._received[: len(MAGIC)]):
            raise ProtocolError("not a till's greeting")
        if len(self._received) < GREETING_BYTES:
            return False
        theirs = bytes(self._received[len(MAGIC) : GREETING_BYTES])
        del self._received[:GREETING_BYTES]
        if theirs == self._nonce:
            raise ProtocolError("the greeting is our own")
        nonces = self._nonce + theirs if self._side == "till" else theirs + self._nonce
        for side, label in LABELS.items():
            self._keys[side] = hmac.digest(self._key, label + nonces, hashlib.sha256)
        return True

    def _next(self) -> bytes | None:
        """The next whole and verified body; None until it is there."""
        if len(self._received) < LENGTH_BYTES:
            return None
        length = int.from_bytes(self._received[:LENGTH_BYTES], "big")
        if not TAG_BYTES <= length <= TAG_BYTES + MAX_BODY_BYTES:
            raise ProtocolError("a frame of impossible length")
        if len(self._received) < LENGTH_BYTES + length:
            return None
        frame = bytes(self._received[LENGTH_BYTES : LENGTH_BYTES + length])
        del self._received[: LENGTH_BYTES + length]
        body, tag = frame[:-TAG_BYTES], frame[-TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag("kiosk" if self._side == "till" else "till", body)):
            raise ProtocolError("a frame that the shared key does not verify")
        return body

    def _tag(self, sender: Side, body: bytes) -> bytes:
        number = self._numbers[sender]
        self._numbers[sender] = number + 1
        return hmac.digest(self._keys[sender], number.to_bytes(8, "big") + body, hashlib.sha256)
