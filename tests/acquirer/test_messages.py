from __future__ import annotations

import contextlib
import json
import re
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.acquirer import messages
from kiosk.acquirer.messages import (
    AnswerMessage,
    LicenceTerms,
    PaymentRequest,
    PolicyTerms,
    Problem,
    ReversalRequest,
    Terminal,
    encode,
    new_ref,
    parse,
    parse_answer,
    policy_request,
    status_request,
)
from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.domain.limits import Limits
from kiosk.domain.payment import Answer, Result

from .parts import TERMINAL, Now, a_payment, a_reversal, an_effect

REF = "01a21022-cd16-7947-9435-5cc1fa6ea9f0"
ANSWER = {
    "version": 1,
    "operation": "payment",
    "ref": REF,
    "result": "approved",
    "code": "approved",
    "approval": "J3MXVE",
    "rrn": "000000000001",
    "masked_payer": "*ming",
    "limits_left": {"currency": "CNY", "person_day": 1, "kiosk_day": None},
    "action": "refresh_policy",
}


def test_a_payment_says_everything_the_protocol_asks_for_and_nothing_about_the_face():
    effect = an_effect()
    exchange = a_payment(effect, sequence=9, policy_version=4)
    body = json.loads(exchange.body)
    assert exchange.idempotency_key == f"{effect.ref}:payment:1"
    assert (exchange.method, exchange.path, exchange.sequence) == ("POST", "/v1/payments", 9)
    assert body == {
        "version": 1,
        "operation": "payment",
        "mode": "test",
        "ref": effect.ref,
        "order_ref": effect.order.order_ref,
        "merchant_id": "m-100",
        "store_id": "s-1",
        "terminal_id": "t-7",
        "sequence": 9,
        "batch": 1,
        "amount": {"minor": 3850, "currency": "CNY"},
        "created": "2026-11-25T00:00:00.250000Z",
        "payer": {"token": effect.payer.token},
        "consent_ref": "consent-1",
        "evidence": {
            "methods": ["face"],
            "confirmed_at": "2026-11-24T23:59:59Z",
            "attempts": 1,
            "score_band": "high",
            "margin_band": "medium",
            "liveness_band": "high",
            "model_ids": ["net-1", "net-2"],
            "gallery_version": 3,
        },
        "policy_version": 4,
        "previous": "0" * 64,
    }


def test_a_reversal_names_the_attempt_in_its_path_and_key():
    effect = an_effect()
    exchange = a_reversal(effect)
    assert exchange.path == f"/v1/payments/{effect.ref}/reversals"
    assert exchange.idempotency_key == f"{effect.ref}:reversal:1"
    assert parse(exchange.body, ReversalRequest).reason == "no_answer"


def test_questions_have_no_body_and_no_key():
    for exchange in (status_request(REF), policy_request()):
        assert (exchange.method, exchange.body, exchange.idempotency_key) == ("GET", None, None)


@pytest.mark.parametrize("order_ref", ["", "two\nlines", "x" * 129])
def test_an_order_that_cannot_be_written_down_is_said_in_one_line(order_ref):
    effect = an_effect(order_ref=order_ref or "x")
    object.__setattr__(effect.order, "order_ref", order_ref)
    with pytest.raises(OperatorError, match="payment can't be written down"):
        a_payment(effect)


def test_an_order_may_be_named_in_any_script():
    assert parse(a_payment(an_effect(order_ref="订单 42")).body, PaymentRequest).order_ref == "订单 42"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("merchant_id", ""),
        ("store_id", "s 1"),
        ("terminal_id", "t\n"),
        ("terminal_id", "x" * 65),
        ("mode", "dev"),
    ],
)
def test_a_terminal_with_a_name_the_protocol_does_not_carry_is_refused(key, value):
    fields = {"merchant_id": "m", "store_id": "s", "terminal_id": "t", "mode": "test", "payee": "P"} | {
        key: value
    }
    with pytest.raises(OperatorError, match=key):
        Terminal(**fields)


def test_an_answer_is_read_as_the_domain_has_it():
    message = parse_answer(json.dumps(ANSWER).encode(), ref=REF, operation="payment")
    assert message.answer() == Answer(Result.APPROVED, "approved", "J3MXVE", "000000000001", "*ming")
    assert message.action == "refresh_policy"


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": True},
        {"operation": "refund"},
        {"operation": "status"},
        {"ref": "01a21022-cd16-7947-9435-5cc1fa6ea9f1"},
        {"ref": REF.upper()},
        {"ref": REF + "\n"},
        {"result": "paid"},
        {"result": 1},
        {"code": "A"},
        {"code": "x" * 33},
        {"approval": ""},
        {"rrn": ""},
        {"approval": "1234567"},
        {"masked_payer": "a\x00b"},
        {"masked_payer": None},
        {"limits_left": {"currency": "CNY", "person_day": -1}},
        {"limits_left": {"currency": "CNY", "person_day": 1.5}},
        {"action": "reboot"},
        {"extra": 1},
    ],
    ids=str,
)
def test_an_answer_that_is_not_exactly_one_is_refused(change):
    with pytest.raises(ProtocolError):
        parse_answer(json.dumps(ANSWER | change).encode(), ref=REF, operation="payment")


@pytest.mark.parametrize("missing", ["version", "operation", "ref", "result"])
def test_an_answer_without_a_field_it_needs_is_refused(missing):
    body = json.dumps({key: value for key, value in ANSWER.items() if key != missing}).encode()
    with pytest.raises(ProtocolError):
        parse_answer(body, ref=REF, operation="payment")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b'"a"',
        b"{",
        b"NaN",
        b'{"version":1e400}',
        b"[" * 60_000,
        b'{"code":"\xff"}',
        b" " * 65_537,
    ],
    ids=repr,
)
def test_bytes_that_are_no_message_are_refused(body):
    with pytest.raises(ProtocolError):
        parse(body, AnswerMessage)


@given(st.binary(max_size=300))
def test_whatever_comes_parsing_ends_in_a_message_or_a_protocol_error(body):
    for kind in (AnswerMessage, PaymentRequest, ReversalRequest, PolicyTerms, Problem):
        with contextlib.suppress(ProtocolError):
            assert isinstance(parse(body, kind), kind)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(ANSWER)), json_values)
def test_any_value_in_any_field_is_understood_or_refused(field, value):
    body = msgspec.json.encode(ANSWER | {field: value})
    try:
        message = parse_answer(body, ref=REF, operation="payment")
    except ProtocolError:
        return
    assert message.ref == REF
    assert encode(message)


PAYMENT = json.loads(a_payment(an_effect()).body)


@pytest.mark.parametrize("field", sorted(PAYMENT))
def test_a_payment_without_one_of_its_fields_is_refused(field):
    body = json.dumps({key: value for key, value in PAYMENT.items() if key != field}).encode()
    with pytest.raises(ProtocolError):
        parse(body, PaymentRequest)


@pytest.mark.parametrize(
    "change",
    [
        {"amount": {"minor": 0, "currency": "CNY"}},
        {"amount": {"minor": -1, "currency": "CNY"}},
        {"amount": {"minor": 10**12, "currency": "CNY"}},
        {"amount": {"minor": 1.0, "currency": "CNY"}},
        {"amount": {"minor": 1, "currency": "XXX"}},
        {"created": "2026-11-25T00:00:00"},
        {"created": "yesterday"},
        {"sequence": 0},
        {"previous": "0" * 63},
        {"mode": "debug"},
        {"payer": {"token": "t", "name": "Ming"}},
        {"evidence": PAYMENT["evidence"] | {"methods": ["voice"]}},
        {"evidence": PAYMENT["evidence"] | {"score": 0.71}},
    ],
    ids=str,
)
def test_a_payment_with_a_value_outside_the_contract_is_refused(change):
    with pytest.raises(ProtocolError):
        parse(json.dumps(PAYMENT | change).encode(), PaymentRequest)


def test_policy_terms_become_the_domains_policy():
    terms = {
        "version": 3,
        "expires": "2026-11-25T00:00:00Z",
        "currency": "CNY",
        "provider": "P",
        "licence": "a.b.c",
        "face_allowed": True,
        "law_note": "Two factors (Act 7).",
        "ceiling": {"per_payment": 5, "pin_above": 2, "per_person_hour": 9, "per_kiosk_day_count": 40},
    }
    licence = LicenceTerms(
        licence="L-1",
        licence_class="production",
        provider="P",
        services=("face_payment",),
        policy_keys=("0" * 64,),
        not_before=datetime(2026, 1, 1, tzinfo=UTC),
        expires=datetime(2027, 1, 1, tzinfo=UTC),
    )
    read = parse(json.dumps(terms).encode(), PolicyTerms)
    policy = read.policy(licence)
    assert (policy.version, policy.expires_s, policy.licence) == (3, 1_795_564_800, "L-1")
    assert policy.ceiling == Limits(5, pin_above=2, per_person_hour=9, per_kiosk_day_count=40)
    assert policy.law_note == "Two factors (Act 7)."
    sooner = msgspec.structs.replace(licence, expires=datetime(2026, 11, 1, tzinfo=UTC))
    assert read.policy(sooner).expires_s == 1_793_491_200
    with pytest.raises(ProtocolError):
        parse(json.dumps(terms | {"currency": "XXX"}).encode(), PolicyTerms)


def test_refs_are_version_7_and_sort_by_time(clock):
    refs = []
    for _ in range(200):
        refs.append(new_ref(clock))
        clock.advance(1)
    assert refs == sorted(set(refs))
    assert all(re.fullmatch(messages.Ref.__metadata__[0].pattern.rstrip("\\Z"), ref) for ref in refs)
    assert int(refs[0].replace("-", "")[:12], 16) == 1_795_564_800_000


def test_amounts_come_back_as_money():
    assert parse(a_payment(an_effect()).body, PaymentRequest).amount.money() == an_effect().order.amount
    assert TERMINAL.payee == "Corner Shop"
    assert Now().monotonic_ms() > 0


@pytest.mark.parametrize(
    ("pin", "methods", "offline", "why"),
    [
        ("a.b.c.d.e", ["face"], None, "a PIN goes with its method"),
        (None, ["face", "pin"], None, "a PIN goes with its method"),
        (
            "a.b.c.d.e",
            ["face", "pin"],
            {"stored_at": "2026-11-25T00:00:00Z", "sequence": 1},
            "no PIN is taken offline",
        ),
    ],
)
def test_a_pin_goes_with_its_method_and_never_offline(pin, methods, offline, why):
    body = msgspec.json.decode(a_payment(an_effect()).body)
    body["evidence"]["methods"] = methods
    body |= {name: value for name, value in (("pin", pin), ("offline", offline)) if value}
    with pytest.raises(ProtocolError, match=why):
        parse(msgspec.json.encode(body), PaymentRequest)
