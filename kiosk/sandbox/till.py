"""A shop's till, simulated: it speaks the same bytes as a real one, for integrators and for the tests.

`sell` is what a till has to do about one order: ask, wait, never take a lost connection for an answer, and
ask the same again after one.
"""

from __future__ import annotations

import math
import os
import secrets
import select
import socket
import termios
import time
import tty
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, Self

from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.domain.money import Money
from kiosk.domain.till import Abort, Answered, News, OpenPayment, Outcome, Rejected, Request, Said, Told
from kiosk.till.channel import NONCE_BYTES, Channel
from kiosk.till.ecr import Link, read_said, write_request
from kiosk.till.nexo import LoggedIn, TillSession

__all__ = ["Sale", "SerialLine", "TcpLine", "TillLine", "VanishedError", "sell"]

CONNECT_S: Final = 5.0
AGAIN_S: Final = 1.0
"""Between a lost connection and the next try."""
TURN_S: Final = 0.05
READ_BYTES: Final = 16 * 1024


class VanishedError(Exception):
    """The other end is gone; nothing is known by that."""


class TillLine(Protocol):
    """A till's end of a connection to a kiosk."""

    def send(self, request: Request) -> None:
        """VanishedError when the line is gone."""
        ...

    def hear(self, timeout_s: float) -> Said | None:
        """What the kiosk says next; None when it says nothing in that time. VanishedError as above."""
        ...

    def close(self) -> None: ...


class TcpLine:
    """Over TCP, logged in as `sale_id`.

    Raises:
        OperatorError: nobody listens there, or what listens does not have this key.
    """

    def __init__(self, host: str, port: int, key: bytes, sale_id: str = "TILL-1") -> None:
        where = f"{host} port {port}"
        self._channel = Channel(key, "till", os.urandom(NONCE_BYTES))
        self._session, self._heard = TillSession(sale_id), deque[Said]()
        try:
            self._socket = socket.create_connection((host, port), CONNECT_S)
        except OSError as error:
            raise OperatorError(
                f"no kiosk answers ({error.strerror or error})",
                where=where,
                do='Start `kiosk run` with till.link = "tcp".',
            ) from None
        try:
            self._login()
        except (VanishedError, ProtocolError):
            self.close()
            raise OperatorError(
                "what listens there does not have this key", where=where, do="Give the kiosk's own key file."
            ) from None

    def send(self, request: Request) -> None:
        self._write(self._channel.seal(self._session.write(request)))

    def hear(self, timeout_s: float) -> Said | None:
        until = time.monotonic() + timeout_s
        while not self._heard and (left_s := until - time.monotonic()) > 0:
            for body in self._read(left_s):
                said = self._session.read(body)
                if said is not None and not isinstance(said, LoggedIn):
                    self._heard.append(said)
        return self._heard.popleft() if self._heard else None

    def close(self) -> None:
        self._socket.close()

    def _login(self) -> None:
        self._write(self._channel.greeting)
        until, asked = time.monotonic() + CONNECT_S, False
        while (left_s := until - time.monotonic()) > 0:
            if self._channel.ready and not asked:
                asked = True
                self._write(self._channel.seal(self._session.login("login")))
            if any(isinstance(self._session.read(body), LoggedIn) for body in self._read(left_s)):
                return
        raise VanishedError

    def _write(self, data: bytes) -> None:
        try:
            self._socket.settimeout(CONNECT_S)
            self._socket.sendall(data)
        except OSError:
            raise VanishedError from None

    def _read(self, timeout_s: float) -> list[bytes]:
        try:
            self._socket.settimeout(timeout_s)
            data = self._socket.recv(READ_BYTES)
        except TimeoutError:
            return []
        except OSError:
            data = b""
        if not data:
            raise VanishedError
        return list(self._channel.feed(data))


class SerialLine:
    """Over a serial port: `port` is its file descriptor, raw, which belongs to this line from now on."""

    def __init__(self, port: int, baud: int = 9600) -> None:
        os.set_blocking(port, False)
        self._port, self._link = port, Link(baud)
        self._heard, self._out = deque[Said](), bytearray()
        self._link.enquire()

    @classmethod
    def open(cls, device: str, baud: int = 9600) -> Self:
        """On the serial port `device`: 8 data bits, no parity, 1 stop bit.

        Raises:
            OperatorError: there is no such port.
        """
        try:
            port = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError as error:
            raise OperatorError(f"the port can't be opened ({error.strerror})", where=device) from None
        try:
            tty.setraw(port)
            settings = termios.tcgetattr(port)
            settings[4] = settings[5] = getattr(termios, f"B{baud}")
            termios.tcsetattr(port, termios.TCSANOW, settings)
        except (termios.error, AttributeError):
            os.close(port)
            raise OperatorError(f"not a serial port that does {baud} bits a second", where=device) from None
        return cls(port, baud)

    def send(self, request: Request) -> None:
        self._link.send(write_request(request), _now_ms())
        self._turn(0)

    def hear(self, timeout_s: float) -> Said | None:
        until = time.monotonic() + timeout_s
        while not self._heard and (left_s := until - time.monotonic()) > 0:
            self._turn(min(left_s, TURN_S))
        return self._heard.popleft() if self._heard else None

    def close(self) -> None:
        """Once the kiosk's last frame is acknowledged, or is not going to be."""
        until = time.monotonic() + AGAIN_S
        try:
            while not self._link.idle and time.monotonic() < until:
                self._turn(TURN_S)
        except VanishedError:
            pass
        finally:
            os.close(self._port)

    def _turn(self, timeout_s: float) -> None:
        """Wait for bytes or time, and carry each on."""
        self._out += self._link.take()
        try:
            ready, _, _ = select.select([self._port], [self._port] if self._out else [], [], timeout_s)
            data = os.read(self._port, READ_BYTES) if ready else b""
            for body in self._link.feed(data, _now_ms()):
                self._heard.append(read_said(body))
            self._out += self._link.take()
            if self._out:
                del self._out[: os.write(self._port, self._out)]
        except BlockingIOError:
            return
        except OSError:
            raise VanishedError from None


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Sale:
    """One order as a till asks for it."""

    order_ref: str
    amount: Money
    abort_after_s: float | None = None
    wait_s: float = 180.0


def sell(
    connect: Callable[[], TillLine], sale: Sale, news: Callable[[str], None] = lambda line: None
) -> Told | None:
    """Ask the kiosk to take the order and wait for its end; None when none came within `wait_s`.

    A line that is lost is opened again, and the same request sent again: one order is one payment.
    `news` is told, in words, what happens meanwhile.

    Raises:
        OperatorError: no kiosk is there at the start, or it does not understand.
    """
    until = time.monotonic() + sale.wait_s
    request = OpenPayment(secrets.token_hex(4), sale.order_ref, sale.amount)
    line: TillLine | None = connect()
    while line is not None:
        try:
            return _ask(line, request, sale.abort_after_s, until, news)
        except VanishedError:
            news("the line is lost; asking again")
        finally:
            line.close()
        line = _connect_again(connect, until)
    return None


def _connect_again(connect: Callable[[], TillLine], until: float) -> TillLine | None:
    while time.monotonic() < until:
        try:
            return connect()
        except OperatorError:
            time.sleep(AGAIN_S)
    return None


def _ask(
    line: TillLine,
    request: OpenPayment,
    abort_after_s: float | None,
    until: float,
    news: Callable[[str], None],
) -> Told | None:
    """One request on one line, to its answer; None when it does not come in time."""
    line.send(request)
    abort_at = math.inf if abort_after_s is None else time.monotonic() + abort_after_s
    while (now := time.monotonic()) < until:
        if now >= abort_at:
            abort_at = math.inf
            line.send(Abort(secrets.token_hex(4), request.order_ref))
        match line.hear(TURN_S):
            case Answered(id, told) if id == request.id:
                return told
            case Answered(_, told):
                news(f"abort: {told.outcome}")
            case News(told):
                news(_words(told))
            case Rejected(why):
                raise OperatorError(f"the kiosk took that for no request: {why}")
    return None


def _words(told: Told) -> str:
    if told.outcome is Outcome.NOT_FINAL:
        return f"order {told.order_ref} is not final: do not pay again"
    return f"order {told.order_ref}: {told.outcome}"
