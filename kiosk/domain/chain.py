"""The one hash chain: each entry names the hash of the one before it, so that nothing can be cut out unseen.

`link(previous, entry)` is SHA-256 over the previous hash and the entry's canonical bytes. Journal and audit
log both use it.
"""

from __future__ import annotations

import hashlib
from typing import Final

__all__ = ["GENESIS", "link"]

GENESIS: Final = "0" * 64
"""What the first entry names as its predecessor."""


def link(previous: str, entry: bytes) -> str:
    """The hash (64 hex digits) of `entry` in a chain whose last hash is `previous`."""
    before = bytes.fromhex(previous)
    if len(before) != hashlib.sha256().digest_size:
        raise ValueError(f"a link follows a SHA-256 hash, not {len(before)} bytes")
    return hashlib.sha256(before + len(entry).to_bytes(8, "big") + entry).hexdigest()
