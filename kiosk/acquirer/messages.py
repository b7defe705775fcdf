"""The words of the protocol: what a kiosk asks, what an acquirer answers, and nothing else.

Bytes that come from outside are parsed here or refused here (`ProtocolError`); bytes that go out are frozen
in an `Exchange` once, so that the journal keeps and a retry sends exactly the same. `docs/protocol.md` maps
every field to ISO 20022 caaa and ISO 8583.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct

from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.domain.limits import MAX_COUNT, Limits, OfflineCaps, PinKey, Policy
from kiosk.domain.money import CURRENCIES, MAX_MINOR, Money
from kiosk.domain.payment import Answer, Authorise, Order, Result
from kiosk.domain.ports import Clock, Mode

__all__ = [
    "MAX_BODY_BYTES",
    "VERSION",
    "Amount",
    "AnswerMessage",
    "CeilingTerms",
    "EvidenceMessage",
    "Exchange",
    "LicenceTerms",
    "LimitsLeft",
    "OfflineMessage",
    "OfflineTerms",
    "Operation",
    "PayerMessage",
    "PaymentRequest",
    "PinKeyTerms",
    "PolicyTerms",
    "Problem",
    "Request",
    "ReversalRequest",
    "Terminal",
    "encode",
    "freeze",
    "new_ref",
    "parse",
    "parse_answer",
    "payment_request",
    "policy_request",
    "printable",
    "reversal_request",
    "status_request",
    "utc",
]

VERSION: Final = 1
MAX_BODY_BYTES: Final = 64 * 1024
"""No message of this protocol comes near it; more is hostile."""

Operation = Literal[
    "payment", "status", "reversal", "policy",
    "refund", "advice", "reconciliation", "dispute",
    "enrolment", "payer", "withdrawal", "identification", "gallery_keys",
    "telemetry",
]  # fmt: skip
"""What is asked of an acquirer; the first line's messages are in this file, the others in `operations`."""

# `\Z`, not `$`: the latter also matches before a trailing newline.
Ref = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")]
"""UUIDv7, lower case (RFC 9562): one attempt to pay."""
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z")]
"""Names that merchant and acquirer agreed on: merchant, store, terminal, bands, models, keys."""
Label = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,128}\Z")]
"""Names that others made up: a till's order, a payer's token, a consent. One line."""
Text = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{0,128}\Z")]
Code = Annotated[str, Meta(pattern=r"^[a-z0-9_]{0,32}\Z")]
Jose = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]*(\.[A-Za-z0-9_-]*){2,4}\Z", max_length=4096)]
"""A compact JWS (three parts) or JWE (five)."""
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Count = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Minor = Annotated[int, Meta(ge=0, le=MAX_MINOR)]
UtcTime = Annotated[datetime, Meta(tz=True)]
"""RFC 3339 with an offset; this side writes UTC (`Z`)."""


class Message(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything on the wire: a field that the contract does not name is refused."""


class Amount(Message, frozen=True, kw_only=True):
    """An amount: `minor` units of an ISO 4217 `currency` (ISO 8583 DE 4 and DE 49)."""

    minor: Minor
    currency: str

    def __post_init__(self) -> None:
        if self.currency not in CURRENCIES:
            raise ValueError(f"unknown currency {self.currency!r}")

    def money(self) -> Money:
        return Money(self.minor, self.currency)


class PayerMessage(Message, frozen=True, kw_only=True):
    """Who pays: an opaque token, never a name, number, image or vector."""

    token: Label


class EvidenceMessage(Message, frozen=True, kw_only=True):
    """What supports the payment: bands, never raw scores."""

    methods: Annotated[tuple[Literal["face", "digits", "pin"], ...], Meta(min_length=1, max_length=3)]
    confirmed_at: UtcTime
    attempts: Annotated[int, Meta(ge=1, le=99)]
    score_band: Name
    margin_band: Name
    liveness_band: Name
    model_ids: Annotated[tuple[Name, ...], Meta(max_length=16)]
    gallery_version: Annotated[int, Meta(ge=0, le=2**53 - 1)]


class Request(Message, frozen=True, kw_only=True):
    """What every request with a body says of itself: who asks, when, and where in its own history.

    `sequence` grows with every request and is never used twice; `batch` numbers the store's day; `previous`
    is the hash of the journal's last entry.
    """

    version: Literal[1]
    mode: Mode
    ref: Ref
    merchant_id: Name
    store_id: Name
    terminal_id: Name
    sequence: Count
    batch: Count
    created: UtcTime
    previous: Hash


class OfflineMessage(Message, frozen=True, kw_only=True):
    """When a sale was accepted without the acquirer, and the how-manieth it was of this kiosk."""

    stored_at: UtcTime
    sequence: Count


class PaymentRequest(Request, frozen=True, kw_only=True, omit_defaults=True):
    """`POST /v1/payments`: authorise. With `offline` it is the payload of an advice's JWS instead.

    `pin` is a compact JWE to the acquirer's key, there exactly when `methods` names a PIN.
    """

    operation: Literal["payment"]
    order_ref: Label
    amount: Amount
    payer: PayerMessage
    consent_ref: Label
    evidence: EvidenceMessage
    policy_version: Count
    pin: Jose | None = None
    offline: OfflineMessage | None = None

    def __post_init__(self) -> None:
        if self.amount.minor == 0:
            raise ValueError("a payment is more than zero")
        if ("pin" in self.evidence.methods) != (self.pin is not None):
            raise ValueError("a PIN goes with its method, and the method with a PIN")
        if self.pin is not None and self.offline is not None:
            raise ValueError("no PIN is taken offline")


class ReversalRequest(Request, frozen=True, kw_only=True):
    """`POST /v1/payments/{ref}/reversals`: undo an attempt whose outcome is not known."""

    operation: Literal["reversal"]
    order_ref: Label
    amount: Amount
    reason: Literal["no_answer"]


class LimitsLeft(Message, frozen=True, kw_only=True):
    """What is left of the acquirer's caps for this payer after this attempt; None: no such cap."""

    currency: str
    person_day: Minor | None = None
    kiosk_day: Minor | None = None


class AnswerMessage(Message, frozen=True, kw_only=True):
    """What became of an attempt. An approval names its approval code and retrieval reference."""

    version: Literal[1]
    operation: Literal["payment", "status", "reversal", "refund", "advice"]
    ref: Ref
    result: Result
    code: Code = ""
    approval: Annotated[str, Meta(pattern=r"^[A-Z0-9]{0,6}\Z")] = ""
    rrn: Annotated[str, Meta(pattern=r"^[A-Z0-9]{0,12}\Z")] = ""
    masked_payer: Text = ""
    limits_left: LimitsLeft | None = None
    action: Literal["none", "refresh_policy"] = "none"

    def __post_init__(self) -> None:
        if self.result is Result.APPROVED and not (self.approval and self.rrn):
            raise ValueError("an approval without approval code or retrieval reference")

    def answer(self) -> Answer:
        """The part that the payment machine and the receipt need."""
        return Answer(self.result, self.code, self.approval, self.rrn, self.masked_payer)


class Problem(Message, frozen=True, kw_only=True):
    """A refusal to treat a call at all; it says nothing about what became of an attempt."""

    error: Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,32}\Z")]
    detail: Text = ""


Payments = Annotated[int, Meta(ge=0, le=MAX_COUNT)]


class CeilingTerms(Message, frozen=True, kw_only=True):
    """The acquirer's caps: minor units of the policy's currency, numbers of payments; None: no such cap.

    An hour is any 60 minutes, a day the store's. Both sides keep count.
    """

    per_payment: Minor
    per_person_day: Minor | None = None
    per_kiosk_day: Minor | None = None
    pin_above: Minor | None = None
    per_person_hour: Minor | None = None
    per_person_hour_count: Payments | None = None
    per_person_day_count: Payments | None = None
    per_kiosk_day_count: Payments | None = None


class OfflineTerms(Message, frozen=True, kw_only=True):
    """The four caps on what a kiosk accepts without the acquirer: of one, number, sum, age (seconds)."""

    per_payment: Minor
    count: Annotated[int, Meta(ge=1, le=10_000)]
    total: Minor
    age_s: Annotated[int, Meta(ge=60, le=30 * 86_400)]


class PinKeyTerms(Message, frozen=True, kw_only=True):
    """The key that PINs are encrypted to: its id and SubjectPublicKeyInfo (DER, base64), P-256."""

    kid: Name
    key: Annotated[bytes, Meta(max_length=200)]


class LicenceTerms(Message, frozen=True, kw_only=True):
    """The payload of a licence's JWS: what a scheme lets a provider do, with which keys, from when to when.

    `policy_keys`: SHA-256 over the SubjectPublicKeyInfo (DER) of each key that may sign this provider's
    policies, so that a key's name is no way to borrow a licence. `licence_class` `sandbox`: for tries only.
    """

    licence: Name
    licence_class: Literal["production", "sandbox"]
    provider: Label
    services: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=16)]
    policy_keys: Annotated[tuple[Hash, ...], Meta(min_length=1, max_length=16)]
    not_before: UtcTime
    expires: UtcTime


class PolicyTerms(Message, frozen=True, kw_only=True):
    """The payload of the policy's JWS: what the acquirer signs and the merchant cannot raise."""

    version: Count
    expires: UtcTime
    currency: str
    provider: Label
    licence: Jose
    face_allowed: bool
    ceiling: CeilingTerms
    law_note: Text = ""
    two_factors_above: Minor | None = None
    offline: OfflineTerms | None = None
    pin_key: PinKeyTerms | None = None

    def __post_init__(self) -> None:
        if self.currency not in CURRENCIES:
            raise ValueError(f"unknown currency {self.currency!r}")

    def policy(self, licence: LicenceTerms) -> Policy:
        """The same for the domain, under the `licence` that was read from it; it ends when either ends."""
        return Policy(
            version=self.version,
            expires_s=int(min(self.expires, licence.expires).timestamp()),
            currency=self.currency,
            provider=self.provider,
            licence=licence.licence,
            face_allowed=self.face_allowed,
            ceiling=Limits(**msgspec.structs.asdict(self.ceiling)),
            two_factors_above=self.two_factors_above,
            offline=None if self.offline is None else OfflineCaps(**msgspec.structs.asdict(self.offline)),
            pin_key=None if self.pin_key is None else PinKey(self.pin_key.kid, self.pin_key.key),
            law_note=self.law_note,
        )


# --- this kiosk's side ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Terminal:
    """Who this kiosk is to the acquirer, and who is paid (`payee`: what the shopper reads).

    Raises:
        OperatorError: a name that the protocol does not carry.
    """

    merchant_id: str
    store_id: str
    terminal_id: str
    mode: Mode
    payee: str

    def __post_init__(self) -> None:
        for key in ("merchant_id", "store_id", "terminal_id"):
            try:
                msgspec.convert(getattr(self, key), Name)
            except msgspec.ValidationError:
                raise OperatorError(
                    f"{key} is {getattr(self, key)!r}",
                    do="Use 1 to 64 letters, digits or . _ : - as the acquirer gave it.",
                ) from None
        if self.mode not in get_args(Mode):
            raise OperatorError(f"mode is {self.mode!r}", do=f"Use one of {', '.join(get_args(Mode))}.")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One call, frozen: the same bytes and the same key however often it is sent.

    `path` is relative to the acquirer's base URL; `sequence` is 0 for a call without a body.
    """

    ref: str
    operation: Operation
    method: Literal["GET", "POST", "DELETE"]
    path: str
    body: bytes | None = None
    idempotency_key: str | None = None
    sequence: int = 0


def payment_request(
    terminal: Terminal,
    effect: Authorise,
    *,
    sequence: int,
    batch: int,
    created_utc: float,
    confirmed_at: float,
    policy_version: int,
    previous: str,
) -> Exchange:
    """Freeze the authorisation of `effect`. Times are seconds since 1970, UTC.

    `previous` is the hash of the journal's last entry (64 hex digits).

    Raises:
        OperatorError: the order or payer has a name that the protocol does not carry.
    """
    request = PaymentRequest(
        version=VERSION,
        operation="payment",
        mode=terminal.mode,
        ref=effect.ref,
        order_ref=effect.order.order_ref,
        merchant_id=terminal.merchant_id,
        store_id=terminal.store_id,
        terminal_id=terminal.terminal_id,
        sequence=sequence,
        batch=batch,
        amount=Amount(minor=effect.order.amount.minor, currency=effect.order.amount.currency),
        created=utc(created_utc),
        payer=PayerMessage(token=effect.payer.token),
        consent_ref=effect.payer.consent_ref,
        evidence=EvidenceMessage(
            methods=effect.evidence.methods,  # type: ignore[arg-type]  # checked by `_freeze`
            confirmed_at=utc(confirmed_at),
            attempts=effect.evidence.attempts,
            score_band=effect.evidence.score_band,
            margin_band=effect.evidence.margin_band,
            liveness_band=effect.evidence.liveness_band,
            model_ids=effect.evidence.model_ids,
            gallery_version=effect.evidence.gallery_version,
        ),
        policy_version=policy_version,
        pin=effect.pin,
        previous=previous,
    )
    return freeze(request, "payment", "/v1/payments")


def reversal_request(
    terminal: Terminal,
    order: Order,
    ref: str,
    *,
    sequence: int,
    batch: int,
    created_utc: float,
    previous: str,
) -> Exchange:
    """Freeze the reversal of the attempt `ref`; see `payment_request` for units and errors."""
    request = ReversalRequest(
        version=VERSION,
        operation="reversal",
        mode=terminal.mode,
        ref=ref,
        order_ref=order.order_ref,
        merchant_id=terminal.merchant_id,
        store_id=terminal.store_id,
        terminal_id=terminal.terminal_id,
        sequence=sequence,
        batch=batch,
        amount=Amount(minor=order.amount.minor, currency=order.amount.currency),
        created=utc(created_utc),
        reason="no_answer",
        previous=previous,
    )
    return freeze(request, "reversal", f"/v1/payments/{ref}/reversals")


def status_request(ref: str) -> Exchange:
    """Ask what became of `ref`."""
    return Exchange(ref, "status", "GET", f"/v1/payments/{ref}")


def policy_request() -> Exchange:
    """Ask for the policy in force."""
    return Exchange("", "policy", "GET", "/v1/policy")


def new_ref(clock: Clock) -> str:
    """A fresh UUIDv7 (RFC 9562, 5.7): 48 bits of milliseconds, 74 bits of chance."""
    millis = round(clock.utc_s() * 1000) & (1 << 48) - 1
    chance = secrets.randbits(74)
    value = millis << 80 | 0x7 << 76 | (chance >> 62) << 64 | 0b10 << 62 | chance & (1 << 62) - 1
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def utc(seconds: float) -> datetime:
    """A time of the protocol from seconds since 1970."""
    return datetime.fromtimestamp(round(seconds, 3), UTC)


def freeze(request: Request, operation: Operation, path: str, *, number: int = 1) -> Exchange:
    """The request as it will be sent, however often. `number`: the how-manieth of its operation for its ref.

    Raises:
        OperatorError: it has a value that the protocol does not carry.
    """
    body = encode(request)
    try:  # what we send, we could also read: msgspec checks on the way in only
        msgspec.json.decode(body, type=type(request))
    except msgspec.ValidationError as error:
        raise OperatorError(f"this {operation} can't be written down: {error}") from None
    key = f"{request.ref}:{operation}:{number}"
    return Exchange(request.ref, operation, "POST", path, body, key, request.sequence)


# --- bytes ----------------------------------------------------------------------------------------------

M = TypeVar("M", bound=Message)


def encode(message: Message) -> bytes:
    """JSON, UTF-8, fields in the order of their definition."""
    return msgspec.json.encode(message)


def parse(body: bytes, kind: type[M], *, limit: int = MAX_BODY_BYTES) -> M:
    """Read `body` of at most `limit` bytes as a `kind`: every field known, of its type and in its range.

    Raises:
        ProtocolError: anything else.
    """
    if len(body) > limit:
        raise ProtocolError(f"a message of {len(body)} bytes")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ProtocolError(f"not a {kind.__name__}: {printable(str(error))}") from None


def printable(text: str) -> str:
    """`text` without what would break a line, a log or a message: it may quote the other side."""
    return "".join(character if character.isprintable() else "?" for character in text)


def parse_answer(body: bytes, *, ref: str, operation: str) -> AnswerMessage:
    """Read an answer about the attempt `ref` to the `operation` that was asked.

    Raises:
        ProtocolError: not an answer, or one about something else.
    """
    message = parse(body, AnswerMessage)
    if message.ref != ref or message.operation != operation:
        raise ProtocolError(
            f"asked about {operation} of {ref}, answered about {message.operation} of {message.ref}"
        )
    return message
