"""tflite-runtime in ai-edge-litert's place, in an environment of its own (made here, once: about 10 s)."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kiosk.vision.detect import INPUT_PX
from kiosk.vision.models import Role, load_manifest, load_model

ROOT = Path(__file__).resolve().parent.parent.parent
HOME = ROOT / "benchmarks" / "tflite-runtime"
ENVIRONMENT = ROOT / ".venv-tflite-runtime"

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 12) or platform.machine() not in ("x86_64", "aarch64"),
    reason="tflite-runtime 2.14 has no wheel for this Python (3.11 is the last) or machine",
)


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of an environment with tflite-runtime and numpy < 2."""
    wanted = (HOME / "requirements.txt").read_text("utf-8")
    done, python = ENVIRONMENT / "installed.txt", ENVIRONMENT / "bin" / "python"
    if not done.exists() or done.read_text("utf-8") != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]
        subprocess.run([python, *install, HOME / "requirements.txt"], check=True)
        done.write_text(wanted, "utf-8")
    return python


def answers(python: Path, folder: Path, role: Role, given: list[np.ndarray]) -> list[np.ndarray]:
    """What the other interpreter says to the same input."""
    np.savez(folder / "in.npz", *given)
    command = [python, HOME / "run_model.py", role, folder / "in.npz", folder / "out.npz"]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    with np.load(folder / "out.npz") as theirs:
        assert str(theirs["runtime"]) == "tflite_runtime"
        return [theirs[name] for name in sorted(theirs.files) if name.startswith("output_")]


def test_the_predecessor_gives_the_same_answers(python, portrait, tmp_path):
    """One test for all networks: the environment must be made once, also where tests run side by side."""
    import cv2

    lowest = {Role.DETECTOR: -1, Role.LANDMARKS: 0, Role.EMBEDDING: -1, Role.LIVENESS: 0}
    for role, low in lowest.items():
        card = load_manifest().card(role)
        side = card.input[0].shape[1]
        picture = cv2.resize(portrait[60:180, 70:190], (side, side)).astype(np.float32) / 255
        given = [(low + (1 - low) * picture)[None] for _ in card.input]
        ours, theirs = load_model(card).run(*given), answers(python, tmp_path, role, given)
        for one, other in zip(ours, theirs, strict=True):
            if role is Role.EMBEDDING:  # int8 arithmetic rounds differently: the direction is what counts
                cosine = one.ravel() @ other.ravel() / (np.linalg.norm(one) * np.linalg.norm(other))
                assert cosine > 0.999
            else:
                # Input pixels, and logits; those of liveness span -20 to 20.
                assert np.abs(one - other).max() <= (0.5 if role is Role.LIVENESS else 0.1), role


def test_the_detectors_input_is_what_the_manifest_says():
    assert load_manifest().card(Role.DETECTOR).input[0].shape == (1, INPUT_PX, INPUT_PX, 3)
