"""Networks that an integrator brings: tried, pinned, listed, taken back; and nothing of it by halves."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from kiosk.domain.errors import OperatorError
from kiosk.frames import Frame, PixelFormat
from kiosk.vision import install, trial
from kiosk.vision.look import LookRules
from kiosk.vision.models import Manifest, ModelCard, Role, load_manifest, read_model
from kiosk.vision.pipeline import Vision


def brought(folder: Path, data: bytes | None = None, like: Role = Role.LIVENESS, **changed: Any) -> Path:
    """A network file and its card beside it, as an integrator has them; the release's, but for `changed`."""
    theirs = load_manifest().card(like)
    data = read_model(theirs) + b"\0" * 16 if data is None else data  # works the same, is another file
    entry = msgspec.to_builtins(theirs) | {
        "id": "acme-net-2",
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "commercial": "yes",
        **changed,
    }
    folder.mkdir(exist_ok=True)
    (folder / "net.json").write_bytes(msgspec.json.encode(entry))
    (folder / "net.tflite").write_bytes(data)
    return folder / "net.tflite"


def add(file: Path, folder: Path) -> install.Added:
    return install.add(file, file.with_suffix(".json"), folder)


def running(folder: Path) -> Manifest:
    return load_manifest(added=folder)


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def with_weights(data: bytes, value: float) -> bytes:
    """The network with `value` for its large float weights, and 0 for its large int8 ones."""
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data))
    changed = bytearray(data)
    for tensor in tree.subgraphs[0].tensors:
        place = tree.buffers[tensor.buffer]
        if place.size:  # it lies behind the tree, as bytes
            is_float = tensor.type == schema.TensorType.FLOAT32
            filled = (
                np.full(place.size // 4, value, np.float32) if is_float else np.zeros(place.size, np.int8)
            )
            changed[place.offset : place.offset + place.size] = filled.tobytes()
    assert changed != data
    return bytes(changed)


def test_an_added_network_takes_the_releases_place_and_its_id_holds_its_hash(tmp_path: Path) -> None:
    file, folder = brought(tmp_path / "desk"), tmp_path / "data" / "models"
    done = add(file, folder)
    digits = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    assert done.card.id == f"acme-net-2-{digits}"
    assert done.replaced == load_manifest().card(Role.LIVENESS)
    assert done.ms > 0
    manifest = running(folder)
    assert manifest.card(Role.LIVENESS) == done.card
    assert manifest.added == {done.card.id}
    assert [card.role for card in manifest.models] == [card.role for card in load_manifest().models]
    assert manifest.card(Role.DETECTOR) == load_manifest().card(Role.DETECTOR)


def test_the_added_networks_file_is_what_looks(tmp_path: Path, portrait: np.ndarray) -> None:
    folder = tmp_path / "models"
    add(brought(tmp_path / "desk"), folder)
    height, width = portrait.shape[:2]
    frame = Frame((portrait,), PixelFormat.RGB888, width, height, 0, 0)
    assert Vision(running(folder)).observe(frame).liveness_logit is not None
    (folder / running(folder).card(Role.LIVENESS).file).unlink()
    with pytest.raises(OperatorError, match="cannot be read"):
        Vision(running(folder))


@pytest.mark.parametrize(("name", "mode"), [(".", 0o775), (".", 0o757), ("manifest.json", 0o646)])
def test_what_others_on_this_machine_may_write_is_not_run(tmp_path: Path, name: str, mode: int) -> None:
    """Whoever changes the anti-spoof network decides who is let through."""
    folder = tmp_path / "models"
    add(brought(tmp_path / "desk"), folder)
    (folder / name).chmod(mode)
    with pytest.raises(OperatorError, match="others may write") as refused:
        running(folder)
    assert "chmod" in refused.value.do


def test_a_folder_of_networks_is_the_owners_to_write_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        add(brought(tmp_path / "desk"), tmp_path / "models")
    finally:
        os.umask(before)
    assert running(tmp_path / "models").added


LIVENESS_INPUT = {"name": "near", "shape": [1, 96, 96, 3], "values": "RGB", "crop_scale": 1.4}
ONE = {"value": 0.5, "set_by": "a test"}


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"sha256": "0" * 64}, "is not what the card describes"),
        ({"bytes": 1}, "is not what the card describes"),
        ({"id": "../up"}, "id '../up'"),
        ({"id": "a" * 56}, "Use 1 to 55"),
        ({"licence": "free\x1b[2J"}, "can't be printed"),
        ({"commercial": "maybe"}, "maybe"),
        ({"surprise": 1}, "surprise"),
        ({"role": "painter"}, "painter"),
        ({"input": []}, "has 0 inputs"),
        ({"input": [LIVENESS_INPUT | {"shape": [1, 96, 64, 3]}]}, "takes near as"),
        ({"input": [LIVENESS_INPUT | {"crop_scale": None}]}, "needs crop_scale of near"),
        ({"input": [LIVENESS_INPUT | {"crop_scale": 99.0}]}, "needs crop_scale of near"),
        ({"input": [LIVENESS_INPUT | {"crop_raised": 0.1}]}, "needs crop_raised of near"),
        ({"input": [LIVENESS_INPUT]}, "takes and gives"),
        ({"output": [{"name": "two", "shape": [1, 2], "values": ""}]}, "not one logit"),
        ({"thresholds": {}}, "no threshold 'live'"),
        ({"thresholds": {"live": ONE, "attack": ONE | {"value": 1.5}}}, "attack <= live"),
        ({"role": "embedding"}, "the embedding takes and gives"),
    ],
)
def test_a_card_that_is_not_right_is_refused_and_nothing_is_changed(
    tmp_path: Path, changed: dict[str, Any], complaint: str
) -> None:
    folder = tmp_path / "models"
    with pytest.raises(OperatorError, match=complaint):
        add(brought(tmp_path / "desk", **changed), folder)
    assert listing(folder) == {}


@pytest.mark.parametrize("changed", [{"thresholds": {}}, {"output": []}, {"input": []}])
def test_what_a_card_lacks_is_to_be_mended_in_the_card(tmp_path: Path, changed: dict[str, Any]) -> None:
    file = brought(tmp_path / "desk", **changed)
    with pytest.raises(OperatorError) as refused:
        add(file, tmp_path / "models")
    assert refused.value.where == str(file.with_suffix(".json"))
    assert "docs/models.md" in refused.value.do


def test_the_card_that_the_guide_shows_is_one_of_a_liveness_network(tmp_path: Path) -> None:
    guide = Path(__file__).parents[2] / "docs" / "models.md"
    shown = guide.read_text("utf-8").split("```json\n")[1].split("```")[0]
    path = tmp_path / "card.json"
    path.write_text(shown, "utf-8")
    card = install.read_card(path)
    install.check_contract(card, load_manifest().card(Role.LIVENESS))
    assert set(json.loads(shown)) == {field.name for field in msgspec.structs.fields(ModelCard)} - {
        "trained_subjects",
        "false_matches",
    }
    LookRules.of(Manifest(1, (load_manifest().card(Role.EMBEDDING), card)))


def test_the_network_that_runs_already_is_not_added_again(tmp_path: Path) -> None:
    folder, file = tmp_path / "models", brought(tmp_path / "desk")
    card = add(file, folder).card
    before = listing(folder)
    with pytest.raises(OperatorError, match=f"{card.id} is already in use"):
        add(file, folder)
    assert listing(folder) == before
    shipped = brought(tmp_path / "other", read_model(load_manifest().card(Role.LIVENESS)))
    entry = msgspec.to_builtins(load_manifest().card(Role.LIVENESS))
    shipped.with_suffix(".json").write_bytes(msgspec.json.encode(entry))
    with pytest.raises(OperatorError, match=f"{entry['id']} is already in use"):
        add(shipped, tmp_path / "none")


def test_the_network_that_runs_already_is_added_again_to_change_its_card_or_mend_its_file(
    tmp_path: Path,
) -> None:
    folder, file = tmp_path / "models", brought(tmp_path / "desk")
    card = add(file, folder).card
    (folder / card.file).write_bytes(b"damaged")
    assert add(file, folder).card == card
    assert read_model(card, folder) == file.read_bytes()
    stricter = {"live": ONE | {"value": 0.99}, "attack": ONE}
    assert add(brought(tmp_path / "desk", thresholds=stricter), folder).card.threshold("live") == 0.99


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "not a network that this interpreter can run"),
        (b"\x1c\0\0\0TFL3" + b"\xff" * 4000, "not a network that this interpreter can run"),
        (lambda good: good[:5000], "not a network that this interpreter can run"),
        (lambda good: with_weights(good, 0.0), "the same answer to every picture"),
        (lambda good: with_weights(good, float("nan")), "no finite numbers"),
    ],
    ids=["empty", "garbage", "cut off", "constant", "not a number"],
)
def test_a_file_that_does_not_work_is_refused_and_nothing_is_changed(
    tmp_path: Path, data: Any, complaint: str
) -> None:
    good = read_model(load_manifest().card(Role.LIVENESS))
    folder = tmp_path / "models"
    with pytest.raises(OperatorError, match=complaint):
        add(brought(tmp_path / "desk", data(good) if callable(data) else data), folder)
    assert listing(folder) == {}


def test_a_file_that_is_too_large_or_missing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = brought(tmp_path / "desk")
    monkeypatch.setattr(install, "MAX_MODEL_BYTES", 1024)
    with pytest.raises(OperatorError, match="larger than 1 KiB"):
        add(file, tmp_path / "models")
    with pytest.raises(OperatorError, match="cannot be read"):
        install.add(tmp_path / "no.tflite", file.with_suffix(".json"), tmp_path / "models")


def test_a_file_that_crashes_its_trial_takes_nothing_else_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = tmp_path / "python"
    crash.write_text("#!/bin/sh\ncat > /dev/null\nkill -SEGV $$\n")
    crash.chmod(0o755)
    monkeypatch.setattr(trial.sys, "executable", str(crash))
    with pytest.raises(OperatorError, match="the trial was ended by SIGSEGV"):
        add(brought(tmp_path / "desk"), tmp_path / "models")
    assert listing(tmp_path / "models") == {}


def test_going_back_and_forth_and_out(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    with pytest.raises(OperatorError, match="nothing to go back to"):
        install.roll_back(folder)
    shipped = load_manifest().card(Role.LIVENESS)
    first = add(brought(tmp_path / "desk"), folder).card
    second = add(brought(tmp_path / "desk", read_model(shipped) + b"\0" * 32), folder)
    assert second.replaced == first
    install.roll_back(folder)
    assert running(folder).card(Role.LIVENESS) == first
    install.roll_back(folder)
    assert running(folder).card(Role.LIVENESS) == second.card
    install.take_out(folder)
    assert running(folder) == Manifest(1, load_manifest().models, load_manifest().homes)
    install.roll_back(folder)
    assert running(folder).card(Role.LIVENESS) == second.card


def test_files_that_no_list_needs_any_more_are_deleted(tmp_path: Path) -> None:
    folder, shipped = tmp_path / "models", read_model(load_manifest().card(Role.LIVENESS))
    (folder).mkdir()
    (folder / "notes.txt").write_text("mine")
    cards = [add(brought(tmp_path / "desk", shipped + b"\0" * (16 * n)), folder).card for n in (1, 2, 3)]
    kept = {path.name for path in folder.glob("*.tflite")}
    assert kept == {cards[1].file, cards[2].file}
    assert (folder / "notes.txt").exists()


def test_a_former_network_that_was_damaged_is_not_gone_back_to(tmp_path: Path) -> None:
    folder, shipped = tmp_path / "models", read_model(load_manifest().card(Role.LIVENESS))
    first = add(brought(tmp_path / "desk"), folder).card
    second = add(brought(tmp_path / "desk", shipped + b"\0" * 32), folder).card
    (folder / first.file).write_bytes(b"damaged")
    with pytest.raises(OperatorError, match="is not model"):
        install.roll_back(folder)
    assert running(folder).card(Role.LIVENESS) == second


def test_what_a_power_cut_left_half_written_is_not_in_the_way(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "manifest.json.new").write_bytes(b"half")
    card = add(brought(tmp_path / "desk"), folder).card
    assert running(folder).card(Role.LIVENESS) == card
    assert not list(folder.glob("*.new"))


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"format":1,"models":[{}]}', b" " * (1024 * 1024 + 1)])
def test_a_damaged_list_of_added_networks_is_refused_never_passed_over(tmp_path: Path, damage: bytes) -> None:
    folder = tmp_path / "models"
    add(brought(tmp_path / "desk"), folder)
    (folder / "manifest.json").write_bytes(damage)
    with pytest.raises(OperatorError, match=r"manifest\.json"):
        running(folder)


@pytest.mark.parametrize("broken", ["manifest.json", "manifest.former.json", "folder"])
@pytest.mark.parametrize("as_folder", [False, True])
def test_taking_all_out_works_whatever_was_damaged_and_keeps_the_damage_aside(
    tmp_path: Path, broken: str, as_folder: bool
) -> None:
    folder = tmp_path / "models"
    for number in (1, 2):
        add(brought(tmp_path / "desk"), folder)
        path = folder if broken == "folder" else folder / broken
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if as_folder:
            path.mkdir(parents=True)
            (path / "manifest.json").mkdir()
        else:
            path.write_bytes(b"{")
        aside = install.take_out(folder)
        assert running(folder).added == frozenset()
        if aside is not None:
            assert aside == tmp_path / ("models.damaged" if number == 1 else "models.damaged-2")
            assert aside.exists()
            assert not folder.exists()
    assert (aside is None) is (broken == "manifest.former.json" and not as_folder)


@pytest.mark.parametrize("damage", ["list", "folder for a list", "file", "no file", "file outside"])
def test_what_is_wrong_with_an_added_network_is_mended_by_taking_it_out(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "models"
    card = add(brought(tmp_path / "desk"), folder).card
    listed = folder / "manifest.json"
    if damage == "list":
        listed.write_bytes(b"{")
    elif damage == "folder for a list":
        listed.unlink()
        listed.mkdir()
    elif damage == "file":
        (folder / card.file).write_bytes(b"damaged")
    elif damage == "no file":
        (folder / card.file).unlink()
    else:
        listed.write_bytes(listed.read_bytes().replace(card.file.encode(), b"../" + card.file.encode()))
    with pytest.raises(OperatorError) as refused:
        read_model(running(folder).card(Role.LIVENESS), folder)
    assert "`kiosk models rollback --release`" in refused.value.do
    assert "nstall" not in refused.value.do
    assert str(folder) in refused.value.where


def test_taking_all_out_where_nothing_is_damaged_sets_nothing_aside(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    assert install.take_out(folder) is None
    add(brought(tmp_path / "desk"), folder)
    assert install.take_out(folder) is None
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("models")] == ["models"]


def test_an_added_network_cannot_go_by_an_id_without_its_hash(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    card: ModelCard = add(brought(tmp_path / "desk"), folder).card
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(card.id.encode(), b"kiosk-antispoof-int8-2"))
    with pytest.raises(OperatorError, match="first 8 digits"):
        running(folder)
