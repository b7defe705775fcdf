"""What lies between the kiosk's frozen exchange and the acquirer's books: messages, and how they can be hurt.

Two wires with the same rules. `SignedWire` is the product's own code on both sides: RFC 9421 signatures, the
client's reading of answers, the sandbox's whole ASGI application. `SealedWire` is quick: a seal over the
same fields in place of ECDSA, then the same nonce cache, the same parsing, the same authoriser. For a seed
both lead to the same schedule, step by step (`test_simulation.py` compares them).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import msgspec
from cryptography.hazmat.primitives import serialization

from kiosk.acquirer.client import AcquirerClient, Lost, Reply, _understood
from kiosk.acquirer.messages import Exchange
from kiosk.acquirer.signing import (
    JSON,
    LIFETIME_S,
    HttpAnswer,
    HttpRequest,
    NonceCache,
    SignatureError,
    VerifiedRequest,
    _check_window,
    _Signature,
    load_public_key,
)
from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.domain.payment import Result
from kiosk.domain.ports import Clock
from kiosk.sandbox.aftersale import Aftersale
from kiosk.sandbox.authorise import Authoriser, Treated, problem
from kiosk.sandbox.faults import Fault, Kind
from kiosk.sandbox.keys import OwnKey, Terminals
from kiosk.sandbox.server import _Front

ADDRESS = "http://acquirer.test"
HURTS = ("body", "cut", "key", "signature", "unsigned", "status")
"""What can happen to a message on its way; `key` to a request only, `status` to an answer only."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A message under way. `seal` is its signature; `of` (an answer's) the signature it is bound to."""

    exchange: Exchange
    body: bytes
    key: str
    status: int
    seal: Any
    of: Any = None
    headers: tuple[tuple[str, str], ...] = ()


class Wire(Protocol):
    """Both sides' edges; `start` is the acquirer's process coming up."""

    def start(self, authoriser: Authoriser) -> None: ...

    def sign(self, exchange: Exchange) -> Packet: ...

    def treat(self, packet: Packet, *, decline: bool) -> Packet: ...

    def hold(self, packet: Packet) -> None: ...

    def release(self, packet: Packet) -> None: ...

    def hear(self, packet: Packet, answer: Packet) -> Reply: ...

    def hurt(self, packet: Packet, how: str, where: float) -> Packet: ...


def _hurt_text(content: bytes, how: str, where: float) -> bytes:
    """One bit turned, or the end cut off; a message without content gets some."""
    if not content:
        return b"x"
    at = int(where * len(content))
    if how == "cut":
        return content[:at]
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


class Plan:
    """The sandbox's fault plan with one question: is the next payment declined?"""

    decline = False

    def take(self) -> Fault | None:
        return Fault(Kind.DECLINE) if self.decline else None


# --- the product's own ----------------------------------------------------------------------------------


class Keys:
    """Three P-256 keys, made once for a process."""

    def __init__(self, folder: Path) -> None:
        self.kiosk, self.acquirer, self.policy = (
            OwnKey(folder / f"{prefix}.key", prefix) for prefix in ("dev", "acq", "pol")
        )
        public = load_public_key(self.kiosk.public_der)
        (folder / "device.pub").write_bytes(
            public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        self.terminals = Terminals(folder, folder)


class NothingPublished:
    """Nobody enrols in these schedules: there is no repository to keep."""

    repository = Path(__file__).parent

    def wake(self) -> None:
        """Nobody came or went."""

    def is_behind(self, epoch: int, tombstones_version: int) -> bool:
        return False


class SignedWire:
    """ECDSA, RFC 9421, and the sandbox's application, called by hand: no event loop, no socket."""

    def __init__(self, keys: Keys, kiosk_clock: Clock, clock: Clock) -> None:
        self._keys, self._clock, self._plan = keys, clock, Plan()
        pinned = {keys.acquirer.key_id: keys.acquirer.public_der}
        self._client = AcquirerClient(ADDRESS, keys.kiosk, pinned, kiosk_clock)

    def start(self, authoriser: Authoriser) -> None:
        self._front = _Front(
            ADDRESS,
            authoriser=authoriser,
            publishing=NothingPublished(),  # type: ignore[arg-type]
            key=self._keys.acquirer,
            terminals=self._keys.terminals,
            clock=self._clock,  # type: ignore[arg-type]
            plan=self._plan,  # type: ignore[arg-type]
            hardware_only=False,  # a software key is good enough for a simulation
        )
        self._app = self._front.app()

    def sign(self, exchange: Exchange) -> Packet:
        request = self._client.sign(exchange)
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        return Packet(exchange, exchange.body or b"", "", 0, request.headers["Signature"], None, headers)

    def treat(self, packet: Packet, *, decline: bool) -> Packet:
        self._plan.decline = decline
        sent: list[Any] = []
        scope = {
            "type": "http",
            "method": packet.exchange.method,
            "path": packet.exchange.path,
            "raw_path": packet.exchange.path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in packet.headers],
            "client": ("127.0.0.1", 1),
        }

        async def receive() -> Any:
            return {"type": "http.request", "body": packet.body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        call = self._app(scope, receive, send)
        try:
            call.send(None)
        except StopIteration:
            start, content = sent
        else:
            raise AssertionError("the sandbox waits for something that is not there")
        headers = tuple((name.decode().title(), value.decode()) for name, value in start["headers"])
        return Packet(packet.exchange, content["body"], "", start["status"], None, packet, headers)

    def hold(self, packet: Packet) -> None:
        self._front._in_flight.add((self._keys.kiosk.key_id, packet.exchange.idempotency_key or ""))

    def release(self, packet: Packet) -> None:
        self._front._in_flight.discard((self._keys.kiosk.key_id, packet.exchange.idempotency_key or ""))

    def hear(self, packet: Packet, answer: Packet) -> Reply:
        names = {name: name.title() for name, _ in packet.headers}
        request = HttpRequest(
            packet.exchange.method,
            ADDRESS + packet.exchange.path,
            {names[name]: value for name, value in packet.headers},
        )
        return self._client.hear(
            packet.exchange, HttpAnswer(answer.status, dict(answer.headers), request), answer.body
        )

    def hurt(self, packet: Packet, how: str, where: float) -> Packet:
        headers = dict(packet.headers)
        match how:
            case "body" | "cut":
                return replace(packet, body=_hurt_text(packet.body, how, where))
            case "status":
                return replace(packet, status=200 if packet.status != 200 else 404)
            case "unsigned":
                headers = {name: value for name, value in headers.items() if name.lower() != "signature"}
            case "key" if "idempotency-key" in headers:
                headers["idempotency-key"] = headers["idempotency-key"][:-2] + '2"'
            case _:
                name = "Signature" if "Signature" in headers else "signature"
                text = headers.get(name, "k=:" + "A" * 88 + ":")
                headers[name] = text[:9] + ("B" if text[9] == "A" else "A") + text[10:]
        return replace(packet, headers=tuple(headers.items()))


# --- the quick one --------------------------------------------------------------------------------------

_serial = itertools.count()


class SealedWire:
    """The same rules with a seal that only its maker can make, compared with what it was made of."""

    def __init__(self, keys: Keys, kiosk_clock: Clock, clock: Clock) -> None:
        self._who, self._kiosk_clock, self._clock = keys.kiosk.key_id, kiosk_clock, clock
        self._find = keys.terminals.find

    def start(self, authoriser: Authoriser) -> None:
        self._authoriser, self._nonces = authoriser, NonceCache(self._clock.utc_s())
        self._aftersale = Aftersale(authoriser, self._find)
        self._in_flight: set[str] = set()

    def sign(self, exchange: Exchange) -> Packet:
        body, key = exchange.body or b"", exchange.idempotency_key or ""
        created = int(self._kiosk_clock.utc_s())
        signed = _Signature(self._who, str(next(_serial)), created, created + LIFETIME_S, {})
        return Packet(exchange, body, key, 0, (signed, body, key))

    def treat(self, packet: Packet, *, decline: bool) -> Packet:
        try:
            if packet.seal is None:
                refused = problem(401, "unsigned")
                return Packet(packet.exchange, refused.body, "", 401, None, packet.seal)
            treated = self._treated(packet, self._verified(packet), decline=decline)
        except SignatureError as error:
            treated = problem(401, error.code, str(error))
        except OperatorError:
            treated = problem(503, "unavailable")
        created = int(self._clock.utc_s())
        seal = (created, treated.body, treated.status, packet.seal)
        return Packet(packet.exchange, treated.body, packet.key, treated.status, seal, packet.seal)

    def _verified(self, packet: Packet) -> VerifiedRequest:
        signed, body, key = packet.seal
        if body != packet.body or key != packet.key:
            raise SignatureError("bad_signature", "altered")
        now_s = self._clock.utc_s()
        _check_window(signed, now_s)
        self._nonces.use(signed, now_s)
        return VerifiedRequest(self._who, packet.exchange.idempotency_key, "")

    def _treated(self, packet: Packet, who: VerifiedRequest, *, decline: bool) -> Treated:
        exchange = packet.exchange
        if exchange.operation == "status":
            if f"{exchange.ref}:payment:1" in self._in_flight:
                pending = {
                    "version": 1,
                    "operation": "status",
                    "ref": exchange.ref,
                    "result": Result.PENDING,
                    "code": "in_flight",
                }
                return Treated(200, msgspec.json.encode(pending))
            return self._authoriser.status(who, exchange.ref)
        if exchange.idempotency_key in self._in_flight:
            return problem(409, "in_flight")
        if exchange.operation == "payment":
            return self._authoriser.payment(who, packet.body, decline=decline)
        if exchange.operation == "refund":
            return self._aftersale.refund(who, exchange.ref, packet.body)
        if exchange.operation == "advice":
            return self._aftersale.advice(who, packet.body)
        return self._authoriser.reversal(who, exchange.ref, packet.body)

    def hold(self, packet: Packet) -> None:
        self._in_flight.add(packet.exchange.idempotency_key or "")

    def release(self, packet: Packet) -> None:
        self._in_flight.discard(packet.exchange.idempotency_key or "")

    def hear(self, packet: Packet, answer: Packet) -> Reply:
        """Like the client's: sealed by the acquirer, unhurt, of now, and bound to this very request."""
        try:
            if answer.seal is None:
                raise SignatureError("unsigned", "no signature")
            created, body, status, of = answer.seal
            if body != answer.body or status != answer.status or of is not packet.seal:
                raise SignatureError("bad_signature", "altered, or an answer to something else")
            _check_window(_Signature("", "", created, created + LIFETIME_S, {}), self._kiosk_clock.utc_s())
            return _understood(packet.exchange, HttpAnswer(status, {"Content-Type": JSON}, None), body)  # type: ignore[arg-type]
        except ProtocolError as error:
            return Lost(f"HTTP {answer.status}: {error}")

    def hurt(self, packet: Packet, how: str, where: float) -> Packet:
        match how:
            case "body" | "cut":
                return replace(packet, body=_hurt_text(packet.body, how, where))
            case "status":
                return replace(packet, status=200 if packet.status != 200 else 404)
            case "unsigned":
                return replace(packet, seal=None)
            case "key" if packet.key:
                return replace(packet, key=packet.key + "?")
            case _ if packet.seal is not None:
                return replace(packet, seal=(packet.seal[0], *(None for _ in packet.seal[1:])))
        return packet
