"""The messages of the TCP link: nexo Retailer's words as JSON, in a strict subset.

Pure: bodies in, requests and bodies out; frames and keys are `channel`'s. A message with a field that is not
listed here, or that is not asked for, is rejected whole. A `Failure` in a PaymentResponse always means that
this request charged nothing: while an order is not final its PaymentResponse waits, and an event says so.

Where the words come from: nexo Retailer Protocol 3.1, "Sale to POI". What is ours is in docs/till.md.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Annotated, Final, Literal
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import Meta

from kiosk.domain.errors import ProtocolError
from kiosk.domain.money import Money
from kiosk.domain.till import (
    Abort,
    Answered,
    AskStatus,
    Diagnose,
    News,
    OpenPayment,
    Outcome,
    Rejected,
    Request,
    Said,
    Told,
)

__all__ = ["KioskSession", "LoggedIn", "TillSession"]

PROTOCOL_VERSION: Final = "3.1"

Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,35}\Z")]
MaybeId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{0,35}\Z")]
Word = Annotated[str, Meta(pattern=r"^[A-Za-z]{1,32}\Z")]
MaybeWord = Annotated[str, Meta(pattern=r"^[A-Za-z]{0,32}\Z")]
OrderRef = Annotated[str, Meta(pattern=r"^[!-~]{1,64}\Z")]
Text = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{0,300}\Z")]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]

_ACRONYMS: Final = {"id": "ID", "poi": "POI", "ok": "OK"}


def _nexo(name: str) -> str:
    """`sale_to_poi_request` -> `SaleToPOIRequest`."""
    return "".join(_ACRONYMS.get(word, word.capitalize()) for word in name.split("_"))


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename=_nexo):
    """A part of a message."""


class MessageHeader(Part, frozen=True):
    message_class: Literal["Service", "Event"]
    message_category: Word
    message_type: Literal["Request", "Response", "Notification"]
    service_id: MaybeId
    sale_id: MaybeId
    poi_id: MaybeId = ""
    protocol_version: Text = ""


class Transaction(Part, frozen=True):
    transaction_id: OrderRef
    time_stamp: Text = ""


class SaleData(Part, frozen=True):
    sale_transaction_id: Transaction


class AmountsReq(Part, frozen=True):
    currency: Currency
    requested_amount: Decimal


class PaymentTransaction(Part, frozen=True):
    amounts_req: AmountsReq


class PaymentRequest(Part, frozen=True):
    sale_data: SaleData
    payment_transaction: PaymentTransaction


class AbortRequest(Part, frozen=True):
    sale_transaction_id: Transaction
    abort_reason: Text = ""


class TransactionStatusRequest(Part, frozen=True):
    sale_transaction_id: Transaction


class Software(Part, frozen=True):
    manufacturer_id: Text = ""
    application_name: Text = ""
    software_version: Text = ""


class LoginRequest(Part, frozen=True):
    date_time: Text = ""
    sale_software: Software | None = None


class LogoutRequest(Part, frozen=True):
    pass


class DiagnosisRequest(Part, frozen=True):
    pass


class Response(Part, frozen=True):
    result: Literal["Success", "Failure"]
    error_condition: MaybeWord = ""
    additional_response: Text = ""


class PoiData(Part, frozen=True):
    poi_transaction_id: Transaction


class AmountsResp(Part, frozen=True):
    currency: Currency
    authorized_amount: Decimal


class AcquirerData(Part, frozen=True):
    approval_code: Text = ""
    acquirer_transaction_id: Transaction | None = None


class InstrumentData(Part, frozen=True):
    payment_instrument_type: Word
    masked_payer: Text = ""


class PaymentResult(Part, frozen=True):
    amounts_resp: AmountsResp
    payment_acquirer_data: AcquirerData
    payment_instrument_data: InstrumentData


class Line(Part, frozen=True):
    text: Text


class OutputContent(Part, frozen=True):
    output_format: Literal["Text"]
    output_text: Annotated[tuple[Line, ...], Meta(max_length=200)]


class PaymentReceipt(Part, frozen=True):
    document_qualifier: Literal["CashierReceipt"]
    output_content: OutputContent


class PaymentResponse(Part, frozen=True):
    response: Response
    sale_data: SaleData | None = None
    poi_data: PoiData | None = None
    payment_result: PaymentResult | None = None
    payment_receipt: Annotated[tuple[PaymentReceipt, ...], Meta(max_length=1)] = ()


class RepeatedBody(Part, frozen=True):
    payment_response: PaymentResponse


class RepeatedMessage(Part, frozen=True):
    repeated_response_message_body: RepeatedBody


class TransactionStatusResponse(Part, frozen=True):
    response: Response
    repeated_message_response: RepeatedMessage | None = None


class AbortResponse(Part, frozen=True):
    response: Response


class PoiStatus(Part, frozen=True):
    global_status: Literal["OK", "Busy", "Maintenance"]


class DiagnosisResponse(Part, frozen=True):
    response: Response
    poi_status: PoiStatus | None = None


class PoiSystemData(Part, frozen=True):
    date_time: Text
    poi_software: Software


class LoginResponse(Part, frozen=True):
    response: Response
    poi_system_data: PoiSystemData | None = None


class LogoutResponse(Part, frozen=True):
    response: Response


class EventNotification(Part, frozen=True):
    time_stamp: Text
    event_to_notify: Word
    event_details: Text = ""
    transaction_status_response: TransactionStatusResponse | None = None


class SaleToPoiRequest(Part, frozen=True):
    message_header: MessageHeader
    login_request: LoginRequest | None = None
    logout_request: LogoutRequest | None = None
    payment_request: PaymentRequest | None = None
    abort_request: AbortRequest | None = None
    transaction_status_request: TransactionStatusRequest | None = None
    diagnosis_request: DiagnosisRequest | None = None
    event_notification: EventNotification | None = None


class SaleToPoiResponse(Part, frozen=True):
    message_header: MessageHeader
    login_response: LoginResponse | None = None
    logout_response: LogoutResponse | None = None
    payment_response: PaymentResponse | None = None
    abort_response: AbortResponse | None = None
    transaction_status_response: TransactionStatusResponse | None = None
    diagnosis_response: DiagnosisResponse | None = None


class Message(Part, frozen=True):
    sale_to_poi_request: SaleToPoiRequest | None = None
    sale_to_poi_response: SaleToPoiResponse | None = None


_DECODER: Final = msgspec.json.Decoder(Message)
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")

_CONDITIONS: Final = {
    Outcome.DECLINED: "Refusal",
    Outcome.REVERSED: "Refusal",
    Outcome.RETURNED: "Cancel",
    Outcome.ABORTED: "Aborted",
    Outcome.IN_PROGRESS: "InProgress",
    Outcome.NOT_FINAL: "InProgress",
    Outcome.TOO_LATE: "NotAllowed",
    Outcome.BUSY: "Busy",
    Outcome.MISMATCH: "NotAllowed",
    Outcome.NOT_FOUND: "NotFound",
    Outcome.OUT_OF_ORDER: "UnavailableService",
}
"""nexo's ErrorCondition of each outcome; AdditionalResponse has our word for it."""

_CATEGORIES: Final[dict[type[Request], str]] = {
    OpenPayment: "Payment",
    Abort: "Abort",
    AskStatus: "TransactionStatus",
    Diagnose: "Diagnosis",
}


def _decode(body: bytes) -> SaleToPoiRequest | SaleToPoiResponse:
    """The one request or response of a body, whose part is the one that its header names."""
    try:
        message = _DECODER.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not a message of this link: {error}") from None
    found = message.sale_to_poi_request or message.sale_to_poi_response
    if found is None or None not in (message.sale_to_poi_request, message.sale_to_poi_response):
        raise ProtocolError("not one SaleToPOIRequest or SaleToPOIResponse")
    parts = [
        _nexo(name)
        for name in found.__struct_fields__
        if name != "message_header" and getattr(found, name) is not None
    ]
    header = found.message_header
    wanted = [header.message_category + header.message_type]
    if parts != wanted:
        raise ProtocolError(f"the header says {wanted[0]}, the message has {', '.join(parts) or 'nothing'}")
    return found


def _encode(message: SaleToPoiRequest | SaleToPoiResponse) -> bytes:
    if isinstance(message, SaleToPoiRequest):
        return _ENCODER.encode(Message(sale_to_poi_request=message))
    return _ENCODER.encode(Message(sale_to_poi_response=message))


def _stamp(at_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))


# --- what the kiosk says of an order, as nexo's parts and back ---------------------------------------------


def _response(told: Told) -> Response:
    words = {
        "outcome": told.outcome.value,
        "code": told.code,
        "standing": told.standing,
        "refunded": told.refunded.decimal() if told.refunded else "",
    }
    said = urlencode({name: word for name, word in words.items() if word})
    condition = _CONDITIONS.get(told.outcome)
    if told.code == "not_sent":
        condition = "UnreachableHost"
    return Response("Failure" if condition else "Success", condition or "", said)


def _payment_response(told: Told) -> PaymentResponse:
    result = None
    if told.outcome is Outcome.APPROVED and told.amount is not None:
        result = PaymentResult(
            AmountsResp(told.amount.currency, Decimal(told.amount.decimal())),
            AcquirerData(told.approval, Transaction(told.rrn) if told.rrn else None),
            InstrumentData("Face", told.masked_payer),
        )
    lines = tuple(Line(line) for line in told.receipt)
    return PaymentResponse(
        _response(told),
        SaleData(Transaction(told.order_ref)),
        PoiData(Transaction(told.ref, _stamp(told.at_s))) if told.ref else None,
        result,
        (PaymentReceipt("CashierReceipt", OutputContent("Text", lines)),) if lines else (),
    )


def _status_response(told: Told) -> TransactionStatusResponse:
    """nexo's: Success with the repeated PaymentResponse once there is an end, else Failure."""
    if told.is_open or told.outcome in (Outcome.NOT_FOUND, Outcome.OUT_OF_ORDER, Outcome.BUSY):
        return TransactionStatusResponse(_response(told))
    repeated = RepeatedMessage(RepeatedBody(_payment_response(told)))
    return TransactionStatusResponse(Response("Success", "", _response(told).additional_response), repeated)


def _words(response: Response) -> dict[str, str]:
    return dict(parse_qsl(response.additional_response, max_num_fields=8))


def _told(response: Response) -> Told:
    words = _words(response)
    try:
        return Told(
            Outcome(words.get("outcome", "")), code=words.get("code", ""), standing=words.get("standing", "")
        )
    except ValueError:
        raise ProtocolError("an outcome that this release does not know") from None


def _told_of_payment(payment: PaymentResponse) -> Told:
    told, result = _told(payment.response), payment.payment_result
    data = result.payment_acquirer_data if result else AcquirerData()
    poi = payment.poi_data
    try:
        amount = (
            Money.parse(str(result.amounts_resp.authorized_amount), result.amounts_resp.currency)
            if result
            else None
        )
        back = _words(payment.response).get("refunded", "")
        refunded = Money.parse(back, amount.currency) if amount and back else None
    except ValueError as error:
        raise ProtocolError(str(error)) from None
    return Told(
        told.outcome,
        payment.sale_data.sale_transaction_id.transaction_id if payment.sale_data else "",
        amount,
        poi.poi_transaction_id.transaction_id if poi else "",
        told.code,
        data.approval_code,
        data.acquirer_transaction_id.transaction_id if data.acquirer_transaction_id else "",
        result.payment_instrument_data.masked_payer if result else "",
        receipt=tuple(
            line.text for receipt in payment.payment_receipt for line in receipt.output_content.output_text
        ),
        standing=told.standing,
        refunded=refunded,
    )


def _told_of_status(status: TransactionStatusResponse) -> Told:
    repeated = status.repeated_message_response
    if repeated is None:
        return _told(status.response)
    return _told_of_payment(repeated.repeated_response_message_body.payment_response)


# --- the kiosk's side ---------------------------------------------------------------------------------------


class KioskSession:
    """What one till has said on one connection: it logs in first, then it asks."""

    def __init__(self, poi_id: str, software_version: str) -> None:
        self._poi_id, self._version = poi_id, software_version
        self.sale_id = ""
        """The till that is logged in; empty: none."""

    def read(self, body: bytes, now_s: float) -> Request | bytes:
        """The till's next request for the kiosk; or, where none came of it, what to send back."""
        try:
            message = _decode(body)
            if not isinstance(message, SaleToPoiRequest) or message.message_header.message_class == "Event":
                raise ProtocolError("a till sends requests of class Service")
            return self._session(message, now_s) or self._request(message)
        except ProtocolError as error:
            return self.reject(str(error), now_s)

    def answer(self, request: Request, told: Told) -> bytes:
        """`told` as the response to `request`."""
        category, response = _CATEGORIES[type(request)], _response(told)
        answer = SaleToPoiResponse(self._header(category, "Response", request.id))
        match request:
            case OpenPayment():
                part: Part = _payment_response(told)
                return _encode(msgspec.structs.replace(answer, payment_response=part))
            case AskStatus():
                part = _status_response(told)
                return _encode(msgspec.structs.replace(answer, transaction_status_response=part))
            case Abort():
                done = told.outcome in (Outcome.ABORTED, Outcome.RETURNED)
                said = Response("Success", "", response.additional_response) if done else response
                if not done and not said.error_condition:  # too late: it is paid
                    said = Response("Failure", "NotAllowed", response.additional_response)
                return _encode(msgspec.structs.replace(answer, abort_response=AbortResponse(said)))
            case Diagnose():
                word: Literal["OK", "Busy", "Maintenance"] = "Maintenance"
                if told.outcome in (Outcome.READY, Outcome.BUSY):
                    word = "OK" if told.outcome is Outcome.READY else "Busy"
                said = Response("Success", "", response.additional_response)
                part = DiagnosisResponse(said, PoiStatus(word))
                return _encode(msgspec.structs.replace(answer, diagnosis_response=part))

    def notify(self, told: Told, now_s: float) -> bytes:
        """An event about an order: `InProgress`, or `Completed` with its end."""
        event = EventNotification(
            _stamp(now_s),
            "InProgress" if told.is_open else "Completed",
            urlencode({"order": told.order_ref}),
            _status_response(told),
        )
        return self._event(event)

    def reject(self, why: str, now_s: float) -> bytes:
        """An event that says why what came was no request of this link."""
        printable = "".join(character for character in why if character.isprintable())
        return self._event(EventNotification(_stamp(now_s), "Reject", printable[:300]))

    def _event(self, event: EventNotification) -> bytes:
        header = MessageHeader("Event", "Event", "Notification", "", self.sale_id, self._poi_id)
        return _encode(SaleToPoiRequest(header, event_notification=event))

    def _header(
        self, category: str, kind: Literal["Response", "Request"], service_id: str, sale_id: str = ""
    ) -> MessageHeader:
        return MessageHeader("Service", category, kind, service_id, sale_id or self.sale_id, self._poi_id)

    def _session(self, message: SaleToPoiRequest, now_s: float) -> bytes | None:
        """Login and logout, and who may not ask yet; None for what the kiosk is asked."""
        header = message.message_header
        if not header.service_id or not header.sale_id:
            raise ProtocolError("ServiceID and SaleID are needed")
        if header.poi_id not in ("", self._poi_id):
            raise ProtocolError(f"this is POIID {self._poi_id}")
        answer = SaleToPoiResponse(
            self._header(header.message_category, "Response", header.service_id, header.sale_id)
        )
        success = Response("Success")
        if message.login_request is not None:
            self.sale_id = header.sale_id
            system = PoiSystemData(_stamp(now_s), Software("", "facepay-kiosk", self._version))
            return _encode(msgspec.structs.replace(answer, login_response=LoginResponse(success, system)))
        if header.sale_id != self.sale_id:
            raise ProtocolError(f"LoggedOut: {header.sale_id} has not logged in on this connection")
        if message.logout_request is not None:
            self.sale_id = ""
            return _encode(msgspec.structs.replace(answer, logout_response=LogoutResponse(success)))
        return None

    @staticmethod
    def _request(message: SaleToPoiRequest) -> Request:
        name = message.message_header.service_id
        try:
            if message.payment_request is not None:
                order = message.payment_request.sale_data.sale_transaction_id.transaction_id
                asked = message.payment_request.payment_transaction.amounts_req
                return OpenPayment(name, order, Money.parse(str(asked.requested_amount), asked.currency))
            if message.abort_request is not None:
                return Abort(name, message.abort_request.sale_transaction_id.transaction_id)
            if message.transaction_status_request is not None:
                return AskStatus(name, message.transaction_status_request.sale_transaction_id.transaction_id)
        except ValueError as error:
            raise ProtocolError(str(error)) from None
        return Diagnose(name)


# --- the till's side ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The kiosk knows this till; `poi_id` is the kiosk's own name."""

    poi_id: str


class TillSession:
    """A till's side of a connection: what it writes, and what it reads of the kiosk's."""

    def __init__(self, sale_id: str) -> None:
        self._sale_id = sale_id

    def login(self, service_id: str) -> bytes:
        part = LoginRequest(sale_software=Software("", "simulated till", ""))
        header = self._header("Login", service_id, PROTOCOL_VERSION)
        return _encode(SaleToPoiRequest(header, login_request=part))

    def logout(self, service_id: str) -> bytes:
        return _encode(SaleToPoiRequest(self._header("Logout", service_id), logout_request=LogoutRequest()))

    def write(self, request: Request) -> bytes:
        """`request` as the body of a frame."""
        message = SaleToPoiRequest(self._header(_CATEGORIES[type(request)], request.id))
        match request:
            case OpenPayment(_, order_ref, amount):
                asked = PaymentTransaction(AmountsReq(amount.currency, Decimal(amount.decimal())))
                part: Part = PaymentRequest(SaleData(Transaction(order_ref)), asked)
                return _encode(msgspec.structs.replace(message, payment_request=part))
            case Abort(_, order_ref):
                part = AbortRequest(Transaction(order_ref), "MerchantAbort")
                return _encode(msgspec.structs.replace(message, abort_request=part))
            case AskStatus(_, order_ref):
                part = TransactionStatusRequest(Transaction(order_ref))
                return _encode(msgspec.structs.replace(message, transaction_status_request=part))
            case Diagnose():
                return _encode(msgspec.structs.replace(message, diagnosis_request=DiagnosisRequest()))

    def read(self, body: bytes) -> Said | LoggedIn | None:
        """What the kiosk says; None for the end of a session.

        Raises:
            ProtocolError: not a kiosk's message.
        """
        message = _decode(body)
        if isinstance(message, SaleToPoiRequest):
            return _event_of(message)
        header = message.message_header
        if message.login_response is not None:
            return LoggedIn(header.poi_id)
        if message.payment_response is not None:
            return Answered(header.service_id, _told_of_payment(message.payment_response))
        if message.transaction_status_response is not None:
            return Answered(header.service_id, _told_of_status(message.transaction_status_response))
        if message.abort_response is not None:
            return Answered(header.service_id, _told(message.abort_response.response))
        if message.diagnosis_response is not None:
            return Answered(header.service_id, _told(message.diagnosis_response.response))
        return None

    def _header(self, category: str, service_id: str, version: str = "") -> MessageHeader:
        return MessageHeader(
            "Service", category, "Request", service_id, self._sale_id, protocol_version=version
        )


def _event_of(message: SaleToPoiRequest) -> News | Rejected:
    event = message.event_notification
    if event is None:
        raise ProtocolError("a kiosk asks nothing of a till")
    if event.transaction_status_response is None:
        return Rejected(event.event_details)
    told = _told_of_status(event.transaction_status_response)
    order = dict(parse_qsl(event.event_details, max_num_fields=8)).get("order", "")
    return News(replace(told, order_ref=told.order_ref or order))
