"""Files written whole or not at all, and looked for without guessing: what every room does the same way.

What the system refuses comes out of `write_whole` as OSError: each room says in its own words what that is.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kiosk.domain.errors import OperatorError

__all__ = ["alone", "is_there", "write_whole"]


def write_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Put `content` at `path` in one step, on the disk when this returns.

    A full disk or a power cut leaves what was there before. `mode` is the new file's, less the process's
    umask. OSError for what the system refuses; nothing half-written stays.
    """
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # the name too has to outlive a cut
    finally:
        os.close(folder)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """One process at a time inside the block, by the file `lock` (0600, made when missing); others wait.

    OSError for what the system refuses.
    """
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_there(path: Path) -> bool:
    """Like `Path.exists`, but a folder that may not be read is the operator's to mend, not an empty one."""
    try:
        return path.exists()
    except OSError as error:
        raise OperatorError(
            f"cannot be looked at ({error.strerror})", where=str(path), do="Run as the folder's owner."
        ) from None
