"""The one form in which a signature leaves this kiosk: r || s, 64 bytes, with the smaller of the two s.

RFC 9421 (3.3.4) wants r and s of P-256 as 32 octets each. For every signature (r, s) there is a second valid
one, (r, n - s); taking the smaller leaves one spelling, whichever device signed.
"""

from __future__ import annotations

from typing import Final

__all__ = ["P256_ORDER", "raw_signature"]

P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""n of NIST P-256 (SP 800-186, 3.2.1.3)."""


def raw_signature(r: int, s: int) -> bytes:
    """r || s, 64 bytes, big-endian, s <= n/2."""
    return r.to_bytes(32, "big") + min(s, P256_ORDER - s).to_bytes(32, "big")
