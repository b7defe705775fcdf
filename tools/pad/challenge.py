"""What each kind of challenge is worth: how often living people and attacks pass it, with 95 % intervals.

    python tools/pad/challenge.py --data DIR [--people 120] [--only turn|sheet|blink|flash]

Real recordings: the clips in DIR/video, asked for a turn or a blink at every fifth frame, and for a turn
just before one that the person makes by themselves. Simulation: sheets that are turned, and everything about
the flash (`kiosk.sandbox.flash`), on LFW faces and on the clips. Nobody has been asked anything yet.

It prints tables; the product's rules are not changed. Intervals are Wilson's over presentations, which is too
narrow where many are of one clip: the numbers of clips and people stand beside them.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import checkout  # noqa: F401  (kiosk is found through it)
import cv2
import numpy as np
from numpy.typing import NDArray

from kiosk.devices.camera_file import VideoSource, read_image
from kiosk.domain.challenge import Challenge, ChallengeKind, ChallengeOutcome
from kiosk.evaluation.metrics import wilson
from kiosk.frames import Frame, PixelFormat
from kiosk.sandbox.flash import Box, Presented, Setting, flashed, screen_light
from kiosk.vision.challenge import ChallengeRules, Examiner, draw
from kiosk.vision.colour import face_colour
from kiosk.vision.detect import Box as FaceBox
from kiosk.vision.landmarks import Landmarks
from kiosk.vision.models import Role, load_manifest
from kiosk.vision.observation import Observation
from kiosk.vision.pipeline import Vision

PASSED = ChallengeOutcome.PASSED
RULES = ChallengeRules()
LEFT, RIGHT = Challenge(ChallengeKind.TURN_LEFT), Challenge(ChallengeKind.TURN_RIGHT)
BLINK = draw([ChallengeKind.BLINK])
EVERY = 5
"""A request at every so many frames of a clip."""
BEFORE_MS = 300
"""A request this long before a turn that somebody makes by themselves stands for one that is followed."""
SHEET_MS = 800
BENDS = (0.0, 0.5, 1.0, 1.8)
"""Width of the sheet in radii of the cylinder that it is bent to."""
REPLAYED = ("fake",)
"""Clips whose name says that they show a screen."""

SMALL_PX = 320
Rgb = NDArray[np.uint8]
Outcomes = Counter[ChallengeOutcome]


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One recording, looked at once."""

    name: str
    is_replay: bool
    seen: list[Observation]
    small: list[tuple[Rgb, Observation]]
    """The pictures, at most `SMALL_PX` long, with what was seen scaled alike: for the simulated light."""


def _frame(rgb: Rgb, at_ms: float, sequence: int = 0) -> Frame:
    return Frame((rgb,), PixelFormat.RGB888, rgb.shape[1], rgb.shape[0], round(at_ms * 1e6), sequence)


def clips(folder: Path, vision: Vision) -> Iterator[Clip]:
    """Every recording that shows a face most of the time, by name."""
    for number, path in enumerate(sorted(folder.iterdir())):
        with_face = Clip(f"clip {number + 1}", any(mark in path.name for mark in REPLAYED), [], [])
        source = VideoSource(path)
        source.open()
        while (frame := source.read(1.0)) is not None:
            observation = vision.observe(frame)
            with_face.seen.append(observation)
            with_face.small.append(_smaller(frame.rgb(), observation))
        if np.mean([o.landmarks is not None and o.landmarks.presence > 0.5 for o in with_face.seen]) > 0.5:
            yield with_face


def _smaller(rgb: Rgb, o: Observation) -> tuple[Rgb, Observation]:
    scale = min(1.0, SMALL_PX / max(rgb.shape[:2]))
    size = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    if o.landmarks is None:
        return small, o
    box = FaceBox(*(scale * side for side in _box(o)))
    mesh = Landmarks(o.landmarks.points * np.float32(scale), o.landmarks.presence)
    faces = (replace(o.faces[0], box=box), *o.faces[1:])
    return small, replace(o, landmarks=mesh, faces=faces, width=size[0], height=size[1])


def examined(
    challenge: Challenge,
    seen: Iterable[Observation],
    same_person: float,
    reference: NDArray[np.float32] | None = None,
) -> ChallengeOutcome:
    """What comes of one request, made when the first frame was taken."""
    examiner: Examiner | None = None
    for observation in seen:
        if examiner is None:
            asked = observation.timestamp_ns
            examiner = Examiner(
                challenge, RULES, reference=reference, same_person=same_person, asked_ns=asked
            )
        outcome = examiner.feed(observation)
        if outcome is not None:
            return outcome
    return examiner.finish() if examiner else ChallengeOutcome.INCONCLUSIVE


def rate(outcomes: Outcomes) -> str:
    """Passed of all, with its interval, and how the rest ended."""
    n, passed = outcomes.total(), outcomes[PASSED]
    low, high = wilson(passed, n)
    share = f"{passed / n:.1%}" if n else "-"
    failed = outcomes[ChallengeOutcome.FAILED]
    return f"{passed} | {share} | {low:.1%} to {high:.1%} | {failed} | {n - passed - failed} | {n}"


def table(title: str, rows: dict[str, Outcomes]) -> None:
    print(f"\n{title}\n\n| presentation | passed | rate | 95 % | failed | inconclusive | n |")
    print("|---|---|---|---|---|---|---|")
    for name, outcomes in rows.items():
        print(f"| {name} | {rate(outcomes)} |", flush=True)


# --- turns and blinks on recordings ---------------------------------------------------------------------


def natural_turns(seen: Sequence[Observation]) -> list[tuple[int, ChallengeKind]]:
    """Frames `BEFORE_MS` before a person turns by themselves, and which way.

    From the yaw alone: within 10 degrees of frontal, still for `BEFORE_MS`, then by 17 degrees one way within
    two seconds without 6 degrees the other way.
    """
    found: list[tuple[int, ChallengeKind]] = []
    at = np.array([o.timestamp_ns for o in seen]) / 1e6
    yaw = np.array([o.pose.yaw if o.pose else np.nan for o in seen])
    for i in range(len(seen)):
        still = (at >= at[i]) & (at < at[i] + BEFORE_MS)
        after = np.flatnonzero((at >= at[i]) & (at < at[i] + 2_000))
        moved = yaw[after] - yaw[i]
        if abs(yaw[i]) > 10 or not (np.abs(yaw[still] - yaw[i]) < 4).all() or at[-1] < at[i] + 1_000:
            continue
        for sign, kind in ((1.0, ChallengeKind.TURN_LEFT), (-1.0, ChallengeKind.TURN_RIGHT)):
            made = np.flatnonzero(sign * moved >= 17)
            if made.size and (sign * moved[: made[0]] > -6).all():
                found.append((i, kind))
    return found


def still_moments(seen: Sequence[Observation]) -> list[int]:
    """Frames from which nobody turns for two and a half seconds."""
    at = np.array([o.timestamp_ns for o in seen]) / 1e6
    yaw = np.array([o.pose.yaw if o.pose else np.nan for o in seen])
    found = []
    for i in range(0, len(seen), EVERY):
        part = yaw[(at >= at[i]) & (at < at[i] + 2_500)]
        if at[-1] >= at[i] + 2_500 and np.ptp(part) < 8:
            found.append(i)
    return found


def turns(recordings: Sequence[Clip], same_person: float) -> None:
    """Requests that a person happens to follow, that they do not follow, and at any moment."""
    rows: dict[str, Outcomes] = defaultdict(Counter)
    opposite = {ChallengeKind.TURN_LEFT: RIGHT, ChallengeKind.TURN_RIGHT: LEFT}
    same = {ChallengeKind.TURN_LEFT: LEFT, ChallengeKind.TURN_RIGHT: RIGHT}
    told: Counter[str] = Counter()
    for clip in recordings:
        who = "replayed" if clip.is_replay else "live"
        asked_before: set[tuple[int, ChallengeKind]] = set()
        for i, kind in natural_turns(clip.seen):
            told[f"{clip.name}, {kind}"] += (i - 1, kind) not in asked_before
            asked_before.add((i, kind))
            rows[f"{who}: turns as asked"][examined(same[kind], clip.seen[i:], same_person)] += 1
            rows[f"{who}: turns the other way"][examined(opposite[kind], clip.seen[i:], same_person)] += 1
        for i in still_moments(clip.seen):
            still = list(_until(clip.seen[i:], 2_500))
            for asked in (LEFT, RIGHT):
                rows[f"{who}: keeps still"][examined(asked, still, same_person)] += 1
        for i in range(0, len(clip.seen), EVERY):
            for asked in (LEFT, RIGHT):
                rows[f"{who}: not asked, any moment"][examined(asked, clip.seen[i:], same_person)] += 1
                if clip.is_replay:
                    outcome = examined(asked, clip.seen[i:], -1.0)
                    rows[f"{who}: the same, whoever it is"][outcome] += 1
    print("\nturns that people made by themselves:", dict(told))
    table("Head turn, real recordings", rows)


def blinks(recordings: Sequence[Clip], same_person: float) -> None:
    """Requests at any moment: what a film of somebody passes by itself, since people blink."""
    rows: dict[str, Outcomes] = defaultdict(Counter)
    for clip in recordings:
        for i in range(0, len(clip.seen), EVERY):
            outcome = examined(BLINK, clip.seen[i:], same_person)
            rows[f"{'replayed' if clip.is_replay else 'live'}: not asked, any moment"][outcome] += 1
            rows[f"{clip.name}"][outcome] += 1
            if clip.is_replay:
                rows["replayed: the same, whoever it is"][examined(BLINK, clip.seen[i:], -1.0)] += 1
    table("Blink, real recordings", rows)


def _until(seen: Iterable[Observation], ms: float) -> Iterator[Observation]:
    first: int | None = None
    for observation in seen:
        first = observation.timestamp_ns if first is None else first
        if observation.timestamp_ns - first >= ms * 1e6:
            return
        yield observation


# --- sheets that are turned -----------------------------------------------------------------------------


def sheet(rgb: Rgb, degrees: float, bend: float) -> Rgb:
    """The picture on paper that is bent about its vertical axis and turned, by a camera 1.2 widths away."""
    height, width = rgb.shape[:2]
    focal, turn = 1.2 * width, np.deg2rad(degrees)
    across = np.linspace(-width / 2, width / 2, 41)
    radius = width / bend if bend else 1e9
    x, z = radius * np.sin(across / radius), radius * (1 - np.cos(across / radius))
    x, z = x * np.cos(turn) + z * np.sin(turn), focal - x * np.sin(turn) + z * np.cos(turn)
    u, v = width / 2 + focal * x / z, focal * height / 2 / z
    seen = np.full_like(rgb, 110)
    for i in range(40):
        if u[i + 1] - u[i] < 0.3:
            continue
        a, b = i * width / 40, (i + 1) * width / 40
        source = np.array([[a, 0], [b, 0], [b, height], [a, height]], np.float32)
        middle = height / 2
        target = np.array(
            [
                [u[i], middle - v[i]],
                [u[i + 1], middle - v[i + 1]],
                [u[i + 1], middle + v[i + 1]],
                [u[i], middle + v[i]],
            ],
            np.float32,
        )
        part = cv2.warpPerspective(rgb, cv2.getPerspectiveTransform(source, target), (width, height))
        mask = cv2.fillConvexPoly(np.zeros((height, width), np.uint8), np.round(target).astype(np.int32), 1)
        seen[mask > 0] = part[mask > 0]
    return seen


def sheets(people: Sequence[tuple[Rgb, Observation]], vision: Vision, same_person: float) -> None:
    """Prints of LFW faces, turned by hand by 45 degrees either way within 0.8 s."""
    rows: dict[str, Outcomes] = defaultdict(Counter)
    for number, (rgb, _) in enumerate(people):
        bend, way = BENDS[number % len(BENDS)], 1 if number % 8 < 4 else -1
        seen = []
        for at in range(0, 1_700, 80):
            degrees = way * 45 * float(np.clip((at - 400) / SHEET_MS, 0, 1))
            seen.append(vision.observe(_frame(sheet(rgb, degrees, bend), at), alone=False))
        outcomes = [examined(asked, seen, same_person) for asked in (LEFT, RIGHT)]
        best = PASSED if PASSED in outcomes else outcomes[0]
        rows[f"bent by {bend} radii" if bend else "flat"][best] += 1
        rows["all"][best] += 1
    table("Prints turned by hand (simulated), either direction asked", rows)


# --- flash ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Flash:
    """One simulated flash: what is presented, and whose colours light it."""

    presented: Presented
    lit_by: str = "this"
    lux: tuple[float, float] = (100.0, 800.0)


LIVE_AT = {
    "100 to 200 lux": (100.0, 200.0),
    "200 to 400 lux": (200.0, 400.0),
    "400 to 800 lux": (400.0, 800.0),
}
SHOWN = {
    **{f"live face, {name}": Flash(Presented.FACE, lux=lux) for name, lux in LIVE_AT.items()},
    "live face, 1500 to 3000 lux (by a window)": Flash(Presented.FACE, lux=(1500.0, 3000.0)),
    "replay on a screen": Flash(Presented.SCREEN),
    "print that fills the picture": Flash(Presented.PRINT),
    "print cut along the face": Flash(Presented.CUT_OUT),
    "injected, no light of a screen": Flash(Presented.STREAM),
    "injected, an older session's colours": Flash(Presented.FACE, "older"),
    "injected, this session's colours 0.6 s late": Flash(Presented.FACE, "late"),
    "injected, this session's colours in time": Flash(Presented.FACE),
}


def flash_once(
    views: Sequence[tuple[Rgb, Observation]], shown: Flash, rng: np.random.Generator
) -> ChallengeOutcome:
    """One request. `views` are the pictures in turn at 30 a second; a single one stays."""
    challenge = draw([ChallengeKind.FLASH], lambda n: int(rng.integers(n)))
    lux = float(np.exp(rng.uniform(*np.log(shown.lux))))
    setting = Setting.draw(rng, lux=lux)
    step = challenge.step_ms * 1_000_000
    starts = [1_000_000_000 + i * step for i in range(len(challenge.colours))]
    lit, colours = starts, challenge.colours
    if shown.lit_by == "older":
        older = draw([ChallengeKind.FLASH], lambda n: int(rng.integers(n)))
        colours, lit = (
            older.colours,
            [starts[0] + i * older.step_ms * 1_000_000 for i in range(len(older.colours))],
        )
    if shown.lit_by == "late":
        lit = [start + 600_000_000 for start in starts]
    gap = 1e9 / rng.uniform(15, 30)
    steady = np.arange(starts[0] - 1e8, starts[-1] + step + 4e8, gap)
    times = [int(t + rng.normal(0, 2e6)) for t in steady if rng.random() > 0.05]
    light = screen_light(colours, lit, lit[-1] + step, times, setting)
    chosen = [views[min(int((t - times[0]) * 30 / 1e9), len(views) - 1)] for t in times]
    boxes: list[tuple[Rgb, Box]] = [(rgb, _box(o)) for rgb, o in chosen]
    frames = flashed(boxes, light, times, presented=shown.presented, setting=setting, rng=rng)
    examiner = Examiner(challenge, RULES, reference=None, same_person=-1.0, asked_ns=times[0])
    for index, start in enumerate(starts):
        examiner.shown(index, start)
    drift = np.zeros(2)
    for rgb, at, (_, o) in zip(frames, times, chosen, strict=True):
        drift = 0.95 * drift + rng.normal(0, 0.004 * o.faces[0].box.width, 2)
        outcome = examiner.feed(_measured(o, rgb, at, drift))
        if outcome is not None:
            return outcome
    return examiner.finish()


def _box(o: Observation) -> Box:
    box = o.faces[0].box
    return box.x0, box.y0, box.x1, box.y1


def _measured(o: Observation, rgb: Rgb, at_ns: int, drift: NDArray[np.float64]) -> Observation:
    """`o` with the lit picture's colour, its mesh astray by `drift` (px), as meshes are."""
    points = o.landmarks.points.copy()
    points[:, :2] += drift.astype(np.float32)
    mesh = Landmarks(points, o.landmarks.presence)
    colour = face_colour(rgb, o.faces[0].box, mesh)
    return replace(o, timestamp_ns=at_ns, hint=None, landmarks=mesh, colour=colour)


def flashes(people: Sequence[tuple[Rgb, Observation]], recordings: Sequence[Clip], jobs: int) -> None:
    """Still faces of LFW, and the moving ones of the clips."""
    for title, sets in (("LFW", [[p] for p in people]), ("clips", list(_windows(recordings)))):
        _SETS[:] = sets
        with get_context("fork").Pool(jobs) as pool:
            counted = pool.starmap(_flash_row, enumerate(SHOWN), chunksize=1)
        table(f"Flash, simulated light on {title}", dict(zip(SHOWN, counted, strict=True)))


_SETS: list[Sequence[tuple[Rgb, Observation]]] = []
"""What the processes of `flashes` work on: inherited, not sent."""


def _flash_row(number: int, name: str) -> Outcomes:
    rng = np.random.default_rng(number)
    return Counter(flash_once(views, SHOWN[name], rng) for views in _SETS)


def _windows(recordings: Sequence[Clip]) -> Iterator[list[tuple[Rgb, Observation]]]:
    """Four seconds of a live clip, from every one and a half on."""
    for clip in recordings:
        if clip.is_replay:
            continue
        for start in range(0, len(clip.small) - 110, 45):
            views = [view for view in clip.small[start : start + 120] if view[1].landmarks is not None]
            if len(views) > 100:
                yield views


def faces(folder: Path, vision: Vision, most: int) -> list[tuple[Rgb, Observation]]:
    """One picture each of LFW people who are in verify.csv's list, frontal enough, in an order drawn once."""
    people = sorted(p for p in folder.iterdir() if p.is_dir())
    rng = np.random.default_rng(22)
    found: list[tuple[Rgb, Observation]] = []
    for i in rng.permutation(len(people)):
        rgb = read_image(sorted(people[i].glob("*.jpg"))[0])
        o = vision.observe(_frame(rgb, 0), alone=False)
        if (
            o.landmarks is not None
            and o.pose is not None
            and abs(o.pose.yaw) < 12
            and o.embedding is not None
        ):
            found.append((rgb, o))
        if len(found) == most:
            break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with lfw/images and video")
    parser.add_argument("--people", type=int, default=60, help="LFW people for the simulations")
    parser.add_argument("--jobs", type=int, default=2, help="processes for the flash")
    parser.add_argument("--only", choices=["turn", "sheet", "blink", "flash"], action="append")
    args = parser.parse_args()
    only = args.only or ["turn", "blink", "sheet", "flash"]
    vision = Vision(liveness=False)
    same_person = load_manifest().card(Role.EMBEDDING).threshold("same_person")
    recordings = list(clips(args.data / "video", vision)) if set(only) - {"sheet"} else []
    people = (
        faces(args.data / "lfw" / "images", vision, args.people) if set(only) & {"sheet", "flash"} else []
    )
    if "turn" in only:
        turns(recordings, same_person)
    if "blink" in only:
        blinks(recordings, same_person)
    if "sheet" in only:
        sheets(people, vision, same_person)
    if "flash" in only:
        flashes(people, recordings, args.jobs)


if __name__ == "__main__":
    main()
