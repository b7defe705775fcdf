"""A sale that was accepted without the acquirer, as it is told to it later: signed at the time of sale.

The sale is a compact JWS of the very request that could not be sent, with the time at which it was accepted;
its advice carries that JWS, frozen, and is forwarded like any other request.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from kiosk.acquirer.messages import Exchange, OfflineMessage, PaymentRequest, encode, parse, utc
from kiosk.acquirer.signing import SigningKey, sign_jws

__all__ = ["OFFLINE_TYP", "local_approval", "seal_sale"]

OFFLINE_TYP: Final = "facepay-offline+jws"
APPROVAL_ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without letters that look like digits: people read it out."""
APPROVAL_LENGTH: Final = 6


def seal_sale(key: SigningKey, payment: Exchange, *, stored_s: float, number: int) -> str:
    """The request `payment` as a sale that was accepted at `stored_s` (seconds since 1970, UTC), signed now.

    `number`: the how-manieth offline sale of this kiosk.

    Raises:
        OperatorError: the key can't sign.
        ValueError: the request carries a PIN: none is taken offline.
    """
    request = parse(payment.body or b"", PaymentRequest)
    if request.pin is not None:
        raise ValueError("no PIN is taken offline")
    offline = OfflineMessage(stored_at=utc(stored_s), sequence=number)
    sale = msgspec.structs.replace(request, offline=offline)
    return sign_jws(key, OFFLINE_TYP, encode(sale)).decode()


def local_approval(sale: str) -> str:
    """The kiosk's own approval code of a sale: six characters that can be worked out again from its JWS."""
    digest = hashlib.sha256(sale.encode()).digest()
    return "".join(APPROVAL_ALPHABET[byte % len(APPROVAL_ALPHABET)] for byte in digest[:APPROVAL_LENGTH])
