"""Folders that may not be entered, for a test that runs as root too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65_534


@contextmanager
def of_somebody_else(folder: Path) -> Iterator[None]:
    """As if another user owned `folder`, mode 0700: root steps down, a user locks themselves out."""
    root = os.geteuid() == 0
    folder.chmod(0o700 if root else 0)
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)
