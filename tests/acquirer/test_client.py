"""The client against servers that are slow, rude, wrong or not there; the good one is in tests/sandbox."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from kiosk.acquirer.client import (
    AcquirerClient,
    Greeted,
    Lost,
    PolicyReceived,
    ReversalConfirmed,
    Told,
    Unsent,
    Verified,
)
from kiosk.acquirer.messages import MAX_BODY_BYTES, Exchange, policy_request, status_request
from kiosk.acquirer.operations import payer_request
from kiosk.acquirer.signing import HttpRequest, Signer, sign_answer
from kiosk.acquirer.tls import Tls
from kiosk.domain.errors import OperatorError
from kiosk.domain.payment import Result

from .parts import Now, a_key, a_payment, a_reversal, an_effect

KIOSK, ACQUIRER = a_key(), a_key()


@dataclass
class Server:
    address: str
    requests: list[bytes]


@contextmanager
def served(
    answer: Callable[[socket.socket, bytes], None],
    tls: ssl.SSLContext | None = None,
    *,
    host: str = "127.0.0.1",
    calls: int = 1,
) -> Iterator[Server]:
    """A TCP server for `calls` connections: reads a request, lets `answer` do its worst, and closes."""
    listening = socket.create_server((host, 0))
    scheme = "https" if tls else "http"
    server = Server(f"{scheme}://{host}:{listening.getsockname()[1]}", [])

    def work() -> None:
        for _ in range(calls):
            connection, _ = listening.accept()
            try:
                one(tls.wrap_socket(connection, server_side=True) if tls else connection)
            except OSError:
                connection.close()  # one side did not believe the other: some tests are about just that

    def one(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(5)
            received = b""
            while b"\r\n\r\n" not in received:
                chunk = connection.recv(65_536)
                if not chunk:
                    return
                received += chunk
            head, _, body = received.partition(b"\r\n\r\n")
            length = next(
                (
                    int(line[15:])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                ),
                0,
            )
            while len(body) < length:
                body += connection.recv(65_536)
            server.requests.append(head)
            try:
                answer(connection, head)
            except OSError:
                return  # the client hung up: some tests are about just that

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield server
    finally:
        thread.join(10)
        listening.close()
        assert not thread.is_alive()


def client(
    address: str, answer_timeout_s: float = 5, connect_timeout_s: float = 3, tls: Tls | None = None
) -> AcquirerClient:
    return AcquirerClient(
        address,
        KIOSK,
        {ACQUIRER.key_id: ACQUIRER.public_key_der()},
        Now(),
        tls=tls,
        answer_timeout_s=answer_timeout_s,
        connect_timeout_s=connect_timeout_s,
    )


def says(*parts: bytes) -> Callable[[socket.socket, bytes], None]:
    return lambda connection, _: [connection.sendall(part) for part in parts] and None


def signed(status: int, body: bytes, content_type: str = "application/json", scheme: str = "http"):
    """An answer that the acquirer's key signed, bound to what was asked."""

    def answer(connection: socket.socket, head: bytes) -> None:
        first, *lines = head.decode().split("\r\n")
        method, path, _ = first.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        request = HttpRequest(method, f"{scheme}://{headers['Host']}{path}", headers)
        made = sign_answer(Signer(ACQUIRER, Now()), request, status, body, content_type)
        fields = "".join(f"{name}: {value}\r\n" for name, value in made.headers.items())
        connection.sendall(
            f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{fields}".encode() + b"\r\n" + body
        )

    return answer


def word(effect, operation="payment", **fields):
    import msgspec

    return msgspec.json.encode(
        {"version": 1, "operation": operation, "ref": effect.ref, "result": "declined", "code": "no"} | fields
    )


# --- what counts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 400, 403])
def test_a_signed_word_about_the_attempt_counts_whatever_the_status(status):
    effect = an_effect()
    with served(signed(status, word(effect, action="refresh_policy"))) as server:
        reply = client(server.address).send(a_payment(effect))
    assert isinstance(reply, Verified)
    assert (reply.answer.result, reply.answer.code, reply.refresh_policy) == (Result.DECLINED, "no", True)


def test_a_reversal_is_confirmed_by_reversed_only():
    effect = an_effect()
    with served(signed(200, word(effect, "reversal", result="reversed"))) as server:
        assert client(server.address).send(a_reversal(effect)) == ReversalConfirmed()
    for result in ("declined", "pending"):
        with served(signed(200, word(effect, "reversal", result=result))) as server:
            assert isinstance(client(server.address).send(a_reversal(effect)), Lost)


def test_a_policy_is_handed_on_as_it_came():
    with served(signed(200, b"a.b.c", "application/jose")) as server:
        assert client(server.address).send(policy_request()) == PolicyReceived(b"a.b.c")


DISPUTE = Exchange(an_effect().ref, "dispute", "POST", "/v1/payments/x/disputes", b"{}", "x:dispute:1")


def dispute(**fields):
    import msgspec

    said = {"version": 1, "operation": "dispute", "ref": DISPUTE.ref, "dispute_id": "d-1", "state": "open"}
    return msgspec.json.encode(said | fields)


def test_a_word_in_another_matter_is_told_when_it_is_about_what_was_asked():
    with served(signed(200, dispute())) as server:
        reply = client(server.address).send(DISPUTE)
    assert isinstance(reply, Told)
    assert reply.message.dispute_id == "d-1"
    other = an_effect().ref
    with served(signed(200, dispute(ref=other))) as server:
        assert other in client(server.address).send(DISPUTE).why


def test_what_is_held_of_a_person_is_told_by_their_token():
    body = b'{"version":1,"operation":"payer","token":"pyr-1","state":"active"}'
    with served(signed(200, body)) as server:
        reply = client(server.address).send(payer_request("pyr-1"))
    assert isinstance(reply, Told)
    assert reply.message.state == "active"
    with served(signed(200, body)) as server:
        assert isinstance(client(server.address).send(payer_request("pyr-2")), Lost)


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 503])
def test_a_signed_refusal_to_treat_the_call_says_nothing_about_the_attempt(status):
    with served(signed(status, b'{"error":"in_flight","detail":"wait"}')) as server:
        reply = client(server.address).send(a_payment(an_effect()))
    assert reply == Lost("refused: in_flight wait", "in_flight")


# --- what does not --------------------------------------------------------------------------------------


def lost(answer, exchange=None, **options):
    with served(answer) as server:
        reply = client(server.address, **options).send(exchange or a_payment(an_effect()))
    assert isinstance(reply, Lost), reply
    assert reply.code == ""
    assert "\n" not in reply.why
    return reply.why


def test_a_word_about_another_attempt_or_operation_does_not_count():
    effect = an_effect()
    lost(signed(200, word(an_effect())), a_payment(effect))
    lost(signed(200, word(effect, "status")), a_payment(effect))
    lost(signed(200, word(effect)), status_request(effect.ref))


@pytest.mark.parametrize("content_type", ["text/html", "application/json; charset=utf-8", "application/jose"])
def test_a_signed_answer_of_another_type_does_not_count(content_type):
    effect = an_effect()
    assert "content type" in lost(signed(200, word(effect), content_type), a_payment(effect))


def test_a_signed_answer_that_cannot_be_read_does_not_count():
    lost(signed(200, b"{}"))
    lost(signed(500, b"{}"))
    lost(signed(200, b"{}"), policy_request())


def test_an_approval_without_a_signature_does_not_count():
    effect = an_effect()
    body = word(effect, result="approved", approval="A", rrn="1")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert "unsigned" in lost(says(head, body), a_payment(effect))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSignature: \xff\r\nSignature-Input: \xfe\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["nothing", "no HTTP", "cut short", "bad chunk", "500", "long header", "odd header"],
)
def test_an_answer_that_is_broken_leaves_the_outcome_open(answer):
    lost(says(answer))


def test_a_redirect_is_not_followed():
    with served(
        says(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    ) as server:
        reply = client(server.address).send(a_payment(an_effect()))
    assert isinstance(reply, Lost)
    assert "302" in reply.why


def test_an_answer_without_an_end_is_read_so_far_and_no_further():
    flood = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (4 * MAX_BODY_BYTES)
    assert "more than" in lost(says(flood))


def test_a_connection_that_is_reset_after_it_was_made_leaves_the_outcome_open():
    def reset(connection, _):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    lost(reset)


def dripping(start: bytes):
    def answer(connection, _):
        connection.sendall(start)
        while True:  # ends when the client hangs up
            connection.sendall(b"a")
            connection.settimeout(0.02)
            try:
                if not connection.recv(1):
                    return
            except TimeoutError:
                continue

    return answer


@pytest.mark.parametrize(
    "start", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"]
)
def test_a_server_that_sends_a_byte_now_and_then_is_not_waited_for(start):
    started = time.monotonic()
    lost(dripping(start), answer_timeout_s=0.3)
    assert time.monotonic() - started < 2


def test_a_server_that_never_answers_is_not_waited_for():
    def silent(connection, _):
        connection.recv(1)

    lost(silent, answer_timeout_s=0.2)


# --- not sent -------------------------------------------------------------------------------------------


def test_a_refused_connection_is_not_sent():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    reply = client(f"http://127.0.0.1:{port}").send(a_payment(an_effect()))
    assert isinstance(reply, Unsent)
    assert "refused" in reply.why.lower()


def test_a_connection_that_is_not_made_in_time_is_not_sent():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for knocking in waiting:  # fill the queue of connections that nobody accepts
            knocking.setblocking(False)
            knocking.connect_ex(address)
        reply = client(f"http://127.0.0.1:{address[1]}", connect_timeout_s=0.2).send(a_payment(an_effect()))
        for knocking in waiting:
            knocking.close()
    assert isinstance(reply, Unsent)


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    effect = an_effect()
    with served(signed(200, word(effect))) as server:
        assert isinstance(client(server.address).send(a_payment(effect)), Verified)


def test_what_cannot_be_signed_is_not_sent():
    class Away:
        key_id = KIOSK.key_id

        def sign(self, message):
            raise OperatorError("the token is away")

    with served(says()) as server:
        kiosk = AcquirerClient(server.address, Away(), {ACQUIRER.key_id: ACQUIRER.public_key_der()}, Now())
        assert kiosk.send(a_payment(an_effect())) == Unsent("the token is away")
        kiosk.greet()


def test_nothing_but_what_is_needed_is_told_to_the_acquirer():
    effect = an_effect()
    with served(signed(200, word(effect))) as server:
        client(server.address).send(a_payment(effect))
    names = {line.split(b":")[0].lower() for line in server.requests[0].split(b"\r\n")[1:]}
    assert not names & {b"cookie", b"authorization", b"referer"}
    assert b"Connection: close" in server.requests[0]


@pytest.mark.parametrize(
    "address",
    ["", "ftp://x", "http://", "127.0.0.1:80", "http://x?y", "https://x#y", "http://x:y", "http://[x"],
)
def test_an_address_that_is_none_is_refused_at_once(address):
    with pytest.raises(OperatorError, match="address"):
        client(address)


def test_a_greeting_makes_a_connection_and_asks_nothing():
    with served(says()) as server:
        greeted = client(server.address).greet()
    assert isinstance(greeted, Greeted)
    assert (greeted.until, greeted.resumed, server.requests) == (None, False, [])
    assert isinstance(client(server.address).greet(), Unsent)


def test_a_path_of_the_acquirer_is_kept_before_that_of_the_call():
    effect = an_effect()
    with served(signed(200, word(effect))) as server:
        assert isinstance(client(server.address + "/kiosks/").send(a_payment(effect)), Verified)
    assert server.requests[0].startswith(b"POST /kiosks/v1/payments HTTP/1.1")


def test_a_name_that_nobody_knows_is_not_sent():
    reply = client("http://no-such-host.invalid").send(a_payment(an_effect()))
    assert isinstance(reply, Unsent)
