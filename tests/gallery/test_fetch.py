"""The line itself, against a server on this machine: kept connections, ranges, and heads that never end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError

from kiosk.domain.errors import OperatorError
from kiosk.gallery import fetch
from kiosk.gallery.fetch import Fetcher, HttpTransport

Serve = Callable[[socket.socket, bytes], None]


class Server:
    """Answers each request with what `serve` writes; counts connections and keeps what was asked."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.serve: Serve = lambda sock, asked: sock.sendall(whole(b"hello"))
        self.asked: list[bytes] = []
        self.connections = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listening.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._talk, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _talk(self, sock: socket.socket) -> None:
        with sock:
            try:
                while asked := self._head(sock):
                    self.asked.append(asked)
                    self.serve(sock, asked)
            except OSError:
                return

    @staticmethod
    def _head(sock: socket.socket) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = sock.recv(1)
            if not piece:
                return b""
            head += piece
        return head

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        for thread in self._threads:
            thread.join(5)


def whole(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class RealClock:
    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def utc_s(self) -> float:
        return time.time()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def transport(server: Server) -> Iterator[HttpTransport]:
    transport = HttpTransport(server.url)
    yield transport
    transport.close()


@pytest.fixture
def fetcher(transport: HttpTransport, tmp_path: Path) -> Fetcher:
    return Fetcher(transport, RealClock(), tmp_path)


def test_a_file_comes_whole_and_the_connection_is_kept(server: Server, fetcher: Fetcher) -> None:
    for _ in range(3):
        assert fetcher.download_bytes(f"{server.url}/a.json", 100) == b"hello"

    assert server.connections == 1
    assert server.asked[0].startswith(b"GET /a.json HTTP/1.1\r\n")
    assert b"Accept-Encoding: identity" in server.asked[0]
    assert b"".join(fetcher.fetch(f"{server.url}/a.json")) == b"hello"


def test_a_connection_that_was_closed_meanwhile_is_made_anew(server: Server, fetcher: Fetcher) -> None:
    def and_hang_up(sock: socket.socket, asked: bytes) -> None:
        sock.sendall(whole(b"hello"))
        sock.shutdown(socket.SHUT_RDWR)

    server.serve = and_hang_up
    for _ in range(3):
        assert fetcher.download_bytes(f"{server.url}/a.json", 100) == b"hello"
    assert server.connections == 3


def test_no_redirect_is_followed(server: Server, fetcher: Fetcher) -> None:
    server.serve = lambda sock, asked: sock.sendall(whole(b"", "302 Found", f"Location: {server.url}/other"))

    with pytest.raises(DownloadHTTPError) as refused:
        fetcher.download_bytes(f"{server.url}/a.json", 100)
    assert refused.value.status_code == 302
    assert len(server.asked) == 1


def test_nothing_is_unpacked(server: Server, fetcher: Fetcher) -> None:
    """A bomb of a few bytes would be gigabytes: files come as they are."""
    server.serve = lambda sock, asked: sock.sendall(
        whole(b"\x1f\x8bnot unpacked", "200 OK", "Content-Encoding: gzip")
    )

    assert fetcher.download_bytes(f"{server.url}/a.json", 100) == b"\x1f\x8bnot unpacked"


def test_a_file_that_breaks_off_goes_on_by_a_range(server: Server, fetcher: Fetcher, tmp_path: Path) -> None:
    content = bytes(range(256)) * 1024

    def half(sock: socket.socket, asked: bytes) -> None:
        sock.sendall(whole(content)[: len(content) // 2])
        sock.shutdown(socket.SHUT_RDWR)

    server.serve = half
    with pytest.raises(DownloadError):
        fetcher.download_bytes(f"{server.url}/0.seg", len(content))
    (kept,) = tmp_path.glob("*.part")
    first = kept.stat().st_size

    def rest(sock: socket.socket, asked: bytes) -> None:
        assert f"Range: bytes={first}-".encode() in asked
        said = f"Content-Range: bytes {first}-{len(content) - 1}/{len(content)}"
        sock.sendall(whole(content[first:], "206 Partial Content", said))

    server.serve = rest
    assert 0 < first < len(content)
    assert fetcher.download_bytes(f"{server.url}/0.seg", len(content)) == content
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "answer",
    [
        whole(b"x", "206 Partial Content", "Content-Range: bytes 0-0/3"),
        whole(b"x", "206 Partial Content"),
        whole(b"", "416 Range Not Satisfiable"),
    ],
)
def test_another_range_than_was_asked_for_is_refused(
    server: Server, fetcher: Fetcher, tmp_path: Path, answer: bytes
) -> None:
    server.serve = lambda sock, asked: (sock.sendall(whole(b"xyz")[:-1]), sock.shutdown(socket.SHUT_RDWR))[0]  # type: ignore[func-returns-value]
    with pytest.raises(DownloadError):
        fetcher.download_bytes(f"{server.url}/0.seg", 3)
    server.serve = lambda sock, asked: sock.sendall(answer)

    with pytest.raises(DownloadHTTPError):
        fetcher.download_bytes(f"{server.url}/0.seg", 3)
    assert not list(tmp_path.iterdir()), "and it begins anew the next time"


def test_metadata_that_breaks_off_leaves_nothing_on_the_disk(
    server: Server, fetcher: Fetcher, tmp_path: Path
) -> None:
    server.serve = lambda sock, asked: (sock.sendall(whole(b"xyz")[:-1]), sock.shutdown(socket.SHUT_RDWR))[0]  # type: ignore[func-returns-value]

    with pytest.raises(DownloadError):
        fetcher.download_bytes(f"{server.url}/timestamp.json", 3)
    assert not list(tmp_path.iterdir())


def test_a_head_that_trickles_is_cut(
    server: Server, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then resets every time-out of a socket; the watch does not wait for it."""
    monkeypatch.setattr(fetch, "GRACE_S", 0.3)
    cut = threading.Event()

    def trickle(sock: socket.socket, asked: bytes) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        try:
            while not cut.wait(0.02):
                sock.sendall(b"x")
        except OSError:
            return

    server.serve = trickle
    started = time.monotonic()
    with pytest.raises(SlowRetrievalError, match="no answer within"):
        fetcher.download_bytes(f"{server.url}/a.json", 100)
    assert time.monotonic() - started < 5
    cut.set()


def test_a_body_that_trickles_is_cut(
    server: Server, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "GRACE_S", 0.3)
    cut = threading.Event()

    def trickle(sock: socket.socket, asked: bytes) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        try:
            while not cut.wait(0.02):
                sock.sendall(b"x")
        except OSError:
            return

    server.serve = trickle
    with pytest.raises(SlowRetrievalError, match="bytes in"):
        fetcher.download_bytes(f"{server.url}/a.json", 100_000)
    cut.set()


def test_silence_is_cut(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "SILENCE_S", 0.2)
    server.serve = lambda sock, asked: sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    transport = HttpTransport(server.url)

    with pytest.raises(SlowRetrievalError):
        Fetcher(transport, RealClock(), tmp_path).download_bytes(f"{server.url}/a.json", 10)
    transport.close()


def test_nobody_there_is_no_slow_retrieval(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    transport = HttpTransport(url)

    with pytest.raises(DownloadError, match="refused") as refused:
        Fetcher(transport, RealClock(), tmp_path).download_bytes(f"{url}/a.json", 10)
    assert not isinstance(refused.value, SlowRetrievalError)
    transport.close()


def test_https_is_secured_by_who_was_handed_in(server: Server, tmp_path: Path) -> None:
    hosts: list[str] = []

    def refuse(sock: socket.socket, host: str) -> Any:
        hosts.append(host)
        sock.close()
        raise OSError("its key is not pinned")

    url = server.url.replace("http:", "https:")
    transport = HttpTransport(url, refuse)
    with pytest.raises(DownloadError, match="not pinned"):
        Fetcher(transport, RealClock(), tmp_path).download_bytes(f"{url}/a.json", 10)
    assert hosts == ["127.0.0.1"]
    assert server.asked == []
    transport.close()


@pytest.mark.parametrize("url", ["ftp://a/", "http://", "http://a:99999/", "http://a/?q", "a"])
def test_an_address_that_is_none_is_the_operators_to_mend(url: str) -> None:
    with pytest.raises(OperatorError, match="repository's address"):
        HttpTransport(url)
    with pytest.raises(ValueError, match="secured"):
        HttpTransport("https://a/")
