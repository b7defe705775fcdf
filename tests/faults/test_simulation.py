"""A sample of the schedules of `make faults`, and the proof that they find what they look for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import __main__ as command
from .__main__ import ZEROS
from .mutants import MUTANTS
from .schedules import Summary, memory_folder, play_all
from .world import Place, play

SAMPLE = 800
CHUNKS = 4
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    with memory_folder() as place:
        yield place


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_schedule_of_faults_loses_or_doubles_money(folder: Path, chunk: int) -> None:
    summary = play_all(range(chunk * SAMPLE // CHUNKS, (chunk + 1) * SAMPLE // CHUNKS), folder)
    assert summary.violations == []
    # the faults were there, and so were the payments
    assert summary.met.keys() >= {"attempt approved", "attempt declined", "attempt reversed", "disk full"}
    assert summary.met.keys() >= {"lost", "doubled", "late", "corrupted", "network replaced", "clock jumped"}
    assert summary.met.keys() >= {"kiosk killed at rest", "acquirer killed at arrival"}
    assert summary.met.keys() >= {"right PIN typed", "wrong PIN typed", "outage", "both clocks jumped"}
    assert summary.met.keys() >= {"offline sale approved", "refund approved", "refund refused here"}


def test_quick_schedules_go_as_those_with_real_signatures_and_files_go(folder: Path) -> None:
    place = Place(folder)
    for seed in range(1, 25):
        quick, signed = (play(seed, place, signed=signed, traced=True) for signed in (False, True))
        assert quick.trace == signed.trace, f"seed {seed}"
        assert quick.met == signed.met


def test_a_seed_is_a_schedule(folder: Path) -> None:
    place = Place(folder)
    first, again = (play(7, place, traced=True) for _ in range(2))
    assert first.trace == again.trace
    assert first.trace != play(8, place, traced=True).trace


@pytest.mark.parametrize(("mutant", "seeds"), [(name, range(400)) for name in MUTANTS if "Tomb" not in name])
def test_each_known_way_to_lose_money_is_found(folder: Path, mutant: str, seeds: range) -> None:
    place = Place(folder)
    assert any(play(seed, place, parts=MUTANTS[mutant]).violation for seed in seeds)


def test_a_forgotten_tombstone_is_found(folder: Path) -> None:
    """It takes a payment that comes after its reversal, and before its signature is too old."""
    place = Place(folder)
    found = play(188, place, parts=MUTANTS["LeavesNoTombstone"]).violation
    assert found is not None
    assert found.kind in ("double_debit", "unknown_approval")


def test_the_command_says_what_it_played_and_prints_a_schedule_again() -> None:
    def run(*arguments: str) -> str:
        line = [sys.executable, "-m", "tests.faults", *arguments]
        return subprocess.run(line, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    found = json.loads(run("--schedules", "60", "--kills", "0", "--jobs", "1", "--json"))
    assert found["violations"] == 0
    assert found["by_kind"] == dict.fromkeys(ZEROS, 0)
    assert found["schedules"]["n"] == 60
    assert found["kills"]["n"] == 0
    assert "seed 12: nothing lost, nothing doubled, nothing stuck" in run("--seed", "12")


def test_a_violation_is_exit_code_1_and_says_how_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = Summary(schedules=8, seconds=1.0, violations=[(7, "stuck", "stuck: #1")])
    monkeypatch.setattr(command, "run_schedules", lambda *_, **__: found)
    monkeypatch.setattr(sys, "argv", ["faults", "--kills", "0", "--out", str(tmp_path)])
    assert command.main() == 1
    said = capsys.readouterr().out
    assert "seed 7: stuck: #1; again: make faults SEED=7" in said
    assert json.loads((tmp_path / "faults.json").read_text())["by_kind"]["stuck"] == 1
