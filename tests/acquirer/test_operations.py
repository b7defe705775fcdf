"""What goes out beside payments: frozen once, in the words that the other side reads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from kiosk.acquirer import operations as op
from kiosk.acquirer.messages import EvidenceMessage, Exchange, Message, new_ref, parse
from kiosk.domain.chain import GENESIS
from kiosk.domain.errors import OperatorError
from kiosk.domain.money import Money

from .parts import TERMINAL, Now

REF = new_ref(Now())
PAID = Money(3850, "CNY")
ENVELOPE: op.Envelope = {"sequence": 7, "batch": 9, "created_utc": 1_795_564_800.25, "previous": GENESIS}
WHEN = datetime(2026, 11, 25, 8, tzinfo=UTC)
CONSENT = op.ConsentMessage(
    text_version="v1", text_sha256=GENESIS, language="en", scope=("pay",), given_at=WHEN, keep_until=WHEN,
    of_age=True,
)  # fmt: skip
GUARDIAN = op.GuardianMessage(declared_at=WHEN, approved_by="1007")
LINE = op.JournalLine(seq=1, at=WHEN, kind="payment", result="", body_sha256=GENESIS, hash=GENESIS)
PACK = op.EvidencePack(
    evidence=EvidenceMessage(
        methods=("face",), confirmed_at=WHEN, attempts=1, score_band="high", margin_band="high",
        liveness_band="high", model_ids=("net-1",), gallery_version=3,
    ),
    consent_ref="consent-1", policy_version=4, approval="AB12CD", rrn="1", software="kiosk-1",
    journal=(LINE,),
)  # fmt: skip
JWE, JWS = "a.b.c.d.e", "a.b.c"

CALLS: list[tuple[Exchange, type[Message], str, str]] = [
    (
        op.refund_request(
            TERMINAL, REF, "o-1", PAID, number=2, reason="goods", approved_by="7", **ENVELOPE
        ),
        op.RefundRequest, f"/v1/payments/{REF}/refunds", f"{REF}:refund:2",
    ),
    (op.advice_request(TERMINAL, REF, JWS, **ENVELOPE), op.AdviceRequest, "/v1/advices", f"{REF}:advice:1"),
    (
        op.dispute_request(TERMINAL, REF, "o-1", PAID, reason="not_me", pack=PACK, **ENVELOPE),
        op.DisputeRequest, f"/v1/payments/{REF}/disputes", f"{REF}:dispute:1",
    ),
    (
        op.reconciliation_request(
            TERMINAL, REF, closes=8, settle=True, currency="CNY",
            totals=(op.Total(kind="payment", count=1, amount=op.Amount(minor=5, currency="CNY")),),
            items=(op.Item(ref=REF, kind="payment", minor=5),), **ENVELOPE,
        ),
        op.ReconciliationRequest, "/v1/reconciliations", f"{REF}:reconciliation:1",
    ),
    (
        op.enrolment_request(
            TERMINAL, REF, consent=CONSENT, template=JWE, model_id="net-1", account="link-1", **ENVELOPE
        ),
        op.EnrolmentRequest, "/v1/enrolments", f"{REF}:enrolment:1",
    ),
    (
        op.identification_request(
            TERMINAL, REF, template=JWE, model_id="net-1", gallery_version=3, **ENVELOPE
        ),
        op.IdentificationRequest, "/v1/identifications", f"{REF}:identification:1",
    ),
    (
        op.gallery_keys_request(TERMINAL, REF, recipient=b"a key", **ENVELOPE),
        op.GalleryKeysRequest, "/v1/gallery-keys", f"{REF}:gallery_keys:1",
    ),
    (
        op.telemetry_request(
            TERMINAL, REF, software="kiosk-1", gallery_version=3, policy_version=4,
            counters={"payments": 2}, checks={"disk": "ok"}, **ENVELOPE,
        ),
        op.TelemetryRequest, "/v1/telemetry", f"{REF}:telemetry:1",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("exchange", "kind", "path", "key"), CALLS, ids=lambda value: getattr(value, "operation", "")
)
def test_what_is_frozen_is_read_back_with_its_envelope(
    exchange: Exchange, kind: type[Message], path: str, key: str
) -> None:
    assert (exchange.method, exchange.path, exchange.idempotency_key) == ("POST", path, key)
    assert (exchange.ref, exchange.sequence) == (REF, 7)
    assert exchange.body is not None
    read: Any = parse(exchange.body, kind)
    assert (read.ref, read.sequence, read.batch, read.previous) == (REF, 7, 9, GENESIS)
    assert (read.merchant_id, read.store_id, read.terminal_id) == ("m-100", "s-1", "t-7")
    assert read.operation == exchange.operation


def test_a_refund_says_who_approved_it_why_and_how_much() -> None:
    refund = parse(CALLS[0][0].body or b"", op.RefundRequest)
    assert (refund.amount.money(), refund.reason, refund.approved_by, refund.number) == (
        PAID,
        "goods",
        "7",
        2,
    )


def test_what_the_protocol_does_not_carry_is_not_frozen() -> None:
    with pytest.raises(OperatorError, match="this refund can't be written down"):
        op.refund_request(
            TERMINAL, REF, "two\nlines", PAID, number=1, reason="goods", approved_by="7", **ENVELOPE
        )
    item = op.Item(ref=REF, kind="payment", minor=5)
    with pytest.raises(OperatorError, match="this reconciliation can't be written down"):
        op.reconciliation_request(
            TERMINAL, REF, closes=8, settle=True, currency="CNY", totals=(),
            items=(item,) * (op.MAX_ITEMS + 1), **ENVELOPE,
        )  # fmt: skip


def test_a_refund_of_nothing_is_none() -> None:
    with pytest.raises(ValueError, match="more than zero"):
        op.refund_request(
            TERMINAL, REF, "o-1", Money(0, "CNY"), number=1, reason="goods", approved_by="7", **ENVELOPE
        )


def test_a_batch_as_large_as_there_may_be_fits_its_limit() -> None:
    items = tuple(
        op.Item(ref=REF, kind="reversal", number=99, minor=999_999_999_999) for _ in range(op.MAX_ITEMS)
    )
    exchange = op.reconciliation_request(
        TERMINAL, REF, closes=8, settle=True, currency="CNY", totals=(), items=items, **ENVELOPE
    )
    assert len(exchange.body or b"") <= op.body_limit("reconciliation")


def test_people_are_asked_about_by_token_without_a_body() -> None:
    asked, withdrawn = op.payer_request("pyr/1 x"), op.withdrawal_request("pyr/1 x")
    assert (asked.method, withdrawn.method) == ("GET", "DELETE")
    assert asked.path == withdrawn.path == "/v1/payers/pyr%2F1%20x"
    assert asked.body is withdrawn.body is None


def test_an_enrolment_that_succeeded_has_a_token() -> None:
    with pytest.raises(msgspec.ValidationError, match="without token"):
        msgspec.json.decode(
            b'{"version":1,"operation":"enrolment","ref":"%s","result":"enrolled"}' % REF.encode(),
            type=op.EnrolmentAnswer,
        )


def test_a_guardian_declares_for_a_child_and_for_nobody_else() -> None:
    child = msgspec.structs.replace(CONSENT, of_age=False, guardian=GUARDIAN)
    assert msgspec.json.decode(msgspec.json.encode(child), type=op.ConsentMessage) == child
    both = msgspec.json.encode(child).replace(b'"of_age":false', b'"of_age":true')
    with pytest.raises(msgspec.ValidationError, match="not of age"):
        msgspec.json.decode(both, type=op.ConsentMessage)


def test_an_enrolment_is_read_with_its_token() -> None:
    told = op.EnrolmentAnswer(
        version=1, operation="enrolment", ref=REF, result="enrolled", token="pyr-1", consent_ref="c-1"
    )
    assert msgspec.json.decode(msgspec.json.encode(told), type=op.EnrolmentAnswer) == told
