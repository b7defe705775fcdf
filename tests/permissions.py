"""Folders that may not be entered, for a test that runs as root too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65_534


@contextmanager
def of_somebody_else(folder: Path, mode: int = 0o700) -> Iterator[None]:
    """As if another user owned `folder`, with that mode: root steps down, a user has what others have."""
    root = os.geteuid() == 0
    folder.chmod(mode if root else (mode & 0o7) * 0o111)
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)
