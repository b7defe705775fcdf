"""`kiosk resolve` says what became of every open payment."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from kiosk.assets import assets_dir

from ..sandbox.conftest import Running
from .conftest import DEMO, PAYER, Kiosk

PROBE = DEMO / "probe" / f"{PAYER}.jpg"


def leave_open(kiosk: Kiosk, shop: Running, order: str) -> None:
    shop.misbehave("drop-answer:9")
    arguments = ("--order", order, "--resolve", "0", "--data-dir", shop.folder)
    assert kiosk("pay", "--camera", PROBE, "--amount", "38.50", *arguments).code == 14


def test_it_says_order_amount_and_end(kiosk: Kiosk, shop: Running) -> None:
    leave_open(kiosk, shop, "R-1")
    shop.misbehave()
    ran = kiosk("resolve", "--data-dir", shop.folder)
    assert ran.code == 0
    assert ran.out.startswith("¥ 38.50 order R-1 approved: it is paid (ref ")
    assert kiosk("resolve", "--data-dir", shop.folder).out == "nothing is open\n"


def test_what_stays_open_is_named_and_has_its_exit_code(kiosk: Kiosk, shop: Running) -> None:
    leave_open(kiosk, shop, "R-2")
    shop.misbehave("drop-answer:9")
    ran = kiosk("resolve", "--wait", "0.5", "--data-dir", shop.folder, "--json")
    report = json.loads(ran.out)
    assert ran.code == 14
    assert (report["open_before"], report["open_now"]) == (1, 1)
    assert [(p["order_ref"], p["result"], p["amount"]) for p in report["payments"]] == [
        ("R-2", "open", "38.50")
    ]
    shop.misbehave()
    assert kiosk("resolve", "--data-dir", shop.folder, "--json").code == 0


def test_money_is_resolved_also_where_camera_models_and_gallery_are_broken(
    kiosk: Kiosk, shop: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_open(kiosk, shop, "R-3")
    shop.misbehave()
    (tmp_path / "kiosk.toml").write_text('[camera]\nsource = "/dev/video99"\n')
    shutil.copytree(assets_dir() / "models", tmp_path / "models")
    (tmp_path / "models" / "face_detector.tflite").write_bytes(b"not a network")
    monkeypatch.setenv("KIOSK_ASSETS", str(tmp_path))
    kept = {path: path.read_bytes() for path in (shop.folder / "gallery").iterdir()}
    for path in kept:
        path.write_bytes(b"damaged")
    try:
        ran = kiosk("resolve", "--data-dir", shop.folder, "--config", tmp_path / "kiosk.toml")
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    assert ran.code == 0, ran.err
    assert "R-3 approved" in ran.out
