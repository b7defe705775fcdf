"""What kiosks seal for this acquirer: PINs, templates, wishes, opened with a key of the sandbox's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from cryptography.hazmat.primitives import serialization
from numpy.typing import NDArray

from kiosk.acquirer.jwe import PIN_TYP, TEMPLATE_TYP, WISHES_TYP, Recipient
from kiosk.acquirer.messages import PinKeyTerms, parse
from kiosk.acquirer.operations import WishesMessage
from kiosk.domain.errors import ProtocolError
from kiosk.sandbox.keys import key_id_of, private_key

__all__ = ["PIN", "SealedTo"]

PIN: Final = re.compile(r"[0-9]{4,12}", re.ASCII)
MAX_VALUES: Final = 512
"""Of a template: the networks that this product knows have 192 or fewer."""


class _Pin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pin: str
    ref: str


class SealedTo:
    """The key in `path`, made when it is not there."""

    def __init__(self, path: Path) -> None:
        key = private_key(path)
        self._public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._kid = key_id_of(self._public, "pin")
        self._recipient = Recipient(key, self._kid)

    def terms(self) -> PinKeyTerms:
        """For the policy."""
        return PinKeyTerms(kid=self._kid, key=self._public)

    def pin(self, sealed: str, ref: str) -> str:
        """The PIN of the attempt `ref`. ProtocolError: not one, or one of another attempt."""
        try:
            found = msgspec.json.decode(self._recipient.open(sealed, PIN_TYP, ref), type=_Pin)
        except (msgspec.MsgspecError, UnicodeError):
            raise ProtocolError("not a PIN") from None
        if found.ref != ref or not PIN.fullmatch(found.pin):
            raise ProtocolError("not a PIN of this attempt")
        return found.pin

    def wishes(self, sealed: str, ref: str) -> WishesMessage:
        """What a person gave beside their face. ProtocolError: not that."""
        return parse(self._recipient.open(sealed, WISHES_TYP, ref), WishesMessage)

    def template(self, sealed: str, ref: str) -> NDArray[np.float32]:
        """float32[d], L2-normalised. ProtocolError: not a template."""
        content = self._recipient.open(sealed, TEMPLATE_TYP, ref)
        if not content or len(content) % 4 or len(content) > 4 * MAX_VALUES:
            raise ProtocolError("not a template")
        values = np.frombuffer(content, "<f4").astype(np.float32)
        length = float(np.linalg.norm(values))
        if not np.isfinite(length) or not 0.99 <= length <= 1.01:
            raise ProtocolError("a template is not of length 1")
        return values / np.float32(length)
