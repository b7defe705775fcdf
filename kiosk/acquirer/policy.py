"""The acquirer's policy: one JWS, checked by a pinned key, kept on disk, and never replaced by an older one.

A restart without network still has limits until they expire. What was stored is verified again when it is
loaded: a changed file is not a policy. Without one, or after its expiry, nobody pays by face.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kiosk.acquirer.messages import PolicyTerms, parse
from kiosk.acquirer.signing import TrustedKeys, verify_jws
from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.domain.limits import Policy
from kiosk.files import write_whole

__all__ = ["POLICY_TYP", "PolicyStore"]

POLICY_TYP: Final = "facepay-policy+jws"


class PolicyStore:
    """The policy in force at `path`; `keys`: the acquirer's policy keys, key id -> DER."""

    def __init__(self, path: Path, keys: Mapping[str, bytes]) -> None:
        self._path = path
        self._trusted = TrustedKeys(keys)

    def load(self) -> Policy | None:
        """The last policy that was accepted, expired or not (`Policy.expires_s`); None when there is none.

        Raises:
            OperatorError: what is stored is not what a pinned key signed.
        """
        terms = self._stored()
        return None if terms is None else terms.policy()

    def accept(self, jws: bytes, now_s: float) -> Policy:
        """Verify a policy that just came and keep it.

        Raises:
            ProtocolError: not signed by a pinned key, expired, older than the stored one, or other terms
                under the stored one's version.
            OperatorError: the disk refuses it.
        """
        terms = parse(verify_jws(jws, POLICY_TYP, self._trusted), PolicyTerms)
        policy = terms.policy()
        if policy.expires_s <= now_s:
            raise ProtocolError(f"policy {policy.version} expired at {terms.expires.isoformat()}")
        stored = self._stored()
        if stored is not None and policy.version < stored.version:
            raise ProtocolError(f"policy {policy.version} after {stored.version}: it never goes back")
        if stored is not None and policy.version == stored.version and terms != stored:
            raise ProtocolError(f"policy {policy.version} in two wordings")
        if terms != stored:
            self._keep(jws)
        return policy

    def _stored(self) -> PolicyTerms | None:
        try:
            jws = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OperatorError(f"cannot be read ({error.strerror})", where=str(self._path)) from None
        try:
            return parse(verify_jws(jws, POLICY_TYP, self._trusted), PolicyTerms)
        except ProtocolError as error:
            raise OperatorError(
                f"not a policy of this acquirer ({error})",
                where=str(self._path),
                do="Delete it; the kiosk fetches the policy again.",
            ) from None

    def _keep(self, jws: bytes) -> None:
        try:
            write_whole(self._path, jws, 0o666)  # signed, and no secret
        except OSError as error:
            raise OperatorError(
                f"the policy can't be stored ({error.strerror})", where=str(self._path), do="Free the disk."
            ) from None
