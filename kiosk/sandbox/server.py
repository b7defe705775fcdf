"""An acquirer in a box: a real HTTP server in its own process that verifies, decides, keeps books and signs.

All its state is in the folder `sandbox` of the data folder it is given. `acquirer.json` in there is what a
kiosk needs to trust it. The admin call that sets faults answers to this machine only.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from uvicorn.protocols.http.h11_impl import H11Protocol

from kiosk.acquirer.messages import Operation
from kiosk.acquirer.operations import body_limit
from kiosk.acquirer.signing import (
    JSON,
    HttpAnswer,
    HttpRequest,
    NonceCache,
    SignatureError,
    Signer,
    TrustedKeys,
    VerifiedRequest,
    sign_answer,
    verify_request,
)
from kiosk.domain.errors import OperatorError
from kiosk.domain.payment import Result
from kiosk.sandbox.aftersale import Aftersale
from kiosk.sandbox.authorise import Authoriser, Treated, problem
from kiosk.sandbox.ca import Authority, peer
from kiosk.sandbox.faults import Fault, FaultPlan, Kind
from kiosk.sandbox.files import only_one, write
from kiosk.sandbox.gallery_keys import GalleryKeys
from kiosk.sandbox.keys import DEV, OwnKey, Terminals
from kiosk.sandbox.ledger import Ledger
from kiosk.sandbox.people import People
from kiosk.sandbox.policy import publish_scheme
from kiosk.sandbox.publishing import Publishing

__all__ = ["CRASHED", "ROUTES", "home", "serve"]

CRASHED: Final = 70
"""Exit code of `crash-after-commit`."""
LOG: Final = logging.getLogger("uvicorn.error")
LOOPBACK: Final = ("127.0.0.1", "::1")
JOSE: Final = "application/jose"


class Asked(NamedTuple):
    """One call of the protocol."""

    method: str
    path: str
    operation: Operation


ROUTES: Final = (
    Asked("POST", "/v1/payments", "payment"),
    Asked("GET", "/v1/payments/{ref}", "status"),
    Asked("POST", "/v1/payments/{ref}/reversals", "reversal"),
    Asked("POST", "/v1/payments/{ref}/refunds", "refund"),
    Asked("POST", "/v1/payments/{ref}/disputes", "dispute"),
    Asked("POST", "/v1/advices", "advice"),
    Asked("POST", "/v1/reconciliations", "reconciliation"),
    Asked("POST", "/v1/identifications", "identification"),
    Asked("POST", "/v1/enrolments", "enrolment"),
    Asked("GET", "/v1/payers/{token:path}", "payer"),
    Asked("DELETE", "/v1/payers/{token:path}", "withdrawal"),
    Asked("POST", "/v1/gallery-keys", "gallery_keys"),
    Asked("GET", "/v1/policy", "policy"),
    Asked("POST", "/v1/telemetry", "telemetry"),
)
FAULTY: Final = ("payment", "status", "reversal", "refund", "advice", "reconciliation", "dispute")
REF: Final = re.compile(r"[0-9a-f-]{36}", re.ASCII)


def home(data_dir: Path) -> Path:
    """The sandbox's own folder in a data folder; made (0700) when it is new."""
    folder = data_dir / "sandbox"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError(
            f"can't be made ({error.strerror})", where=str(folder), do="Use --data-dir."
        ) from None
    return folder


def serve(
    data_dir: Path,
    *,
    host: str,
    port: int,
    mode: str,
    faults: list[str],
    declined: frozenset[str],
    opening_minor: int | None,
    pin: str,
    hardware_only: bool = False,
    tls: bool = False,
    ready: Callable[[str], None],
) -> None:
    """Serve until the process is told to stop; `ready` is called with the address once it listens.

    `tls`: TLS 1.3, and only for kiosks with a certificate of this sandbox's CA.

    Raises:
        OperatorError: the address or the folder is taken, or a file of the folder can't be used.
    """
    plan = FaultPlan(faults)
    with (
        only_one(home(data_dir)) as folder,
        _listen(host, port) as listening,
        closing(Ledger(folder / "ledger.sqlite")) as ledger,
    ):
        name = f"[{host}]" if ":" in host else host
        base_url = f"{'https' if tls else 'http'}://{name}:{listening.getsockname()[1]}"
        authority = Authority(folder) if tls else None
        acquirer_key = OwnKey(folder / "acquirer.key", "acq")
        policy_key = OwnKey(folder / "policy.key", "pol")
        _publish(folder, base_url, acquirer_key, policy_key, authority)
        publish_scheme(folder)
        clock = _SystemClock()
        authoriser = Authoriser(
            ledger,
            policy_key,
            folder,
            clock,
            mode=mode,
            declined=declined,
            opening_minor=opening_minor,
            pin=pin,
        )
        authoriser.policy()  # the first one is there before anybody asks
        publishing = Publishing(folder, ledger, clock)
        front = _Front(
            base_url,
            publishing=publishing,
            authoriser=authoriser,
            key=acquirer_key,
            terminals=Terminals(folder, data_dir),
            clock=clock,
            plan=plan,
            hardware_only=hardware_only,
            authority=authority,
        )
        secured = authority.server(host) if authority else None
        config = uvicorn.Config(
            front.app(),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            ssl_context_factory=(lambda *_: secured) if secured else None,
        )
        with publishing:
            _Server(config, lambda: ready(base_url)).run(sockets=[listening])


class _SystemClock:
    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def utc_s(self) -> float:
        return time.time()


def _listen(host: str, port: int) -> socket.socket:
    try:
        made = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # an answer in two writes is not held back
        return made
    except OSError as error:
        raise OperatorError(
            f"can't listen on {host}:{port} ({error.strerror})", do="Use another --port; 0 takes a free one."
        ) from None


def _publish(
    folder: Path, base_url: str, acquirer_key: OwnKey, policy_key: OwnKey, authority: Authority | None
) -> None:
    """`acquirer.json`: what a kiosk pins."""
    trust: dict[str, object] = {
        "base_url": base_url,
        "acquirer_keys": {acquirer_key.key_id: acquirer_key.public_der},
        "policy_keys": {policy_key.key_id: policy_key.public_der},
    }
    if authority is not None:
        trust["tls"] = {"ca": [authority.root_der], "pins": authority.pins()}
    write(folder / "acquirer.json", msgspec.json.format(msgspec.json.encode(trust)))


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


class _Protocol(H11Protocol):
    """Keeps hold of the sockets, so that a fault can close one under an answer."""

    open_by_peer: dict[Any, asyncio.Transport] = {}  # noqa: RUF012 - one server in a process

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.open_by_peer[self.client] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.open_by_peer.pop(self.client, None)
        super().connection_lost(exc)


class _Vanished(Response):
    """No answer at all: the connection is closed under it."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        _Protocol.open_by_peer[tuple(scope["client"])].abort()
        while (await receive())["type"] != "http.disconnect":
            pass  # until the server has noticed: to return before would be a bug, and logged as one


class _Front:
    """HTTP on one side, verified calls on the other."""

    def __init__(
        self,
        base_url: str,
        *,
        authoriser: Authoriser,
        publishing: Publishing,
        key: OwnKey,
        terminals: Terminals,
        clock: _SystemClock,
        plan: FaultPlan,
        hardware_only: bool = False,
        authority: Authority | None = None,
    ) -> None:
        self._authority, self._publishing = authority, publishing
        self._base_url, self._authoriser, self._clock = base_url, authoriser, clock
        self._signer = Signer(key, clock)
        self._aftersale = Aftersale(authoriser, terminals.find)
        self._people = People(authoriser, publishing.is_behind)
        self._gallery_keys = GalleryKeys(authoriser)
        self._terminals, self._hardware_only = terminals, hardware_only
        self._trusted = TrustedKeys({}, terminals.find)
        self._nonces = NonceCache(clock.utc_s())
        self._plan = plan
        self._in_flight: set[tuple[str, str]] = set()

    def app(self) -> Starlette:
        routes = [Route(route.path, self._asked(route), methods=[route.method]) for route in ROUTES]
        routes += [
            Route("/sandbox/faults", self._faults, methods=["POST"]),
            Route("/repo/metadata/timestamp.json", self._timestamp),
        ]
        published = StaticFiles(directory=self._publishing.repository)
        return Starlette(routes=[*routes, Mount("/repo", published)])

    # --- endpoints --------------------------------------------------------------------------------------

    def _asked(self, route: Asked) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint of an operation; faults are for those that move money, or ask whether it moved."""

        async def asked(http: Request) -> Response:
            fault = self._plan.take() if route.operation in FAULTY else None
            response = await self._signed(http, route, fault)
            if fault is not None and fault.kind is Kind.DUPLICATE:
                response = await self._signed(http, route, None)
            return response

        return asked

    async def _faults(self, http: Request) -> Response:
        """`{"faults": ["drop-answer:1"]}` replaces what was planned."""
        if http.client is None or http.client.host not in LOOPBACK:
            return JSONResponse({"error": "this machine only"}, 403)
        if http.headers.get("content-type") != JSON:  # not from a form of some web page
            return JSONResponse({"error": f"content type {JSON} only"}, 415)
        try:
            wanted = msgspec.json.decode(await http.body(), type=dict[str, list[str]])["faults"]
            self._plan = FaultPlan(wanted)
        except (msgspec.MsgspecError, UnicodeError, KeyError):
            return JSONResponse({"error": 'not {"faults": [...]}'}, 400)
        except OperatorError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"faults": wanted})

    async def _timestamp(self, _: Request) -> Response:
        """The one published file that changes under its name: read whole, not by a length found before."""
        content = (self._publishing.repository / "metadata" / "timestamp.json").read_bytes()
        return Response(content, media_type=JSON, headers={"Cache-Control": "no-cache"})

    # --- one call ---------------------------------------------------------------------------------------

    async def _signed(self, http: Request, route: Asked, fault: Fault | None) -> Response:
        async def treat(who: VerifiedRequest, body: bytes) -> Treated:
            return await self._treated(http, route, who, body, fault)

        kind = JOSE if route.operation == "policy" else JSON
        return await self._answered(http, treat, fault, kind, body_limit(route.operation))

    async def _answered(
        self,
        http: Request,
        treat: Callable[[VerifiedRequest, bytes], Awaitable[Treated]],
        fault: Fault | None,
        content_type: str,
        limit: int,
    ) -> Response:
        """Verify, treat, sign; a call that carries nothing to bind to is refused without a signature."""
        request = self._as_signed(http)
        body = await _body(http, limit)
        try:
            if body is None:
                raise SignatureError("too_large", f"more than {limit} bytes")
            who = verify_request(request, body, self._trusted, self._clock, self._nonces)
            if self._hardware_only and who.key_id.startswith(DEV):
                treated, content_type = problem(403, "key_class", "software keys are not taken"), JSON
            else:
                self._authoriser.follow(who.key_id, self._terminals.followed(who.key_id))
                refusal = self._wrong_line(http, who, body)
                if refusal is None:
                    treated = await treat(who, body)
                else:
                    treated, content_type = refusal, JSON
        except SignatureError as error:
            treated, content_type = problem(401, error.code, str(error)), JSON
        except OperatorError as error:  # a full disk, a file of the folder that can't be used any more
            LOG.error("%s", error)
            detail = f"{Path(error.where).name}: {error.what}" if error.where else error.what
            treated, content_type = problem(503, "unavailable", detail), JSON
        try:
            answer = sign_answer(self._signer, request, treated.status, treated.body, content_type)
        except SignatureError:  # not even a bad signature: this call was refused above
            return Response(treated.body, treated.status, media_type=JSON)
        return _faulty(fault, answer, treated.body)

    def _wrong_line(self, http: Request, who: VerifiedRequest, body: bytes) -> Treated | None:
        """The certificate at the other end has to be of the terminal that the signature speaks for."""
        if self._authority is None:
            return None
        transport = _Protocol.open_by_peer[tuple(http.scope["client"])]
        line = peer(transport.get_extra_info("ssl_object").getpeercert(binary_form=True))
        if self._authority.is_revoked(line.serial):
            return problem(403, "certificate", f"certificate {line.serial} is revoked")
        if line.until.timestamp() <= self._clock.utc_s():  # it may have ended since the handshake
            return problem(403, "certificate", f"certificate {line.serial} has expired")
        said = _named(body) or self._authoriser.terminal(who.key_id)
        if said and said != (line.merchant, line.terminal):
            return problem(403, "terminal", f"the certificate is for terminal {line.terminal}, not {said[1]}")
        return None

    async def _treated(
        self, http: Request, route: Asked, who: VerifiedRequest, body: bytes, fault: Fault | None
    ) -> Treated:
        """What has an idempotency key is in flight while it is treated; status sees a payment as pending."""
        about = http.path_params.get("ref") or http.path_params.get("token") or ""
        if route.method != "POST":
            return self._bare(route.operation, who, about)
        flight = (who.key_id, who.idempotency_key or "")
        if flight in self._in_flight:
            return problem(409, "in_flight", "the same call is being treated")
        self._in_flight.add(flight)
        try:
            if fault is not None and fault.kind is Kind.DELAY:
                await asyncio.sleep(fault.seconds)
            return self._booked(route.operation, who, about, body, fault)
        finally:
            self._in_flight.discard(flight)

    def _bare(self, operation: Operation, who: VerifiedRequest, about: str) -> Treated:
        """Calls without a body."""
        match operation:
            case "policy":
                return Treated(200, self._authoriser.policy())
            case "payer":
                return self._people.payer(about)
            case "withdrawal":
                withdrawn = self._people.withdrawal(about)
                self._publishing.wake()
                return withdrawn
            case _:
                return self._status(who, about)

    def _booked(
        self, operation: Operation, who: VerifiedRequest, ref: str, body: bytes, fault: Fault | None
    ) -> Treated:
        """Calls with a body and an idempotency key."""
        match operation:
            case "reversal":
                return self._authoriser.reversal(who, ref, body)
            case "refund":
                return self._aftersale.refund(who, ref, body)
            case "dispute":
                return self._aftersale.dispute(who, ref, body)
            case "advice":
                return self._aftersale.advice(who, body)
            case "reconciliation":
                return self._aftersale.reconciliation(who, body)
            case "enrolment":
                enrolled = self._people.enrolment(who, body)
                self._publishing.wake()
                return enrolled
            case "identification":
                return self._people.identification(who, body)
            case "gallery_keys":
                return self._gallery_keys.give(who, body)
            case "telemetry":
                return self._people.telemetry(who, body)
            case _:
                decline = fault is not None and fault.kind is Kind.DECLINE
                return self._authoriser.payment(who, body, decline=decline)

    def _status(self, who: VerifiedRequest, ref: str) -> Treated:
        if not REF.fullmatch(ref):
            return problem(404, "not_found")
        if (who.key_id, f"{ref}:payment:1") in self._in_flight:
            pending = {
                "version": 1,
                "operation": "status",
                "ref": ref,
                "result": Result.PENDING,
                "code": "in_flight",
            }
            return Treated(200, msgspec.json.encode(pending))
        return self._authoriser.status(who, ref)

    def _as_signed(self, http: Request) -> HttpRequest:
        """The request by the address that this server goes by, whatever `Host` says."""
        path = bytes(http.scope["raw_path"]).decode("latin-1")
        query = bytes(http.scope["query_string"]).decode("latin-1")
        headers: dict[str, str] = {}
        for name, value in http.headers.items():
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return HttpRequest(http.method, f"{self._base_url}{path}{'?' + query if query else ''}", headers)


class _Named(msgspec.Struct):
    merchant_id: str
    terminal_id: str


def _named(body: bytes) -> tuple[str, str] | None:
    """Merchant and terminal that a message names; None when it names none, or can't be read."""
    try:
        named = msgspec.json.decode(body, type=_Named)
    except (msgspec.MsgspecError, UnicodeError):
        return None
    return named.merchant_id, named.terminal_id


async def _body(http: Request, limit: int) -> bytes | None:
    """The whole body, kept for a second look; None when it has more than `limit` bytes."""
    if not hasattr(http.state, "body"):
        body = bytearray()
        with suppress(ClientDisconnect):  # half a body does not have the digest of the whole
            async for chunk in http.stream():
                body += chunk
                if len(body) > limit:
                    return None
        http.state.body = bytes(body)
    kept: bytes = http.state.body
    return kept


def _faulty(fault: Fault | None, answer: HttpAnswer, body: bytes) -> Response:
    """The answer as it leaves, or does not."""
    headers = dict(answer.headers)
    match fault.kind if fault else None:
        case Kind.CRASH_AFTER_COMMIT:
            os._exit(CRASHED)
        case Kind.DROP_ANSWER:
            return _Vanished()
        case Kind.BAD_SIGNATURE:
            signature = headers["Signature"]
            headers["Signature"] = signature[:5] + ("B" if signature[5] == "A" else "A") + signature[6:]
        case Kind.ALTER_BODY:
            body = body.replace(b'"approved"', b'"declined"') if b'"approved"' in body else body + b" "
    return Response(body, answer.status_code, headers)
