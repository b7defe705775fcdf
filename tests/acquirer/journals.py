"""What the journal's tests share: payments that are written down, ends, and a file of schema 1."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from datetime import date
from pathlib import Path

import msgspec

from kiosk.acquirer.journal_chain import sha256
from kiosk.acquirer.messages import Exchange, new_ref
from kiosk.acquirer.operations import refund_request
from kiosk.domain.chain import GENESIS, link
from kiosk.domain.money import Money
from kiosk.domain.payment import Answer, Result

from .parts import TERMINAL, Now, a_payment, a_reversal, an_effect

TODAY, TOMORROW = date(2026, 11, 25), date(2026, 11, 26)
APPROVED = Answer(Result.APPROVED, "approved", "ABC123", "000000000001", "*ming")
DECLINED = Answer(Result.DECLINED, "insufficient_funds")
REVERSED = Answer(Result.REVERSED, "reversed")
OFFLINE = Answer(Result.APPROVED, "offline", "OFF001")
JWE = "eyJhbGciOiJFQ0RILUVTIn0..aXYtaXYtaXYtaXY.{}.dGFnLXRhZy10YWctdGFn"


def opened_attempt(journal, effect=None, day=TODAY):
    effect = effect or an_effect()
    exchange = a_payment(effect, sequence=journal.next_sequence())
    journal.open_attempt(effect, exchange, day=day)
    return effect, exchange


def paid(journal, day=TODAY, **words):
    effect, _ = opened_attempt(journal, an_effect(**words), day)
    journal.conclude(effect.ref, APPROVED)
    return effect


def with_pin(secret):
    """An effect that carries a PIN as ciphertext."""
    effect = an_effect()
    evidence = replace(effect.evidence, methods=("face", "pin"))
    return replace(effect, evidence=evidence, pin=JWE.format(secret))


def a_task(operation, ref="", number=1, sequence=1, body=b'{"task": true}'):
    ref = ref or new_ref(Now())
    return Exchange(ref, operation, "POST", f"/v1/{operation}", body, f"{ref}:{operation}:{number}", sequence)


def a_refund(journal, effect, minor=100, number=1):
    return refund_request(
        TERMINAL,
        effect.ref,
        effect.order.order_ref,
        number=number,
        amount=Money(minor, "CNY"),
        reason="customer",
        approved_by="7",
        sequence=journal.next_sequence(),
        batch=1,
        created_utc=1_795_564_800.0,
        previous=GENESIS,
    )


def raw(path, *statements):
    with contextlib.closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


UNGUARDED = tuple(
    f"DROP TRIGGER {name}" for name in ("no_change", "no_removal", "no_other_body", "no_body_removal")
)


def of_schema_1(path):
    """A file as the first release wrote it: one payment approved, one being reversed, one open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    effects = [an_effect() for _ in range(3)]
    rows = [
        ("payment", effects[0], a_payment(effects[0], 1), None, ""),
        ("concluded", effects[0], None, msgspec.json.encode(APPROVED), "approved"),
        ("payment", effects[1], a_payment(effects[1], 2), None, ""),
        ("reversal", effects[1], a_reversal(effects[1], 3), None, ""),
        ("payment", effects[2], a_payment(effects[2], 4), None, ""),
    ]
    last = GENESIS
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript((Path(__file__).parent / "journal_v1.sql").read_text())
        for seq, (kind, effect, exchange, body, result) in enumerate(rows, 1):
            order = effect.order
            content = body if exchange is None else exchange.body
            head = (seq, 1_795_564_800.5 + seq, kind, effect.ref,
                    order.order_ref, order.payee, effect.payer.token,
                    order.amount.minor, order.amount.currency, "2026-11-25",
                    exchange.sequence if exchange else 0, exchange.path if exchange else "",
                    exchange.idempotency_key if exchange else "")  # fmt: skip
            digest = sha256(content)
            prev, last = last, link(last, msgspec.json.encode((*head, digest, result)))
            row = (*head, content, digest, result, prev, last)
            db.execute(f"INSERT INTO entries VALUES ({', '.join('?' * 18)})", row)  # noqa: S608
        db.commit()
    return effects, last


def of_schema_2(path):
    """What a journal of today wrote, in a file as the second release had it."""
    newer = path.with_name(path.name + ".newer")
    path.rename(newer)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript((Path(__file__).parent / "journal_v2.sql").read_text())
        db.execute("ATTACH ? AS newer", (str(newer),))
        db.execute("DELETE FROM origin")
        for table in ("origin", "entries", "bodies", "failures", "receipts"):
            db.execute(f"INSERT INTO {table} SELECT * FROM newer.{table}")  # noqa: S608
        db.commit()
    newer.unlink()
