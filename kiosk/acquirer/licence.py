"""The provider's licence: a scheme's word that this provider may take payments by face, with these keys.

A licence is a JWS by a root of the scheme and travels inside the policy. The roots are pinned in a file of
their own, `scheme.json`, which the acquirer does not hand out for itself: who controls an acquirer's keys can
sign policies, and can't make themselves a provider. Without a root here nobody's policy is believed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from kiosk.acquirer.messages import LicenceTerms, parse
from kiosk.acquirer.signing import TrustedKeys, jws_key_id, load_public_key, verify_jws
from kiosk.domain.errors import OperatorError, ProtocolError

__all__ = ["FACE_PAYMENT", "LICENCE_TYP", "Licence", "Scheme", "key_digest", "load_roots"]

LICENCE_TYP: Final = "facepay-licence+jws"
FACE_PAYMENT: Final = "face_payment"
"""The service that a licence has to name."""


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence that a pinned `root` (its key id) signed, and that is for this provider and policy key."""

    terms: LicenceTerms
    root: str

    def check_begun(self, now_s: float) -> None:
        """ProtocolError when it is not in force yet at `now_s` (seconds since 1970, UTC)."""
        if self.terms.not_before.timestamp() > now_s:
            begins = self.terms.not_before.isoformat()
            raise ProtocolError(f"licence {self.terms.licence} is not valid before {begins}")

    def check_time(self, now_s: float) -> None:
        """ProtocolError unless it is in force at `now_s`."""
        self.check_begun(now_s)
        if self.terms.expires.timestamp() <= now_s:
            raise ProtocolError(f"licence {self.terms.licence} expired at {self.terms.expires.isoformat()}")


class Scheme:
    """The roots that are believed here (key id -> SubjectPublicKeyInfo, DER). None: nobody is licensed.

    `sandbox`: a licence of class sandbox will do; never in production.
    """

    def __init__(self, roots: Mapping[str, bytes], *, sandbox: bool) -> None:
        self.roots = frozenset(roots)
        self._trusted = TrustedKeys(roots)
        self._sandbox = sandbox

    def licence(self, jws: str, *, provider: str, policy_key: bytes) -> Licence:
        """Read the licence that a policy of `provider`, signed by `policy_key` (DER), brought along.

        Its time is the caller's business (`Licence.check_time`).

        Raises:
            ProtocolError: not by a pinned root, for another provider, key or service, or of class sandbox
                where that is not taken.
        """
        if not self.roots:
            raise ProtocolError("no scheme's root is known here (scheme.json), so no licence can be checked")
        signed = jws.encode()
        try:
            terms = parse(verify_jws(signed, LICENCE_TYP, self._trusted), LicenceTerms)
        except ProtocolError as error:
            raise ProtocolError(f"no licence by a root of the scheme ({error})") from None
        reasons = (
            (terms.provider != provider, f"is for {terms.provider}, not for {provider}"),
            (FACE_PAYMENT not in terms.services, f"does not cover {FACE_PAYMENT}"),
            (
                key_digest(policy_key) not in terms.policy_keys,
                "does not cover the key that signed the policy",
            ),
            (terms.licence_class == "sandbox" and not self._sandbox, "is a sandbox's: not for production"),
        )
        for refused, why in reasons:
            if refused:
                raise ProtocolError(f"licence {terms.licence} {why}")
        return Licence(terms, jws_key_id(signed))


def key_digest(der: bytes) -> str:
    """How a licence names a key: SHA-256 over its SubjectPublicKeyInfo, hex."""
    return hashlib.sha256(der).hexdigest()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    roots: dict[str, bytes]


def load_roots(path: Path) -> dict[str, bytes]:
    """Read `scheme.json`: `roots`, key id -> SubjectPublicKeyInfo (DER, base64).

    Raises:
        OperatorError: unreadable, not such a file, empty, or a key that is not P-256.
    """
    do = "Put the scheme.json there that your scheme (not your acquirer) published."
    try:
        roots = msgspec.json.decode(path.read_bytes(), type=_File).roots
        for key in roots.values():
            load_public_key(key)
    except OSError as error:
        raise OperatorError(f"cannot be read ({error.strerror})", where=str(path), do=do) from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise OperatorError(
            f"not a scheme's file: {ascii(str(error))[1:-1]}", where=str(path), do=do
        ) from None
    except OperatorError as error:
        raise OperatorError(error.what, where=str(path), do=do) from None
    if not roots:
        raise OperatorError("names no root to believe", where=str(path), do=do)
    return roots
