"""Receipts: on the paper's width whatever the names, no person named, and no doubt about mode or outcome."""

from __future__ import annotations

import os
import re
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from string import Formatter
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain.columns import width
from kiosk.domain.money import CURRENCIES, MAX_MINOR, Money
from kiosk.domain.payment import Answer, Order, Result
from kiosk.domain.receipt import (
    BOOKED,
    COLUMNS,
    MAX_QR_BYTES,
    NARROW_COLUMNS,
    OFFLINE_CODE,
    CloseSlip,
    CloseTotal,
    Outcome,
    Receipt,
    became,
    for_qr,
    reason,
    render,
    render_close,
)
from kiosk.domain.receipt_texts import LANGUAGES, Texts

PROTOCOL = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
GOLDEN = Path(__file__).parents[1] / "golden" / "receipts"
WHEN = datetime(2026, 11, 25, 16, 0, 3, tzinfo=ZoneInfo("Asia/Shanghai"))
ORDER = Order("A-1", Money(3850, "CNY"), "Corner Shop")
RECEIPT = Receipt.of(
    ORDER,
    "019ac2f0-0000-7000-8000-000000000001",
    Answer(Result.APPROVED, approval="A12345", rrn="000000000001"),
    terminal_id="T-1",
    mode="production",
    when=WHEN,
    masked_payer="*ming",
    provider="Sandbox Pay",
    licence="LIC-1",
)
SAMPLES = {
    "approved": RECEIPT,
    "copy": replace(RECEIPT, copy=True),
    "training": replace(RECEIPT, mode="training"),
    "declined": replace(
        RECEIPT, outcome=Outcome.DECLINED, code="insufficient_funds", approval="", rrn="000000000002"
    ),
    "reversed": replace(RECEIPT, outcome=Outcome.REVERSED, approval="", rrn=""),
    "not-final": replace(RECEIPT, outcome=Outcome.NOT_FINAL, approval="", rrn=""),
    "offline": replace(RECEIPT, outcome=Outcome.OFFLINE, approval="7Q4KXM", rrn=""),
    "offline-declined": replace(
        RECEIPT, outcome=Outcome.OFFLINE_DECLINED, code="payer_blocked", approval="7Q4KXM", rrn=""
    ),
    "refund": replace(
        RECEIPT,
        outcome=Outcome.REFUNDED,
        amount=Money(1200, "CNY"),
        paid=Money(3850, "CNY"),
        left=Money(2650, "CNY"),
    ),
    "refunded-in-full": replace(
        RECEIPT,
        outcome=Outcome.REFUNDED_IN_FULL,
        refunded=Money(3850, "CNY"),
        left=Money(0, "CNY"),
        copy=True,
    ),
    "refunded-in-part": replace(
        RECEIPT, outcome=Outcome.REFUNDED_IN_PART, refunded=Money(1200, "CNY"), left=Money(2650, "CNY")
    ),
    "offline-charged": replace(RECEIPT, outcome=Outcome.OFFLINE_CHARGED, approval="7Q4KXM", copy=True),
    "offline-not-charged": replace(
        RECEIPT, outcome=Outcome.OFFLINE_NOT_CHARGED, code="payer_blocked", approval="7Q4KXM", rrn=""
    ),
    "void": replace(RECEIPT, outcome=Outcome.VOIDED, paid=Money(3850, "CNY"), left=Money(0, "CNY")),
}


def agreed(kind: str, count: int, minor: int) -> CloseTotal:
    total = (count, Money(minor, "CNY"))
    return CloseTotal(kind, total, total, total)


CLOSE = CloseSlip(
    payee="Corner Shop",
    terminal_id="T-1",
    mode="production",
    batch=739_945,
    when=WHEN,
    settled=True,
    totals=(
        agreed("payment", 12, 103_850),
        agreed("offline", 2, 4_000),
        agreed("reversal", 0, 0),
        agreed("refund", 1, 1_200),
    ),
)
UNBALANCED = replace(
    CLOSE,
    settled=False,
    differences=1,
    totals=(
        replace(CLOSE.totals[0], acquirer=(13, Money(107_700, "CNY"))),
        replace(CLOSE.totals[1], acquirer=None),
    ),
)

NAMES = st.text(max_size=90) | st.text(alphabet="店员a -\u0301م", max_size=90)
MONEY = st.builds(Money, st.integers(1, MAX_MINOR), st.sampled_from(sorted(CURRENCIES)))
RECEIPTS = st.builds(
    Receipt,
    outcome=st.sampled_from(Outcome),
    payee=NAMES,
    terminal_id=st.text(alphabet="AZaz09._:-", min_size=1, max_size=64),
    mode=st.sampled_from(["demo", "test", "training", "production"]),
    order_ref=st.text(min_size=1, max_size=128),
    ref=st.uuids().map(str),
    amount=MONEY,
    when=st.datetimes(timezones=st.sampled_from([ZoneInfo("Asia/Kolkata"), ZoneInfo("America/St_Johns")])),
    code=st.text(alphabet="abc_", max_size=32),
    approval=st.text(alphabet="A9", max_size=6),
    rrn=st.text(alphabet="A9", max_size=12),
    masked_payer=NAMES,
    provider=NAMES,
    licence=NAMES,
    paid=st.none() | MONEY,
    left=st.none() | MONEY,
    number=st.integers(1, 99),
    copy=st.booleans(),
    refunded=st.none() | MONEY,
)  # fmt: skip
TOTALS = st.tuples(st.integers(0, 10_000), MONEY)
CLOSES = st.builds(
    CloseSlip,
    payee=NAMES,
    terminal_id=st.just("T-1"),
    mode=st.sampled_from(["demo", "production"]),
    batch=st.integers(1, 2**53 - 1),
    when=st.just(WHEN),
    settled=st.booleans(),
    totals=st.lists(
        st.builds(
            CloseTotal,
            st.sampled_from(["payment", "offline", "reversal", "refund"]),
            TOTALS,
            st.none() | TOTALS,
            TOTALS,
        ),
        max_size=4,
    ).map(tuple),
    differences=st.integers(0, 20_000),
    copy=st.booleans(),
)
WIDTHS = st.sampled_from([NARROW_COLUMNS, COLUMNS]) | st.integers(16, 80)
TAGS = st.sampled_from(sorted(LANGUAGES))
MARKS = str.maketrans("", "", "\u200f\u2068\u2069")


def joined(text: str) -> str:
    """What is seen, without layout."""
    return "".join(text.translate(MARKS).split())


# --- properties -----------------------------------------------------------------------------------------


@given(RECEIPTS, TAGS, WIDTHS)
def test_any_receipt_fits_any_paper_in_any_language(receipt: Receipt, language: str, columns: int) -> None:
    text = render(receipt, language=language, columns=columns)
    lines = text.splitlines()
    assert "".join(line + "\n" for line in lines) == text
    assert all(0 < width(line) <= columns for line in lines)


@given(RECEIPTS, TAGS)
def test_the_amount_the_outcome_and_the_attempt_are_on_every_receipt(receipt: Receipt, language: str) -> None:
    words = LANGUAGES[language]
    for text in (render(receipt, language=language), for_qr(receipt, language=language)):
        for part in (getattr(words, receipt.outcome), str(receipt.amount), receipt.ref):
            assert joined(part) in joined(text)


@given(RECEIPTS, TAGS)
def test_any_receipt_fits_a_code_that_can_be_scanned(receipt: Receipt, language: str) -> None:
    assert len(for_qr(receipt, language=language).encode()) <= MAX_QR_BYTES


@given(NAMES)
def test_a_name_can_bring_no_control_characters_to_the_printer(payee: str) -> None:
    assert render(replace(RECEIPT, payee=payee)).replace("\n", "").isprintable()


@given(CLOSES, TAGS, WIDTHS)
def test_any_close_fits_any_paper_and_shows_every_total(slip: CloseSlip, language: str, columns: int) -> None:
    text = render_close(slip, language=language, columns=columns)
    assert all(0 < width(line) <= columns for line in text.splitlines())
    for total in slip.totals:
        for count, money in filter(None, (total.kiosk, total.acquirer, total.receipts)):
            assert joined(str(money)) in joined(text)
            assert str(count) in text


@given(CLOSES)
def test_a_close_is_called_balanced_exactly_when_all_three_agree(slip: CloseSlip) -> None:
    agree = all(total.kiosk == total.acquirer == total.receipts for total in slip.totals)
    assert slip.balanced == (agree and not slip.differences)
    assert ("NOT BALANCED" in render_close(slip)) != slip.balanced


# --- texts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_language_lacks_a_text(language: str) -> None:
    texts = LANGUAGES[language]
    for field in fields(Texts):
        if field.name not in ("mirrored", "reasons"):
            assert str(getattr(texts, field.name)).strip(), field.name
            assert not [name for _, name, _, _ in Formatter().parse(getattr(texts, field.name)) if name]


def test_languages_are_different_languages() -> None:
    for field in fields(Texts):
        values = [getattr(texts, field.name) for texts in LANGUAGES.values()]
        if field.name not in ("mirrored", "reasons"):
            assert len(set(values)) == len(values), field.name


def test_every_reason_that_the_protocol_knows_for_a_decline_has_words_in_every_language() -> None:
    known = {
        code
        for row in re.findall(r"^\| (.*) \| (?:reversed; )?declined \| (?!a refund)", PROTOCOL, re.MULTILINE)
        for code in re.findall(r"`([a-z_]+)`", row)
    }
    assert len(known) > 20
    for texts in LANGUAGES.values():
        assert known | {"not_sent"} <= set(texts.reasons)
        assert set(texts.reasons) == set(LANGUAGES["en"].reasons)
        assert all(words.strip() and width(words) <= 40 for words in texts.reasons.values())
    for code in known:
        assert len({texts.reasons[code] for texts in LANGUAGES.values()}) == len(LANGUAGES)


def test_a_reason_for_staff_is_words_and_code() -> None:
    assert reason("payer_blocked") == "payer blocked by the provider (payer_blocked)"
    assert reason("payer_blocked", language="zh-Hans") == "付款人已被支付机构停用 (payer_blocked)"
    assert (reason("new_reason"), reason("")) == ("new_reason", "no reason given")


def test_a_reason_without_words_is_told_as_it_is() -> None:
    assert "new_reason" in render(replace(SAMPLES["declined"], code="new_reason"))
    assert "payer_blocked" not in render(SAMPLES["offline-declined"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_label_leaves_room_for_its_value_on_narrow_paper(language: str) -> None:
    names = [field.name for field in fields(Texts)]
    for name in names[names.index("total") : names.index("reasons")]:
        if name not in ("about_offline_declined", "close", "comparison", "balanced", "not_balanced"):
            assert width(getattr(LANGUAGES[language], name)) <= 22, name


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(KeyError):
        render(RECEIPT, language="xx")


# --- goldens --------------------------------------------------------------------------------------------


def golden(name: str, text: str) -> None:
    """Compare with the stored text; `KIOSK_GOLDEN=write` stores it, for a person to read."""
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("KIOSK_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("columns", [NARROW_COLUMNS, COLUMNS])
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", SAMPLES)
def test_a_receipt_is_the_stored_one(name: str, language: str, columns: int) -> None:
    golden(f"{name}-{language}-{columns}", render(SAMPLES[name], language=language, columns=columns))


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_phone_reads_is_the_stored_text(language: str) -> None:
    golden(f"qr-{language}", for_qr(SAMPLES["training"], language=language))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("name", "slip"), [("close", CLOSE), ("comparison", UNBALANCED)])
def test_a_close_is_the_stored_one(name: str, slip: CloseSlip, language: str) -> None:
    golden(f"{name}-{language}-{COLUMNS}", render_close(slip, language=language))
    golden(
        f"{name}-{language}-{NARROW_COLUMNS}", render_close(slip, language=language, columns=NARROW_COLUMNS)
    )


# --- words ----------------------------------------------------------------------------------------------


def test_a_receipt_says_what_was_paid_to_whom_and_how_to_find_it() -> None:
    text = render(RECEIPT)
    for part in (
        "Corner Shop", "PAYMENT APPROVED", "¥ 38.50", "A-1", "A12345", "000000000001", "*ming", "LIC-1",
        "2026-11-25 16:00:03 +08:00",
    ):  # fmt: skip
        assert part in text


@pytest.mark.parametrize("mode", ["demo", "test", "training"])
def test_outside_production_the_first_and_last_line_say_that_nothing_real_is_charged(mode: str) -> None:
    lines = render(replace(RECEIPT, mode=mode)).splitlines()
    assert lines[0] == lines[-1]
    assert f"{mode.upper()}: NOTHING REAL IS CHARGED" in lines[0]


def test_production_carries_no_such_line() -> None:
    assert "NOTHING REAL" not in render(RECEIPT)


@pytest.mark.parametrize(
    ("result", "title"),
    [
        (Result.DECLINED, "NOTHING CHARGED"),
        (Result.REVERSED, "NOTHING CHARGED"),
        (Result.PENDING, "DO NOT PAY AGAIN"),
    ],
)
def test_what_is_not_approved_says_so(result: Result, title: str) -> None:
    answer = Answer(result, code="insufficient_funds")
    receipt = Receipt.of(ORDER, "ref", answer, terminal_id="T-1", mode="production", when=WHEN)
    assert title in render(receipt)
    assert ("not enough money" in render(receipt)) == (result is Result.DECLINED)


def test_a_sale_that_this_kiosk_accepted_itself_is_marked_offline() -> None:
    answer = Answer(Result.APPROVED, code=OFFLINE_CODE, approval="7Q4KXM")
    receipt = Receipt.of(ORDER, "ref", answer, terminal_id="T-1", mode="production", when=WHEN)
    assert receipt.outcome is Outcome.OFFLINE
    assert "PAID OFFLINE" in render(receipt)


def test_a_declined_payment_with_that_code_is_not_marked_paid() -> None:
    answer = Answer(Result.DECLINED, code=OFFLINE_CODE)
    receipt = Receipt.of(ORDER, "ref", answer, terminal_id="T-1", mode="production", when=WHEN)
    assert receipt.outcome is Outcome.DECLINED


def test_what_moved_no_money_counts_in_no_close() -> None:
    assert set(Outcome) - set(BOOKED) == {
        Outcome.DECLINED, Outcome.NOT_FINAL, Outcome.OFFLINE_DECLINED,
        Outcome.REFUNDED_IN_FULL, Outcome.REFUNDED_IN_PART,
        Outcome.OFFLINE_CHARGED, Outcome.OFFLINE_NOT_CHARGED,
    }, "and what is said later of a payment is no other booking"  # fmt: skip


SOLD_OFFLINE = Answer(Result.APPROVED, code=OFFLINE_CODE)
PAID, PART, NONE = Money(3850, "CNY"), Money(1200, "CNY"), Money(0, "CNY")


@pytest.mark.parametrize(
    ("answer", "refunded", "advice", "now"),
    [
        (Answer(Result.APPROVED), NONE, None, Outcome.APPROVED),
        (Answer(Result.APPROVED), PART, None, Outcome.REFUNDED_IN_PART),
        (Answer(Result.APPROVED), PAID, None, Outcome.REFUNDED_IN_FULL),
        (SOLD_OFFLINE, NONE, None, Outcome.OFFLINE),
        (SOLD_OFFLINE, NONE, Result.APPROVED, Outcome.OFFLINE_CHARGED),
        (SOLD_OFFLINE, NONE, Result.DECLINED, Outcome.OFFLINE_NOT_CHARGED),
        (SOLD_OFFLINE, PART, Result.APPROVED, Outcome.REFUNDED_IN_PART),
        (SOLD_OFFLINE, PAID, Result.APPROVED, Outcome.REFUNDED_IN_FULL),
        (Answer(Result.DECLINED), NONE, None, Outcome.DECLINED),
        (Answer(Result.REVERSED), NONE, None, Outcome.REVERSED),
        (Answer(Result.PENDING), NONE, None, Outcome.NOT_FINAL),
    ],
)
def test_what_became_of_a_payment_is_said_when_it_is_told_again(
    answer: Answer, refunded: Money, advice: Result | None, now: Outcome
) -> None:
    assert became(answer, PAID, refunded=refunded, advice=advice) is now


def test_the_acquirers_masked_name_comes_before_the_kiosks() -> None:
    answer = Answer(Result.APPROVED, masked_payer="W*** M**")
    receipt = Receipt.of(
        ORDER, "ref", answer, terminal_id="T-1", mode="demo", when=WHEN, masked_payer="*ming"
    )
    assert receipt.masked_payer == "W*** M**"


def test_fields_that_are_empty_take_no_line() -> None:
    assert "Approval" not in render(replace(RECEIPT, approval=""))


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        replace(RECEIPT, when=datetime(2026, 11, 25))  # noqa: DTZ001 - that is what is refused


def test_a_code_leaves_out_who_provides_before_it_leaves_out_the_names() -> None:
    text = for_qr(
        replace(RECEIPT, provider="提" * 128, licence="证" * 128, payee="店" * 70, masked_payer="*明")
    )
    assert "*明" in text
    assert "提" not in text


def test_a_code_of_the_longest_names_still_says_what_was_paid_when_and_where() -> None:
    long = replace(
        RECEIPT, mode="training", payee="店" * 70, order_ref="单" * 128, masked_payer="明" * 128, copy=True
    )
    lines = for_qr(long).splitlines()
    assert lines == [
        "*** TRAINING: NOTHING REAL IS CHARGED ***",
        "PAYMENT APPROVED",
        "* COPY *",
        "TOTAL: ¥ 38.50",
        "Time: 2026-11-25 16:00:03 +08:00",
        "Terminal: T-1",
        f"Attempt: {RECEIPT.ref}",
    ]


def test_a_total_that_differs_is_marked() -> None:
    assert [line for line in render_close(UNBALANCED).splitlines() if line.endswith("!")] != []
    assert [line for line in render_close(CLOSE).splitlines() if line.endswith("!")] == []
