"""Every byte of a signed message: flipped, removed; the whole replayed, re-dated, bound to something else.

Nothing of it may be believed, by either side. One bit of each byte here; every bit of each with
`make protocol-test` (PROTOCOL_TESTS=whole).

What is not tried, because it leaves the meaning as it is, and HTTP says so:
- the case of a header's name (RFC 9110, 5.1);
- spaces and tabs around a header's value (RFC 9110, 5.5);
- the digits of the HTTP version: the same request of another client (RFC 9110, 2.5);
- a line that ends with LF alone (RFC 9112, 2.2);
- headers that no signature covers and nobody reads: Host, User-Agent, Accept-Encoding, Connection.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import msgspec
import pytest

from kiosk.acquirer.client import AcquirerClient, Lost, PolicyReceived, ReversalConfirmed, Told, Verified
from kiosk.acquirer.messages import Exchange, policy_request, status_request
from kiosk.acquirer.operations import payer_request, withdrawal_request
from kiosk.acquirer.policy import POLICY_TYP
from kiosk.acquirer.signing import (
    HttpAnswer,
    HttpRequest,
    NonceCache,
    SignatureError,
    Signer,
    TrustedKeys,
    sign_answer,
    sign_jws,
    sign_request,
    verify_answer,
    verify_jws,
    verify_request,
)
from kiosk.domain.errors import ProtocolError

from .parts import a_key, a_payment, a_reversal, an_effect

WHOLE = os.environ.get("PROTOCOL_TESTS") == "whole"
KIOSK, ACQUIRER = a_key(), a_key()
KIOSKS = TrustedKeys({KIOSK.key_id: KIOSK.public_key_der()})
ACQUIRERS = TrustedKeys({ACQUIRER.key_id: ACQUIRER.public_key_der()})
BASE = "https://acquirer.example:8443"
TRIED = {"mutations": 0}


@pytest.fixture(autouse=True, scope="module")
def _say_how_many() -> Iterator[None]:
    yield
    print(f"\n{TRIED['mutations']} mutations of signed messages, none believed")  # noqa: T201 - with -s


# --- mutations ------------------------------------------------------------------------------------------


def mutated(data: bytes) -> Iterator[bytes]:
    """`data` with one bit of a byte flipped, or a byte less, for every byte."""
    for place, byte in enumerate(data):
        for bit in range(8) if WHOLE else (place % 8,):
            yield data[:place] + bytes([byte ^ 1 << bit]) + data[place + 1 :]
        yield data[:place] + data[place + 1 :]


def mutated_text(text: str) -> Iterator[str]:
    return (changed.decode("latin-1") for changed in mutated(text.encode("latin-1")))


def same_field(one: str, other: str) -> bool:
    """The same to HTTP: spaces and tabs around a value are not a part of it."""
    return one.strip(" \t") == other.strip(" \t")


def mutated_headers(headers: dict[str, str]) -> Iterator[dict[str, str]]:
    for name, value in headers.items():
        for other in mutated_text(value):
            if not same_field(other, value):
                yield headers | {name: other}
        rest = {key: kept for key, kept in headers.items() if key != name}
        yield rest
        for other in mutated_text(name):
            if other.lower() != name.lower():
                yield {**rest, other: value}


def refused(call: Callable[[], object]) -> None:
    TRIED["mutations"] += 1
    with pytest.raises((SignatureError, ProtocolError)):
        call()


# --- requests -------------------------------------------------------------------------------------------

EFFECT = an_effect()
CALLS = {
    "payment": a_payment(EFFECT),
    "reversal": a_reversal(EFFECT),
    "status": status_request(EFFECT.ref),
    "policy": policy_request(),
    "payer": payer_request("pyr-1"),
    "withdrawal": withdrawal_request("pyr-1"),
}


def request_for(exchange: Exchange, clock) -> HttpRequest:
    return sign_request(
        Signer(KIOSK, clock),
        exchange.method,
        BASE + exchange.path,
        body=exchange.body,
        idempotency_key=exchange.idempotency_key,
    )


@pytest.mark.parametrize("call", CALLS)
def test_a_request_with_any_byte_changed_is_refused_by_the_acquirer(call, clock):
    exchange = CALLS[call]
    request, body = request_for(exchange, clock), exchange.body or b""

    def believe(request: HttpRequest, body: bytes) -> object:
        return verify_request(request, body, KIOSKS, clock, NonceCache(clock.utc_s()))

    believe(request, body)
    headers = dict(request.headers)
    for method in mutated_text(request.method):
        refused(lambda method=method: believe(HttpRequest(method, request.url, headers), body))
    for url in mutated_text(request.url):
        refused(lambda url=url: believe(HttpRequest(request.method, url, headers), body))
    for other in mutated_headers(headers):
        refused(lambda other=other: believe(HttpRequest(request.method, request.url, other), body))
    for other in mutated(body) if body else (b"x",):
        refused(lambda other=other: believe(HttpRequest(request.method, request.url, headers), other))
    refused(lambda: believe(HttpRequest(request.method, request.url, headers), body + b" "))


def test_a_signature_is_for_one_request_only(clock):
    """The signature of each call under each other one."""
    signed = {call: request_for(exchange, clock) for call, exchange in CALLS.items()}
    for call, exchange in CALLS.items():
        for other, request in signed.items():
            if other == call:
                continue
            taken = {name: request.headers[name] for name in ("Signature", "Signature-Input")}
            headers = dict(signed[call].headers) | taken
            mixed = HttpRequest(exchange.method, BASE + exchange.path, headers)
            nonces = NonceCache(clock.utc_s())
            refused(
                lambda mixed=mixed, body=exchange.body or b"", nonces=nonces: verify_request(
                    mixed, body, KIOSKS, clock, nonces
                )
            )


def test_the_parts_of_two_signatures_do_not_go_together(clock):
    """The same call signed twice: content, nonce and times of one under the signature of the other."""
    exchange = CALLS["payment"]
    first, second = request_for(exchange, clock), request_for(exchange, clock)
    for name in ("Signature", "Signature-Input"):
        mixed = replace(first, headers=dict(first.headers) | {name: second.headers[name]})
        nonces = NonceCache(clock.utc_s())
        refused(
            lambda mixed=mixed, nonces=nonces: verify_request(mixed, exchange.body, KIOSKS, clock, nonces)
        )


@pytest.mark.parametrize("call", CALLS)
def test_a_request_that_was_heard_is_not_heard_again_however_it_is_spelt(call, clock):
    exchange = CALLS[call]
    request, body, nonces = request_for(exchange, clock), exchange.body or b"", NonceCache(clock.utc_s())
    verify_request(request, body, KIOSKS, clock, nonces)
    for headers in (
        dict(request.headers),
        {name.upper(): value for name, value in request.headers.items()},
        {name: f"  {value}\t" for name, value in request.headers.items()},
    ):
        again = replace(request, headers=headers)
        refused(lambda again=again: verify_request(again, body, KIOSKS, clock, nonces))


@pytest.mark.parametrize("seconds", [-3600, -66, -6, 6, 66, 3600, 86_400])
def test_a_request_is_not_given_another_date(seconds, clock):
    """`created` and `expires` moved together or apart: the signature is over both."""
    exchange = CALLS["payment"]
    request = request_for(exchange, clock)
    created = int(clock.utc_s())
    for old, new in (
        (f"created={created}", f"created={created + seconds}"),
        (f"expires={created + 60}", f"expires={created + 60 + seconds}"),
    ):
        given = request.headers["Signature-Input"]
        assert old in given
        dated = replace(request, headers=dict(request.headers) | {"Signature-Input": given.replace(old, new)})
        nonces = NonceCache(clock.utc_s() - 1e6)
        refused(
            lambda dated=dated, nonces=nonces: verify_request(dated, exchange.body, KIOSKS, clock, nonces)
        )


# --- answers --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    exchange: Exchange
    status: int
    body: bytes
    content_type: str = "application/json"


def word(exchange: Exchange, **fields: object) -> bytes:
    return msgspec.json.encode({"version": 1, "operation": exchange.operation, "ref": exchange.ref} | fields)


APPROVED = {"result": "approved", "approval": "A1B2C3", "rrn": "000000000001"}
ANSWERS = {
    "approved": Said(CALLS["payment"], 200, word(CALLS["payment"], **APPROVED)),
    "declined": Said(CALLS["payment"], 403, word(CALLS["payment"], result="declined", code="no")),
    "reversed": Said(CALLS["reversal"], 200, word(CALLS["reversal"], result="reversed")),
    "status": Said(CALLS["status"], 200, word(CALLS["status"], **APPROVED)),
    "problem": Said(CALLS["status"], 404, b'{"error":"not_found"}'),
    "policy": Said(CALLS["policy"], 200, sign_jws(ACQUIRER, POLICY_TYP, b"{}"), "application/jose"),
    "payer": Said(CALLS["payer"], 200, b'{"version":1,"operation":"payer","token":"pyr-1","state":"active"}'),
}


def kiosk(clock) -> AcquirerClient:
    return AcquirerClient(BASE, KIOSK, {ACQUIRER.key_id: ACQUIRER.public_key_der()}, clock)


def answered(said: Said, clock) -> HttpAnswer:
    request = kiosk(clock).sign(said.exchange)
    return sign_answer(Signer(ACQUIRER, clock), request, said.status, said.body, said.content_type)


def unheard(client: AcquirerClient, said: Said, answer: HttpAnswer, body: bytes) -> None:
    """Neither the verifier nor the client makes anything of it: no word, and no reason either."""
    TRIED["mutations"] += 1
    reply = client.hear(said.exchange, answer, body)
    assert isinstance(reply, Lost), reply
    assert reply.code == ""


@pytest.mark.parametrize("which", ANSWERS)
def test_an_answer_with_any_byte_changed_is_not_heard_by_the_kiosk(which, clock):
    said, client = ANSWERS[which], kiosk(clock)
    answer = answered(said, clock)
    heard = client.hear(said.exchange, answer, said.body)
    assert isinstance(heard, Verified | ReversalConfirmed | PolicyReceived | Told) or heard.code
    headers = dict(answer.headers)
    for other in mutated_headers(headers):
        unheard(client, said, replace(answer, headers=other), said.body)
    for other in mutated(said.body):
        unheard(client, said, answer, other)
    unheard(client, said, answer, said.body + b" ")
    for status in {status ^ 1 << bit for status in (said.status,) for bit in range(9)}:
        unheard(client, said, replace(answer, status_code=status), said.body)


@pytest.mark.parametrize("which", ANSWERS)
def test_an_answer_is_bound_to_every_byte_of_the_signature_that_asked(which, clock):
    said = ANSWERS[which]
    answer = answered(said, clock)
    for name in ("Signature", "Idempotency-Key"):
        asked = answer.request.headers.get(name)
        if asked is None:
            continue
        for other in mutated_text(asked):
            request = replace(answer.request, headers=dict(answer.request.headers) | {name: other})
            if not same_field(other, asked):
                refused(
                    lambda request=request: verify_answer(
                        replace(answer, request=request), said.body, ACQUIRERS, clock
                    )
                )


def test_an_answer_is_no_answer_to_anything_else(clock):
    """Each answer under each other question, and under the same question asked again."""
    client = kiosk(clock)
    made = {which: answered(said, clock) for which, said in ANSWERS.items()}
    for which, answer in made.items():
        for other in ANSWERS.values():
            elsewhere = replace(answer, request=client.sign(other.exchange))
            unheard(client, replace(ANSWERS[which], exchange=other.exchange), elsewhere, ANSWERS[which].body)


def test_an_old_answer_is_not_heard_to_a_new_question(clock):
    said, client = ANSWERS["approved"], kiosk(clock)
    answer = answered(said, clock)
    clock.advance(66_000)
    unheard(client, said, answer, said.body)


def test_a_kiosks_own_signature_is_no_acquirers(clock):
    said, client = ANSWERS["approved"], kiosk(clock)
    request = client.sign(said.exchange)
    unheard(client, said, sign_answer(Signer(KIOSK, clock), request, 200, said.body), said.body)


# --- what stands alone: policy, licence, offline sale ---------------------------------------------------

TYPS = (POLICY_TYP, "facepay-licence+jws", "facepay-offline+jws")


@pytest.mark.parametrize("typ", TYPS)
def test_a_jws_with_any_byte_changed_is_refused(typ):
    jws = sign_jws(ACQUIRER, typ, b'{"version":7,"per_payment":100000}')
    verify_jws(jws, typ, ACQUIRERS)
    for other in mutated(jws):
        refused(lambda other=other: verify_jws(other, typ, ACQUIRERS))
    for part in range(3):
        parts = jws.split(b".")
        parts[part] = b""
        refused(lambda parts=parts: verify_jws(b".".join(parts), typ, ACQUIRERS))


def test_a_jws_of_one_kind_is_none_of_another():
    for typ in TYPS:
        for other in TYPS:
            if other != typ:
                refused(
                    lambda typ=typ, other=other: verify_jws(sign_jws(ACQUIRER, typ, b"{}"), other, ACQUIRERS)
                )


def test_the_signature_of_one_jws_is_not_that_of_another():
    one, other = (sign_jws(ACQUIRER, POLICY_TYP, payload) for payload in (b'{"a":1}', b'{"a":2}'))
    mixed = one.rsplit(b".", 1)[0] + b"." + other.rsplit(b".", 1)[1]
    refused(lambda: verify_jws(mixed, POLICY_TYP, ACQUIRERS))
