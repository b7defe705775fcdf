"""Runs one network through kiosk.vision.runtime with whatever interpreter this environment has.

    PYTHONPATH=. .venv-tflite-runtime/bin/python benchmarks/tflite-runtime/run_model.py ROLE IN.npz OUT.npz

IN.npz holds the inputs in the file's order, OUT.npz gets the outputs, the package that ran them (`runtime`)
and the median time of one run (`ms`). `tests/vision/test_tflite_runtime.py` compares it with ai-edge-litert.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from kiosk.vision.runtime import Model, runtime_name

MODELS = Path(__file__).resolve().parent.parent.parent / "assets" / "models"


def main(role: str, given: str, answer: str) -> None:
    # The manifest is read plainly: this environment has the interpreter and numpy, nothing else.
    models = json.loads((MODELS / "manifest.json").read_text("utf-8"))["models"]
    card = next(model for model in models if model["role"] == role)
    model = Model(
        (MODELS / card["file"]).read_bytes(),
        name=card["file"],
        shapes_in=[tuple(tensor["shape"]) for tensor in card["input"]],
        shapes_out=[tuple(tensor["shape"]) for tensor in card["output"]],
    )
    with np.load(given) as stored:
        inputs = [stored[name] for name in stored.files]
    taken = []
    for _ in range(20):
        start = time.perf_counter()
        outputs = model.run(*inputs)
        taken.append(1000 * (time.perf_counter() - start))
    found = {f"output_{i}": values for i, values in enumerate(outputs)}
    np.savez(answer, runtime=runtime_name(), ms=float(np.median(taken)), **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
