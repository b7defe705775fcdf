"""A person gets what is held of them: facts, from both sides, and never a template or digits."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kiosk.app.wiring import open_base

from ..sandbox.conftest import Running, running
from .conftest import DEMO, PAYER, Kiosk, Ran

FACE, PROBE = DEMO / "enrol" / PAYER, DEMO / "probe" / f"{PAYER}.jpg"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("office")) as started:
        yield started


def export(kiosk: Kiosk, folder: Path, token: str, *more: str | Path) -> Ran:
    return kiosk("privacy", "export", "--payer", token, "--data-dir", folder, *more)


def test_what_is_held_here_and_at_the_acquirer_is_in_the_file_and_no_template_is(
    kiosk: Kiosk, office: Running, tmp_path: Path
) -> None:
    enrolled = kiosk(
        *(
            "enrol",
            "--camera",
            FACE,
            "--account",
            "wallet-1",
            "--agreed",
            "v1",
            "--of-age",
            "--digits",
            "4821",
        ),
        *("--limit-per-day", "200.00", "--language", "ar", "--data-dir", office.folder, "--json"),
    )
    token = json.loads(enrolled.out)["payer"]
    paid = ("pay", "--camera", PROBE, "--amount", "38.50", "--order", "E-1", "--data-dir", office.folder)
    assert kiosk(*paid).code == 0
    out = tmp_path / "theirs.json"
    ran = export(kiosk, office.folder, token, "--out", out)
    assert (ran.code, f"written to {out}" in ran.out) == (0, True), ran.err
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    raw = out.read_text()
    told = json.loads(raw)
    record = told["kiosk"]["record"]
    assert record["consent"]["text"] == "v1/ar"
    assert record["consent"]["keep_until"] == told["acquirer"]["consent"]["keep_until"]
    assert record["template"]["references"] == 1
    assert record["limit_per_day_minor"] == 20_000
    assert [(one["order"], one["amount"], one["result"]) for one in told["kiosk"]["payments"]] == [
        ("E-1", "38.50", "approved")
    ]
    assert [one["what"] for one in told["kiosk"]["audit_entries"]] == ["enrol"]
    assert (told["acquirer"]["state"], "template" in told["acquirer"]["held"]) == ("active", True)
    assert "4821" not in raw
    with open_base(office.folder, None) as base:
        held = base.gallery.payer(token)
        assert held is not None
        for vector in (held.vectors()[0], base.gallery.epoch.turn_back(held.vectors())[0]):
            numbers = [f"{value:.4f}" for value in np.asarray(vector)[:8]]
            assert sum(number in raw for number in numbers) <= 1

    assert kiosk("forget", "--payer", token, "--data-dir", office.folder).code == 0
    after = json.loads(export(kiosk, office.folder, token, "--json").out)
    assert (after["kiosk"]["record"], len(after["kiosk"]["payments"])) == (None, 1)
    assert (after["acquirer"]["state"], "template" in after["acquirer"]["held"]) == ("withdrawn", False)
    assert [one["what"] for one in after["kiosk"]["audit_entries"]] == ["enrol", "export", "forget"]


def test_nobody_s_data_are_an_error(kiosk: Kiosk, office: Running) -> None:
    ran = export(kiosk, office.folder, "pyr-nobody")
    assert (ran.code, "nobody is known as" in ran.err) == (2, True)
    assert export(kiosk, office.folder, "two words").code == 2


def test_what_lies_here_is_exported_also_while_the_acquirer_can_t_be_asked(
    kiosk: Kiosk, data_dir: Path, tmp_path: Path
) -> None:
    enrol = ("enrol", "--camera", FACE, "--payer", PAYER, "--data-dir", data_dir)
    assert kiosk(*enrol).code == 0
    ran = export(kiosk, data_dir, PAYER, "--json")
    told = json.loads(ran.out)
    assert (ran.code, told["kiosk"]["enrolled"], told["acquirer"]["answered"]) == (14, True, False)
    assert "no acquirer is set up here" in ran.err
    assert export(kiosk, data_dir, PAYER).out.count("\n") == 4
    refused = export(kiosk, data_dir, PAYER, "--out", tmp_path / "missing" / "x.json")
    assert (refused.code, "can't be written" in refused.err) == (2, True)
    (data_dir / "audit.jsonl").write_text("broken\n")
    broken = export(kiosk, data_dir, PAYER, "--json")
    assert (broken.code, "trail is left out" in broken.err) == (14, True)
