"""TLS both ways over real sockets: who is believed, who is refused, and that a refusal sent nothing."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kiosk.acquirer import tls as tls_module
from kiosk.acquirer.client import Greeted, Lost, Unsent, Verified
from kiosk.acquirer.tls import Tls, TlsIdentity, TlsTrust
from kiosk.domain.errors import OperatorError
from kiosk.sandbox.ca import Authority
from kiosk.sandbox.keys import key_id_of

from ..tokens import soft_token
from .parts import a_payment, an_effect
from .test_client import client, served, signed, word

PASSWORD = b"a secret of the kiosk"
DAY_S = 86_400


@dataclass
class Pki:
    """An acquirer's CA in a folder, and a kiosk's key with a certificate of it."""

    folder: object
    authority: Authority

    @classmethod
    def made(cls, folder, now_s=None):
        folder.mkdir(exist_ok=True)
        return cls(folder, Authority(folder, **({"now_s": now_s} if now_s else {})))

    @property
    def trust(self) -> TlsTrust:
        return TlsTrust((self.authority.root_der,), frozenset(self.authority.pins()))

    def identity(self, days: float = 30, *, by: Authority | None = None) -> TlsIdentity:
        key = ec.generate_private_key(ec.SECP256R1())
        der = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, key_id_of(der, "tls")),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "m-100"),
                x509.NameAttribute(NameOID.SERIAL_NUMBER, "t-7"),
            ]
        )
        request = x509.CertificateSigningRequestBuilder(name).sign(key, hashes.SHA256())
        certificate = (by or self.authority).certify(request.public_bytes(serialization.Encoding.PEM), days)
        path = self.folder / "kiosk.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(PASSWORD),
            )
            + certificate
        )
        return TlsIdentity(path, PASSWORD)


@pytest.fixture
def pki(tmp_path) -> Pki:
    return Pki.made(tmp_path / "acquirer")


def pays(server_context: ssl.SSLContext, tls: Tls | None, host: str = "127.0.0.1", answer=None, **options):
    """The reply to a payment, and how many requests arrived."""
    effect = an_effect()
    with served(answer or signed(200, word(effect), scheme="https"), server_context, host=host) as server:
        reply = client(server.address, tls=tls, **options).send(a_payment(effect))
    return reply, len(server.requests)


def refused(server_context: ssl.SSLContext, tls: Tls | None, code: str, host: str = "127.0.0.1") -> str:
    reply, arrived = pays(server_context, tls, host)
    assert isinstance(reply, Unsent), reply
    assert (reply.code, arrived) == (code, 0), reply
    assert "\n" not in reply.why
    return reply.why


def ago(days: float):
    return lambda: time.time() - days * DAY_S


# --- both sides are who they should be -----------------------------------------------------------------


def test_a_payment_is_verified_when_certificate_pin_and_signature_are(pki):
    reply, arrived = pays(pki.authority.server("127.0.0.1"), Tls(pki.trust, pki.identity()))
    assert isinstance(reply, Verified)
    assert arrived == 1


def test_without_pins_any_key_under_the_ca_will_do(pki):
    trust = TlsTrust((pki.authority.root_der,))
    assert isinstance(pays(pki.authority.server("x"), Tls(trust, pki.identity()))[0], Verified)


def test_the_spare_key_is_pinned_already_when_the_server_changes_to_it(pki):
    tls = Tls(pki.trust, pki.identity())
    (pki.folder / "tls-next.key").replace(pki.folder / "tls.key")
    assert isinstance(pays(pki.authority.server("127.0.0.1"), tls)[0], Verified)


def test_the_second_connection_goes_on_with_the_handshake_of_the_first(pki):
    context, tls = pki.authority.server("127.0.0.1"), Tls(pki.trust, pki.identity())
    effect = an_effect()
    with served(signed(200, word(effect), scheme="https"), context, calls=4) as server:
        kiosk = client(server.address, tls=tls)
        assert not kiosk.greet().resumed  # a ticket is kept with an answer only
        assert isinstance(kiosk.send(a_payment(effect)), Verified)
        greeted = kiosk.greet()
        assert not isinstance(kiosk.send(a_payment(effect)), Unsent)
    assert isinstance(greeted, Greeted)
    assert greeted.resumed
    assert greeted.until > datetime.now(UTC)


# --- the acquirer is not ------------------------------------------------------------------------------


def test_a_server_of_another_ca_is_refused(pki, tmp_path):
    other = Pki.made(tmp_path / "other")
    why = refused(other.authority.server("127.0.0.1"), Tls(pki.trust, pki.identity()), "server_untrusted")
    assert "pinned CA" in why


def test_a_server_of_the_right_ca_with_another_key_is_refused(pki):
    tls = Tls(pki.trust, pki.identity())
    (pki.folder / "tls.key").unlink()
    assert "sha256/" in refused(pki.authority.server("127.0.0.1"), tls, "server_pin")


def test_a_server_whose_certificate_has_expired_is_refused(pki):
    old = Authority(pki.folder, now_s=ago(days=8)).server("127.0.0.1")
    refused(old, Tls(pki.trust, pki.identity()), "server_expired")


def test_a_server_of_another_name_is_refused(pki):
    why = refused(
        pki.authority.server("127.0.0.1"), Tls(pki.trust, pki.identity()), "server_name", "127.0.0.2"
    )
    assert "another host" in why


def test_a_server_that_speaks_an_older_tls_is_refused(pki):
    context = pki.authority.server("127.0.0.1")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    refused(context, Tls(pki.trust, pki.identity()), "version")


def test_without_a_ca_of_its_own_the_systems_are_asked(pki):
    refused(pki.authority.server("127.0.0.1"), None, "server_untrusted")
    only_pins = TlsTrust((), pki.trust.pins)
    refused(pki.authority.server("127.0.0.1"), Tls(only_pins, pki.identity()), "server_untrusted")


# --- the kiosk is not ---------------------------------------------------------------------------------


def test_a_kiosk_without_a_certificate_is_told_so_and_has_sent_nothing(pki):
    refused(pki.authority.server("127.0.0.1"), Tls(pki.trust), "own_missing")


def test_a_kiosk_whose_certificate_has_expired_is_told_so_and_has_sent_nothing(pki):
    identity = pki.identity(by=Authority(pki.folder, now_s=ago(days=31)))
    refused(pki.authority.server("127.0.0.1"), Tls(pki.trust, identity), "own_expired")


def test_a_kiosk_with_a_certificate_of_another_ca_is_told_so_and_has_sent_nothing(pki, tmp_path):
    identity = pki.identity(by=Pki.made(tmp_path / "other").authority)
    refused(pki.authority.server("127.0.0.1"), Tls(pki.trust, identity), "own_refused")


def test_a_refusal_that_comes_after_the_request_leaves_the_outcome_open(pki, monkeypatch):
    monkeypatch.setattr(tls_module, "ACCEPTED_S", 0)
    reply, _ = pays(pki.authority.server("127.0.0.1"), Tls(pki.trust))
    assert isinstance(reply, Lost)


def test_a_server_that_gives_no_tickets_is_asked_after_a_moment(pki, monkeypatch):
    monkeypatch.setattr(tls_module, "ACCEPTED_S", 0.05)
    context = pki.authority.server("127.0.0.1")
    context.num_tickets = 0
    tls = Tls(pki.trust, pki.identity())
    assert isinstance(pays(context, tls)[0], Verified)
    assert isinstance(pays(context, tls)[0], Verified)


# --- neither speaks TLS as it should ------------------------------------------------------------------


@contextmanager
def rude(work) -> Iterator[str]:
    """A server whose one connection is handed to `work`."""
    listening = socket.create_server(("127.0.0.1", 0))

    def one() -> None:
        connection, _ = listening.accept()
        with connection:
            work(connection)

    thread = threading.Thread(target=one)
    thread.start()
    yield f"https://127.0.0.1:{listening.getsockname()[1]}"
    thread.join(10)
    listening.close()
    assert not thread.is_alive()


def test_a_plain_server_at_a_tls_address_was_sent_nothing(pki):
    def plain(connection):
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with rude(plain) as address:
        reply = client(address, tls=Tls(pki.trust)).send(a_payment(an_effect()))
    assert reply == Unsent("no TLS connection: wrong version number", "handshake")


def test_a_server_that_hangs_up_in_the_handshake_was_sent_nothing(pki):
    with rude(lambda connection: connection.recv(65_536)) as address:
        assert isinstance(client(address, tls=Tls(pki.trust)).send(a_payment(an_effect())), Unsent)


def test_a_server_that_drips_in_the_handshake_is_not_waited_for(pki):
    def drip(connection):
        with contextlib.suppress(OSError):
            while connection.recv(65_536):
                connection.sendall(b"\x16\x03\x03\x3f\xff")
                connection.settimeout(0.05)
                while True:
                    connection.sendall(b"a")
                    with contextlib.suppress(TimeoutError):
                        if not connection.recv(65_536):
                            return

    started = time.monotonic()
    with rude(drip) as address:
        reply = client(address, tls=Tls(pki.trust), answer_timeout_s=0.3).send(a_payment(an_effect()))
    assert isinstance(reply, Unsent)
    assert time.monotonic() - started < 2


def eager(context: ssl.SSLContext, then):
    """A server that gives no tickets, and does not wait for the request."""
    context.num_tickets = 0

    def work(connection):
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
            then(secured)

    return work


def test_a_server_that_speaks_before_it_was_asked_was_sent_nothing(pki):
    work = eager(pki.authority.server("127.0.0.1"), lambda secured: secured.sendall(b"hello"))
    with rude(work) as address:
        reply = client(address, tls=Tls(pki.trust, pki.identity())).send(a_payment(an_effect()))
    assert reply == Unsent("it speaks before it was asked", "handshake")


def reset(secured):
    secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


@pytest.mark.parametrize("then", [lambda secured: secured.unwrap(), reset], ids=["closed", "reset"])
def test_a_server_that_hangs_up_on_seeing_our_certificate_was_sent_nothing(pki, then):
    with rude(eager(pki.authority.server("127.0.0.1"), then)) as address:
        reply = client(address, tls=Tls(pki.trust, pki.identity())).send(a_payment(an_effect()))
    assert reply == Unsent("it hung up on seeing this kiosk's certificate", "own_refused")


def test_a_reset_while_we_wait_is_a_refusal_too(pki, monkeypatch):
    """Whether a reset is read as one or as an end is a matter of timing."""

    def recv(self, *_):
        raise ConnectionResetError

    monkeypatch.setattr(ssl.SSLSocket, "recv", recv)
    context = pki.authority.server("127.0.0.1")
    listening = socket.create_server(("127.0.0.1", 0))
    address = f"https://127.0.0.1:{listening.getsockname()[1]}"

    def work():
        connection, _ = listening.accept()
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True):
            pass  # the handshake is all there is

    thread = threading.Thread(target=work)
    thread.start()
    reply = client(address, tls=Tls(pki.trust, pki.identity())).send(a_payment(an_effect()))
    thread.join(10)
    listening.close()
    assert reply.code == "own_refused"


def test_a_server_that_hangs_up_although_we_show_nothing_wants_a_certificate(pki):
    context = pki.authority.server("127.0.0.1")
    context.verify_mode = ssl.CERT_NONE
    with rude(eager(context, lambda secured: secured.unwrap())) as address:
        reply = client(address, tls=Tls(pki.trust)).send(a_payment(an_effect()))
    assert reply.code == "own_missing"


# --- the kiosk's own file -----------------------------------------------------------------------------


def test_a_certificate_file_that_does_not_open_is_said_in_one_line(pki):
    identity = pki.identity()
    for wrong in (TlsIdentity(identity.file, b"another kiosk's secret"), TlsIdentity(pki.folder / "no", b"")):
        with pytest.raises(OperatorError, match="kiosk keys tls") as caught:
            Tls(pki.trust, wrong)
        assert "\n" not in str(caught.value)


def test_the_secret_is_not_shown(pki):
    assert PASSWORD.decode() not in repr(pki.identity())


def test_an_error_that_a_token_s_library_left_behind_is_not_taken_for_the_acquirer_s_certificate(pki):
    with soft_token() as soft:
        soft.pin_file.write_text("wrong-0000\n")
        with pytest.raises(OperatorError, match="refuses the PIN"):
            soft.token().make_pair(bytes(16))
        tls = Tls(pki.trust, pki.identity())
    assert isinstance(pays(pki.authority.server("127.0.0.1"), tls)[0], Verified)
