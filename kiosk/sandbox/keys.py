"""The sandbox's own keys, and the terminals' public keys that it was told to believe.

Everything is in files of the sandbox's folder. A terminal is registered out of band: an entry in
`terminals.json`, or a kiosk whose data folder the sandbox shares (`device.pub` beside it). Both are read
at each call, so that a kiosk may come later than the sandbox, and a key that was followed ends in time.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from kiosk.acquirer.signing import load_public_key
from kiosk.domain.errors import OperatorError
from kiosk.sandbox.files import explained, write

__all__ = ["DEV", "OwnKey", "Terminals", "key_id_of", "private_key"]

DEV: Final = "dev-"
"""How the id of a software key begins; one on a token begins with `hw-`."""
PREFIXES: Final = ("dev", "hw")


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A terminal's key: refused after `until`, and speaking for the terminal of the key that it `follows`."""

    key: bytes
    until: datetime | None = None
    follows: str = ""


def key_id_of(public_der: bytes, prefix: str = "dev") -> str:
    """A key's id: `prefix` and 128 bits of SHA-256 over its SubjectPublicKeyInfo."""
    return f"{prefix}-{hashlib.sha256(public_der).hexdigest()[:32]}"


class OwnKey:
    """A P-256 key in a file (PKCS#8, PEM, 0600), made when it is not there; signs for the acquirer."""

    def __init__(self, path: Path, prefix: str) -> None:
        self._key = private_key(path)
        self.public_der = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.key_id = key_id_of(self.public_der, prefix)

    def sign(self, message: bytes) -> bytes:
        """r || s, 64 bytes."""
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The P-256 key in `path` (PKCS#8, PEM, 0600), made when it is not there."""
    with explained(path):
        if not path.exists():
            _make(path)
        pem = path.read_bytes()
    return _p256(pem, path)


def _make(path: Path) -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write(path, pem)


def _p256(pem: bytes, path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise OperatorError(
            "not a P-256 private key",
            where=str(path),
            do="Remove it; it is made anew and kiosks pin it anew.",
        )
    return key


class Terminals:
    """Who may ask: `terminals.json` in `folder` (key id -> DER or an entry), the kiosk of `beside`."""

    def __init__(self, folder: Path, beside: Path, now_s: Callable[[], float] = time.time) -> None:
        self.file, self._shared, self._now_s = folder / "terminals.json", beside / "device.pub", now_s

    def find(self, key_id: str) -> ec.EllipticCurvePublicKey | None:
        """The public key of `key_id`, read from the files now; None: not registered, or its time is over."""
        entry = self._registered().get(key_id)
        if entry is not None:
            over = entry.until is not None and entry.until.timestamp() <= self._now_s()
            return None if over else load_public_key(entry.key)
        if self._shared.exists():
            _, der = _read(self._shared)
            if key_id in [key_id_of(der, prefix) for prefix in PREFIXES]:
                return load_public_key(der)
        return None

    def followed(self, key_id: str) -> str:
        """The key that `key_id` took the place of, "" when it is a terminal's first."""
        entry = self._registered().get(key_id)
        return entry.follows if entry else ""

    def register(self, file: Path, *, replaces: str = "", overlap_s: float = 0) -> str:
        """Believe the key in `file` (a public key or a certification request, PEM) from now on; its id.

        `replaces`: the id that it follows, which is believed for `overlap_s` more.
        """
        key_id, der = _read(file)
        registered = self._registered()
        if replaces:
            if replaces not in registered and self.find(replaces) is None:
                raise OperatorError(f"no terminal has the key {replaces}", where=str(self.file))
            old = registered.get(replaces) or _Entry(_read(self._shared)[1])
            until = datetime.fromtimestamp(self._now_s() + overlap_s, UTC)
            registered[replaces] = msgspec.structs.replace(old, until=until)
        registered[key_id] = _Entry(der, follows=replaces)
        listed = {
            name: entry if entry.until or entry.follows else entry.key for name, entry in registered.items()
        }
        write(self.file, msgspec.json.format(msgspec.json.encode(listed)))
        return key_id

    def _registered(self) -> dict[str, _Entry]:
        with explained(self.file):
            if not self.file.exists():
                return {}
            listed = self.file.read_bytes()
        try:
            found = msgspec.json.decode(listed, type=dict[str, bytes | _Entry])
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise OperatorError(
                f"not a list of keys: {error}", where=str(self.file), do="Use `kiosk sandbox trust`."
            ) from None
        return {name: _Entry(entry) if isinstance(entry, bytes) else entry for name, entry in found.items()}


def _read(pem: Path) -> tuple[str, bytes]:
    """Key id and SubjectPublicKeyInfo of a file. A request proves that its sender has the private half, and
    names the key by its class: `hw-` or `dev-`."""
    try:
        text = pem.read_bytes()
        if b"CERTIFICATE REQUEST" in text:
            return _of_request(x509.load_pem_x509_csr(text))
        key = serialization.load_pem_public_key(text)
    except (OSError, ValueError, UnsupportedAlgorithm):
        raise OperatorError(
            "not a public key or certification request in PEM",
            where=str(pem),
            do="Give the kiosk's device.pub, or what `kiosk keys csr` wrote.",
        ) from None
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key_id_of(der), der


def _of_request(request: x509.CertificateSigningRequest) -> tuple[str, bytes]:
    """ValueError when it is not signed by its own key, or names another."""
    key = request.public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    names = [name.value for name in request.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    if not request.is_signature_valid or names not in [[key_id_of(der, prefix)] for prefix in PREFIXES]:
        raise ValueError
    return str(names[0]), der
