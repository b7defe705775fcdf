CREATE TABLE entries (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('payment', 'reversal', 'concluded')),
    ref TEXT NOT NULL, order_ref TEXT NOT NULL, payee TEXT NOT NULL, token TEXT NOT NULL,
    minor INTEGER NOT NULL, currency TEXT NOT NULL, day TEXT NOT NULL,
    sequence INTEGER NOT NULL, path TEXT NOT NULL, idempotency_key TEXT NOT NULL, body BLOB,
    body_sha256 TEXT NOT NULL, result TEXT NOT NULL, prev_hash TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX once ON entries (ref, kind);
CREATE INDEX by_order ON entries (order_ref);
CREATE INDEX by_day ON entries (day);
CREATE TRIGGER no_change BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER no_removal BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE VIEW attempts AS
    SELECT p.*, c.result AS outcome, c.body AS answer, c.at AS concluded_at,
           r.path AS r_path, r.idempotency_key AS r_key, r.body AS r_body, r.sequence AS r_sequence
    FROM entries p
    LEFT JOIN entries c ON c.ref = p.ref AND c.kind = 'concluded'
    LEFT JOIN entries r ON r.ref = p.ref AND r.kind = 'reversal'
    WHERE p.kind = 'payment';
PRAGMA application_id = 1716538186;
PRAGMA user_version = 1;
