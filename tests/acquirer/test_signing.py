from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from http_message_signatures import HTTPMessageSigner
from http_message_signatures.algorithms import ECDSA_P256_SHA256
from hypothesis import given
from hypothesis import strategies as st

from kiosk.acquirer import signing
from kiosk.acquirer.signing import (
    COVERED_WITH_BODY,
    HttpAnswer,
    HttpRequest,
    NonceCache,
    SignatureError,
    Signer,
    TrustedKeys,
    load_public_key,
    sign_answer,
    sign_jws,
    sign_request,
    verify_answer,
    verify_jws,
    verify_request,
)
from kiosk.domain.errors import OperatorError, ProtocolError

from .parts import a_key

KIOSK, ACQUIRER = a_key(), a_key()
TRUSTED = TrustedKeys({KIOSK.key_id: KIOSK.public_key_der()})
ANSWERERS = TrustedKeys({ACQUIRER.key_id: ACQUIRER.public_key_der()})
URL = "http://127.0.0.1:8443/v1/payments"
BODY = b'{"amount":1}'
KEY = "01a2:payment:1"


@pytest.fixture
def nonces(clock):
    return NonceCache(clock.utc_s())


@pytest.fixture
def request_(clock):
    return sign_request(Signer(KIOSK, clock), "POST", URL, body=BODY, idempotency_key=KEY)


def copy(message):
    return replace(message, headers=dict(message.headers))


def refused(code, call, *args):
    with pytest.raises(SignatureError) as caught:
        call(*args)
    assert caught.value.code == code


def believed(call, *args):
    try:
        call(*args)
    except SignatureError:
        return False
    return True


def test_a_signed_request_is_believed_and_says_who_and_what(request_, clock, nonces):
    who = verify_request(request_, BODY, TRUSTED, clock, nonces)
    assert (who.key_id, who.idempotency_key) == (KIOSK.key_id, KEY)
    assert who.digest == request_.headers["Content-Digest"]


def test_a_request_is_signed_as_the_protocol_says(request_):
    head, _, parameters = request_.headers["Signature-Input"].partition(")")
    assert head == 'k=("@method" "@target-uri" "content-type" "content-digest" "idempotency-key"'
    assert {part.split("=")[0] for part in parameters.strip(";").split(";")} == {
        "created",
        "expires",
        "nonce",
        "keyid",
        "alg",
        "tag",
    }
    assert ';alg="ecdsa-p256-sha256"' in parameters
    assert ';tag="facepay-v1"' in parameters
    assert request_.headers["Idempotency-Key"] == f'"{KEY}"'


def test_a_question_without_a_body_covers_method_and_target(clock, nonces):
    request = sign_request(Signer(KIOSK, clock), "GET", URL)
    assert verify_request(request, b"", TRUSTED, clock, nonces).idempotency_key is None
    assert request.headers["Signature-Input"].startswith('k=("@method" "@target-uri")')


def test_a_body_and_a_key_go_together(clock):
    with pytest.raises(ValueError, match="together"):
        sign_request(Signer(KIOSK, clock), "POST", URL, body=BODY)


def test_two_signatures_of_the_same_content_differ(request_, clock):
    again = sign_request(Signer(KIOSK, clock), "POST", URL, body=BODY, idempotency_key=KEY)
    assert again.headers["Signature-Input"] != request_.headers["Signature-Input"]


@pytest.mark.parametrize(
    "change", [{"method": "PUT"}, {"url": URL + "/"}, {"url": URL.replace("127", "128")}]
)
def test_another_method_or_target_is_refused(request_, clock, nonces, change):
    refused("bad_signature", verify_request, replace(request_, **change), BODY, TRUSTED, clock, nonces)


def test_every_byte_of_every_signed_header_matters(request_, clock, nonces):
    for name, value in request_.headers.items():
        for place in range(len(value)):
            altered = copy(request_)
            altered.headers[name] = value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :]
            assert not believed(verify_request, altered, BODY, TRUSTED, clock, nonces), altered.headers[name]


def test_every_byte_of_every_signed_header_is_needed(request_, clock, nonces):
    for name, value in request_.headers.items():
        for place in range(len(value)):
            altered = copy(request_)
            altered.headers[name] = value[:place] + value[place + 1 :]
            assert not believed(verify_request, altered, BODY, TRUSTED, clock, nonces), altered.headers[name]


@pytest.mark.parametrize(
    "name", ["Content-Type", "Content-Digest", "Idempotency-Key", "Signature", "Signature-Input"]
)
def test_a_signed_header_that_was_removed_or_doubled_is_missed(request_, clock, nonces, name):
    altered = copy(request_)
    del altered.headers[name]
    with pytest.raises(SignatureError):
        verify_request(altered, BODY, TRUSTED, clock, nonces)
    doubled = copy(request_)
    doubled.headers[name] = f"{doubled.headers[name]}, {doubled.headers[name]}"
    with pytest.raises(SignatureError):
        verify_request(doubled, BODY, TRUSTED, clock, nonces)


@pytest.mark.parametrize("body", [b"", BODY + b" ", BODY[:-1], b'{"amount":2}'])
def test_other_content_is_refused(request_, clock, nonces, body):
    refused("bad_signature", verify_request, request_, body, TRUSTED, clock, nonces)


def test_a_question_with_a_body_is_refused(clock, nonces):
    request = sign_request(Signer(KIOSK, clock), "GET", URL)
    refused("not_covered", verify_request, request, b"x", TRUSTED, clock, nonces)


def test_a_stranger_is_refused(clock, nonces):
    request = sign_request(Signer(a_key(), clock), "GET", URL)
    refused("unknown_key", verify_request, request, b"", TRUSTED, clock, nonces)


def test_a_stranger_who_takes_a_known_name_is_refused(clock, nonces):
    class Impostor:
        key_id = KIOSK.key_id
        sign = staticmethod(a_key().sign)

    request = sign_request(Signer(Impostor(), clock), "GET", URL)
    refused("bad_signature", verify_request, request, b"", TRUSTED, clock, nonces)


def test_the_same_signature_twice_is_a_replay(request_, clock, nonces):
    verify_request(request_, BODY, TRUSTED, clock, nonces)
    refused("replayed", verify_request, request_, BODY, TRUSTED, clock, nonces)


def test_a_signature_lives_a_minute_and_not_more(request_, clock, nonces):
    clock.advance(65_000)
    verify_request(request_, BODY, TRUSTED, clock, nonces)
    clock.advance(1_000)
    refused("stale", verify_request, request_, BODY, TRUSTED, clock, nonces)


def test_a_signature_of_the_future_is_refused(clock, nonces):
    request = sign_request(Signer(KIOSK, clock), "GET", URL)
    clock.advance(-6_000)
    refused("stale", verify_request, request, b"", TRUSTED, clock, nonces)


def test_what_was_signed_before_the_verifier_started_is_refused(request_, clock):
    refused("stale", verify_request, request_, BODY, TRUSTED, clock, NonceCache(clock.utc_s() + 1))


def test_a_full_nonce_cache_refuses_rather_than_forgets(clock):
    nonces = NonceCache(clock.utc_s(), capacity=2)

    def ask():
        verify_request(sign_request(Signer(KIOSK, clock), "GET", URL), b"", TRUSTED, clock, nonces)

    ask()
    ask()
    refused("busy", ask)
    clock.advance(66_000)
    ask()


def crafted(
    clock, *, covered=COVERED_WITH_BODY, label="k", tag="facepay-v1", key='"k:payment:1"', **parameters
):
    """A message that our key signed otherwise than the protocol says."""
    now = datetime.fromtimestamp(int(clock.utc_s()), UTC)
    request = HttpRequest("POST", URL, {"Content-Type": "application/json", "Idempotency-Key": key})
    signer = HTTPMessageSigner(signature_algorithm=ECDSA_P256_SHA256)
    prepared = signer.prepare(
        request,
        **{"expires": now.replace(second=59), "nonce": "n" * 22, "include_alg": True} | parameters,
        key_id=KIOSK.key_id,
        created=now,
        label=label,
        tag=tag,
        covered_component_ids=covered,
        body=BODY,
    )
    signer.apply(request, prepared, KIOSK.sign(prepared.signature_base))
    return request


def test_a_crafted_message_that_keeps_to_the_protocol_passes(clock, nonces):
    verify_request(crafted(clock), BODY, TRUSTED, clock, nonces)


@pytest.mark.parametrize("left_out", [name for name in COVERED_WITH_BODY if name != "content-digest"])
def test_a_good_signature_that_does_not_cover_everything_is_refused(clock, nonces, left_out):
    covered = tuple(name for name in COVERED_WITH_BODY if name != left_out)
    refused("not_covered", verify_request, crafted(clock, covered=covered), BODY, TRUSTED, clock, nonces)


def test_a_good_signature_over_more_than_it_should_is_refused(clock, nonces):
    request = crafted(clock, covered=(*COVERED_WITH_BODY, "@authority"))
    refused("not_covered", verify_request, request, BODY, TRUSTED, clock, nonces)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"expires": None}, "not_covered"),
        ({"nonce": None}, "not_covered"),
        ({"nonce": "short"}, "not_covered"),
        ({"nonce": "n" * 65}, "not_covered"),
        ({"include_alg": False}, "not_covered"),
        ({"expires": datetime(2026, 11, 26, tzinfo=UTC)}, "stale"),
        ({"expires": datetime(2026, 11, 24, tzinfo=UTC)}, "stale"),
        ({"tag": "facepay-v2"}, "bad_signature"),
        ({"label": "other"}, "bad_signature"),
        ({"key": "k:payment:1"}, "not_covered"),
        ({"key": '""'}, "not_covered"),
    ],
    ids=str,
)
def test_a_good_signature_with_other_parameters_is_refused(clock, nonces, parameters, code):
    refused(code, verify_request, crafted(clock, **parameters), BODY, TRUSTED, clock, nonces)


@given(st.text(max_size=80), st.text(max_size=80))
def test_whatever_stands_in_the_headers_it_is_refused_in_order(given_input, given_signature):
    class Clock:
        def utc_s(self):
            return 1.0

        def monotonic_ms(self):
            return 1

    headers = {"Signature-Input": given_input, "Signature": given_signature}
    with pytest.raises(SignatureError):
        verify_request(HttpRequest("GET", URL, headers), b"", TRUSTED, Clock(), NonceCache(0))


# --- answers --------------------------------------------------------------------------------------------


@pytest.fixture
def answer(request_, clock):
    return sign_answer(Signer(ACQUIRER, clock), request_, 200, b"{}")


def test_an_answer_is_believed_by_who_asked(answer, clock):
    verify_answer(answer, b"{}", ANSWERERS, clock)
    assert '"signature";req "idempotency-key";req' in answer.headers["Signature-Input"]


def test_an_answer_to_a_question_is_bound_to_its_signature(clock):
    request = sign_request(Signer(KIOSK, clock), "GET", URL)
    answer = sign_answer(Signer(ACQUIRER, clock), request, 404, b"{}")
    verify_answer(answer, b"{}", ANSWERERS, clock)
    assert "idempotency-key" not in answer.headers["Signature-Input"]


def test_an_answer_to_another_request_is_refused(answer, clock):
    again = sign_request(Signer(KIOSK, clock), "POST", URL, body=BODY, idempotency_key=KEY)
    refused("bad_signature", verify_answer, replace(answer, request=again), b"{}", ANSWERERS, clock)


def test_an_answer_under_another_idempotency_key_is_refused(answer, request_, clock):
    other = copy(request_)
    other.headers["Idempotency-Key"] = '"other:payment:1"'
    refused("bad_signature", verify_answer, replace(answer, request=other), b"{}", ANSWERERS, clock)


def test_an_answer_that_is_not_bound_is_refused(request_, clock):
    for covered in (
        ("@status", "content-type", "content-digest"),
        ("@status", "content-type", "content-digest", '"signature";req'),
        ("@status", "content-type", "content-digest", '"idempotency-key";req'),
        ("content-type", "content-digest", '"signature";req', '"idempotency-key";req'),
    ):
        unbound = HttpAnswer(200, {"Content-Type": "application/json"}, request_)
        Signer(ACQUIRER, clock).apply(unbound, covered, b"{}")
        refused("not_covered", verify_answer, unbound, b"{}", ANSWERERS, clock)


def test_another_status_content_or_signer_is_refused(answer, clock):
    refused("bad_signature", verify_answer, replace(answer, status_code=201), b"{}", ANSWERERS, clock)
    refused("bad_signature", verify_answer, answer, b"[]", ANSWERERS, clock)
    refused("unknown_key", verify_answer, answer, b"{}", TRUSTED, clock)


def test_an_answer_without_a_signature_is_refused(answer, clock):
    bare = HttpAnswer(200, {"Content-Type": "application/json"}, answer.request)
    refused("unsigned", verify_answer, bare, b"{}", ANSWERERS, clock)


def test_an_old_answer_is_refused(answer, clock):
    clock.advance(66_000)
    refused("stale", verify_answer, answer, b"{}", ANSWERERS, clock)


def test_every_byte_of_an_answers_signature_matters(answer, clock):
    for name in ("Signature", "Signature-Input", "Content-Digest", "Content-Type"):
        value = answer.headers[name]
        for place in range(len(value)):
            for altered_value in (
                value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :],
                value[:place] + value[place + 1 :],
            ):
                altered = copy(answer)
                altered.headers[name] = altered_value
                assert not believed(verify_answer, altered, b"{}", ANSWERERS, clock), altered_value


# --- keys and JWS ---------------------------------------------------------------------------------------


def test_only_p256_keys_are_pinned():
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    der = other.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    for wrong in (b"", b"junk", der):
        with pytest.raises(OperatorError, match="P-256"):
            load_public_key(wrong)


def test_a_key_that_comes_later_is_found(clock):
    late = TrustedKeys(
        {}, lambda key_id: load_public_key(KIOSK.public_key_der()) if key_id == KIOSK.key_id else None
    )
    request = sign_request(Signer(KIOSK, clock), "GET", URL)
    assert verify_request(request, b"", late, clock, NonceCache(0)).key_id == KIOSK.key_id


def test_a_jws_gives_its_payload_back():
    jws = sign_jws(KIOSK, "thing+jws", b'{"a":1}')
    assert verify_jws(jws, "thing+jws", TRUSTED) == b'{"a":1}'


def unsealed(header, payload=b"{}"):
    signed = b".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=") for part in (json.dumps(header).encode(), payload)
    )
    return signed + b"." + base64.urlsafe_b64encode(KIOSK.sign(signed)).rstrip(b"=")


GOOD = {"alg": "ES256", "typ": "t", "kid": KIOSK.key_id}


@pytest.mark.parametrize(
    "jws",
    [
        b"",
        b"a.b",
        b"a.b.c.d",
        b"!.!.!",
        unsealed(GOOD | {"alg": "none"}),
        unsealed(GOOD | {"alg": "HS256"}),
        unsealed(GOOD | {"typ": "policy"}),
        unsealed(GOOD | {"kid": "stranger"}),
        unsealed(GOOD | {"crit": ["x"]}),
        unsealed({"alg": "ES256"}),
        unsealed(GOOD).rsplit(b".", 1)[0] + b".AAAA",
        unsealed(GOOD)[:-4] + b"AAA",
    ],
)
def test_what_is_not_a_jws_of_that_kind_by_a_pinned_key_is_refused(jws):
    with pytest.raises(ProtocolError):
        verify_jws(jws, "t", TRUSTED)


def test_every_byte_of_a_jws_matters():
    jws = unsealed(GOOD)
    for place in range(len(jws)):
        altered = jws[:place] + bytes([jws[place] ^ 1]) + jws[place + 1 :]
        for wrong in (altered, jws[:place] + jws[place + 1 :]):
            with pytest.raises(ProtocolError):
                verify_jws(wrong, "t", TRUSTED)


def test_the_window_is_the_protocols():
    assert (signing.LIFETIME_S, signing.TAG) == (60, "facepay-v1")


@pytest.mark.parametrize(
    "headers", [{"Signature": "k=:\xe9:"}, {"Signature": "k=:AA==:", "Idempotency-Key": '"a\x1f:b:1"'}, {}]
)
def test_what_an_answer_can_not_be_bound_to_gets_none(clock, headers):
    request = HttpRequest("POST", URL, headers)
    refused("unsigned", sign_answer, Signer(ACQUIRER, clock), request, 401, b"{}")
