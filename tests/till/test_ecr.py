"""The serial framing: whole and once, or not at all, whatever the line does."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kiosk.domain.errors import ProtocolError
from kiosk.domain.money import Money
from kiosk.domain.till import Answered, News, OpenPayment, Outcome, Request, Said, Told
from kiosk.till.ecr import (
    ACK_MS,
    BYTE_MS,
    MAX_PAYLOAD,
    MAX_WAITING,
    REPEAT_MS,
    RETRIES,
    Link,
    frame,
    lrc,
    read_request,
    read_said,
    write_request,
    write_said,
)

from .strategies import requests, said

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "till.md"
ENQ, ACK, NAK = b"\x05", b"\x06", b"\x15"
bodies = st.from_regex(r"[A-Z](\x1c[ -~]{0,12}){0,4}", fullmatch=True)


def test_the_worked_example_of_the_guide() -> None:
    """docs/till.md spells these bytes out."""
    link = Link()
    link.send(write_request(OpenPayment("7", "A-1", Money(3850, "CNY"))), 0)
    spelled = "02 30 31 50 1C 37 1C 41 2D 31 1C 33 38 35 30 1C 43 4E 59 03 62"
    assert link.take().hex(" ").upper() == spelled
    assert spelled in GUIDE.read_text()


def test_the_check_is_the_exclusive_or_of_payload_and_etx() -> None:
    assert lrc(b"\x31\x32\x03") == 0x00
    assert frame(b"12") == b"\x0212\x03\x00"


@given(st.binary(max_size=600))
def test_whatever_arrives_only_whole_frames_become_payloads(noise: bytes) -> None:
    link = Link()
    delivered = link.feed(noise, 0)
    whole = re.findall(rb"(?s)(?=\x02([\x1c\x20-\x7e]*)\x03(.))", noise)
    right = [payload for payload, check in whole if check[0] == lrc(payload + b"\x03")]
    assert all(any(payload.endswith(body.encode()) for payload in right) for body in delivered)
    assert link.take().count(ACK) >= len(delivered)


@given(st.binary(max_size=200), bodies)
def test_after_garbage_and_a_silence_a_frame_is_heard(noise: bytes, body: str) -> None:
    link = Link()
    link.feed(noise, 0)
    assert link.feed(frame(b"42" + body.encode()), BYTE_MS) == [body]


@given(st.binary(max_size=200), bodies)
def test_after_garbage_without_a_silence_the_second_try_is_heard_at_the_latest(
    noise: bytes, body: str
) -> None:
    link, whole = Link(), frame(b"42" + body.encode())
    link.feed(noise, 0)
    assert link.feed(whole, 1) + link.feed(whole, ACK_MS) == [body]


@given(bodies, st.data())
def test_no_single_wrong_byte_passes(body: str, data: st.DataObject) -> None:
    whole = bytearray(frame(b"42" + body.encode()))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    assert Link().feed(bytes(whole), 0) == []


@given(st.lists(bodies, min_size=1, max_size=4, unique=True), st.data())
def test_over_a_line_that_loses_and_alters_bytes_each_payload_arrives_once_or_is_given_up(
    sent: list[str], data: st.DataObject
) -> None:
    """At most one byte of what crosses at once is lost or altered; ACK never becomes of anything else."""
    one, other, now = Link(115200), Link(115200), 0
    delivered: list[str] = []
    for body in sent:
        one.send(body, now)

    def across(bytes_: bytes) -> bytes:
        hurt = data.draw(st.sampled_from(["none", "none", "lose", "alter"])) if bytes_ else "none"
        if hurt == "none":
            return bytes_
        at = data.draw(st.integers(0, len(bytes_) - 1))
        rest = b"" if hurt == "lose" else bytes([bytes_[at] ^ 0x40])
        return bytes_[:at] + rest + bytes_[at + 1 :]

    for _ in range(len(sent) * (RETRIES + 1) * 3):
        delivered += other.feed(across(one.take()), now)
        one.feed(across(other.take()), now)
        now += ACK_MS
        one.tick(now)
        other.tick(now)
    assert one.idle
    assert delivered == [body for body in sent if body in delivered]
    if not one.given_up:
        assert delivered == sent


@pytest.mark.parametrize("control", [ENQ, ACK, NAK])
def test_the_check_byte_of_a_frame_whose_beginning_was_lost_is_no_control(control: bytes) -> None:
    """One with ENQ was answered with ACK, so that its sender took it for delivered."""
    texts = (f"N\x1c{one}{chr(other)}" for one in "abcdefghijkl" for other in range(0x20, 0x7F))
    body = next(text for text in texts if frame(b"01" + text.encode()).endswith(control))
    one, other = Link(), Link()
    one.send(body, 0)
    other.send("first", 0)
    other.take()
    assert other.feed(one.take()[1:], 1) == []
    assert other.take() == b""
    assert not other.idle
    one.tick(2 * ACK_MS)
    assert other.feed(one.take(), 2 * ACK_MS) == [body]


def test_a_repeat_is_dropped_for_as_long_as_it_can_be_one() -> None:
    link, whole = Link(), frame(b"07P")
    assert link.feed(whole, 0) == ["P"]
    assert link.feed(whole, REPEAT_MS - 1) == []
    assert link.feed(whole, 2 * REPEAT_MS) == ["P"], "the till has begun anew"
    assert link.feed(frame(b"07Q"), 2 * REPEAT_MS) == ["Q"]
    assert link.feed(ENQ + frame(b"07Q"), 2 * REPEAT_MS) == ["Q"]


def test_sequences_count_to_99_and_begin_again() -> None:
    link, sequences = Link(), []
    for _ in range(100):
        link.send("P", 0)
        sequences.append(link.take()[1:3])
        link.feed(ACK, 0)
    assert sequences[0] == sequences[99] == b"01"
    assert sequences[98] == b"99"


def test_silence_costs_four_tries_and_then_what_waits_behind_it() -> None:
    link, tries, now = Link(), 0, 0
    link.send("A", now)
    link.send("B", now)
    for _ in range(100):
        tries += link.take().count(b"\x02")
        now += 250
        link.tick(now)
    assert (tries, link.given_up, link.idle) == (RETRIES + 1, 1, True)
    assert now > (RETRIES + 1) * ACK_MS
    link.send("C", now)
    assert link.take() == frame(b"02C")


def test_a_storm_of_nak_costs_no_more_than_silence() -> None:
    link = Link()
    link.send("A", 0)
    link.feed(NAK * 1000, 0)
    assert link.take().count(b"\x02") == RETRIES + 1
    assert (link.given_up, link.idle) == (1, True)
    link.feed(NAK * 1000 + ACK * 1000, 0)
    assert link.take() == b""


def test_a_slow_line_has_time_for_its_frame_before_the_acknowledgement_is_due() -> None:
    link = Link(1200)
    link.send("P" + "\x1cx" * 300, 0)
    sent = link.take()
    on_the_line_ms = len(sent) * 10_000 // 1200
    link.tick(on_the_line_ms + ACK_MS - 10)
    assert link.take() == b""
    link.tick(on_the_line_ms + ACK_MS + 10)
    assert link.take() == sent


def test_how_much_may_wait_is_bounded() -> None:
    link = Link()
    for number in range(3 * MAX_WAITING):
        link.send(f"P\x1c{number}", 0)
    sent = 0
    while link.take():
        sent += 1
        link.feed(ACK, 0)
    assert sent == MAX_WAITING + 1


def test_a_frame_longer_than_any_is_refused_while_it_comes() -> None:
    link = Link()
    assert link.feed(b"\x02" + b"x" * (MAX_PAYLOAD + 1), 0) == []
    assert link.take() == NAK
    assert link.feed(frame(b"01" + b"P" + b"\x1c" + b"x" * (MAX_PAYLOAD - 4)), 0) != []


def test_both_sides_may_send_at_once() -> None:
    one, other = Link(), Link()
    one.send("P", 0)
    other.send("R", 0)
    assert other.feed(one.take(), 0) == ["P"]
    assert one.feed(other.take(), 0) == ["R"]
    other.feed(one.take(), 0)
    assert (one.idle, other.idle) == (True, True)


def test_after_a_reset_nothing_of_the_old_line_is_left() -> None:
    link = Link()
    link.feed(b"\x02half", 0)
    link.send("P", 0)
    link.send("P", 0)
    link.reset()
    assert (link.take(), link.idle) == (b"", True)


# --- fields ---


@given(requests)
def test_a_request_comes_out_as_it_went_in(request: Request) -> None:
    body = write_request(request)
    assert len(body) + 2 <= MAX_PAYLOAD
    assert Link().feed(frame(b"01" + body.encode("ascii")), 0) == [body]
    assert read_request(body) == request


@given(said)
def test_what_the_kiosk_says_comes_out_as_it_went_in(words: Said) -> None:
    assume(len(write_said(words)) < MAX_PAYLOAD - 2)
    body = write_said(words)
    assert Link().feed(frame(b"01" + body.encode("ascii")), 0) == [body]
    assert read_said(body) == words


@given(st.one_of(st.text(), bodies, st.from_regex(r"[PASDRNE](\x1c[ -~]{0,5}){0,12}", fullmatch=True)))
def test_any_text_is_a_request_or_refused_in_words(body: str) -> None:
    for read in (read_request, read_said):
        with suppress(ProtocolError):
            read(body)


@pytest.mark.parametrize(
    "body",
    [
        "P\x1c1\x1cA\x1c0\x1cCNY",
        "P\x1c1\x1cA\x1c-1\x1cCNY",
        "P\x1c1\x1cA\x1c1\x1cXXX",
        "P\x1c1\x1c \x1c1\x1cCNY",
        "P\x1c1\x1c%FF\x1c1\x1cCNY",
        "P\x1c\x1cA\x1c1\x1cCNY",
        "P\x1c1\x1cA\x1c٣\x1cCNY",
        "P",
        "",
        "Z\x1c1",
    ],
)
def test_what_is_no_payment_is_refused(body: str) -> None:
    with pytest.raises(ProtocolError):
        read_request(body)


def test_an_outcome_of_a_later_release_is_refused() -> None:
    with pytest.raises(ProtocolError, match="does not know"):
        read_said("N" + "\x1cteleported" + "\x1c" * 11)


def test_a_long_receipt_fits_a_frame_and_one_that_does_not_is_left_out() -> None:
    told = Told(Outcome.APPROVED, "A" * 64, Money(1, "CNY"), "ref", receipt=("街" * 21,) * 40)
    assert read_said(write_said(Answered("x" * 35, told))) == Answered("x" * 35, told)
    longer = replace(told, receipt=told.receipt * 2)
    assert read_said(write_said(Answered("1", longer))) == Answered("1", replace(told, receipt=()))
    assert read_said(write_said(News(longer))) == News(replace(told, receipt=()))
