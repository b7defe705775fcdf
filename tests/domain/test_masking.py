"""Masked names and accounts: a bystander learns neither who it is nor how long the name is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain.masking import mask_account, mask_name


@pytest.mark.parametrize(
    ("name", "masked"),
    [
        ("王小明", "*小明"),
        ("王", "*"),
        ("김민준", "*민준"),
        ("Ada", "A**"),
        ("Ada Lovelace", "A** L***"),
        ("Ada King Lovelace", "A** L***"),
        ("  Ada\tLovelace\n", "A** L***"),
        ("", "*"),
        (" \x00\n", "*"),
    ],
)
def test_a_name_keeps_what_its_owner_knows_it_by(name: str, masked: str) -> None:
    assert mask_name(name) == masked


@given(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=30))
def test_the_length_of_a_latin_name_is_not_told(name: str) -> None:
    assert mask_name(name) == f"{name[0]}**"


@given(st.text(max_size=40))
def test_a_masked_text_is_one_printable_line(text: str) -> None:
    assert mask_name(text).isprintable()
    assert mask_account(text).isprintable()


@pytest.mark.parametrize(
    ("account", "masked"),
    [
        ("6222020200112233", "•••• 2233"),
        ("6222 0202 0011 2233", "•••• 2233"),
        ("1234567", "••••"),
        ("", "••••"),
    ],
)
def test_an_account_shows_its_last_four_only_when_there_is_enough_before_them(
    account: str, masked: str
) -> None:
    assert mask_account(account) == masked
