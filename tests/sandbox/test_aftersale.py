"""Refunds, advices, closes and disputes at the sandbox, without HTTP, in whatever order they arrive."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kiosk.acquirer.messages import (
    VERSION,
    Amount,
    AnswerMessage,
    OfflineMessage,
    PaymentRequest,
    Problem,
    encode,
    freeze,
    parse,
    utc,
)
from kiosk.acquirer.operations import (
    MAX_RECONCILIATION_BYTES,
    AdviceRequest,
    DisputeAnswer,
    DisputeRequest,
    EvidencePack,
    Item,
    JournalLine,
    ReconciliationAnswer,
    ReconciliationRequest,
    RefundRequest,
    Total,
)
from kiosk.acquirer.signing import VerifiedRequest, load_public_key, sign_jws
from kiosk.domain.chain import GENESIS
from kiosk.domain.money import Money
from kiosk.domain.payment import Result
from kiosk.sandbox.aftersale import Aftersale
from kiosk.sandbox.ledger import Attempt, Refund

from ..acquirer.parts import SEQUENCES, TERMINAL, a_key, a_payment, an_effect
from .test_authorise import Desk

REFS = (an_effect().ref for _ in range(100_000))
KEY = a_key()


class Shop(Desk):
    """A terminal and the acquirer, call by call."""

    def __init__(self, folder, clock, **options):
        super().__init__(folder, clock, **options)
        self.after = Aftersale(
            self.authoriser, lambda kid: load_public_key(KEY.public_key_der()) if kid == KEY.key_id else None
        )

    def _identity(self, ref, batch=1):
        return {
            "version": VERSION,
            "mode": TERMINAL.mode,
            "ref": ref,
            "merchant_id": TERMINAL.merchant_id,
            "store_id": TERMINAL.store_id,
            "terminal_id": TERMINAL.terminal_id,
            "sequence": SEQUENCES.setdefault(f"{ref} {len(SEQUENCES)}", len(SEQUENCES) + 1_000),
            "batch": batch,
            "created": utc(self.clock.utc_s()),
            "previous": GENESIS,
        }

    @staticmethod
    def _who(exchange):
        return VerifiedRequest("k-1", exchange.idempotency_key, "")

    def a_refund(self, effect, minor, number=1, batch=1, currency="CNY"):
        request = RefundRequest(
            **self._identity(effect.ref, batch),
            operation="refund",
            order_ref=effect.order.order_ref,
            number=number,
            amount=Amount(minor=minor, currency=currency),
            reason="goods",
            approved_by="7",
        )
        return freeze(request, "refund", f"/v1/payments/{effect.ref}/refunds", number=number)

    def send_refund(self, exchange):
        treated = self.after.refund(self._who(exchange), exchange.ref, exchange.body)
        return parse(treated.body, AnswerMessage if treated.status == 200 else Problem)

    def refund(self, effect, minor, number=1, **more):
        return self.send_refund(self.a_refund(effect, minor, number, **more))

    def an_advice(self, effect, *, age_s=0.0, policy_version=1, key=KEY, ref=None, **more):
        payment = parse(a_payment(effect, policy_version=policy_version).body, PaymentRequest)
        stored = datetime.fromtimestamp(self.clock.utc_s(), UTC) - timedelta(seconds=age_s)
        offline = OfflineMessage(stored_at=stored, sequence=1)
        fields = {name: getattr(payment, name) for name in payment.__struct_fields__}
        sale = PaymentRequest(**(fields | {"offline": offline} | more))
        jws = sign_jws(key, "facepay-offline+jws", encode(sale)).decode()
        request = AdviceRequest(**self._identity(ref or effect.ref), operation="advice", sale=jws)
        return freeze(request, "advice", "/v1/advices")

    def send_advice(self, exchange):
        treated = self.after.advice(self._who(exchange), exchange.body)
        return parse(treated.body, AnswerMessage if treated.status == 200 else Problem)

    def advise(self, effect, **more):
        return self.send_advice(self.an_advice(effect, **more))

    def close(self, items, *, batch=1, settle=True, currency="CNY"):
        counts, sums = Counter(), Counter()
        for item in items:
            counts[item.kind] += 1
            sums[item.kind] += item.minor
        request = ReconciliationRequest(
            **self._identity(next(REFS), batch),
            operation="reconciliation",
            closes=batch,
            settle=settle,
            currency=currency,
            totals=tuple(
                Total(kind=kind, count=counts[kind], amount=Amount(minor=sums[kind], currency=currency))
                for kind in counts
            ),
            items=tuple(items),
        )
        exchange = freeze(request, "reconciliation", "/v1/reconciliations")
        treated = self.after.reconciliation(self._who(exchange), exchange.body)
        return parse(treated.body, ReconciliationAnswer, limit=MAX_RECONCILIATION_BYTES)

    def taken(self, effect):
        return next(row.debited_minor for row in self.ledger.rows() if row.attempt.ref == effect.ref)


@pytest.fixture
def shop(tmp_path, clock):
    made = Shop(tmp_path, clock)
    yield made
    made.ledger.close()


# --- refunds --------------------------------------------------------------------------------------------


def test_a_whole_refund_before_settlement_is_a_void_and_gives_everything_back(shop):
    effect = an_effect()
    shop.pay(effect)
    answer = shop.refund(effect, 3850)
    assert (answer.result, answer.code) == (Result.APPROVED, "voided")
    assert shop.taken(effect) == 0


def test_parts_are_given_back_until_nothing_is_left(shop):
    effect = an_effect(minor=1_000)
    shop.pay(effect)
    assert [shop.refund(effect, minor, number).code for number, minor in ((1, 400), (2, 601), (3, 600))] == [
        "refunded",
        "over_refundable",
        "refunded",
    ]
    assert shop.refund(effect, 1, 4).code == "over_refundable"
    assert shop.taken(effect) == 0


def test_the_same_refund_again_gives_back_nothing_more(shop):
    effect = an_effect(minor=1_000)
    shop.pay(effect)
    exchange = shop.a_refund(effect, 400)
    first, again = shop.send_refund(exchange), shop.send_refund(exchange)
    assert first == again
    assert shop.taken(effect) == 600
    assert shop.refund(effect, 300, number=1).error == "other_content"


@pytest.mark.parametrize("end", ["never paid", "declined", "reversed"])
def test_what_was_not_paid_is_not_given_back(shop, end):
    effect = an_effect(minor=200_000 if end == "declined" else 1_000)
    if end != "never paid":
        shop.pay(effect)
    if end == "reversed":
        shop.undo(effect)
    code = {"never paid": "unknown_payment"}.get(end, "not_approved")
    assert shop.refund(effect, 100).code == code
    assert sum(row.debited_minor for row in shop.ledger.rows()) == 0


def test_a_reversal_after_a_refund_gives_back_the_rest_only(shop):
    effect = an_effect(minor=1_000)
    shop.pay(effect)
    shop.refund(effect, 300)
    shop.undo(effect)
    assert shop.taken(effect) == 0
    assert shop.refund(effect, 300, number=2).code == "not_approved"


def test_a_refund_in_another_currency_or_of_another_order_is_none(shop):
    effect = an_effect(minor=1_000)
    shop.pay(effect)
    assert shop.refund(effect, 100, currency="EUR").code == "currency"
    other = replace(effect, order=replace(effect.order, order_ref="another"))
    assert shop.refund(other, 100, number=2).code == "unknown_payment"


def test_the_books_themselves_refuse_to_give_back_what_is_not_there(shop):
    effect, undone = an_effect(minor=1_000), an_effect(minor=1_000)
    shop.pay(effect)
    shop.pay(undone)
    shop.undo(undone)
    for ref, minor in ((effect.ref, 1_001), (undone.ref, 1)):
        attempt = shop.ledger.attempt("m-100/s-1/t-7", ref)
        refund = Refund(1, minor, 1, "7", "goods", Result.APPROVED, "refunded")
        with pytest.raises(sqlite3.IntegrityError, match="more than was paid"), shop.ledger.transaction():
            shop.ledger.refund(attempt, refund, 0.0)
    assert [row.debited_minor for row in shop.ledger.rows()] == [1_000, 0]


# --- advices --------------------------------------------------------------------------------------------

OFFLINE = {"per_payment": 5_000, "count": 10, "total": 20_000, "age_s": 3_600}


@pytest.fixture
def offline(shop):
    shop.terms(offline=OFFLINE)
    shop.policy()
    shop.pay(an_effect(token="pyr-known", minor=100))
    return shop


def test_a_sale_that_was_accepted_offline_is_debited_once(offline):
    effect = an_effect(token="pyr-known")
    exchange = offline.an_advice(effect)
    answers = [offline.send_advice(exchange) for _ in range(3)]
    assert [answer.result for answer in answers] == [Result.APPROVED] * 3
    assert offline.taken(effect) == 3850
    assert offline.refund(effect, 850).code == "refunded"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"minor": 5_001}, "over_offline_cap"),
        ({"token": "pyr-stranger"}, "unknown_payer"),
        ({"age_s": 3_600 + 8 * 86_400}, "too_old"),
        ({"age_s": -4_000}, "too_old"),
        ({"policy_version": 9}, "offline_not_allowed"),
        ({"mode": "production"}, "mode"),
    ],
    ids=str,
)
def test_a_sale_outside_the_signed_caps_is_declined_and_costs_nobody(offline, change, code):
    known = {"token": "pyr-known"} | {name: change[name] for name in ("minor", "token") if name in change}
    effect = an_effect(**known)
    more = {name: value for name, value in change.items() if name not in ("minor", "token")}
    assert offline.advise(effect, **more).code == code
    assert offline.taken(effect) == 0


def test_sales_that_waited_together_are_within_the_signed_number_and_sum(shop, clock):
    shop.terms(offline=OFFLINE | {"count": 3, "total": 9_000})
    shop.policy()
    shop.pay(an_effect(token="pyr-known", minor=100))
    sales = [shop.an_advice(an_effect(token="pyr-known", minor=minor)) for minor in (4_000, 4_000, 1_001, 1)]
    clock.advance(600_000)  # all of them were made in one outage
    codes = [shop.send_advice(sale).code for sale in sales]
    assert codes == ["approved", "approved", "over_offline_cap", "over_offline_cap"]
    later = [shop.an_advice(an_effect(token="pyr-known", minor=4_000)) for _ in range(2)]
    clock.advance(600_000)  # and those in another one, when none of the first waited any more
    assert [shop.send_advice(sale).code for sale in later] == ["approved"] * 2


def test_offline_is_off_unless_the_policy_says_otherwise(shop):
    shop.policy()
    shop.pay(an_effect(token="pyr-known", minor=100))
    assert shop.advise(an_effect(token="pyr-known")).code == "offline_not_allowed"


def test_an_advice_gets_through_whatever_its_sequence_and_though_its_batch_is_closed(offline):
    known = offline.ledger.bookings("m-100/s-1/t-7", 1)
    items = [Item(ref=one.attempt.ref, kind="payment", minor=one.minor) for one in known]
    assert offline.close(items).settled
    effect = an_effect(token="pyr-known")
    exchange = offline.an_advice(effect)
    with offline.ledger.transaction():
        offline.ledger.take_sequence("m-100/s-1/t-7", exchange.sequence, "another:payment:1")
    assert offline.send_advice(exchange).code == "approved"
    assert offline.taken(effect) == 3850
    items.append(Item(ref=effect.ref, kind="offline", minor=3850))
    assert offline.close(items).differences == (), "and a later close of it names it"


def test_an_order_that_was_paid_meanwhile_is_not_paid_again(offline):
    paid = an_effect(token="pyr-known", order_ref="O-1")
    offline.pay(paid)
    assert offline.advise(an_effect(token="pyr-known", order_ref="O-1")).code == "order_paid"


def test_an_advice_of_an_attempt_that_arrived_after_all_is_that_attempt(offline):
    effect = an_effect(token="pyr-known")
    offline.pay(effect)
    assert offline.advise(effect).result is Result.APPROVED
    assert offline.taken(effect) == 3850
    (told,) = offline.close([], settle=False).totals[:1]
    assert (told.kind, told.amount.minor) == ("offline", 3850)  # as its kiosk counts it


def test_a_payment_that_arrives_after_its_advice_is_that_sale(offline):
    effect = an_effect(token="pyr-known")
    offline.advise(effect)
    assert offline.pay(effect).result is Result.APPROVED
    assert offline.taken(effect) == 3850


def test_an_advice_after_its_reversal_is_declined(offline):
    effect = an_effect(token="pyr-known")
    offline.undo(effect)
    assert (offline.advise(effect).result, offline.taken(effect)) == (Result.DECLINED, 0)


def test_a_sale_of_another_key_or_attempt_or_altered_is_refused(offline):
    effect = an_effect(token="pyr-known")
    assert offline.advise(effect, key=a_key()).error == "sale"
    assert offline.advise(effect, ref=an_effect().ref).error == "sale"
    assert offline.advise(effect, terminal_id="t-8").error == "sale"
    assert all(row.attempt.ref != effect.ref for row in offline.ledger.rows())


# --- closes ---------------------------------------------------------------------------------------------


def test_a_batch_that_both_hold_is_settled_and_takes_nothing_more(shop):
    first, second, undone = an_effect(minor=1_000), an_effect(minor=500), an_effect(minor=300)
    for effect in (first, second, undone):
        shop.pay(effect)
    shop.undo(undone)
    shop.refund(first, 200)
    items = [
        Item(ref=first.ref, kind="payment", minor=1_000),
        Item(ref=second.ref, kind="payment", minor=500),
        Item(ref=undone.ref, kind="reversal", minor=300),
        Item(ref=first.ref, kind="refund", minor=200),
    ]
    assert not shop.close(items, settle=False).settled
    answer = shop.close(items)
    assert (answer.settled, answer.differences) == (True, ())
    late = a_payment(an_effect())
    treated = shop.authoriser.payment(VerifiedRequest("k-1", late.idempotency_key, ""), late.body)
    assert (treated.status, parse(treated.body, Problem).error) == (409, "batch_settled")
    assert shop.refund(second, 500, batch=2).code == "refunded"  # after settlement it is no void


def test_every_difference_is_named_and_the_batch_stays_open(shop):
    ours, theirs = an_effect(minor=1_000, token="pyr-a"), an_effect(minor=700)
    shop.pay(ours)
    shop.pay(theirs)
    answer = shop.close(
        [
            Item(ref=theirs.ref, kind="payment", minor=7_000),
            Item(ref=theirs.ref, kind="refund", minor=5),
        ]
    )
    assert not answer.settled
    told = {(one.ref, one.kind): one for one in answer.differences}
    missing = told[ours.ref, "payment"]
    assert (missing.kiosk, missing.acquirer, missing.token) == (None, 1_000, "pyr-a")
    assert missing.order_ref == ours.order.order_ref
    assert all((missing.approval, missing.rrn, missing.created))
    assert (told[theirs.ref, "payment"].kiosk, told[theirs.ref, "payment"].acquirer) == (7_000, 700)
    assert (told[theirs.ref, "refund"].kiosk, told[theirs.ref, "refund"].acquirer) == (5, None)


def test_to_a_kiosk_that_lost_a_whole_day_every_booking_is_named(shop):
    day = 10_000
    with shop.ledger.transaction():
        for number in range(day):
            attempt = Attempt(
                terminal="m-100/s-1/t-7",
                ref=next(REFS),
                store="m-100/s-1",
                order_ref=f"2026-11-25-A-{number:05d}",
                token=f"pyr-7f3k9q2m{number:05d}",
                amount=Money(100, "CNY"),
                result=Result.APPROVED,
                code="approved",
                approval="ABCDEF",
                rrn=f"{number:012d}",
                batch=1,
            )
            shop.ledger.enter(attempt, shop.clock.utc_s())
    assert len(shop.close([]).differences) == day
    assert shop.ledger.taken_at("m-100/s-1/t-7", shop.clock.utc_s() - 86_400) == (day, 100 * day)


def test_answers_are_kept_a_week_after_settlement_and_a_late_retry_still_pays_nothing_twice(shop, clock):
    effect = an_effect()
    exchange = a_payment(effect)
    who = VerifiedRequest("k-1", exchange.idempotency_key, "")
    shop.authoriser.payment(who, exchange.body)
    assert shop.close([Item(ref=effect.ref, kind="payment", minor=3850)]).settled
    clock.advance(8 * 86_400_000)
    assert shop.close([], batch=2).settled
    assert (
        shop.ledger.stored(
            f"{TERMINAL.merchant_id}/{TERMINAL.store_id}/{TERMINAL.terminal_id}", exchange.idempotency_key
        )
        is None
    )
    late = parse(shop.authoriser.payment(who, exchange.body).body, AnswerMessage)
    assert (late.result, shop.taken(effect)) == (Result.APPROVED, 3850)


# --- disputes -------------------------------------------------------------------------------------------


def test_a_payment_has_one_dispute_with_its_evidence(shop):
    effect = an_effect()
    shop.pay(effect)
    payment = parse(a_payment(effect).body, PaymentRequest)
    line = JournalLine(
        seq=1, at=utc(shop.clock.utc_s()), kind="payment", result="", body_sha256=GENESIS, hash=GENESIS
    )
    pack = EvidencePack(
        evidence=payment.evidence,
        consent_ref="consent-1",
        policy_version=1,
        approval="ABC",
        rrn="1",
        software="kiosk-1",
        journal=(line,),
    )

    def dispute(ref):
        request = DisputeRequest(
            **shop._identity(ref),
            operation="dispute",
            order_ref=effect.order.order_ref,
            amount=payment.amount,
            reason="not_me",
            pack=pack,
        )
        exchange = freeze(request, "dispute", f"/v1/payments/{ref}/disputes")
        return shop.after.dispute(shop._who(exchange), ref, exchange.body), exchange

    treated, exchange = dispute(effect.ref)
    answer = parse(treated.body, DisputeAnswer)
    assert (answer.dispute_id, answer.state) == ("D-000001", "open")
    assert shop.after.dispute(shop._who(exchange), effect.ref, exchange.body).body == treated.body
    ((number, _, _, ref, reason, body),) = shop.ledger.disputes()
    assert (number, ref, reason) == (1, effect.ref, "not_me")
    assert json.loads(body)["pack"]["consent_ref"] == "consent-1"
    assert dispute(an_effect().ref)[0].status == 404


# --- whatever comes in whatever order -------------------------------------------------------------------

CALLS = st.tuples(
    st.sampled_from(("pay", "undo", "refund", "advise")),
    st.integers(0, 2),
    st.integers(1, 3),
    st.sampled_from((1, 400, 3_850, 9_999)),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(CALLS, max_size=14))
def test_no_order_of_calls_gives_back_more_than_was_taken_or_pays_an_order_twice(offline, calls):
    orders = [f"O-{next(REFS)}" for _ in range(2)]
    attempts = [an_effect(token="pyr-known", order_ref=orders[number // 2]) for number in range(3)]
    frozen = {}
    for kind, which, number, minor in calls:
        effect = attempts[which]
        match kind:
            case "pay":
                offline.pay(effect)
            case "undo":
                offline.undo(effect)
            case "refund":
                exchange = frozen.setdefault((which, number), offline.a_refund(effect, minor, number))
                offline.send_refund(exchange)
            case "advise":
                offline.send_advice(frozen.setdefault(which, offline.an_advice(effect)))
    rows = [row for row in offline.ledger.rows() if row.attempt.order_ref in orders]
    assert all(0 <= row.debited_minor <= row.attempt.amount.minor for row in rows)
    approved = Counter(row.attempt.order_ref for row in rows if row.attempt.result is Result.APPROVED)
    assert all(count == 1 for count in approved.values())
    for row in rows:
        refunded = sum(refund.minor for refund in row.refunds if refund.result is Result.APPROVED)
        paid = row.attempt.amount.minor if row.attempt.result is Result.APPROVED else 0
        assert row.debited_minor == max(0, paid - refunded)
    (balance,) = offline.ledger._db.execute("SELECT coalesce(sum(minor), 0) FROM postings").fetchone()
    assert balance == 0
    held = offline.ledger.bookings("m-100/s-1/t-7", 1)
    items = [
        Item(ref=one.attempt.ref, kind=one.kind, number=one.number, minor=one.minor)
        for one in held
        if one.attempt.order_ref in orders
    ]
    told = offline.close(items, settle=False).differences
    assert {(one.ref, one.kind, one.number) for one in told} == {
        (one.attempt.ref, one.kind, one.number) for one in held if one.attempt.order_ref not in orders
    }
    counted = offline.ledger.taken_at("m-100/s-1/t-7", 0)
    approved_rows = [row for row in offline.ledger.rows() if row.attempt.result is Result.APPROVED]
    assert counted == (len(approved_rows), sum(row.attempt.amount.minor for row in approved_rows))
