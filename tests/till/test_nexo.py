"""nexo's words as strict JSON: requests as they were said, or a rejection in words, never an exception."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain.errors import ProtocolError
from kiosk.domain.money import Money
from kiosk.domain.till import (
    Abort,
    Answered,
    AskStatus,
    Diagnose,
    News,
    OpenPayment,
    Outcome,
    Rejected,
    Request,
    Told,
)
from kiosk.till.channel import MAX_BODY_BYTES, Channel
from kiosk.till.nexo import KioskSession, LoggedIn, TillSession

from .strategies import ends, requests

NOW_S = 1_795_564_800.0
PAY = OpenPayment("1", "A-1", Money(3850, "CNY"))


def logged_in() -> tuple[TillSession, KioskSession]:
    till, kiosk = TillSession("TILL-1"), KioskSession("T-1", "1.0")
    answer = kiosk.read(till.login("0"), NOW_S)
    assert isinstance(answer, bytes)
    assert till.read(answer) == LoggedIn("T-1")
    return till, kiosk


def as_json(body: bytes) -> Any:
    return json.loads(body)


@given(requests)
def test_a_request_comes_out_as_it_went_in(request: Request) -> None:
    till, kiosk = logged_in()
    assert kiosk.read(till.write(request), NOW_S) == request


@given(requests, ends)
def test_an_answer_comes_out_as_it_went_in(request: Request, told: Told) -> None:
    till, kiosk = logged_in()
    body = kiosk.answer(request, told)
    assert len(body) < MAX_BODY_BYTES
    answer = till.read(body)
    assert isinstance(answer, Answered)
    assert answer.id == request.id
    if isinstance(request, OpenPayment | AskStatus):
        assert answer.told == told
    else:
        assert (answer.told.outcome, answer.told.code) == (told.outcome, told.code)


@given(ends)
def test_news_come_out_as_they_went_in(told: Told) -> None:
    till, kiosk = logged_in()
    assert till.read(kiosk.notify(told, NOW_S)) == News(told)


def test_what_is_not_final_is_an_event_that_names_its_order() -> None:
    till, kiosk = logged_in()
    body = kiosk.notify(Told(Outcome.NOT_FINAL, "A 1&b"), NOW_S)
    event = as_json(body)["SaleToPOIRequest"]["EventNotification"]
    assert event["EventToNotify"] == "InProgress"
    assert till.read(body) == News(Told(Outcome.NOT_FINAL, "A 1&b"))


@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_what_charged_something_is_a_success(outcome: Outcome) -> None:
    _, kiosk = logged_in()
    response = as_json(kiosk.answer(PAY, Told(outcome, "A-1")))["SaleToPOIResponse"]["PaymentResponse"]
    success = outcome in (Outcome.APPROVED, Outcome.READY)
    assert response["Response"]["Result"] == ("Success" if success else "Failure")
    assert ("ErrorCondition" in response["Response"]) is not success


def test_an_abort_succeeds_only_where_nothing_can_be_charged_any_more() -> None:
    _, kiosk = logged_in()
    said = {
        outcome: as_json(kiosk.answer(Abort("1", "A"), Told(outcome)))["SaleToPOIResponse"]["AbortResponse"][
            "Response"
        ]["Result"]
        for outcome in Outcome
    }
    assert [outcome for outcome, result in said.items() if result == "Success"] == [
        Outcome.RETURNED,
        Outcome.ABORTED,
    ]


def test_the_acquirer_that_was_not_reached_has_nexo_s_word() -> None:
    _, kiosk = logged_in()
    body = kiosk.answer(PAY, Told(Outcome.DECLINED, "A-1", code="not_sent"))
    response = as_json(body)["SaleToPOIResponse"]["PaymentResponse"]["Response"]
    assert response["ErrorCondition"] == "UnreachableHost"


def rejection(kiosk: KioskSession, body: bytes) -> str:
    """Why it was no request."""
    said = kiosk.read(body, NOW_S)
    assert isinstance(said, bytes), said
    rejected = TillSession("TILL-1").read(said)
    assert isinstance(rejected, Rejected)
    assert rejected.why
    return rejected.why


@given(
    st.one_of(
        st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))
    )
)
def test_any_bytes_are_rejected_in_words(noise: bytes) -> None:
    rejection(logged_in()[1], noise)


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.just([]), st.just({})
)


@given(requests, st.data())
def test_a_message_with_one_other_value_is_a_request_or_rejected(
    request: Request, data: st.DataObject
) -> None:
    till, kiosk = logged_in()
    message = as_json(till.write(request))
    place, path = message, []
    while isinstance(place, dict) and place:
        key = data.draw(st.sampled_from(sorted(place)))
        path.append((place, key))
        if data.draw(st.booleans()):
            break
        place = place[key]
    holder, key = path[-1]
    match data.draw(st.sampled_from(["replace", "remove", "add"])):
        case "replace":
            holder[key] = data.draw(leaves)
        case "remove":
            del holder[key]
        case _:
            holder[data.draw(st.text(max_size=9))] = data.draw(leaves)
    said = kiosk.read(json.dumps(message).encode(), NOW_S)
    if isinstance(said, bytes):
        TillSession("TILL-1").read(said)


@given(st.one_of(st.binary(max_size=200), ends.map(lambda told: logged_in()[1].answer(PAY, told))), st.data())
def test_a_till_reads_anything_and_at_worst_says_that_it_is_no_kiosk(
    body: bytes, data: st.DataObject
) -> None:
    if body:
        at = data.draw(st.integers(0, len(body) - 1))
        body = body[:at] + data.draw(st.binary(max_size=3)) + body[at + 1 :]
    with suppress(ProtocolError):
        TillSession("TILL-1").read(body)


def edited(request: Request, old: bytes, new: bytes) -> bytes:
    body = logged_in()[0].write(request)
    assert old in body
    return body.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"38.50", b"38.505"),
        (b"38.50", b"-38.50"),
        (b"38.50", b"0"),
        (b"38.50", b"1e400"),
        (b"38.50", b'"NaN"'),
        (b"38.50", b"9999999999999"),
        (b'"CNY"', b'"XXX"'),
        (b'"A-1"', b'"A 1"'),
        (b'"A-1"', b'"' + b"x" * 65 + b'"'),
        (b'"ServiceID":"1"', b'"ServiceID":""'),
        (b'"ServiceID":"1"', b'"ServiceID":"\\ud800"'),
        (b'"MessageClass":"Service"', b'"MessageClass":"Event"'),
        (b'"MessageType":"Request"', b'"MessageType":"Response"'),
        (b'"MessageCategory":"Payment"', b'"MessageCategory":"Reversal"'),
        (b'"PaymentRequest"', b'"ReversalRequest"'),
        (b'"PaymentTransaction"', b'"TipAmount":1,"PaymentTransaction"'),
        (b'{"SaleToPOIRequest"', b'{"SaleToPOIResponse":null,"SaleToPOIRequest"'),
    ],
)
def test_what_is_no_payment_of_this_link_is_rejected(old: bytes, new: bytes) -> None:
    body = edited(PAY, old, new)
    if b":null" in new:  # says nothing, and so changes nothing
        assert logged_in()[1].read(body, NOW_S) == PAY
    else:
        rejection(logged_in()[1], body)


@pytest.mark.parametrize("amount", [b"38.5", b"38.50", b'"38.50"'])
def test_an_amount_is_exact_however_it_is_written(amount: bytes) -> None:
    assert logged_in()[1].read(edited(PAY, b"38.50", amount), NOW_S) == PAY


def test_a_message_of_both_kinds_or_a_response_is_no_request() -> None:
    till, kiosk = logged_in()
    request = as_json(till.write(PAY))
    response = as_json(kiosk.answer(PAY, Told(Outcome.BUSY, "A-1")))
    assert "not one" in rejection(kiosk, json.dumps(request | response).encode())
    assert "not one" in rejection(kiosk, b"{}")
    assert "class Service" in rejection(kiosk, json.dumps(response).encode())
    with pytest.raises(ProtocolError, match="asks nothing"):
        till.read(till.write(PAY))


def test_who_has_not_logged_in_is_told_so_until_they_have_and_again_after_logout() -> None:
    till, kiosk = TillSession("TILL-1"), KioskSession("T-1", "1.0")
    assert "LoggedOut" in rejection(kiosk, till.write(PAY))
    assert isinstance(kiosk.read(till.login("0"), NOW_S), bytes)
    assert kiosk.sale_id == "TILL-1"
    assert kiosk.read(till.write(PAY), NOW_S) == PAY
    assert "LoggedOut" in rejection(kiosk, TillSession("TILL-2").write(PAY))
    goodbye = kiosk.read(till.logout("9"), NOW_S)
    assert isinstance(goodbye, bytes)
    assert till.read(goodbye) is None
    assert "LoggedOut" in rejection(kiosk, till.write(PAY))


def test_an_outcome_of_a_later_release_or_a_broken_amount_is_no_kiosk_s_word() -> None:
    till, kiosk = logged_in()
    told = Told(Outcome.APPROVED, "A-1", Money(3850, "CNY"))
    for old, new in ((b"outcome=approved", b"outcome=teleported"), (b"38.50", b"38.505")):
        with pytest.raises(ProtocolError):
            till.read(kiosk.answer(PAY, told).replace(old, new))


def test_readiness_has_nexo_s_words() -> None:
    _, kiosk = logged_in()
    for outcome, word in (
        (Outcome.READY, "OK"),
        (Outcome.BUSY, "Busy"),
        (Outcome.OUT_OF_ORDER, "Maintenance"),
    ):
        body = kiosk.answer(Diagnose("1"), Told(outcome))
        assert as_json(body)["SaleToPOIResponse"]["DiagnosisResponse"]["POIStatus"] == {"GlobalStatus": word}


def test_the_worked_example_of_the_guide() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "till.md").read_text()
    till = Channel(bytes(range(32)), "till", b"\x11" * 16)
    kiosk = Channel(bytes(range(32)), "kiosk", b"\x22" * 16)
    assert list(till.feed(kiosk.greeting)) == []
    session = TillSession("TILL-1")
    for body in (session.login("1"), session.write(OpenPayment("2", "A-1", Money(3850, "CNY")))):
        frame = till.seal(body)
        assert body.decode() in guide
        assert frame[-32:].hex() in guide
        assert f"length {len(body)} + 32 = {frame[:4].hex(' ').upper()}" in guide
