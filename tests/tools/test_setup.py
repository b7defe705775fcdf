"""Set-up: what is missing is named, what went wrong is one line, and nothing is done twice."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kiosk_set_up", ROOT / "tools" / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def packages(setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """A machine with compiler and headers whose dpkg knows two packages; the list asks for four."""
    listed = tmp_path / "apt-packages.txt"
    listed.write_text("# for the screen\nlibegl1  # drawing\nlibglib2.0-0\n\nlibxkbcommon0\nlibdbus-1-3\n")
    known = (
        "installed|libegl1|\n"
        "installed|libglib2.0-0t64|libglib2.0-0 (= 2.84.4), other\n"
        "not-installed|libxkbcommon0|\n"
    )
    monkeypatch.setattr(setup, "APT_LIST", listed)
    monkeypatch.setattr(setup, "can_make_environments", lambda: True)
    monkeypatch.setattr(setup.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(setup.sysconfig, "get_path", lambda name: str(tmp_path))
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(
        setup.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, stdout=known, stderr="")
    )
    return setup


def test_only_packages_that_are_missing_are_named_and_provided_names_count(packages: ModuleType) -> None:
    assert packages.missing_packages() == ["libxkbcommon0", "libdbus-1-3"]


def test_a_kiosk_in_a_shop_is_set_up_without_what_only_tests_need(packages: ModuleType) -> None:
    with packages.APT_LIST.open("a") as listed:
        listed.write("\n# --- for tests and development\nsofthsm2\n")
    assert packages.missing_packages("runtime") == ["libxkbcommon0", "libdbus-1-3"]
    assert packages.missing_packages("dev") == ["libxkbcommon0", "libdbus-1-3", "softhsm2"]
    assert packages.FOR_TESTS in (ROOT / "deploy" / "apt-packages.txt").read_text()


def test_without_dpkg_only_what_can_be_seen_is_asked_for(
    packages: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    assert packages.missing_packages() == ["g++"]


def test_who_is_not_root_reads_the_one_command(
    packages: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(packages.os, "geteuid", lambda: 1000)
    with pytest.raises(packages.StopError, match=r"run: sudo apt-get install -y libxkbcommon0 libdbus-1-3$"):
        packages.bring_system_packages(tmp_path / "log")


def test_root_gets_them_installed(
    packages: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(packages.os, "geteuid", lambda: 0)
    monkeypatch.setattr(packages, "run", lambda command, log, environment=None: commands.append(command))
    packages.bring_system_packages(tmp_path / "log")
    assert commands[-1][-2:] == ["libxkbcommon0", "libdbus-1-3"]


@pytest.mark.parametrize(
    ("output", "part"),
    [
        ("WARNING: Retrying ... NewConnectionError(...)\nERROR: No matching distribution", "no connection"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
            "not the one that was locked",
        ),
        ("  ERROR: Failed building wheel for hnswlib\nerror: failed", "hnswlib did not compile"),
        ("line\nERROR: something else\n\n", "ERROR: something else"),
        ("E: Unable to locate package x", "E: Unable to locate package x"),
        ("", "failed without a word"),
    ],
)
def test_a_failure_is_one_line_that_says_what_to_do(setup: ModuleType, output: str, part: str) -> None:
    why = setup.reason("$ earlier\nERROR: earlier trouble\n$ pip install\n" + output)
    assert part in why
    assert "\n" not in why
    assert "earlier" not in why


def test_what_is_ready_is_left_alone(
    setup: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "kiosk").touch()
    (tmp_path / ".set-up").write_text(setup.fingerprint("dev"))
    setup.set_up(tmp_path, "dev", force=False)
    assert capsys.readouterr().out == ""


def test_a_changed_lock_is_noticed(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = setup.fingerprint("dev")
    changed = tmp_path / "dev.txt"
    changed.write_text("other==1")
    monkeypatch.setitem(setup.LOCKS, "dev", changed)
    assert setup.fingerprint("dev") != before


def test_a_command_that_fails_points_to_its_log(setup: ModuleType, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    with pytest.raises(setup.StopError, match=f"error: broken .all of it: {log}"):
        setup.run([sys.executable, "-c", "import sys; print('error: broken'); sys.exit(1)"], log)


def test_a_program_that_is_not_there_is_named(setup: ModuleType, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    with pytest.raises(setup.StopError, match="cannot start /no/such/program"):
        setup.run(["/no/such/program"], log)


def test_a_place_that_can_not_be_written_is_one_line() -> None:
    answer = subprocess.run(
        [sys.executable, ROOT / "tools" / "setup.py", "--venv", "/proc/nowhere/venv"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 2
    assert answer.stderr.count("\n") == 1
