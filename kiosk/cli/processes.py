"""Other processes of this product, started by a command and ended with it.

`running_sandbox` is the side that starts; `end_with_parent` is the other, for a starter that is killed.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kiosk.domain.errors import OperatorError

__all__ = ["command", "end_with_parent", "running_sandbox"]


def command(*arguments: str | Path) -> list[str]:
    """`kiosk ARGUMENTS` with this very interpreter."""
    return [sys.executable, "-m", "kiosk.cli.main", *map(str, arguments)]


@contextmanager
def running_sandbox(folder: Path, *options: str) -> Iterator[str]:
    """`kiosk sandbox` on a free port with `folder` as its data folder; its address; ended with the block."""
    arguments = command("sandbox", "--data-dir", folder, "--port", "0", "--until-parent-ends", *options)
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("sandbox ready "):
            raise OperatorError("the sandbox did not start", do="Run `kiosk sandbox` to see why.")
        yield line.split()[2]
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout:
            process.stdout.close()


def end_with_parent() -> None:
    """From now on this process is told to stop (SIGTERM) when the one that started it is gone.

    Not `PR_SET_PDEATHSIG`, which is sent when the *thread* that started it ends.
    """
    parent = os.pidfd_open(os.getppid())

    def wait() -> None:
        select.select([parent], [], [])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()
