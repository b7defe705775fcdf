"""What an entry's hash covers, and what a third party needs to follow the chain."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.acquirer.journal import Journal
from kiosk.acquirer.journal_chain import Draft, Gap, exported, is_itself
from kiosk.acquirer.journal_file import checkpoint_of, note_of
from kiosk.domain.chain import GENESIS

from .journals import of_schema_1, paid


def follow_as_a_third_party(lines):
    """As `kiosk journal export --help` says, with nothing of ours."""
    last = GENESIS
    for line in lines:
        entry = json.loads(line)
        text = json.dumps(
            [entry[name] for name in entry["chained"]], separators=(",", ":"), ensure_ascii=False
        )
        body = text.encode()
        digest = hashlib.sha256(bytes.fromhex(entry["prev_hash"]) + len(body).to_bytes(8, "big") + body)
        assert entry["prev_hash"] == last
        assert entry["hash"] == digest.hexdigest()
        last = entry["hash"]
    return last


def test_an_export_without_tokens_verifies_with_a_few_lines_of_anything(tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        paid(journal, order_ref="Bestellung 7 für 'ü\"\\ 北京")
        lines = [json.dumps({**exported(entry), "token": "tok…"}) for entry in journal.entries()]
        assert follow_as_a_third_party(lines) == journal.last_hash


def test_entries_of_schema_1_name_other_columns_and_verify_with_them(tmp_path):
    of_schema_1(tmp_path / "journal.sqlite")
    with Journal(tmp_path / "journal.sqlite") as journal:
        paid(journal)
        entries = [exported(entry) for entry in journal.entries()]
        assert follow_as_a_third_party(map(json.dumps, entries)) == journal.last_hash
        assert "token" in entries[0]["chained"]
        assert "token" not in entries[-1]["chained"]


@pytest.mark.parametrize("name", ["prev_hash", "token", "day", "hash", "form"])
def test_an_entry_of_any_other_type_is_not_itself(tmp_path, name):
    of_schema_1(tmp_path / "journal.sqlite")
    with Journal(tmp_path / "journal.sqlite") as journal:
        paid(journal)
        for entry in journal.entries():
            assert is_itself(entry)
            assert not is_itself({**entry, name: "zz"})
            assert not is_itself({**entry, name: None})


@given(st.binary(max_size=200))
def test_notes_of_any_bytes_are_read_or_say_nothing(body):
    assert isinstance(note_of(body).gaps, tuple)
    assert len(checkpoint_of(body)) == 2


def test_a_note_says_what_it_says():
    assert note_of(b'{"gaps":[{"first":1,"last":2}]}').gaps == (Gap(1, 2),)
    assert checkpoint_of(b'{"first":1,"last":2,"hash":"ab","file":"f","sha256":"cd"}') == (2, "ab")
    assert Draft("halted", "x").frozen is None
