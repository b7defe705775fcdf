"""Asking the acquirer for the secrets of its gallery's epochs, so that nobody else reads the answer.

The key that they are sealed to is made for one call and lives in memory only. What is opened belongs to the
request it was asked with; whether a secret is that of the epoch it is said to be, `Epoch.id` tells.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kiosk.acquirer.jwe import EPOCH_TYP, Recipient, seal
from kiosk.acquirer.operations import EpochMessage, GalleryKeysAnswer
from kiosk.domain.errors import ProtocolError
from kiosk.domain.limits import PinKey

__all__ = ["EpochSecret", "OneTimeKey", "sealed_epoch"]

KID: Final = "once"
"""What the one-time key is called in the JWE's header: it needs no other name, it is never used again."""
SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class EpochSecret:
    """What makes an epoch (`kiosk.gallery.epoch.Epoch`) and the `id` that the acquirer gives it."""

    region: str
    number: int
    id: str
    secret: bytes = field(repr=False)


class OneTimeKey:
    """A key pair on P-256 for one `gallery_keys_request`."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self._recipient = Recipient(key, KID)
        self.public_der = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def open(self, answer: GalleryKeysAnswer) -> tuple[EpochSecret, ...]:
        """The secrets of an answer, newest epoch first.

        Raises:
            ProtocolError: one is for another key, for another call, or is no secret.
        """
        return tuple(
            EpochSecret(answer.region, epoch.number, epoch.id, self._secret(epoch, answer.ref))
            for epoch in answer.epochs
        )

    def _secret(self, epoch: EpochMessage, ref: str) -> bytes:
        secret = self._recipient.open(epoch.sealed, EPOCH_TYP, ref)
        if len(secret) != SECRET_BYTES:
            raise ProtocolError("not the secret of an epoch")
        return secret


def sealed_epoch(secret: bytes, ref: str, recipient: bytes) -> str:
    """The acquirer's side: `secret` for the key (DER) that the request `ref` brought.

    Raises:
        OperatorError: `recipient` is not a key on P-256.
    """
    return seal(secret, EPOCH_TYP, ref, PinKey(KID, recipient))
