"""The journal's file: opened, followed from its first entry to its last, and written one entry after another.

SQLite in WAL mode with synchronous=FULL: a write that returned is durable. What raised was not written. What
an entry means for a payment is `journal.Journal`'s business; this is the part that any chain would need.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from kiosk.acquirer.journal_chain import Chain, Draft, Gap, follow, sealed
from kiosk.acquirer.journal_guard import Mark, Reserve, hold_lock, not_opened
from kiosk.acquirer.journal_schema import (
    APPLICATION_ID,
    COLUMNS,
    MARKS,
    MIGRATE,
    SCHEMA,
    SCHEMA_VERSION,
)
from kiosk.domain.chain import GENESIS
from kiosk.domain.errors import OperatorError

RECOVER: Final = "Run `kiosk journal recover`: it keeps this file, saves what is whole, asks the acquirer."
__all__ = [
    "FULL_DISK",
    "OLDER_COPY",
    "Checkpoint",
    "Damaged",
    "JournalFile",
    "OtherRelease",
    "RecoveryNote",
    "follow_file",
    "insert",
    "note_of",
]

FULL_DISK: Final = "the disk is full: no payment is begun until there is room"
OLDER_COPY: Final = "older_copy"
"""Why a journal is halted that lies behind its mark; `sequence_reused` is the acquirer's word for it."""
_DISK: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
"""What SQLite says when a disk has no room (SQLITE_CANTOPEN: not even for the log's index)."""


class Damaged(OperatorError):  # noqa: N818 - what the journal is
    """A page can't be read, or the chain does not hold: `kiosk journal recover` saves what is whole."""


class OtherRelease(OperatorError):  # noqa: N818 - what the journal is of
    """Not a journal, or of another release; its own words for that may be what is damaged."""


class RecoveryNote(msgspec.Struct, frozen=True):
    """The body of a `recovered` entry: which entries and bodies are lost, and with which file."""

    gaps: tuple[Gap, ...] = ()
    bodies: tuple[int, ...] = ()
    file: str = ""
    sha256: str = ""


class Checkpoint(msgspec.Struct, frozen=True):
    """The body of a `checkpoint` entry: which entries lie in which archive file, and the hash of the last."""

    first: int
    last: int
    hash: str
    file: str
    sha256: str


class JournalFile:
    """The chained file at `path`; made (mode 0600, its folder 0700) when it is not there.

    `now`: seconds since 1970 (UTC), for the entries' times. `read_only`: beside a running kiosk, no lock.
    `archive`: the same for a file that compaction made.

    Raises:
        OperatorError: damaged, of another version, held by another kiosk, or the disk is full. What raised
            it was not written, so it must not be sent.
    """

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], float] = time.time,
        read_only: bool = False,
        archive: bool = False,
    ) -> None:
        read_only |= archive
        self._path, self._now, self._read_only, self._archive = path, now, read_only, archive
        self._mutex = threading.RLock()
        self._lock_handle: int | None = None if read_only else hold_lock(path)
        self._chain, self._sequence = Chain(), 0
        self._mark, self._reserve = Mark(None), Reserve(None)
        self._behind_mark = self._to_erase = False
        try:
            with self._explained():
                self._db = self._open_with_room()
                self._take_up()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of file and lock; calling it again does nothing."""
        with self._mutex:
            if hasattr(self, "_db"):
                self._db.close()
            self._mark.close()
            if self._lock_handle is not None:
                os.close(self._lock_handle)
                self._lock_handle = None

    @property
    def last_hash(self) -> str:
        """The hash of the last entry (64 hex digits): what the next request names as `previous`."""
        with self._mutex:
            return self._chain.hash

    @property
    def halted(self) -> str:
        """Why no payment may be begun: `older_copy`, the acquirer's code, or empty."""
        with self._mutex:
            return OLDER_COPY if self._behind_mark else self._chain.halted

    def next_sequence(self) -> int:
        """A number for the next request: larger than any before it, also across restarts.

        It is kept with the request; a number that was never written was never sent.
        """
        with self._mutex:
            self._sequence += 1
            return self._sequence

    def verify(self) -> int | None:
        """Follow the chain: None when it is whole, else the number of the first entry that does not fit."""
        with self._explained():
            return self._follow().broken

    def chain(self) -> Chain:
        """Follow the chain, and say where it stands: entries that are known to be lost, too."""
        with self._explained():
            return self._follow()

    def entries(self) -> Iterator[dict[str, Any]]:
        """Every entry, oldest first, by column; beside what is hashed also the payer's `token` itself."""
        with self._explained():
            for row in self._db.execute(f"SELECT {', '.join(COLUMNS)} FROM entries ORDER BY seq"):  # noqa: S608
                yield dict(row)

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._path

    def origin(self) -> tuple[int, str]:
        """Number and hash of the entry that the first one here follows: 0, or the last in an archive."""
        with self._explained():
            (row,) = self._rows("SELECT seq, hash FROM origin")
        return row["seq"], row["hash"]

    # --- open -------------------------------------------------------------------------------------------

    def _open_with_room(self) -> sqlite3.Connection:
        """A disk that is full must not keep what is open from its end, not even after a restart."""
        try:
            return self._open()
        except sqlite3.OperationalError as error:
            if not _is_full(error) or not Reserve(self._path).release():
                raise
            self._db.close()
            return self._open()

    def _open(self) -> sqlite3.Connection:
        if self._read_only:
            return self._open_to_read()
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        db = self._connect(str(self._path))
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = ON")
        (application,) = db.execute("PRAGMA application_id").fetchone()
        empty = not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if empty and not application:
            db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} {MARKS} COMMIT;")
        elif application == APPLICATION_ID and self._version()[1] in MIGRATE:
            self._migrate(self._version()[1])
        self._check_version()
        self._check_pages()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # what a kill kept from being erased
        self._mark, self._reserve = Mark(self._path), Reserve(self._path)
        self._reserve.hold()
        return db

    def _open_to_read(self) -> sqlite3.Connection:
        if not self._path.is_file():
            raise OperatorError(
                "there is no journal", where=str(self._path), do="Name the kiosk's --data-dir."
            )
        db = self._connect(f"{self._path.absolute().as_uri()}?mode=ro")
        self._check_version()
        self._check_pages()
        self._mark = Mark(None if self._archive else self._path, read_only=True)
        return db

    def _check_pages(self) -> None:
        (problem,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if problem != "ok":
            raise sqlite3.DatabaseError(problem.splitlines()[-1])

    def _connect(self, name: str) -> sqlite3.Connection:
        db = sqlite3.connect(
            name, isolation_level=None, check_same_thread=False, uri=name.startswith("file:")
        )
        self._db = db  # so that close() finds it whatever happens below
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA trusted_schema = OFF")
        return db

    def _version(self) -> tuple[int, int]:
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        return application, version

    def _check_version(self) -> None:
        application, version = self._version()
        readable = (SCHEMA_VERSION, *((2,) if self._archive else ()))  # an archive stays as it was written
        if application != APPLICATION_ID or version not in readable:
            raise OtherRelease(
                f"not a journal of this release (version {version}, this one writes {SCHEMA_VERSION})",
                where=str(self._path),
                do="Use the release that wrote it, or start this one's kiosk once.",
            )

    def _migrate(self, version: int) -> None:
        """A file of an earlier schema becomes one of this, in one transaction; entries and hashes stay."""
        self._db.create_function("day_number", 1, lambda day: date.fromisoformat(day).toordinal())
        try:
            self._db.executescript(f"BEGIN IMMEDIATE; {MIGRATE[version]}")
            self._refuse_broken(self._follow())
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def _take_up(self) -> None:
        mark = self._mark.read()  # first: a running kiosk writes it last
        chain = self._follow()
        self._refuse_broken(chain)
        self._chain, self._sequence = chain, chain.sequence
        if mark is None or self._has(*mark[:2]):
            self._noted()
        else:
            self._behind_mark, self._sequence = True, max(self._sequence, mark[2])

    def _has(self, seq: int, last: str) -> bool:
        if seq > self._chain.seq:
            return False
        rows = self._rows("SELECT hash FROM entries WHERE seq = ?", seq)
        return not rows or rows[0]["hash"] == last

    def _refuse_broken(self, chain: Chain) -> None:
        if chain.broken is not None:
            raise Damaged(
                f"entry {chain.broken} was changed or is missing",
                where=str(self._path),
                do=RECOVER,
            )

    def _follow(self) -> Chain:
        return follow_file(self._db, archive=self._archive)

    # --- write ------------------------------------------------------------------------------------------

    def _append(self, *drafts: Draft) -> None:
        """Write entries, all or none, durably. One statement: what fails leaves nothing behind."""
        self._chain = insert(
            self._db, self._chain, drafts, self._now()
        )  # autocommit: durable when it returns
        self._noted()
        if self._to_erase:
            self._erase()

    def _append_end(self, *drafts: Draft) -> None:
        """Write what ends something that is open; on a full disk the reserve makes room for it."""
        try:
            self._append(*drafts)
        except sqlite3.OperationalError as error:
            if not _is_full(error) or not self._reserve.release():
                raise
            self._append(*drafts)

    def _noted(self) -> None:
        if not self._behind_mark and not self._read_only:
            self._mark.write(self._chain.seq, self._chain.hash, max(self._sequence, self._chain.sequence))

    def _erase(self) -> None:
        """Let go of what was deleted, in the log too; with the next entry if a reader is in the way."""
        (busy, _, _) = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self._to_erase = bool(busy)

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        named = values[0] if values and isinstance(values[0], dict) else values
        return self._db.execute(query, named).fetchall()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """One caller at a time, and SQLite's errors as what they mean for an operator."""
        with self._mutex:
            try:
                yield
            except sqlite3.OperationalError as error:
                raise (
                    self._damaged(error)
                    if _is_damage(error)
                    else OperatorError(
                        f"the journal can't be written or read ({error})",
                        where=str(self._path),
                        do="Free the disk, or let the kiosk's user write there; nothing was sent.",
                    )
                ) from None
            except sqlite3.IntegrityError as error:
                raise ValueError(f"written already: {error}") from None
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # its message may be what is damaged
                raise self._damaged(error) from None
            except OSError as error:
                raise not_opened(self._path, error) from None

    def _damaged(self, error: Exception) -> Damaged:
        return Damaged(f"the journal is damaged ({error})", where=str(self._path), do=RECOVER)


def follow_file(db: sqlite3.Connection, *, archive: bool = False) -> Chain:
    """Follow the chain in an open file. Where it begins, a checkpoint says (for an `archive`: later)."""
    (origin,) = db.execute("SELECT seq, hash FROM origin").fetchall()
    notes = [note_of(row["body"]) for row in _bodies(db, "recovered")]
    final = {row["ref"] for row in db.execute("SELECT ref FROM entries WHERE kind = 'concluded'")}
    chain = follow(
        db.execute(f"SELECT {', '.join(COLUMNS)}, body FROM written ORDER BY seq"),  # noqa: S608
        tuple(origin),
        {gap for note in notes for gap in note.gaps},
        final | {seq for note in notes for seq in note.bodies},
    )
    known = {(0, GENESIS), *(checkpoint_of(row["body"]) for row in _bodies(db, "checkpoint"))}
    if not archive and tuple(origin) not in known:
        return replace(chain, broken=origin["seq"] + 1)
    return chain


def _bodies(db: sqlite3.Connection, kind: str) -> list[sqlite3.Row]:
    return db.execute("SELECT body FROM written WHERE kind = ? AND body IS NOT NULL", (kind,)).fetchall()


def insert(db: sqlite3.Connection, chain: Chain, drafts: tuple[Draft, ...], at: float) -> Chain:
    """Put drafts at the end of `chain` in one statement; the chain with them. `at`: seconds since 1970."""
    values = list[Any]()
    for draft in drafts:
        entry, chain = sealed(draft, chain, at)
        values += (*(entry[name] for name in COLUMNS), draft.frozen, draft.secret)
    row = f"({', '.join('?' * (len(COLUMNS) + 2))})"
    db.execute(
        f"INSERT INTO written ({', '.join(COLUMNS)}, body, secret) VALUES "  # noqa: S608
        + ", ".join([row] * len(drafts)),
        values,
    )
    return chain


def _is_full(error: sqlite3.Error) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DISK


def _is_damage(error: sqlite3.OperationalError) -> bool:
    """A table that is not there any more, text that is none: our statements are right, so the file is not."""
    if (code := getattr(error, "sqlite_errorcode", None)) is not None:
        return bool(code & 0xFF == sqlite3.SQLITE_ERROR)
    return "Could not decode" in str(error)


def note_of(body: bytes) -> RecoveryNote:
    """What a `recovered` entry says; nothing when its body is not one: then the entry does not fit either."""
    try:
        return msgspec.json.decode(body, type=RecoveryNote)
    except (msgspec.MsgspecError, UnicodeError):
        return RecoveryNote()


def checkpoint_of(body: bytes) -> tuple[int, str]:
    """The last entry that a `checkpoint` entry put into an archive: number and hash."""
    try:
        found = msgspec.json.decode(body, type=Checkpoint)
    except (msgspec.MsgspecError, UnicodeError):
        return -1, ""
    return found.last, found.hash
