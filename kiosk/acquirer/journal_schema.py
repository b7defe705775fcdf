"""The journal's file as SQLite sees it: tables, what they refuse, and the views that the rest reads.

One write is one INSERT into the view `written`: its trigger puts the entry and its body into their tables, so
that an attempt, its end and what follows from it are on the disk together or not at all.

    entries   the chain: what was asked and what became of it; nothing is changed, and nothing is taken out
              but what an archive holds (up to `origin`)
    bodies    the bytes behind an entry's `body_sha256`, where they may be erased: a PIN goes with its attempt
    origin    the entry that the first one here follows: 0, or the last one in the newest archive
    failures, receipts   beside the chain: what a lock-out counts, what was printed or shown
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "APPLICATION_ID",
    "CHAINED",
    "COLUMNS",
    "CORRECTED",
    "FORM",
    "MARKS",
    "MIGRATE",
    "SCHEMA",
    "SCHEMA_VERSION",
    "TASKS",
    "V1_CHAINED",
]

APPLICATION_ID: Final = 0x6650_4B4A
"""Marks the file as ours (SQLite's application_id): "fPKJ"."""
SCHEMA_VERSION: Final = 3
"""2 had no corrections; its entries, hashes and archives are those of 3."""
FORM: Final = 2
"""How a new entry is hashed: over `CHAINED`. Entries of form 1 came from a file of schema 1."""

TASKS: Final = ("refund", "advice", "dispute", "reconciliation")
"""What must reach the acquirer although nobody waits for it; its end is the kind with `_end`."""
CORRECTED: Final = {
    "concluded": "corrected",
    "refund_end": "refund_corrected",
    "advice_end": "advice_corrected",
}
"""An end, and the kind that says that the acquirer's books hold another one; the later word counts."""
_TASKS: Final = ", ".join(f"'{task}'" for task in TASKS)
_KINDS: Final = ", ".join(
    f"'{kind}'"
    for kind in (
        "payment", "reversal", "concluded", *TASKS, *(f"{task}_end" for task in TASKS),
        *CORRECTED.values(), "settled", "halted", "recovered", "checkpoint",
    )
)  # fmt: skip

V1_CHAINED: Final = (
    "seq", "at", "kind", "ref", "order_ref", "payee", "token", "minor", "currency", "day",
    "sequence", "path", "idempotency_key", "body_sha256", "result",
)  # fmt: skip
"""The columns that the hash of a form 1 entry covers, in this order, as a JSON array."""
CHAINED: Final = (*(name if name != "token" else "token_sha256" for name in V1_CHAINED), "number", "batch")
"""The same for form 2: it names the hash of a payer's token, so that an export verifies without tokens."""
COLUMNS: Final = (*V1_CHAINED, "number", "batch", "form", "prev_hash", "hash")
"""The table's columns, in its order."""

_CHAIN: Final = f"""
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL CHECK (kind IN ({_KINDS})),
    ref TEXT NOT NULL, order_ref TEXT NOT NULL, payee TEXT NOT NULL, token TEXT NOT NULL,
    minor INTEGER NOT NULL, currency TEXT NOT NULL, day TEXT NOT NULL,
    sequence INTEGER NOT NULL, path TEXT NOT NULL, idempotency_key TEXT NOT NULL,
    body_sha256 TEXT NOT NULL, result TEXT NOT NULL, number INTEGER NOT NULL, batch INTEGER NOT NULL,
    form INTEGER NOT NULL, prev_hash TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
"""
_ENTRIES: Final = f"""{_CHAIN}
CREATE TABLE bodies (seq INTEGER PRIMARY KEY, body BLOB NOT NULL, secret INTEGER NOT NULL) STRICT;
CREATE TABLE origin (seq INTEGER NOT NULL, hash TEXT NOT NULL) STRICT;
CREATE TABLE failures (key TEXT NOT NULL, at REAL NOT NULL) STRICT;
CREATE TABLE receipts (
    ref TEXT NOT NULL, kind TEXT NOT NULL, number INTEGER NOT NULL, minor INTEGER NOT NULL,
    currency TEXT NOT NULL, batch INTEGER NOT NULL, copy INTEGER NOT NULL
) STRICT;
"""

_RULES: Final = f"""
CREATE UNIQUE INDEX once ON entries (ref, kind, number);
CREATE INDEX by_order ON entries (order_ref);
CREATE INDEX by_day ON entries (day);
CREATE INDEX by_payer ON entries (token, day) WHERE kind = 'payment';
CREATE INDEX by_token ON entries (token) WHERE kind = 'payment';
CREATE INDEX by_time ON entries (at) WHERE kind = 'payment';
CREATE INDEX tasks_in_order ON entries (seq) WHERE kind IN ({_TASKS});
CREATE INDEX of_whom ON failures (key);
CREATE INDEX of_batch ON receipts (batch);
CREATE VIEW written AS SELECT e.*, b.body, b.secret FROM entries e LEFT JOIN bodies b ON b.seq = e.seq;
CREATE TRIGGER write INSTEAD OF INSERT ON written BEGIN
    INSERT INTO bodies SELECT NEW.seq, NEW.body, NEW.secret WHERE NEW.body IS NOT NULL;
    INSERT INTO entries VALUES ({", ".join(f"NEW.{name}" for name in COLUMNS)});
END;
CREATE TRIGGER forget_pin AFTER INSERT ON entries WHEN NEW.kind = 'concluded' BEGIN
    DELETE FROM bodies
    WHERE secret AND seq = (SELECT seq FROM entries WHERE ref = NEW.ref AND kind = 'payment');
END;
CREATE TRIGGER no_change BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER no_other_body BEFORE UPDATE ON bodies BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER no_removal BEFORE DELETE ON entries WHEN OLD.seq > (SELECT seq FROM origin)
    BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER no_body_removal BEFORE DELETE ON bodies
    WHEN OLD.seq > (SELECT seq FROM origin) AND NOT (OLD.secret AND EXISTS (
        SELECT 1 FROM entries p JOIN entries c ON c.ref = p.ref AND c.kind = 'concluded'
        WHERE p.seq = OLD.seq))
    BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER few_failures AFTER INSERT ON failures BEGIN
    DELETE FROM failures WHERE key = NEW.key AND rowid NOT IN
        (SELECT rowid FROM failures WHERE key = NEW.key ORDER BY rowid DESC LIMIT 32);
END;
CREATE VIEW attempts AS
    SELECT p.*, coalesce(k.result, c.result) AS outcome, c.at AS concluded_at, c.seq AS end_seq,
           coalesce(kb.body, cb.body) AS answer, pb.body AS body,
           r.path AS r_path, r.idempotency_key AS r_key, rb.body AS r_body, r.sequence AS r_sequence,
           a.seq AS advice_seq, coalesce(ak.result, ae.result) AS advice_result,
           coalesce(k.seq, ak.seq) AS corrected_seq
    FROM entries p
    LEFT JOIN entries c ON c.ref = p.ref AND c.kind = 'concluded' AND c.number = 1
    LEFT JOIN entries r ON r.ref = p.ref AND r.kind = 'reversal' AND r.number = 1
    LEFT JOIN entries a ON a.ref = p.ref AND a.kind = 'advice' AND a.number = 1
    LEFT JOIN entries ae ON ae.ref = p.ref AND ae.kind = 'advice_end' AND ae.number = 1
    LEFT JOIN entries k ON k.ref = p.ref AND k.kind = 'corrected' AND k.number = 1
    LEFT JOIN entries ak ON ak.ref = p.ref AND ak.kind = 'advice_corrected' AND ak.number = 1
    LEFT JOIN bodies pb ON pb.seq = p.seq
    LEFT JOIN bodies cb ON cb.seq = c.seq
    LEFT JOIN bodies kb ON kb.seq = k.seq
    LEFT JOIN bodies rb ON rb.seq = r.seq
    WHERE p.kind = 'payment';
CREATE VIEW tasks AS
    SELECT t.*, tb.body AS body, coalesce(k.result, e.result) AS outcome, e.at AS ended_at,
           coalesce(kb.body, eb.body) AS answer, coalesce(k.minor, t.minor) AS booked_minor,
           coalesce(k.batch, e.batch, t.batch) AS booked_batch, k.seq AS corrected_seq
    FROM entries t
    LEFT JOIN entries e ON e.ref = t.ref AND e.kind = t.kind || '_end' AND e.number = t.number
    LEFT JOIN entries k ON k.ref = t.ref AND k.kind = t.kind || '_corrected' AND k.number = t.number
    LEFT JOIN bodies tb ON tb.seq = t.seq
    LEFT JOIN bodies eb ON eb.seq = e.seq
    LEFT JOIN bodies kb ON kb.seq = k.seq
    WHERE t.kind IN ({_TASKS});
"""  # noqa: S608 - of constants

SCHEMA: Final = f"{_ENTRIES} INSERT INTO origin VALUES (0, '{'0' * 64}'); {_RULES}"  # noqa: S608
MARKS: Final = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"

_CARRIED: Final = ", ".join(V1_CHAINED)
_OF_1: Final = f"""
DROP VIEW IF EXISTS attempts; DROP TRIGGER IF EXISTS no_change; DROP TRIGGER IF EXISTS no_removal;
DROP INDEX IF EXISTS once; DROP INDEX IF EXISTS by_order; DROP INDEX IF EXISTS by_day;
ALTER TABLE entries RENAME TO entries_1;
{_ENTRIES}
INSERT INTO origin VALUES (0, '{"0" * 64}');
INSERT INTO entries SELECT {_CARRIED}, 1, day_number(day), 1, prev_hash, hash FROM entries_1 ORDER BY seq;
INSERT INTO bodies SELECT seq, body, 0 FROM entries_1 WHERE body IS NOT NULL ORDER BY seq;
DROP TABLE entries_1;
{_RULES}
PRAGMA user_version = {SCHEMA_VERSION};
"""  # noqa: S608
_RULES_OF_2: Final = {
    "VIEW": ("attempts", "tasks", "written"),
    "TRIGGER": (
        "forget_pin", "no_change", "no_other_body", "no_removal", "no_body_removal", "few_failures",
    ),
    "INDEX": (
        "once", "by_order", "by_day", "by_payer", "by_token", "by_time", "tasks_in_order", "of_whom",
        "of_batch",
    ),
}  # fmt: skip
_OF_2: Final = f"""
{"".join(f"DROP {kind} IF EXISTS {name};" for kind, names in _RULES_OF_2.items() for name in names)}
ALTER TABLE entries RENAME TO entries_2;
{_CHAIN}
INSERT INTO entries SELECT * FROM entries_2 ORDER BY seq;
DROP TABLE entries_2;
{_RULES}
PRAGMA user_version = {SCHEMA_VERSION};
"""  # noqa: S608
MIGRATE: Final = {1: _OF_1, 2: _OF_2}
"""A file of an earlier schema to this one, entries and hashes as they were (`day_number`: `toordinal`)."""
