"""`kiosk audit`: what was done is shown, proven and handed out; a trail that was touched is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kiosk.app.audit import AUDIT_NAME, MARK_NAME
from kiosk.app.wiring import open_base

from .conftest import Kiosk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A kiosk on which three things were done, on two of the shop's days (UTC+8)."""
    data = tmp_path / "kiosk"
    data.mkdir()
    with open_base(data, None) as base:
        first = datetime(2026, 11, 24, 15, 59, tzinfo=UTC).timestamp()
        base.audit.note("enrol", at_s=first, payer="tok-1", references=3)
        base.audit.note("enrol", at_s=first + 60, payer="tok-2", references=3)
        base.audit.note("wrong_pin", at_s=first + 120, staff="7", action="refund")
    return data


def test_the_trail_is_shown_by_kind_payer_and_the_shops_days(kiosk: Kiosk, folder: Path) -> None:
    ran = kiosk("audit", "show", "--data-dir", folder)
    assert ran.code == 0
    assert "2026-11-24 23:59:00 +08:00  kiosk       enrol" in ran.out
    assert "2026-11-25 00:01:00 +08:00  staff 7     wrong_pin      action refund\n3 lines\n" in ran.out

    def shown(*more: str) -> list[str]:
        entries = json.loads(kiosk("audit", "show", "--json", *more, "--data-dir", folder).out)["entries"]
        return [entry["what"] for entry in entries]

    assert shown("--what", "enrol") == ["enrol", "enrol"]
    assert shown("--payer", "tok-2") == ["enrol"]
    assert shown("--payer", "tok-3") == []
    assert shown("--since", "2026-11-25") == ["enrol", "wrong_pin"]
    assert shown("--until", "2026-11-24") == ["enrol"]
    assert "tok-" not in ran.out


def test_a_head_that_was_noted_is_found_again_and_an_older_trail_is_not(kiosk: Kiosk, folder: Path) -> None:
    files = [folder / AUDIT_NAME, folder / MARK_NAME]
    older = [file.read_bytes() for file in files]
    with open_base(folder, None) as base:
        base.audit.note("sync", at_s=base.clock.utc_s(), version=2)
    told = json.loads(kiosk("audit", "verify", "--json", "--data-dir", folder).out)
    assert (told["ok"], told["lines"]) == (True, 4)
    head = told["head"]
    assert kiosk("audit", "verify", "--head", head, "--data-dir", folder).code == 0
    for file, content in zip(files, older, strict=True):
        file.write_bytes(content)
    assert kiosk("audit", "verify", "--data-dir", folder).code == 0, "the two files fit each other"
    ran = kiosk("audit", "verify", "--head", head, "--data-dir", folder)
    assert ran.code == 2
    assert "put back, begun anew or changed" in ran.err


def test_an_export_is_verified_without_the_kiosk(kiosk: Kiosk, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "trail.jsonl"
    told = json.loads(kiosk("audit", "export", "--out", out, "--json", "--data-dir", folder).out)
    assert told["lines"] == 3
    assert kiosk("audit", "verify", "--file", out, "--head", told["head"]).out.startswith("3 lines")
    out.write_bytes(out.read_bytes().replace(b'"staff":"7"', b'"staff":"8"'))
    ran = kiosk("audit", "verify", "--file", out)
    assert (ran.code, "line 3 breaks the chain" in ran.err) == (2, True)


@pytest.mark.parametrize("command", [["verify"], ["show"], ["export", "--out", "x.jsonl"]])
def test_a_trail_that_lacks_its_end_is_refused_everywhere(
    kiosk: Kiosk, folder: Path, command: list[str]
) -> None:
    trail = folder / AUDIT_NAME
    trail.write_bytes(b"".join(trail.read_bytes().splitlines(keepends=True)[:2]))
    ran = kiosk("audit", *command, "--data-dir", folder)
    assert (ran.code, ran.out) == (2, "")
    assert "lines were cut off or changed" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["verify", "--head", "12ab"], "--head '12ab'"),
        (["verify", "--file", "nowhere.jsonl"], "nowhere.jsonl: cannot be read"),
        (["show", "--since", "yesterday"], "--since 'yesterday'"),
        (["export", "--out", "no/such/folder/x"], "cannot be written"),
    ],
)
def test_wrong_use_is_one_line(kiosk: Kiosk, folder: Path, arguments: list[str], told: str) -> None:
    ran = kiosk("audit", *arguments, "--data-dir", folder)
    assert ran.code == 2
    assert told in ran.err
    assert ran.err.count("\n") == 1
