from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kiosk.devices.key_software import SoftwareKey
from kiosk.domain.errors import OperatorError


def private_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "device.key"


def test_a_key_is_made_once_and_is_its_owners_only(path):
    first, second = SoftwareKey.load_or_create(path), SoftwareKey.load_or_create(path)
    assert (first.key_id, first.public_key_der()) == (second.key_id, second.public_key_der())
    assert first.derive("gallery") == second.derive("gallery")
    for file in (path, path.with_suffix(".seed")):
        assert file.stat().st_mode & 0o777 == 0o600
    assert first.key_class == "dev"


def test_the_public_half_stands_beside_it_for_who_registers_the_kiosk(path):
    key = SoftwareKey.load_or_create(path)
    published = serialization.load_pem_public_key(path.with_suffix(".pub").read_bytes())
    der = published.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert der == key.public_key_der()


def test_two_kiosks_share_nothing(tmp_path):
    first, second = (SoftwareKey.load_or_create(tmp_path / name) for name in ("a.key", "b.key"))
    assert first.key_id != second.key_id
    assert first.derive("gallery") != second.derive("gallery")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no key",
        private_pem(ec.generate_private_key(ec.SECP384R1())),
        private_pem(rsa.generate_private_key(65537, 2048)),
    ],
    ids=["empty", "text", "P-384", "RSA"],
)
def test_a_file_that_holds_no_p256_key_is_refused(path, content):
    SoftwareKey.load_or_create(path)
    path.write_bytes(content)
    with pytest.raises(OperatorError, match="not a P-256 private key"):
        SoftwareKey.load_or_create(path)


@pytest.mark.parametrize("suffix", [".key", ".seed"])
def test_half_a_key_is_refused_and_never_made_anew(path, suffix):
    SoftwareKey.load_or_create(path)
    path.with_suffix(suffix).unlink()
    with pytest.raises(OperatorError, match="can't be used"):
        SoftwareKey.load_or_create(path)


def test_a_damaged_seed_is_refused(path):
    SoftwareKey.load_or_create(path)
    path.with_suffix(".seed").write_bytes(b"short")
    with pytest.raises(OperatorError, match="damaged"):
        SoftwareKey.load_or_create(path)


@pytest.mark.parametrize("suffix", [".key", ".seed"])
def test_a_key_that_others_may_read_is_refused(path, suffix):
    SoftwareKey.load_or_create(path)
    path.with_suffix(suffix).chmod(0o644)
    with pytest.raises(OperatorError, match="chmod 600"):
        SoftwareKey.load_or_create(path)
