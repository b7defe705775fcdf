"""Sets the embedding network's thresholds in the manifest, on people whom no identification figure reports.

    .venv/bin/python tools/set_thresholds.py --pairs lfw/verify.csv --leave-out lfw/identify.csv

The pictures of --pairs are compared with one another; people who are in --leave-out too are left out. From
all pairs of pictures of two people, counted (FMR: false match rate, ISO/IEC 19795-1):

    match_with_digits  FMR <= 1e-4: below it nobody is recognised, above it digits may decide
    same_person        FMR <= 2e-3: frames of one look show one person

From pictures against references (the mean of two or three pictures, as enrolled), with a fitted tail and a
bootstrap over people (`kiosk.evaluation.false_match`):

    false_matches      FMR by cosine and the upper end of its one-sided 95 % interval, up to the cosine that
                       one mated probe in ten does not reach: what a gallery's threshold is computed from
    match              upper bound 1e-4: the face alone never accepts below it, however small the gallery
    margin             as wide as keeps the chance of an impostor within it of a mated best at 0.5 % or less
    promised_fpir      chosen: one stranger in a hundred, at most, is taken for somebody
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, fields
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kiosk.domain.decision import FalseMatchBound  # noqa: E402
from kiosk.evaluation.false_match import TAIL_FROM, Impostors, Tail, mated_scores  # noqa: E402
from kiosk.evaluation.tables import read_picture, read_table  # noqa: E402
from kiosk.vision.observation import Observation  # noqa: E402
from kiosk.vision.pipeline import Vision  # noqa: E402
from kiosk.vision.quality import Pose, Quality  # noqa: E402

MANIFEST = ROOT / "assets" / "models" / "manifest.json"
COUNTED = {"match_with_digits": 1e-4, "same_person": 2e-3}
LEAST_FMR = 1e-4
"""Upper bound at the lowest threshold for the face alone: what a hundred people would need."""
PROMISED_FPIR = 0.01
CEILING_FNMR = 0.10
"""Above the cosine that this part of mated probes misses, everybody is asked for digits: asking one in ten
by chance of the day is worse than asking all."""
WITHIN_MARGIN = 0.005
REFERENCE_PICTURES = 2
STEP = 0.01
DRAWS, SEED, ONE_SIDED = 1000, 20260, 0.95


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


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """What was embedded: `vectors` float32[n, 192], whose they are (`person` numbers `names`)."""

    paths: list[str]
    vectors: NDArray[np.float32]
    person: NDArray[np.intp]
    names: list[str]

    @classmethod
    def of(cls, seen: dict[str, Observation]) -> Pictures:
        usable = {path: o.embedding for path, o in seen.items() if o.embedding is not None}
        names, person = np.unique([Path(path).parent.name for path in usable], return_inverse=True)
        return cls(list(usable), np.stack(list(usable.values())), person.astype(np.intp), list(names))


def pair_scores(pictures: Pictures) -> NDArray[np.float32]:
    """The cosines of all pairs of pictures of two people, ascending."""
    first, second = np.triu_indices(len(pictures.vectors), 1)
    scores = (pictures.vectors @ pictures.vectors.T)[first, second]
    return np.sort(scores[pictures.person[first] != pictures.person[second]])


def cosine_at(impostors: NDArray[np.float32], rate: float) -> float:
    """The lowest multiple of STEP at which no more than `rate` of the impostors are accepted."""
    allowed = floor(rate * len(impostors))
    return round(ceil(float(impostors[-allowed - 1]) / STEP + 1e-9) * STEP, 4)


def curve(
    impostors: Impostors, start: float, end: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], list[Tail]]:
    """(cosines, FMR, its upper bound, bootstrapped tails) from `start` to `end` in steps of STEP."""
    cosines = np.round(np.arange(start, end + STEP / 2, STEP), 4)
    tails = impostors.bootstrap(DRAWS, SEED)
    upper = np.quantile([tail.rate(cosines) for tail in tails], ONE_SIDED, axis=0)
    return cosines, impostors.tail().rate(cosines), upper, tails


def within_margin(
    mated: tuple[NDArray[np.float64], NDArray[np.float64]], tail: Tail, bound: FalseMatchBound, margin: float
) -> float:
    """The chance that someone comes within `margin` of a mated probe's best that the face alone would accept.

    At the gallery's size where it is largest, of those at which the face alone is enough.
    """
    scores, weights = mated
    worst = 0.0
    for people in np.geomspace(PROMISED_FPIR / LEAST_FMR, PROMISED_FPIR / bound.rates[-1] * 0.9999, 12):
        threshold = bound.cosine_at(PROMISED_FPIR / people) or 1.0
        taken = scores >= threshold
        near = 1 - np.exp(-people * (tail.rate(np.maximum(scores - margin, tail.start)) - tail.rate(scores)))
        worst = max(worst, float((weights * near * taken).sum() / (weights * taken).sum()))
    return worst


def widest_margin(
    mated: tuple[NDArray[np.float64], NDArray[np.float64]], tail: Tail, bound: FalseMatchBound
) -> float:
    """The widest multiple of STEP that keeps `within_margin` at WITHIN_MARGIN or less."""
    margin = STEP
    while within_margin(mated, tail, bound, margin + STEP) <= WITHIN_MARGIN:
        margin = round(margin + STEP, 4)
    return margin


def print_curve(pictures: Pictures, impostors: Impostors, end: float) -> None:
    """FMR and bound by cosine, with everybody and without whoever makes the highest impostor score."""
    first = int(impostors.probes[-1])
    print(f"highest impostor: {pictures.names[first]} as {pictures.names[int(impostors.owners[-1])]}")
    for title, some in (("all", impostors), ("without that person", impostors.without(first))):
        cosines, fmr, upper, _ = curve(some, 0.5, end)
        tail = some.tail()
        print(
            f"{title}: {some.count():.0f} comparisons, {len(some.scores)} in the tail, shape {tail.shape:.3f}"
        )
        print(f"{'cosine':>8} {'counted':>9} {'fitted':>9} {'upper':>9} {'largest gallery':>16}")
        for cosine, counted, fitted, high in zip(cosines, some.rate(cosines), fmr, upper, strict=True):
            print(f"{cosine:8.2f} {counted:9.1e} {fitted:9.1e} {high:9.1e} {PROMISED_FPIR / high:16.0f}")


def found(pictures: Pictures, impostors: Impostors, origin: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(thresholds, false_matches) as the manifest holds them."""
    pairs = pair_scores(pictures)
    counted = {name: cosine_at(pairs, rate) for name, rate in COUNTED.items()}
    mated = mated_scores(pictures.vectors, pictures.person, REFERENCE_PICTURES)
    order = np.argsort(mated[0])
    ceiling = mated[0][order][np.searchsorted(np.cumsum(mated[1][order]), CEILING_FNMR)]
    cosines, fmr, upper, _ = curve(impostors, counted["match_with_digits"], floor(ceiling / STEP) * STEP)
    bound = FalseMatchBound(tuple(map(float, cosines)), tuple(float(f"{rate:.3g}") for rate in upper))
    least = bound.cosine_at(LEAST_FMR) or bound.cosines[-1]
    margin = widest_margin(mated, impostors.tail(), bound)
    chance = within_margin(mated, impostors.tail(), bound, margin)
    by_tail = f"{origin}, {impostors.count():.0f} comparisons with references"
    thresholds = {
        "match": (ceil(least / STEP) * STEP, f"{by_tail}: upper bound of FMR <= {LEAST_FMR:g}"),
        **{
            name: (value, f"{origin}, {len(pairs)} impostor pairs: FMR <= {COUNTED[name]:g}")
            for name, value in counted.items()
        },
        "margin": (
            margin,
            f"{by_tail}, {len(mated[0])} mated: an impostor within it of a mated best: {chance:.2%} at most",
        ),
        "promised_fpir": (PROMISED_FPIR, "chosen: at most one stranger in a hundred is taken for somebody"),
    }
    rates = {
        "cosines": list(bound.cosines),
        "fmr": [float(f"{rate:.3g}") for rate in fmr],
        "upper": list(bound.rates),
        "set_by": f"{by_tail}: tail from {impostors.start:g}, {DRAWS} draws of people, one-sided"
        f" {ONE_SIDED:.0%}; ends where {CEILING_FNMR:.0%} of {len(mated[0])} mated probes miss",
    }
    return {n: {"value": round(v, 4), "set_by": why} for n, (v, why) in thresholds.items()}, rates


def print_quality(seen: dict[str, Observation]) -> None:
    """The percentiles that kiosk/vision/quality.py's limits stand just outside of."""
    at = (0, 0.5, 1, 5, 50, 95, 99, 99.5, 100)
    print(f"{'n = ' + str(len(seen)):>12}", *(f"{p:>8}" for p in at))
    faces = [(o.quality, o.pose) for o in seen.values() if o.quality and o.pose]
    for name in (field.name for kind in (Quality, Pose) for field in fields(kind)):
        values = [getattr(q, name) if hasattr(q, name) else getattr(pose, name) for q, pose in faces]
        print(f"{name:>12}", *(f"{v:8.3f}" for v in np.percentile(values, at)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, required=True, help="CSV with the columns path1,path2")
    parser.add_argument("--leave-out", type=Path, required=True, help="CSV with the columns path,identity")
    parser.add_argument(
        "--tail-from", type=float, default=TAIL_FROM, help="cosine where the fitted tail begins"
    )
    parser.add_argument("--quality", action="store_true", help="print quality's percentiles and set nothing")
    parser.add_argument("--dry-run", action="store_true", help="print what would be set and write nothing")
    options = parser.parse_args()

    seen = observe(options.pairs, options.leave_out)
    if options.quality:
        print_quality(seen)
        return
    pictures = Pictures.of(seen)
    impostors = Impostors.compared(
        pictures.vectors, pictures.person, least=REFERENCE_PICTURES, start=options.tail_from
    )
    command = f"tools/set_thresholds.py --pairs {options.pairs.name} --leave-out {options.leave_out.name}"
    origin = f"{command} (LFW: {len(pictures.paths)} pictures, {len(pictures.names)} people)"
    thresholds, rates = found(pictures, impostors, origin)
    print_curve(pictures, impostors, rates["cosines"][-1])
    for name, entry in thresholds.items():
        print(f"{name} = {entry['value']}  # {entry['set_by']}")
    print(f"false_matches up to {rates['cosines'][-1]}  # {rates['set_by']}")
    if options.dry_run:
        return
    document = json.loads(MANIFEST.read_text("utf-8"))
    entry = next(model for model in document["models"] if model["role"] == "embedding")
    entry["thresholds"], entry["false_matches"] = thresholds, rates
    MANIFEST.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
