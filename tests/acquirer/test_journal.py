from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kiosk.acquirer.journal import Journal, OrderNotFinal
from kiosk.domain.chain import GENESIS
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import Spent
from kiosk.domain.payment import Answer, Result

from .parts import a_payment, a_reversal, an_effect

TODAY, TOMORROW = date(2026, 11, 25), date(2026, 11, 26)
APPROVED = Answer(Result.APPROVED, "approved", "ABC123", "000000000001", "*ming")
DECLINED = Answer(Result.DECLINED, "insufficient_funds")
REVERSED = Answer(Result.REVERSED, "reversed")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "journal.sqlite"


@pytest.fixture
def journal(path):
    with Journal(path) as opened:
        yield opened


def opened_attempt(journal, effect=None, day=TODAY):
    effect = effect or an_effect()
    exchange = a_payment(effect, sequence=journal.next_sequence())
    journal.open_attempt(effect, exchange, day=day)
    return effect, exchange


def test_a_new_journal_is_empty_and_its_owners_only(journal, path):
    assert (journal.open_attempts(), journal.payments(), journal.verify()) == ([], [], None)
    assert journal.last_hash == GENESIS
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_what_was_written_is_there_after_a_restart_byte_for_byte(path):
    with Journal(path) as journal:
        effect, exchange = opened_attempt(journal)
        last = journal.last_hash
    with Journal(path) as journal:
        (attempt,) = journal.open_attempts()
        assert (attempt.order, attempt.ref, attempt.exchange) == (effect.order, effect.ref, exchange)
        assert (attempt.reversing, attempt.reversal_exchange) == (False, None)
        assert journal.exchange(effect.ref, "payment") == exchange
        assert journal.exchange(effect.ref, "reversal") is None
        assert journal.last_hash == last
        assert journal.next_sequence() == exchange.sequence + 1


def test_a_reversal_is_kept_with_its_attempt(journal):
    effect, _ = opened_attempt(journal)
    reversal = a_reversal(effect, sequence=journal.next_sequence())
    journal.open_reversal(effect.ref, reversal)
    (attempt,) = journal.open_attempts()
    assert attempt.reversing
    assert attempt.reversal_exchange == journal.exchange(effect.ref, "reversal") == reversal
    assert journal.payments()[0].reversing


def test_an_end_closes_the_attempt(journal):
    effect, _ = opened_attempt(journal)
    journal.conclude(effect.ref, APPROVED)
    assert journal.open_attempts() == []
    (payment,) = journal.payments()
    assert (payment.ref, payment.order, payment.answer, payment.reversing) == (
        effect.ref,
        effect.order,
        APPROVED,
        False,
    )
    assert (payment.token, payment.day) == (effect.payer.token, "2026-11-25")
    assert payment.at > 0


def test_the_same_end_again_changes_nothing_and_another_is_a_bug(journal):
    effect, _ = opened_attempt(journal)
    journal.conclude(effect.ref, APPROVED)
    last = journal.last_hash
    journal.conclude(effect.ref, APPROVED)
    assert journal.last_hash == last
    with pytest.raises(ValueError, match="final"):
        journal.conclude(effect.ref, REVERSED)
    with pytest.raises(ValueError, match="final"):
        journal.open_reversal(effect.ref, a_reversal(effect))


def test_pending_is_no_end(journal):
    effect, _ = opened_attempt(journal)
    with pytest.raises(ValueError, match="pending"):
        journal.conclude(effect.ref, Answer(Result.PENDING))


def test_an_attempt_that_was_never_opened_can_not_end_or_be_reversed(journal):
    effect = an_effect()
    with pytest.raises(ValueError, match="no attempt"):
        journal.conclude(effect.ref, APPROVED)
    with pytest.raises(ValueError, match="no attempt"):
        journal.open_reversal(effect.ref, a_reversal(effect))


def test_only_the_attempts_own_bytes_are_written(journal):
    effect = an_effect()
    with pytest.raises(ValueError, match="not the payment"):
        journal.open_attempt(effect, a_payment(an_effect()), day=TODAY)
    with pytest.raises(ValueError, match="not the payment"):
        journal.open_attempt(effect, a_reversal(effect), day=TODAY)
    opened_attempt(journal, effect)
    with pytest.raises(ValueError, match="not the reversal"):
        journal.open_reversal(effect.ref, a_payment(effect))


def test_a_reversal_is_written_once(journal):
    effect, _ = opened_attempt(journal)
    journal.open_reversal(effect.ref, a_reversal(effect))
    with pytest.raises(ValueError, match="written already"):
        journal.open_reversal(effect.ref, a_reversal(effect))


@pytest.mark.parametrize("reversing", [False, True])
def test_no_second_attempt_while_one_is_open(journal, reversing):
    effect, _ = opened_attempt(journal)
    if reversing:
        journal.open_reversal(effect.ref, a_reversal(effect))
    assert journal.is_paid_or_open(effect.order.order_ref)
    with pytest.raises(OrderNotFinal, match="outcome is open"):
        opened_attempt(journal, an_effect(order_ref=effect.order.order_ref))
    assert len(journal.payments()) == 1


def test_no_second_attempt_at_an_order_that_is_paid(journal):
    effect, _ = opened_attempt(journal)
    journal.conclude(effect.ref, APPROVED)
    with pytest.raises(OrderNotFinal, match="is paid"):
        opened_attempt(journal, an_effect(order_ref=effect.order.order_ref))


@pytest.mark.parametrize("end", [DECLINED, REVERSED])
def test_an_order_that_was_not_charged_may_be_paid_again(journal, end):
    effect, _ = opened_attempt(journal)
    journal.conclude(effect.ref, end)
    assert not journal.is_paid_or_open(effect.order.order_ref)
    again, _ = opened_attempt(journal, an_effect(order_ref=effect.order.order_ref))
    journal.conclude(again.ref, APPROVED)
    assert [payment.answer for payment in journal.payments()] == [APPROVED, end]
    assert len(journal.payments(limit=1)) == 1


def test_spent_counts_what_is_approved_or_open_today(journal):
    ends = ((APPROVED, 100), (None, 20), (DECLINED, 3_000), (REVERSED, 40_000))
    for end, minor in ends:
        effect, _ = opened_attempt(journal, an_effect(token="pyr-a", minor=minor))
        if end:
            journal.conclude(effect.ref, end)
    opened_attempt(journal, an_effect(token="pyr-b", minor=5))
    opened_attempt(journal, an_effect(token="pyr-a", minor=7), day=TOMORROW)
    now = journal.latest_s()
    # What was written under a later day counts today as well: a clock that was ahead opens nothing.
    assert journal.spent("pyr-a", now, TODAY) == Spent(127, 132, 127, 3, 3, 4)
    assert journal.spent("pyr-a", now, TOMORROW) == Spent(7, 7, 127, 3, 1, 1)
    assert journal.spent("", now, TODAY) == Spent(by_kiosk=132, kiosk_day_count=4)
    assert journal.spent("pyr-a", now + 3_601, TODAY) == Spent(127, 132, 0, 0, 3, 4)


def test_a_payer_s_payments_are_theirs_alone_the_newest_first(journal):
    for token, order in (("pyr-1", "o-1"), ("pyr-2", "o-2"), ("pyr-1", "o-3")):
        effect = an_effect(token=token, order_ref=order)
        opened_attempt(journal, effect)
        journal.conclude(effect.ref, APPROVED)
    assert [entry.order.order_ref for entry in journal.payments_of("pyr-1")] == ["o-3", "o-1"]
    assert journal.payments_of("pyr-3") == []


def test_sequence_numbers_grow_and_are_never_sent_twice(path):
    seen = []
    for _ in range(3):
        with Journal(path) as journal:
            for _ in range(3):
                _, exchange = opened_attempt(journal)
                seen.append(exchange.sequence)
    assert seen == sorted(set(seen))


def test_any_thread_may_call(journal):
    errors = []

    def work():
        try:
            for _ in range(10):
                effect, _ = opened_attempt(journal)
                journal.conclude(effect.ref, APPROVED)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert journal.verify() is None
    assert len(journal.payments(1_000)) == 40


# --- what goes wrong ------------------------------------------------------------------------------------


def raw(path, *statements):
    with contextlib.closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


MORE = ("DROP TRIGGER no_other_body", "DROP TRIGGER no_body_removal")


def three_entries(path):
    with Journal(path) as journal:
        first, _ = opened_attempt(journal)
        journal.conclude(first.ref, APPROVED)
        opened_attempt(journal)


def test_the_file_itself_refuses_changes(path):
    three_entries(path)
    for statement in ("UPDATE entries SET minor = 1", "DELETE FROM entries"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw(path, statement)


@pytest.mark.parametrize(
    ("statement", "first_broken"),
    [
        ("UPDATE entries SET minor = minor + 1 WHERE seq = 1", 1),
        ("UPDATE entries SET order_ref = 'other' WHERE seq = 2", 2),
        ("UPDATE bodies SET body = x'00' WHERE seq = 3", 3),
        ("DELETE FROM bodies WHERE seq = 3", 3),
        ("UPDATE entries SET result = 'declined' WHERE seq = 2", 2),
        ("UPDATE entries SET prev_hash = hash WHERE seq = 2", 2),
        ("UPDATE entries SET hash = prev_hash WHERE seq = 3", 3),
        ("DELETE FROM entries WHERE seq = 2", 2),
        ("DELETE FROM entries WHERE seq = 1", 1),
        ("UPDATE entries SET seq = 9 WHERE seq = 3", 3),
    ],
)
def test_a_changed_or_missing_entry_is_found_and_named(path, statement, first_broken):
    three_entries(path)
    with Journal(path) as journal:
        raw(path, "DROP TRIGGER no_change", "DROP TRIGGER no_removal", *MORE, statement)
        assert journal.verify() == first_broken
    with pytest.raises(OperatorError, match=f"entry {first_broken} "):
        Journal(path)
    raw(path, "SELECT 1")  # and the file is not held


def test_a_file_that_is_no_journal_is_refused_in_one_line(path):
    path.parent.mkdir()
    for content in (b"SQLite format 3\0" + b"\xff" * 4_000, b"hello, I am a text file" * 100):
        path.write_bytes(content)
        with pytest.raises(OperatorError, match="damaged") as caught:
            Journal(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_a_damaged_page_is_refused(path):
    three_entries(path)
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\xa5" * 4096
    path.write_bytes(content)
    with pytest.raises(OperatorError, match="journal"):
        Journal(path)


@pytest.mark.parametrize("statement", ["PRAGMA user_version = 4", "PRAGMA application_id = 1"])
def test_a_journal_of_another_release_is_refused(path, statement):
    three_entries(path)
    raw(path, statement)
    with pytest.raises(OperatorError, match="not a journal of this release"):
        Journal(path)


def test_somebody_elses_database_is_left_alone(path):
    path.parent.mkdir()
    raw(path, "CREATE TABLE precious (a)")
    with pytest.raises(OperatorError, match="not a journal"):
        Journal(path)
    raw(path, "SELECT * FROM precious")


def test_a_second_kiosk_on_the_same_data_is_refused(journal, path):
    with pytest.raises(OperatorError, match="another kiosk"):
        Journal(path)
    journal.close()
    journal.close()
    Journal(path).close()


def test_a_folder_that_cannot_be_made_or_a_path_that_is_a_folder_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OperatorError, match="can't be opened"):
        Journal(tmp_path / "file" / "journal.sqlite")
    (tmp_path / "folder.sqlite").mkdir()
    with pytest.raises(OperatorError, match="can't be opened"):
        Journal(tmp_path / "folder.sqlite")


def test_a_full_disk_is_said_and_the_attempt_is_not_there(journal):
    opened_attempt(journal)
    journal._db.execute("PRAGMA max_page_count = 1")
    refused = None
    for _ in range(50):
        try:
            opened_attempt(journal)
        except OperatorError as error:
            refused = error
            break
    assert refused is not None
    assert "full" in str(refused)
    before = len(journal.payments(1_000))
    journal._db.execute("PRAGMA max_page_count = 1000000")
    opened_attempt(journal)
    assert len(journal.payments(1_000)) == before + 1
    assert journal.verify() is None


HERE = Path(__file__).parent
CHILD = """
import os, resource, signal, sys
from datetime import date
from pathlib import Path
sys.path[:0] = {path!r}
import sqlite3
from parts import a_payment, a_reversal, an_effect
from kiosk.acquirer.journal import Journal
from kiosk.domain.errors import OperatorError
from kiosk.domain.payment import Answer, Result
journal, day = Journal(Path(sys.argv[1])), date(2026, 11, 25)
effect = an_effect(order_ref="the-order")
"""


def child(path, script):
    code = CHILD.format(path=[str(HERE), str(HERE.parents[1])]) + script
    return subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60, check=False
    )


STEPS = (
    "journal.open_attempt(effect, a_payment(effect, journal.next_sequence()), day=day)",
    "journal.open_reversal(effect.ref, a_reversal(effect, journal.next_sequence()))",
    "journal.conclude(effect.ref, Answer(Result.REVERSED, 'reversed'))",
)


@pytest.mark.parametrize("done", range(len(STEPS) + 1))
def test_a_process_that_is_killed_between_two_writes_loses_none_of_the_first(path, done):
    result = child(path, "\n".join((*STEPS[:done], "os.kill(os.getpid(), signal.SIGKILL)")))
    assert result.returncode == -9, result.stderr
    with Journal(path) as journal:
        assert journal.verify() is None
        attempts = journal.open_attempts()
        assert [attempt.reversing for attempt in attempts] == {1: [False], 2: [True]}.get(done, [])
        assert journal.is_paid_or_open("the-order") is (done in (1, 2))
        assert [payment.answer and payment.answer.result for payment in journal.payments()] == {
            0: [],
            1: [None],
            2: [None],
            3: [Result.REVERSED],
        }[done]
        assert journal.next_sequence() == min(done, 2) + 1


@pytest.mark.parametrize("instructions", [40, 120, 200])
def test_a_process_that_is_killed_inside_a_write_leaves_the_journal_whole(path, instructions):
    script = f"""
n = 0
def stop(*_):
    global n
    n += 1
    if n > {instructions}:
        os._exit(9)
    return 0
journal._db.set_progress_handler(stop, 1)
""" + "\n".join(STEPS)
    assert child(path, script).returncode == 9
    with Journal(path) as journal:
        assert journal.verify() is None
        assert [payment.order.order_ref for payment in journal.payments()] in ([], ["the-order"])


def test_a_disk_that_refuses_a_write_is_said(path):
    script = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = os.path.getsize(sys.argv[1] + "-wal")
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))
try:
    journal.open_attempt(effect, a_payment(effect, journal.next_sequence()), day=day)
except OperatorError as error:
    print(error)
"""
    result = child(path, script)
    assert "the journal can't be written" in result.stdout, result.stderr
    with Journal(path) as journal:
        assert journal.payments() == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 500),
            st.sampled_from((None, APPROVED, DECLINED, REVERSED)),
            st.booleans(),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_what_a_day_has_spent_is_the_same_for_this_process_and_the_next(tmp_path_factory, sales):
    path = tmp_path_factory.mktemp("journal") / "journal.sqlite"
    asked_for = [(token, day) for token in ("pyr-a", "") for day in (TODAY, TOMORROW)]
    with Journal(path) as journal:
        for minor, end, asked, tomorrow in sales:
            effect, _ = opened_attempt(
                journal, an_effect(minor=minor, token="pyr-a"), TOMORROW if tomorrow else TODAY
            )
            if asked:
                journal.spent("pyr-a", 0.0, TODAY)
            if end is not None:
                journal.conclude(effect.ref, end)
        here = [journal.spent(token, time.time(), day) for token, day in asked_for]
    with Journal(path) as journal:
        there = [journal.spent(token, time.time(), day) for token, day in asked_for]
    counted = [minor for minor, end, _, _ in sales if end in (None, APPROVED)]
    assert (here[0].by_kiosk, here[0].kiosk_day_count) == (sum(counted), len(counted))
    assert [replace(one, by_person_hour=0, person_hour_count=0) for one in here] == [
        replace(one, by_person_hour=0, person_hour_count=0) for one in there
    ]
