"""A certification request (PKCS#10, RFC 2986) signed by whatever holds the key: a file, or a token.

`cryptography` builds requests only for keys that it holds itself; asn1crypto writes the structure, the key's
own port signs it. The signature proves to the acquirer that whoever asks has the private half.
"""

from __future__ import annotations

from asn1crypto.algos import DSASignature, SignedDigestAlgorithm
from asn1crypto.csr import CertificationRequest, CertificationRequestInfo
from asn1crypto.keys import PublicKeyInfo
from asn1crypto.pem import armor
from asn1crypto.x509 import Name

from kiosk.domain.ports import KeyPort

__all__ = ["certification_request"]


def certification_request(key: KeyPort, *, merchant_id: str, terminal_id: str) -> bytes:
    """The request as PEM. CN is the key's id, O the merchant, serialNumber the terminal.

    Raises:
        OperatorError: the key can't sign now.
    """
    subject = {
        "common_name": key.key_id,
        "organization_name": merchant_id,
        "serial_number": terminal_id,
    }
    info = CertificationRequestInfo(
        {
            "version": "v1",
            "subject": Name.build(subject),
            "subject_pk_info": PublicKeyInfo.load(key.public_key_der()),
            "attributes": [],
        }
    )
    request = CertificationRequest(
        {
            "certification_request_info": info,
            "signature_algorithm": SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"}),
            "signature": DSASignature.from_p1363(key.sign(info.dump())).dump(),
        }
    )
    pem: bytes = armor("CERTIFICATE REQUEST", request.dump())
    return pem
