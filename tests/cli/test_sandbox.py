"""`kiosk sandbox` as people run it: what stands in its way is one line with what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kiosk.sandbox import files

from ..permissions import of_somebody_else
from ..sandbox.conftest import running
from .conftest import Kiosk, Ran


def refused(ran: Ran, *told: str) -> None:
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    for part in told:
        assert part in ran.err


def test_a_full_disk_is_one_line_and_leaves_no_half_key(
    kiosk: Kiosk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    refused(kiosk("sandbox", "--data-dir", tmp_path, "--port", "0"), "acquirer.key", "No space", "Free")
    assert not list((tmp_path / "sandbox").glob("acquirer.*"))


def test_a_folder_that_a_sandbox_uses_is_refused_in_one_line(kiosk: Kiosk, tmp_path: Path) -> None:
    with running(tmp_path):
        refused(kiosk("sandbox", "--data-dir", tmp_path, "--port", "0"), "another sandbox", "--data-dir")


@pytest.mark.parametrize("name", ["acquirer.key", "policy.key"])
@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\n"])
def test_a_key_that_is_none_is_one_line(kiosk: Kiosk, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "sandbox").mkdir()
    (tmp_path / "sandbox" / name).write_bytes(content)
    refused(kiosk("sandbox", "--data-dir", tmp_path, "--port", "0"), name, "not a P-256", "Remove it")


@pytest.mark.parametrize(
    ("closed", "arguments"),
    [
        ("", ["--port", "0"]),
        ("", ["ledger"]),
        ("", ["trust", "device.pub"]),
        ("sandbox", ["--port", "0"]),
        ("sandbox", ["ledger"]),
    ],
)
def test_a_folder_of_somebody_else_is_one_line(
    kiosk: Kiosk, tmp_path: Path, closed: str, arguments: list[str]
) -> None:
    (tmp_path / "sandbox").mkdir()
    for folder in (tmp_path.parent, tmp_path):
        folder.chmod(0o755)
    at = ["--data-dir", str(tmp_path)]
    whole = [*at, *arguments] if arguments[0] == "--port" else [*arguments, *at]
    with of_somebody_else(tmp_path / closed):
        ran = kiosk("sandbox", *whole)
    refused(ran, str(tmp_path), "denied", "--data-dir")
