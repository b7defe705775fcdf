"""Tills over TCP: a few connections, each with the shared key's tag on every frame, and nobody else.

One thread owns all sockets and never waits for one of them. A connection that does not log in, that begins a
frame and does not end it, that does not read, or whose frames do not verify is closed; strangers never keep a
till out: where there is no room, the oldest connection that has not logged in goes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from kiosk import __version__
from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.domain.ports import Clock
from kiosk.domain.till import Request, Till, Told
from kiosk.till.channel import NONCE_BYTES, Channel
from kiosk.till.nexo import KioskSession

__all__ = ["FRAME_MS", "LOGIN_MS", "MAX_CONNECTIONS", "TcpTill"]

MAX_CONNECTIONS: Final = 8
LOGIN_MS: Final = 5_000
"""From a connection (or a logout) to the login that makes a till of it."""
FRAME_MS: Final = 5_000
"""From the first byte of a frame to its last."""
MAX_UNREAD_BYTES: Final = 256 * 1024
"""What may wait for a till that does not read; then it is gone."""
WARN_MS: Final = 60_000
"""Between two lines about refused connections: strangers do not fill a log."""
POLL_S: Final = 0.2
READ_BYTES: Final = 16 * 1024
KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
"""A till whose cable was pulled is found to be gone within a minute."""


class _Connection:
    """One connection, and once it logged in a till (`kiosk.domain.till.Till`)."""

    def __init__(self, wire: TcpTill, sock: socket.socket, key: bytes, poi_id: str, now: int) -> None:
        self.socket, self.gone = sock, False
        self.channel = Channel(key, "kiosk", os.urandom(NONCE_BYTES))
        self.session = KioskSession(poi_id, __version__)
        self.out = bytearray(self.channel.greeting)
        self.deadline: int | None = now + LOGIN_MS
        self._wire = wire

    def answer(self, request: Request, told: Told) -> None:
        self._wire.post(self, request, told)

    def notify(self, told: Told) -> None:
        self._wire.post(self, None, told)

    def set_deadline(self, now: int) -> None:
        """After what was read: a till may be silent for hours, but not in the middle of a frame."""
        if not self.session.sale_id:
            self.deadline = self.deadline or now + LOGIN_MS
        elif not self.channel.unfinished:
            self.deadline = None
        else:
            self.deadline = self.deadline or now + FRAME_MS


class TcpTill:
    """`kiosk.domain.till.TillWire` on `address`:`port` (0: a free one). `key`: 32 bytes; `poi_id`: our name.

    `warn` is told, once a minute at most, of connections that were refused.
    """

    def __init__(
        self,
        address: str,
        port: int,
        *,
        key: bytes,
        poi_id: str,
        clock: Clock,
        warn: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._address, self._wanted_port, self._key, self._poi_id = address, port, key, poi_id
        self._clock, self._warn, self._warn_due = clock, warn, 0
        self._heard: Callable[[Request, Till], None] = lambda request, till: None
        self._selector = selectors.DefaultSelector()
        self._connections: list[_Connection] = []
        self._said: deque[tuple[_Connection, Request | None, Told]] = deque()
        self._woken, self._waker = socket.socketpair()
        self._listener: socket.socket | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="till-tcp", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._listener.getsockname()[1]) if self._listener else self._wanted_port

    def open(self, heard: Callable[[Request, Till], None]) -> None:
        self._heard = heard
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._address, self._wanted_port))
            listener.listen()
        except OSError as error:
            listener.close()
            taken = error.errno == errno.EADDRINUSE
            raise OperatorError(
                "another program listens there already, perhaps another kiosk"
                if taken
                else f"no till can be listened for ({error.strerror})",
                where=f"{self._address} port {self._wanted_port}",
                do="Stop it, or set till.port to a free port."
                if taken
                else "Set till.address to an address of this machine and till.port to a free port.",
            ) from None
        for sock in (listener, self._woken, self._waker):
            sock.setblocking(False)
        self._listener = listener
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread.start()

    def close(self) -> None:
        self._closing = True
        self._wake()
        if self._thread.is_alive():
            self._thread.join()
        for connection in tuple(self._connections):
            self._drop(connection)
        if self._listener is not None:
            self._listener.close()
        self._selector.close()
        self._woken.close()
        self._waker.close()

    def post(self, connection: _Connection, request: Request | None, told: Told) -> None:
        """From any thread: say it on the wire's own."""
        self._said.append((connection, request, told))
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake; closed: nobody is there
            self._waker.send(b"\0")

    # --- the wire's thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            for key, events in self._selector.select(POLL_S):
                if isinstance(key.data, _Connection):
                    if events & selectors.EVENT_READ:
                        self._read(key.data)
                    self._write(key.data)
                elif key.fileobj is self._listener:
                    self._accept()
                else:
                    self._woken.recv(READ_BYTES)
            self._say()
            now = self._clock.monotonic_ms()
            for connection in tuple(self._connections):
                if connection.deadline is not None and now >= connection.deadline:
                    self._refuse(connection, "it was too slow")

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return  # it went away before it was here
        if len(self._connections) >= MAX_CONNECTIONS:
            strangers = (one for one in self._connections if not one.session.sale_id)
            oldest = next(strangers, None)
            if oldest is None:
                sock.close()
                return
            self._refuse(oldest, "there is no room, and it had not logged in")
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        connection = _Connection(self, sock, self._key, self._poi_id, self._clock.monotonic_ms())
        self._connections.append(connection)
        self._selector.register(sock, selectors.EVENT_READ, connection)
        self._write(connection)

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return
        try:
            for body in connection.channel.feed(data):
                said = connection.session.read(body, self._clock.utc_s())
                if isinstance(said, bytes):
                    connection.out += connection.channel.seal(said)
                else:
                    self._heard(said, connection)
        except ProtocolError as error:
            self._refuse(connection, str(error))
            return
        connection.set_deadline(self._clock.monotonic_ms())

    def _say(self) -> None:
        now_s = self._clock.utc_s()
        while self._said:
            connection, request, told = self._said.popleft()
            if connection.gone:
                continue
            session = connection.session
            body = session.notify(told, now_s) if request is None else session.answer(request, told)
            connection.out += connection.channel.seal(body)
            self._write(connection)

    def _write(self, connection: _Connection) -> None:
        """Send what the till takes now; the rest when it takes more."""
        if connection.gone:
            return
        try:
            while connection.out:
                del connection.out[: connection.socket.send(connection.out)]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(connection)
            return
        if len(connection.out) > MAX_UNREAD_BYTES:
            self._refuse(connection, "it does not read")
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.out else 0)
        self._selector.modify(connection.socket, wanted, connection)

    def _refuse(self, connection: _Connection, why: str) -> None:
        now = self._clock.monotonic_ms()
        if now >= self._warn_due:
            self._warn_due = now + WARN_MS
            with contextlib.suppress(OSError):
                why = f"a till's connection from {connection.socket.getpeername()[0]} was closed: {why}"
            self._warn(why)
        self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        if not connection.gone:
            connection.gone = True
            self._connections.remove(connection)
            self._selector.unregister(connection.socket)
            connection.socket.close()
