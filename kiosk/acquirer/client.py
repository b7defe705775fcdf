"""The call itself: one frozen exchange over one connection, and what can honestly be said about it after.

Three kinds of end: the acquirer's verified word, `Unsent` when provably nothing arrived, `Lost` for all the
rest. Whatever is not verified proves nothing, so it is `Lost`. A call ends in time even when the other side
sends a byte now and then, and reads no more than `operations.body_limit`.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from cryptography import x509
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

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
from kiosk.acquirer.tls import Tls, TlsError, TlsTrust
from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.domain.payment import Answer, Result
from kiosk.domain.ports import Clock

__all__ = [
    "AcquirerClient",
    "Greeted",
    "Lost",
    "PolicyReceived",
    "Reply",
    "ReversalConfirmed",
    "Told",
    "Unsent",
    "Verified",
]

JOSE: Final = "application/jose"
PORTS: Final = {"http": 80, "https": 443}
HEADERS: Final = {"Accept-Encoding": "identity", "Connection": "close", "User-Agent": "facepay-kiosk"}


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
    """Not signed, or no connection was made, so that nothing can have arrived.

    `code` is there when TLS failed (`tls.TlsError`): one side did not believe the other's certificate.
    """

    why: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Greeted:
    """A connection that was made and closed again. `until`: the end of the acquirer's certificate (UTC);
    None without TLS. `resumed`: an earlier handshake was gone on with."""

    ms: float
    until: datetime | None = None
    resumed: bool = False


Reply = Verified | ReversalConfirmed | PolicyReceived | Told | Lost | Unsent


class AcquirerClient:
    """Sends exchanges to `base_url`, signed by `key`; believes `acquirer_keys` (key id -> DER) only.

    `tls` is for an https address; without it the system's authorities are believed, and no certificate of our
    own is shown. Safe to share between threads: every call has a connection of its own.

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
        tls: Tls | None = None,
        connect_timeout_s: float = 3,
        answer_timeout_s: float = 15,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._scheme, self._host, self._port, self._path = _address(base_url)
        self._tls = (tls or Tls(TlsTrust())) if self._scheme == "https" else None
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
            connection = self._connect()
        except (OSError, HTTPError) as error:
            return _unsent(error)
        try:
            answer, body = self._ask(connection, request, exchange)
        except (OSError, HTTPError, HTTPException, ValueError) as error:
            return Lost(_why(error))
        except ProtocolError as error:
            return Lost(str(error))
        finally:
            connection.end()
        return self.hear(exchange, answer, body)

    def greet(self) -> Greeted | Unsent:
        """Make a connection, TLS and all, ask nothing, and close it."""
        started = time.monotonic()
        try:
            connection = self._connect()
        except (OSError, HTTPError) as error:
            return _unsent(error)
        ms, sock = (time.monotonic() - started) * 1000, connection.sock
        try:
            if not isinstance(sock, ssl.SSLSocket):
                return Greeted(ms)
            shown = x509.load_der_x509_certificate(sock.getpeercert(binary_form=True) or b"")
            return Greeted(ms, shown.not_valid_after_utc, bool(sock.session_reused))
        finally:
            connection.end()

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

    def _connect(self) -> _Connection:
        """A connection over which a request may go; nothing of one has left yet."""
        connection = _Connection(self._host, self._port, self._tls, self._connect_s, self._answer_s)
        try:
            connection.connect()
        except (OSError, HTTPError):
            connection.end()
            raise
        return connection

    def _ask(
        self, connection: _Connection, request: HttpRequest, exchange: Exchange
    ) -> tuple[HttpAnswer, bytes]:
        """Send the request and read the whole answer. From here on, whatever fails: it may have arrived."""
        limit = body_limit(exchange.operation)
        with requests.Session() as session:
            session.trust_env = False  # no proxies, no .netrc
            session.headers.clear()
            session.headers.update(HEADERS)
            session.mount(self._base_url, _Over(connection))
            with session.request(
                request.method,
                self._base_url + exchange.path,
                headers=dict(request.headers),
                data=exchange.body,
                allow_redirects=False,
                stream=True,
            ) as response:
                connection.remember()
                received = b""
                while chunk := response.raw.read(limit + 1 - len(received), decode_content=False):
                    received += chunk
                    if len(received) > limit:
                        raise ProtocolError(f"an answer of more than {limit} bytes")
                return HttpAnswer(response.status_code, response.headers, request), received


def _address(base_url: str) -> tuple[str, str, int, str]:
    """Scheme, host, port, path. OperatorError: not such an address."""
    wrong = OperatorError(f"the acquirer's address is {base_url!r}", do="Write it as https://host:port.")
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in PORTS or not parts.hostname or parts.query or parts.fragment:
        raise wrong
    return parts.scheme, parts.hostname, port or PORTS[parts.scheme], parts.path.rstrip("/")


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


def _unsent(error: Exception) -> Unsent:
    return Unsent(str(error), error.code) if isinstance(error, TlsError) else Unsent(_why(error))


def _why(error: Exception) -> str:
    """The innermost reason, one line, without addresses of objects."""
    inner: BaseException = error
    while (
        following := getattr(inner, "reason", None) or inner.__cause__ or inner.__context__
    ) is not None and isinstance(following, BaseException):
        inner = following
    return f"{type(inner).__name__}: {inner}".splitlines()[0][:200]


class _Over(HTTPAdapter):
    """Sends over one connection that is there already: what fails before that was certainly not sent."""

    def __init__(self, connection: _Connection) -> None:
        super().__init__()
        self._connection = connection

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        self._connection.request(
            request.method or "GET",
            request.path_url,
            request.body,
            dict(request.headers),
            preload_content=False,
        )
        return self.build_response(request, self._connection.getresponse())


class _Connection(HTTPConnection):
    """One connection, TLS included. It is cut `answer_s` after it was made, whatever is under way then.

    The time-outs of a socket start anew with every byte; the timer does not.
    """

    def __init__(self, host: str, port: int, tls: Tls | None, connect_s: float, answer_s: float) -> None:
        super().__init__(host, port, timeout=connect_s)
        self._tls, self._answer_s = tls, answer_s
        self._secured: ssl.SSLSocket | None = None
        self._whole: socket.socket | None = None
        self._timer: threading.Timer | None = None

    def connect(self) -> None:
        """OSError, HTTPError: no connection, and nothing but a handshake was sent."""
        super().connect()
        self._whole = self.sock.dup()  # TLS takes over the first one; this one ends both
        self._timer = threading.Timer(self._answer_s, _cut, (self._whole,))
        self._timer.daemon = True
        self._timer.start()
        if self._tls is not None:
            self.sock = self._secured = self._tls.wrap(self.sock, self.host)
        self.timeout = self._answer_s

    def remember(self) -> None:
        """An answer begins, and what makes the next handshake shorter came before it: keep that."""
        if self._tls is not None and self._secured is not None:
            self._tls.remember(self._secured)

    def end(self) -> None:
        """Over. Not `close`, which the library calls when the head of an answer says that it is the last."""
        if self._timer is not None:
            self._timer.cancel()
        if self._whole is not None:
            self._whole.close()
        self.close()


def _cut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        sock.shutdown(socket.SHUT_RDWR)
