"""Giving the secrets of the gallery's epochs to the terminals that are trusted, each sealed for one call."""

from __future__ import annotations

from typing import Final

from kiosk.acquirer.gallery_keys import sealed_epoch
from kiosk.acquirer.messages import VERSION, encode, parse
from kiosk.acquirer.operations import EpochMessage, GalleryKeysAnswer, GalleryKeysRequest
from kiosk.acquirer.signing import VerifiedRequest
from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.gallery.epoch import Epoch
from kiosk.sandbox.authorise import Authoriser, Treated, problem
from kiosk.sandbox.epochs import Epochs

__all__ = ["REGION", "GalleryKeys"]

REGION: Final = "sandbox"
"""Whose gallery it is where nobody said otherwise."""


class GalleryKeys:
    """Treats `POST /v1/gallery-keys`."""

    def __init__(self, authoriser: Authoriser) -> None:
        self._authoriser, self._epochs = authoriser, Epochs(authoriser.folder)

    def give(self, who: VerifiedRequest, body: bytes) -> Treated:
        """Any terminal that is trusted gets them: which of them hold the gallery is the acquirer's to say."""
        try:
            request = parse(body, GalleryKeysRequest)
        except ProtocolError as error:
            return problem(400, "format", str(error))
        epochs = self._epochs.all()
        region = epochs[0].region if epochs else REGION
        try:
            sealed = tuple(_sealed(epoch, request) for epoch in epochs)
        except OperatorError as error:
            return problem(400, "format", str(error))
        answer = GalleryKeysAnswer(
            version=VERSION, operation="gallery_keys", ref=request.ref, region=region, epochs=sealed
        )
        return self._authoriser.once(
            who, request, "gallery_keys", body, lambda _: Treated(200, encode(answer))
        )


def _sealed(epoch: Epoch, request: GalleryKeysRequest) -> EpochMessage:
    sealed = sealed_epoch(epoch.secret, request.ref, request.recipient)
    return EpochMessage(number=epoch.number, id=epoch.id, sealed=sealed)
