"""Frames with a tag: what comes out is what the other side said, in its order, or nothing more."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiosk.domain.errors import ProtocolError
from kiosk.till.channel import GREETING_BYTES, KEY_BYTES, MAX_BODY_BYTES, NONCE_BYTES, Channel

KEY = bytes(range(32))
bodies = st.lists(st.binary(max_size=80), min_size=1, max_size=5)


def pair(key: bytes = KEY, nonce: bytes = b"k" * NONCE_BYTES) -> tuple[Channel, Channel]:
    """A till and a kiosk that have greeted each other."""
    till, kiosk = Channel(KEY, "till", b"t" * NONCE_BYTES), Channel(key, "kiosk", nonce)
    assert list(till.feed(kiosk.greeting)) == []
    assert list(kiosk.feed(till.greeting)) == []
    return till, kiosk


def heard(channel: Channel, data: bytes) -> tuple[list[bytes], bool]:
    """What came out of it, and whether the connection is still worth something."""
    out: list[bytes] = []
    try:
        for body in channel.feed(data):
            out.append(body)
    except ProtocolError:
        return out, False
    return out, True


@given(bodies, st.lists(st.integers(0, 400), max_size=20))
def test_however_it_is_cut_the_same_bodies_come_out(said: list[bytes], cuts: list[int]) -> None:
    till, kiosk = pair()
    stream = b"".join(till.seal(body) for body in said)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    out = [body for a, b in pairwise(edges) for body in kiosk.feed(stream[a:b])]
    assert out == said
    assert not kiosk.unfinished


@given(bodies, st.data())
def test_whatever_is_changed_on_the_way_never_comes_out(said: list[bytes], data: st.DataObject) -> None:
    till, kiosk = pair()
    frames = [till.seal(body) for body in said]
    stream = b"".join(frames)
    at = data.draw(st.integers(0, len(stream) - 1))
    change = data.draw(st.sampled_from(["flip", "remove", "insert", "swap"]))
    if change == "flip":
        wrong = bytearray(stream)
        wrong[at] ^= data.draw(st.integers(1, 255))
    elif change == "remove":
        wrong = bytearray(stream[:at] + stream[at + data.draw(st.integers(1, 60)) :])
    elif change == "insert":
        wrong = bytearray(stream[:at] + data.draw(st.binary(min_size=1, max_size=60)) + stream[at:])
    else:
        wrong = bytearray(b"".join(reversed(frames)))
    out, _ = heard(kiosk, bytes(wrong))
    assert out == said[: len(out)]
    if bytes(wrong) != stream:
        assert len(out) < len(said) or change == "insert"


@given(st.binary(max_size=300))
def test_random_bytes_are_never_a_body(noise: bytes) -> None:
    assert heard(Channel(KEY, "kiosk", b"k" * NONCE_BYTES), noise)[0] == []
    assert heard(pair()[1], noise)[0] == []


@settings(max_examples=20)
@given(bodies)
def test_nothing_of_one_connection_is_worth_anything_on_another(said: list[bytes]) -> None:
    till, _ = pair()
    stream = b"".join(till.seal(body) for body in said)
    for stranger in (pair(key=bytes(32))[1], pair(nonce=b"n" * NONCE_BYTES)[1]):
        assert heard(stranger, stream) == ([], False)


def test_a_frame_again_or_back_to_its_sender_does_not_verify() -> None:
    till, kiosk = pair()
    frame = till.seal(b"once")
    assert heard(kiosk, frame) == ([b"once"], True)
    assert heard(kiosk, frame) == ([], False)
    till, kiosk = pair()
    assert heard(till, till.seal(b"mirror")) == ([], False)


@pytest.mark.parametrize("length", [0, 31, 32 + MAX_BODY_BYTES + 1, 2**32 - 1])
def test_a_length_that_no_frame_has_is_refused_before_its_bytes_come(length: int) -> None:
    assert heard(pair()[1], length.to_bytes(4, "big")) == ([], False)


def test_the_longest_and_the_shortest_body_pass() -> None:
    till, kiosk = pair()
    longest = b"x" * MAX_BODY_BYTES
    assert list(kiosk.feed(till.seal(longest) + till.seal(b""))) == [longest, b""]
    with pytest.raises(ValueError, match="more than a frame carries"):
        till.seal(longest + b"x")


def test_a_greeting_is_refused_at_its_first_wrong_byte_and_so_is_our_own() -> None:
    assert heard(Channel(KEY, "kiosk", bytes(16)), b"G") == ([], False)
    kiosk = Channel(KEY, "kiosk", bytes(16))
    assert not kiosk.ready
    assert heard(kiosk, kiosk.greeting[: GREETING_BYTES - 1]) == ([], True)
    assert kiosk.unfinished
    assert heard(kiosk, kiosk.greeting[-1:]) == ([], False)


@pytest.mark.parametrize(("key", "nonce"), [(KEY_BYTES - 1, NONCE_BYTES), (KEY_BYTES, NONCE_BYTES + 1)])
def test_keys_and_nonces_have_their_length(key: int, nonce: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        Channel(bytes(key), "till", bytes(nonce))
