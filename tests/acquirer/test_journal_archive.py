"""Compaction: what leaves and what never does, stopped at every step, and archives that verify."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiosk.acquirer import journal_archive
from kiosk.acquirer.journal import Journal
from kiosk.acquirer.journal_archive import archives, verify_archives
from kiosk.domain.errors import OperatorError

from .journals import (
    APPROVED,
    DECLINED,
    OFFLINE,
    TODAY,
    UNGUARDED,
    a_refund,
    a_task,
    opened_attempt,
    paid,
    raw,
)
from .parts import an_effect

NOON = 1_795_600_800.0  # of TODAY, UTC


class Shop:
    """A journal whose days go by."""

    def __init__(self, path: Path) -> None:
        self.day = TODAY
        self.journal = Journal(path, now=lambda: NOON + 86_400 * (self.day - TODAY).days)

    def close_day(self):
        self.journal.settle(self.day.toordinal(), b"{}")
        self.day += timedelta(days=1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def shop(path):
    opened = Shop(path)
    yield opened
    opened.journal.close()


def refs(journal):
    return {entry.ref for entry in journal.payments(10_000)}


def test_settled_days_leave_and_the_chain_holds_through_journal_and_archives(shop, path):
    gone = []
    for _ in range(6):
        gone.append(paid(shop.journal, day=shop.day))
        shop.close_day()
    kept = paid(shop.journal, day=shop.day)
    found = shop.journal.compact(TODAY + timedelta(days=2))
    assert (found.first, found.last) == (1, 6)
    found = shop.journal.compact(TODAY + timedelta(days=6))
    assert (found.first, found.last) == (7, 18)
    assert refs(shop.journal) == {kept.ref}
    assert shop.journal.verify() is None
    assert shop.journal.next_sequence() == 8
    assert shop.journal.batch(TODAY) == TODAY.toordinal() + 6
    shop.journal.close()
    with Journal(path) as journal:
        assert journal.verify() is None
        assert journal.batch(TODAY) == TODAY.toordinal() + 6
        assert verify_archives(path, journal.origin()) == 2
        paid(journal, day=shop.day)
    archived = set()
    for archive in archives(path):
        assert archive.stat().st_mode & 0o777 == 0o400
        with Journal(archive, archive=True) as opened:
            assert opened.verify() is None
            archived |= refs(opened)
    assert archived == {effect.ref for effect in gone}


def test_what_is_open_unsettled_or_young_stays_and_what_is_after_it(shop):
    first = paid(shop.journal, day=shop.day)
    late_refund = paid(shop.journal, day=shop.day)
    shop.close_day()
    open_one, _ = opened_attempt(shop.journal, day=shop.day)
    shop.close_day()
    paid(shop.journal, day=shop.day)
    before = shop.day + timedelta(days=30)
    found = shop.journal.compact(before)
    assert refs(shop.journal) >= {open_one.ref}
    assert found.last == 5
    shop.journal.conclude(open_one.ref, DECLINED)
    assert shop.journal.compact(before) is None, "the day of its end is not settled"
    shop.close_day()
    assert shop.journal.compact(before) is not None
    assert refs(shop.journal) == set()
    assert first.ref not in refs(shop.journal)
    assert late_refund.ref not in refs(shop.journal)
    assert shop.journal.verify() is None


def test_a_payment_goes_with_everything_about_it(shop):
    paid(shop.journal, day=shop.day)
    refunded = paid(shop.journal, day=shop.day)
    shop.close_day()
    shop.day += timedelta(days=20)
    exchange = a_refund(shop.journal, refunded)
    shop.journal.open_task(exchange, refunded.order, day=shop.day, minor=100)
    assert shop.journal.compact(TODAY + timedelta(days=5)).last == 2
    assert shop.journal.payment(refunded.ref) is not None
    shop.journal.conclude_task(exchange.idempotency_key, "approved", b"{}")
    assert shop.journal.compact(TODAY + timedelta(days=5)) is None
    shop.close_day()
    assert shop.journal.compact(shop.day).last > 4
    assert shop.journal.payment(refunded.ref) is None


def test_numbers_that_must_go_on_go_on(shop, path):
    effect, _ = opened_attempt(shop.journal, day=shop.day)
    advice = a_task("advice", effect.ref, sequence=2)
    shop.journal.conclude_offline(effect.ref, advice, OFFLINE, day=shop.day)
    shop.journal.conclude_task(advice.idempotency_key, "approved", b"{}")
    shop.journal.note_receipt(effect.ref, "offline", 1, 3850, "CNY", shop.day.toordinal(), copy=False)
    shop.close_day()
    paid(shop.journal, day=shop.day)
    assert shop.journal.compact(shop.day) is not None
    assert shop.journal.receipts_of(effect.ref) == []
    shop.journal.close()
    with Journal(path) as journal:
        assert journal.advices() == []
        assert journal.next_advice() == 2
        assert journal.next_sequence() > 2


def test_nothing_leaves_while_the_journal_is_halted_or_there_is_nothing(shop):
    assert shop.journal.compact(TODAY) is None
    shop.journal.halt("sequence_reused")
    with pytest.raises(OperatorError, match="older copy"):
        shop.journal.compact(TODAY)


class Torn(sqlite3.Connection):
    """A connection that ends before a statement that begins like this."""

    stops_at = ""

    def execute(self, statement, *values):
        if self.stops_at and statement.startswith(self.stops_at):
            raise KeyboardInterrupt
        return super().execute(statement, *values)


@pytest.mark.parametrize(
    "where",
    ["follow_file", "Path.replace", "os.fsync", "insert", "BEGIN", "UPDATE", "DELETE FROM bodies",
     "DELETE FROM entries", "DELETE FROM receipts", "COMMIT", "VACUUM"],
)  # fmt: skip
def test_stopped_at_any_step_nothing_is_lost_and_the_next_run_goes_through(path, monkeypatch, where):
    real_connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *args, **words: real_connect(*args, **{**words, "factory": Torn})
    )
    shop = Shop(path)
    effects = []
    for _ in range(3):
        effects.append(paid(shop.journal, day=shop.day))
        shop.close_day()

    def stop(*_args, **_words):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        match where:
            case "Path.replace":
                patch.setattr(Path, "replace", stop)
            case "os.fsync":
                patch.setattr(journal_archive.os, "fsync", stop)
            case "follow_file" | "insert":
                patch.setattr(journal_archive, where, stop)
            case _:
                patch.setattr(shop.journal._db, "stops_at", where)
        with pytest.raises(KeyboardInterrupt):
            shop.journal.compact(shop.day)
    shop.journal.close()
    with Journal(path) as journal:
        assert (journal.verify(), journal.halted) == (None, "")
        journal.compact(shop.day)
        assert journal.verify() is None
        assert verify_archives(path, journal.origin()) == 1
        (archive,) = archives(path)
    with Journal(archive, archive=True) as opened:
        assert refs(opened) == {effect.ref for effect in effects}


def test_an_archive_that_cannot_be_read_back_takes_nothing_out(shop, path, monkeypatch):
    paid(shop.journal, day=shop.day)
    shop.close_day()
    real = journal_archive.follow_file
    monkeypatch.setattr(
        journal_archive, "follow_file", lambda db, archive: real(db, archive=archive).__class__(broken=1)
    )
    with pytest.raises(OperatorError, match="read back"):
        shop.journal.compact(shop.day)
    assert archives(path) == []
    assert shop.journal.chain().seq == 3


def test_a_missing_changed_or_foreign_archive_is_noticed(shop, path):
    for _ in range(3):
        paid(shop.journal, day=shop.day)
        shop.close_day()
        shop.journal.compact(shop.day)
    first, middle, last = archives(path)
    origin = shop.journal.origin()
    assert verify_archives(path, origin) == 3
    last.with_name("journal-000000001-000009999.sqlite").write_bytes(b"of a run that was stopped")
    assert verify_archives(path, origin) == 3
    away = middle.read_bytes()
    middle.unlink()
    with pytest.raises(OperatorError, match="is missing or was changed"):
        verify_archives(path, origin)
    middle.write_bytes(away)
    content = bytearray(first.read_bytes())
    at = content.index(b"/v1/payments")
    content[at] ^= 1
    first.chmod(0o600)
    first.write_bytes(content)
    with pytest.raises(OperatorError, match="changed or is missing"):
        verify_archives(path, origin)


def test_an_origin_that_no_checkpoint_names_is_noticed(shop, path):
    paid(shop.journal, day=shop.day)
    shop.close_day()
    paid(shop.journal, day=shop.day)
    shop.journal.close()
    db = sqlite3.connect(path)
    db.execute("UPDATE origin SET seq = 2, hash = (SELECT hash FROM entries WHERE seq = 2)")
    db.execute("DELETE FROM entries WHERE seq <= 2")
    db.commit()
    db.close()
    with pytest.raises(OperatorError, match="entry 3 was changed or is missing"):
        Journal(path)


@settings(max_examples=25, deadline=None)
@given(
    days=st.lists(
        st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from(["no", "now", "later", "open"])),
        min_size=1,
        max_size=8,
    ),
    keep=st.integers(-1, 8),
)
def test_whatever_a_shop_does_compaction_takes_only_what_is_over(tmp_path_factory, days, keep):
    path = tmp_path_factory.mktemp("shop") / "journal.sqlite"
    shop = Shop(path)
    must_stay, later = set(), []
    for payments, settles, refund in days:
        for number in range(payments):
            effect = paid(shop.journal, day=shop.day)
            if number == 0 and refund != "no":
                exchange = a_refund(shop.journal, effect)
                shop.journal.open_task(exchange, effect.order, day=shop.day, minor=100)
                if refund == "open":
                    must_stay.add(effect.ref)
                elif refund == "now":
                    shop.journal.conclude_task(exchange.idempotency_key, "approved", b"{}")
                else:
                    later.append(exchange.idempotency_key)
        if settles:
            shop.close_day()
        else:
            shop.day += timedelta(days=1)
    for key in later:
        shop.journal.conclude_task(key, "approved", b"{}")
    entries, before = refs(shop.journal), shop.day - timedelta(days=keep)
    settled = shop.journal.settled_batch()
    must_stay |= {
        entry.ref
        for entry in shop.journal.payments(1_000)
        if entry.day >= before.isoformat() or entry.batch > settled
    }
    shop.journal.compact(before)
    assert must_stay <= refs(shop.journal)
    assert shop.journal.verify() is None
    found = refs(shop.journal)
    for archive in archives(path):
        with Journal(archive, archive=True) as opened:
            assert not found & refs(opened)
            found |= refs(opened)
    assert found == entries
    verify_archives(path, shop.journal.origin())
    shop.journal.close()
    with Journal(path) as journal:
        assert journal.next_sequence() > 0
        journal.conclude(opened_attempt(journal, an_effect(), shop.day)[0].ref, APPROVED)


def test_a_gap_leaves_only_with_the_entry_that_names_it(shop, path):
    from kiosk.acquirer.journal_recovery import mend

    for _ in range(4):
        paid(shop.journal, day=shop.day)
        shop.close_day()
    shop.journal.close()
    raw(path, *UNGUARDED, "DELETE FROM entries WHERE seq = 6")
    mend(path, now=lambda: NOON + 10 * 86_400)
    with Journal(path, now=lambda: NOON + 11 * 86_400) as journal:
        journal.resume()
        found = journal.compact(TODAY + timedelta(days=9))
        assert found.last == 5, "the entries before the gap"
        assert journal.verify() is None
        journal.settle(TODAY.toordinal() + 20, b"{}")
        assert journal.compact(TODAY + timedelta(days=15)).first == 6
        assert journal.verify() is None
        assert verify_archives(path, journal.origin()) == 2
