"""TLS 1.3 with certificates on both sides: each side is proved before a byte of a request leaves.

The acquirer is held against the CA and the key pins of `acquirer.json` and against its host name; the kiosk
shows its own certificate, and waits for the sign that it was taken. Whatever fails here, nothing was sent.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from urllib3.util import wait_for_read

from kiosk.domain.errors import OperatorError

__all__ = ["PIN_PATTERN", "Tls", "TlsError", "TlsIdentity", "TlsTrust", "spki_pin"]

PIN_PATTERN: Final = re.compile(r"sha256/[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=", re.ASCII)
"""SHA-256 of a certificate's SubjectPublicKeyInfo in base64, as in RFC 7469 (2.4)."""
ACCEPTED_S: Final = 0.25
"""How long the kiosk waits for the acquirer's first word after the handshake (see `Tls.wrap`)."""
KEPT_SESSIONS: Final = 4
T = TypeVar("T")

_TIME: Final = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_NAME: Final = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_REASONS: Final = (
    # what OpenSSL calls it, our code, what it means
    ("CERTIFICATE_REQUIRED", "own_missing", "it wants a certificate of this kiosk, and there is none"),
    ("CERTIFICATE_EXPIRED", "own_expired", "it says that this kiosk's certificate has expired"),
    ("CERTIFICATE_REVOKED", "own_revoked", "it has revoked this kiosk's certificate"),
    ("ALERT_UNKNOWN_CA", "own_refused", "it does not know who made this kiosk's certificate"),
    ("BAD_CERTIFICATE", "own_refused", "it does not take this kiosk's certificate"),
    ("CERTIFICATE_UNKNOWN", "own_refused", "it does not take this kiosk's certificate"),
    ("ACCESS_DENIED", "own_refused", "it does not take this kiosk's certificate"),
    ("PROTOCOL_VERSION", "version", "it does not speak TLS 1.3"),
    ("UNSUPPORTED_PROTOCOL", "version", "it does not speak TLS 1.3"),
)


class TlsError(OSError):
    """No connection that may carry a request. `code` is for what a technician does about it:

    server_untrusted, server_pin, server_name, server_expired, version; own_missing, own_expired, own_revoked,
    own_refused; handshake (anything else).
    """

    def __init__(self, code: str, what: str) -> None:
        self.code = code
        super().__init__(what)


@dataclass(frozen=True, slots=True)
class TlsTrust:
    """Whom the acquirer's certificate must come from (`ca`, DER; empty: the system's authorities), and which
    keys it may have (`pins`, `sha256/...`; empty: any)."""

    ca: tuple[bytes, ...] = ()
    pins: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """The kiosk's own: a PEM `file` with its encrypted key and certificate, and what opens it."""

    file: Path
    password: bytes = field(repr=False)


class Tls:
    """How connections to one acquirer are secured. Safe to share between threads; keeps tickets for later.

    Raises:
        OperatorError: the identity's file can't be used.
    """

    def __init__(self, trust: TlsTrust, identity: TlsIdentity | None = None) -> None:
        self._pins = trust.pins
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and host name
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        if trust.ca:
            for certificate in trust.ca:
                self._believe(certificate)
        else:
            self._context.load_default_certs()
        if identity is not None:
            self._show(identity)
        self._hung_up = (
            TlsError("own_missing", "it hung up, and this kiosk shows no certificate")
            if identity is None
            else TlsError("own_refused", "it hung up on seeing this kiosk's certificate")
        )
        self._sessions: deque[ssl.SSLSession] = deque(maxlen=KEPT_SESSIONS)

    def _believe(self, certificate: bytes) -> None:
        """A token's library may share OpenSSL with us, and leave an error of its own in this thread's queue
        (SoftHSM2 does, after a wrong PIN): it is taken for ours once, and is gone then."""
        try:
            self._context.load_verify_locations(cadata=certificate)
        except ssl.SSLError:
            self._context.load_verify_locations(cadata=certificate)

    def _show(self, identity: TlsIdentity) -> None:
        do = "Install it again: kiosk keys tls install, or begin anew with kiosk keys tls make."
        try:
            self._context.load_cert_chain(identity.file, password=lambda: identity.password)
        except ssl.SSLError:
            raise OperatorError(
                "not this kiosk's certificate and key", where=str(identity.file), do=do
            ) from None
        except OSError as error:
            raise OperatorError(
                f"cannot be read ({error.strerror})", where=str(identity.file), do=do
            ) from None

    def wrap(self, sock: socket.socket, host: str) -> ssl.SSLSocket:
        """The handshake on a connected socket: TLS 1.3, certificate, `host`, pin, and our own certificate.

        In TLS 1.3 a client is done before the server has looked at its certificate. So the kiosk waits for
        the server's first word after it, for at most `ACCEPTED_S`: a session ticket says that it was taken,
        an alert why it was not. On a connection that resumes an earlier one that was settled then.

        Raises:
            TlsError: not so; nothing but the handshake was sent.
            OSError: the network.
        """
        earlier = self._sessions.pop() if self._sessions else None
        wrapped = _spoken(lambda: self._context.wrap_socket(sock, server_hostname=host, session=earlier))
        try:
            self._check_pin(wrapped)
            if not wrapped.session_reused and not _is_accepted(wrapped):
                raise self._hung_up
        except OSError:
            wrapped.close()
            raise
        return wrapped

    def remember(self, sock: ssl.SSLSocket) -> None:
        """Keep the ticket that came with a connection: the next one is spared a handshake's signatures."""
        if sock.session is not None and sock.session.has_ticket:
            self._sessions.append(sock.session)

    def _check_pin(self, sock: ssl.SSLSocket) -> None:
        if not self._pins:
            return
        shown = x509.load_der_x509_certificate(sock.getpeercert(binary_form=True) or b"")
        pin = spki_pin(
            shown.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        if pin not in self._pins:
            raise TlsError("server_pin", f"its key is {pin}, which acquirer.json does not pin")


def spki_pin(public: bytes) -> str:
    """`sha256/...` of a public key (SubjectPublicKeyInfo, DER)."""
    return "sha256/" + base64.b64encode(hashlib.sha256(public).digest()).decode()


def _is_accepted(sock: ssl.SSLSocket) -> bool:
    """False when the server hangs up, without a word, on seeing our certificate. TlsError: with one, or it
    says something although nobody asked."""
    patience, until = sock.gettimeout(), time.monotonic() + ACCEPTED_S
    sock.setblocking(False)
    while not (sock.session and sock.session.has_ticket):
        left_s = until - time.monotonic()
        if left_s <= 0 or not wait_for_read(sock, left_s):
            break
        try:
            said = _spoken(lambda: sock.recv(1))
        except ssl.SSLWantReadError:
            continue
        except ConnectionError:
            return False
        if said:
            raise TlsError("handshake", "it speaks before it was asked")
        return False
    sock.settimeout(patience)
    return True


def _spoken(call: Callable[[], T]) -> T:
    """What `call` returns; an error of TLS as what it means."""
    try:
        return call()
    except ssl.SSLWantReadError:
        raise
    except ssl.SSLCertVerificationError as error:
        raise _untrusted(error) from None
    except ssl.SSLError as error:
        reason = error.reason or ""
        for name, code, what in _REASONS:
            if name in reason:
                raise TlsError(code, what) from None
        said = reason.replace("_", " ").lower() or "it hung up"
        raise TlsError("handshake", f"no TLS connection: {said}") from None


def _untrusted(error: ssl.SSLCertVerificationError) -> TlsError:
    """Why a certificate was not believed."""
    if error.verify_code in _TIME:
        return TlsError("server_expired", "its certificate is not valid today")
    if error.verify_code in _NAME:
        return TlsError("server_name", "its certificate is for another host")
    return TlsError("server_untrusted", f"its certificate is not from the pinned CA ({error.verify_message})")
