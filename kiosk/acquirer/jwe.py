"""What only one side may read: compact JWE (RFC 7516) to its key, ECDH-ES on P-256 and A256GCM.

The protected header says what it is (`typ`), to which key (`kid`) and what it belongs to (`ref`), so that
none passes for another and none is moved to another payment.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from joserfc.registry import HeaderParameter

from kiosk.acquirer.signing import load_public_key
from kiosk.domain.errors import ProtocolError
from kiosk.domain.limits import PinKey

__all__ = ["EPOCH_TYP", "PIN_TYP", "TEMPLATE_TYP", "WISHES_TYP", "Recipient", "seal"]

EPOCH_TYP: Final = "facepay-epoch+jwe"
PIN_TYP: Final = "facepay-pin+jwe"
TEMPLATE_TYP: Final = "facepay-template+jwe"
WISHES_TYP: Final = "facepay-wishes+jwe"
_REGISTRY: Final = jwe.JWERegistry(
    header_registry={"ref": HeaderParameter("the attempt that it belongs to", "str", required=True)},
    algorithms=["ECDH-ES", "A256GCM"],
)


def seal(content: bytes, typ: str, ref: str, key: PinKey) -> str:
    """`content` as a compact JWE that only the holder of `key` opens.

    Raises:
        OperatorError: `key` is not one on P-256.
    """
    public = load_public_key(key.der).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    header = {"alg": "ECDH-ES", "enc": "A256GCM", "typ": typ, "kid": key.kid, "ref": ref}
    return jwe.encrypt_compact(header, content, ECKey.import_key(public), registry=_REGISTRY)


class Recipient:
    """The other side: opens what was sealed to `key`, whose id is `kid`."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, kid: str) -> None:
        self._kid = kid
        self._key = ECKey.import_key(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def open(self, sealed: str, typ: str, ref: str) -> bytes:
        """The content of a JWE of exactly this `typ`, for this key and for `ref`.

        Raises:
            ProtocolError: anything else.
        """
        try:
            opened = jwe.decrypt_compact(sealed, self._key, registry=_REGISTRY)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError):
            raise ProtocolError("not a JWE for this key") from None
        header = opened.headers()
        if (header.get("typ"), header.get("kid"), header.get("ref")) != (typ, self._kid, ref):
            raise ProtocolError("a JWE for something else")
        return opened.plaintext or b""
