"""What lies beside the journal's file: its lock, how far it had come, and room on the disk for what is open.

    journal.sqlite.lock      one process holds a journal at a time; the lock ends with the process
    journal.sqlite.mark      number and hash of the last entry: a journal that is behind it is an older copy
    journal.sqlite.reserve   room that is given up when the disk is full, so that what is open can end

The mark is written after its entry and not flushed: it may lag behind a power cut, it is never ahead of what
was written. Whoever puts back the whole folder puts back the mark: that, only the acquirer notices.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

from kiosk.domain.errors import OperatorError

__all__ = ["RESERVE_BYTES", "InUse", "Mark", "Reserve", "hold_lock", "not_opened"]

RESERVE_BYTES: Final = 1024 * 1024
"""An end takes up to 50 KiB of the write-ahead log: room for every attempt that one kiosk can have open."""


class InUse(OperatorError):  # noqa: N818 - the journal is in use
    """A running kiosk holds the journal; it checked the chain when it started."""


def beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.name}.{what}")


class Mark:
    """How far the journal at `path` had come: entry number, its hash, the highest sequence. None: no mark."""

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        self._handle: int | None = None
        if path is not None:
            flags = os.O_RDONLY if read_only else os.O_RDWR | os.O_CREAT
            with contextlib.suppress(FileNotFoundError):
                self._handle = os.open(beside(path, "mark"), flags, 0o600)

    def read(self) -> tuple[int, str, int] | None:
        """What stands there; None when nothing does that can be understood."""
        if self._handle is None:
            return None
        words = os.pread(self._handle, 200, 0).split()
        try:
            seq, last, sequence = int(words[0]), words[1].decode(), int(words[2])
            good = len(bytes.fromhex(last)) == 32 and seq >= 0 and 0 <= sequence < 2**53 and len(words) == 3
        except (ValueError, IndexError):
            return None
        return (seq, last, sequence) if good else None

    def write(self, seq: int, last: str, sequence: int) -> None:
        """Of one length always, so that it needs no room on a full disk; the journal is whole without it."""
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.pwrite(self._handle, f"{seq:020d} {last} {sequence:020d}\n".encode(), 0)

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class Reserve:
    """Room on the disk of the journal at `path`. None: no reserve is kept, and none is missed."""

    def __init__(self, path: Path | None) -> None:
        self._path = None if path is None else beside(path, "reserve")

    def hold(self) -> bool:
        """Whether the room is there; it is taken when it is not."""
        if self._path is None:
            return True
        try:
            if self._path.stat().st_size == RESERVE_BYTES:
                return True
        except OSError:
            pass
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(handle, 0, RESERVE_BYTES)
            finally:
                os.close(handle)
        except OSError:
            self.release()
            return False
        return True

    def release(self) -> bool:
        """Give the room up; whether there was any."""
        try:
            if self._path is not None:
                self._path.unlink()
        except OSError:
            return False
        return self._path is not None


def hold_lock(path: Path) -> int:
    """The handle that holds the lock of the journal at `path`, whose folder (mode 0700) is made when missing.

    Raises:
        InUse: another process holds it.
        OperatorError: the folder or the lock can't be made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(beside(path, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise not_opened(path, error) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise InUse(
            "another kiosk is running on this data folder",
            where=str(path.parent),
            do="Stop it, or use another --data-dir.",
        ) from None
    return handle


def not_opened(path: Path, error: OSError) -> OperatorError:
    """What an operator reads when the system refuses."""
    return OperatorError(
        f"the journal can't be opened ({error.strerror})",
        where=str(path),
        do="Run as the data folder's owner, on a disk that can be written.",
    )
