"""Holds the shipped int8 networks against the float ones that they were made from.

    make agreement            # builds the float networks, prints the figures
    make agreement WRITE=1    # and writes the reference of tests/vision/test_agreement.py

The reference is what the float networks say to faces of the demo's pictures (public domain, CC0), beside the
very inputs that they were shown. With `KIOSK_EVAL_DATA` the accuracy of verification is compared (LFW pairs).
"""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from kiosk.assets import assets_dir
from kiosk.devices.camera_file import read_image
from kiosk.vision.align import align
from kiosk.vision.detect import Detector
from kiosk.vision.embed import Embedder
from kiosk.vision.landmarks import Landmarker
from kiosk.vision.models import Manifest, ModelCard, Role, load_manifest, load_model
from kiosk.vision.pipeline import Vision
from kiosk.vision.runtime import Model

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "tests" / "vision" / "agreement.npz"
ROLES = {Role.DETECTOR: (127.5, -1.0), Role.LANDMARKS: (255.0, 0.0), Role.EMBEDDING: (128.0, -127.5 / 128)}
"""Role to (divisor, offset): input = pixel / divisor + offset."""


class Heard:
    """A network that remembers what it was shown first."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.first: NDArray[np.float32] | None = None

    def run(self, *inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        if self.first is None:
            self.first = inputs[0].copy()
        return self._model.run(*inputs)


def shown(models: dict[Role, Model], rgb: NDArray[np.uint8]) -> dict[Role, NDArray[np.uint8]]:
    """What each network is shown of a picture in the product: pixels, uint8[side, side, 3]."""
    heard: dict[Role, Any] = {role: Heard(model) for role, model in models.items()}
    face = Detector(heard[Role.DETECTOR]).detect(rgb)[0]
    landmarks = Landmarker(heard[Role.LANDMARKS]).find(rgb, face)
    Embedder(heard[Role.EMBEDDING]).embed(align(rgb, landmarks.five))
    return {
        role: np.round((heard[role].first[0] - offset) * divisor).astype(np.uint8)
        for role, (divisor, offset) in ROLES.items()
    }


def float_models(folder: Path) -> dict[Role, Model]:
    return {role: load_model(card_of(folder, role), folder) for role in ROLES}


def card_of(folder: Path, role: Role) -> ModelCard:
    """The shipped card with the float file's hash: the same inputs and outputs."""
    card = load_manifest().card(role)
    data = (folder / card.file).read_bytes()
    return msgspec.structs.replace(card, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def write_reference(folder: Path) -> None:
    """What the float networks say to the demo's faces, and what they were shown."""
    shipped = {role: load_model(load_manifest().card(role)) for role in ROLES}
    floats = float_models(folder)
    stored: dict[str, list[NDArray[Any]]] = {}
    for path in sorted((assets_dir() / "demo").rglob("*.jpg")):
        for role, pixels in shown(shipped, read_image(path)).items():
            divisor, offset = ROLES[role]
            answer = floats[role].run((pixels[None] / divisor + offset).astype(np.float32))
            stored.setdefault(f"{role}_pixels", []).append(pixels)
            if role is Role.DETECTOR:  # where there is no face the box is noise, and only takes room
                answer = (np.where(answer[1] > 0, answer[0], 0.0).astype(np.float32), answer[1])
            for number, output in enumerate(answer):
                stored.setdefault(f"{role}_{number}", []).append(output[0].ravel())
    np.savez_compressed(REFERENCE, **{name: np.stack(parts) for name, parts in stored.items()})
    print(f"{REFERENCE.relative_to(ROOT)}: {REFERENCE.stat().st_size} bytes")


def verification(folder: Path, table: Path) -> None:
    """Accuracy and time of `kiosk eval verify` with the float networks and with the shipped ones."""
    from kiosk.evaluation.verify import measure

    manifest = load_manifest()
    cards = tuple(card_of(folder, role) for role in ROLES)
    runs = {
        "float": Vision(Manifest(1, cards), directory=folder, liveness=False),
        "int8": Vision(liveness=False),
    }
    found = {name: measure(table, vision, lambda done, of: None) for name, vision in runs.items()}
    for name, run in found.items():
        low, high = run.figures["interval_95"]["accuracy"]
        print(
            f"{name}: {run.figures['accuracy']:.4%} of {run.figures['pairs']} pairs ({low:.2%} to {high:.2%})"
        )
    pairs = found["int8"].figures["pairs"]
    points = 100 * (found["int8"].figures["accuracy"] - found["float"].figures["accuracy"])
    print(f"int8 less float: {points:+.2f} points (one pair is {100 / pairs:.2f})")
    change = np.abs(found["int8"].scores - found["float"].scores)
    print(f"change of a pair's score: median {np.median(change):.4f}, largest {change.max():.3f}")
    threshold = manifest.card(Role.EMBEDDING).threshold("same_person")
    judged = [(run.scores >= threshold) == run.same for run in found.values()]
    print(f"pairs judged otherwise at {threshold:g}: {int((judged[0] != judged[1]).sum())}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "floats", type=Path, help="folder with the float networks (tools/build_models.py --float)"
    )
    parser.add_argument("--write", action="store_true", help=f"write {REFERENCE.relative_to(ROOT)}")
    options = parser.parse_args()
    if options.write:
        write_reference(options.floats)
    data = os.environ.get("KIOSK_EVAL_DATA")
    if data:
        verification(options.floats, Path(data) / "lfw" / "verify.csv")
    else:
        print("KIOSK_EVAL_DATA is not set: verification is left out")


if __name__ == "__main__":
    main()
