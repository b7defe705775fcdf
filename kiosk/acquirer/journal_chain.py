"""How entries hang together: what an entry's hash covers, and whether a row of entries is whole.

An entry's hash covers its columns and the hash before it; of its body and its payer's token it covers their
hashes, so that both can be kept from a reader, or erased, and the chain still holds.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

import msgspec

from kiosk.acquirer.journal_schema import CHAINED, FORM, V1_CHAINED
from kiosk.acquirer.messages import Exchange
from kiosk.domain.chain import GENESIS, link
from kiosk.domain.payment import Order

__all__ = ["NO_BODY", "Chain", "Draft", "Gap", "follow", "seal_of", "sealed", "sha256"]


def sha256(content: bytes) -> str:
    """64 hex digits."""
    return hashlib.sha256(content).hexdigest()


NO_BODY: Final = sha256(b"")


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry before it has its place in the chain. `secret`: its body goes when its attempt ends.

    `at`: seconds since 1970 (UTC); None: when it is written.
    """

    kind: str
    ref: str
    order: Order | None = None
    token: str = ""
    day: str = ""
    number: int = 1
    batch: int = 0
    exchange: Exchange | None = None
    body: bytes | None = None
    result: str = ""
    currency: str = ""
    sequence: int = 0
    secret: bool = False
    at: float | None = None

    @property
    def frozen(self) -> bytes | None:
        return self.body if self.exchange is None else self.exchange.body


class Gap(msgspec.Struct, frozen=True):
    """Entries that are lost: from `first` to `last`; a later entry `recovered` of the chain names them."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Chain:
    """Where a chain stands: its last entry, the highest sequence that was used, the last settled batch,
    how many sales were accepted offline.

    `broken`: the first entry that does not fit; what stands here is then the state before it. `halted`: why
    no payment may be begun. `gaps`: entries that the chain itself says are lost.
    """

    seq: int = 0
    hash: str = GENESIS
    sequence: int = 0
    settled: int = 0
    advices: int = 0
    halted: str = ""
    broken: int | None = None
    gaps: tuple[Gap, ...] = ()


def sealed(draft: Draft, chain: Chain, at: float) -> tuple[dict[str, Any], Chain]:
    """The draft as the next entry (by column), and the chain with it."""
    order = draft.order
    entry: dict[str, Any] = {
        "seq": chain.seq + 1,
        "at": at if draft.at is None else draft.at,
        "kind": draft.kind,
        "ref": draft.ref,
        "order_ref": order.order_ref if order else "",
        "payee": order.payee if order else "",
        "token": draft.token,
        "minor": order.amount.minor if order else 0,
        "currency": order.amount.currency if order else draft.currency,
        "day": draft.day,
        "sequence": draft.exchange.sequence if draft.exchange else draft.sequence,
        "path": draft.exchange.path if draft.exchange else "",
        "idempotency_key": (draft.exchange.idempotency_key or "") if draft.exchange else "",
        "body_sha256": sha256(draft.frozen or b""),
        "result": draft.result,
        "number": draft.number,
        "batch": draft.batch,
        "form": FORM,
        "prev_hash": chain.hash,
    }
    entry["hash"] = seal_of(entry)
    return entry, _after(chain, entry)


def seal_of(entry: Mapping[str, Any] | sqlite3.Row) -> str:
    """The hash that an entry with these columns has; ValueError when its `prev_hash` is no hash."""
    if entry["form"] == FORM:
        # The text that an export has instead of the token, and the only thing of it that is hashed.
        chained = [
            sha256(entry["token"].encode()) if name == "token_sha256" else entry[name] for name in CHAINED
        ]
    else:
        chained = [entry[name] for name in V1_CHAINED]
    return link(entry["prev_hash"], msgspec.json.encode(chained))


def exported(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry for a reader who is to verify it: with its token's hash, and which columns are hashed."""
    return {
        **entry,
        "token_sha256": sha256(entry["token"].encode()),
        "chained": list(CHAINED if entry["form"] == FORM else V1_CHAINED),
    }


def _after(chain: Chain, entry: Mapping[str, Any] | sqlite3.Row) -> Chain:
    kind = entry["kind"]
    return replace(
        chain,
        seq=entry["seq"],
        hash=entry["hash"],
        sequence=max(chain.sequence, entry["sequence"]),
        settled=max(chain.settled, entry["batch"]) if kind in ("settled", "checkpoint") else chain.settled,
        advices=entry["number"] if kind == "checkpoint" else chain.advices + (kind == "advice"),
        halted=entry["result"] if kind == "halted" else "" if kind == "recovered" else chain.halted,
    )


def follow(
    rows: Iterator[sqlite3.Row],
    origin: tuple[int, str],
    named: Collection[Gap] = (),
    final: Collection[str | int] = (),
) -> Chain:
    """Follow entries in their order, from the one after `origin` (its number and hash).

    `named`: gaps that the chain itself names. `final`: refs of attempts that have an end, of those a body may
    be gone; and numbers of entries whose bodies the chain says are lost. Rows carry `COLUMNS` and `body`.
    """
    chain = Chain(*origin)
    for row in rows:
        gap = Gap(chain.seq + 1, row["seq"] - 1)
        if gap in named:
            chain = replace(chain, seq=gap.last, hash=row["prev_hash"], gaps=(*chain.gaps, gap))
        if not _fits(row, chain, final):
            return replace(chain, broken=chain.seq + 1)
        chain = _after(chain, row)
    return chain


def _fits(row: sqlite3.Row, chain: Chain, final: Collection[str | int]) -> bool:
    return (
        row["seq"] == chain.seq + 1
        and row["prev_hash"] == chain.hash
        and is_itself(row)
        and body_fits(row, row["body"], final)
    )


def is_itself(row: Mapping[str, Any] | sqlite3.Row) -> bool:
    """Whether an entry says what it said when it was written, whatever became of those around it."""
    try:
        return bool(row["hash"] == seal_of(row)) and (
            row["form"] == FORM
            or (
                row["number"] == row["form"] == 1
                and row["batch"] == date.fromisoformat(row["day"]).toordinal()
            )
        )
    except (ValueError, TypeError, AttributeError):
        return False


def body_fits(row: Mapping[str, Any] | sqlite3.Row, body: bytes | None, final: Collection[str | int]) -> bool:
    """Whether a body is the one that was written, or may be gone."""
    if body is None and row["body_sha256"] != NO_BODY:
        return row["seq"] in final or (row["kind"] == "payment" and row["ref"] in final)
    return bool(row["body_sha256"] == sha256(body or b""))
