"""A sale that was accepted offline: the request that could not be sent, signed with its time; its advice."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from kiosk.acquirer.journal import Journal
from kiosk.acquirer.messages import PaymentRequest, parse
from kiosk.acquirer.offline import OFFLINE_TYP, local_approval, seal_sale
from kiosk.acquirer.operations import AdviceRequest, advice_request
from kiosk.acquirer.signing import SignatureError, TrustedKeys, verify_jws
from kiosk.domain.chain import GENESIS
from kiosk.domain.errors import OperatorError
from kiosk.domain.payment import Answer, Authorise, Result

from .parts import TERMINAL, a_key, a_payment, an_effect

STORED_S = 1_795_564_801.5
DAY = date(2026, 11, 25)
APPROVED = Answer(Result.APPROVED, "approved", "A1B2C3", "000000000001")
OFFLINE = Answer(Result.APPROVED, "offline", "7Q4KXM")


def an_advice(effect: Authorise, sale: str = "a.b.c"):
    return advice_request(
        TERMINAL, effect.ref, sale, sequence=9_000, batch=1, created_utc=STORED_S, previous=GENESIS
    )


def test_the_sale_is_the_request_that_was_frozen_with_when_and_the_how_manieth() -> None:
    key, effect = a_key(), an_effect()
    payment = a_payment(effect)
    sale = seal_sale(key, payment, stored_s=STORED_S, number=3)
    payload = parse(
        verify_jws(sale.encode(), OFFLINE_TYP, TrustedKeys({key.key_id: key.public_key_der()})),
        PaymentRequest,
    )
    sent = parse(payment.body or b"", PaymentRequest)
    assert payload.offline is not None
    assert (payload.offline.stored_at.timestamp(), payload.offline.sequence) == (STORED_S, 3)
    assert (payload.ref, payload.amount, payload.evidence, payload.sequence, payload.previous) == (
        sent.ref, sent.amount, sent.evidence, sent.sequence, sent.previous,
    )  # fmt: skip


def test_it_passes_for_nothing_else() -> None:
    key = a_key()
    sale = seal_sale(key, a_payment(an_effect()), stored_s=STORED_S, number=1)
    with pytest.raises(SignatureError, match="is due"):
        verify_jws(sale.encode(), "facepay-policy+jws", TrustedKeys({key.key_id: key.public_key_der()}))


def test_a_request_with_a_pin_is_never_sold_offline() -> None:
    effect = an_effect()
    with_pin = replace(effect, pin="a.b.c.d.e", evidence=replace(effect.evidence, methods=("face", "pin")))
    with pytest.raises(ValueError, match="PIN"):
        seal_sale(a_key(), a_payment(with_pin), stored_s=STORED_S, number=1)


def test_the_advice_is_frozen_under_a_key_of_its_own_and_carries_the_sale() -> None:
    effect = an_effect()
    sale = seal_sale(a_key(), a_payment(effect), stored_s=STORED_S, number=1)
    advice = an_advice(effect, sale)
    assert (advice.path, advice.idempotency_key) == ("/v1/advices", f"{effect.ref}:advice:1")
    assert parse(advice.body or b"", AdviceRequest).sale == sale


def test_a_sale_that_is_longer_than_the_protocol_carries_is_not_frozen() -> None:
    with pytest.raises(OperatorError, match="advice"):
        an_advice(an_effect(), "a" * 5_000 + ".b.c")


def test_the_approval_code_can_be_worked_out_from_the_sale() -> None:
    code = local_approval("a.b.c")
    assert code == local_approval("a.b.c") != local_approval("a.b.d")
    assert len(code) == 6
    assert code.isalnum()
    assert code.isupper()
    assert hashlib.sha256(b"a.b.c").digest()[0] % 32 == "ABCDEFGHJKLMNPQRSTUVWXYZ23456789".index(code[0])


# --- the journal's part ---------------------------------------------------------------------------------


def sold(journal: Journal, token: str, end: Answer | None) -> Authorise:
    """An attempt of `token` that ended so; None: accepted offline."""
    effect = an_effect(token=token)
    journal.open_attempt(effect, a_payment(effect), day=DAY)
    if end is None:
        journal.conclude_offline(effect.ref, an_advice(effect), OFFLINE, day=DAY)
    else:
        journal.conclude(effect.ref, end)
    return effect


@pytest.fixture
def journal(tmp_path: Path):
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def test_nobody_has_a_good_name_who_never_paid_here(journal: Journal) -> None:
    sold(journal, "li", APPROVED)
    assert journal.last_word("ming") is None


@pytest.mark.parametrize(
    "nothing_said",
    [Answer(Result.DECLINED, "not_sent"), Answer(Result.REVERSED, "reversed"), None],
    ids=["not sent", "reversed", "offline"],
)
def test_only_what_the_acquirer_said_counts(journal: Journal, nothing_said: Answer | None) -> None:
    sold(journal, "ming", nothing_said)
    assert journal.last_word("ming") is None
    sold(journal, "ming", APPROVED)
    sold(journal, "ming", nothing_said)
    assert journal.last_word("ming") is Result.APPROVED


def test_a_decline_is_the_last_word_until_the_next_approval(journal: Journal) -> None:
    sold(journal, "ming", APPROVED)
    sold(journal, "ming", Answer(Result.DECLINED, "payer_blocked"))
    assert journal.last_word("ming") is Result.DECLINED
    sold(journal, "ming", APPROVED)
    assert journal.last_word("ming") is Result.APPROVED


def test_what_a_forwarded_sale_came_to_is_the_newest_word(journal: Journal) -> None:
    sold(journal, "ming", APPROVED)
    offline = sold(journal, "ming", None)
    sold(journal, "ming", APPROVED)
    journal.conclude_task(f"{offline.ref}:advice:1", "declined", b"{}")
    assert journal.last_word("ming") is Result.DECLINED


def test_advices_are_told_in_the_order_of_their_sales(journal: Journal) -> None:
    first, second = (sold(journal, token, None) for token in ("ming", "li"))
    sold(journal, "wu", APPROVED)
    journal.conclude_task(f"{first.ref}:advice:1", "approved", b"{}")
    assert [(task.ref, task.result) for task in journal.advices()] == [
        (first.ref, "approved"),
        (second.ref, None),
    ]
