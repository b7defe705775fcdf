"""A PIN on its way to the acquirer, who alone can read it; bound to one attempt to pay."""

from __future__ import annotations

from kiosk.acquirer.jwe import PIN_TYP, seal
from kiosk.domain.limits import PinKey
from kiosk.domain.pin import Pin

__all__ = ["seal_pin"]


def seal_pin(pin: Pin, ref: str, key: PinKey) -> str:
    """A compact JWE (ECDH-ES, A256GCM) of the PIN for the attempt `ref`.

    Raises:
        OperatorError: `key` is not one on P-256.
    """
    return seal(b'{"pin":"%b","ref":"%b"}' % (pin.reveal(), ref.encode()), PIN_TYP, ref, key)
