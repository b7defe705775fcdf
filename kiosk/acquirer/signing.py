"""Signed messages: RFC 9421 and RFC 9530 for HTTP, compact JWS (RFC 7515) for what stands alone.

A request covers its method, its target, its content and its idempotency key; an answer covers its status and
content and is bound to the very signature that asked for it, so that it can't be an answer to anything else.
One algorithm (ECDSA P-256, SHA-256), one tag, pinned keys; a message that is not exactly so is refused.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidSignature as BadMathematics
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from http_message_signatures import (
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    InvalidSignature,
    VerifyResult,
)
from http_message_signatures.algorithms import ECDSA_P256_SHA256
from http_message_signatures.exceptions import HTTPMessageSignaturesException

from kiosk.acquirer.messages import Message, parse
from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.domain.ports import Clock

__all__ = [
    "JSON",
    "LIFETIME_S",
    "SKEW_S",
    "TAG",
    "HttpAnswer",
    "HttpRequest",
    "NonceCache",
    "SignatureError",
    "Signer",
    "SigningKey",
    "TrustedKeys",
    "VerifiedRequest",
    "jws_key_id",
    "load_public_key",
    "sign_answer",
    "sign_jws",
    "sign_request",
    "verify_answer",
    "verify_jws",
    "verify_request",
]

TAG: Final = "facepay-v1"
LABEL: Final = "k"
JSON: Final = "application/json"
LIFETIME_S: Final = 60
"""`expires` is `created` plus this; an older signature is worth nothing."""
SKEW_S: Final = 5
"""How far two clocks may be apart."""
NONCE_BYTES: Final = 16

SPELLING: Final = re.compile(rf"{LABEL}=:[A-Za-z0-9+/]{{85}}[AQgw]==:", re.ASCII)
"""64 bytes in base64 have one canonical spelling, and parsers accept others; an answer binds the text."""

COVERED_WITH_BODY: Final = ("@method", "@target-uri", "content-type", "content-digest", "idempotency-key")
COVERED_WITHOUT_BODY: Final = ("@method", "@target-uri")
COVERED_ANSWER: Final = ("@status", "content-type", "content-digest", '"signature";req')
KEY_OF_REQUEST: Final = '"idempotency-key";req'


class SigningKey(Protocol):
    """What signing needs of a `KeyPort`."""

    @property
    def key_id(self) -> str: ...

    def sign(self, message: bytes) -> bytes: ...


class SignatureError(ProtocolError):
    """A signature that is missing, wrong, old, repeated, by a stranger or about something else.

    `code`: unsigned, bad_signature, unknown_key, not_covered, stale, replayed, busy.
    """

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        super().__init__(f"{code}: {detail}")


@dataclass(slots=True)
class HttpRequest:
    """A request as the signature sees it: `url` is the whole target, `headers` keep every line."""

    method: str
    url: str
    headers: MutableMapping[str, str]


@dataclass(slots=True)
class HttpAnswer:
    """An answer and the request that it answers."""

    status_code: int
    headers: MutableMapping[str, str]
    request: HttpRequest


@dataclass(frozen=True, slots=True)
class VerifiedRequest:
    """What a verified signature vouches for. `digest` is the Content-Digest field, "" without a body."""

    key_id: str
    idempotency_key: str | None
    digest: str


def load_public_key(der: bytes) -> ec.EllipticCurvePublicKey:
    """A P-256 public key from SubjectPublicKeyInfo, DER.

    Raises:
        OperatorError: something else; keys are pinned by an operator.
    """
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise OperatorError("not a P-256 public key", do="Take the key that the other side published.")
    return key


class _UnknownKey(InvalidSignature):
    pass


class TrustedKeys(HTTPSignatureKeyResolver):
    """Pinned public keys by key id; `find` is asked for the ones that were not named at the start."""

    def __init__(
        self,
        keys: Mapping[str, bytes],
        find: Callable[[str], ec.EllipticCurvePublicKey | None] = lambda _: None,
    ) -> None:
        self._keys = {key_id: load_public_key(der) for key_id, der in keys.items()}
        self._find = find

    def get(self, key_id: str) -> ec.EllipticCurvePublicKey | None:
        return self._keys.get(key_id) or self._find(key_id)

    def resolve_public_key(self, key_id: str) -> ec.EllipticCurvePublicKey:
        key = self.get(key_id)
        if key is None:
            raise _UnknownKey(f"key {key_id!r} is not pinned")
        return key


class NonceCache:
    """Signatures that were already seen, until they would have expired anyway.

    Bounded: when it is full of live ones, the next is refused rather than one forgotten. It starts empty, so
    that what was signed before `started_s` is refused as well: it may have been seen by the process before.
    """

    def __init__(self, started_s: float, capacity: int = 100_000) -> None:
        self._not_before = int(started_s)
        self._capacity = capacity
        self._until: dict[str, int] = {}

    def use(self, signature: _Signature, now_s: float) -> None:
        """Note one signature.

        Raises:
            SignatureError: seen before, made before the start, or no room.
        """
        if signature.created_s < self._not_before:
            raise SignatureError("stale", "signed before this verifier started")
        if len(self._until) >= self._capacity:
            self._until = {name: until for name, until in self._until.items() if until + SKEW_S >= now_s}
        name = f"{signature.key_id} {signature.nonce}"
        if name in self._until:
            raise SignatureError("replayed", "this signature was used before")
        if len(self._until) >= self._capacity:
            raise SignatureError("busy", "too many live signatures to tell a replay")
        self._until[name] = signature.expires_s


class _Verifier(HTTPMessageVerifier):
    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
        """Times are checked by `_check_window`: after the signature, and by the clock port."""


# --- sign -----------------------------------------------------------------------------------------------


class Signer:
    """Signs with `key`, by the time of `clock`."""

    def __init__(self, key: SigningKey, clock: Clock) -> None:
        self._key = key
        self._clock = clock
        self._signer = HTTPMessageSigner(signature_algorithm=ECDSA_P256_SHA256)

    def apply(self, message: HttpRequest | HttpAnswer, covered: tuple[str, ...], body: bytes | None) -> None:
        """Add Content-Digest (with a body), Signature-Input and Signature to `message`."""
        created = int(self._clock.utc_s())
        prepared = self._signer.prepare(
            message,
            key_id=self._key.key_id,
            created=datetime.fromtimestamp(created, UTC),
            expires=datetime.fromtimestamp(created + LIFETIME_S, UTC),
            nonce=base64.urlsafe_b64encode(secrets.token_bytes(NONCE_BYTES)).rstrip(b"=").decode(),
            label=LABEL,
            tag=TAG,
            covered_component_ids=covered,
            body=body,
        )
        self._signer.apply(message, prepared, self._key.sign(prepared.signature_base))


def sign_request(
    signer: Signer, method: str, url: str, *, body: bytes | None = None, idempotency_key: str | None = None
) -> HttpRequest:
    """The signed request; a body goes with an idempotency key, and neither without the other."""
    if (body is None) != (idempotency_key is None):
        raise ValueError("a body and an idempotency key go together")
    request = HttpRequest(method, url, {})
    if body is None:
        signer.apply(request, COVERED_WITHOUT_BODY, None)
    else:
        request.headers["Content-Type"] = JSON
        request.headers["Idempotency-Key"] = f'"{idempotency_key}"'
        signer.apply(request, COVERED_WITH_BODY, body)
    return request


def sign_answer(
    signer: Signer, request: HttpRequest, status: int, body: bytes, content_type: str = JSON
) -> HttpAnswer:
    """The signed answer to `request`, bound to the signature (good or not) that it carries.

    Raises:
        SignatureError: it carries nothing that an answer can be bound to.
    """
    answer = HttpAnswer(status, {"Content-Type": content_type}, request)
    try:
        signer.apply(answer, _covered_answer(request), body)
    except HTTPMessageSignaturesException as error:
        raise SignatureError("unsigned", str(error)) from None
    return answer


def _covered_answer(request: HttpRequest) -> tuple[str, ...]:
    has_key = any(name.lower() == "idempotency-key" for name in request.headers)
    return (*COVERED_ANSWER, KEY_OF_REQUEST) if has_key else COVERED_ANSWER


# --- verify ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Signature:
    key_id: str
    nonce: str
    created_s: int
    expires_s: int
    components: Mapping[str, str]


def verify_request(
    request: HttpRequest, body: bytes, trusted: TrustedKeys, clock: Clock, nonces: NonceCache
) -> VerifiedRequest:
    """Check who signed `request`, that it covers everything, is fresh and was not seen before.

    Raises:
        SignatureError: anything else than exactly that.
    """
    bare = request.method in ("GET", "DELETE")
    covered = COVERED_WITHOUT_BODY if bare else COVERED_WITH_BODY
    if bare and body:
        raise SignatureError("not_covered", f"a {request.method} with a body")
    now_s = clock.utc_s()
    signature = _verify(request, body, covered, trusted, now_s)
    nonces.use(signature, now_s)
    quoted = signature.components.get('"idempotency-key"')
    if quoted is not None and not (len(quoted) > 2 and quoted[0] == quoted[-1] == '"'):
        raise SignatureError("not_covered", "the idempotency key is not a quoted string")
    return VerifiedRequest(
        key_id=signature.key_id,
        idempotency_key=quoted[1:-1] if quoted else None,
        digest=signature.components.get('"content-digest"', ""),
    )


def verify_answer(answer: HttpAnswer, body: bytes, trusted: TrustedKeys, clock: Clock) -> None:
    """Check that a pinned key answered exactly this request with exactly this content, now.

    Raises:
        SignatureError: anything else; the outcome is then unknown, never declined.
    """
    _verify(answer, body, _covered_answer(answer.request), trusted, clock.utc_s())


def _verify(
    message: HttpRequest | HttpAnswer,
    body: bytes,
    covered: tuple[str, ...],
    trusted: TrustedKeys,
    now_s: float,
) -> _Signature:
    if not {"signature", "signature-input"} <= {name.lower() for name in message.headers}:
        raise SignatureError("unsigned", "no signature")
    verifier = _Verifier(signature_algorithm=ECDSA_P256_SHA256, key_resolver=trusted)
    try:
        (result,) = verifier.verify(message, max_age=None, expect_tag=TAG, expect_label=LABEL, body=body)
    except _UnknownKey as error:
        raise SignatureError("unknown_key", str(error)) from None
    except (HTTPMessageSignaturesException, ValueError, TypeError, KeyError, AssertionError) as error:
        raise SignatureError("bad_signature", str(error)) from None
    expected = {name if name.startswith('"') else f'"{name}"' for name in covered}
    if set(result.covered_components) - {'"@signature-params"'} != expected:
        raise SignatureError("not_covered", "the signature does not cover exactly what it must")
    field = next(value for name, value in message.headers.items() if name.lower() == "signature")
    if not SPELLING.fullmatch(field):
        raise SignatureError("bad_signature", "the signature is not spelt canonically")
    signature = _parameters(result)
    _check_window(signature, now_s)
    return signature


def _parameters(result: VerifyResult) -> _Signature:
    match result.parameters:  # the library checked the types of those that are there
        case {"alg": str(), "keyid": str(key_id), "nonce": str(nonce), "created": int(c), "expires": int(e)}:
            if not NONCE_BYTES <= len(nonce) <= 4 * NONCE_BYTES:
                raise SignatureError("not_covered", "the nonce is not one of 128 bits")
            return _Signature(key_id, nonce, c, e, result.covered_components)
        case _:
            raise SignatureError("not_covered", "alg, nonce, created or expires is missing")


def _check_window(signature: _Signature, now_s: float) -> None:
    created, expires = signature.created_s, signature.expires_s
    if not 0 < expires - created <= LIFETIME_S:
        raise SignatureError("stale", f"valid for {expires - created} s, not {LIFETIME_S}")
    if created > now_s + SKEW_S or expires < now_s - SKEW_S:
        raise SignatureError("stale", f"signed at {created}, and it is {now_s:.0f} here: compare the clocks")


# --- JWS ------------------------------------------------------------------------------------------------


class _JoseHeader(Message, frozen=True, kw_only=True):
    alg: str
    typ: str
    kid: str


def sign_jws(key: SigningKey, typ: str, payload: bytes) -> bytes:
    """A compact JWS, ES256, of `payload`; `typ` says what it is, so that none passes for another."""
    header = f'{{"alg":"ES256","typ":"{typ}","kid":"{key.key_id}"}}'.encode()
    signed = _b64(header) + b"." + _b64(payload)
    return signed + b"." + _b64(key.sign(signed))


def verify_jws(jws: bytes, typ: str, trusted: TrustedKeys) -> bytes:
    """The payload of a compact JWS of exactly this `typ` by a pinned key.

    Raises:
        SignatureError: not one, by a stranger, of another type or algorithm, or altered.
        ProtocolError: a header that is not three known fields.
    """
    parts = jws.split(b".")
    if len(parts) != 3:
        raise SignatureError("bad_signature", "not a compact JWS")
    try:
        header, payload, signature = (_unb64(part) for part in parts)
    except (ValueError, binascii.Error):
        raise SignatureError("bad_signature", "not base64url") from None
    known = parse(header, _JoseHeader)
    if known.alg != "ES256" or known.typ != typ:
        raise SignatureError("bad_signature", f"{known.alg} {known.typ} where ES256 {typ} is due")
    key = trusted.get(known.kid)
    if key is None:
        raise SignatureError("unknown_key", f"key {known.kid!r} is not pinned")
    if len(signature) != 64:
        raise SignatureError("bad_signature", "not r and s of P-256")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        key.verify(encode_dss_signature(r, s), parts[0] + b"." + parts[1], ec.ECDSA(hashes.SHA256()))
    except BadMathematics:
        raise SignatureError("bad_signature", "the content or the signature was altered") from None
    return payload


def jws_key_id(jws: bytes) -> str:
    """The key id that a verified compact JWS names."""
    return parse(_unb64(jws.split(b".")[0]), _JoseHeader).kid


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _unb64(text: bytes) -> bytes:
    data = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _b64(data) != text:
        raise ValueError("not the one spelling")
    return data
