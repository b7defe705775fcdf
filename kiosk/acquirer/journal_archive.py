"""Compaction: settled days leave the journal for an archive file, and the chain holds through both.

First the archive is written whole, followed from end to end, and flushed; then one transaction writes a
`checkpoint` entry that names it, moves the journal's origin behind it, and takes its entries out. Whatever
stops this between two steps leaves a journal that is as it was, and at most an archive that nothing names.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import msgspec

from kiosk.acquirer.journal_chain import Chain, Draft, sha256
from kiosk.acquirer.journal_file import Checkpoint, JournalFile, follow_file, insert
from kiosk.acquirer.journal_schema import COLUMNS, MARKS, SCHEMA, TASKS
from kiosk.domain.errors import OperatorError

__all__ = ["ARCHIVE", "archive_days", "archives", "verify_archives"]

ARCHIVE: Final = "archive"
"""The folder beside the journal."""
_TASKS: Final = ", ".join(f"'{task}'" for task in TASKS)


def archives(journal: Path) -> list[Path]:
    """The archive files of the journal at this path, oldest first."""
    return sorted((journal.parent / ARCHIVE).glob("journal-*.sqlite"))


def verify_archives(journal: Path, origin: tuple[int, str]) -> int:
    """Follow every archive that the journal at this path goes back to; how many there are.

    `origin`: the entry that the journal's first one follows.

    Raises:
        OperatorError: one is missing or damaged, or does not join the next.
    """
    follows, found = origin, 0
    for path in reversed(archives(journal)):
        if int(path.stem.rpartition("-")[2]) > follows[0]:
            continue  # of a compaction that was stopped: nothing names it
        with JournalFile(path, archive=True) as archive:
            chain = archive.chain()
            if (chain.seq, chain.hash) != follows:
                break
            follows, found = archive.origin(), found + 1
    if follows[0]:
        raise OperatorError(
            f"the archive that ends with entry {follows[0]} is missing or was changed",
            where=str(journal.parent / ARCHIVE),
            do="Put it back from a copy.",
        )
    return found


def archive_days(
    db: sqlite3.Connection, journal: Path, chain: Chain, before: date, at: float
) -> tuple[Checkpoint | None, Chain]:
    """Archive what `Journal.compact` says; the chain as it stands then. `at`: seconds since 1970 (UTC)."""
    (origin,) = db.execute("SELECT seq, hash FROM origin").fetchall()
    last = _last_to_go(db, before, chain.settled)
    if last <= origin["seq"]:
        return None, chain
    found = _write_archive(db, journal, origin, last)
    draft = Draft(
        "checkpoint",
        f"checkpoint:{last}",
        number=chain.advices,
        batch=chain.settled,
        body=msgspec.json.encode(found),
        sequence=chain.sequence,
    )
    db.execute("BEGIN IMMEDIATE")
    try:
        after = insert(db, chain, (draft,), at)
        db.execute("UPDATE origin SET seq = ?, hash = ?", (found.last, found.hash))
        db.execute("DELETE FROM bodies WHERE seq <= ?", (last,))
        db.execute("DELETE FROM entries WHERE seq <= ?", (last,))
        db.execute(
            """DELETE FROM receipts WHERE batch < (SELECT coalesce(min(batch), ? + 1) FROM entries
               WHERE batch > 0 AND kind NOT IN ('settled', 'checkpoint'))""",
            (chain.settled,),
        )
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    with suppress(sqlite3.OperationalError):  # a full disk: the pages are used again all the same
        db.execute("VACUUM")
    return found, after


def _last_to_go(db: sqlite3.Connection, before: date, settled: int) -> int:
    """The last entry of those that may leave; 0 when none may."""
    midnight = datetime(before.year, before.month, before.day, tzinfo=UTC).timestamp()
    (stays,) = db.execute(
        f"""SELECT coalesce(min(seq), (SELECT max(seq) + 1 FROM entries), 1) FROM (
                SELECT seq FROM entries WHERE batch > :settled AND kind <> 'checkpoint'
                UNION ALL SELECT seq FROM entries WHERE day >= :day OR (day = '' AND at >= :midnight)
                UNION ALL SELECT seq FROM attempts WHERE outcome IS NULL
                UNION ALL SELECT seq FROM tasks WHERE outcome IS NULL AND kind IN ({_TASKS}))""",  # noqa: S608
        {"settled": settled, "day": before.isoformat(), "midnight": midnight},
    ).fetchone()
    last, found = int(stays) - 1, -1
    while found != last:  # nothing is cut through: not what is about one payment, no gap and what names it
        found = last
        last = min(_untorn(db, last), _before_gap(db, last))
    return last


def _untorn(db: sqlite3.Connection, last: int) -> int:
    """The last entry up to `last`, or before the first of those about a payment that goes on after it."""
    (torn,) = db.execute(
        """SELECT min(first) FROM (SELECT min(seq) AS first, max(seq) AS last FROM entries
           WHERE kind NOT IN ('recovered', 'checkpoint') GROUP BY ref)
           WHERE first <= :last AND last > :last""",
        {"last": last},
    ).fetchone()
    return last if torn is None else int(torn) - 1


def _before_gap(db: sqlite3.Connection, last: int) -> int:
    """The last entry up to `last` before which none is missing, where an entry that stays names the gap."""
    if not db.execute("SELECT 1 FROM entries WHERE kind = 'recovered' AND seq > ?", (last,)).fetchone():
        return last
    (whole,) = db.execute(
        """SELECT coalesce(max(seq), 0)
           FROM (SELECT seq, row_number() OVER (ORDER BY seq) AS place FROM entries)
           WHERE seq = place + (SELECT seq FROM origin) AND seq <= ?""",
        (last,),
    ).fetchone()
    return int(whole)


def _write_archive(db: sqlite3.Connection, journal: Path, origin: sqlite3.Row, last: int) -> Checkpoint:
    folder = journal.parent / ARCHIVE
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"journal-{origin['seq'] + 1:09d}-{last:09d}.sqlite"
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(fresh, isolation_level=None)) as archive:
        archive.row_factory = sqlite3.Row
        archive.executescript(f"PRAGMA synchronous = FULL; BEGIN; {SCHEMA} {MARKS}")
        archive.execute("UPDATE origin SET seq = ?, hash = ?", tuple(origin))
        columns = ", ".join(COLUMNS)
        archive.executemany(
            f"INSERT INTO entries ({columns}) VALUES ({', '.join('?' * len(COLUMNS))})",  # noqa: S608
            db.execute(f"SELECT {columns} FROM entries WHERE seq <= ? ORDER BY seq", (last,)),  # noqa: S608
        )
        archive.executemany(
            "INSERT INTO bodies VALUES (?, ?, ?)",
            db.execute("SELECT seq, body, secret FROM bodies WHERE seq <= ? ORDER BY seq", (last,)),
        )
        archive.execute("COMMIT")
        chain = follow_file(archive, archive=True)
    if chain.broken is not None or chain.seq != last:
        fresh.unlink()
        raise OperatorError("the archive could not be read back", where=str(path), do="Check the disk.")
    fresh.chmod(0o400)
    fresh.replace(path)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return Checkpoint(origin["seq"] + 1, last, chain.hash, path.name, sha256(path.read_bytes()))
