"""The kiosk's client against the real sandbox, over sockets: what holds when all is well and when not."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace

import pytest
import requests

from kiosk.acquirer.client import Lost, PolicyReceived, ReversalConfirmed, Unsent, Verified
from kiosk.acquirer.licence import Scheme, load_roots
from kiosk.acquirer.messages import Problem, Terminal, parse, policy_request, status_request
from kiosk.acquirer.operations import payer_request, refund_request, withdrawal_request
from kiosk.acquirer.policy import PolicyStore
from kiosk.acquirer.signing import Signer, sign_request
from kiosk.devices.key_software import SoftwareKey
from kiosk.domain.chain import GENESIS
from kiosk.domain.money import Money
from kiosk.domain.payment import Result
from kiosk.sandbox.keys import Terminals

from ..acquirer.parts import TERMINAL, Now, a_key, a_payment, a_reversal, an_effect
from .conftest import running

REFUND_SEQUENCES = itertools.count(10_000_000)


def post(sandbox, exchange, *, headers=None, body=None):
    """Send as the client would, but let the test see (and change) everything."""
    target = sandbox.address + exchange.path
    signed = sign_request(
        Signer(sandbox.key, Now()),
        "POST",
        target,
        body=exchange.body,
        idempotency_key=exchange.idempotency_key,
    )
    sent = dict(signed.headers) | (headers or {})
    return requests.post(target, data=exchange.body if body is None else body, headers=sent, timeout=10)


def error_of(response):
    return parse(response.content, Problem).error


def debits(sandbox, effect):
    return [row.debited_minor for row in sandbox.rows(effect.order.order_ref)]


# --- all is well ----------------------------------------------------------------------------------------


def test_a_payment_is_approved_and_debited_once(sandbox):
    effect = an_effect()
    reply = sandbox.client().send(a_payment(effect))
    assert isinstance(reply, Verified)
    assert reply.answer.result is Result.APPROVED
    assert len(reply.answer.approval) == 6
    assert len(reply.answer.rrn) == 12
    (row,) = sandbox.rows(effect.order.order_ref)
    assert (row.attempt.ref, row.debited_minor) == (effect.ref, 3850)


def test_a_status_question_gets_the_same_word(sandbox):
    effect = an_effect()
    said = sandbox.client().send(a_payment(effect))
    assert sandbox.client().send(status_request(effect.ref)).answer == said.answer


def test_an_attempt_that_never_came_is_not_found(sandbox):
    assert sandbox.client().send(status_request(an_effect().ref)).code == "not_found"
    assert sandbox.client().send(status_request("nonsense")).code == "not_found"


def test_an_amount_over_the_cap_is_declined_and_nothing_is_debited(sandbox):
    effect = an_effect(minor=100_001)
    reply = sandbox.client().send(a_payment(effect))
    assert (reply.answer.result, reply.answer.code) == (Result.DECLINED, "over_payment_cap")
    assert debits(sandbox, effect) == [0]


def test_a_production_kiosk_is_declined_by_a_test_sandbox(sandbox):
    terminal = Terminal("m-100", "s-1", "t-7", "production", "Shop")
    reply = sandbox.client().send(a_payment(an_effect(), terminal=terminal))
    assert (reply.answer.result, reply.answer.code) == (Result.DECLINED, "mode")


def test_the_policy_comes_signed_and_is_believed(sandbox, tmp_path):
    reply = sandbox.client().send(policy_request())
    assert isinstance(reply, PolicyReceived)
    scheme = Scheme(load_roots(sandbox.folder / "sandbox" / "scheme.json"), sandbox=True)
    store = PolicyStore(tmp_path / "policy.jws", sandbox.trust.policy_keys, scheme, bytes(32))
    policy = store.accept(reply.jws, Now().utc_s())
    assert policy.face_allowed
    assert policy.ceiling.per_payment == 100_000
    assert policy.licence == "SANDBOX-0000"


def test_the_same_bytes_again_get_the_same_answer_and_no_second_debit(sandbox):
    effect = an_effect()
    exchange = a_payment(effect)
    replies = {sandbox.client().send(exchange) for _ in range(3)}
    assert len(replies) == 1
    assert debits(sandbox, effect) == [3850]


def test_one_attempt_of_an_order_is_approved(sandbox):
    first = an_effect()
    sandbox.client().send(a_payment(first))
    second = an_effect(order_ref=first.order.order_ref)
    assert sandbox.client().send(a_payment(second)).answer.code == "order_paid"
    assert debits(sandbox, first) == [3850, 0]


# --- reversals ------------------------------------------------------------------------------------------


def test_a_reversal_gives_the_money_back_and_the_order_may_be_paid_again(sandbox):
    effect = an_effect()
    sandbox.client().send(a_payment(effect))
    for _ in range(2):
        assert sandbox.client().send(a_reversal(effect)) == ReversalConfirmed()
    assert sandbox.client().send(status_request(effect.ref)).answer.result is Result.REVERSED
    assert sandbox.client().send(a_payment(effect)).answer.result is Result.DECLINED
    again = an_effect(order_ref=effect.order.order_ref)
    assert sandbox.client().send(a_payment(again)).answer.result is Result.APPROVED
    assert debits(sandbox, effect) == [0, 3850]


def test_a_reversal_before_its_payment_leaves_a_tombstone(sandbox):
    effect = an_effect()
    assert sandbox.client().send(a_reversal(effect)) == ReversalConfirmed()
    late = sandbox.client().send(a_payment(effect))
    assert (late.answer.result, late.answer.code) == (Result.DECLINED, "reversed")
    assert debits(sandbox, effect) == [0]


def test_a_declined_attempt_can_be_reversed(sandbox):
    effect = an_effect(minor=100_001)
    sandbox.client().send(a_payment(effect))
    assert sandbox.client().send(a_reversal(effect)) == ReversalConfirmed()


# --- faults ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop-answer", "bad-signature", "alter-body", "duplicate"])
def test_a_fault_loses_the_answer_and_a_question_finds_it(sandbox, fault):
    effect = an_effect()
    sandbox.misbehave(fault)
    assert isinstance(sandbox.client().send(a_payment(effect)), Lost)
    assert sandbox.client().send(status_request(effect.ref)).answer.result is Result.APPROVED
    assert debits(sandbox, effect) == [3850]


def test_faults_last_as_many_calls_as_were_asked_for(sandbox):
    effect = an_effect()
    sandbox.misbehave("drop-answer:2", "bad-signature")
    replies = [sandbox.client().send(a_payment(effect)) for _ in range(4)]
    assert [type(reply) for reply in replies] == [Lost, Lost, Lost, Verified]
    assert debits(sandbox, effect) == [3850]


def test_a_fault_in_an_answer_to_a_reversal_is_no_acknowledgement(sandbox):
    effect = an_effect()
    sandbox.client().send(a_payment(effect))
    sandbox.misbehave("alter-body")
    assert isinstance(sandbox.client().send(a_reversal(effect)), Lost)
    assert sandbox.client().send(a_reversal(effect)) == ReversalConfirmed()


def test_a_payment_is_declined_on_request(sandbox):
    effect = an_effect()
    sandbox.misbehave("decline")
    reply = sandbox.client().send(a_payment(effect))
    assert (reply.answer.result, reply.answer.code) == (Result.DECLINED, "declined")
    assert debits(sandbox, effect) == [0]


def test_a_slow_payment_is_in_flight_and_its_outcome_is_pending(sandbox):
    effect = an_effect()
    exchange = a_payment(effect)
    sandbox.misbehave("delay:0.8")
    assert isinstance(sandbox.client(answer_timeout_s=0.2).send(exchange), Lost)
    assert sandbox.client().send(status_request(effect.ref)).answer.result is Result.PENDING
    assert sandbox.client().send(exchange).code == "in_flight"
    while (reply := sandbox.client().send(status_request(effect.ref))).answer.result is Result.PENDING:
        pass
    assert reply.answer.result is Result.APPROVED
    assert debits(sandbox, effect) == [3850]


def test_a_reversal_overtakes_a_slow_payment_and_the_payment_is_refused(sandbox):
    effect = an_effect()
    sandbox.misbehave("delay:0.5")
    assert isinstance(sandbox.client(answer_timeout_s=0.2).send(a_payment(effect)), Lost)
    assert sandbox.client().send(a_reversal(effect)) == ReversalConfirmed()
    while sandbox.client().send(status_request(effect.ref)).answer.result is Result.PENDING:
        pass
    assert debits(sandbox, effect) == [0]


def test_a_sandbox_that_dies_after_its_commit_has_the_debit_when_it_is_back(tmp_path):
    effect = an_effect()
    with running(tmp_path, "--fault", "crash-after-commit") as first:
        assert isinstance(first.client().send(a_payment(effect)), Lost)
        assert first.process.wait(10) == 70
        assert isinstance(first.client().send(a_payment(effect)), Unsent)
    with running(tmp_path) as second:
        assert second.client().send(a_payment(effect)).answer.result is Result.APPROVED
        assert debits(second, effect) == [3850]


def test_only_faults_that_exist_are_planned(sandbox):
    def ask(**how):
        return requests.post(f"{sandbox.address}/sandbox/faults", timeout=10, **how).status_code

    assert ask(json={"faults": ["explode"]}) == 400
    assert ask(json={"fault": []}) == 400
    assert ask(json=[1]) == 400
    assert ask(data='{"faults": []}') == 415


# --- who does not keep to the protocol ------------------------------------------------------------------


def test_other_content_under_the_same_key_is_refused(sandbox):
    effect = an_effect()
    exchange = a_payment(effect)
    sandbox.client().send(exchange)
    other = a_payment(replace(effect, order=an_effect().order))
    response = post(sandbox, other)
    assert (response.status_code, error_of(response)) == (422, "other_content")
    assert isinstance(sandbox.client().send(other), Lost)
    assert debits(sandbox, effect) == [3850]


def test_a_call_without_a_key_is_refused(sandbox):
    exchange = a_payment(an_effect())
    response = post(sandbox, replace(exchange, idempotency_key="something:else:1"))
    assert (response.status_code, error_of(response)) == (400, "idempotency_key")


def test_content_that_is_no_request_is_refused(sandbox):
    for exchange in (a_payment(an_effect()), a_reversal(an_effect())):
        response = post(sandbox, replace(exchange, body=b"{}"))
        assert (response.status_code, error_of(response)) == (400, "format")


def test_a_reversal_on_another_attempts_path_is_refused(sandbox):
    exchange = replace(a_reversal(an_effect()), path=a_reversal(an_effect()).path)
    assert error_of(post(sandbox, exchange)) == "format"


def test_a_key_speaks_for_one_terminal(sandbox):
    sandbox.client().send(a_payment(an_effect()))
    other = Terminal("m-100", "s-1", "t-8", "test", "Shop")
    response = post(sandbox, a_payment(an_effect(), terminal=other))
    assert (response.status_code, error_of(response)) == (403, "terminal")


def test_a_changed_or_unsigned_call_is_refused_and_nothing_is_debited(sandbox):
    effect = an_effect()
    exchange = a_payment(effect)
    assert error_of(post(sandbox, exchange, body=exchange.body.replace(b"3850", b"3851"))) == "bad_signature"
    assert error_of(post(sandbox, exchange, headers={"Idempotency-Key": '"x:payment:1"'})) == "bad_signature"
    assert error_of(post(sandbox, exchange, headers={"Content-Type": "text/plain"})) == "bad_signature"
    assert error_of(post(sandbox, exchange, headers={"Signature": None})) == "unsigned"
    assert debits(sandbox, effect) == []


def test_a_call_that_was_signed_for_another_address_is_refused_whatever_host_says(sandbox):
    exchange = a_payment(an_effect())
    signed = sign_request(
        Signer(sandbox.key, Now()),
        "POST",
        "http://other-acquirer" + exchange.path,
        body=exchange.body,
        idempotency_key=exchange.idempotency_key,
    )
    response = requests.post(
        sandbox.address + exchange.path,
        data=exchange.body,
        headers={**signed.headers, "Host": "other-acquirer"},
        timeout=10,
    )
    assert error_of(response) == "bad_signature"


def test_a_recorded_call_is_refused_the_second_time(sandbox):
    effect = an_effect()
    exchange = a_payment(effect)
    signed = sign_request(
        Signer(sandbox.key, Now()),
        "POST",
        sandbox.address + exchange.path,
        body=exchange.body,
        idempotency_key=exchange.idempotency_key,
    )
    first, second = (
        requests.post(sandbox.address + exchange.path, data=exchange.body, headers=signed.headers, timeout=10)
        for _ in range(2)
    )
    assert first.status_code == 200
    assert (second.status_code, error_of(second)) == (401, "replayed")


@pytest.mark.parametrize("shift_s", [-300, 300])
def test_a_kiosk_with_a_wrong_clock_is_refused(sandbox, shift_s):
    effect = an_effect()
    reply = sandbox.client(shift_s=shift_s).send(a_payment(effect))
    assert isinstance(reply, Lost)
    assert "stale" in reply.why
    assert debits(sandbox, effect) == []


def test_too_much_content_is_refused(sandbox):
    exchange = replace(a_payment(an_effect()), body=b"x" * 70_000)
    assert error_of(post(sandbox, exchange)) == "too_large"


def test_an_unknown_kiosk_gets_nothing_until_its_key_is_registered(sandbox, tmp_path):
    from typer.testing import CliRunner

    from kiosk.cli.sandbox import app
    from kiosk.devices.key_software import SoftwareKey

    key = SoftwareKey.load_or_create(tmp_path / "device.key")
    client = sandbox.client(key)
    assert client.send(policy_request()).code == "unknown_key"
    assert client.send(a_payment(an_effect())).code == "unknown_key"
    result = CliRunner().invoke(
        app, ["trust", str(tmp_path / "device.pub"), "--data-dir", str(sandbox.folder)]
    )
    assert key.key_id in result.output
    terminal = Terminal("m-100", "s-1", "t-9", "test", "Shop")
    assert client.send(a_payment(an_effect(), terminal=terminal)).answer.result is Result.APPROVED


def test_attempts_of_another_terminal_are_not_found(sandbox):
    effect = an_effect()
    sandbox.client().send(a_payment(effect))
    stranger = a_key()
    assert sandbox.client(stranger).send(status_request(effect.ref)).code == "unknown_key"


def test_an_acquirer_whose_key_is_not_pinned_is_not_believed(sandbox):
    from kiosk.acquirer.client import AcquirerClient

    other = a_key()
    client = AcquirerClient(sandbox.address, sandbox.key, {other.key_id: other.public_key_der()}, Now())
    effect = an_effect()
    reply = client.send(a_payment(effect))
    assert isinstance(reply, Lost)
    assert "unknown_key" in reply.why
    assert reply.code == ""


def test_many_kiosk_threads_at_once_get_each_their_own_answer(sandbox):
    effects = [an_effect() for _ in range(12)]
    client, replies = sandbox.client(), {}

    def pay(effect):
        replies[effect.ref] = client.send(a_payment(effect))

    threads = [threading.Thread(target=pay, args=(effect,)) for effect in effects]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(reply.answer.result is Result.APPROVED for reply in replies.values())
    assert [debits(sandbox, effect) for effect in effects] == [[3850]] * 12


# --- after the sale, over sockets -----------------------------------------------------------------------


def a_refund(effect, minor, number=1):
    return refund_request(
        TERMINAL,
        effect.ref,
        effect.order.order_ref,
        Money(minor, effect.order.amount.currency),
        number=number,
        reason="goods",
        approved_by="7",
        sequence=next(REFUND_SEQUENCES),
        batch=1,
        created_utc=Now().utc_s(),
        previous=GENESIS,
    )


@pytest.mark.parametrize("fault", ["drop-answer", "bad-signature", "alter-body", "duplicate"])
def test_a_refund_whose_answer_was_lost_is_sent_again_and_given_once(sandbox, fault):
    effect = an_effect(minor=1_000)
    sandbox.client().send(a_payment(effect))
    refund = a_refund(effect, 400)
    sandbox.misbehave(fault)
    assert isinstance(sandbox.client().send(refund), Lost)
    again = sandbox.client().send(refund)
    assert (again.answer.result, again.answer.code) == (Result.APPROVED, "refunded")
    assert debits(sandbox, effect) == [600]


def test_refunds_that_arrive_together_give_back_no_more_than_was_paid(sandbox):
    effect = an_effect(minor=1_000)
    sandbox.client().send(a_payment(effect))
    replies = []
    refunds = [a_refund(effect, 300, number) for number in range(1, 7)]
    threads = [
        threading.Thread(target=lambda refund=refund: replies.append(sandbox.client().send(refund)))
        for refund in refunds
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(reply.answer.code for reply in replies) == ["over_refundable"] * 3 + ["refunded"] * 3
    assert debits(sandbox, effect) == [100]


def test_a_kiosk_that_never_sold_anything_can_withdraw_somebody(sandbox, tmp_path):
    token = "pyr-leaves us/all"  # a token is opaque: a blank and a slash are nothing special
    sandbox.client().send(a_payment(an_effect(token=token)))
    fresh = SoftwareKey.load_or_create(tmp_path / "device.key")
    Terminals(sandbox.folder / "sandbox", sandbox.folder).register(tmp_path / "device.pub")
    assert sandbox.client(fresh).send(payer_request(token)).message.state == "active"
    assert sandbox.client(fresh).send(withdrawal_request(token)).message.state == "withdrawn"
    assert sandbox.client().send(a_payment(an_effect(token=token))).answer.code == "payer_withdrawn"
