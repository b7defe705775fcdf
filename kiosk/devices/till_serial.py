"""A till on a serial line, in the classic ECR framing (`kiosk.till.ecr`).

One thread owns the port. A line that breaks (an adapter is pulled, a pseudo-terminal closes) is opened again
every two seconds; what was under way on the old one is dropped, and the till asks for the status. The cable
is the trust: there is no key here.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import serial

from kiosk.domain.errors import ProtocolError
from kiosk.domain.ports import Clock
from kiosk.domain.till import Answered, News, Rejected, Request, Said, Till, Told
from kiosk.till.ecr import Link, read_request, write_said

__all__ = ["REOPEN_MS", "SerialTill"]

REOPEN_MS: Final = 2_000
BUSY_POLL_S: Final = 0.05
"""How often time-outs are looked at while something is under way on the line."""
IDLE_POLL_S: Final = 0.5
READ_BYTES: Final = 4096
MAX_UNWRITTEN_BYTES: Final = 64 * 1024
"""What may wait for a line that takes nothing; then it is broken."""


class _Line:
    """The till at the other end (`kiosk.domain.till.Till`) for as long as the port stays open."""

    def __init__(self, wire: SerialTill) -> None:
        self.gone = False
        self._wire = wire

    def answer(self, request: Request, told: Told) -> None:
        self._wire.post(self, Answered(request.id, told))

    def notify(self, told: Told) -> None:
        self._wire.post(self, News(told))


class SerialTill:
    """`kiosk.domain.till.TillWire` on the serial port `device`: 8 data bits, no parity, 1 stop bit."""

    def __init__(
        self,
        device: str,
        baud: int,
        *,
        clock: Clock,
        warn: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._device, self._baud, self._clock, self._warn = device, baud, clock, warn
        self._heard: Callable[[Request, Till], None] = lambda request, till: None
        self._link = Link(baud)
        self._port: Any = None
        self._line = _Line(self)
        self._out = bytearray()
        self._said: deque[tuple[_Line, Said]] = deque()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._closing, self._reopen_at, self._warned = False, 0, False
        self._thread = threading.Thread(target=self._run, name="till-serial", daemon=True)

    def open(self, heard: Callable[[Request, Till], None]) -> None:
        self._heard = heard
        self._thread.start()

    def close(self) -> None:
        self._closing = True
        self._wake()
        if self._thread.is_alive():
            self._thread.join()
        self._lose()
        self._woken.close()
        self._waker.close()

    def post(self, line: _Line, said: Said) -> None:
        """From any thread: say it on the wire's own."""
        self._said.append((line, said))
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake; closed: nobody is there
            self._waker.send(b"\0")

    # --- the wire's thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            now = self._clock.monotonic_ms()
            if self._port is None and now >= self._reopen_at:
                self._connect(now)
            try:
                self._turn()
            except (OSError, serial.SerialException, TypeError) as error:
                # pyserial says TypeError of a port that is closed under its feet.
                self._lose()
                self._complain(str(error))

    def _turn(self) -> None:
        """Wait for bytes, words or time, and carry each on."""
        readers: list[Any] = [self._woken] if self._port is None else [self._woken, self._port]
        writers = [self._port] if self._port is not None and self._out else []
        idle = self._link.idle and not self._out
        ready, _, _ = select.select(readers, writers, [], IDLE_POLL_S if idle else BUSY_POLL_S)
        if self._woken in ready:
            self._woken.recv(READ_BYTES)
        now = self._clock.monotonic_ms()
        if self._port is not None and self._port in ready:
            data = self._port.read(READ_BYTES)
            if not data:
                raise serial.SerialException("the line hung up")
            for body in self._link.feed(data, now):
                self._hear(body, now)
        while self._said:
            line, said = self._said.popleft()
            if not line.gone:
                self._link.send(write_said(said), now)
        self._link.tick(now)
        self._out += self._link.take()
        if self._port is not None and self._out:
            if len(self._out) > MAX_UNWRITTEN_BYTES:
                raise serial.SerialException("the line takes nothing")
            if select.select([], [self._port], [], 0)[1]:  # pyserial spins on a line that takes nothing
                del self._out[: self._port.write(self._out) or 0]

    def _hear(self, body: str, now: int) -> None:
        try:
            request = read_request(body)
        except ProtocolError as error:
            self._link.send(write_said(Rejected(str(error))), now)
            return
        self._heard(request, self._line)

    def _connect(self, now: int) -> None:
        self._reopen_at = now + REOPEN_MS
        try:
            self._port = serial.Serial(self._device, self._baud, timeout=0, write_timeout=0, exclusive=True)
        except (OSError, serial.SerialException, ValueError) as error:
            self._complain(str(error))
            return
        self._line, self._warned = _Line(self), False
        self._link.reset()

    def _lose(self) -> None:
        self._line.gone = True
        self._out.clear()
        if self._port is not None:
            with contextlib.suppress(OSError, serial.SerialException):
                self._port.close()
            self._port = None

    def _complain(self, why: str) -> None:
        """Once until the line is back."""
        if not self._warned:
            self._warned = True
            self._warn(f"the till's line {self._device} is not there: {why}")
