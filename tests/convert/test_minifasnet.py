"""MiniFASNet's published weights, converted by the command and held against the float networks.

Needs an environment with the extra `convert` (`make test-convert` makes one) and the two weight files; what
is missing is said.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kiosk.devices.camera_file import read_image
from kiosk.vision import install
from kiosk.vision.detect import Detector
from kiosk.vision.liveness import crop_inside
from kiosk.vision.models import ModelCard, Role, load_manifest, load_model
from kiosk.vision.pipeline import by_prominence

ROOT = Path(__file__).resolve().parents[2]
PICTURES = 150
CONVERTING_S = 900
LEAST_CORRELATION = 0.999
LARGEST_BYTES = 2_000_000


@pytest.fixture(scope="module")
def python() -> str:
    """A Python that has the extra: this one, $KIOSK_CONVERT_PYTHON, or that of `make test-convert`."""
    if importlib.util.find_spec("litert_torch") and importlib.util.find_spec("torch"):
        return sys.executable
    named = os.environ.get("KIOSK_CONVERT_PYTHON") or ROOT / ".venv-convert" / "bin" / "python"
    if not Path(named).exists():
        pytest.skip("the extra `convert` is not installed here (3 GB): `make test-convert` runs this test")
    return str(named)


@pytest.fixture(scope="module")
def weights(eval_data: Path) -> Path:
    """The folder with the two files: $KIOSK_MINIFASNET, or beside the evaluation data."""
    folder = Path(os.environ.get("KIOSK_MINIFASNET") or eval_data.parent / "models" / "minifasnet")
    if not folder.is_dir():
        pytest.skip(f"MiniFASNet's weights are not in {folder} (KIOSK_MINIFASNET)")
    return folder


@pytest.fixture(scope="module")
def converted(python: str, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network's file, made by the command; its card lies beside it."""
    out = tmp_path_factory.mktemp("converted") / "minifasnet.tflite"
    command = [python, "-m", "kiosk.cli.main", "models", "convert", "minifasnet"]
    done = subprocess.run(
        [*command, "--weights", weights, "--out", out],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=CONVERTING_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def crops(eval_data: Path) -> dict[str, np.ndarray]:
    """Both crops of faces that the product's detector finds in evaluation pictures, uint8[n, 80, 80, 3]."""
    detector = Detector(load_model(load_manifest().card(Role.DETECTOR)))
    with (eval_data / "pad" / "pad.csv").open(newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    views: dict[str, list[np.ndarray]] = {"near": [], "far": []}
    for path in paths[:: len(paths) // PICTURES]:
        rgb = read_image(eval_data / "pad" / path)
        faces = by_prominence(detector.detect(rgb), rgb.shape[1], rgb.shape[0])
        for seen, scale in zip(views.values(), (2.7, 4.0), strict=True):
            seen.extend(crop_inside(rgb, face.box, scale, 80, 0.15) for face in faces[:1])
    return {name: np.stack(seen) for name, seen in views.items()}


@pytest.mark.timeout(CONVERTING_S)
def test_the_converted_file_says_what_the_float_networks_say(
    python: str, weights: Path, converted: Path, crops: dict[str, np.ndarray], tmp_path: Path
) -> None:
    np.savez(tmp_path / "crops.npz", **crops)
    script = Path(__file__).with_name("reference.py")
    subprocess.run(
        [python, script, weights, tmp_path / "crops.npz", tmp_path / "answers.npy"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    theirs = np.load(tmp_path / "answers.npy")
    model = load_model(card_of(converted), converted.parent)
    ours = [
        float(model.run(*(view[None].astype(np.float32) / 255 for view in pair))[0].item())
        for pair in zip(crops["near"], crops["far"], strict=True)
    ]
    assert len(ours) > 0.9 * PICTURES
    assert np.corrcoef(ours, theirs)[0, 1] >= LEAST_CORRELATION
    assert converted.stat().st_size < LARGEST_BYTES


@pytest.mark.timeout(CONVERTING_S)
def test_the_converted_file_and_its_card_can_be_added(converted: Path, tmp_path: Path) -> None:
    done = install.add(converted, converted.with_suffix(".json"), tmp_path)
    assert load_manifest(added=tmp_path).card(Role.LIVENESS) == done.card
    assert (done.card.licence, done.card.commercial) == ("Apache-2.0", "yes")
    assert "Silent-Face-Anti-Spoofing" in done.card.attribution


def test_weights_that_are_none_are_refused_in_one_line(python: str, weights: Path, tmp_path: Path) -> None:
    for file in weights.glob("*.pth"):
        (tmp_path / file.name).write_bytes(b"not weights")
    command = [python, "-m", "kiosk.cli.main", "models", "convert", "minifasnet", "--weights", tmp_path]
    done = subprocess.run(
        [*command, "--out", tmp_path / "x.tflite"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    announced, refused = done.stderr.splitlines()
    assert "about a minute" in announced
    assert "is not a MiniFASNet weight file" in refused
    assert not (tmp_path / "x.tflite").exists()


def card_of(file: Path) -> ModelCard:
    return install.read_card(file.with_suffix(".json"))
