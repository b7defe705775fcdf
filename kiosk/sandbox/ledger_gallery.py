"""The ledger's part that publishing needs: who stands in which segment, and what changed; all SQL, as there.

A person keeps their segment for as long as they are enrolled, so that one enrolment or withdrawal changes one
segment. Triggers keep count: a person who comes waits in `unplaced`, one who goes leaves their segment at
once, and whatever changes in a segment raises its version, in the same transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

__all__ = ["SCHEMA", "GalleryBooks", "Segment", "Waiting"]

SCHEMA: Final = """
CREATE INDEX IF NOT EXISTS by_withdrawal ON people (withdrawn_at) WHERE withdrawn_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS segments (
    number INTEGER PRIMARY KEY, model_id TEXT NOT NULL, people INTEGER NOT NULL, version INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS placed (
    token TEXT PRIMARY KEY, segment INTEGER NOT NULL REFERENCES segments, keep_until REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS placed_by_segment ON placed (segment);
CREATE INDEX IF NOT EXISTS placed_by_end ON placed (keep_until);
CREATE TABLE IF NOT EXISTS unplaced (token TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS person_came AFTER INSERT ON people WHEN NEW.template IS NOT NULL
BEGIN INSERT INTO unplaced VALUES (NEW.token); END;
CREATE TRIGGER IF NOT EXISTS person_changed AFTER UPDATE OF template ON people
BEGIN
    UPDATE segments SET version = version + 1, people = people - (NEW.template IS NULL)
    WHERE number = (SELECT segment FROM placed WHERE token = NEW.token);
    DELETE FROM placed WHERE token = NEW.token AND NEW.template IS NULL;
    DELETE FROM unplaced WHERE token = NEW.token AND NEW.template IS NULL;
END;
CREATE TRIGGER IF NOT EXISTS person_placed AFTER INSERT ON placed
BEGIN
    UPDATE segments SET version = version + 1, people = people + 1 WHERE number = NEW.segment;
    DELETE FROM unplaced WHERE token = NEW.token;
END;
"""


@dataclass(frozen=True, slots=True)
class Segment:
    """People of one network's templates; `version` grows with whatever changes among them."""

    number: int
    model_id: str
    people: int
    version: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody who has no segment yet. `consent`: the message as it came; `bytes`: of the sealed template."""

    token: str
    model_id: str
    consent: bytes
    bytes: int


class GalleryBooks:
    """`db` is the ledger's; changes happen inside its `transaction`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def seed(self) -> None:
        """Everybody who enrolled before there was anything published waits for a segment."""
        self._db.execute(
            """INSERT OR IGNORE INTO unplaced SELECT token FROM people
               WHERE template IS NOT NULL AND token NOT IN (SELECT token FROM placed)"""
        )

    def waiting(self, most: int) -> list[Waiting]:
        """Some of those who have no segment yet."""
        rows = self._db.execute(
            """SELECT token, model_id, consent, length(template) FROM people
               WHERE token IN (SELECT token FROM unplaced LIMIT ?)""",
            (most,),
        ).fetchall()
        return [Waiting(*row) for row in rows]

    def number_waiting(self) -> int:
        (number,) = self._db.execute("SELECT count(*) FROM unplaced").fetchone()
        return int(number)

    def numbers(self) -> tuple[int, int]:
        """How many are enrolled, and how many withdrew."""
        query = "SELECT count(template), count(withdrawn_at) FROM people"
        enrolled, withdrawn = self._db.execute(query).fetchone()
        return enrolled, withdrawn

    def place(self, places: Iterable[tuple[str, int, float]]) -> None:
        """Token, segment, and when the consent ends (seconds since 1970)."""
        self._db.executemany("INSERT INTO placed VALUES (?, ?, ?)", places)

    def leave_out(self, token: str) -> None:
        """Somebody whose template no gallery takes waits no more."""
        self._db.execute("DELETE FROM unplaced WHERE token = ?", (token,))

    def begin_segment(self, model_id: str) -> int:
        """The number of a new one."""
        made = self._db.execute(
            "INSERT INTO segments (model_id, people, version) VALUES (?, 0, 0)", (model_id,)
        )
        return int(made.lastrowid or 0)

    def segments(self) -> list[Segment]:
        """All, by number; also those that everybody has left."""
        return [
            Segment(*row) for row in self._db.execute("SELECT * FROM segments ORDER BY number").fetchall()
        ]

    def over(self, now_s: float) -> list[str]:
        """Those whose consent has ended by itself."""
        rows = self._db.execute("SELECT token FROM placed WHERE keep_until <= ?", (now_s,))
        return [token for (token,) in rows.fetchall()]

    def withdrawn(self, since_s: float) -> list[tuple[str, float]]:
        """Token and time of those who went since then, oldest first."""
        rows = self._db.execute(
            "SELECT token, withdrawn_at FROM people WHERE withdrawn_at >= ? ORDER BY withdrawn_at, token",
            (since_s,),
        )
        return [(token, at) for token, at in rows.fetchall()]
