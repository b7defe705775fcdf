"""The hash chain: nothing can be cut out, changed or moved unseen."""

from __future__ import annotations

import hashlib
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain.chain import GENESIS, link

ENTRIES = st.lists(st.binary(max_size=30), min_size=1, max_size=8)


def head(entries: list[bytes]) -> str:
    return list(accumulate(entries, link, initial=GENESIS))[-1]


def test_a_link_is_sha_256_over_the_previous_hash_the_length_and_the_entry() -> None:
    expected = hashlib.sha256(bytes(32) + (3).to_bytes(8, "big") + b"abc").hexdigest()
    assert link(GENESIS, b"abc") == expected


@given(ENTRIES, st.data())
def test_changing_or_cutting_out_an_entry_changes_the_head(entries: list[bytes], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(entries) - 1))
    changed = [*entries[:place], entries[place] + b"!", *entries[place + 1 :]]
    assert head(changed) != head(entries)
    assert head(entries[:place] + entries[place + 1 :]) != head(entries)


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_where_one_entry_ends_and_the_next_begins_is_part_of_it(one: bytes, other: bytes) -> None:
    assert head([one, other]) != head([one + other])


@pytest.mark.parametrize("previous", ["", "00", "g" * 64])
def test_only_a_hash_can_be_a_predecessor(previous: str) -> None:
    with pytest.raises(ValueError, match=r"hash|hex"):
        link(previous, b"entry")
