"""What is in memory stays there: no core dump, no look into it by other processes, no swapping where allowed.

Templates and probes are in the clear in this process alone. `keep_private` is called by every command before
anything else; what the system refuses is no error, and `exposure` says it to the doctor.
"""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path
from typing import Final

__all__ = ["exposure", "keep_private", "stay_resident", "swap_areas"]

PR_GET_DUMPABLE: Final = 3
PR_SET_DUMPABLE: Final = 4
"""linux/prctl.h."""
MCL_ALL: Final = 1 | 2 | 4
"""MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT of mman.h: a page is locked when it is used, none is fetched."""


def keep_private() -> None:
    """No core dump of this process, by file or by a handler, and no debugger of the same user in it.

    A core limit alone does not stop a handler that `kernel.core_pattern` pipes dumps to (core(5)); a process
    that is not dumpable is dumped by neither, and its memory is closed to `ptrace` (prctl(2)).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _libc().prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def stay_resident() -> bool:
    """Lock all memory of this process, now and later, so that none is swapped; whether the system allowed it.

    Asked for only without a limit (`LimitMEMLOCK=infinity` of the unit): under one, a later allocation would
    fail instead.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return soft == resource.RLIM_INFINITY and _libc().mlockall(MCL_ALL) == 0


def exposure() -> list[str]:
    """By which ways this process's memory could be read by others or reach a disk; empty: by none."""
    ways = []
    if resource.getrlimit(resource.RLIMIT_CORE)[0] != 0:
        ways.append("core dumps are allowed")
    if _libc().prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0:
        ways.append("other processes of this user may read its memory")
    areas = swap_areas()
    if areas:
        ways.append(f"this machine swaps to {', '.join(areas)}")
    return ways


def swap_areas(listed: Path = Path("/proc/swaps")) -> list[str]:
    """What the system swaps to, but for compressed memory (zram), which is no disk."""
    try:
        lines = listed.read_text().splitlines()[1:]
    except OSError:
        return []
    names = [line.split()[0] for line in lines if line.strip()]
    return [name for name in names if not name.startswith("/dev/zram")]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
