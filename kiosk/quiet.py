"""Nothing on stderr while a library works that writes there by itself, past every logging switch."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

__all__ = ["no_remarks"]

_stderr = threading.Lock()


@contextlib.contextmanager
def no_remarks() -> Iterator[None]:
    """Send file descriptor 2 nowhere; what goes wrong in the block comes as an exception and is not lost.

    The descriptor is the whole process's, so this is for the moment in which a network is loaded or a file is
    decoded, no more. One block at a time: two would put each other's nowhere back.
    """
    with _stderr:
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)
