"""The sandbox's own keys, and the terminals' public keys that it was told to believe.

Everything is in files of the sandbox's folder. A terminal is registered out of band: an entry in
`terminals.json`, or a kiosk whose data folder the sandbox shares (`device.pub` beside it). Both are read
again when a key is unknown, so that a kiosk may come later than the sandbox.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from kiosk.acquirer.signing import load_public_key
from kiosk.domain.errors import OperatorError
from kiosk.sandbox.files import explained, write

__all__ = ["OwnKey", "Terminals", "key_id_of"]


def key_id_of(public_der: bytes, prefix: str = "dev") -> str:
    """A key's id: `prefix` and 128 bits of SHA-256 over its SubjectPublicKeyInfo."""
    return f"{prefix}-{hashlib.sha256(public_der).hexdigest()[:32]}"


class OwnKey:
    """A P-256 key in a file (PKCS#8, PEM, 0600), made when it is not there; signs for the acquirer."""

    def __init__(self, path: Path, prefix: str) -> None:
        with explained(path):
            if not path.exists():
                _make(path)
            pem = path.read_bytes()
        self._key = _p256(pem, path)
        self.public_der = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.key_id = key_id_of(self.public_der, prefix)

    def sign(self, message: bytes) -> bytes:
        """r || s, 64 bytes."""
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


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
    """Who may ask: `terminals.json` in `folder` (key id -> DER, base64), and the kiosk of `beside`."""

    def __init__(self, folder: Path, beside: Path) -> None:
        self.file, self._shared = folder / "terminals.json", beside / "device.pub"

    def find(self, key_id: str) -> ec.EllipticCurvePublicKey | None:
        """The public key of `key_id`, read from the files now; None when nobody registered it."""
        der = self._registered().get(key_id)
        if der is None and self._shared.exists():
            shared = _der_of(self._shared)
            der = shared if key_id_of(shared) == key_id else None
        return None if der is None else load_public_key(der)

    def register(self, public_pem: Path) -> str:
        """Believe the key in a PEM file from now on; its key id comes back."""
        der = _der_of(public_pem)
        registered = self._registered() | {key_id_of(der): der}
        write(self.file, msgspec.json.format(msgspec.json.encode(registered)))
        return key_id_of(der)

    def _registered(self) -> dict[str, bytes]:
        with explained(self.file):
            if not self.file.exists():
                return {}
            listed = self.file.read_bytes()
        try:
            return msgspec.json.decode(listed, type=dict[str, bytes])
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise OperatorError(
                f"not a list of keys: {error}", where=str(self.file), do="Use `kiosk sandbox trust`."
            ) from None


def _der_of(pem: Path) -> bytes:
    try:
        key = serialization.load_pem_public_key(pem.read_bytes())
    except (OSError, ValueError):
        raise OperatorError(
            "not a public key in PEM", where=str(pem), do="Give the kiosk's device.pub."
        ) from None
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
