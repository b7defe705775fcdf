"""The audit trail: who did what and when, one line each, chained so that none can be cut out unseen.

`audit.jsonl` in the data folder is only ever added to, on the disk before the change itself is made. It holds
numbers, settings and short marks: never a face, a name, a PIN or a key. A payer is `Audit.payer_mark(token)`.

Beside it lies `audit.mark`: where the newest line ends and its hash, under a secret of this kiosk. Lines that
were cut off the end, or a trail that was written anew with hashes that fit, are noticed by it. Both files
taken away, or both put back from an older day, are not: for that `kiosk audit verify --head` wants a hash
that was noted elsewhere.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Literal, NoReturn

import msgspec

from kiosk.domain.chain import GENESIS, link
from kiosk.domain.errors import OperatorError
from kiosk.domain.staff import Action
from kiosk.files import write_whole

__all__ = ["AUDIT_NAME", "MARK_NAME", "Audit", "AuditEntry", "Trail", "Value", "What", "verified"]

AUDIT_NAME: Final = "audit.jsonl"
MARK_NAME: Final = "audit.mark"
PURPOSE: Final = "audit"
"""What the key port derives the mark's secret for, and the one that payers' marks are made with."""
PAYER_DIGITS: Final = 12
"""Hex digits of a payer's mark: 48 bits tell a kiosk's payers apart, and say nothing without the secret."""
TAIL_BYTES: Final = 64 * 1024
"""So much of the end is verified before a line is added: a trail of some hundred lines whole."""

What = Literal[
    "enrol", "forget", "sync", "export",
    "limit", "policy", "wrong_pin", "not_allowed", "staff_added", "staff_removed",
    "staff_pin", "key", "start",
]  # fmt: skip
"""What can be noted, beside the approvals of staff (`Action`); docs/privacy.md says each one's values."""
Value = int | Annotated[str, msgspec.Meta(max_length=200)] | None


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that was done: `what`, by `staff` (a number; empty: the kiosk itself), and its `values`."""

    at: datetime
    what: str
    staff: str
    values: dict[str, Value]


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    entry: AuditEntry
    hash: str


class _Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest line that was noted: the byte after it, and its hash."""

    size: int
    hash: str


@dataclass(frozen=True, slots=True)
class Trail:
    """Lines whose every link was verified: what was noted, oldest first, and each one's hash."""

    entries: tuple[AuditEntry, ...]
    hashes: tuple[str, ...]

    @property
    def head(self) -> str:
        """The newest line's hash: whoever notes it elsewhere can ask for it later (`holds`)."""
        return self.hashes[-1] if self.hashes else GENESIS

    def holds(self, head: str) -> bool:
        """Whether it was once at `head`: nothing before that is gone or other than it was."""
        return head == GENESIS or head in self.hashes


class Audit:
    """The trail in `folder`; processes take turns. `secret(purpose)` is the kiosk's key's `derive`.

    OperatorError from everything: the files can't be read or written, or other hands changed them.
    """

    def __init__(self, folder: Path, secret: Callable[[str], bytes]) -> None:
        self._path, self._mark_path, self._secret = folder / AUDIT_NAME, folder / MARK_NAME, secret

    def note(
        self, what: What | Action, *, at_s: float, staff: str = "", payer: str = "", **values: Value
    ) -> None:
        """Add a line; it is on the disk when this returns. `at_s`: seconds since 1970, UTC.

        `payer`: a token, of which only the mark is written. `values`: numbers and short texts, nothing that
        could hold a template; ValidationError (a bug) for anything else.
        """
        about: dict[str, Value] = {"payer": self.payer_mark(payer)} if payer else {}
        entry = AuditEntry(
            at=datetime.fromtimestamp(int(at_s), UTC),
            what=str(what),
            staff=staff,
            values=msgspec.convert(about | values, dict[str, Value]),
        )
        try:
            with os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                end, last = self._end(file)
                line = _Line(entry, link(last, msgspec.json.encode(entry)))
                file.truncate(end)
                try:
                    file.seek(end)
                    size = file.write(msgspec.json.encode(line) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                    self._keep(_Mark(end + size, line.hash))
                except OSError:
                    os.ftruncate(file.fileno(), end)  # nothing was noted, so nothing stays
                    raise
        except OSError as error:
            raise OperatorError(
                f"the audit trail can't be written ({error.strerror}); nothing was changed",
                where=str(self._path),
                do="Free the disk, or run as the data folder's owner.",
            ) from None

    def payer_mark(self, token: str) -> str:
        """What stands for a payer in the trail: the same for a token, and no way back to it from the mark."""
        code = hmac.digest(self._secret(f"{PURPOSE} payers"), token.encode(), "sha256")
        return code.hex()[:PAYER_DIGITS]

    def entries(self) -> list[AuditEntry]:
        """All of them, oldest first, every link and the mark verified."""
        return list(self.trail().entries)

    def trail(self) -> Trail:
        """The same with the hashes."""
        return _trail(self._verified()[1])

    def exported(self) -> bytes:
        """The whole lines as they are on the disk, verified first; `verified` follows them anywhere."""
        return self._verified()[0]

    # --- inside -----------------------------------------------------------------------------------------

    def _end(self, file: BinaryIO) -> tuple[int, str]:
        """Where the next line goes, and the hash before it; what a power cut left half is none."""
        mark = self._marked()
        if mark is None:
            if file.seek(0, os.SEEK_END):
                self._refuse("its mark is gone: lines may be missing")
            mark = _Mark(0, GENESIS)
            self._keep(mark)  # before the first line: a cut between the two leaves a trail that can go on
        start = max(0, mark.size - TAIL_BYTES)
        file.seek(start)
        whole = _whole(file.read())
        if start:
            skipped = whole.find(b"\n") + 1
            start, whole = start + skipped, whole[skipped:]
        lines = self._followed(whole, start, mark)
        found = _Mark(start + len(whole), lines[-1].hash if lines else GENESIS)
        if found != mark:  # a cut came between line and mark; never more than one line is without
            self._keep(found)
        return found.size, found.hash

    def _verified(self) -> tuple[bytes, list[_Line]]:
        with self._still():
            mark, whole = self._marked(), _whole(self._read())
        if mark is None:
            if whole:
                self._refuse("its mark is gone: lines may be missing")
            return b"", []
        return whole, self._followed(whole, 0, mark)

    def _followed(self, whole: bytes, start: int, mark: _Mark) -> list[_Line]:
        """The lines from byte `start` on; the last of them, or the one before it, must be where the mark is.

        A cut leaves one line without its mark. Whoever adds more has no key, and none of them counts.
        """
        marked, lines, end, after = mark.size == 0, [], start, 0
        for line, size in _parsed(whole, start, str(self._path)):
            lines.append(line)
            end += size
            after += marked
            marked |= end == mark.size and hmac.compare_digest(line.hash, mark.hash)
        if not marked:
            self._refuse("it does not end as it was written: lines were cut off or changed")
        if after > 1:
            self._refuse("it does not end as it was written: lines were added")
        return lines

    @contextmanager
    def _still(self) -> Iterator[None]:
        """Nobody adds a line in the block: the mark is that of the lines."""
        with ExitStack() as held:
            try:
                fcntl.flock(held.enter_context(self._path.open("rb")), fcntl.LOCK_SH)
            except FileNotFoundError:
                pass
            except OSError as error:
                raise OperatorError(f"cannot be read ({error.strerror})", where=str(self._path)) from None
            yield

    def _read(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise OperatorError(f"cannot be read ({error.strerror})", where=str(self._path)) from None

    def _marked(self) -> _Mark | None:
        try:
            sealed = self._mark_path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OperatorError(f"cannot be read ({error.strerror})", where=str(self._mark_path)) from None
        content, _, code = sealed.partition(b"\n")
        if not hmac.compare_digest(code, self._code(content)):
            self._refuse("its mark is damaged, or of another key")
        return msgspec.json.decode(content, type=_Mark)

    def _keep(self, mark: _Mark) -> None:
        content = msgspec.json.encode(mark)
        write_whole(self._mark_path, content + b"\n" + self._code(content))

    def _code(self, content: bytes) -> bytes:
        return hmac.new(self._secret(PURPOSE), content, hashlib.sha256).hexdigest().encode()

    def _refuse(self, why: str) -> NoReturn:
        raise _broken(why, str(self._path))


def verified(exported: bytes, where: str) -> Trail:
    """An exported trail, every link verified; `where` names it. OperatorError: the chain is broken."""
    return _trail([line for line, _ in _parsed(_whole(exported), 0, where)])


def _trail(lines: Sequence[_Line]) -> Trail:
    return Trail(tuple(line.entry for line in lines), tuple(line.hash for line in lines))


def _whole(raw: bytes) -> bytes:
    """The whole lines; one that a power cut left half is none: its change was never made."""
    return raw[: raw.rfind(b"\n") + 1]


def _parsed(whole: bytes, start: int, where: str) -> Iterator[tuple[_Line, int]]:
    """Each line with its size in bytes, verified against the one before it.

    Where byte `start` isn't the beginning, the first line is what the others are held against.
    """
    last, end = (GENESIS if start == 0 else None), start
    for number, text in enumerate(whole.split(b"\n")[:-1], start=1):
        try:
            line = msgspec.json.decode(text, type=_Line)
        except (msgspec.MsgspecError, UnicodeError):
            line = None
        if line is None or (last is not None and line.hash != link(last, msgspec.json.encode(line.entry))):
            named = f"line {number}" if start == 0 else f"the line at byte {end}"
            raise _broken(f"{named} breaks the chain: the trail was changed or damaged", where)
        last, end = line.hash, end + len(text) + 1
        yield line, len(text) + 1


def _broken(why: str, where: str) -> OperatorError:
    return OperatorError(
        why, where=where, do="Keep both files for whoever looks into it; a new trail begins without them."
    )
