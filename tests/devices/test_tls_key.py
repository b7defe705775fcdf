"""The TLS key in its sealed file: made, certified, renewed, followed by another; and what is refused."""

from __future__ import annotations

import ssl
import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kiosk.devices.tls_key import TlsKey
from kiosk.domain.errors import OperatorError
from kiosk.sandbox.ca import Authority

from ..acquirer.parts import a_key
from ..permissions import of_somebody_else

SECRET = bytes(range(32))
PASSWORD = SECRET.hex().encode()


@pytest.fixture
def authority(tmp_path):
    (tmp_path / "ca").mkdir()
    return Authority(tmp_path / "ca")


@pytest.fixture
def key(tmp_path):
    made = TlsKey(tmp_path, SECRET)
    made.make()
    return made


def certified(key, authority, terminal="t-7", days=30.0):
    """The acquirer's answer to the key's request, as a file."""
    _, request = key.request(merchant_id="m-100", terminal_id=terminal)
    path = key.file.with_name("answer.crt")
    path.write_bytes(authority.certify(request, days))
    return path


def opened(key):
    """The file as TLS opens it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(key.file, password=key.password)
    return context


def test_a_key_is_made_certified_and_in_force(key, authority):
    assert key.installed() is None
    found = key.install(certified(key, authority), terminal_id="t-7")
    assert (found.terminal, found.issuer) == ("t-7", "CN=sandbox root")
    assert "O=m-100" in found.subject
    assert key.installed() == found
    assert not key.waiting.exists()
    opened(key)


def test_the_files_are_sealed_and_for_their_owner_only(key, authority):
    sealed = key.waiting.read_bytes()
    assert b"ENCRYPTED PRIVATE KEY" in sealed
    assert stat.S_IMODE(key.waiting.stat().st_mode) == 0o600
    key.install(certified(key, authority), terminal_id="t-7")
    assert b"ENCRYPTED PRIVATE KEY" in key.file.read_bytes()
    assert b"BEGIN PRIVATE KEY" not in key.file.read_bytes()
    assert stat.S_IMODE(key.file.stat().st_mode) == 0o600
    with pytest.raises(ssl.SSLError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(key.file, password="another")


def test_the_secret_comes_from_the_kiosks_own_key(tmp_path):
    device = a_key()
    TlsKey.of(tmp_path, device).make()
    TlsKey.of(tmp_path, device).request(merchant_id="m", terminal_id="t")
    assert device.derive("tls") != device.derive("gallery")


def test_a_certificate_is_renewed_under_the_same_key(key, authority):
    first = key.install(certified(key, authority, days=1), terminal_id="t-7")
    second = key.install(certified(key, authority), terminal_id="t-7")
    assert second.serial != first.serial
    assert second.until > first.until
    opened(key)


def test_a_new_key_waits_while_the_old_one_is_in_force(key, authority):
    first = key.install(certified(key, authority), terminal_id="t-7")
    renewal = certified(key, authority).rename(key.file.with_name("renewal.crt"))
    key.make()
    assert key.installed() == first
    key.install(renewal, terminal_id="t-7")  # the old key may still be renewed
    assert key.waiting.exists()
    following = key.install(certified(key, authority), terminal_id="t-7")
    assert following.subject != first.subject
    assert not key.waiting.exists()
    opened(key)


def test_a_second_key_does_not_take_the_place_of_one_that_waits(key):
    with pytest.raises(OperatorError, match="waiting for its certificate"):
        key.make()


def test_a_request_needs_a_key(tmp_path):
    with pytest.raises(OperatorError, match="kiosk keys tls make"):
        TlsKey(tmp_path, SECRET).request(merchant_id="m", terminal_id="t")


def test_a_certificate_of_another_key_is_refused(key, authority, tmp_path):
    (tmp_path / "other").mkdir()
    other = TlsKey(tmp_path / "other", SECRET)
    other.make()
    with pytest.raises(OperatorError, match="of another key"):
        key.install(certified(other, authority), terminal_id="t-7")
    assert key.installed() is None


def test_a_certificate_of_another_terminal_is_refused(key, authority):
    with pytest.raises(OperatorError, match=r"terminal t-8, and this is t-7"):
        key.install(certified(key, authority, terminal="t-8"), terminal_id="t-7")


@pytest.mark.parametrize(
    "content", [b"", b"junk", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_what_is_no_certificate_is_refused(key, tmp_path, content):
    path = tmp_path / "x.crt"
    path.write_bytes(content)
    with pytest.raises(OperatorError, match="not a certificate"):
        key.install(path, terminal_id="t-7")
    with pytest.raises(OperatorError, match="No such file"):
        key.install(tmp_path / "none", terminal_id="t-7")


def pem_of(private, password=PASSWORD):
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


@pytest.mark.parametrize(
    "content",
    [
        b"junk",
        pem_of(ec.generate_private_key(ec.SECP256R1()), b"the secret of another kiosk"),
        pem_of(ec.generate_private_key(ec.SECP256R1()), None),
        pem_of(rsa.generate_private_key(65537, 2048)),
    ],
    ids=["junk", "another kiosk's", "not sealed", "RSA"],
)
def test_a_key_file_that_this_kiosk_did_not_seal_is_refused(key, content):
    key.waiting.write_bytes(content)
    with pytest.raises(OperatorError, match="own key opens"):
        key.request(merchant_id="m", terminal_id="t")


def test_a_key_that_others_may_read_is_refused(key):
    key.waiting.chmod(0o640)
    with pytest.raises(OperatorError, match="chmod 600"):
        key.request(merchant_id="m", terminal_id="t")


def test_a_folder_of_somebody_else_is_said(key, tmp_path):
    with of_somebody_else(tmp_path), pytest.raises(OperatorError, match="denied"):
        key.request(merchant_id="m", terminal_id="t")


def test_a_disk_that_refuses_is_said(tmp_path):
    with pytest.raises(OperatorError, match="cannot be written"):
        TlsKey(tmp_path / "not there", SECRET).make()
