"""Bytes changed on the way to a real sandbox, over real sockets: refused, and nothing of them in its books.

The same mutations as in tests/acquirer/test_tampering.py, a sample of them (all with PROTOCOL_TESTS=whole),
on the wire: request line, headers' names and values, content. Last the true message, which counts then.
"""

from __future__ import annotations

import random
import re
import socket
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiosk.acquirer.client import Lost, Verified
from kiosk.acquirer.messages import Exchange
from kiosk.domain.payment import Result

from ..acquirer.parts import a_payment, a_reversal, an_effect
from ..acquirer.test_tampering import WHOLE
from .conftest import Running

SAMPLE = 400
FRAMING = ("Host", "Content-Length", "Connection")


def wire(sandbox: Running, exchange: Exchange) -> tuple[bytes, bytes]:
    """What a kiosk sends: the part under its signature, and the headers that frame it."""
    request = sandbox.client().sign(exchange)
    path, body = urlsplit(request.url).path, exchange.body or b""
    signed = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    head = f"{request.method} {path} HTTP/1.1\r\n{signed}"
    framing = f"Host: here\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode("latin-1"), framing.encode() + body


def ask(sandbox: Running, data: bytes) -> bytes:
    """The status line that comes back, empty when the connection is closed without one."""
    parts = urlsplit(sandbox.address)
    with socket.create_connection((parts.hostname, parts.port), 5) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)  # whoever waits for more learns that there is none
            received = b""
            while chunk := sock.recv(65_536):
                received += chunk
        except ConnectionError:
            return b""
    return received.split(b"\r\n")[0]


def changed(data: bytes, place: int, bit: int | None) -> bytes:
    middle = b"" if bit is None else bytes([data[place] ^ 1 << bit])
    return data[:place] + middle + data[place + 1 :]


def means_the_same(head: bytes, other: bytes) -> bool:
    """Only names' case, spaces around values, the version's digits or the ends of lines differ."""

    def read(data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        first, *lines = data.replace(b"\r\n", b"\n").split(b"\n")
        pairs = [line.partition(b":") for line in lines]
        fields = [(name.lower(), value.strip(b" \t")) for name, _, value in pairs]
        return re.sub(rb"HTTP/\d\.\d$", b"", first), fields

    return read(head) == read(other)


@pytest.mark.parametrize("make", [a_payment, a_reversal], ids=["payment", "reversal"])
def test_changed_bytes_are_refused_and_the_true_ones_still_count(sandbox, make):
    effect = an_effect()
    exchange = make(effect)
    head, rest = wire(sandbox, exchange)
    start = rest.index(b"\r\n\r\n") + 4
    places = [(0, place) for place in range(len(head))] + [(1, place) for place in range(start, len(rest))]
    every = [(part, place, bit) for part, place in places for bit in (*range(8), None)]
    tried = every if WHOLE else random.Random(7).sample(every, SAMPLE)
    for part, place, bit in tried:
        if part == 0:
            other = changed(head, place, bit)
            if means_the_same(head, other):
                continue
            status = ask(sandbox, other + rest)
        else:
            status = ask(sandbox, head + changed(rest, place, bit))
        assert not status or status[9:10] == b"4", (part, place, bit, status)
    assert not [row for row in sandbox.rows(effect.order.order_ref) if row.attempt.ref == effect.ref]
    assert ask(sandbox, head + rest).startswith(b"HTTP/1.1 200")
    assert ask(sandbox, head + rest).startswith(b"HTTP/1.1 401")  # and once only
    (row,) = sandbox.rows(effect.order.order_ref)
    assert row.attempt.result is (Result.APPROVED if make is a_payment else Result.REVERSED)


NOISE = st.binary(max_size=300)
POST = st.just(b"POST /v1/payments HTTP/1.1\r\n")


@settings(max_examples=2000 if WHOLE else 100)
@given(data=st.one_of(NOISE, st.builds(bytes.__add__, POST, NOISE)))
def test_whatever_arrives_the_sandbox_goes_on(sandbox, data):
    status = ask(sandbox, data + b"\r\n\r\n")
    assert not status or status[9:10] == b"4"


def test_after_all_that_it_still_sells(sandbox):
    reply = sandbox.client().send(a_payment(an_effect()))
    assert isinstance(reply, Verified)
    assert not isinstance(reply, Lost)
