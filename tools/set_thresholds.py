"""Sets the embedding network's thresholds in the manifest, on people whom no identification figure reports.

    .venv/bin/python tools/set_thresholds.py --pairs lfw/verify.csv --leave-out lfw/identify.csv

The pictures of --pairs are compared with one another, all with all; people who are in --leave-out too are
left out. What is set, from the impostor pairs' false match rate (FMR, ISO/IEC 19795-1):

    match              FMR <= 5e-6: the face alone is enough
    match_with_digits  FMR <= 1e-4: below it nobody is recognised, above it digits decide
    same_person        FMR <= 2e-3: frames of one look show one person
    max_gallery        people at which N x FMR(match), at the upper end of its 95 % interval, is 1 %
    margin             .05, chosen: who scores that close to the best is told apart by digits
"""

from __future__ import annotations

import argparse
import json
import sys
from math import ceil, floor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kiosk.evaluation.tables import read_picture, read_table  # noqa: E402
from kiosk.vision.observation import Observation  # noqa: E402
from kiosk.vision.pipeline import Vision  # noqa: E402

MANIFEST = ROOT / "assets" / "models" / "manifest.json"
FALSE_MATCH_RATES = {"match": 5e-6, "match_with_digits": 1e-4, "same_person": 2e-3}
PROMISED_FPIR = 0.01
MARGIN = 0.05
STEP = 0.01


def observe(pairs: Path, leave_out: Path) -> dict[str, Observation]:
    """Path to observation of every picture of people who are in `pairs` and not in `leave_out`."""
    left_out = {row["identity"] for row in read_table(leave_out, ("path", "identity")).rows}
    table = read_table(pairs, ("path1", "path2"))
    paths = sorted({row[column] for row in table.rows for column in ("path1", "path2")})
    vision = Vision(liveness=False)
    return {
        path: vision.observe(read_picture(table.picture(path)), alone=False)
        for path in paths
        if Path(path).parent.name not in left_out
    }


def impostor_scores(seen: dict[str, Observation]) -> NDArray[np.float32]:
    """The cosines of all pairs of pictures of two people, ascending."""
    usable = {path: o.embedding for path, o in seen.items() if o.embedding is not None}
    vectors = np.stack(list(usable.values()))
    person = np.array([Path(path).parent.name for path in usable])
    first, second = np.triu_indices(len(vectors), 1)
    scores = (vectors @ vectors.T)[first, second]
    return np.sort(scores[person[first] != person[second]])


def cosine_at(impostors: NDArray[np.float32], rate: float) -> float:
    """The lowest multiple of STEP at which no more than `rate` of the impostors are accepted."""
    allowed = floor(rate * len(impostors))
    return round(ceil(float(impostors[-allowed - 1]) / STEP + 1e-9) * STEP, 4)


def upper_rate(events: int, n: int) -> float:
    """The upper end of a Poisson rate's 95 % interval (Byar's approximation)."""
    k = events + 1
    return k * (1 - 1 / (9 * k) + 1.96 / (3 * k**0.5)) ** 3 / n


def print_quality(seen: dict[str, Observation]) -> None:
    """The percentiles that kiosk/vision/quality.py's limits stand just outside of."""
    at = (0, 0.5, 1, 5, 50, 95, 99, 99.5, 100)
    print(f"{'n = ' + str(len(seen)):>12}", *(f"{p:>8}" for p in at))
    faces = [(o.quality, o.pose) for o in seen.values() if o.quality and o.pose]
    for name in ("face_px", "fill", "sharpness", "brightness", "burnt", "presence", "yaw", "pitch", "roll"):
        values = [getattr(q, name) if hasattr(q, name) else getattr(pose, name) for q, pose in faces]
        print(f"{name:>12}", *(f"{v:8.2f}" for v in np.percentile(values, at)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, required=True, help="CSV with the columns path1,path2")
    parser.add_argument("--leave-out", type=Path, required=True, help="CSV with the columns path,identity")
    parser.add_argument("--quality", action="store_true", help="print quality's percentiles and set nothing")
    parser.add_argument("--dry-run", action="store_true", help="print the thresholds and write nothing")
    options = parser.parse_args()

    seen = observe(options.pairs, options.leave_out)
    if options.quality:
        print_quality(seen)
        return
    impostors = impostor_scores(seen)
    command = f"tools/set_thresholds.py --pairs {options.pairs.name} --leave-out {options.leave_out.name}"
    origin = f"{command} (LFW: {len(seen)} pictures, {len(impostors)} impostor pairs)"
    found: dict[str, tuple[float, str]] = {
        name: (cosine_at(impostors, rate), f"{origin}: FMR <= {rate:g}")
        for name, rate in FALSE_MATCH_RATES.items()
    }
    events = int(np.sum(impostors >= found["match"][0]))
    rate = upper_rate(events, len(impostors))
    found["margin"] = (MARGIN, "chosen, not measured; kiosk eval identify shows what it costs")
    found["max_gallery"] = (
        floor(PROMISED_FPIR / rate),
        f"{origin}: {PROMISED_FPIR:g} / FMR(match), {events} events, upper 95 % bound {rate:.2g}",
    )
    for name, (value, reason) in found.items():
        print(f"{name} = {value}  # {reason}")
    if options.dry_run:
        return
    document = json.loads(MANIFEST.read_text("utf-8"))
    entry = next(model for model in document["models"] if model["role"] == "embedding")
    entry["thresholds"] = {name: {"value": value, "set_by": why} for name, (value, why) in found.items()}
    MANIFEST.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
