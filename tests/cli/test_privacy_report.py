"""`kiosk privacy report` on a kiosk with a sandbox and a payer: live facts, and nobody's name or token."""

from __future__ import annotations

import json
from pathlib import Path

from ..sandbox.conftest import Running
from .conftest import PAYER, Kiosk


def test_the_report_is_about_this_kiosk_and_names_nobody(kiosk: Kiosk, shop: Running, tmp_path: Path) -> None:
    toml = tmp_path / "kiosk.toml"
    toml.write_text('[privacy]\ncontroller = "Harbour Stores"\ncontact = "+86 21 5550 0100"\n')
    common = ("--config", toml, "--data-dir", shop.folder)
    kiosk("doctor", "--camera", "nowhere.jpg", *common)  # brings the policy
    ran = kiosk("privacy", "report", "--out", tmp_path / "out", "--json", *common)
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["people"] == 1
    assert {point["weight"] for point in told["open"]} == {"must", "note"}
    written = {name: (tmp_path / "out" / name).read_text() for name in told["files"]}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(written)
    assert "1 enrolled, 1 references" in written["assessment.html"]
    for name, page in written.items():
        assert "Harbour Stores" in page, name
        assert "Sandbox Acquirer" in page, name
        assert PAYER not in page, name
        assert "4821" not in page, name


def test_a_kiosk_that_knows_no_acquirer_says_so(kiosk: Kiosk, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    ran = kiosk("privacy", "report", "--out", tmp_path / "out", "--data-dir", tmp_path / "data")
    assert ran.code == 0, ran.err
    assert "must   no policy of an acquirer" in ran.out
    assert "must   nobody is named whom people can reach" in ran.out


def test_a_folder_that_can_not_be_made_is_one_line(kiosk: Kiosk, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "file").touch()
    ran = kiosk("privacy", "report", "--out", tmp_path / "file", "--data-dir", tmp_path / "data")
    assert ran.code == 2
    assert "Check --out" in ran.err
    assert ran.err.count("\n") == 1
