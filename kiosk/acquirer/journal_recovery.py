"""A damaged journal made anew: what can be read goes into a new file, what is lost is named in its chain.

Entries keep their numbers and hashes; a `recovered` entry at the end names every gap, so that the new file
verifies and says what it lacks. The damaged file is kept beside it. The journal stays halted until the
acquirer was asked for what is missing (`app.recovery`).
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from kiosk.acquirer.journal_books import SKIPPED_SEQUENCES
from kiosk.acquirer.journal_carve import Carved, carve
from kiosk.acquirer.journal_chain import NO_BODY, Chain, Draft, Gap, sha256
from kiosk.acquirer.journal_file import (
    Damaged,
    JournalFile,
    OtherRelease,
    RecoveryNote,
    checkpoint_of,
    follow_file,
    insert,
    note_of,
)
from kiosk.acquirer.journal_guard import Mark, hold_lock, not_opened
from kiosk.acquirer.journal_schema import COLUMNS, CORRECTED, MARKS, SCHEMA
from kiosk.domain.chain import GENESIS
from kiosk.domain.errors import OperatorError
from kiosk.domain.money import Money
from kiosk.domain.payment import Order

__all__ = ["RECOVERING", "Mended", "is_whole", "mend"]

RECOVERING: Final = "recovering"
"""Why a journal is halted that was made anew and not yet held against the acquirer's books."""


ENDS: Final = {correction: end for end, correction in CORRECTED.items()}


@dataclass(frozen=True, slots=True)
class Mended:
    """What came of it: how many entries were saved, which are lost, and where the damaged file is kept."""

    saved: int
    gaps: tuple[Gap, ...]
    bodies: tuple[int, ...]
    kept: Path


def is_whole(path: Path) -> bool:
    """Whether the journal at `path` opens, its pages and its chain sound.

    Raises:
        OperatorError: it is not damaged, but can't be opened: in use, or by this user.
    """
    try:
        JournalFile(path).close()
    except Damaged:
        return False
    except OtherRelease:
        if not carve(path.read_bytes()).entries:
            raise
        return False  # entries of this release: it is the mark of the release that is damaged
    return True


def mend(path: Path, *, now: Callable[[], float] = time.time) -> Mended:
    """Put a new journal in the place of the damaged one at `path`. `now`: seconds since 1970 (UTC).

    Raises:
        OperatorError: no entry can be read, another kiosk runs, or the disk is full; nothing was changed.
    """
    lock = hold_lock(path)
    try:
        return _mend(path, now())
    except OSError as error:
        raise not_opened(path, error) from None
    except sqlite3.Error as error:
        raise OperatorError(
            f"the new journal can't be written ({error})", where=str(path), do="Free the disk; run it again."
        ) from None
    finally:
        os.close(lock)


def _mend(path: Path, at: float) -> Mended:
    fresh = path.with_name(path.name + ".mended")
    done = _written_before(fresh)
    if done is None:
        log = path.with_name(path.name + "-wal")
        damaged = path.read_bytes()
        found = carve(damaged, log.read_bytes() if log.exists() else b"")
        origin = _origin(found)
        known = _mark_of(path)
        entries = [entry for entry in _one_line(found, known) if entry["seq"] > origin[0]]
        if not entries and known is None:  # with a mark it was a journal: the acquirer knows the rest
            raise OperatorError("no entry of it can be read", where=str(path), do="Keep it for the acquirer.")
        stamp = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
        note = RecoveryNote(file=f"{path.name}.damaged-{stamp}", sha256=sha256(damaged))
        note = msgspec.structs.replace(note, **_lost(entries, found.bodies, origin[0], known))
        done = len(entries), note
        _write(fresh, _Content(origin, entries, found.bodies, note, known), at)
    saved, note = done
    _put_in_place(path, fresh, path.with_name(note.file))
    return Mended(saved, note.gaps, note.bodies, path.with_name(note.file))


def _written_before(fresh: Path) -> tuple[int, RecoveryNote] | None:
    """How many entries were saved, and the note, when an earlier run ended between writing and renaming."""
    if not fresh.exists():
        return None
    try:
        with closing(sqlite3.connect(fresh)) as db:
            db.row_factory = sqlite3.Row
            if follow_file(db).broken is not None:
                return None
            (row,) = db.execute(
                "SELECT seq, body FROM written WHERE kind = 'recovered' ORDER BY seq DESC LIMIT 1"
            ).fetchall()
            (saved,) = db.execute("SELECT count(*) FROM entries WHERE seq < ?", (row["seq"],)).fetchone()
            return saved, note_of(row["body"])
    except (sqlite3.Error, ValueError):
        return None


def _mark_of(path: Path) -> tuple[int, str, int] | None:
    mark = Mark(path)
    try:
        return mark.read()
    finally:
        mark.close()


def _one_line(found: Carved, mark: tuple[int, str, int] | None) -> list[dict[str, Any]]:
    """One entry for each number: where copies differ, the one that the next entry (or the mark) names."""
    wanted = mark[1] if mark else ""
    line = list[dict[str, Any]]()
    for seq in sorted(found.entries, reverse=True):
        rows = found.entries[seq]
        entry = next((row for row in rows if row["hash"] == wanted), rows[0])
        if _lacks(entry, found.bodies) and entry["kind"] == "reversal":
            continue  # asked for anew, with a body of its own
        wanted = entry["prev_hash"]
        line.append(entry)
    return line[::-1]


def _lacks(entry: Mapping[str, Any], bodies: Mapping[str, bytes]) -> bool:
    return entry["body_sha256"] != NO_BODY and entry["body_sha256"] not in bodies


@dataclass(frozen=True, slots=True)
class _Content:
    """What goes into the new file; `mark` is how far the journal had come, where that is known."""

    origin: tuple[int, str]
    entries: list[dict[str, Any]]
    bodies: Mapping[str, bytes]
    note: RecoveryNote
    mark: tuple[int, str, int] | None

    def tip(self) -> tuple[int, str]:
        """Number and hash of the last entry that ever was, as far as anybody knows."""
        last = (self.entries[-1]["seq"], self.entries[-1]["hash"]) if self.entries else self.origin
        return self.mark[:2] if self.mark and self.mark[0] > last[0] else last

    def used(self) -> int:
        """The highest sequence number that was used."""
        used = [int(entry["sequence"]) for entry in self.entries]
        return max([*used, self.mark[2] if self.mark else 0])


def _write(fresh: Path, content: _Content, at: float) -> None:
    for end in ("", "-journal"):
        fresh.with_name(fresh.name + end).unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    ended = _ended(content.entries)
    with closing(sqlite3.connect(fresh, isolation_level=None)) as db:
        db.executescript(f"PRAGMA synchronous = FULL; BEGIN; {SCHEMA} {MARKS}")
        db.execute("UPDATE origin SET seq = ?, hash = ?", content.origin)
        for entry in content.entries:
            db.execute(
                f"INSERT INTO entries VALUES ({', '.join('?' * len(COLUMNS))})",  # noqa: S608
                [entry[name] for name in COLUMNS],
            )
            body = content.bodies.get(entry["body_sha256"])
            secret = entry["kind"] == "payment" and b'"pin":"' in (body or b"")
            if body and not (secret and entry["ref"] in ended):
                db.execute("INSERT INTO bodies VALUES (?, ?, ?)", (entry["seq"], body, secret))
        last, digest = content.tip()
        notes = _notes(content.note, last, content.used())
        insert(db, Chain(last, digest), (*notes, *_orphans(content.entries)), at)
        db.execute("COMMIT")


def _ended(entries: Iterable[Mapping[str, Any]]) -> set[str]:
    return {entry["ref"] for entry in entries if entry["kind"] == "concluded"}


def _origin(found: Carved) -> tuple[int, str]:
    """Where the chain began: behind the newest archive that an entry names."""
    named = (
        checkpoint_of(found.bodies.get(row["body_sha256"], b""))
        for rows in found.entries.values()
        for row in rows
        if row["kind"] == "checkpoint"
    )
    return max((0, GENESIS), *named, (0, GENESIS))


def _lost(
    entries: list[dict[str, Any]],
    bodies: Mapping[str, bytes],
    origin: int,
    mark: tuple[int, str, int] | None,
) -> dict[str, Any]:
    """Every gap, those that an earlier recovery named among them, and every body."""
    gaps, before, ended = list[Gap](), origin, _ended(entries)
    for seq in (*(entry["seq"] for entry in entries), *([mark[0] + 1] if mark else ())):
        if seq > before + 1:
            gaps.append(Gap(before + 1, seq - 1))
        before = max(before, seq)
    without = tuple(
        entry["seq"]
        for entry in entries
        if _lacks(entry, bodies) and not (entry["kind"] == "payment" and entry["ref"] in ended)
    )
    return {"gaps": tuple(gaps), "bodies": without}


def _notes(note: RecoveryNote, last: int, used: int) -> tuple[Draft, ...]:
    said = Draft(
        "recovered",
        f"recovery:{last + 1}",
        body=msgspec.json.encode(note),
        sequence=used + SKIPPED_SEQUENCES,
    )
    return said, Draft("halted", f"halt:{last + 2}", result=RECOVERING)


def _orphans(entries: list[dict[str, Any]]) -> tuple[Draft, ...]:
    """The beginning of what has an end here and lost its beginning: every end says what it is about."""
    begun = {(entry["ref"], entry["kind"], entry["number"]) for entry in entries}
    wanted = {
        (entry["ref"], kind, entry["number"]): entry
        for entry in entries
        if (kind := _begins(entry["kind"])) is not None
    }
    return tuple(
        Draft(
            kind,
            ref,
            Order(entry["order_ref"], Money(entry["minor"], entry["currency"]), entry["payee"])
            if entry["order_ref"]
            else None,
            entry["token"],
            entry["day"],
            number,
            entry["batch"],
            result="adopted",
            currency=entry["currency"],
            at=entry["at"],
        )
        for (ref, kind, number), entry in wanted.items()
        if (ref, kind, number) not in begun
    )


def _begins(kind: str) -> str | None:
    """With which kind something begins that ends with this one; None: it is no end."""
    end = ENDS.get(kind, kind)
    return "payment" if end == "concluded" else end.removesuffix("_end") if end.endswith("_end") else None


def _put_in_place(path: Path, fresh: Path, kept: Path) -> None:
    """The damaged file and its log get another name before the new one gets theirs: no step loses a byte."""
    for end in ("", "-wal"):
        source = path.with_name(path.name + end)
        if source.exists():
            with suppress(FileExistsError):
                os.link(source, kept.with_name(kept.name + end))
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
