"""The sandbox's certificate authority: a root that kiosks pin, a server's certificate, kiosks' certificates.

Lives are short and renewed at each start; the keys stay, so that what a kiosk pinned stays true. A kiosk's
certificate is issued for a certification request, names its terminal, and can be revoked by its serial.
"""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kiosk.acquirer.tls import spki_pin
from kiosk.domain.errors import OperatorError
from kiosk.sandbox.files import explained, write
from kiosk.sandbox.keys import key_id_of, private_key

__all__ = ["DEVICE_DAYS", "Authority", "Peer", "peer"]

ROOT_DAYS: Final = 3_650
SERVER_DAYS: Final = 7
DEVICE_DAYS: Final = 30
RENEW_ROOT_DAYS: Final = 365
"""A root that ends sooner is made anew at the start, under the same key."""
SKEW: Final = timedelta(minutes=5)
"""Certificates begin so much earlier: clocks differ."""
PEM: Final = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class Peer:
    """Who a certificate says it is: merchant and terminal; `serial` in lower-case hex."""

    merchant: str
    terminal: str
    serial: str
    until: datetime


class Authority:
    """The CA whose files are in `folder`: `ca.key`, `ca.crt`, `tls.key`, `tls.crt`, `revoked.json`."""

    def __init__(self, folder: Path, now_s: Callable[[], float] = time.time) -> None:
        self._folder, self._now_s = folder, now_s
        self._revoked_file = folder / "revoked.json"
        self._key = private_key(folder / "ca.key")
        self.root = self._root(folder / "ca.crt")

    @property
    def root_der(self) -> bytes:
        """What a kiosk pins."""
        return self.root.public_bytes(serialization.Encoding.DER)

    # --- the server ---

    def pins(self) -> list[str]:
        """The server's key, and the spare one that follows it: what a kiosk may find."""
        names = ("tls.key", "tls-next.key")
        return [spki_pin(_der(private_key(self._folder / name).public_key())) for name in names]

    def server(self, host: str) -> ssl.SSLContext:
        """TLS 1.3 as `host` (and this machine's own names), for kiosks with a certificate of this CA only."""
        key, path = private_key(self._folder / "tls.key"), self._folder / "tls.crt"
        names: list[x509.GeneralName] = [x509.DNSName("localhost")]
        for text in dict.fromkeys((host, "127.0.0.1", "::1")):
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(text)))
            except ValueError:
                names.append(x509.DNSName(text))
        certificate = self._leaf(
            key.public_key(),
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sandbox acquirer")]),
            SERVER_DAYS,
            (x509.SubjectAlternativeName(names), False),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        )
        write(path, certificate.public_bytes(PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(path, self._folder / "tls.key")
        context.load_verify_locations(cadata=self.root_der)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    # --- kiosks ---

    def certify(self, request_pem: bytes, days: float = DEVICE_DAYS) -> bytes:
        """The certificate (PEM) for a kiosk's certification request, with the subject that it asks for.

        Raises:
            OperatorError: not a request, not signed by its own key, or it names another key or no terminal.
        """
        wrong = OperatorError(
            "not a kiosk's request for a TLS certificate", do="Give what `kiosk keys tls csr` wrote."
        )
        try:
            request = x509.load_pem_x509_csr(request_pem)
            key = request.public_key()
            names = {name.oid: str(name.value) for name in request.subject}
            good = request.is_signature_valid
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise wrong from None
        if not isinstance(key, ec.EllipticCurvePublicKey) or not good:
            raise wrong
        if names.get(NameOID.COMMON_NAME) != key_id_of(_der(key), "tls"):
            raise wrong  # another kind of request, such as the signing key's
        if not names.get(NameOID.SERIAL_NUMBER):
            raise wrong
        usage = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        return self._leaf(key, request.subject, days, usage).public_bytes(PEM)

    def revoke(self, serial: str) -> None:
        """No call under the certificate with this serial (hex) is treated from now on."""
        try:
            known = f"{int(serial.replace(':', ''), 16):x}"
        except ValueError:
            raise OperatorError(
                f"{serial!r} is no serial number", do="`kiosk keys tls show` on the kiosk prints it."
            ) from None
        listed = sorted(self._revoked() | {known})
        write(self._revoked_file, msgspec.json.format(msgspec.json.encode(listed)))

    def is_revoked(self, serial: str) -> bool:
        """Read from the file now: a running sandbox follows at its next call."""
        return serial in self._revoked()

    def _revoked(self) -> set[str]:
        with explained(self._revoked_file):
            try:
                listed = self._revoked_file.read_bytes()
            except FileNotFoundError:
                return set()
        try:
            return set(msgspec.json.decode(listed, type=list[str]))
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise OperatorError(
                f"not a list of serials: {error}",
                where=str(self._revoked_file),
                do="Use `kiosk sandbox revoke`.",
            ) from None

    # --- certificates ---

    def _root(self, path: Path) -> x509.Certificate:
        with explained(path), contextlib.suppress(FileNotFoundError, ValueError):
            found = x509.load_pem_x509_certificate(path.read_bytes())
            left = found.not_valid_after_utc - self._now()
            if left > timedelta(days=RENEW_ROOT_DAYS) and found.public_key() == self._key.public_key():
                return found
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sandbox root")])
        public = self._key.public_key()
        made = (
            self._dated(name, name, public, ROOT_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        write(path, made.public_bytes(PEM))
        return made

    def _leaf(
        self,
        public: ec.EllipticCurvePublicKey,
        subject: x509.Name,
        days: float,
        *extensions: tuple[x509.ExtensionType, bool],
    ) -> x509.Certificate:
        ours = self._key.public_key()
        builder = self._dated(subject, self.root.subject, public, days)
        for extension, critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(signs_certificates=False), True),
            (x509.SubjectKeyIdentifier.from_public_key(public), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(ours), False),
            *extensions,
        ):
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256())

    def _dated(
        self, subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: float
    ) -> x509.CertificateBuilder:
        now = self._now()
        return x509.CertificateBuilder(
            issuer, subject, public, x509.random_serial_number(), now - SKEW, now + timedelta(days=days)
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._now_s(), UTC)


def peer(certificate: bytes) -> Peer:
    """Who a certificate (DER, of this CA) speaks for."""
    shown = x509.load_der_x509_certificate(certificate)
    names = {name.oid: str(name.value) for name in shown.subject}
    return Peer(
        names.get(NameOID.ORGANIZATION_NAME, ""),
        names.get(NameOID.SERIAL_NUMBER, ""),
        f"{shown.serial_number:x}",
        shown.not_valid_after_utc,
    )


def _der(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
