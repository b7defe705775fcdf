CREATE TABLE entries (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL CHECK (kind IN ('payment', 'reversal', 'concluded', 'refund', 'advice', 'dispute', 'reconciliation', 'refund_end', 'advice_end', 'dispute_end', 'reconciliation_end', 'settled', 'halted', 'recovered', 'checkpoint')),
    ref TEXT NOT NULL, order_ref TEXT NOT NULL, payee TEXT NOT NULL, token TEXT NOT NULL,
    minor INTEGER NOT NULL, currency TEXT NOT NULL, day TEXT NOT NULL,
    sequence INTEGER NOT NULL, path TEXT NOT NULL, idempotency_key TEXT NOT NULL,
    body_sha256 TEXT NOT NULL, result TEXT NOT NULL, number INTEGER NOT NULL, batch INTEGER NOT NULL,
    form INTEGER NOT NULL, prev_hash TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE TABLE bodies (seq INTEGER PRIMARY KEY, body BLOB NOT NULL, secret INTEGER NOT NULL) STRICT;
CREATE TABLE origin (seq INTEGER NOT NULL, hash TEXT NOT NULL) STRICT;
CREATE TABLE failures (key TEXT NOT NULL, at REAL NOT NULL) STRICT;
CREATE TABLE receipts (
    ref TEXT NOT NULL, kind TEXT NOT NULL, number INTEGER NOT NULL, minor INTEGER NOT NULL,
    currency TEXT NOT NULL, batch INTEGER NOT NULL, copy INTEGER NOT NULL
) STRICT;
 INSERT INTO origin VALUES (0, '0000000000000000000000000000000000000000000000000000000000000000');
CREATE UNIQUE INDEX once ON entries (ref, kind, number);
CREATE INDEX by_order ON entries (order_ref);
CREATE INDEX by_day ON entries (day);
CREATE INDEX by_payer ON entries (token, day) WHERE kind = 'payment';
CREATE INDEX by_token ON entries (token) WHERE kind = 'payment';
CREATE INDEX by_time ON entries (at) WHERE kind = 'payment';
CREATE INDEX tasks_in_order ON entries (seq) WHERE kind IN ('refund', 'advice', 'dispute', 'reconciliation');
CREATE INDEX of_whom ON failures (key);
CREATE INDEX of_batch ON receipts (batch);
CREATE VIEW written AS SELECT e.*, b.body, b.secret FROM entries e LEFT JOIN bodies b ON b.seq = e.seq;
CREATE TRIGGER write INSTEAD OF INSERT ON written BEGIN
    INSERT INTO bodies SELECT NEW.seq, NEW.body, NEW.secret WHERE NEW.body IS NOT NULL;
    INSERT INTO entries VALUES (NEW.seq, NEW.at, NEW.kind, NEW.ref, NEW.order_ref, NEW.payee, NEW.token, NEW.minor, NEW.currency, NEW.day, NEW.sequence, NEW.path, NEW.idempotency_key, NEW.body_sha256, NEW.result, NEW.number, NEW.batch, NEW.form, NEW.prev_hash, NEW.hash);
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
    SELECT p.*, c.result AS outcome, c.at AS concluded_at, c.seq AS end_seq, cb.body AS answer,
           pb.body AS body,
           r.path AS r_path, r.idempotency_key AS r_key, rb.body AS r_body, r.sequence AS r_sequence,
           a.seq AS advice_seq, ae.result AS advice_result
    FROM entries p
    LEFT JOIN entries c ON c.ref = p.ref AND c.kind = 'concluded' AND c.number = 1
    LEFT JOIN entries r ON r.ref = p.ref AND r.kind = 'reversal' AND r.number = 1
    LEFT JOIN entries a ON a.ref = p.ref AND a.kind = 'advice' AND a.number = 1
    LEFT JOIN entries ae ON ae.ref = p.ref AND ae.kind = 'advice_end' AND ae.number = 1
    LEFT JOIN bodies pb ON pb.seq = p.seq
    LEFT JOIN bodies cb ON cb.seq = c.seq
    LEFT JOIN bodies rb ON rb.seq = r.seq
    WHERE p.kind = 'payment';
CREATE VIEW tasks AS
    SELECT t.*, tb.body AS body, e.result AS outcome, e.at AS ended_at, eb.body AS answer
    FROM entries t
    LEFT JOIN entries e ON e.ref = t.ref AND e.kind = t.kind || '_end' AND e.number = t.number
    LEFT JOIN bodies tb ON tb.seq = t.seq
    LEFT JOIN bodies eb ON eb.seq = e.seq
    WHERE t.kind IN ('refund', 'advice', 'dispute', 'reconciliation');

PRAGMA application_id = 1716538186;
PRAGMA user_version = 2;
