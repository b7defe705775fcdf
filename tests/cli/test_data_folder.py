"""A data folder that is not there: who asks about a kiosk makes none, and does not hear that all is well."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import DEMO, PAYER, Kiosk

ASKS = [
    ["outbox"],
    ["offline"],
    ["receipt"],
    ["resolve"],
    ["close"],
    ["close", "--dry-run"],
    ["refund", "A-1", "--staff", "7"],
    ["dispute", "A-1", "--staff", "7"],
    ["journal", "show"],
    ["journal", "verify"],
    ["journal", "export"],
    ["journal", "compact"],
    ["journal", "recover"],
    ["limits", "show"],
    ["limits", "set", "per_payment", "10.00"],
    ["limits", "log"],
    ["staff", "list"],
    ["staff", "log"],
    ["staff", "remove", "7", "--by", "8"],
    ["keys", "show"],
    ["keys", "tls", "show"],
    ["payers", "show", "pyr-1"],
    ["forget", "--payer", "pyr-1"],
    ["pay", "--camera", "face.jpg", "--amount", "10.00"],
]


@pytest.mark.parametrize("arguments", ASKS, ids=" ".join)
def test_a_mistyped_folder_is_refused_and_not_made(
    kiosk: Kiosk, tmp_path: Path, arguments: list[str]
) -> None:
    mistyped = tmp_path / "koisk"
    ran = kiosk(*arguments, "--data-dir", mistyped)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"kiosk: {mistyped}: there is no such data folder. Check --data-dir.\n"
    assert not mistyped.exists()


def test_who_is_enrolled_first_begins_a_folder(kiosk: Kiosk, tmp_path: Path) -> None:
    enrol = ("enrol", "--camera", DEMO / "enrol" / PAYER, "--payer", PAYER)
    assert kiosk(*enrol, "--data-dir", tmp_path / "new").code == 0
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("command", ["outbox", "offline"])
def test_where_nothing_was_ever_sold_that_is_what_is_said(kiosk: Kiosk, tmp_path: Path, command: str) -> None:
    ran = kiosk(command, "--data-dir", tmp_path)
    assert ran.code == 0
    assert "nothing was sold here yet" in ran.out
    assert list(tmp_path.iterdir()) == [], "asking leaves no trace"
