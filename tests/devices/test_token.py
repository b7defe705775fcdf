"""The token by real calls of SoftHSM2; what that never says is said for it by a module around it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import Attribute, ObjectClass, TokenFlag

from kiosk.devices.csr import certification_request
from kiosk.devices.key_software import SoftwareKey
from kiosk.devices.token import LOST, Module, PinFile, Token, load_module
from kiosk.domain.errors import OperatorError

from ..tokens import PIN, SoftToken, soft_token

ID = bytes(range(16))


@pytest.fixture
def soft() -> Iterator[SoftToken]:
    with soft_token() as made:
        yield made


class Around:
    """A real module, but for what a test makes it say when the token is asked for or logged in to."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.says: list[type[pkcs11.PKCS11Error]] = []
        """One each time the token is asked for."""
        self.at_login: type[pkcs11.PKCS11Error] | None = None
        self.flags = TokenFlag(0)
        self.logins = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)

    def get_token(self, **named: Any) -> Any:
        if self.says:
            raise self.says.pop(0)
        return AroundToken(self, self._library.get_token(**named))


class AroundToken:
    def __init__(self, around: Around, token: Any) -> None:
        self._around, self._token = around, token

    def __getattr__(self, name: str) -> Any:
        return getattr(self._token, name)

    @property
    def flags(self) -> Any:
        return self._token.flags | self._around.flags

    def open(self, **named: Any) -> Any:
        self._around.logins += 1
        if self._around.at_login is not None:
            raise self._around.at_login
        return self._token.open(**named)


@pytest.fixture
def around(soft: SoftToken) -> Around:
    return Around(load_module(str(soft.module)).library)


def token_of(soft: SoftToken, around: Around) -> Token:
    module = Module(around)
    return Token(lambda: module, soft.label, lambda: PinFile.find(str(soft.pin_file)))


def is_signed(public: bytes, raw: bytes, message: bytes) -> None:
    key = serialization.load_der_public_key(public)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key.verify(signature, message, ec.ECDSA(hashes.SHA256()))


# --- keys that stay inside ------------------------------------------------------------------------------


def test_a_key_is_made_on_the_token_and_cannot_be_read(soft):
    token = soft.token()
    public = token.make_pair(ID)
    token.make_seal()
    module = load_module(str(soft.module))
    found = list(module.sessions["kiosk"].get_objects({}))
    secrets = [one for one in found if one.object_class in (ObjectClass.PRIVATE_KEY, ObjectClass.SECRET_KEY)]
    assert len(secrets) == 2
    for secret in secrets:
        assert secret[Attribute.SENSITIVE]
        assert secret[Attribute.ALWAYS_SENSITIVE]
        assert not secret[Attribute.EXTRACTABLE]
        assert secret[Attribute.NEVER_EXTRACTABLE]
        assert secret[Attribute.LOCAL]
        with pytest.raises(pkcs11.AttributeSensitive):
            secret[Attribute.VALUE]
    is_signed(public, token.sign(ID, hashlib.sha256(b"m").digest()), b"m")


def test_a_key_that_could_leave_is_refused_and_destroyed(soft, monkeypatch):
    token = soft.token()
    monkeypatch.setattr(
        "kiosk.devices.token._stays_inside",
        lambda: {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True, Attribute.SIGN: True},
    )
    with pytest.raises(OperatorError, match="could leave it; it was destroyed"):
        token.make_pair(ID)
    assert token.public_key(ID) is None


def test_a_destroyed_key_is_gone_and_its_absence_no_error(soft):
    token = soft.token()
    token.make_pair(ID)
    token.destroy(ID)
    token.destroy(ID)
    assert token.public_key(ID) is None
    with pytest.raises(OperatorError, match="the key is not on the token"):
        token.sign(ID, bytes(32))


def test_the_sealing_secret_is_made_once(soft):
    token = soft.token()
    token.make_seal()
    first = token.mac(b"gallery")
    token.make_seal()
    assert token.mac(b"gallery") == first
    assert len(first) == 32


# --- a token that goes and comes ------------------------------------------------------------------------


def test_a_token_that_was_taken_away_is_one_line_and_is_found_again_by_itself(soft):
    token = soft.token()
    public = token.make_pair(ID)
    soft.take_away()
    for _ in range(3):
        with pytest.raises(OperatorError, match="token") as told:
            token.sign(ID, bytes(32))
        assert "\n" not in str(told.value)
        with pytest.raises(OperatorError):
            token.check(ID)
    soft.put_back()
    token.check(ID)
    is_signed(public, token.sign(ID, hashlib.sha256(b"m").digest()), b"m")


@pytest.mark.parametrize("lost", ["closed", "logged out", "reinitialised"])
def test_a_lost_session_is_opened_again_within_the_same_call(soft, lost):
    token = soft.token()
    public = token.make_pair(ID)
    token.sign(ID, bytes(32))
    module = load_module(str(soft.module))
    if lost == "closed":
        module.sessions["kiosk"].close()
    elif lost == "logged out":
        module.library.finalize()
        module.library.initialize()
        module.library.get_token(token_label="kiosk").open()  # a session of nobody, with the old one's handle
    else:
        module.library.reinitialize()
    is_signed(public, token.sign(ID, hashlib.sha256(b"m").digest()), b"m")


def test_a_token_that_drops_out_once_is_not_even_noticed(soft, around):
    token = token_of(soft, around)
    around.says = [pkcs11.DeviceRemoved]
    token.make_pair(ID)
    around.says = [pkcs11.DeviceRemoved]
    token.check(ID)


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (pkcs11.DeviceRemoved, "the token is not there (DeviceRemoved)"),
        (pkcs11.TokenNotPresent, "the token is not there (TokenNotPresent)"),
        (pkcs11.MultipleTokensReturned, "two tokens have this label"),
        (pkcs11.FunctionFailed, "the token does not work (FunctionFailed)"),
    ],
)
def test_each_trouble_has_its_line(soft, around, code, what):
    token = token_of(soft, around)
    around.says = [code] * (2 if code in LOST else 1)
    with pytest.raises(OperatorError) as told:
        token.make_pair(ID)
    assert what in str(told.value)
    assert "token kiosk" in str(told.value)
    token.make_pair(ID)  # and it is over when the trouble is


def test_two_users_of_one_module_do_not_disturb_each_other(soft):
    first, second = soft.token(), soft.token()
    one, two = first.make_pair(ID), second.make_pair(ID[::-1])
    load_module(str(soft.module)).library.reinitialize()
    for token, name, public in ((first, ID, one), (second, ID[::-1], two)) * 2:
        is_signed(public, token.sign(name, hashlib.sha256(b"m").digest()), b"m")


# --- PIN ------------------------------------------------------------------------------------------------


def test_a_locked_token_is_said_and_works_again_when_it_is_unlocked(soft, around):
    token = token_of(soft, around)
    around.at_login = pkcs11.PinLocked
    for _ in range(2):
        with pytest.raises(OperatorError, match=r"the token is locked \(PinLocked\)"):
            token.make_pair(ID)
    around.at_login = None
    token.make_pair(ID)


def test_a_wrong_pin_is_tried_once_and_again_only_when_the_file_has_changed(soft, around):
    token = token_of(soft, around)
    soft.pin_file.write_text("wrong-0000\n")
    for _ in range(5):
        with pytest.raises(OperatorError, match="refuses the PIN") as told:
            token.make_pair(ID)
        assert "wrong-0000" not in str(told.value)
    assert around.logins == 1
    soft.pin_file.write_text(PIN)
    token.make_pair(ID)
    assert around.logins == 2


def test_the_last_try_is_left_to_a_person(soft, around):
    token = token_of(soft, around)
    around.flags = TokenFlag.USER_PIN_FINAL_TRY
    with pytest.raises(OperatorError, match="would lock the token"):
        token.make_pair(ID)
    assert around.logins == 0


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660])
def test_a_pin_that_others_may_read_is_refused(soft, mode):
    soft.pin_file.chmod(mode)
    with pytest.raises(OperatorError, match="chmod 600"):
        soft.token().make_pair(ID)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"1" * 300])
def test_a_file_without_a_pin_is_refused(soft, content):
    soft.pin_file.write_bytes(content)
    with pytest.raises(OperatorError, match="holds no PIN"):
        soft.token().make_pair(ID)


def test_a_pin_that_is_not_there_is_said(soft):
    soft.pin_file.unlink()
    with pytest.raises(OperatorError, match="PIN cannot be read"):
        soft.token().make_pair(ID)


def test_the_pin_may_be_a_systemd_credential_whose_access_list_shows_as_the_groups_bits(soft, monkeypatch):
    folder = soft.folder / "credentials"
    folder.mkdir()
    (folder / "token-pin").write_text(PIN)
    (folder / "token-pin").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    assert PinFile.find("").read() == PIN
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(OperatorError, match="LoadCredential"):
        PinFile.find("")


def test_nothing_that_can_be_printed_holds_the_pin(soft):
    token = soft.token()
    token.make_pair(ID)
    module = load_module(str(soft.module))
    assert PIN not in repr([token.__dict__, PinFile.find(str(soft.pin_file)), module, token.info()])


# --- module ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/nowhere/module.so", "/etc/hostname"])
def test_a_module_that_is_none_is_said(path):
    with pytest.raises(OperatorError, match="PKCS#11 module does not load"):
        load_module(path)


def test_a_label_that_no_token_has_is_said(soft):
    module = str(soft.module)
    token = Token(lambda: load_module(module), "other", lambda: PinFile.find(str(soft.pin_file)))
    with pytest.raises(OperatorError, match=r"the token is not there \(NoSuchToken\)"):
        token.info()


def test_it_says_what_it_is(soft):
    info = soft.token().info()
    assert (info.label, info.manufacturer, info.model) == ("kiosk", "SoftHSM project", "SoftHSM v2")
    assert info.serial


# --- certification request ------------------------------------------------------------------------------


def test_a_certification_request_is_signed_on_the_token_and_cryptography_believes_it(soft, tmp_path):
    for key in (soft.ring(tmp_path / "a").make(0), SoftwareKey.load_or_create(tmp_path / "device.key")):
        pem = certification_request(key, merchant_id="M-0001", terminal_id="T-0001")
        request = x509.load_pem_x509_csr(pem)
        assert request.is_signature_valid
        assert isinstance(request.signature_hash_algorithm, hashes.SHA256)
        form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        assert request.public_key().public_bytes(*form) == key.public_key_der()
        assert request.subject.rfc4514_string().count(key.key_id) == 1
        assert {name.value for name in request.subject} == {key.key_id, "M-0001", "T-0001"}


def test_openssl_believes_it_too(soft, tmp_path):
    pem = certification_request(soft.ring(tmp_path / "a").make(0), merchant_id="M-1", terminal_id="T-1")
    file = Path(tmp_path / "kiosk.csr")
    file.write_bytes(pem)
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl on this machine")
    command = [openssl, "req", "-verify", "-noout", "-in", file]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
