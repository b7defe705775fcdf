"""The words for everything that is not a payment itself: after the sale, the close of a day, people, health.

The same rules as in `messages`: a field that the contract does not name is refused, what goes out is frozen.
`ANSWERS` says what each operation is answered with.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypedDict, Unpack
from urllib.parse import quote

from msgspec import Meta

from kiosk.acquirer.messages import (
    MAX_BODY_BYTES,
    VERSION,
    Amount,
    AnswerMessage,
    Code,
    Count,
    EvidenceMessage,
    Exchange,
    Hash,
    Jose,
    Label,
    Message,
    Minor,
    Name,
    Operation,
    Ref,
    Request,
    Terminal,
    Text,
    UtcTime,
    freeze,
    utc,
)
from kiosk.domain.money import Money

__all__ = [
    "ANSWERS",
    "MAX_ITEMS",
    "MAX_RECONCILIATION_BYTES",
    "AdviceRequest",
    "ConsentMessage",
    "Difference",
    "DisputeAnswer",
    "DisputeRequest",
    "EnrolmentAnswer",
    "EnrolmentRequest",
    "Envelope",
    "EpochMessage",
    "EvidencePack",
    "GalleryKeysAnswer",
    "GalleryKeysRequest",
    "GuardianMessage",
    "IdentificationAnswer",
    "IdentificationRequest",
    "Item",
    "JournalLine",
    "Kind",
    "PayerAnswer",
    "ReconciliationAnswer",
    "ReconciliationRequest",
    "RefundRequest",
    "TelemetryAnswer",
    "TelemetryRequest",
    "Total",
    "WishesMessage",
    "advice_request",
    "body_limit",
    "dispute_request",
    "enrolment_request",
    "gallery_keys_request",
    "identification_request",
    "payer_request",
    "reconciliation_request",
    "refund_request",
    "telemetry_request",
    "withdrawal_request",
]

MAX_ITEMS: Final = 10_000
"""Of one batch; a shop that sells more closes more often."""
MAX_RECONCILIATION_BYTES: Final = 8 * 1024 * 1024
"""The one message, and its answer, that may be longer than the others: to a kiosk that lost everything the
answer names `2 * MAX_ITEMS` differences of some 230 bytes."""

Kind = Literal["payment", "reversal", "refund", "offline"]
"""What a batch counts: approved online, undone, given back, accepted offline."""
Number = Annotated[int, Meta(ge=1, le=99)]

# --- after the sale -------------------------------------------------------------------------------------


class RefundRequest(Request, frozen=True, kw_only=True):
    """`POST /v1/payments/{ref}/refunds`: give back all or a part of an approved payment.

    `number` is the how-manieth refund of this payment; `approved_by` the staff number of a manager. A full
    one before settlement is a void: the answer's code says `voided`, else `refunded`.
    """

    operation: Literal["refund"]
    order_ref: Label
    number: Number
    amount: Amount
    reason: Literal["customer", "goods", "mistake", "other"]
    approved_by: Name

    def __post_init__(self) -> None:
        if self.amount.minor == 0:
            raise ValueError("a refund is more than zero")


class AdviceRequest(Request, frozen=True, kw_only=True):
    """`POST /v1/advices`: a payment that was accepted offline.

    `sale` is the compact JWS (`facepay-offline+jws`) that was made at the time of sale; its payload is a
    `PaymentRequest` of the same `ref` with `offline`.
    """

    operation: Literal["advice"]
    sale: Jose


class JournalLine(Message, frozen=True, kw_only=True):
    """One entry of the kiosk's journal: what it says and where it hangs in the chain."""

    seq: Count
    at: UtcTime
    kind: Name
    result: Code
    body_sha256: Hash
    hash: Hash


class EvidencePack(Message, frozen=True, kw_only=True):
    """What the kiosk knows of a disputed payment. No face, no template, no name: there is none to give.

    Without evidence, consent and policy where the request was erased with its PIN: the acquirer holds it.
    """

    evidence: EvidenceMessage | None
    consent_ref: Text
    policy_version: Count | None
    approval: Text
    rrn: Text
    software: Name
    journal: Annotated[tuple[JournalLine, ...], Meta(min_length=1, max_length=64)]


class DisputeRequest(Request, frozen=True, kw_only=True):
    """`POST /v1/payments/{ref}/disputes`: its payer says that it was not theirs, or not so."""

    operation: Literal["dispute"]
    order_ref: Label
    amount: Amount
    reason: Literal["not_me", "amount", "twice", "goods", "other"]
    pack: EvidencePack


class DisputeAnswer(Message, frozen=True, kw_only=True):
    """The acquirer's number for the dispute; the same payment has one dispute."""

    version: Literal[1]
    operation: Literal["dispute"]
    ref: Ref
    dispute_id: Name
    state: Literal["open", "accepted", "rejected"]


# --- the close of a batch -------------------------------------------------------------------------------


class Total(Message, frozen=True, kw_only=True):
    """How many of a kind, and their sum."""

    kind: Kind
    count: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    amount: Amount


class Item(Message, frozen=True, kw_only=True):
    """One booking of a batch: `number` is 1 but for the second and later refunds of a payment."""

    ref: Ref
    kind: Kind
    number: Number = 1
    minor: Minor


class ReconciliationRequest(Request, frozen=True, kw_only=True):
    """`POST /v1/reconciliations`: what this kiosk holds of a batch. `ref` names this close.

    `settle`: close the batch for good when it is balanced; else only compare.
    """

    operation: Literal["reconciliation"]
    closes: Count
    """The batch that is compared; `batch` is the one that this request itself belongs to."""
    settle: bool
    currency: str
    totals: Annotated[tuple[Total, ...], Meta(max_length=4)]
    items: Annotated[tuple[Item, ...], Meta(max_length=MAX_ITEMS)]


class Difference(Message, frozen=True, kw_only=True):
    """A booking that one side lacks or holds with another amount; None: this side has no such booking.

    `order_ref`, `created` and `approval` are the acquirer's, so that a kiosk that lost it can write it anew.
    """

    ref: Ref
    kind: Kind
    number: Number = 1
    kiosk: Minor | None = None
    acquirer: Minor | None = None
    order_ref: Text = ""
    created: UtcTime | None = None
    approval: Text = ""
    rrn: Text = ""
    token: Text = ""


class ReconciliationAnswer(Message, frozen=True, kw_only=True):
    """The acquirer's totals and every difference; `settled` when the batch is now closed."""

    version: Literal[1]
    operation: Literal["reconciliation"]
    ref: Ref
    closes: Count
    settled: bool
    totals: Annotated[tuple[Total, ...], Meta(max_length=4)]
    differences: Annotated[tuple[Difference, ...], Meta(max_length=2 * MAX_ITEMS)]


# --- people ---------------------------------------------------------------------------------------------


class GuardianMessage(Message, frozen=True, kw_only=True):
    """A parent or guardian declared the consent of a child, and one of staff approved it in person."""

    declared_at: UtcTime
    approved_by: Name
    """The staff number, never a name."""


class ConsentMessage(Message, frozen=True, kw_only=True):
    """What a person agreed to: which text, in which language, for what, until when.

    `of_age` false goes with a `guardian`, and true without one.
    """

    text_version: Name
    text_sha256: Hash
    """Of the text's file, byte for byte, as it was shown."""
    language: Name
    scope: Annotated[tuple[Literal["pay", "staff"], ...], Meta(min_length=1, max_length=2)]
    given_at: UtcTime
    keep_until: UtcTime
    of_age: bool
    """The person said that they are 14 or older; without it there is no enrolment but by a guardian."""
    guardian: GuardianMessage | None = None

    def __post_init__(self) -> None:
        if self.of_age and self.guardian is not None:
            raise ValueError("a guardian declares for who is not of age")


class WishesMessage(Message, frozen=True, kw_only=True):
    """What a person gave beside their face: the last four digits of a phone number, and caps of their own.

    It travels sealed for the acquirer (`facepay-wishes+jwe`), since digits are a factor of a payment. Minor
    units of the policy's currency; None: no cap.
    """

    digits: Annotated[str, Meta(pattern=r"^([0-9]{4})?\Z")] = ""
    per_payment: Minor | None = None
    per_person_day: Minor | None = None


class EnrolmentRequest(Request, frozen=True, kw_only=True):
    """`POST /v1/enrolments`: a person wants to pay by face, and the acquirer gives them a token.

    `template` is a compact JWE to the acquirer's key: float32 values of `model_id`, little-endian. `wishes`:
    one of a `WishesMessage`, so that every kiosk that recognises the person knows them too.
    `account` is how the acquirer knows the person (a sealed link that they brought), never a name.
    """

    operation: Literal["enrolment"]
    consent: ConsentMessage
    template: Jose
    model_id: Name
    account: Label
    wishes: Jose | None = None


class EnrolmentAnswer(Message, frozen=True, kw_only=True):
    """`enrolled` with a token and what a screen may show; `duplicate` and `refused` without."""

    version: Literal[1]
    operation: Literal["enrolment"]
    ref: Ref
    result: Literal["enrolled", "duplicate", "refused"]
    code: Code = ""
    token: Text = ""
    consent_ref: Text = ""
    masked_name: Text = ""
    masked_account: Text = ""

    def __post_init__(self) -> None:
        if self.result == "enrolled" and not (self.token and self.consent_ref):
            raise ValueError("an enrolment without token or consent")


class PayerAnswer(Message, frozen=True, kw_only=True):
    """`GET` and `DELETE /v1/payers/{token}`: what is held of a person, or that it is gone."""

    version: Literal[1]
    operation: Literal["payer", "withdrawal"]
    token: Label
    state: Literal["active", "blocked", "withdrawn"]
    consent_ref: Text = ""
    masked_name: Text = ""
    masked_account: Text = ""
    enrolled_at: UtcTime | None = None
    withdrawn_at: UtcTime | None = None
    held: tuple[Name, ...] = ()
    """What is kept, by kind: `template`, `account`, `consent`, `payments`, `wishes`."""
    consent: ConsentMessage | None = None
    """As it was given; None for who did not enrol by this protocol."""


class IdentificationRequest(Request, frozen=True, kw_only=True):
    """`POST /v1/identifications`: who is this? `template` as in an enrolment; it is kept nowhere."""

    operation: Literal["identification"]
    template: Jose
    model_id: Name
    gallery_version: Annotated[int, Meta(ge=0, le=2**53 - 1)]


class IdentificationAnswer(Message, frozen=True, kw_only=True):
    """The one person, with the band of their score; or nobody."""

    version: Literal[1]
    operation: Literal["identification"]
    ref: Ref
    result: Literal["found", "not_found"]
    token: Text = ""
    consent_ref: Text = ""
    masked_name: Text = ""
    masked_account: Text = ""
    score_band: Literal["", "low", "medium", "high"] = ""


# --- the gallery ----------------------------------------------------------------------------------------


class GalleryKeysRequest(Request, frozen=True, kw_only=True):
    """`POST /v1/gallery-keys`: the secrets of the epochs that the published gallery is turned and sealed by.

    `recipient` is a public key of this one call (P-256, SubjectPublicKeyInfo, DER), held in memory only, so
    that what is written down of the answer can't be opened later.
    """

    operation: Literal["gallery_keys"]
    recipient: Annotated[bytes, Meta(max_length=200)]


class EpochMessage(Message, frozen=True, kw_only=True):
    """One epoch: `sealed` is a compact JWE (`facepay-epoch+jwe`) of its secret, 32 bytes, for this call."""

    number: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
    sealed: Jose


class GalleryKeysAnswer(Message, frozen=True, kw_only=True):
    """The epochs that segments may be published in, newest first; none where nothing is published."""

    version: Literal[1]
    operation: Literal["gallery_keys"]
    ref: Ref
    region: Name
    epochs: Annotated[tuple[EpochMessage, ...], Meta(max_length=8)]


# --- health ---------------------------------------------------------------------------------------------


class TelemetryRequest(Request, frozen=True, kw_only=True):
    """`POST /v1/telemetry`: versions and counters of this kiosk; nothing about persons."""

    operation: Literal["telemetry"]
    software: Name
    gallery_version: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    policy_version: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    counters: Annotated[dict[Name, Annotated[int, Meta(ge=0, le=2**53 - 1)]], Meta(max_length=64)]
    checks: Annotated[dict[Name, Literal["ok", "warning", "failed"]], Meta(max_length=64)]


class TelemetryAnswer(Message, frozen=True, kw_only=True):
    """Heard; `action` asks the kiosk to fetch something."""

    version: Literal[1]
    operation: Literal["telemetry"]
    ref: Ref
    action: Literal["none", "refresh_policy", "refresh_gallery"] = "none"


ANSWERS: Final[dict[Operation, type[Message]]] = {
    "payment": AnswerMessage,
    "status": AnswerMessage,
    "reversal": AnswerMessage,
    "refund": AnswerMessage,
    "advice": AnswerMessage,
    "reconciliation": ReconciliationAnswer,
    "dispute": DisputeAnswer,
    "enrolment": EnrolmentAnswer,
    "payer": PayerAnswer,
    "withdrawal": PayerAnswer,
    "identification": IdentificationAnswer,
    "gallery_keys": GalleryKeysAnswer,
    "telemetry": TelemetryAnswer,
}
"""What each operation is answered with (the policy is a JWS); anything else is a `Problem`."""


def body_limit(operation: Operation) -> int:
    """How many bytes a message of `operation`, or its answer, has at most."""
    return MAX_RECONCILIATION_BYTES if operation == "reconciliation" else MAX_BODY_BYTES


def payer_request(token: str) -> Exchange:
    """Ask what is held of a person."""
    return Exchange(token, "payer", "GET", f"/v1/payers/{quote(token, safe='')}")


def withdrawal_request(token: str) -> Exchange:
    """Withdraw a person's consent: everything of their face is deleted. Asking again changes nothing."""
    return Exchange(token, "withdrawal", "DELETE", f"/v1/payers/{quote(token, safe='')}")


# --- this kiosk's side ----------------------------------------------------------------------------------


class Envelope(TypedDict):
    """What every request carries beside its matter; see `Request`. `created_utc`: seconds since 1970."""

    sequence: int
    batch: int
    created_utc: float
    previous: str


def refund_request(
    terminal: Terminal,
    ref: str,
    order_ref: str,
    amount: Money,
    *,
    number: int,
    reason: Literal["customer", "goods", "mistake", "other"],
    approved_by: str,
    **envelope: Unpack[Envelope],
) -> Exchange:
    """Freeze the `number`-th refund of the payment `ref`: `amount` goes back. Errors as `payment_request`."""
    request = RefundRequest(
        **_common(terminal, ref, envelope),
        operation="refund",
        order_ref=order_ref,
        number=number,
        amount=_amount(amount),
        reason=reason,
        approved_by=approved_by,
    )
    return freeze(request, "refund", f"/v1/payments/{ref}/refunds", number=number)


def advice_request(terminal: Terminal, ref: str, sale: str, **envelope: Unpack[Envelope]) -> Exchange:
    """Freeze the forwarding of the offline sale `ref`; `sale` is its compact JWS."""
    request = AdviceRequest(**_common(terminal, ref, envelope), operation="advice", sale=sale)
    return freeze(request, "advice", "/v1/advices")


def dispute_request(
    terminal: Terminal,
    ref: str,
    order_ref: str,
    amount: Money,
    *,
    reason: Literal["not_me", "amount", "twice", "goods", "other"],
    pack: EvidencePack,
    **envelope: Unpack[Envelope],
) -> Exchange:
    """Freeze the dispute of the payment `ref` with what this kiosk knows of it."""
    request = DisputeRequest(
        **_common(terminal, ref, envelope),
        operation="dispute",
        order_ref=order_ref,
        amount=_amount(amount),
        reason=reason,
        pack=pack,
    )
    return freeze(request, "dispute", f"/v1/payments/{ref}/disputes")


def reconciliation_request(
    terminal: Terminal,
    ref: str,
    *,
    closes: int,
    settle: bool,
    currency: str,
    totals: tuple[Total, ...],
    items: tuple[Item, ...],
    **envelope: Unpack[Envelope],
) -> Exchange:
    """Freeze the comparison (`settle`: the close) of the batch `closes`. OperatorError: over `MAX_ITEMS`."""
    request = ReconciliationRequest(
        **_common(terminal, ref, envelope),
        operation="reconciliation",
        closes=closes,
        settle=settle,
        currency=currency,
        totals=totals,
        items=items,
    )
    return freeze(request, "reconciliation", "/v1/reconciliations")


def enrolment_request(
    terminal: Terminal,
    ref: str,
    *,
    consent: ConsentMessage,
    template: str,
    model_id: str,
    account: str,
    wishes: str | None = None,
    **envelope: Unpack[Envelope],
) -> Exchange:
    """Freeze an enrolment; `template` and `wishes` are compact JWEs to the acquirer's key."""
    request = EnrolmentRequest(
        **_common(terminal, ref, envelope),
        operation="enrolment",
        consent=consent,
        template=template,
        model_id=model_id,
        account=account,
        wishes=wishes,
    )
    return freeze(request, "enrolment", "/v1/enrolments")


def identification_request(
    terminal: Terminal,
    ref: str,
    *,
    template: str,
    model_id: str,
    gallery_version: int,
    **envelope: Unpack[Envelope],
) -> Exchange:
    """Freeze the question whose template this is (a compact JWE to the acquirer's key)."""
    request = IdentificationRequest(
        **_common(terminal, ref, envelope),
        operation="identification",
        template=template,
        model_id=model_id,
        gallery_version=gallery_version,
    )
    return freeze(request, "identification", "/v1/identifications")


def gallery_keys_request(
    terminal: Terminal, ref: str, *, recipient: bytes, **envelope: Unpack[Envelope]
) -> Exchange:
    """Freeze the question for the epochs' secrets; `recipient`: `gallery_keys.OneTimeKey.public_der`."""
    request = GalleryKeysRequest(
        **_common(terminal, ref, envelope), operation="gallery_keys", recipient=recipient
    )
    return freeze(request, "gallery_keys", "/v1/gallery-keys")


def telemetry_request(
    terminal: Terminal,
    ref: str,
    *,
    software: str,
    gallery_version: int,
    policy_version: int,
    counters: dict[str, int],
    checks: dict[str, Literal["ok", "warning", "failed"]],
    **envelope: Unpack[Envelope],
) -> Exchange:
    """Freeze what is told of this kiosk's health: versions and counters, nothing about persons."""
    request = TelemetryRequest(
        **_common(terminal, ref, envelope),
        operation="telemetry",
        software=software,
        gallery_version=gallery_version,
        policy_version=policy_version,
        counters=counters,
        checks=checks,
    )
    return freeze(request, "telemetry", "/v1/telemetry")


def _common(terminal: Terminal, ref: str, envelope: Envelope) -> dict[str, Any]:
    return {
        "version": VERSION,
        "mode": terminal.mode,
        "ref": ref,
        "merchant_id": terminal.merchant_id,
        "store_id": terminal.store_id,
        "terminal_id": terminal.terminal_id,
        "sequence": envelope["sequence"],
        "batch": envelope["batch"],
        "created": utc(envelope["created_utc"]),
        "previous": envelope["previous"],
    }


def _amount(money: Money) -> Amount:
    return Amount(minor=money.minor, currency=money.currency)
