"""The kiosk's TLS key and certificate: its end of the line. What is said on it, another key signs.

The key is made here and stays here, in a file that only this kiosk's own key opens (`KeyPort.derive`). A new
one waits in `tls.key` for its certificate; then both are one file, `tls.pem`, replaced in one step.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kiosk.domain.errors import OperatorError
from kiosk.domain.ports import KeyPort
from kiosk.files import is_there, write_whole

__all__ = ["DUE_DAYS", "Installed", "TlsKey"]

DUE_DAYS: Final = 10
"""A certificate that ends sooner should be renewed now."""
MAX_CERTIFICATE_BYTES: Final = 64 * 1024
PEM: Final = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class Installed:
    """The certificate in force. `serial` in lower-case hex, as the acquirer lists it; times are UTC."""

    subject: str
    terminal: str
    issuer: str
    serial: str
    since: datetime
    until: datetime


class TlsKey:
    """The files `tls.key` and `tls.pem` in `folder`, opened by `secret` (of `KeyPort.derive("tls")`)."""

    def __init__(self, folder: Path, secret: bytes) -> None:
        self.waiting, self.file = folder / "tls.key", folder / "tls.pem"
        self.password = secret.hex().encode()

    @classmethod
    def of(cls, folder: Path, key: KeyPort) -> TlsKey:
        """That of the kiosk whose key is `key`."""
        return cls(folder, key.derive("tls"))

    def make(self) -> str:
        """A new key, P-256, that waits for its certificate; its id. The one in force stays in force.

        Raises:
            OperatorError: one is waiting already, or the disk refuses it.
        """
        if is_there(self.waiting):
            raise OperatorError(
                "a key is waiting for its certificate already",
                where=str(self.waiting),
                do="Give `kiosk keys tls csr` to the acquirer, then run `kiosk keys tls install`.",
            )
        key = ec.generate_private_key(ec.SECP256R1())
        self._write(self.waiting, self._sealed(key))
        return _id(key.public_key())

    def request(self, *, merchant_id: str, terminal_id: str) -> tuple[str, bytes]:
        """Id and certification request (PEM) of the key that waits, else of the one in force (a renewal).

        CN is the key's id, O the merchant, serialNumber the terminal.
        """
        key = self._key(self.waiting if is_there(self.waiting) else self.file)
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, _id(key.public_key())),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, merchant_id),
                x509.NameAttribute(NameOID.SERIAL_NUMBER, terminal_id),
            ]
        )
        request = x509.CertificateSigningRequestBuilder(name).sign(key, hashes.SHA256())
        return _id(key.public_key()), request.public_bytes(PEM)

    def install(self, certificate: Path, *, terminal_id: str) -> Installed:
        """Take the certificate (PEM, with those above it) that the acquirer gave for one of our keys.

        Raises:
            OperatorError: not a certificate, of another key or terminal, or the disk refuses it.
        """
        chain = _read(certificate)
        key = self._key_of(chain[0], certificate)
        found = _installed(chain[0])
        if found.terminal != terminal_id:
            raise OperatorError(
                f"this certificate is for terminal {found.terminal or 'none'}, and this is {terminal_id}",
                where=str(certificate),
                do="Set store.terminal_id, or ask the acquirer for the right one.",
            )
        self._write(self.file, self._sealed(key) + b"".join(one.public_bytes(PEM) for one in chain))
        if is_there(self.waiting) and self._key(self.waiting).public_key() == key.public_key():
            self.waiting.unlink()
        return found

    def installed(self) -> Installed | None:
        """The certificate in force, also when its time is over; None when there is none."""
        return _installed(_read(self.file)[0]) if is_there(self.file) else None

    def _key_of(self, certificate: x509.Certificate, where: Path) -> ec.EllipticCurvePrivateKey:
        try:
            certified = certificate.public_key()
        except (ValueError, UnsupportedAlgorithm):  # a point that is on no curve, or another kind of key
            certified = None
        for path in (self.waiting, self.file):
            if is_there(path) and (key := self._key(path)).public_key() == certified:
                return key
        raise OperatorError(
            "a certificate of another key",
            where=str(where),
            do="Let the acquirer certify what `kiosk keys tls csr` prints now.",
        )

    def _key(self, path: Path) -> ec.EllipticCurvePrivateKey:
        try:
            if path.stat().st_mode & 0o077:
                raise OperatorError("others may read it", where=str(path), do=f"Run: chmod 600 {path}")
            key = serialization.load_pem_private_key(path.read_bytes(), self.password)
        except FileNotFoundError:
            raise OperatorError(
                "there is no TLS key yet", where=str(path.parent), do="Run `kiosk keys tls make`."
            ) from None
        except OSError as error:
            raise OperatorError(f"cannot be read ({error.strerror})", where=str(path)) from None
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise OperatorError(
                "not a TLS key that this kiosk's own key opens",
                where=str(path),
                do="Remove it, run `kiosk keys tls make` and have the new key certified.",
            )
        return key

    def _sealed(self, key: ec.EllipticCurvePrivateKey) -> bytes:
        how = serialization.BestAvailableEncryption(self.password)
        return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, how)

    def _write(self, path: Path, content: bytes) -> None:
        try:
            write_whole(path, content)
        except OSError as error:
            raise OperatorError(
                f"cannot be written ({error.strerror})",
                where=str(path),
                do="Free the disk, or run as the folder's owner.",
            ) from None


def _read(path: Path) -> list[x509.Certificate]:
    try:
        with path.open("rb") as file:
            return x509.load_pem_x509_certificates(file.read(MAX_CERTIFICATE_BYTES))
    except OSError as error:
        raise OperatorError(f"cannot be read ({error.strerror})", where=str(path)) from None
    except ValueError:
        raise OperatorError(
            "not a certificate in PEM", where=str(path), do="Give the file that the acquirer gave you."
        ) from None


def _installed(certificate: x509.Certificate) -> Installed:
    terminals = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    return Installed(
        subject=certificate.subject.rfc4514_string(),
        terminal=str(terminals[0].value) if terminals else "",
        issuer=certificate.issuer.rfc4514_string(),
        serial=f"{certificate.serial_number:x}",
        since=certificate.not_valid_before_utc,
        until=certificate.not_valid_after_utc,
    )


def _id(key: ec.EllipticCurvePublicKey) -> str:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return "tls-" + hashlib.sha256(der).hexdigest()[:32]
