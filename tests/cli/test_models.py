"""`kiosk models` as an integrator uses it."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
from pathlib import Path

import msgspec
import pytest

from kiosk.assets import assets_dir
from kiosk.cli import models
from kiosk.vision.models import ModelCard, Role, load_manifest, read_model

from .conftest import DEMO, Kiosk


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    """An integrator's network: the release's own with another hash, and terms that allow selling."""
    card = load_manifest().card(Role.LIVENESS)
    data = read_model(card) + b"\0" * 16
    entry = msgspec.to_builtins(card) | {
        "id": "acme-net-2",
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "licence": "Acme 1.0",
        "commercial": "yes",
    }
    (tmp_path / "card.json").write_text(json.dumps(entry))
    (tmp_path / "net.tflite").write_bytes(data)
    return tmp_path / "net.tflite"


def test_list_show_and_verify_tell_of_the_releases_own(kiosk: Kiosk, tmp_path: Path) -> None:
    listed = json.loads(kiosk("models", "list", "--data-dir", tmp_path, "--json").out)["models"]
    assert [model["id"] for model in listed] == [card.id for card in load_manifest().models]
    assert {model["origin"] for model in listed} == {"release"}
    shown = json.loads(kiosk("models", "show", "liveness", "--data-dir", tmp_path, "--json").out)
    assert msgspec.convert(shown, type(load_manifest().models[0])) == load_manifest().card(Role.LIVENESS)
    verified = kiosk("models", "verify", "--data-dir", tmp_path, "--json")
    assert verified.code == 0
    assert json.loads(verified.out)["ok"] is True
    for words in (("list",), ("show", "detector"), ("verify",)):
        ran = kiosk("models", *words, "--data-dir", tmp_path)
        assert (ran.code, ran.err) == (0, "")
        assert load_manifest().card(Role.DETECTOR).id in ran.out


def test_a_list_for_people_fits_a_terminal_of_80_columns_and_cuts_no_name(
    kiosk: Kiosk, brought: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    kiosk("models", "add", brought, "--card", brought.parent / "card.json", "--data-dir", tmp_path)
    listed = kiosk("models", "list", "--data-dir", tmp_path).out
    assert "…" not in listed
    assert all(role in listed for role in Role)
    assert all(len(line) <= 80 for line in listed.splitlines()[:-1])


def test_a_card_for_people_is_lines_not_python(kiosk: Kiosk, tmp_path: Path) -> None:
    shown = kiosk("models", "show", "liveness", "--data-dir", tmp_path).out
    assert "  shape: 1 x 80 x 80 x 3\n" in shown
    assert not set("{}(") & set(shown.split("thresholds:")[0].split("input 1:")[1])


def test_help_says_which_extra_convert_needs(kiosk: Kiosk) -> None:
    assert "extra 'convert'" in " ".join(kiosk("models", "convert", "--help").out.split())


def test_a_network_is_added_used_named_in_the_doctors_words_and_taken_back(
    kiosk: Kiosk, brought: Path, tmp_path: Path
) -> None:
    folder = ("--data-dir", tmp_path / "data")
    added = kiosk("models", "add", brought, "--card", brought.parent / "card.json", *folder, "--json")
    assert added.code == 0, added.err
    name = json.loads(added.out)["added"]
    assert json.loads(added.out)["replaces"] == load_manifest().card(Role.LIVENESS).id
    listed = json.loads(kiosk("models", "list", *folder, "--json").out)["models"]
    assert {model["id"]: model["origin"] for model in listed}[name] == "added"
    still = ("--camera", DEMO / "probe" / "stranger.jpg")
    checks = json.loads(kiosk("doctor", *still, *folder, "--json").out)["checks"]
    models = next(check for check in checks if check["name"] == "models")
    assert models["status"] == "green"
    assert f"added: liveness {name}" in models["detail"]
    assert kiosk("look", *still, *folder, "--json").code == 0
    back = kiosk("models", "rollback", *folder)
    assert back.code == 0
    assert load_manifest().card(Role.LIVENESS).id in back.out
    again = kiosk("models", "rollback", *folder, "--json")
    assert name in [model["id"] for model in json.loads(again.out)["models"]]
    out = kiosk("models", "rollback", "--release", *folder, "--json")
    assert {model["origin"] for model in json.loads(out.out)["models"]} == {"release"}


def test_a_damaged_list_is_mended_by_going_back_to_the_releases_own(
    kiosk: Kiosk, brought: Path, tmp_path: Path
) -> None:
    folder = ("--data-dir", tmp_path / "data")
    kiosk("models", "add", brought, "--card", brought.parent / "card.json", *folder)
    (tmp_path / "data" / "models" / "manifest.json").write_text("{")
    assert kiosk("models", "list", *folder).code == 2
    ran = kiosk("models", "rollback", "--release", *folder, "--json")
    assert ran.code == 0, ran.err
    models = tmp_path / "data" / "models"
    assert ran.err == f"kiosk: {models} is damaged or not yours alone: it is set aside as {models}.damaged\n"
    assert {model["origin"] for model in json.loads(ran.out)["models"]} == {"release"}
    assert kiosk("models", "list", *folder).code == 0


def test_production_asks_for_leave_to_sell_also_of_an_added_network(
    kiosk: Kiosk, brought: Path, tmp_path: Path
) -> None:
    card = brought.parent / "card.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"commercial": "unstated"}))
    said = kiosk("models", "add", brought, "--card", card, "--data-dir", tmp_path / "data")
    assert "production refuses it (commercial use: unstated) until it is named" in said.out
    others = [model.id for model in load_manifest().models if model.commercial != "yes"]
    settings = tmp_path / "kiosk.toml"
    settings.write_text(f'mode = "production"\n[models]\naccept_without_leave = {json.dumps(others)}\n')
    still = ("--camera", DEMO / "probe" / "stranger.jpg")
    doctor = kiosk("doctor", *still, "--config", settings, "--data-dir", tmp_path / "data", "--json")
    terms = next(check for check in json.loads(doctor.out)["checks"] if check["name"] == "model_terms")
    assert terms["status"] == "red"
    assert "acme-net-2-" in terms["detail"]


def test_a_release_is_changed_in_its_own_folder(
    kiosk: Kiosk, brought: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(assets_dir() / "models", tmp_path / "assets" / "models")
    monkeypatch.setenv("KIOSK_ASSETS", str(tmp_path / "assets"))
    before = load_manifest()
    ran = kiosk("models", "add", brought, "--card", brought.parent / "card.json", "--assets")
    assert ran.code == 0, ran.err
    after = load_manifest()
    assert after.card(Role.LIVENESS).id.startswith("acme-net-2-")
    assert [card for card in after.models if card.role is not Role.LIVENESS] == [
        card for card in before.models if card.role is not Role.LIVENESS
    ]
    assert kiosk("models", "rollback", "--assets").code == 0
    assert load_manifest().card(Role.LIVENESS) == before.card(Role.LIVENESS)


def test_verify_names_the_file_that_is_wrong(kiosk: Kiosk, brought: Path, tmp_path: Path) -> None:
    folder = ("--data-dir", tmp_path / "data")
    kiosk("models", "add", brought, "--card", brought.parent / "card.json", *folder)
    (file,) = (tmp_path / "data" / "models").glob("*.tflite")
    file.write_bytes(b"damaged")
    ran = kiosk("models", "verify", *folder)
    assert ran.code == 1
    assert f"BAD liveness   {file.stem}" in ran.out
    assert kiosk("look", "--camera", DEMO / "probe" / "stranger.jpg", *folder).code == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("show", "painter"), "no model 'painter'"),
        (("add", "no.tflite", "--card", "no.json"), "no.json: cannot be read"),
        (("add", "no.tflite"), "--card"),
        (("add", "a", "--card", "b", "--assets", "--data-dir", "c"), "--assets with --data-dir"),
        (("rollback", "--data-dir", "/nonexistent"), "nothing to go back to"),
        (("rollback", "--assets", "--release"), "--release with --assets"),
        (("convert", "resnet", "--weights", ".", "--out", "x.tflite"), "no recipe for 'resnet'"),
        (("convert", "minifasnet", "--weights", ".", "--out", "x.bin"), "ends in .tflite"),
        (
            ("convert", "minifasnet", "--weights", ".", "--out", "no/where/x.tflite"),
            "no/where: no such folder",
        ),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(kiosk: Kiosk, words: tuple[str, ...], complaint: str) -> None:
    ran = kiosk("models", *words)
    assert ran.code == 2
    assert complaint in ran.err
    assert ran.err.count("\n") == 1


def test_without_the_extra_convert_says_what_to_install(
    kiosk: Kiosk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    ran = kiosk("models", "convert", "minifasnet", "--weights", tmp_path, "--out", tmp_path / "x.tflite")
    assert ran.code == 2
    assert "facepay-kiosk[convert]" in ran.err
    assert ran.err.count("\n") == 1


def test_convert_says_at_once_that_it_takes_a_minute(
    kiosk: Kiosk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = msgspec.structs.replace(load_manifest().card(Role.LIVENESS), id="acme-net-2")

    def converted(weights: Path, file: str) -> tuple[bytes, ModelCard]:
        assert "about a minute" in said.getvalue()
        return b"TFL3", card

    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setattr(models, "_recipe", lambda: converted)
    ran = kiosk(
        "models", "convert", "minifasnet", "--weights", tmp_path, "--out", tmp_path / "x.tflite", "--json"
    )
    assert ran.code == 0
    assert json.loads(ran.out)["file"] == str(tmp_path / "x.tflite")
    assert said.getvalue().count("\n") == 1
