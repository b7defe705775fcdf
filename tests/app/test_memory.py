"""Templates stay in memory: a process of the kiosk leaves no core, and tells how it could be read."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from kiosk.app.memory import swap_areas


def in_a_process(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python that may dump core into `folder`."""

    def allow_cores() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=folder,
        preexec_fn=allow_cores,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=60,
        check=False,
    )


def test_every_command_closes_its_memory_before_anything_else(tmp_path: Path) -> None:
    ran = in_a_process(
        """
        import sys
        from kiosk.app import memory
        from kiosk.cli import main
        main.app = lambda **_: print(*memory.exposure(), sep="; ")
        main.main()
        """,
        tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    assert "core dumps" not in ran.stdout
    assert "other processes" not in ran.stdout


def test_a_process_that_is_not_closed_says_so(tmp_path: Path) -> None:
    ran = in_a_process(
        """
        from kiosk.app import memory
        print(*memory.exposure(), sep="; ")
        """,
        tmp_path,
    )
    assert "other processes of this user may read its memory" in ran.stdout


@pytest.mark.parametrize("closed", [True, False])
def test_a_crash_leaves_no_core_and_no_contents_of_memory(tmp_path: Path, closed: bool) -> None:
    ran = in_a_process(
        f"""
        import ctypes, faulthandler
        from kiosk.app.memory import keep_private
        if {closed}:
            keep_private()
        faulthandler.enable()
        template = b"TEMPLATE-IN-MEMORY" * 1000
        ctypes.string_at(0)
        """,
        tmp_path,
    )
    assert ran.returncode < 0, "it died of a signal"
    assert "Segmentation fault" in ran.stderr
    assert "TEMPLATE-IN-MEMORY" not in ran.stderr + ran.stdout
    left = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    if closed:
        assert left == b""
    elif (
        resource.getrlimit(resource.RLIMIT_CORE)[1]
        and Path("/proc/sys/kernel/core_pattern").read_text() == "core\n"
    ):
        assert b"TEMPLATE-IN-MEMORY" in left, "what is told above would hold for any process"


def test_memory_is_locked_only_where_no_limit_would_break_a_later_allocation(tmp_path: Path) -> None:
    locked = """
        import resource
        from kiosk.app.memory import stay_resident
        soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        assert soft == resource.RLIM_INFINITY or not stay_resident()
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)
        except ValueError:
            print("may not")  # only who has CAP_SYS_RESOURCE raises it
        else:
            allowed = stay_resident()
            more = bytearray(50_000_000)
            kept = [line for line in open("/proc/self/status") if line.startswith("VmLck")]
            print("locked" if allowed and int(kept[0].split()[1]) > 50_000 else "not locked")
        """
    assert in_a_process(locked, tmp_path).stdout.strip() in ("locked", "may not")


@pytest.mark.parametrize(
    ("lines", "areas"),
    [
        ("", []),
        ("/dev/zram0  partition 2097148 0 100\n", []),
        ("/var/swap file 102396 0 -2\n/dev/sda2 partition 9 0 -3\n", ["/var/swap", "/dev/sda2"]),
    ],
)
def test_compressed_memory_is_no_disk(tmp_path: Path, lines: str, areas: list[str]) -> None:
    listed = tmp_path / "swaps"
    listed.write_text("Filename Type Size Used Priority\n" + lines)
    assert swap_areas(listed) == areas
    assert swap_areas(tmp_path / "none") == []
