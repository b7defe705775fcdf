"""Every key keeps the port's promises (`kiosk.domain.ports.KeyPort`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from kiosk.devices.key_software import SoftwareKey
from kiosk.domain.ports import KeyPort


def software(folder: Path) -> KeyPort:
    return SoftwareKey.load_or_create(folder / "device.key")


@pytest.fixture(params=[software])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], KeyPort]:
    """Opens the same key, as after a restart."""
    return lambda: request.param(tmp_path)


def verify(key: KeyPort, signature: bytes, message: bytes) -> None:
    public = serialization.load_der_public_key(key.public_key_der())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert isinstance(public.curve, ec.SECP256R1)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    public.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))


def test_a_signature_is_r_and_s_over_exactly_this_message(reopen):
    key = reopen()
    for number in range(50):  # short r or s come up now and then: both are padded
        signature = key.sign(b"message %d" % number)
        assert len(signature) == 64
        verify(key, signature, b"message %d" % number)
        with pytest.raises(InvalidSignature):
            verify(key, signature, b"message")


def test_it_is_the_same_key_after_a_restart(reopen):
    before, after = reopen(), reopen()
    assert before.key_id == after.key_id
    verify(before, after.sign(b"m"), b"m")


def test_each_purpose_has_its_own_secret_for_good(reopen):
    key = reopen()
    secrets = {purpose: key.derive(purpose) for purpose in ("gallery", "journal", "")}
    assert len(set(secrets.values())) == 3
    assert {len(secret) for secret in secrets.values()} == {32}
    assert reopen().derive("gallery") == secrets["gallery"]


def test_its_class_is_one_of_the_two(reopen):
    assert reopen().key_class in ("dev", "hardware")
    assert 8 <= len(reopen().key_id) <= 64
