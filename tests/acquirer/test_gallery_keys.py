"""An epoch's secret is opened by the key of the one call that asked for it, and by nothing else."""

from __future__ import annotations

import secrets

import pytest

from kiosk.acquirer.gallery_keys import OneTimeKey, sealed_epoch
from kiosk.acquirer.jwe import PIN_TYP, seal
from kiosk.acquirer.messages import new_ref
from kiosk.acquirer.operations import EpochMessage, GalleryKeysAnswer
from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.domain.limits import PinKey

from .parts import Now

REF, OTHER = new_ref(Now()), new_ref(Now(60))
SECRET, OLDER = secrets.token_bytes(32), secrets.token_bytes(32)


def an_answer(*sealed: str, ref: str = REF) -> GalleryKeysAnswer:
    epochs = tuple(
        EpochMessage(number=len(sealed) - at, id=f"{at:016x}", sealed=one) for at, one in enumerate(sealed)
    )
    return GalleryKeysAnswer(version=1, operation="gallery_keys", ref=ref, region="north", epochs=epochs)


def test_the_key_of_the_call_opens_every_epoch_of_its_answer() -> None:
    key = OneTimeKey()
    answer = an_answer(*(sealed_epoch(secret, REF, key.public_der) for secret in (SECRET, OLDER)))
    newest, older = key.open(answer)
    assert (newest.region, newest.number, newest.id, newest.secret) == ("north", 2, f"{0:016x}", SECRET)
    assert (older.number, older.secret) == (1, OLDER)
    assert SECRET.hex() not in repr(newest)
    assert str(SECRET) not in repr(newest)


def test_another_key_another_call_and_another_kind_of_secret_are_refused() -> None:
    key, answer = OneTimeKey(), an_answer(sealed_epoch(SECRET, REF, OneTimeKey().public_der))
    with pytest.raises(ProtocolError, match="not a JWE for this key"):
        key.open(answer)
    with pytest.raises(ProtocolError, match="something else"):
        key.open(an_answer(sealed_epoch(SECRET, OTHER, key.public_der)))
    with pytest.raises(ProtocolError, match="something else"):
        key.open(an_answer(seal(SECRET, PIN_TYP, REF, PinKey("once", key.public_der))))
    with pytest.raises(ProtocolError, match="not the secret of an epoch"):
        key.open(an_answer(sealed_epoch(SECRET[:31], REF, key.public_der)))


def test_nothing_is_sealed_to_what_is_no_key() -> None:
    with pytest.raises(OperatorError):
        sealed_epoch(SECRET, REF, b"a key")
