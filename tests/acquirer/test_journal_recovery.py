"""Damaged journals: noticed, never believed, and made anew with everything that can be read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kiosk.acquirer import journal_recovery
from kiosk.acquirer.journal import Journal, JournalHalted
from kiosk.acquirer.journal_carve import Carved, carve
from kiosk.acquirer.journal_chain import Gap, sha256
from kiosk.acquirer.journal_recovery import is_whole, mend
from kiosk.domain.errors import OperatorError
from kiosk.domain.payment import Result

from .journals import (
    APPROVED,
    OFFLINE,
    REVERSED,
    TODAY,
    UNGUARDED,
    a_refund,
    a_task,
    of_schema_1,
    opened_attempt,
    paid,
    raw,
    with_pin,
)
from .parts import a_reversal, an_effect

PAGE = 4096


def fill(path, payments=40):
    """A journal with everything in it; what each entry says, by number."""
    with Journal(path) as journal:
        for number in range(payments):
            effect, _ = opened_attempt(journal, with_pin(f"PIN{number}") if number % 7 == 3 else None)
            if number % 5 == 1:
                journal.open_reversal(effect.ref, a_reversal(effect, journal.next_sequence()))
                journal.conclude(effect.ref, REVERSED)
            elif number % 5 == 2:
                journal.conclude_offline(effect.ref, a_task("advice", effect.ref), OFFLINE, day=TODAY)
            elif number % 5 != 4:
                journal.conclude(effect.ref, APPROVED)
            if number % 8 == 0:
                exchange = a_refund(journal, effect)
                journal.open_task(exchange, effect.order, day=TODAY, minor=100)
                journal.conclude_task(exchange.idempotency_key, "approved", b"{}")
        journal.open_task(a_task("reconciliation", body=b"[" + b"1," * 6_000 + b"1]"), None, day=TODAY)
        return {entry["seq"]: entry for entry in journal.entries()}


class Filled(tuple[Path, dict[int, dict[str, Any]]]):
    """Path and entries; a failing example is no list of them."""

    __slots__ = ()

    def __repr__(self):
        return "Filled"


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """The file of a full journal, its mark, and its entries."""
    path = tmp_path_factory.mktemp("filled") / "journal.sqlite"
    return Filled((path, fill(path)))


@pytest.fixture
def path(filled, tmp_path):
    for name in ("journal.sqlite", "journal.sqlite.mark"):
        shutil.copy(filled[0].with_name(name), tmp_path / name)
    return tmp_path / "journal.sqlite"


@pytest.fixture
def entries(filled):
    return filled[1]


def entries_in(path):
    with Journal(path) as journal:
        return {entry["seq"]: entry for entry in journal.entries()}


def page_of(path, number):
    return path.read_bytes()[(number - 1) * PAGE : number * PAGE]


def damage(path, at, content):
    old = bytearray(path.read_bytes())
    old[at : at + len(content)] = content
    path.write_bytes(old)


# --- what is sound --------------------------------------------------------------------------------------


def test_a_sound_journal_is_read_whole_from_its_pages(path, entries):
    assert is_whole(path)
    found = carve(path.read_bytes())
    assert {seq: rows[0] for seq, rows in found.entries.items()} == entries
    with Journal(path) as journal:
        wanted = {row["body"] for row in journal._rows("SELECT body FROM bodies")}
    assert wanted <= set(found.bodies.values())


def test_entries_that_are_only_in_the_log_are_read_too(tmp_path):
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    effects = [paid(journal) for _ in range(5)]
    found = carve(path.read_bytes(), path.with_name("journal.sqlite-wal").read_bytes())
    assert len(found.entries) == 10
    copy = tmp_path / "killed"
    copy.mkdir()
    for file in tmp_path.glob("journal.sqlite*"):
        shutil.copy(file, copy)
    journal.close()
    damage(copy / "journal.sqlite", 0, bytes(PAGE))
    assert mend(copy / "journal.sqlite").saved == 10
    with Journal(copy / "journal.sqlite") as again:
        assert {entry.ref for entry in again.payments()} == {effect.ref for effect in effects}


# --- every page -----------------------------------------------------------------------------------------


def pages(path):
    return range(1, path.stat().st_size // PAGE + 1)


@pytest.mark.parametrize("content", [bytes(PAGE), b"\xa5" * PAGE], ids=["zeroed", "noise"])
def test_whichever_page_is_lost_the_entries_of_all_others_are_saved(filled, tmp_path, content):
    source, entries = filled
    whole = carve(source.read_bytes())
    for number in pages(source):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        path = folder / "journal.sqlite"
        for name in ("journal.sqlite", "journal.sqlite.mark"):
            shutil.copy(source.with_name(name), folder / name)
        here = Carved()
        journal_carve_page(page_of(source, number), number, here)
        damage(path, (number - 1) * PAGE, content)
        if is_whole(path):  # a page that nothing is on
            assert {seq: row for seq, row in entries_in(path).items() if seq in entries} == entries
            continue
        mended = mend(path)
        found = entries_in(path)
        lost = set(entries) - set(found)
        # A reversal whose body was on the page is asked for anew: its entry goes with its body.
        assert {seq for seq in lost if entries[seq]["kind"] != "reversal"} <= set(here.entries)
        assert all(found[seq] == entries[seq] for seq in found if seq in entries)
        assert mended.kept.exists()
    assert len(whole.entries) == len(entries)


def journal_carve_page(page, number, found):
    from kiosk.acquirer.journal_carve import _read_leaf

    _read_leaf(number, page, {}, found)


WHERE = st.integers(0, 2**32 - 1)
HURT = st.lists(
    st.one_of(st.tuples(WHERE, st.integers(1, 255)), st.tuples(WHERE, st.none())), min_size=1, max_size=4
)


@settings(max_examples=60, deadline=None)
@given(HURT)
def test_random_damage_is_never_believed_and_no_readable_entry_is_lost(filled, tmp_path_factory, hurt):
    """A byte somewhere takes another value, a page somewhere becomes zeros; up to four of these."""
    source, entries = filled
    folder = tmp_path_factory.mktemp("hurt")
    path = folder / "journal.sqlite"
    for name in ("journal.sqlite", "journal.sqlite.mark"):
        shutil.copy(source.with_name(name), folder / name)
    content = bytearray(source.read_bytes())
    touched = set()
    for where, change in hurt:
        at = where % len(content)
        if change is None:
            at -= at % PAGE
            content[at : at + PAGE] = bytes(PAGE)
        else:
            content[at] ^= change
        touched.add(at // PAGE + 1)
    path.write_bytes(content)
    if is_whole(path):
        with Journal(path, read_only=True) as journal:
            told = {entry["seq"]: entry for entry in journal.entries()}
        assert {seq: row for seq, row in told.items() if seq in entries} == entries
        return
    readable = Carved()
    for number in set(pages(source)) - touched:
        journal_carve_page(page_of(source, number), number, readable)
    mend(path)
    found = entries_in(path)
    missing = {seq for seq in readable.entries if seq not in found}
    assert {entries[seq]["kind"] for seq in missing} <= {"reversal"}
    assert all(found[seq] == entries[seq] for seq in found if seq in entries)
    with Journal(path) as journal:
        assert journal.verify() is None
        assert journal.halted == "recovering"
        journal.payments(1_000)
        journal.open_attempts()
        journal.open_tasks()
        journal.bookings(TODAY.toordinal())


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=20_000), st.binary(max_size=9_000))
@example(b"", b"")
@example(bytes([0x0D, 0, 0, 0xFF, 0xFF]) + b"\x81" * 5_000, b"")
def test_any_bytes_are_read_without_a_crash_and_hold_no_entry(file, log):
    assert carve(file, log).entries == {}


# --- what comes of it -----------------------------------------------------------------------------------


def test_what_is_lost_is_named_in_the_chain_and_the_damaged_file_is_kept(tmp_path):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        first, second, third = (paid(journal) for _ in range(3))
        used = journal.next_sequence()
    raw(
        path,
        *UNGUARDED,
        "DELETE FROM entries WHERE seq IN (3, 6)",
        "UPDATE entries SET minor = 9 WHERE seq = 1",
    )
    damaged = path.read_bytes()
    assert not is_whole(path)
    mended = mend(path, now=lambda: 1_795_600_800.0)
    assert (mended.saved, mended.gaps, mended.bodies) == (3, (Gap(1, 1), Gap(3, 3), Gap(6, 6)), ())
    assert mended.kept.name == "journal.sqlite.damaged-20261125T100000Z"
    assert mended.kept.read_bytes() == damaged
    for _ in range(2):
        with Journal(path) as journal:
            assert journal.chain().gaps == mended.gaps
            assert journal.halted == "recovering"
            assert journal.next_sequence() >= used + 1_000_000
            assert journal.payment(first.ref).answer == APPROVED, "its end says what it was"
            assert journal.payment(second.ref).answer == APPROVED
            assert journal.payment(third.ref).answer is None, "its end is lost: it is asked about"
            with pytest.raises(JournalHalted):
                opened_attempt(journal)
    with Journal(path) as journal:
        journal.conclude(third.ref, APPROVED)
        journal.resume()
        paid(journal)
    # And damaged once more: the gaps of the first time are still named.
    raw(path, *UNGUARDED, "DELETE FROM entries WHERE seq = 2")
    assert mend(path, now=lambda: 1_795_600_801.0).gaps[0] == Gap(1, 3)
    with Journal(path) as journal:
        assert journal.verify() is None


def test_a_tail_that_the_mark_knows_of_is_a_gap_too(tmp_path):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        for _ in range(3):
            paid(journal)
        last = journal.last_hash
    raw(path, *UNGUARDED, "DELETE FROM entries WHERE seq > 4", "DELETE FROM entries WHERE seq = 1")
    mended = mend(path)
    assert mended.gaps == (Gap(1, 1), Gap(5, 6))
    with Journal(path) as journal:
        entry = next(found for found in journal.entries() if found["seq"] == 7)
        assert (entry["kind"], entry["prev_hash"]) == ("recovered", last)


def test_lost_bodies_are_named_and_an_end_still_says_how_it_ended(tmp_path):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        done = paid(journal)
        effect, _ = opened_attempt(journal)
        journal.open_reversal(effect.ref, a_reversal(effect, journal.next_sequence()))
        exchange = a_refund(journal, done)
        journal.open_task(exchange, done.order, day=TODAY, minor=100)
    raw(path, *UNGUARDED, "DELETE FROM bodies")
    mended = mend(path)
    assert (mended.gaps, mended.bodies) == ((Gap(4, 4),), (2, 3, 5))
    with Journal(path) as journal:
        assert journal.payment(done.ref).answer.result is Result.APPROVED
        (attempt,) = journal.open_attempts()
        assert not attempt.reversing, "the reversal is asked for anew"
        assert journal.exchange(effect.ref, "payment") is None
        journal.open_reversal(effect.ref, a_reversal(effect, journal.next_sequence()))
        assert journal.verify() is None


def test_a_pin_that_lay_in_damaged_pages_is_not_brought_back(tmp_path):
    path = tmp_path / "journal.sqlite"
    final, waiting = with_pin("FINALSECRET"), with_pin("OPENSECRET")
    with Journal(path) as journal:
        opened_attempt(journal, final)
        opened_attempt(journal, waiting)
        older = (path.read_bytes(), path.with_name("journal.sqlite-wal").read_bytes())
        journal.conclude(final.ref, APPROVED)
    content = path.read_bytes()
    path.with_name("journal.sqlite-wal").write_bytes(older[1])
    damage(path, 0, b"x" * 100)
    mend(path)
    assert b"FINALSECRET" not in path.read_bytes()
    assert b"OPENSECRET" in path.read_bytes()
    with Journal(path) as journal:
        journal.conclude(waiting.ref, APPROVED)
    assert b"OPENSECRET" not in path.read_bytes()
    assert len(content) > 0


def test_a_damaged_file_of_schema_1_is_saved_into_one_of_this(tmp_path):
    path = tmp_path / "journal.sqlite"
    effects, _ = of_schema_1(path)
    raw(path, "DROP TRIGGER no_change", "UPDATE entries SET day = 'x' WHERE seq = 2")
    mended = mend(path)
    assert (mended.saved, mended.gaps) == (4, (Gap(2, 2),))
    with Journal(path) as journal:
        assert [attempt.ref for attempt in journal.open_attempts()] == [effect.ref for effect in effects]


def test_after_compaction_the_origin_is_found_again(tmp_path):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        paid(journal)
        journal.settle(TODAY.toordinal(), b"{}")
        journal.compact(TODAY.replace(day=30))
        paid(journal)
        origin = journal.origin()
    damage(path, 0, bytes(100))
    mended = mend(path)
    assert mended.gaps == ()
    with Journal(path) as journal:
        assert journal.origin() == origin
        assert journal.batch(TODAY) == TODAY.toordinal() + 1


def test_where_every_entry_is_lost_the_mark_says_how_many_there_were(path, entries):
    path.write_bytes(b"\xa5" * 50_000)
    mended = mend(path)
    assert (mended.saved, mended.gaps) == (0, (Gap(1, max(entries)),))
    with Journal(path) as journal:
        assert (journal.payments(), journal.halted, journal.verify()) == ([], "recovering", None)
        assert journal.next_sequence() > 1_000_000


def test_where_nothing_can_be_read_nothing_is_changed(tmp_path):
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"hello, I am a text file" * 400)
    before = path.read_bytes()
    assert not is_whole(path)
    with pytest.raises(OperatorError, match="no entry of it can be read"):
        mend(path)
    assert path.read_bytes() == before


def test_a_damaged_mark_of_the_release_is_damage_and_another_release_is_not(tmp_path):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        paid(journal)
    raw(path, "PRAGMA user_version = 77")
    assert not is_whole(path)
    assert mend(path).gaps == ()
    assert is_whole(path)
    raw(path, "PRAGMA user_version = 77", *UNGUARDED, "UPDATE entries SET form = 3")
    with pytest.raises(OperatorError, match="not a journal of this release"):
        is_whole(path)


def test_a_journal_that_is_in_use_or_not_there_is_not_mended(tmp_path):
    path = tmp_path / "journal.sqlite"
    with pytest.raises(OperatorError, match="can't be opened"):
        mend(path)
    with Journal(path), pytest.raises(OperatorError, match="another kiosk"):
        is_whole(path)


def test_a_disk_that_is_full_leaves_the_damaged_journal_in_its_place(path, monkeypatch):
    damage(path, 0, bytes(100))
    before = path.read_bytes()
    import sqlite3

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(journal_recovery, "insert", full)
        with pytest.raises(OperatorError, match="disk is full"):
            mend(path)
    assert path.read_bytes() == before
    assert mend(path).saved


@pytest.mark.parametrize("step", ["insert", "link", "unlink", "replace", "fsync"])
def test_stopped_at_any_step_the_next_run_saves_the_same(tmp_path, monkeypatch, step):
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    for _ in range(4):
        paid(journal)
    log = path.with_name("journal.sqlite-wal")
    in_log = log.read_bytes()
    journal.close()
    log.write_bytes(in_log)
    damage(path, 0, bytes(100))

    def stop(*_args, **_words):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        match step:
            case "insert":
                patch.setattr(journal_recovery, "insert", stop)
            case "link" | "fsync":
                patch.setattr(journal_recovery.os, step, stop)
            case "replace":
                patch.setattr(Path, "replace", stop)
            case "unlink":
                real = Path.unlink

                def unlink(file, missing_ok=False):
                    if file.name.endswith("-shm"):
                        raise KeyboardInterrupt
                    real(file, missing_ok=missing_ok)

                patch.setattr(Path, "unlink", unlink)
        with pytest.raises(KeyboardInterrupt):
            mend(path, now=lambda: 1_795_600_800.0)
    if step != "fsync":
        assert mend(path, now=lambda: 1_795_600_900.0).saved == 8
    with Journal(path) as again:
        assert len(again.payments()) == 4
        assert again.verify() is None
        assert again.chain().gaps == ()
    kept = [file for file in tmp_path.iterdir() if "damaged" in file.name]
    assert any(sha256(file.read_bytes()) == sha256(in_log) for file in kept)


def test_something_else_under_the_new_files_name_is_written_anew(path):
    damage(path, 0, bytes(100))
    path.with_name("journal.sqlite.mended").write_bytes(b"half of a file")
    assert mend(path).saved
    assert an_effect()


def test_a_new_file_whose_chain_is_broken_is_written_anew(path, tmp_path):
    other = tmp_path / "journal.sqlite.mended"
    with Journal(tmp_path / "x" / "journal.sqlite") as journal:
        paid(journal)
    shutil.copy(tmp_path / "x" / "journal.sqlite", other)
    raw(other, *UNGUARDED, "UPDATE entries SET minor = 1")
    damage(path, 0, bytes(100))
    assert mend(path).saved > 50


def a_page(number, *columns):
    """A table leaf with one cell: its row's number, and a record of these columns (kind, content)."""
    kinds, contents = b"".join(kind for kind, _ in columns), b"".join(content for _, content in columns)
    record = bytes([len(kinds) + 1]) + kinds + contents
    place = PAGE - len(record) - 2
    page = bytearray(PAGE)
    page[:10] = bytes([0x0D, 0, 0, 0, 1]) + place.to_bytes(2, "big") + b"\x00" + place.to_bytes(2, "big")
    page[place:] = bytes([len(record), number]) + record
    return bytes(page)


NULL = (b"\x00", b"")


@pytest.mark.parametrize(
    ("columns", "bodies"),
    [
        ((NULL, (b"\x12", b"abc"), (b"\x08", b"")), [b"abc"]),
        ((NULL, (b"\x12", b"abc"), (b"\x01", b"\x01")), [b"abc"]),
        ((NULL, (b"\x13", b"abc"), (b"\x08", b"")), []),  # a text
        ((NULL, (b"\x13", b"a\xff\xfe"), (b"\x08", b"")), []),  # no text
        ((NULL, (b"\x0a", b""), (b"\x08", b"")), []),  # a kind that is not used
        ((NULL, (b"\x12", b"abc")), []),  # of another table
        ((NULL, (b"\x12", b"abc"), (b"\x08", b"x")), []),  # longer than it says
        ((NULL, (b"\x81" * 8 + b"\x0c", b"abc"), (b"\x08", b"")), []),  # a number of nine bytes
    ],
)
def test_a_cell_is_read_as_the_format_says_or_not_at_all(columns, bodies):
    page = a_page(5, *columns)
    assert list(carve(bytes(PAGE) + page).bodies.values()) == bodies
    log = bytes(32) + b"".join(number.to_bytes(4, "big") + bytes(20) + page for number in (0, 7))
    assert list(carve(bytes(PAGE), log).bodies.values()) == bodies


def test_rows_of_two_tables_that_look_alike_are_told_apart():
    found = Carved()
    found.add(1, [None, "x"])
    assert (found.entries, found.bodies) == ({}, {})
