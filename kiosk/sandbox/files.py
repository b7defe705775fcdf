"""Files of the sandbox's folder: written whole or not at all, readable by their owner only.

What the system refuses (a full disk, a folder of somebody else) is one line for the operator.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from kiosk.domain.errors import OperatorError
from kiosk.files import write_whole

__all__ = ["BadFile", "explained", "only_one", "read_json", "secret", "write"]

SECRET_BYTES: Final = 32
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class BadFile(OperatorError):  # noqa: N818 - what it is
    """What an operator wrote in a file can't be used; until it is mended, what depends on it is refused."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What the system refuses about `path` as what it means for an operator."""
    try:
        yield
    except OSError as error:
        do = "Free the disk." if error.errno in _FULL else "Run as the folder's owner, or use --data-dir."
        raise OperatorError(f"can't be used ({error.strerror})", where=str(path), do=do) from None


def write(path: Path, content: bytes) -> None:
    """Put `content` at `path` (0600) in one step: a full disk or a cut leaves what was there before."""
    with explained(path):
        write_whole(path, content)


def secret(path: Path) -> bytes:
    """32 random bytes in a file (0600), made when it is not there. OperatorError: something else is there."""
    with explained(path):
        if not path.exists():
            write(path, secrets.token_bytes(SECRET_BYTES))
        found = path.read_bytes()
    if len(found) != SECRET_BYTES:
        raise OperatorError("not a key of 32 bytes", where=str(path), do="Put the right one back.")
    return found


T = TypeVar("T")


def read_json(path: Path, kind: type[T]) -> T | None:
    """What an operator wrote in `path`, as a `kind`; None when there is no such file. BadFile: it is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeError) as error:
        raise BadFile(f"can't be used: {error}", where=str(path), do="Mend or remove it.") from None


@contextmanager
def only_one(folder: Path) -> Iterator[Path]:
    """The folder, held for this process. OperatorError when another sandbox has it."""
    path = folder / "sandbox.lock"
    with explained(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OperatorError(
                "another sandbox uses this folder",
                where=str(folder),
                do="Stop it, or use another --data-dir.",
            ) from None
        yield folder
    finally:
        os.close(handle)
