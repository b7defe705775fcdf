"""Makes the shipped file of a checkpoint: int8 TFLite, its thresholds, and its entry in the manifest.

    python tools/pad/export.py --checkpoint out/pad/final/checkpoint.pt --cache out/pad/cache

The people that the run left out set the thresholds. The int8 file has to agree with the float network on
their pictures, be small, and be fast, or nothing is written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import litert_torch
import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import qtyping, quantizer, recipe_manager
from augment import FAR, NEAR, SIDE, plain
from checkout import ROOT
from data import LIVE, Cache, Row, is_known
from metrics import Scores
from network import Exported
from train import REPORT_ONLY, load, split

FILE = "antispoof.tflite"
LARGEST_BYTES = 1_000_000
SLOWEST_MS = 5.0
LEAST_CORRELATION = 0.999
"""Between the float and the int8 network's logits over the pictures that set the thresholds."""
WANTED_APCER = 0.01
"""Share of attacks, known and simulated, of people kept apart, that may reach the live threshold."""
WANTED_BPCER = 0.01
"""Share of live faces of people kept apart that may fall below the attack threshold."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Scores in (0, 1): live from `live` on, attack below `attack`, unsure between."""

    live: float
    attack: float


def convert(checkpoint: Path) -> bytes:
    """The float32 TFLite file of a checkpoint."""
    example = (torch.rand(1, SIDE, SIDE, 3), torch.rand(1, SIDE, SIDE, 3))
    part = checkpoint.with_suffix(".tflite")
    litert_torch.convert(Exported(load(checkpoint)).eval(), example).export(str(part))
    return part.read_bytes()


def quantise(model: bytes) -> bytes:
    """int8 weights and int8 arithmetic in the convolutions, activations measured as it runs.

    The last layer stays float: tflite-runtime 2.14 runs an int8 FULLY_CONNECTED with one scale a row as if it
    were empty, so that every face gets the same score (tests/vision/test_tflite_runtime.py).
    """
    manager = recipe_manager.RecipeManager()
    manager.add_dynamic_config(regex=".*", operation_name=qtyping.TFLOperationName.CONV_2D, num_bits=8)
    made = quantizer.Quantizer(model, manager.get_quantization_recipe()).quantize()
    return bytes(made.quantized_model)


def logits(model: bytes, cache: Cache, rows: list[Row]) -> tuple[Scores, float]:
    """What a TFLite file answers for every row, float64[n], and the median time of one answer in ms."""
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    near, far = (detail["index"] for detail in interpreter.get_input_details())
    answer = interpreter.get_output_details()[0]["index"]
    values, taken = [], []
    for row in rows:
        for index, crop in zip((near, far), plain(cache.picture(row), row.box), strict=True):
            interpreter.set_tensor(index, (crop.astype(np.float32) / 255.0)[None])
        started = perf_counter()
        interpreter.invoke()
        taken.append(1000 * (perf_counter() - started))
        values.append(float(interpreter.get_tensor(answer).ravel()[0]))
    return np.array(values), float(np.median(taken))


def thresholds(live: Scores, attacks: Scores) -> Thresholds:
    """Logits of people kept apart, to the two thresholds; no grey zone where the classes are apart."""
    accept = float(np.quantile(attacks, 1 - WANTED_APCER, method="higher"))
    refuse = float(np.quantile(live, WANTED_BPCER, method="lower"))
    if refuse > accept:
        accept = refuse = (accept + refuse) / 2
    return Thresholds(live=_probability(accept), attack=_probability(refuse))


def _probability(logit: float) -> float:
    """A logit as the score that the product compares, to four digits and never 0 or 1."""
    return float(np.clip(round(1 / (1 + np.exp(-logit)), 4), 0.0001, 0.9999))


def entry(model: bytes, limits: Thresholds, recipe: dict[str, Any], trained: list[str]) -> dict[str, Any]:
    """The manifest's entry, in the format of kiosk.vision.models."""
    hold_out, seed = recipe["hold_out"], recipe["seed"]
    set_by = f"tools/pad/export.py, people of fold {hold_out}"
    crops = (("near", NEAR), ("far", FAR))
    return {
        "id": "kiosk-antispoof-int8-1",
        "role": "liveness",
        "file": FILE,
        "sha256": hashlib.sha256(model).hexdigest(),
        "bytes": len(model),
        "source": {"registry": "this repository", "package": "tools/pad/train.py", "version": f"seed {seed}"},
        "build": "tools/pad/export.py: dynamic int8 in CONV_2D",
        "licence": "research only",
        "commercial": "no",
        "trained_on": (
            "Replay-Attack, NUAA and Labeled Faces in the Wild (research use only), people of fold "
            f"{hold_out} left out and used for the thresholds; simulated recaptures of the same live faces "
            "(kiosk.sandbox.recapture); answers of Silent-Face-Anti-Spoofing's MiniFASNet pair (Apache-2.0) "
            "as a second target"
        ),
        "trained_subjects": trained,
        "input": [
            {
                "name": name,
                "shape": [1, SIDE, SIDE, 3],
                "values": "RGB in [0, 1], square around the detector's box, mirrored beyond the frame",
                "crop_scale": scale,
            }
            for name, scale in crops
        ],
        "output": [{"name": "logit", "shape": [1, 1], "values": "positive for live"}],
        "thresholds": {
            "live": {
                "value": limits.live,
                "set_by": f"{set_by} (APCER {WANTED_APCER:.0%}, real and simulated)",
            },
            "attack": {"value": limits.attack, "set_by": f"{set_by} (BPCER {WANTED_BPCER:.0%})"},
        },
    }


def install(folder: Path, model: bytes, card: dict[str, Any]) -> None:
    """Writes the file, and puts its entry into manifest.json in place of the one for the same role."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["models"] = [other for other in manifest["models"] if other["role"] != card["role"]] + [card]
    (folder / FILE).write_bytes(model)
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint.pt of train.py")
    parser.add_argument(
        "--cache", type=Path, default=Path("out/pad/cache"), help="what data.py made of the sets"
    )
    parser.add_argument("--models", type=Path, default=ROOT / "assets" / "models", help="where the file goes")
    parser.add_argument("--dry-run", action="store_true", help="measure and print, write nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    cache = Cache.open(given.cache)
    recipe = torch.load(given.checkpoint, weights_only=True)["recipe"]
    used, kept = split(cache, recipe["hold_out"])
    rows = [row for row in kept if row.dataset not in REPORT_ONLY]
    trained = sorted({row.subject for row in used if is_known(row)})
    original = convert(given.checkpoint)
    model = quantise(original)
    values, milliseconds = logits(model, cache, rows)
    exact, slower = logits(original, cache, rows)
    correlation = float(np.corrcoef(values, exact)[0, 1])
    is_live = np.array([row.label == LIVE for row in rows])
    limits = thresholds(values[is_live], values[~is_live])
    print(f"{len(model)} bytes ({len(original)} as float), {milliseconds:.2f} ms ({slower:.2f} as float)")
    print(f"agreement with float over {len(rows)} pictures: r = {correlation:.5f}, "
          f"largest difference {np.abs(values - exact).max():.3f}")  # fmt: skip
    print(f"live from {limits.live}, attack below {limits.attack}")
    for passed, problem in (
        (len(model) <= LARGEST_BYTES and len(model) < 0.4 * len(original), "the file is too large"),
        (milliseconds <= SLOWEST_MS, "one answer takes too long"),
        (correlation >= LEAST_CORRELATION, "int8 and float do not agree"),
    ):
        if not passed:
            raise SystemExit(f"not written: {problem}")
    if not given.dry_run:
        install(given.models, model, entry(model, limits, recipe, trained))


if __name__ == "__main__":
    main()
