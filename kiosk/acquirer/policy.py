"""The acquirer's policy: one JWS, checked by a pinned key, kept on disk, and never replaced by an older one.

A restart without network still has limits until they expire. What was stored is verified again when it is
loaded, its licence too: a changed file, or one by a key that is pinned no more, is no policy, and the kiosk
fetches it anew. Without one, or after its expiry or its licence's, nobody pays by face.

Beside `policy.jws` lies `policy.mark`: the newest version that was ever accepted, under a secret of this
kiosk. A policy without its mark, or older than it, is not believed, so neither file taken away nor an older
one put back lowers anything. `over` in the mark: this policy was seen expired, and no clock that is set back
revives it; only the acquirer can, by sending it again.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from kiosk.acquirer.licence import Licence, Scheme
from kiosk.acquirer.messages import PolicyTerms, encode, parse
from kiosk.acquirer.signing import TrustedKeys, jws_key_id, verify_jws
from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.domain.limits import Policy
from kiosk.files import write_whole

__all__ = ["MARK_PURPOSE", "POLICY_TYP", "PolicyStore"]

POLICY_TYP: Final = "facepay-policy+jws"
MARK_PURPOSE: Final = "policy-mark"
"""What the key port derives the mark's secret for."""


class _Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest accepted policy: `wording` is SHA-256 over its terms, `root` who licensed its provider."""

    version: int
    wording: str
    provider: str
    root: str
    over: bool = False


@dataclass(frozen=True, slots=True)
class _Verified:
    """A policy by a pinned key, under a licence by a root of the scheme; their times are not checked."""

    terms: PolicyTerms
    licence: Licence

    @property
    def mark(self) -> _Mark:
        """A licence that is renewed changes no term: it is no part of the wording."""
        terms = msgspec.structs.replace(self.terms, licence="")
        wording = hashlib.sha256(encode(terms)).hexdigest()
        return _Mark(self.terms.version, wording, self.terms.provider, self.licence.root)


def _check_follows(found: _Mark, newest: _Mark) -> None:
    """ProtocolError when `found` is older than the newest accepted one, or another wording of it."""
    if found.version < newest.version:
        raise ProtocolError(f"policy {found.version} after {newest.version}: it never goes back")
    if found.version == newest.version and found.wording != newest.wording:
        raise ProtocolError(f"policy {found.version} in two wordings")


class PolicyStore:
    """The policy in force at `path`; `keys`: the acquirer's policy keys, key id -> DER.

    `secret` (32 bytes, of `KeyPort.derive(MARK_PURPOSE)`) seals the mark. For one thread.
    """

    def __init__(self, path: Path, keys: Mapping[str, bytes], scheme: Scheme, secret: bytes) -> None:
        self._path, self._mark_path = path, path.with_name("policy.mark")
        self._keys, self._trusted, self._scheme, self._secret = dict(keys), TrustedKeys(keys), scheme, secret
        self._over = 0
        self.problem = ""
        """Why what is stored is not used; one line, empty when it is or when there is nothing."""
        self.licence: Licence | None = None
        """The licence of the policy that was loaded or accepted last."""

    def load(self, now_s: float) -> Policy | None:
        """The last policy that was accepted, expired or not (`Policy.expires_s`); None when there is none.

        What is stored and not believed (any more) is none; `problem` says why.

        Raises:
            OperatorError: it cannot be read.
        """
        self.problem, self.licence = "", None
        jws = self._read(self._path)
        if jws is None:
            return None
        try:
            found = self._verified(jws)
            found.licence.check_begun(now_s)
            mark = self._newest(found.terms.provider)
            if mark is None:
                raise ProtocolError(f"policy {found.terms.version} is not one that was accepted here")
            _check_follows(found.mark, mark)
        except ProtocolError as error:
            self.problem = f"the stored policy is not used: {error}"
            return None
        self.licence, self._over = found.licence, mark.version if mark.over else 0
        return found.terms.policy(found.licence.terms)

    def accept(self, jws: bytes, now_s: float) -> Policy:
        """Verify a policy that just came and keep it. `now_s`: a time that the acquirer's answer bore out.

        Raises:
            ProtocolError: not signed by a pinned key, not licensed, expired, older than the newest that was
                accepted, or other terms under that one's version.
            OperatorError: the disk refuses it.
        """
        found = self._verified(jws)
        found.licence.check_time(now_s)
        if found.terms.expires.timestamp() <= now_s:
            raise ProtocolError(f"policy {found.terms.version} expired at {found.terms.expires.isoformat()}")
        mark = self._newest(found.terms.provider)
        if mark is not None:
            _check_follows(found.mark, mark)
        # The mark first: a crash between the two leaves no policy, and the kiosk fetches it.
        if found.mark != mark:
            self._keep(self._mark_path, self._sealed(found.mark))
        if not self._is_stored(found):
            self._keep(self._path, jws)
        self.problem, self.licence, self._over = "", found.licence, 0
        return found.terms.policy(found.licence.terms)

    def is_over(self, policy: Policy, now_s: float) -> bool:
        """Whether `policy` has expired, now or at any time at which this was asked since it was accepted."""
        if policy.expires_s <= now_s and self._over != policy.version:
            self._over = policy.version
            with suppress(OperatorError):  # a full disk: it is over all the same, until a restart
                mark = self._marked()
                if mark is not None and mark.version == policy.version:
                    self._keep(self._mark_path, self._sealed(msgspec.structs.replace(mark, over=True)))
        return self._over == policy.version

    @property
    def newest(self) -> int | None:
        """The version that was accepted last, by any provider; None: none ever was. Errors as `load`."""
        mark = self._marked()
        return mark.version if mark else None

    # --- inside -----------------------------------------------------------------------------------------

    def _verified(self, jws: bytes) -> _Verified:
        terms = parse(verify_jws(jws, POLICY_TYP, self._trusted), PolicyTerms)
        key = self._keys[jws_key_id(jws)]
        return _Verified(terms, self._scheme.licence(terms.licence, provider=terms.provider, policy_key=key))

    def _marked(self) -> _Mark | None:
        """What this kiosk wrote down; None when there is nothing that it wrote itself."""
        sealed = self._read(self._mark_path) or b""
        content, _, code = sealed.partition(b"\n")
        if not hmac.compare_digest(code, self._code(content)):
            return None
        return msgspec.json.decode(content, type=_Mark)

    def _newest(self, provider: str) -> _Mark | None:
        """The mark, where it is about the same provider under a root that is still pinned.

        Another provider, or a scheme begun anew, counts its versions anew.
        """
        mark = self._marked()
        same = mark is not None and mark.provider == provider and mark.root in self._scheme.roots
        return mark if same else None

    def _code(self, content: bytes) -> bytes:
        return hmac.new(self._secret, content, hashlib.sha256).hexdigest().encode()

    def _sealed(self, mark: _Mark) -> bytes:
        content = msgspec.json.encode(mark)
        return content + b"\n" + self._code(content)

    def _is_stored(self, found: _Verified) -> bool:
        """Whether the file says the same already: the acquirer signs anew at each call, and disks wear."""
        try:
            stored = self._verified(self._read(self._path) or b"")
        except ProtocolError:
            return False
        return stored.mark == found.mark and stored.licence == found.licence

    def _read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OperatorError(f"cannot be read ({error.strerror})", where=str(path)) from None

    def _keep(self, path: Path, content: bytes) -> None:
        try:
            write_whole(path, content, 0o666)  # signed or sealed, and no secret
        except OSError as error:
            raise OperatorError(
                f"the policy can't be stored ({error.strerror})", where=str(path), do="Free the disk."
            ) from None
