"""The audit trail: who changed what and when, one line each, chained so that none can be cut out unseen.

`audit.jsonl` in the data folder is only ever added to, on the disk before the change itself is made. It holds
settings and staff numbers, never a payer, a PIN or a key.
"""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from kiosk.domain.chain import GENESIS, link
from kiosk.domain.errors import OperatorError

__all__ = ["AUDIT_NAME", "Audit", "AuditEntry"]

AUDIT_NAME: Final = "audit.jsonl"


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One change: `what` was done, by `staff` (a number, or empty), and its `values` before and after."""

    at: datetime
    what: str
    staff: str
    values: dict[str, int | str | None]


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    entry: AuditEntry
    hash: str


class Audit:
    """The trail in `folder`; processes take turns."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / AUDIT_NAME

    def note(self, what: str, *, at_s: float, staff: str = "", **values: int | str | None) -> None:
        """Add a line; it is on the disk when this returns. `at_s`: seconds since 1970, UTC.

        Raises:
            OperatorError: the disk refuses it, or the trail was changed by other hands.
        """
        entry = AuditEntry(at=datetime.fromtimestamp(int(at_s), UTC), what=what, staff=staff, values=values)
        try:
            with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                whole = self._whole()
                lines = self._parsed(whole)
                last = lines[-1].hash if lines else GENESIS
                line = _Line(entry, link(last, msgspec.json.encode(entry)))
                file.truncate(len(whole))
                file.write(msgspec.json.encode(line) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OperatorError(
                f"the audit trail can't be written ({error.strerror}); nothing was changed",
                where=str(self._path),
                do="Free the disk, or run as the data folder's owner.",
            ) from None

    def entries(self) -> list[AuditEntry]:
        """All of them, oldest first. OperatorError when the chain is broken or the file can't be read."""
        try:
            return [line.entry for line in self._parsed(self._whole())]
        except OSError as error:
            raise OperatorError(f"cannot be read ({error.strerror})", where=str(self._path)) from None

    def _whole(self) -> bytes:
        """The whole lines; one that a power cut left half is none: its change was never made."""
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return b""
        return raw[: raw.rfind(b"\n") + 1]

    def _parsed(self, whole: bytes) -> list[_Line]:
        lines, last = [], GENESIS
        for number, text in enumerate(whole.splitlines(), start=1):
            try:
                line = msgspec.json.decode(text, type=_Line)
            except (msgspec.MsgspecError, UnicodeError):
                line = None
            if line is None or line.hash != link(last, msgspec.json.encode(line.entry)):
                raise OperatorError(
                    f"line {number} breaks the chain: the trail was changed or damaged",
                    where=str(self._path),
                    do="Keep the file for whoever looks into it, and move it away to begin a new one.",
                )
            lines.append(line)
            last = line.hash
        return lines
