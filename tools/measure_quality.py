"""What the quality gate lets through, and whether its score foretells recognition (ADR 0034).

    .venv/bin/python tools/measure_quality.py --pairs lfw/verify.csv --report lfw/identify.csv

On people of --pairs who are not in --report: which share of disturbed pictures gets a hint, the constants of
the score, and what weighting a template by quality does. Reported on --report: shares hinted, also by the
face's darkness, and error versus discard. Nothing is written.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kiosk.evaluation.tables import Row, read_picture, read_table
from kiosk.frames import Frame, PixelFormat
from kiosk.vision.embed import combine
from kiosk.vision.models import Role
from kiosk.vision.observation import Observation
from kiosk.vision.pipeline import Vision
from kiosk.vision.quality import ENROLMENT_LIMITS, Pose, Quality, hint_for

Picture: TypeAlias = NDArray[np.uint8]
RNG = np.random.default_rng(5)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A picture of somebody, with a face in it."""

    path: str
    who: str
    role: str
    seen: Observation
    quality: Quality
    pose: Pose
    template: NDArray[np.float32]

    @classmethod
    def of(cls, path: str, who: str, role: str, seen: Observation) -> Seen | None:
        if seen.quality is None or seen.pose is None or seen.embedding is None:
            return None
        return cls(path, who, role, seen, seen.quality, seen.pose, seen.embedding)

    @property
    def refused_at_enrolment(self) -> bool:
        return hint_for(self.quality, self.pose, ENROLMENT_LIMITS) is not None


# --- disturbances: what a shop does to a picture ------------------------------------------------------------


def _light(gain: float) -> Callable[[Picture, Observation], Picture]:
    """Less or more light, with a sensor's shot and read noise where there is little."""

    def disturb(rgb: Picture, _: Observation) -> Picture:
        light = (rgb / 255.0) ** 2.2 * gain
        if gain < 1:
            light += RNG.normal(0, 1, rgb.shape) * np.sqrt(light / 2000 + 4e-6)
        return _bytes(np.clip(light, 0, 1) ** (1 / 2.2) * 255)

    return disturb


def _side_light(least: float) -> Callable[[Picture, Observation], Picture]:
    def disturb(rgb: Picture, seen: Observation) -> Picture:
        box = seen.faces[0].box
        across = np.clip((np.arange(rgb.shape[1]) - box.x0) / box.width, 0, 1)
        share = least + (1 - least) / (1 + np.exp(-10 * (across - 0.5)))
        return _bytes(((rgb / 255.0) ** 2.2 * share[None, :, None]) ** (1 / 2.2) * 255)

    return disturb


def _covered(
    points: Sequence[int], colour: float | tuple[int, ...]
) -> Callable[[Picture, Observation], Picture]:
    """The hull of some of the mesh's points painted over, with folds and a little grain."""

    def disturb(rgb: Picture, seen: Observation) -> Picture:
        mask = np.zeros(rgb.shape[:2], np.float32)
        mesh = seen.landmarks.points if seen.landmarks else np.zeros((468, 3), np.float32)
        hull = cv2.convexHull(mesh[list(points), :2].astype(np.int32))
        cv2.fillConvexPoly(mask, hull, 1.0)
        soft = cv2.GaussianBlur(cv2.dilate(mask, np.ones((3, 3))), (0, 0), 1)[..., None]
        folds = 1 + 0.06 * np.sin(np.arange(rgb.shape[0]) / 6)[:, None, None]
        cloth = np.broadcast_to(np.asarray(colour, float), rgb.shape) * folds + RNG.normal(0, 3, rgb.shape)
        return _bytes(rgb * (1 - soft) + cloth * soft)

    return disturb


def _smaller(face_px: float) -> Callable[[Picture, Observation], Picture]:
    def disturb(rgb: Picture, seen: Observation) -> Picture:
        scale = face_px / seen.faces[0].box.width
        small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, rgb.shape[1::-1]), np.uint8)

    return disturb


def _cut(part: float, *, top: bool = False) -> Callable[[Picture, Observation], Picture]:
    def disturb(rgb: Picture, seen: Observation) -> Picture:
        box = seen.faces[0].box
        if top:
            return np.ascontiguousarray(rgb[max(int(box.y0 + part * box.height), 0) :])
        return np.ascontiguousarray(rgb[:, max(int(box.x0 + part * box.width), 0) :])

    return disturb


def _compressed(percent: int) -> Callable[[Picture, Observation], Picture]:
    def disturb(rgb: Picture, _: Observation) -> Picture:
        coded = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, percent])[1]
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)

    return disturb


def _bytes(values: NDArray[np.floating]) -> Picture:
    return np.clip(values, 0, 255).astype(np.uint8)


_LOWER_FACE = (
    234,
    93,
    132,
    58,
    172,
    136,
    150,
    149,
    148,
    152,
    377,
    378,
    379,
    365,
    397,
    288,
    361,
    454,
    330,
    101,
)
_EYE_REGION = (70, 105, 107, 336, 334, 300, 353, 348, 6, 119, 124)
DISTURBANCES: dict[str, Callable[[Picture, Observation], Picture]] = {
    "as it is": lambda rgb, _: rgb,
    **{f"blur {s} px": lambda rgb, _, s=s: cv2.GaussianBlur(rgb, (0, 0), s) for s in (1.5, 2.5, 4.0)},
    **{f"moved across {n} px": lambda rgb, _, n=n: cv2.blur(rgb, (n, 1)) for n in (7, 13)},
    **{f"moved down {n} px": lambda rgb, _, n=n: cv2.blur(rgb, (1, n)) for n in (7, 13)},
    "moved aslant 13 px": lambda rgb, _: cv2.filter2D(rgb, -1, np.eye(13) / 13),
    **{f"light x {gain:g}": _light(gain) for gain in (0.3, 0.1, 0.03, 0.01, 2, 4, 8)},
    **{f"side light {least:.0%}": _side_light(least) for least in (0.2, 0.01)},
    **{f"noise {s}": lambda rgb, _, s=s: _bytes(rgb + RNG.normal(0, s, rgb.shape)) for s in (10, 25, 45)},
    **{f"JPEG {percent}": _compressed(percent) for percent in (5, 20)},
    **{f"face of {px} px": _smaller(px) for px in (20, 28, 40)},
    "white mask": _covered(_LOWER_FACE, (225, 228, 230)),
    "blue mask": _covered(_LOWER_FACE, (120, 170, 210)),
    "black mask": _covered(_LOWER_FACE, (25, 25, 28)),
    "dark glasses": _covered(_EYE_REGION, 18),
    "cut 15 % beside": _cut(0.15),
    "cut 30 % beside": _cut(0.3),
    "cut 15 % above": _cut(0.15, top=True),
}


# --- what is measured ---------------------------------------------------------------------------------------


def observed(vision: Vision, rows: Sequence[Row], picture: Callable[[str], Path]) -> list[Seen]:
    found = []
    for row in rows:
        observation = vision.observe(read_picture(picture(row["path"])), alone=False)
        if one := Seen.of(row["path"], row["identity"], row.get("role", ""), observation):
            found.append(one)
    return found


def mated(people: Sequence[Seen]) -> list[tuple[Seen, Seen]]:
    by_person = defaultdict(list)
    for one in people:
        by_person[one.who].append(one)
    return [pair for pictures in by_person.values() for pair in combinations(pictures, 2)]


def cosine(one: Seen, other: Seen) -> float:
    return float(one.template @ other.template)


def disturbed(
    vision: Vision, people: Sequence[Seen], picture: Callable[[str], Path]
) -> dict[str, list[tuple[Seen, Seen]]]:
    """For each disturbance what became of the pictures, as (before, after)."""
    found: dict[str, list[tuple[Seen, Seen]]] = defaultdict(list)
    for one in people:
        rgb = read_picture(picture(one.path)).rgb()
        for name, disturb in DISTURBANCES.items():
            changed = np.ascontiguousarray(disturb(rgb, one.seen))
            height, width = changed.shape[:2]
            seen = vision.observe(Frame((changed,), PixelFormat.RGB888, width, height, 0, 0), alone=False)
            if after := Seen.of(one.path, one.who, one.role, seen):
                found[name].append((one, after))
    return found


def features(one: Seen) -> list[float]:
    """What `kiosk.vision.quality._score` is a sum of, in its order and with its bounds."""
    quality = one.quality
    return [
        quality.magnitude,
        float(np.arctanh(min(quality.symmetry, 0.999))),
        min(quality.sharpness, 0.3),
        quality.smear,
        float(np.log(np.clip(quality.eyes_seen, 0.05, 0.9))),
        -max(abs(one.pose.pitch) - 12.0, 0.0),
    ]


def print_fit(pairs: Sequence[tuple[Seen, Seen]], disturbed_pairs: Sequence[tuple[Seen, Seen]]) -> None:
    """Least squares on the cosines, disturbed pairs at a third of the weight, and no wrong labels (< .3)."""
    parts = [(1.0, [pair for pair in pairs if cosine(*pair) > 0.3]), (0.3, list(disturbed_pairs))]
    left = np.array([[w, *(w * (np.array(features(a)) + features(b)))] for w, part in parts for a, b in part])
    right = np.array([w * cosine(a, b) for w, part in parts for a, b in part])
    weights = np.linalg.lstsq(left, right, rcond=None)[0][1:]
    sums = (
        np.array([features(one) for one in {id(one): one for pair in pairs for one in pair}.values()])
        @ weights
    )
    scaled = weights * 1.5 / sums.std()
    names = ("magnitude", "symmetry", "sharpness", "smear", "eyes seen", "pitch")
    print("fit:", ", ".join(f"{name} {value:.4g}" for name, value in zip(names, scaled, strict=True)))
    print(
        f"     ordinary {np.median(sums) * 1.5 / sums.std():.4g}; {len(pairs)} + {len(disturbed_pairs)} pairs"
    )


def print_error_versus_discard(pairs: Sequence[tuple[Seen, Seen]], threshold: float) -> None:
    cosines = np.array([cosine(*pair) for pair in pairs])
    worse = np.array([min(one.quality.score, other.quality.score) for one, other in pairs])
    order = np.argsort(worse, kind="stable")
    rates = (
        f"{part:.0%} {(cosines[order[int(part * len(order)) :]] < threshold).mean():.2%}"
        for part in (0, 0.05, 0.1, 0.2, 0.3)
    )
    print(f"FNMR at {threshold}, {len(pairs)} mated pairs, lowest scores left out:", ", ".join(rates))


def print_by_darkness(people: Sequence[Seen]) -> None:
    brightness = np.array([one.quality.brightness for one in people])
    edges = np.percentile(brightness, (0, 10, 25, 50, 75, 90, 100))
    for low, high in pairwise(edges):
        some = [one for one, at in zip(people, brightness, strict=True) if low <= at <= high]
        light = sum(str(one.seen.hint).endswith("_light") for one in some)
        hinted = np.mean([one.seen.hint is not None for one in some])
        refused = np.mean([one.refused_at_enrolment for one in some])
        print(
            f"  mean luma {low:3.0f} to {high:3.0f}, n {len(some)}: hinted {hinted:.1%} "
            f"(about light: {light}), at enrolment {refused:.1%}"
        )


WEIGHTS: dict[str, Callable[[Quality], float]] = {
    "plain mean": lambda quality: 1.0,
    "by score": lambda quality: quality.score,
    "by weight": lambda quality: quality.weight,
    "by magnitude": lambda quality: quality.magnitude,
}


def print_templates(groups: Sequence[tuple[Sequence[Seen], Seen]], threshold: float, what: str) -> None:
    """FNMR of probes against references of other pictures of the person, by how these are weighted."""
    rates = []
    for name, weigh in WEIGHTS.items():
        references = (
            combine([s.template for s in some], [weigh(s.quality) for s in some]) for some, _ in groups
        )
        scores = [float(ref @ probe.template) for ref, (_, probe) in zip(references, groups, strict=True)]
        rates.append(f"{name} {np.mean(np.array(scores) < threshold):.2%}")
    print(f"{what}, {len(groups)} probes, FNMR at {threshold}:", ", ".join(rates))


def leave_one_out(people: Sequence[Seen], changed: Sequence[tuple[Seen, Seen]]) -> tuple[list, list]:
    """References of a person's other pictures; the same with one picture replaced by a changed one."""
    by_person, by_picture = defaultdict(list), defaultdict(list)
    for one in people:
        by_person[one.who].append(one)
    for before, after in changed:
        by_picture[before.path].append(after)
    plain, spoilt = [], []
    for pictures in by_person.values():
        for probe in pictures if len(pictures) >= 3 else ():
            rest = [one for one in pictures if one is not probe]
            plain.append((rest, probe))
            for place, one in enumerate(rest):
                some = by_picture[one.path]
                for pick in RNG.permutation(len(some))[:6]:
                    spoilt.append(([*rest[:place], some[pick], *rest[place + 1 :]], probe))
    return plain, spoilt


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, required=True, help="CSV with the columns path1,path2")
    parser.add_argument("--report", type=Path, required=True, help="CSV with the columns path,identity,role")
    parser.add_argument("--pictures", type=int, default=110, help="how many pictures are disturbed")
    options = parser.parse_args()

    vision = Vision(liveness=False)
    match = vision.manifest.card(Role.EMBEDDING).threshold("match")
    reported = read_table(options.report, ("path", "identity", "role"))
    left_out = {row["identity"] for row in reported.rows}
    table = read_table(options.pairs, ("path1", "path2"))
    paths = sorted({row[column] for row in table.rows for column in ("path1", "path2")})
    rows = [{"path": path, "identity": Path(path).parent.name} for path in paths]
    people = observed(vision, [row for row in rows if row["identity"] not in left_out], table.picture)
    pairs = mated(people)

    several = list({one.path: one for pair in pairs for one in pair}.values())
    picked = [several[place] for place in RNG.permutation(len(several))[: options.pictures]]
    let_through = []
    for name, changed in disturbed(vision, picked, table.picture).items():
        hinted = np.mean([after.seen.hint is not None for _, after in changed])
        refused = np.mean([after.refused_at_enrolment for _, after in changed])
        similar = np.median([cosine(*pair) for pair in changed])
        print(
            f"{name:20} n {len(changed)} cosine {similar:.2f} "
            f"hinted {hinted:4.0%} at enrolment {refused:4.0%}"
        )
        let_through += [pair for pair in changed if pair[1].seen.hint is None]
    by_person = defaultdict(list)
    for one in people:
        by_person[one.who].append(one)
    print_fit(pairs, [(a, o) for b, a in let_through for o in by_person[b.who] if o.path != b.path])
    plain, spoilt = leave_one_out(people, let_through)
    print_templates(plain, match, "reference of two or more pictures")
    print_templates(spoilt, match, "the same, one picture disturbed")

    print(f"\n{options.report.name}, which set nothing:")
    shown = observed(vision, reported.rows, reported.picture)
    probes = [one for one in shown if one.role == "probe"]
    enrolled = [one for one in shown if one.role == "enrol"]
    print(f"hinted: {sum(one.seen.hint is not None for one in probes)} of {len(probes)} probes; at enrolment")
    print(f"        {sum(one.refused_at_enrolment for one in enrolled)} of {len(enrolled)} pictures to enrol")
    for threshold in (match, 0.54):
        print_error_versus_discard(mated(shown), threshold)
    print_by_darkness(shown)


if __name__ == "__main__":
    main()
