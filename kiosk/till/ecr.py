"""The classic ECR framing on a serial line: STX, payload, ETX, LRC; ACK and NAK; three retries.

Pure: bytes and milliseconds in, payloads and bytes out; both sides are the same `Link`. A payload is
delivered once, whole and with the right check character, or not at all: a repeat is acknowledged and dropped
by its sequence number. A line that goes silent costs a bounded number of tries, then what waited is given up.

    STX 02 | payload: printable ASCII (20..7E) and FS (1C), at most 8,192 bytes | ETX 03 | LRC
    LRC     exclusive or of every byte of the payload and ETX
    payload two digits of sequence (01 to 99, then 01), one letter of type, then fields, each after an FS
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, unquote

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

__all__ = [
    "MAX_PAYLOAD",
    "Link",
    "frame",
    "read_request",
    "read_said",
    "write_request",
    "write_said",
]

STX, ETX, ENQ, ACK, NAK, FS = 0x02, 0x03, 0x05, 0x06, 0x15, 0x1C
MAX_PAYLOAD: Final = 8192
"""A result with a receipt of 40 full lines of Chinese, percent-encoded, is 7.6 kB."""
ACK_MS: Final = 1_000
"""How long a frame waits for its ACK or NAK, from when its last byte could be on the line."""
BYTE_MS: Final = 500
"""The longest silence inside a frame."""
RETRIES: Final = 3
"""A frame is sent once and then at most three times more."""
REPEAT_MS: Final = 15_000
"""The same sequence number with the same payload is a repeat within this; later the till has counted around
or begun anew."""
MAX_WAITING: Final = 16
"""Payloads that may wait for their turn; one more pushes out the oldest."""

_PAYLOAD: Final = re.compile(rb"([0-9]{2})([A-Z](?:\x1c[ -~]*)*)")


def lrc(data: bytes | bytearray) -> int:
    """Longitudinal redundancy check: exclusive or of all bytes."""
    check = 0
    for byte in data:
        check ^= byte
    return check


def frame(payload: bytes) -> bytes:
    """`payload` as it stands on the line."""
    body = payload + bytes([ETX])
    return bytes([STX]) + body + bytes([lrc(body)])


@dataclass(slots=True)
class _Sending:
    """The one frame that is on its way: sent `tries` times, given up or repeated at `due` (ms)."""

    frame: bytes
    tries: int
    due: int


class Link:
    """One end of a line of `baud` bits a second. Feed it what arrives and call `tick` a few times a second.

    `take` is what has to be written. `given_up` counts frames that nobody acknowledged.
    """

    def __init__(self, baud: int = 9600) -> None:
        self._byte_ms = 10_000 / baud  # a start bit, eight of data, a stop bit
        self._out = bytearray()
        self._waiting: deque[str] = deque(maxlen=MAX_WAITING)
        self._sending: _Sending | None = None
        self._sequence = 0
        self._frame: bytearray | None = None
        self._whole = False
        self._byte_at = 0
        self._noise_at = -BYTE_MS
        self._last: tuple[bytes, int] | None = None
        self.given_up = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is under way in either direction."""
        return self._sending is None and not self._waiting and self._frame is None

    def send(self, body: str, now: int) -> None:
        """Send a payload, less its sequence number, when those before it are acknowledged or given up."""
        self._waiting.append(body)
        self._next(now)

    def enquire(self) -> None:
        """ENQ: are you there? It is answered with ACK, and begins a new session of sequence numbers."""
        self._out.append(ENQ)

    def take(self) -> bytes:
        """What is to be written to the line now."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def feed(self, data: bytes, now: int) -> list[str]:
        """The payloads, less their sequence numbers, that `data` completes for the first time."""
        self.tick(now)
        payloads = []
        for byte in data:
            self._byte_at = now
            if self._frame is not None:
                body = self._inside(self._frame, byte, now)
                if body is not None:
                    payloads.append(body)
            elif byte == STX:
                self._frame, self._whole = bytearray(), False
            elif byte not in (ENQ, ACK, NAK) or now - self._noise_at < BYTE_MS:
                # A frame whose beginning was lost may end in any check byte: it says nothing but noise.
                self._noise_at = now
            elif byte == ENQ:
                self._last = None
                self._out.append(ACK)
            elif byte == ACK and self._sending is not None:
                self._sending = None
                self._next(now)
            elif byte == NAK and self._sending is not None:
                self._again(now)
        return payloads

    def tick(self, now: int) -> None:
        """Let time pass: a frame that broke off is refused, one that nobody acknowledged is sent again."""
        if self._frame is not None and now - self._byte_at >= BYTE_MS:
            self._refuse()
        if self._sending is not None and now >= self._sending.due:
            self._again(now)

    def reset(self) -> None:
        """The line is another one now: nothing that was under way belongs to it."""
        self._out.clear()
        self._waiting.clear()
        self._sending = self._frame = self._last = None

    def _inside(self, received: bytearray, byte: int, now: int) -> str | None:
        """One byte inside a frame; the payload's body when it was the last one of a new frame."""
        if self._whole:
            self._frame = None
            if byte != lrc(received):
                self._out.append(NAK)
                return None
            self._out.append(ACK)
            return self._new(bytes(received[:-1]), now)
        if byte == STX:
            received.clear()  # the end of another frame was lost
        elif byte == ETX:
            received.append(byte)
            self._whole = True
        elif len(received) >= MAX_PAYLOAD or not (byte == FS or 0x20 <= byte <= 0x7E):
            self._refuse()
            self._noise_at = now
        else:
            received.append(byte)
        return None

    def _new(self, payload: bytes, now: int) -> str | None:
        """The body of a payload that is no repeat of the one before; None of a repeat."""
        last, self._last = self._last, (payload, now)
        if last is not None and last[0] == payload and now - last[1] < REPEAT_MS:
            return None
        found = _PAYLOAD.fullmatch(payload)
        return (found[2] if found else b"").decode("ascii")

    def _refuse(self) -> None:
        self._frame = None
        self._out.append(NAK)

    def _next(self, now: int) -> None:
        if self._sending is None and self._waiting:
            self._sequence = self._sequence % 99 + 1
            payload = f"{self._sequence:02}{self._waiting.popleft()}".encode("ascii")
            self._sending = _Sending(frame(payload), 0, now)
            self._again(now)

    def _again(self, now: int) -> None:
        """Send what is on its way once more; after the last retry give it up, and all that waits."""
        sending = self._sending
        if sending is None:
            return
        if sending.tries > RETRIES:
            self._sending = None
            self.given_up += 1
            self._waiting.clear()
            return
        sending.tries += 1
        sending.due = now + ACK_MS + round(len(sending.frame) * self._byte_ms)
        self._out += sending.frame


# --- fields -------------------------------------------------------------------------------------------------

_TYPES: Final[dict[type[Request], str]] = {OpenPayment: "P", Abort: "A", AskStatus: "S", Diagnose: "D"}
_SAFE: Final = "".join(chr(byte) for byte in range(0x20, 0x7F) if chr(byte) != "%")
_LINE: Final = "\n"
SEQUENCE_DIGITS: Final = 2
FIELDS: Final = 12
"""Of what the kiosk says of an order."""
_NUMBER: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,35}", re.ASCII)


def _write(kind: str, *fields: str) -> str:
    """A payload's body. What is not printable ASCII, and `%`, is percent-encoded UTF-8 (RFC 3986, 2.1)."""
    return "\x1c".join([kind, *(quote(field, safe=_SAFE) for field in fields)])


def _read(body: str) -> tuple[str, list[str]]:
    """Type and fields of a payload's body."""
    kind, *fields = body.split("\x1c")
    try:
        return kind, [unquote(field, errors="strict") for field in fields]
    except UnicodeDecodeError:
        raise ProtocolError("a field is not percent-encoded UTF-8") from None


def _amount(minor: str, currency: str) -> Money:
    if not _NUMBER.fullmatch(minor):
        raise ProtocolError("an amount is 1 to 12 digits of minor units")
    try:
        return Money(int(minor), currency)
    except ValueError as error:
        raise ProtocolError(str(error)) from None


def write_request(request: Request) -> str:
    """A till's request as a payload's body."""
    kind = _TYPES[type(request)]
    match request:
        case OpenPayment(name, order_ref, amount):
            return _write(kind, name, order_ref, str(amount.minor), amount.currency)
        case Abort(name, order_ref) | AskStatus(name, order_ref):
            return _write(kind, name, order_ref)
        case Diagnose(name):
            return _write(kind, name)


def read_request(body: str) -> Request:
    """The request of a payload's body.

    Raises:
        ProtocolError: no request of this link; its text is for whoever builds the till.
    """
    kind, fields = _read(body)
    if not fields or not _ID.fullmatch(fields[0]):
        raise ProtocolError("the first field is the request's name: 1 to 35 letters, digits or . _ -")
    try:
        match kind, fields:
            case "P", [name, order_ref, minor, currency]:
                return OpenPayment(name, order_ref, _amount(minor, currency))
            case "A", [name, order_ref]:
                return Abort(name, order_ref)
            case "S", [name, order_ref]:
                return AskStatus(name, order_ref)
            case "D", [name]:
                return Diagnose(name)
    except ValueError as error:
        raise ProtocolError(str(error)) from None
    raise ProtocolError(f"no request of type {kind[:1]!r} with {len(fields)} fields")


def write_said(said: Said) -> str:
    """The kiosk's answer (R), news (N) or complaint (E) as a payload's body.

    A receipt that does not fit a payload is left out: the result is worth more.
    """
    match said:
        case Answered(name, told):
            return _write_told("R", (name,), told)
        case News(told):
            return _write_told("N", (), told)
        case Rejected(why):
            return _write("E", why[:200])


def _write_told(kind: str, names: tuple[str, ...], told: Told) -> str:
    body = _write(kind, *names, *_fields(told))
    if len(body) <= MAX_PAYLOAD - SEQUENCE_DIGITS:
        return body
    return _write(kind, *names, *_fields(replace(told, receipt=())))


def _fields(told: Told) -> tuple[str, ...]:
    return (
        told.outcome.value,
        told.order_ref,
        str(told.amount.minor) if told.amount else "",
        told.amount.currency if told.amount else "",
        told.ref,
        told.code,
        told.approval,
        told.rrn,
        told.masked_payer,
        _LINE.join(told.receipt),
        told.standing,
        str(told.refunded.minor) if told.refunded else "",
    )


def read_said(body: str) -> Said:
    """What the kiosk says in a payload's body.

    Raises:
        ProtocolError: not a kiosk's payload.
    """
    match _read(body):
        case "E", [why]:
            return Rejected(why)
        case "R", [name, *fields] if name and len(fields) == FIELDS:
            return Answered(name, _told(fields))
        case "N", [*fields] if len(fields) == FIELDS:
            return News(_told(fields))
        case kind, fields:
            raise ProtocolError(f"nothing that a kiosk says: {kind[:1]!r} with {len(fields)} fields")


def _told(fields: list[str]) -> Told:
    outcome, order_ref, minor, currency, ref, code, approval, rrn, masked_payer, receipt, *later = fields
    standing, refunded = later
    try:
        word = Outcome(outcome)
    except ValueError:
        raise ProtocolError("an outcome that this release does not know") from None
    return Told(
        word,
        order_ref,
        _amount(minor, currency) if minor else None,
        ref,
        code,
        approval,
        rrn,
        masked_payer,
        receipt=tuple(receipt.split(_LINE)) if receipt else (),
        standing=standing,
        refunded=_amount(refunded, currency) if refunded else None,
    )
