"""The audit trail: every change in it, none cut out unseen."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kiosk.app.audit import AUDIT_NAME, Audit
from kiosk.domain.errors import OperatorError


def noted(folder: Path, *kinds: str) -> Path:
    for at, kind in enumerate(kinds, start=1_800_000_000):
        Audit(folder).note("limit", at_s=at, staff="1007", kind=kind, before=None, after=at)
    return folder / AUDIT_NAME


def test_what_was_noted_is_there_in_its_order(tmp_path: Path) -> None:
    assert Audit(tmp_path).entries() == []
    path = noted(tmp_path, "a", "b")
    entries = Audit(tmp_path).entries()
    assert [(entry.what, entry.staff, entry.values["kind"]) for entry in entries] == [
        ("limit", "1007", "a"),
        ("limit", "1007", "b"),
    ]
    assert entries[0].at.timestamp() == 1_800_000_000
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("hurt", ["changed", "cut out", "swapped", "junk"])
def test_a_trail_that_other_hands_changed_is_said_and_not_added_to(tmp_path: Path, hurt: str) -> None:
    path = noted(tmp_path, "a", "b", "c")
    first, second, third = path.read_bytes().splitlines(keepends=True)
    changed = {
        "changed": first.replace(b"1007", b"1008") + second + third,
        "cut out": first + third,
        "swapped": second + first + third,
        "junk": first + b"\xff\n" + third,
    }
    path.write_bytes(changed[hurt])
    for use in (Audit(tmp_path).entries, lambda: noted(tmp_path, "d")):
        with pytest.raises(OperatorError, match="breaks the chain"):
            use()
    assert path.read_bytes() == changed[hurt]


def test_a_line_that_a_power_cut_left_half_is_none(tmp_path: Path) -> None:
    path = noted(tmp_path, "a", "b")
    whole = path.read_bytes()
    for length in range(len(whole.splitlines()[0]) + 1, len(whole)):
        path.write_bytes(whole[:length])
        assert [entry.values["kind"] for entry in Audit(tmp_path).entries()] == ["a"]
    noted(tmp_path, "c")
    assert [entry.values["kind"] for entry in Audit(tmp_path).entries()] == ["a", "c"]


def test_several_at_once_take_turns(tmp_path: Path) -> None:
    threads = [threading.Thread(target=noted, args=(tmp_path, str(number))) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {entry.values["kind"] for entry in Audit(tmp_path).entries()} == set(map(str, range(8)))


def test_a_folder_that_refuses_is_said(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="nothing was changed"):
        noted(tmp_path / "missing", "a")
    (tmp_path / AUDIT_NAME).mkdir()
    with pytest.raises(OperatorError, match="cannot be read"):
        Audit(tmp_path).entries()
