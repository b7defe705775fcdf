"""What the disk does: it fills up, an older copy comes back, a PIN has to be gone, a file is of schema 1."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.acquirer.journal import Journal, JournalHalted
from kiosk.acquirer.journal_file import Damaged
from kiosk.acquirer.journal_guard import RESERVE_BYTES, Mark, Reserve
from kiosk.domain.errors import OperatorError

from .journals import (
    APPROVED,
    DECLINED,
    REVERSED,
    TODAY,
    UNGUARDED,
    a_refund,
    of_schema_1,
    opened_attempt,
    paid,
    raw,
    with_pin,
)
from .parts import a_reversal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


# --- a full disk ----------------------------------------------------------------------------------------


class FullDisk:
    """A disk with as many pages as the journal takes, and more when the reserve is given up."""

    def __init__(self, journal, monkeypatch):
        self.journal, release = journal, Reserve.release
        (self.pages,) = journal._db.execute("PRAGMA page_count").fetchone()
        self._limit(self.pages)

        def released(reserve: Reserve) -> bool:
            self._limit(self.pages + RESERVE_BYTES // 4096)
            return release(reserve)

        monkeypatch.setattr(Reserve, "release", released)

    def _limit(self, pages):
        self.journal._db.execute(f"PRAGMA max_page_count = {pages}")


def fill(journal, effects):
    """Payments until the disk is full; those that are open then."""

    def pay_on():
        while True:
            effects.append(opened_attempt(journal)[0])

    with pytest.raises(OperatorError, match="full"):
        pay_on()
    return effects


def test_a_full_disk_stops_payments_and_the_reserve_lets_open_ones_end(path, monkeypatch):
    with Journal(path) as journal:
        FullDisk(journal, monkeypatch)
        effects = fill(journal, [opened_attempt(journal)[0]])
        for effect in effects:
            journal.open_reversal(effect.ref, a_reversal(effect, journal.next_sequence()))
            journal.conclude(effect.ref, REVERSED)
        assert journal.open_attempts() == []
        assert journal.verify() is None
        assert not path.with_name("journal.sqlite.reserve").exists()
        monkeypatch.setattr(os, "posix_fallocate", refuse)
        with pytest.raises(OperatorError, match="the disk is full: no payment is begun"):
            journal.check()
        with pytest.raises(OperatorError, match="no payment is begun"):
            opened_attempt(journal)
        monkeypatch.undo()
        journal.check()
        assert path.with_name("journal.sqlite.reserve").stat().st_size == RESERVE_BYTES


def refuse(*_):
    raise OSError(28, "No space left on device")


def test_without_a_reserve_a_full_disk_is_said_and_nothing_is_lost(path, monkeypatch):
    def end_all():
        for effect in effects:
            journal.conclude(effect.ref, APPROVED)

    with Journal(path) as journal:
        effects = [opened_attempt(journal)[0] for _ in range(40)]
        monkeypatch.setattr(Reserve, "release", lambda reserve: False)
        (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
        journal._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(OperatorError, match="full"):
            end_all()
        assert journal.open_attempts()
        journal._db.execute("PRAGMA max_page_count = 100000")
        end_all()
        assert (journal.open_attempts(), journal.verify()) == ([], None)


REAL = """
import os, sys
from datetime import date
from pathlib import Path
sys.path[:0] = {path!r}
from tests.acquirer.journals import APPROVED, opened_attempt
from kiosk.acquirer.journal import Journal
from kiosk.domain.errors import OperatorError
folder = Path(sys.argv[1])
open_ones = []
with Journal(folder / "journal.sqlite") as journal:
    open_ones = [opened_attempt(journal)[0] for _ in range(20)]
with open(folder / "others", "wb", buffering=0) as others:  # somebody else takes all the room there is
    size = 1 << 20
    while size:
        try:
            if not others.write(b"x" * size):
                size //= 2
        except OSError:
            size //= 2
with Journal(folder / "journal.sqlite") as journal:
    for effect in open_ones:
        journal.conclude(effect.ref, APPROVED)
    said = ""
    for _ in range(2_000):  # the room that was given up can be used; then it is over
        try:
            effect, _ = opened_attempt(journal)
        except OperatorError as error:
            said = str(error)
            break
        journal.conclude(effect.ref, APPROVED)
    print(said)
    print(len(journal.open_attempts()), journal.verify())
os.unlink(folder / "others")
with Journal(folder / "journal.sqlite") as journal:
    opened_attempt(journal)
    print(len(journal.open_attempts()), journal.verify(), len(journal.payments(100)) >= 21)
"""


def test_a_real_disk_that_others_filled_lets_every_open_payment_end(tmp_path):
    """A file system of 8 MiB of our own, in a namespace that any user may make where the system lets them."""
    root = Path(__file__).parents[2]
    script = tmp_path / "full.py"
    script.write_text(REAL.format(path=[str(root)]))
    folder = tmp_path / "disk"
    folder.mkdir()
    inside = f"mount -t tmpfs -o size=8m none {folder} && {sys.executable} {script} {folder}"
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run(
        [*alone, "mount", "-t", "tmpfs", "none", folder], check=False, capture_output=True
    ).returncode:
        pytest.skip("this system lets nobody make a mount namespace")
    done = subprocess.run(
        [*alone, "sh", "-c", inside], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    said, full, after = done.stdout.splitlines()
    assert "the disk is full: no payment is begun" in said
    assert full == "0 None"
    assert after == "1 None True"


def test_a_kiosk_starts_on_a_full_disk_to_end_what_is_open(path, monkeypatch):
    import sqlite3

    with Journal(path) as journal:
        effect, _ = opened_attempt(journal)
    real, tries = Journal._open, []

    def full_at_first(self):
        tries.append(path.with_name("journal.sqlite.reserve").exists())
        db = real(self)
        if len(tries) == 1:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return db

    monkeypatch.setattr(Journal, "_open", full_at_first)
    with Journal(path) as journal:
        assert tries == [True, False]
        journal.conclude(effect.ref, APPROVED)
    path.with_name("journal.sqlite.reserve").unlink()
    tries.clear()
    monkeypatch.setattr(Reserve, "hold", lambda reserve: False)
    with pytest.raises(OperatorError, match="full"):
        Journal(path)


# --- an older copy --------------------------------------------------------------------------------------


def test_an_older_copy_that_is_put_back_begins_no_payment_until_it_is_resumed(path):
    with Journal(path) as journal:
        open_one, _ = opened_attempt(journal)
    older = path.read_bytes()
    with Journal(path) as journal:
        paid(journal)
        used = journal.next_sequence()
    path.write_bytes(older)
    for _ in range(2):
        with Journal(path) as journal:
            assert journal.halted == "older_copy"
            with pytest.raises(JournalHalted, match="older copy"):
                opened_attempt(journal)
            assert journal.next_sequence() >= used
            assert journal.verify() is None
    with Journal(path, read_only=True) as journal:
        assert journal.halted == "older_copy"
    with Journal(path) as journal:
        journal.conclude(open_one.ref, DECLINED)
        journal.halt("sequence_reused")
        assert journal.halted == "older_copy"
        journal.resume()
        paid(journal)
    with Journal(path) as journal:
        assert (journal.halted, journal.verify()) == ("", None)


def test_another_history_of_the_same_length_is_an_older_copy_too(path):
    with Journal(path) as journal:
        opened_attempt(journal)
    older = path.read_bytes()
    with Journal(path) as journal:
        opened_attempt(journal)
    path.write_bytes(older)
    path.with_name("journal.sqlite.mark").unlink()
    with Journal(path) as journal:
        opened_attempt(journal)
    mark = path.with_name("journal.sqlite.mark")
    seq, _, sequence = mark.read_text().split()
    mark.write_text(f"{seq} {'ab' * 32} {sequence}\n")
    with Journal(path) as journal:
        assert journal.halted == "older_copy"


def test_a_resume_that_cannot_be_written_leaves_the_journal_halted(path, monkeypatch):
    with Journal(path) as journal:
        opened_attempt(journal)
    older = path.read_bytes()
    with Journal(path) as journal:
        opened_attempt(journal)
    path.write_bytes(older)
    with Journal(path) as journal:
        monkeypatch.setattr(journal, "_append_end", refuse)
        with pytest.raises(OperatorError):
            journal.resume()
        assert journal.halted == "older_copy"


def test_a_journal_without_its_mark_opens_and_has_one_again(path):
    with Journal(path) as journal:
        paid(journal)
    mark = path.with_name("journal.sqlite.mark")
    mark.unlink()
    with Journal(path, read_only=True) as journal:
        assert journal.halted == ""
    assert not mark.exists()
    Journal(path).close()
    assert mark.read_text().startswith("00000000000000000002 ")


@given(st.binary(max_size=250))
def test_a_mark_of_any_bytes_is_a_mark_or_none(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("mark") / "journal.sqlite"
    path.with_name("journal.sqlite.mark").write_bytes(content)
    mark = Mark(path)
    found = mark.read()
    mark.close()
    mark.close()
    assert found is None or (found[0] >= 0 and len(found[1]) == 64 and found[2] >= 0)


def test_no_path_no_mark_and_no_reserve():
    mark, reserve = Mark(None), Reserve(None)
    mark.write(1, "ab" * 32, 1)
    assert (mark.read(), reserve.hold(), reserve.release()) == (None, True, False)


# --- a PIN ----------------------------------------------------------------------------------------------


def everywhere(path):
    files = (file for file in path.parent.iterdir() if file.is_file() and file.suffix != ".reserve")
    return b"".join(file.read_bytes() for file in files)


def test_a_pins_ciphertext_is_nowhere_after_the_end_of_its_attempt(path):
    dice = random.Random(4)
    waiting = []
    with Journal(path) as journal:
        for number in range(120):
            secret = f"SECRET{number:04d}" + "x" * dice.randrange(10, 3_000)
            waiting.append((with_pin(secret), f"SECRET{number:04d}".encode()))
            opened_attempt(journal, waiting[-1][0])
            paid(journal)
            while len(waiting) > dice.randrange(8):
                effect, words = waiting.pop(dice.randrange(len(waiting)))
                assert words in everywhere(path)
                journal.conclude(effect.ref, dice.choice((APPROVED, DECLINED, REVERSED)))
                assert words not in everywhere(path)
                assert journal.exchange(effect.ref, "payment") is None
        left = {words for _, words in waiting}
        assert journal.verify() is None
    with Journal(path) as journal:
        assert len(journal.open_attempts()) == len(left)
        assert all(words in everywhere(path) for words in left)


def test_a_reader_in_the_way_only_delays_the_erasure(path):
    effect = with_pin("SECRETWORDS")
    with Journal(path) as journal:
        opened_attempt(journal, effect)
        reader = Journal(path, read_only=True)
        reader._db.execute("BEGIN")
        reader._db.execute("SELECT count(*) FROM bodies").fetchone()
        journal._db.execute("PRAGMA busy_timeout = 0")
        journal.conclude(effect.ref, APPROVED)
        assert journal._to_erase
        reader.close()
        paid(journal)
        assert not journal._to_erase
        assert b"SECRETWORDS" not in everywhere(path)


def test_a_kill_before_the_erasure_is_made_good_at_the_next_start(path, tmp_path):
    effect = with_pin("SECRETWORDS")
    copy = tmp_path / "copy"
    copy.mkdir()
    with Journal(path) as journal:
        opened_attempt(journal, effect)
        journal._erase = lambda: None
        journal.conclude(effect.ref, APPROVED)
        for file in path.parent.glob("journal.sqlite*"):
            shutil.copy(file, copy)
    assert b"SECRETWORDS" in everywhere(copy / "journal.sqlite")
    with Journal(copy / "journal.sqlite") as journal:
        assert b"SECRETWORDS" not in everywhere(copy / "journal.sqlite")
        assert journal.verify() is None


def test_a_body_that_is_missing_is_noticed_unless_its_attempt_is_final(path):
    effect, final = with_pin("SECRETWORDS"), with_pin("SECRETWORDS")
    with Journal(path) as journal:
        opened_attempt(journal, final)
        journal.conclude(final.ref, APPROVED)
        opened_attempt(journal, effect)
    raw(path, *UNGUARDED, "DELETE FROM bodies WHERE secret")
    with pytest.raises(OperatorError, match="entry 3 was changed or is missing"):
        Journal(path)


def test_no_body_can_be_taken_out_or_changed_before(path):
    import sqlite3

    with Journal(path) as journal:
        opened_attempt(journal, with_pin("SECRETWORDS"))
    for statement in ("DELETE FROM bodies", "UPDATE bodies SET body = x'00'"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw(path, statement)


# --- schema 1 -------------------------------------------------------------------------------------------


def test_a_file_of_schema_1_goes_on_with_its_entries_and_hashes_as_they_were(path):
    effects, last = of_schema_1(path)
    for _ in range(2):
        with Journal(path) as journal:
            assert journal.last_hash == last
            assert [entry.answer and entry.answer.approval for entry in journal.payments()] == [
                None,
                None,
                "ABC123",
            ]
            assert [attempt.reversing for attempt in journal.open_attempts()] == [True, False]
            assert journal.open_attempts()[1].exchange.body.startswith(b'{"version":1')
            assert journal.next_sequence() == 5
            assert journal.payments()[0].batch == TODAY.toordinal()
            assert journal.is_paid_or_open(effects[0].order.order_ref)
    with Journal(path) as journal:
        for effect in effects[1:]:
            journal.conclude(effect.ref, REVERSED)
        journal.open_task(a_refund(journal, effects[0]), effects[0].order, day=TODAY, minor=100)
        assert journal.verify() is None
    raw(path, *UNGUARDED, "UPDATE entries SET batch = batch + 1 WHERE seq = 2")
    with pytest.raises(OperatorError, match="entry 2 "):
        Journal(path)


def test_a_file_of_schema_1_that_was_changed_is_left_as_it_is(path):
    of_schema_1(path)
    raw(path, "DROP TRIGGER no_change", "UPDATE entries SET minor = 1 WHERE seq = 3")
    for _ in range(2):
        with pytest.raises(OperatorError, match="entry 3 was changed"):
            Journal(path)
    raw(path, "SELECT body FROM entries WHERE seq = 3")  # a column of schema 1


# --- beside a running kiosk -----------------------------------------------------------------------------


def test_it_can_be_read_beside_a_running_kiosk_and_not_written(path):
    with pytest.raises(OperatorError, match="there is no journal"):
        Journal(path, read_only=True)
    with Journal(path) as journal:
        paid(journal)
        with Journal(path, read_only=True) as reader:
            assert len(reader.payments()) == 1
            assert reader.path == path
            assert reader.origin() == (0, "0" * 64)
            assert [entry["seq"] for entry in reader.entries()] == [1, 2]
            with pytest.raises(OperatorError, match="readonly"):
                reader.halt("x")


def test_a_reserve_of_another_size_is_made_anew(path):
    reserve = path.with_name("journal.sqlite.reserve")
    reserve.write_bytes(b"x")
    assert Reserve(path).hold()
    assert reserve.stat().st_size == RESERVE_BYTES


def test_a_table_that_is_gone_is_damage(path):
    Journal(path).close()
    raw(path, "DROP TABLE origin")
    with pytest.raises(Damaged):
        Journal(path)


def test_text_that_is_none_is_damage(path):
    with Journal(path) as journal:
        paid(journal, order_ref="a-name-to-be-found")
    path.write_bytes(path.read_bytes().replace(b"a-name-to-be-found", b"\xff-name-to-be-found"))
    with pytest.raises(Damaged):
        Journal(path)
