"""The sandbox's books: every statement of SQL is in this file and in `ledger_gallery`.

Double entry: a debit is two postings that add up to zero, a reversal or a refund two more; postings are never
changed. An attempt's row says what became of it; that one attempt of an order is approved is an index, and
that no more is given back than was taken is a trigger, not a hope.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kiosk.acquirer.operations import Kind
from kiosk.domain.errors import OperatorError
from kiosk.domain.money import Money
from kiosk.domain.payment import Result
from kiosk.sandbox import ledger_gallery

__all__ = ["Attempt", "Booked", "Ledger", "LedgerRow", "Person", "Refund", "StoredAnswer"]

VERSION: Final = 4
QUARTER_S: Final = 900
"""Every time zone's midnight is the beginning of one."""
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS terminals (key_id TEXT PRIMARY KEY, name TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS accounts (
    token TEXT PRIMARY KEY, currency TEXT NOT NULL, opening INTEGER NOT NULL, masked TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS attempts (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, terminal TEXT NOT NULL, ref TEXT NOT NULL,
    store TEXT NOT NULL, order_ref TEXT NOT NULL, token TEXT NOT NULL,
    minor INTEGER NOT NULL, currency TEXT NOT NULL,
    result TEXT NOT NULL CHECK (result IN ('approved', 'declined', 'reversed')),
    code TEXT NOT NULL, approval TEXT NOT NULL, rrn TEXT NOT NULL,
    batch INTEGER NOT NULL, offline INTEGER NOT NULL, UNIQUE (terminal, ref)
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS one_approved ON attempts (store, order_ref) WHERE result = 'approved';
CREATE INDEX IF NOT EXISTS by_token ON attempts (token, at, minor) WHERE result = 'approved';
CREATE INDEX IF NOT EXISTS by_batch ON attempts (terminal, batch);
CREATE INDEX IF NOT EXISTS offline_by_time ON attempts (terminal, at) WHERE offline;
CREATE TABLE IF NOT EXISTS takings (
    terminal TEXT NOT NULL, quarter INTEGER NOT NULL, number INTEGER NOT NULL, minor INTEGER NOT NULL,
    PRIMARY KEY (terminal, quarter)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS taken AFTER INSERT ON attempts WHEN NEW.result = 'approved'
BEGIN
    INSERT INTO takings VALUES (NEW.terminal, CAST(NEW.at AS INTEGER) / 900, 1, NEW.minor)
    ON CONFLICT DO UPDATE SET number = number + 1, minor = minor + excluded.minor;
END;
CREATE TRIGGER IF NOT EXISTS undone AFTER UPDATE OF result ON attempts
WHEN OLD.result = 'approved' AND NEW.result <> 'approved'
BEGIN
    UPDATE takings SET number = number - 1, minor = minor - OLD.minor
    WHERE terminal = OLD.terminal AND quarter = CAST(OLD.at AS INTEGER) / 900;
END;
CREATE TABLE IF NOT EXISTS refunds (
    attempt INTEGER NOT NULL REFERENCES attempts, number INTEGER NOT NULL, at REAL NOT NULL,
    minor INTEGER NOT NULL CHECK (minor > 0), batch INTEGER NOT NULL, approved_by TEXT NOT NULL,
    reason TEXT NOT NULL, result TEXT NOT NULL CHECK (result IN ('approved', 'declined')),
    code TEXT NOT NULL, PRIMARY KEY (attempt, number)
) STRICT;
CREATE INDEX IF NOT EXISTS refunds_by_batch ON refunds (batch);
CREATE TRIGGER IF NOT EXISTS not_more_than_paid AFTER INSERT ON refunds WHEN NEW.result = 'approved' AND
    (SELECT sum(minor) FROM refunds WHERE attempt = NEW.attempt AND result = 'approved')
    > (SELECT iif(result = 'approved', minor, 0) FROM attempts WHERE id = NEW.attempt)
BEGIN SELECT RAISE(ABORT, 'more than was paid'); END;
CREATE TABLE IF NOT EXISTS sequences (
    terminal TEXT NOT NULL, sequence INTEGER NOT NULL, key TEXT NOT NULL, PRIMARY KEY (terminal, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settled (
    terminal TEXT NOT NULL, batch INTEGER NOT NULL, at REAL NOT NULL, PRIMARY KEY (terminal, batch)
) STRICT;
CREATE TABLE IF NOT EXISTS disputes (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, terminal TEXT NOT NULL, ref TEXT NOT NULL, reason TEXT NOT NULL,
    body BLOB NOT NULL, UNIQUE (terminal, ref)
) STRICT;
CREATE TABLE IF NOT EXISTS wrong_pins (token TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS people (
    token TEXT PRIMARY KEY, at REAL NOT NULL, account TEXT NOT NULL, consent_ref TEXT NOT NULL,
    consent BLOB NOT NULL, model_id TEXT NOT NULL, template BLOB, withdrawn_at REAL, wishes BLOB
) STRICT;
CREATE TABLE IF NOT EXISTS telemetry (terminal TEXT PRIMARY KEY, at REAL NOT NULL, body BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS postings (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, attempt INTEGER NOT NULL REFERENCES attempts,
    account TEXT NOT NULL, minor INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS by_account ON postings (account, minor);
CREATE INDEX IF NOT EXISTS by_attempt ON postings (attempt);
CREATE TABLE IF NOT EXISTS answers (
    terminal TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL, status INTEGER NOT NULL,
    body BLOB NOT NULL, batch INTEGER NOT NULL, PRIMARY KEY (terminal, key)
) STRICT;
CREATE TABLE IF NOT EXISTS policies (
    version INTEGER PRIMARY KEY, terms BLOB NOT NULL, expires_s INTEGER NOT NULL
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to pay. `terminal` is merchant/store/terminal, `store` merchant/store.

    `batch`: the one it was asked for in, however late its end comes. `offline`: it came as an advice.
    """

    terminal: str
    ref: str
    store: str
    order_ref: str
    token: str
    amount: Money
    result: Result
    code: str
    approval: str = ""
    rrn: str = ""
    batch: int = 0
    offline: bool = False
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund of an attempt, its `number` counted from 1; `minor` units of the attempt's currency."""

    number: int
    minor: int
    batch: int
    approved_by: str
    reason: str
    result: Result
    code: str


@dataclass(frozen=True, slots=True)
class Booked:
    """What counts in a batch (`operations.Item`), and the attempt that it is about."""

    kind: Kind
    number: int
    minor: int
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Person:
    """Who enrolled here. `template` is sealed, None once withdrawn; times are seconds since 1970 (UTC)."""

    token: str
    at: float
    account: str
    consent_ref: str
    consent: bytes
    model_id: str
    template: bytes | None
    withdrawn_at: float | None
    wishes: bytes | None = None

    @property
    def masked_name(self) -> str:
        """For a screen: the acquirer knows no name, so it is the end of the account's."""
        return f"*{self.account[-1:]}"

    @property
    def masked_account(self) -> str:
        """For a screen and a receipt."""
        return f"*{self.token[-4:]}"


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What was answered under an idempotency key, and to which content (`digest`: SHA-256, hex)."""

    digest: str
    status: int
    body: bytes
    batch: int = 0


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """An attempt and what its postings took from the payer in sum (minor units; 0 after a reversal)."""

    at: float
    attempt: Attempt
    debited_minor: int
    refunds: tuple[Refund, ...] = ()


class Ledger:
    """The books at `path`. One thread; writes happen inside `transaction`.

    Raises:
        OperatorError: the file is no ledger or the disk refuses it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
        except sqlite3.Error as error:
            raise _unusable(path, error) from None
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA secure_delete = ON")  # a template that is withdrawn is gone
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            empty = not self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            if not empty and version != VERSION:
                self._db.close()
                raise OperatorError(
                    "books of another release", where=str(path), do="Move them away; new ones are begun."
                )
            self._db.executescript(SCHEMA + ledger_gallery.SCHEMA)
            self._db.execute(f"PRAGMA user_version = {VERSION}")
        except sqlite3.Error as error:
            self._db.close()
            raise _unusable(path, error) from None
        self.gallery = ledger_gallery.GalleryBooks(self._db)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing, and on the disk when the block has ended.

        Raises:
            OperatorError: the disk refuses it; nothing was written.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite has ended it itself when the disk is full
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            raise _unusable(self._path, error) from None

    # --- terminals, answers, policies ---

    def bind(self, key_id: str, name: str) -> str:
        """The terminal that `key_id` speaks for: `name` at the first time, and the same ever after."""
        self._db.execute("INSERT OR IGNORE INTO terminals VALUES (?, ?)", (key_id, name))
        return self.terminal(key_id)

    def terminal(self, key_id: str) -> str:
        """Empty for a key that never paid."""
        row = self._one("SELECT name FROM terminals WHERE key_id = ?", key_id)
        return str(row[0]) if row else ""

    def stored(self, terminal: str, key: str) -> StoredAnswer | None:
        row = self._one(
            "SELECT digest, status, body, batch FROM answers WHERE terminal = ? AND key = ?", terminal, key
        )
        return StoredAnswer(*row) if row else None

    def store(self, terminal: str, key: str, answer: StoredAnswer) -> None:
        self._db.execute(
            "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?)",
            (terminal, key, answer.digest, answer.status, answer.body, answer.batch),
        )

    def take_sequence(self, terminal: str, sequence: int, key: str) -> bool:
        """Note that `key` has this sequence; False when another one has."""
        self._db.execute("INSERT OR IGNORE INTO sequences VALUES (?, ?, ?)", (terminal, sequence, key))
        row = self._one("SELECT key FROM sequences WHERE terminal = ? AND sequence = ?", terminal, sequence)
        return row == (key,)

    def forget_answers(self, before: float) -> None:
        """Drop the answers of batches that were settled before a time: their attempts stay in the books."""
        self._db.execute(
            """DELETE FROM answers WHERE (terminal, batch) IN
               (SELECT terminal, batch FROM settled WHERE at < ?)""",
            (before,),
        )

    def policy(self) -> tuple[int, bytes, int]:
        """Version, terms and expiry (seconds) of the last policy that was issued; version 0: none."""
        row = self._one("SELECT version, terms, expires_s FROM policies ORDER BY version DESC LIMIT 1")
        return row if row else (0, b"", 0)

    def terms(self, version: int) -> bytes | None:
        row = self._one("SELECT terms FROM policies WHERE version = ?", version)
        return row[0] if row else None

    def issue(self, version: int, terms: bytes, expires_s: int) -> None:
        self._db.execute("INSERT INTO policies VALUES (?, ?, ?)", (version, terms, expires_s))

    # --- money ---

    def account(self, token: str) -> tuple[str, int, str] | None:
        """Currency, balance (minor units) and masked name; None when there is no such account."""
        row = self._one("SELECT currency, opening, masked FROM accounts WHERE token = ?", token)
        if row is None:
            return None
        (moved,) = self._sum("SELECT sum(minor) FROM postings WHERE account = ?", f"payer:{token}")
        return row[0], row[1] + moved, row[2]

    def open_account(self, token: str, currency: str, opening: int, masked: str) -> None:
        self._db.execute("INSERT INTO accounts VALUES (?, ?, ?, ?)", (token, currency, opening, masked))

    def attempt(self, terminal: str, ref: str) -> Attempt | None:
        row = self._one(f"{_SELECT} WHERE terminal = ? AND ref = ?", terminal, ref)
        return _attempt(row) if row else None

    def known_payer(self, terminal: str, token: str) -> bool:
        """Whether this terminal has had an approval of this payer online."""
        query = """SELECT 1 FROM attempts WHERE token = ? AND terminal = ? AND NOT offline
                   AND result = 'approved' LIMIT 1"""
        return self._one(query, token, terminal) is not None

    def is_paid(self, store: str, order_ref: str) -> bool:
        query = "SELECT 1 FROM attempts WHERE store = ? AND order_ref = ? AND result = 'approved'"
        return self._one(query, store, order_ref) is not None

    def next_rrn(self) -> str:
        """Twelve digits (ISO 8583 DE 37)."""
        (last,) = self._sum("SELECT max(id) FROM attempts")
        return f"{last + 1:012d}"

    def enter(self, attempt: Attempt, at: float) -> None:
        """Write an attempt down; an approval is debited."""
        cursor = self._db.execute(
            """INSERT INTO attempts (at, terminal, ref, store, order_ref, token, minor, currency,
               result, code, approval, rrn, batch, offline)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                at,
                attempt.terminal,
                attempt.ref,
                attempt.store,
                attempt.order_ref,
                attempt.token,
                attempt.amount.minor,
                attempt.amount.currency,
                attempt.result,
                attempt.code,
                attempt.approval,
                attempt.rrn,
                attempt.batch,
                attempt.offline,
            ),
        )
        if attempt.result is Result.APPROVED:
            self._post(cursor.lastrowid, attempt, -attempt.amount.minor, at)

    def reverse(self, attempt: Attempt, at: float) -> None:
        """Undo an attempt: what was debited and not yet refunded is given back; nothing is removed."""
        key = self._id(attempt)
        if attempt.result is Result.APPROVED:
            refunded = sum(refund.minor for refund in self.refunds(attempt) if _is_approved(refund))
            self._post(key, attempt, attempt.amount.minor - refunded, at)
        self._db.execute("UPDATE attempts SET result = 'reversed', code = 'reversed' WHERE id = ?", (key,))

    def refunds(self, attempt: Attempt) -> list[Refund]:
        """Every refund of an attempt, declined ones too."""
        rows = self._db.execute(
            """SELECT number, minor, batch, approved_by, reason, result, code FROM refunds
               WHERE attempt = ? ORDER BY number""",
            (self._id(attempt),),
        )
        return [
            Refund(number, minor, batch, approved_by, reason, Result(result), code)
            for number, minor, batch, approved_by, reason, result, code in rows
        ]

    def refund(self, attempt: Attempt, refund: Refund, at: float) -> None:
        """Write a refund down; an approved one is credited."""
        key = self._id(attempt)
        if _is_approved(refund):
            self._post(key, attempt, refund.minor, at)
        self._db.execute(
            "INSERT INTO refunds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                key,
                refund.number,
                at,
                refund.minor,
                refund.batch,
                refund.approved_by,
                refund.reason,
                refund.result,
                refund.code,
            ),
        )

    def _id(self, attempt: Attempt) -> int:
        row = self._one(
            "SELECT id FROM attempts WHERE terminal = ? AND ref = ?", attempt.terminal, attempt.ref
        )
        assert row is not None  # noqa: S101 - it was read in this transaction
        return int(row[0])

    def _post(self, attempt_id: int | None, attempt: Attempt, to_payer: int, at: float) -> None:
        self._db.executemany(
            "INSERT INTO postings (at, attempt, account, minor) VALUES (?, ?, ?, ?)",
            (
                (at, attempt_id, f"payer:{attempt.token}", to_payer),
                (at, attempt_id, f"store:{attempt.store}", -to_payer),
            ),
        )

    def paid_by(self, token: str, since: float) -> tuple[int, int]:
        """Number and sum (minor units) of a payer's approvals since a time."""
        return self._count(
            """SELECT count(*), coalesce(sum(minor), 0) FROM attempts
               WHERE result = 'approved' AND token = ? AND at >= ?""",
            token,
            since,
        )

    def taken_at(self, terminal: str, since: float) -> tuple[int, int]:
        """Number and sum (minor units) of a terminal's approvals since a full quarter of an hour.

        Counted as they come: the ten-thousandth sale of a day must not wait for the others to be added up.
        """
        return self._count(
            """SELECT coalesce(sum(number), 0), coalesce(sum(minor), 0) FROM takings
               WHERE terminal = ? AND quarter >= ?""",
            terminal,
            int(since) // QUARTER_S,
        )

    def forwarded_after(self, terminal: str, at: float) -> tuple[int, int]:
        """Number and sum (minor units) of a terminal's offline sales that came in after a time, also of
        those that were declined."""
        return self._count(
            """SELECT count(*), coalesce(sum(minor), 0) FROM attempts
               WHERE offline AND terminal = ? AND at > ?""",
            terminal,
            at,
        )

    def book_as_offline(self, attempt: Attempt) -> None:
        """An attempt that had come online is one that its terminal holds as accepted offline."""
        self._db.execute("UPDATE attempts SET offline = 1 WHERE id = ?", (self._id(attempt),))

    def rows(self) -> list[LedgerRow]:
        """Every attempt, oldest first."""
        found = self._db.execute(
            f"""SELECT coalesce((SELECT -sum(p.minor) FROM postings p WHERE p.attempt = a.id
                AND p.account LIKE 'payer:%'), 0), {_COLUMNS} FROM attempts a ORDER BY id"""  # noqa: S608
        ).fetchall()
        attempts = [(debited, _attempt(tuple(rest))) for debited, *rest in found]
        return [
            LedgerRow(attempt.at, attempt, debited, tuple(self.refunds(attempt)))
            for debited, attempt in attempts
        ]

    # --- batches ---

    def bookings(self, terminal: str, batch: int) -> list[Booked]:
        """What counts in a terminal's batch: its payments that are approved or undone, refunds made in it."""
        asked = self._db.execute(
            f"{_SELECT} WHERE terminal = ? AND batch = ? AND result <> 'declined' ORDER BY id",
            (terminal, batch),
        )
        booked = [
            Booked(_kind_of(attempt), 1, attempt.amount.minor, attempt) for attempt in map(_attempt, asked)
        ]
        refunds = self._db.execute(
            f"""SELECT r.number, r.minor, {", ".join(f"a.{name}" for name in _COLUMNS.split(", "))}
                FROM refunds r JOIN attempts a ON a.id = r.attempt
                WHERE a.terminal = ? AND r.batch = ? AND r.result = 'approved'""",  # noqa: S608
            (terminal, batch),
        )
        booked += [Booked("refund", number, minor, _attempt(tuple(rest))) for number, minor, *rest in refunds]
        return booked

    def settle(self, terminal: str, batch: int, at: float) -> None:
        """Close a batch for good; once more changes nothing."""
        self._db.execute("INSERT OR IGNORE INTO settled VALUES (?, ?, ?)", (terminal, batch, at))

    def is_settled(self, terminal: str, batch: int) -> bool:
        query = "SELECT 1 FROM settled WHERE terminal = ? AND batch = ?"
        return self._one(query, terminal, batch) is not None

    # --- disputes, PINs, people, health ---

    def dispute(self, terminal: str, ref: str, reason: str, body: bytes, at: float) -> int:
        """The number of the dispute about a payment: a new one, or the one that there is."""
        self._db.execute(
            "INSERT OR IGNORE INTO disputes (at, terminal, ref, reason, body) VALUES (?, ?, ?, ?, ?)",
            (at, terminal, ref, reason, body),
        )
        return self._sum("SELECT id FROM disputes WHERE terminal = ? AND ref = ?", terminal, ref)[0]

    def disputes(self) -> list[tuple[int, float, str, str, str, bytes]]:
        """Number, time, terminal, ref, reason and the message, oldest first."""
        return self._db.execute(
            "SELECT id, at, terminal, ref, reason, body FROM disputes ORDER BY id"
        ).fetchall()

    def wrong_pins(self, token: str) -> int:
        """How many PINs in a row were wrong."""
        return self._sum("SELECT number FROM wrong_pins WHERE token = ?", token)[0]

    def count_pin(self, token: str, *, right: bool) -> None:
        """A right one clears the count."""
        if right:
            self._db.execute("DELETE FROM wrong_pins WHERE token = ?", (token,))
        else:
            self._db.execute(
                "INSERT INTO wrong_pins VALUES (?, 1) ON CONFLICT (token) DO UPDATE SET number = number + 1",
                (token,),
            )

    def enrol(self, person: Person) -> None:
        self._db.execute(
            "INSERT INTO people VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                person.token,
                person.at,
                person.account,
                person.consent_ref,
                person.consent,
                person.model_id,
                person.template,
                person.withdrawn_at,
                person.wishes,
            ),
        )

    def person(self, token: str) -> Person | None:
        row = self._one("SELECT * FROM people WHERE token = ?", token)
        return Person(*row) if row else None

    def people(self, model_id: str) -> list[Person]:
        """Everybody whose template by this model is held."""
        rows = self._db.execute(
            "SELECT * FROM people WHERE model_id = ? AND template IS NOT NULL", (model_id,)
        )
        return [Person(*row) for row in rows]

    def people_in(self, segment: int) -> list[Person]:
        """Everybody who stands in a segment of the gallery."""
        rows = self._db.execute(
            """SELECT people.* FROM placed JOIN people ON people.token = placed.token
               WHERE segment = ? ORDER BY placed.token""",
            (segment,),
        )
        return [Person(*row) for row in rows.fetchall()]

    def withdraw(self, token: str, at: float) -> None:
        """Delete a person's template; what they paid stays. Once more changes nothing.

        Who only has an account is written down as withdrawn, so that it pays nothing any more.
        """
        self._db.execute(
            "INSERT OR IGNORE INTO people VALUES (?, 0, '', '', X'', '', NULL, NULL, NULL)", (token,)
        )
        self._db.execute(
            """UPDATE people SET template = NULL, wishes = NULL, account = '',
                 withdrawn_at = coalesce(withdrawn_at, ?)
               WHERE token = ?""",
            (at, token),
        )

    def wipe(self) -> None:
        """What was deleted leaves the write-ahead log, too. Not inside a transaction."""
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.OperationalError as error:
            raise _unusable(self._path, error) from None

    def hear(self, terminal: str, body: bytes, at: float) -> None:
        """Keep what a terminal said last of its health."""
        self._db.execute("INSERT OR REPLACE INTO telemetry VALUES (?, ?, ?)", (terminal, at, body))

    def heard(self) -> list[tuple[str, float, bytes]]:
        """Terminal, time and message of each terminal's last word."""
        return self._db.execute("SELECT terminal, at, body FROM telemetry ORDER BY terminal").fetchall()

    def _one(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._db.execute(query, values).fetchone()
        return row

    def _count(self, query: str, *values: Any) -> tuple[int, int]:
        row = self._one(query, *values)
        return row if row else (0, 0)

    def _sum(self, query: str, *values: Any) -> tuple[int]:
        row = self._one(query, *values)
        return (row[0] if row and row[0] is not None else 0,)


_COLUMNS: Final = (
    "terminal, ref, store, order_ref, token, minor, currency, result, code, approval, rrn, batch, offline, at"
)
_SELECT: Final = f"SELECT {_COLUMNS} FROM attempts"  # noqa: S608


def _unusable(path: Path, error: sqlite3.Error) -> OperatorError:
    do = "Free the disk, or run as the folder's owner."
    return OperatorError(f"the ledger can't be used ({error})", where=str(path), do=do)


def _attempt(row: tuple[Any, ...]) -> Attempt:
    terminal, ref, store, order_ref, token, minor, currency, result, *rest = row
    code, approval, rrn, batch, offline, at = rest
    return Attempt(
        terminal=terminal,
        ref=ref,
        store=store,
        order_ref=order_ref,
        token=token,
        amount=Money(minor, currency),
        result=Result(result),
        code=code,
        approval=approval,
        rrn=rrn,
        batch=batch,
        offline=bool(offline),
        at=at,
    )


def _kind_of(attempt: Attempt) -> Kind:
    if attempt.result is Result.REVERSED:
        return "reversal"
    return "offline" if attempt.offline else "payment"


def _is_approved(refund: Refund) -> bool:
    return refund.result is Result.APPROVED
