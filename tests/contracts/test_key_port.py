"""Every key keeps the port's promises (`kiosk.domain.ports.KeyPort`)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from kiosk.devices.ecdsa import P256_ORDER
from kiosk.devices.key_software import SoftwareKey
from kiosk.domain.ports import KeyPort

from ..tokens import soft_token


def software(folder: Path) -> KeyPort:
    return SoftwareKey.load_or_create(folder / "device.key")


@pytest.fixture(params=["software", "token"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], KeyPort]]:
    """Opens the same key, as after a restart."""
    if request.param == "software":
        yield lambda: software(tmp_path)
        return
    with soft_token() as soft:
        soft.ring(tmp_path).make(time.time())
        yield lambda: soft.ring(tmp_path).current()


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


def test_of_the_two_valid_signatures_it_gives_the_one_with_the_smaller_s(reopen):
    key = reopen()
    values = [int.from_bytes(key.sign(b"%d" % number)[32:], "big") for number in range(30)]
    assert all(0 < s <= P256_ORDER // 2 for s in values)  # by chance: one in a thousand million


def test_many_threads_sign_at_once_and_every_signature_is_right(reopen):
    key, failed = reopen(), []

    def work(name: int) -> None:
        for number in range(20):
            message = b"%d of %d" % (number, name)
            try:
                verify(key, key.sign(message), message)
            except Exception as error:  # a thread's own error would be lost
                failed.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_a_key_that_is_there_passes_its_check(reopen):
    reopen().check()
