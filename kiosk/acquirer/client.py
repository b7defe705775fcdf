"""The call itself: one frozen exchange over one connection, and what can honestly be said about it after.

Three kinds of end: the acquirer's verified word, `Unsent` when provably nothing arrived, `Lost` for all the
rest. Whatever is not verified proves nothing, so it is `Lost`. A call ends in time even when the other side
sends a byte now and then, and reads no more than `operations.body_limit`.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError

from kiosk.acquirer.messages import AnswerMessage, Exchange, Message, Problem, parse, parse_answer
from kiosk.acquirer.operations import ANSWERS, PayerAnswer, body_limit
from kiosk.acquirer.signing import (
    JSON,
    HttpAnswer,
    HttpRequest,
    Signer,
    SigningKey,
    TrustedKeys,
    sign_request,
    verify_answer,
)
from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.domain.payment import Answer, Result
from kiosk.domain.ports import Clock

__all__ = [
    "AcquirerClient",
    "Lost",
    "PolicyReceived",
    "Reply",
    "ReversalConfirmed",
    "Told",
    "Unsent",
    "Verified",
]

JOSE: Final = "application/jose"


@dataclass(frozen=True, slots=True)
class Verified:
    """The acquirer's word about the attempt; `refresh_policy`: it has a newer policy than this kiosk."""

    answer: Answer
    refresh_policy: bool = False


@dataclass(frozen=True, slots=True)
class ReversalConfirmed:
    """The acquirer acknowledged the reversal: nothing is charged, and nothing will be."""


@dataclass(frozen=True, slots=True)
class PolicyReceived:
    """The policy's JWS, not yet looked into (`PolicyStore.accept`)."""

    jws: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """The acquirer's word in another matter than money on its way: one of `operations.ANSWERS`, about
    exactly what was asked."""

    message: Message


@dataclass(frozen=True, slots=True)
class Lost:
    """The call may have arrived and there is no word about the attempt. `why` is for the log, one line.

    `code` is there when the acquirer verifiably refused to treat the call (`in_flight`, `unknown_key`,
    `stale`, `not_found` ...): that says nothing about what an earlier delivery of the same attempt did.
    """

    why: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Unsent:
    """Not signed, or no connection was made, so that nothing can have arrived."""

    why: str


Reply = Verified | ReversalConfirmed | PolicyReceived | Told | Lost | Unsent


class AcquirerClient:
    """Sends exchanges to `base_url`, signed by `key`; believes `acquirer_keys` (key id -> DER) only.

    Safe to share between threads: every call has a connection of its own.

    Raises:
        OperatorError: an address that is not http(s)://host[:port][/path], or a key that is not P-256.
    """

    def __init__(
        self,
        base_url: str,
        key: SigningKey,
        acquirer_keys: Mapping[str, bytes],
        clock: Clock,
        *,
        connect_timeout_s: float = 3,
        answer_timeout_s: float = 15,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise OperatorError(
                f"the acquirer's address is {base_url!r}", do="Write it as https://host:port."
            )
        self._base_url = base_url.rstrip("/")
        self._signer = Signer(key, clock)
        self._trusted = TrustedKeys(acquirer_keys)
        self._clock = clock
        self._connect_s, self._answer_s = connect_timeout_s, answer_timeout_s

    def send(self, exchange: Exchange) -> Reply:
        """Sign the exchange anew, send it once, and say what came of it. Never raises for what is outside."""
        try:
            request = self.sign(exchange)
        except OperatorError as error:  # the token that holds the key has failed
            return Unsent(str(error))
        try:
            answer, body = self._call(request, exchange.body, body_limit(exchange.operation))
        except requests.RequestException as error:
            why = _why(error)
            return Unsent(why) if _never_connected(error) else Lost(why)
        except (HTTPError, OSError, ValueError) as error:  # out of the raw stream, past `requests`
            return Lost(_why(error))
        except ProtocolError as error:
            return Lost(str(error))
        return self.hear(exchange, answer, body)

    def sign(self, exchange: Exchange) -> HttpRequest:
        """The request as it goes out: the frozen bytes under a signature of now. OperatorError: no key."""
        return sign_request(
            self._signer,
            exchange.method,
            self._base_url + exchange.path,
            body=exchange.body,
            idempotency_key=exchange.idempotency_key,
        )

    def hear(self, exchange: Exchange, answer: HttpAnswer, body: bytes) -> Reply:
        """What an answer that came says, when it is verified; else nothing (`Lost`)."""
        try:
            self._verify(answer, body)
            return _understood(exchange, answer, body)
        except ProtocolError as error:
            return Lost(f"HTTP {answer.status_code}: {error}")

    def _verify(self, answer: HttpAnswer, body: bytes) -> None:
        verify_answer(answer, body, self._trusted, self._clock)

    def _call(self, request: HttpRequest, body: bytes | None, limit: int) -> tuple[HttpAnswer, bytes]:
        headers = {**request.headers, "Accept-Encoding": "identity", "Connection": "close"}
        with requests.Session() as session, _Deadline(self._answer_s):
            session.trust_env = False  # no proxies, no .netrc
            session.mount("http://", _Adapter())
            session.mount("https://", _Adapter())
            with session.request(
                request.method,
                request.url,
                headers=headers,
                data=body,
                timeout=(self._connect_s, self._answer_s),
                allow_redirects=False,
                stream=True,
            ) as response:
                received = b""
                while chunk := response.raw.read(limit + 1 - len(received), decode_content=False):
                    received += chunk
                    if len(received) > limit:
                        raise ProtocolError(f"an answer of more than {limit} bytes")
                return HttpAnswer(response.status_code, response.headers, request), received


def _understood(exchange: Exchange, answer: HttpAnswer, body: bytes) -> Reply:
    """What a verified answer says. An answer about the attempt counts whatever the status is."""
    kind = answer.headers.get("Content-Type")
    if exchange.operation == "policy" and answer.status_code == 200 and kind == JOSE:
        return PolicyReceived(body)
    if kind != JSON:
        raise ProtocolError(f"content type {kind}")
    try:
        return _answered(exchange, body)
    except ProtocolError:
        if answer.status_code == 200:
            raise
    problem = parse(body, Problem)
    return Lost(f"refused: {problem.error} {problem.detail}".rstrip(), problem.error)


def _answered(exchange: Exchange, body: bytes) -> Reply:
    """ProtocolError: not an answer to this exchange."""
    kind = ANSWERS.get(exchange.operation)
    if kind is None:
        raise ProtocolError(f"{exchange.operation} is not answered so")
    if kind is not AnswerMessage:
        told: Any = parse(body, kind, limit=body_limit(exchange.operation))
        about = told.token if kind is PayerAnswer else told.ref
        if (about, told.operation) != (exchange.ref, exchange.operation):
            raise ProtocolError(f"an answer about {told.operation} of {about}")
        return Told(told)
    message = parse_answer(body, ref=exchange.ref, operation=exchange.operation)
    if exchange.operation != "reversal":
        return Verified(message.answer(), refresh_policy=message.action == "refresh_policy")
    if message.result is Result.REVERSED:
        return ReversalConfirmed()
    return Lost(f"asked to reverse, the acquirer says {message.result}", message.code)


def _never_connected(error: requests.RequestException) -> bool:
    """True only when no connection was made: name not found, refused, no route, or time-out on the way.

    A connection that was made and then broke may have carried the request, however early it broke.
    """
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)


def _why(error: Exception) -> str:
    """The innermost reason, one line, without addresses of objects."""
    inner: BaseException = error
    while (
        following := getattr(inner, "reason", None) or inner.__cause__ or inner.__context__
    ) is not None and isinstance(following, BaseException):
        inner = following
    return f"{type(inner).__name__}: {inner}".splitlines()[0][:200]


# --- an end in time -------------------------------------------------------------------------------------

_deadline: ContextVar[_Deadline] = ContextVar("_deadline")
"""The one of the call that this thread is making."""


class _Deadline:
    """Cuts the connection of the call inside the block, `seconds` after it was made.

    The time-outs of a socket start anew with every byte; this one does not.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Self:
        self._token = _deadline.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _deadline.reset(self._token)
        if self._timer is not None:
            self._timer.cancel()

    def watch(self, sock: socket.socket) -> None:
        self._timer = threading.Timer(self._seconds, _shut, (sock,))
        self._timer.daemon = True
        self._timer.start()


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        # socket's own method: a TLS socket's would wait for the other side
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _PlainConnection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _deadline.get().watch(self.sock)


class _TlsConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _deadline.get().watch(self.sock)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
