"""The sandbox's books: every statement of SQL is in this file.

Double entry: a debit is two postings that add up to zero, a reversal two more; postings are never changed.
An attempt's row says what became of it; that one attempt of an order is approved is an index, not a hope.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kiosk.domain.errors import OperatorError
from kiosk.domain.money import Money
from kiosk.domain.payment import Result

__all__ = ["Attempt", "Ledger", "LedgerRow", "StoredAnswer"]

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
    code TEXT NOT NULL, approval TEXT NOT NULL, rrn TEXT NOT NULL, UNIQUE (terminal, ref)
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS one_approved ON attempts (store, order_ref) WHERE result = 'approved';
CREATE INDEX IF NOT EXISTS by_token ON attempts (token, at);
CREATE TABLE IF NOT EXISTS postings (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, attempt INTEGER NOT NULL REFERENCES attempts,
    account TEXT NOT NULL, minor INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS by_account ON postings (account);
CREATE INDEX IF NOT EXISTS by_attempt ON postings (attempt);
CREATE TABLE IF NOT EXISTS answers (
    terminal TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL, status INTEGER NOT NULL,
    body BLOB NOT NULL, PRIMARY KEY (terminal, key)
) STRICT;
CREATE TABLE IF NOT EXISTS policies (
    version INTEGER PRIMARY KEY, terms BLOB NOT NULL, expires_s INTEGER NOT NULL
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to pay. `terminal` is merchant/store/terminal, `store` merchant/store."""

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


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What was answered under an idempotency key, and to which content (`digest`: SHA-256, hex)."""

    digest: str
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """An attempt and what its postings took from the payer in sum (minor units; 0 after a reversal)."""

    at: float
    attempt: Attempt
    debited_minor: int


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
            self._db.executescript(SCHEMA)
        except sqlite3.Error as error:
            self._db.close()
            raise _unusable(path, error) from None

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
            "SELECT digest, status, body FROM answers WHERE terminal = ? AND key = ?", terminal, key
        )
        return StoredAnswer(*row) if row else None

    def store(self, terminal: str, key: str, answer: StoredAnswer) -> None:
        self._db.execute(
            "INSERT INTO answers VALUES (?, ?, ?, ?, ?)",
            (terminal, key, answer.digest, answer.status, answer.body),
        )

    def policy(self) -> tuple[int, bytes, int]:
        """Version, terms and expiry (seconds) of the last policy that was issued; version 0: none."""
        row = self._one("SELECT version, terms, expires_s FROM policies ORDER BY version DESC LIMIT 1")
        return row if row else (0, b"", 0)

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
               result, code, approval, rrn) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
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
            ),
        )
        if attempt.result is Result.APPROVED:
            self._post(cursor.lastrowid, attempt, -attempt.amount.minor, at)

    def reverse(self, attempt: Attempt, at: float) -> None:
        """Undo an attempt: what was debited is given back; nothing is removed."""
        (row,) = self._db.execute(
            "SELECT id FROM attempts WHERE terminal = ? AND ref = ?", (attempt.terminal, attempt.ref)
        )
        if attempt.result is Result.APPROVED:
            self._post(row[0], attempt, attempt.amount.minor, at)
        self._db.execute("UPDATE attempts SET result = 'reversed', code = 'reversed' WHERE id = ?", row)

    def _post(self, attempt_id: int | None, attempt: Attempt, to_payer: int, at: float) -> None:
        self._db.executemany(
            "INSERT INTO postings (at, attempt, account, minor) VALUES (?, ?, ?, ?)",
            (
                (at, attempt_id, f"payer:{attempt.token}", to_payer),
                (at, attempt_id, f"store:{attempt.store}", -to_payer),
            ),
        )

    def approved_since(self, since: float, *, token: str = "", terminal: str = "") -> tuple[int, int]:
        """Number and sum (minor units) of approvals since a time, by payer or by terminal."""
        row = self._one(
            """SELECT count(*), coalesce(sum(minor), 0) FROM attempts
               WHERE result = 'approved' AND at >= ? AND (token = ? OR terminal = ?)""",
            since,
            token,
            terminal,
        )
        return row if row else (0, 0)

    def rows(self) -> list[LedgerRow]:
        """Every attempt, oldest first."""
        found = self._db.execute(
            f"""SELECT at, coalesce((SELECT -sum(p.minor) FROM postings p WHERE p.attempt = a.id
                AND p.account LIKE 'payer:%'), 0), {_COLUMNS} FROM attempts a ORDER BY id"""  # noqa: S608
        )
        return [LedgerRow(at, _attempt(tuple(rest)), debited) for at, debited, *rest in found]

    def _one(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._db.execute(query, values).fetchone()
        return row

    def _sum(self, query: str, *values: Any) -> tuple[int]:
        row = self._one(query, *values)
        return (row[0] if row and row[0] is not None else 0,)


_COLUMNS: Final = "terminal, ref, store, order_ref, token, minor, currency, result, code, approval, rrn"
_SELECT: Final = f"SELECT {_COLUMNS} FROM attempts"  # noqa: S608


def _unusable(path: Path, error: sqlite3.Error) -> OperatorError:
    do = "Free the disk, or run as the folder's owner."
    return OperatorError(f"the ledger can't be used ({error})", where=str(path), do=do)


def _attempt(row: tuple[Any, ...]) -> Attempt:
    terminal, ref, store, order_ref, token, minor, currency, result, code, approval, rrn = row
    amount = Money(minor, currency)
    return Attempt(terminal, ref, store, order_ref, token, amount, Result(result), code, approval, rrn)
