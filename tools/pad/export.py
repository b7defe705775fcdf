"""Makes the shipped file of a checkpoint: int8 TFLite, and its entry in the manifest.

    python tools/pad/export.py --checkpoint out/pad/final/checkpoint.pt --cache out/pad/cache

The int8 file has to agree with the float network on people that the run left out, be small, and be fast, or
nothing is written. operating.py and fusion.py set the thresholds afterwards; until then the former ones stay.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from augment import EXPOSURE, FAR, NEAR, SIDE, plain
from checkout import ROOT
from data import Cache, Row, is_known
from metrics import Scores
from network import Exported
from train import REPORT_ONLY, load, score, split

from kiosk.convert import tflite

FILE = "antispoof.tflite"
LARGEST_BYTES = 1_000_000
SLOWEST_MS = 5.0
LEAST_CORRELATION = 0.999
"""Between the float and the int8 network's logits on people kept apart."""


def convert(checkpoint: Path) -> tuple[bytes, bytes]:
    """The float32 and the int8 TFLite file of a checkpoint."""
    example = (torch.rand(1, SIDE, SIDE, 3), torch.rand(1, SIDE, SIDE, 3))
    original = tflite.convert(Exported(load(checkpoint)), example)
    return original, tflite.quantise(original, packed=True)


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


def entry(model: bytes, recipe: dict[str, Any], trained: list[str]) -> dict[str, Any]:
    """The manifest's entry, in the format of kiosk.vision.models, without thresholds."""
    return {
        "id": "kiosk-antispoof-int8-2",
        "role": "liveness",
        "file": FILE,
        "sha256": hashlib.sha256(model).hexdigest(),
        "bytes": len(model),
        "source": {
            "registry": "this repository",
            "package": "tools/pad/train.py",
            "version": f"seed {recipe['seed']}",
        },
        "build": "tools/pad/export.py: dynamic int8 in CONV_2D, weight-only int8 in FULLY_CONNECTED",
        "licence": "research only",
        "commercial": "no",
        "attribution": (
            "the part that looks is MiniFASNetV2 of Silent-Face-Anti-Spoofing, Copyright 2020 Minivision, "
            "Apache License 2.0; changed: without its softmax, converted to TFLite, quantised"
        ),
        "trained_on": (
            "the part that looks: pictures of its authors, not published; the part that judges: "
            "Replay-Attack, NUAA and Labeled Faces in the Wild (research use only), people of fold "
            f"{recipe['hold_out']} left out, and simulated recaptures of live faces (kiosk.sandbox.recapture)"
        ),
        "trained_subjects": trained,
        "input": [
            {
                "name": name,
                "shape": [1, SIDE, SIDE, 3],
                "values": "RGB in [0, 1], around the detector's box, inside the frame, evenly exposed",
                "crop_scale": view.scale,
                "crop_edge": "inside",
                "crop_raised": view.raised,
                "crop_exposure": EXPOSURE,
            }
            for name, view in (("near", NEAR), ("far", FAR))
        ],
        "output": [{"name": "logit", "shape": [1, 1], "values": "positive for live"}],
    }


def install(folder: Path, model: bytes, card: dict[str, Any]) -> None:
    """Writes the file, and puts its entry into manifest.json; the thresholds that were there stay."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    former = next(other for other in manifest["models"] if other["role"] == card["role"])
    card["thresholds"] = former["thresholds"]
    manifest["models"] = [other for other in manifest["models"] if other is not former] + [card]
    (folder / FILE).write_bytes(model)
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint.pt of train.py")
    parser.add_argument("--cache", type=Path, default=Path("out/pad/cache"), help="what features.py left")
    parser.add_argument("--models", type=Path, default=ROOT / "assets" / "models", help="where the file goes")
    parser.add_argument("--dry-run", action="store_true", help="measure and print, write nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    cache = Cache.open(given.cache)
    recipe = torch.load(given.checkpoint, map_location="cpu", weights_only=True)["recipe"]
    used, kept = split(cache, recipe["hold_out"])
    rows = [cache.rows[i] for i in kept if cache.rows[i].dataset not in REPORT_ONLY]
    trained = sorted({cache.rows[i].subject for i in used if is_known(cache.rows[i])})
    original, model = convert(given.checkpoint)
    values, milliseconds = logits(model, cache, rows)
    exact = score(load(given.checkpoint), cache, rows)
    correlation = float(np.corrcoef(values, exact)[0, 1])
    print(f"{len(model)} bytes ({len(original)} as float), {milliseconds:.2f} ms an answer")
    print(f"agreement with the float network over {len(rows)} pictures: r = {correlation:.5f}, "
          f"95 % of the differences within {np.percentile(np.abs(values - exact), 95):.3f}")  # fmt: skip
    for passed, problem in (
        (len(model) <= LARGEST_BYTES, "the file is too large"),
        (milliseconds <= SLOWEST_MS, "one answer takes too long"),
        (correlation >= LEAST_CORRELATION, "int8 and float do not agree"),
    ):
        if not passed:
            raise SystemExit(f"not written: {problem}")
    if not given.dry_run:
        install(given.models, model, entry(model, recipe, trained))


if __name__ == "__main__":
    main()
