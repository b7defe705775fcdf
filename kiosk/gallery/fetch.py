"""Files of the acquirer's repository over HTTP: each within its length, a deadline and a least rate, or not.

`Fetcher` is how python-tuf gets its bytes here; what comes is hostile until python-tuf has verified it.
A download that broke off goes on where it stopped (Range). The line itself is a `Transport`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Final, Protocol
from urllib.parse import urlsplit

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    SlowRetrievalError,
)
from tuf.ngclient.fetcher import FetcherInterface
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError

from kiosk.domain.errors import OperatorError
from kiosk.domain.ports import Clock

__all__ = ["Answer", "Fetcher", "HttpTransport", "Paused", "Transport"]

CONNECT_S: Final = 5.0
SILENCE_S: Final = 10.0
"""Longest wait for the next bytes of an answer that has begun."""
GRACE_S: Final = 20.0
"""What a file may take whatever its length; the head of its answer has to be there by then."""
LEAST_BYTES_S: Final = 8 * 1024
"""Slowest rate that is put up with beyond that: a shop's worst mobile line is several times faster."""
CHUNK: Final = 64 * 1024
RESUMED: Final = ".seg"
"""What a broken download is kept of: segments are large, and sealed. Nothing else is left on the disk."""


class Paused(DownloadError):  # noqa: N818 - nothing is wrong
    """There was no time left for this file now; what came of it is kept."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose head has come: status, headers (names in lower case), and the body as it arrives."""

    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes]


class Transport(Protocol):
    """The line to the repository; one thread uses it."""

    def get(self, url: str, headers: Mapping[str, str], head_s: float) -> AbstractContextManager[Answer]:
        """GET `url`: no redirect is followed, nothing is decoded, the head is there within `head_s`.

        Raises, also while `pieces` is read:
            OSError, urllib3.exceptions.HTTPError, http.client.HTTPException: what the line came to.
        """
        ...

    def close(self) -> None:
        """Hang up; the next `get` calls again."""
        ...


class Fetcher(FetcherInterface):
    """`tuf.ngclient`'s way to the network. `folder` (there already) keeps what came of a broken segment.

    Raises, as python-tuf asks for it: DownloadLengthMismatchError (more bytes than were announced),
    SlowRetrievalError, DownloadHTTPError, `Paused`, and DownloadError for a line that failed.
    """

    def __init__(self, transport: Transport, clock: Clock, folder: Path) -> None:
        self._transport, self._clock, self._folder = transport, clock, folder
        self.until_ms: int | None = None
        """When downloads stop with `Paused`, on the clock's `monotonic_ms`; None: whenever they are done."""
        self.received = 0
        """Bytes of bodies that have come in all."""

    def hang_up(self) -> None:
        """Nothing more is asked for a while."""
        self._transport.close()

    def _fetch(self, url: str) -> Iterator[bytes]:
        with self._answer(url, 0) as (_, pieces):
            yield from pieces

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        """See python-tuf. What was kept of `url` is gone once it is whole, be it right or wrong."""
        broken = self._folder / f"{hashlib.sha256(url.encode()).hexdigest()}.part"
        held = bytearray(_kept(broken, max_length) if url.endswith(RESUMED) else b"")
        try:
            if not held or len(held) < max_length:
                self._receive(url, held, max_length)
        except (DownloadLengthMismatchError, DownloadHTTPError):
            broken.unlink(missing_ok=True)
            raise
        except DownloadError:
            if held and url.endswith(RESUMED):
                broken.write_bytes(held)
            raise
        broken.unlink(missing_ok=True)
        yield io.BytesIO(held)

    def _receive(self, url: str, held: bytearray, max_length: int) -> None:
        """Add to `held` what it lacks of `url`."""
        with self._answer(url, len(held)) as (begins_at, pieces):
            del held[begins_at:]
            for piece in pieces:
                held += piece
                if len(held) > max_length:
                    raise DownloadLengthMismatchError(f"{url}: more than {max_length} bytes")
                if self.until_ms is not None and self._clock.monotonic_ms() >= self.until_ms:
                    raise Paused(f"{url}: {len(held)} bytes so far")

    @contextmanager
    def _answer(self, url: str, offset: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Where in the file the answer begins (`offset`, or 0), and its pieces, none of them too slow."""
        started, before = self._clock.monotonic_ms(), self.received
        headers = {"Range": f"bytes={offset}-"} if offset else {}

        def in_time(pieces: Iterator[bytes]) -> Iterator[bytes]:
            for piece in pieces:
                self.received += len(piece)
                yield piece
                self._check_pace(url, started, self.received - before)

        try:
            with self._transport.get(url, headers, GRACE_S) as answer:
                yield _begins_at(url, answer, offset), in_time(answer.pieces)
        except NewConnectionError as error:  # for urllib3 a kind of time-out, for us nobody there
            raise DownloadError(_why(error)) from error
        except (TimeoutError, HTTPTimeoutError) as error:
            raise SlowRetrievalError(f"{url}: {error or 'nothing came for a while'}") from error
        except (OSError, HTTPError, HTTPException) as error:
            if self._clock.monotonic_ms() - started >= 1000 * GRACE_S and self.received == before:
                raise SlowRetrievalError(f"{url}: no answer within {GRACE_S:.0f} s") from error
            raise DownloadError(_why(error)) from error

    def _check_pace(self, url: str, started: int, got: int) -> None:
        took_s = (self._clock.monotonic_ms() - started) / 1000
        if took_s > GRACE_S + got / LEAST_BYTES_S:
            raise SlowRetrievalError(f"{url}: {got} bytes in {took_s:.0f} s")


def _kept(path: Path, max_length: int) -> bytes:
    """What is there of a broken download; empty when it can't be the beginning of such a file."""
    try:
        return path.read_bytes() if path.stat().st_size <= max_length else b""
    except FileNotFoundError:
        return b""


def _begins_at(url: str, answer: Answer, offset: int) -> int:
    """Where the body begins in the file: at `offset`, or at 0 from a server that knows no ranges.

    A body in chunks is refused: a file has a length, and the length of a chunk can be sent for hours.
    """
    if "chunked" in answer.headers.get("transfer-encoding", "").lower():
        raise DownloadHTTPError(f"{url}: sent in chunks, without its length", 502)
    if answer.status == 200:
        return 0
    found = re.match(r"bytes (\d{1,15})-", answer.headers.get("content-range", ""), re.ASCII)
    if offset and answer.status == 206 and found and int(found[1]) == offset:
        return offset
    raise DownloadHTTPError(f"{url}: HTTP {answer.status}", answer.status)


def _why(error: BaseException) -> str:
    """The innermost reason, one line."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return (str(error) or type(error).__name__).splitlines()[0][:200]


Secure = Callable[[socket.socket, str], ssl.SSLSocket]
"""The TLS handshake on a connected socket with that host, or OSError."""


class HttpTransport:
    """Plain HTTP/1.1 over one connection that is kept; `secure` makes it https. No proxies, no cookies.

    OperatorError: an address that is not http(s)://host[:port][/path].
    """

    def __init__(self, base_url: str, secure: Secure | None = None) -> None:
        wrong = OperatorError(
            f"the repository's address is {base_url!r}", do="Write it as https://host/path/."
        )
        try:
            parts = urlsplit(base_url)
            port = parts.port
        except ValueError:
            raise wrong from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise wrong
        if parts.scheme == "https" and secure is None:
            raise ValueError("https needs to be told how it is secured")
        port = port or (443 if parts.scheme == "https" else 80)
        self._line = _Line(parts.hostname, port, secure if parts.scheme == "https" else None)

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str], head_s: float) -> Iterator[Answer]:
        parts, line = urlsplit(url), self._line
        sent = {"Accept-Encoding": "identity", "User-Agent": "facepay-kiosk", **headers}
        reused = line.sock is not None
        # A socket's time-out starts anew with every byte; this does not, so that no head is sent for hours.
        line.was_cut = False
        watch = threading.Timer(head_s, line.cut)
        watch.daemon = True
        watch.start()
        try:
            try:
                line.request("GET", parts.path, headers=sent, preload_content=False)
                response = line.getresponse()
            except (ConnectionError, HTTPException):
                line.close()
                if not reused or line.was_cut:  # a kept one that was closed meanwhile says nothing
                    raise
                line.request("GET", parts.path, headers=sent, preload_content=False)
                response = line.getresponse()
            if line.was_cut:  # a head that was cut reads like a short one
                raise TimeoutError(f"no answer within {head_s:.0f} s")
        except BaseException:
            line.close()
            raise
        finally:
            watch.cancel()
        whole = False
        try:
            pieces = iter(lambda: response.read1(CHUNK, decode_content=False), b"")
            names = {name.lower(): value for name, value in response.headers.items()}
            yield Answer(response.status, names, pieces)
            whole = response.length_remaining == 0
        finally:
            if not whole:  # what is left of it would be taken for the next answer
                line.close()

    def close(self) -> None:
        """Hang up."""
        self._line.close()


class _Line(HTTPConnection):
    """A connection that another thread can cut, TLS included."""

    def __init__(self, host: str, port: int, secure: Secure | None) -> None:
        super().__init__(host, port, timeout=CONNECT_S)
        self._secure = secure
        self._whole: socket.socket | None = None
        self.was_cut = False

    def connect(self) -> None:
        self.timeout = CONNECT_S
        super().connect()
        self._whole = self.sock.dup()  # TLS takes over the first one; this one ends both
        if self._secure is not None:
            self.sock = self._secure(self.sock, self.host)
        self.timeout = SILENCE_S
        self.sock.settimeout(SILENCE_S)

    def cut(self) -> None:
        self.was_cut = True
        with contextlib.suppress(OSError):
            if self._whole is not None:
                self._whole.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._whole is not None:
            self._whole.close()
        super().close()
