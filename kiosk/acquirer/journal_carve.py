"""What can still be read in a damaged journal: rows out of its pages, whatever SQLite says of the file.

Reads the pages of file and write-ahead log one by one, as the file format says (sqlite.org/fileformat2.html):
table leaves, their cells, overflow pages. Nothing here is believed: a row is an entry only when its own hash
says so. A page whose list of cells is damaged is searched for rows.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from kiosk.acquirer.journal_chain import is_itself, sha256
from kiosk.acquirer.journal_schema import COLUMNS, FORM, V1_CHAINED

__all__ = ["Carved", "carve"]

LEAF: Final = 0x0D
MOST: Final = 4 * 1024 * 1024
"""No body is longer: the longest message has 2 MiB."""
_V1: Final = (*V1_CHAINED[:13], "body", *V1_CHAINED[13:], "prev_hash", "hash")
"""A row of schema 1 in the order of its table."""

_HEAD: Final = re.compile(rb"[\x04-\x40]\x00")
"""How long the head is, and that the first column, which is the row's number, has no value of its own."""

Value = int | float | str | bytes | None


@dataclass(slots=True)
class Carved:
    """Entries by number (more than one where copies differ, the file's own first), bodies by their hash."""

    entries: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)

    def add(self, number: int, row: list[Value]) -> None:
        """Keep a row when it is an entry, or may be a body."""
        if len(row) == len(COLUMNS):
            self._add_entry(dict(zip(COLUMNS, [number, *row[1:]], strict=True)))
        elif len(row) == len(_V1):
            entry = dict(zip(_V1, [number, *row[1:]], strict=True))
            self._add_body(entry.pop("body"))
            self._add_entry(_of_schema_1(entry))
        elif len(row) == 3:
            self._add_body(row[1])

    def _add_entry(self, entry: dict[str, Any]) -> None:
        if isinstance(entry["at"], int):  # SQLite keeps a whole number of seconds as an integer
            entry["at"] = float(entry["at"])
        if is_itself(entry) and entry not in self.entries.setdefault(entry["seq"], []):
            self.entries[entry["seq"]].append(entry)

    def _add_body(self, body: Value) -> None:
        if isinstance(body, bytes):
            self.bodies[sha256(body)] = body


def _of_schema_1(entry: dict[str, Any]) -> dict[str, Any]:
    try:
        batch = date.fromisoformat(entry["day"]).toordinal()
    except (TypeError, ValueError):
        batch = -1
    return {**entry, "number": 1, "batch": batch, "form": FORM - 1}


def carve(file: bytes, log: bytes = b"") -> Carved:
    """Everything that reads as an entry or a body, from a journal's file and its write-ahead log."""
    size = _page_size(file)
    pages = {1 + at // size: file[at : at + size] for at in range(0, len(file), size)}
    found = Carved()
    newest = pages | dict(_frames(log, size))
    # A page's newest state first, and then every state of it: an overflow page may be of another time.
    for book in (newest, pages) if log else (pages,):
        for number, page in book.items():
            _read_leaf(number, page, book, found)
    for number, page in _frames(log, size):
        _read_leaf(number, page, newest, found)
    found.entries = {seq: rows for seq, rows in found.entries.items() if rows}
    return found


def _page_size(file: bytes) -> int:
    size = int.from_bytes(file[16:18], "big")
    return size if size in (512, 1024, 2048, 4096, 8192, 16384, 32768) else 4096


def _frames(log: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    for at in range(32, len(log) - 24 - size + 1, 24 + size):
        number = int.from_bytes(log[at : at + 4], "big")
        if number:
            yield number, log[at + 24 : at + 24 + size]


def _read_leaf(number: int, page: bytes, pages: dict[int, bytes], found: Carved) -> None:
    head = 100 if number == 1 else 0
    count = int.from_bytes(page[head + 3 : head + 5], "big")
    ends = head + 8 + 2 * count
    listed = page[head : head + 1] == bytes([LEAF]) and ends <= len(page)
    places = struct.unpack(f">{count}H", page[head + 8 : ends]) if listed else ()
    rows = [_cell(page, at, pages) for at in places]
    if not listed or None in rows:
        rows += [_cell(page, at, pages) for at in _likely(page)]
    for row in rows:
        if row is not None:
            found.add(*row)


def _likely(page: bytes) -> Iterator[int]:
    """Where a cell may begin: before the head of a record whose first column has no value."""
    for head in _HEAD.finditer(page):
        yield from range(max(0, head.start() - 8), max(0, head.start() - 1))


def _cell(page: bytes, at: int, pages: dict[int, bytes]) -> tuple[int, list[Value]] | None:
    """Row number and values of the cell at `at`; None when there is none."""
    try:
        length, at = _varint(page, at)
        number, at = _varint(page, at)
        if not 4 <= length <= MOST or not 0 < number < 2**53:
            return None
        payload = _payload(page, at, length, pages)
        return None if payload is None else (number, _record(payload))
    except (IndexError, ValueError, struct.error):
        return None


def _payload(page: bytes, at: int, length: int, pages: dict[int, bytes]) -> bytes | None:
    usable = len(page)
    if length <= usable - 35:
        here = page[at : at + length]
        return here if len(here) == length else None
    least = (usable - 12) * 32 // 255 - 23
    local = least + (length - least) % (usable - 4)
    local = local if local <= usable - 35 else least
    parts, left = [page[at : at + local]], length - local
    following = int.from_bytes(page[at + local : at + local + 4], "big")
    while left > 0:
        more = pages.get(following, b"")
        if len(more) < 4 or len(parts) > 2 + length // (usable - 4):
            return None
        parts.append(more[4 : 4 + min(left, usable - 4)])
        left -= len(parts[-1])
        following = int.from_bytes(more[:4], "big")
    return b"".join(parts)


def _record(payload: bytes) -> list[Value]:
    head, at = _varint(payload, 0)
    kinds = []
    while at < head:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    if at != head or len(kinds) not in (3, len(COLUMNS), len(_V1)):
        raise ValueError("no record of ours")
    values = list[Value]()
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    if at != len(payload):
        raise ValueError("a record of another length")
    return values


_SIZES: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind == 0:
        return None, at
    if kind in _SIZES:
        end = at + _SIZES[kind]
        return int.from_bytes(payload[at:end], "big", signed=True), end
    if kind == 7:
        return float(struct.unpack(">d", payload[at : at + 8])[0]), at + 8
    if kind in (8, 9):
        return kind - 8, at
    if kind < 12:
        raise ValueError("a kind that is not used")
    end = at + (kind - 12) // 2
    content = payload[at:end]
    return (content if kind % 2 == 0 else content.decode()), end


def _varint(page: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(8):
        byte = page[at + place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + place + 1
    return value << 8 | page[at + 8], at + 9
