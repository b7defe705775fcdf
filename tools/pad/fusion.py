"""Calibrates what a frame's logit is worth, and measures the decision over several frames beside single ones.

    python tools/pad/fusion.py --data DIR --runs out/pad/crossval [--unseen] [--models assets/models]
    python tools/pad/fusion.py --data DIR --logits FILE.csv [--models assets/models]
    python tools/pad/fusion.py --data DIR

Logits out of fold come from the runs of crossval.py, or from a table (columns path, logit) that anything
wrote; without either they are the shipped network's, on people that it was trained on too.

Frames of the known sets are put together by video and looked at by the product's own `Look`. The logistic
calibration and its bounds are fitted to half of the people and reported on the other half, both ways; webcam
pictures and clips, which no run has trained on, get the numbers of everybody. Those go into the manifest.
"""

from __future__ import annotations

import argparse
import csv
import json
import pickle
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import log
from pathlib import Path

import checkout  # noqa: F401  (kiosk is found through it)
import cv2
import numpy as np
from data import LIVE, Box, Rgb, deal
from numpy.typing import NDArray

from kiosk.devices.camera_file import VideoSource, read_image
from kiosk.domain.decision import LookOutcome
from kiosk.evaluation.metrics import wilson
from kiosk.frames import Frame, PixelFormat, SourceKind
from kiosk.vision.border import border_of
from kiosk.vision.detect import Detector
from kiosk.vision.dynamics import Sighting, planarity
from kiosk.vision.look import EVIDENCE, FRAME_LLR, Look, LookRules
from kiosk.vision.models import Role, load_manifest, load_model
from kiosk.vision.observation import Observation
from kiosk.vision.pipeline import Vision

KNOWN = ("nuaa", "replay_attack")
APCER, BPCER = 0.005, 0.05
"""What the passive stage aims at: Wald's bounds follow. A living person who is refused has the other ways to
pay, an attack that is accepted has the money."""
GAP_NS = 200_000_000
"""Between the stored frames of one video, which are seconds apart: their numbers are not times."""
CLIP_STEP_S = 0.5
"""A look begins every so often in a clip."""

LFW_EVERY = 5

Judge = Callable[["Shown", Rgb, Box], float]
"""The logit of one face; > 0 for live."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One stored frame: `path` relative to the data folder (`clip.mp4#7` for a clip's eighth)."""

    path: str
    dataset: str
    label: str
    subject: str
    video: str
    split: str
    number: int


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the kiosk sees in it."""

    shown: Shown
    observation: Observation

    @property
    def cell(self) -> tuple[str, str]:
        return self.shown.dataset, self.shown.label


# --- where logits come from ---


def listed(path: Path) -> Judge:
    """Logits that something else wrote: a table with the columns path and logit."""
    with path.open(newline="") as table:
        logits = {row["path"]: float(row["logit"]) for row in csv.DictReader(table)}
    return lambda shown, rgb, box: logits.get(shown.path, float("nan"))


def out_of_fold(runs: Path, people: Iterable[Shown], *, unseen: bool) -> Judge:
    """Everybody by a run of crossval.py that never saw them, or with `unseen` never saw their whole set.

    Sets that are in no run are judged by the first.
    """
    import torch
    from augment import plain
    from crossval import FOLDS
    from network import Exported
    from train import load

    torch.set_num_threads(1)
    names = KNOWN if unseen else tuple(f"{fold}of{FOLDS}" for fold in range(FOLDS))
    networks = {name: Exported(load(runs / name / "checkpoint.pt")).eval() for name in names}
    dealt = deal(people, FOLDS)  # type: ignore[arg-type]

    @torch.no_grad()
    def judge(shown: Shown, rgb: Rgb, box: Box) -> float:
        name = names[0]
        if shown.dataset in KNOWN:
            name = shown.dataset if unseen else f"{dealt[shown.subject]}of{FOLDS}"
        views = (torch.from_numpy(view).float()[None] / 255 for view in plain(rgb, box))
        return float(networks[name](*views))

    return judge


# --- what is shown, and what is seen ---


def pictures(data: Path) -> list[Shown]:
    """The rows of train.csv and pad.csv."""
    found = []
    for split in ("train", "pad"):
        with (data / "pad" / f"{split}.csv").open(newline="") as table:
            for row in csv.DictReader(table):
                number = int(row["frame"] or 0)
                path = f"pad/{row['path']}"
                video = f"{row['dataset']}/{row['video']}" if row["video"] else path
                found.append(Shown(path, row["dataset"], row["label"], row["subject"], video, split, number))
    return found


def clips(data: Path) -> Iterator[tuple[Shown, Frame]]:
    """Every frame of every clip with a face."""
    for path in sorted((data / "video").iterdir()):
        if "no_face" in path.name:
            continue
        label = "replay" if "fake" in path.name else LIVE
        source, number = VideoSource(path), 0
        source.open()
        while (frame := source.read(1.0)) is not None:
            name = f"video/{path.name}#{number}"
            yield Shown(name, "video", label, path.stem, path.stem, "video", number), frame
            number += 1
        source.close()


def frames_of(data: Path) -> Iterator[tuple[Shown, Frame]]:
    """All of it, always in the same order."""
    for shown in pictures(data):
        rgb = read_image(data / shown.path)
        yield shown, Frame((rgb,), PixelFormat.RGB888, rgb.shape[1], rgb.shape[0], 0, 0)
    yield from clips(data)


def look_at_all(data: Path) -> list[Seen]:
    """Every frame as the kiosk sees it, with the shipped network's logit."""
    vision = Vision()
    return [
        Seen(shown, vision.observe(frame, alone=shown.split == "video")) for shown, frame in frames_of(data)
    ]


def judged(seen: list[Seen], data: Path, judge: Judge) -> list[Seen]:
    """The same with `judge`'s logit wherever the shipped network had one."""
    answers = []
    for one, (shown, frame) in zip(seen, frames_of(data), strict=True):
        observation = one.observation
        if observation.liveness_logit is not None and observation.payer is not None:
            box = observation.payer.box
            logit = judge(shown, frame.rgb(), (box.x0, box.y0, box.x1, box.y1))
            observation = replace(observation, liveness_logit=logit)
        answers.append(Seen(shown, observation))
    return answers


def remembered(path: Path | None, data: Path) -> list[Seen]:
    """`look_at_all`, kept in the file `path` (templates: where the data is), and read again from there."""
    if path is not None and path.exists():
        return list(pickle.loads(path.read_bytes()))  # noqa: S301  (written by this tool, for this tool)
    seen = look_at_all(data)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(seen))
    return seen


def by_video(seen: Iterable[Seen]) -> dict[str, list[Seen]]:
    """Frames of one video in the order of their numbers."""
    videos: dict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        videos[one.shown.video].append(one)
    return {name: sorted(frames, key=lambda one: one.shown.number) for name, frames in videos.items()}


def good_logits(seen: Iterable[Seen]) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Finite logits of the frames that a look would use, by set and label."""
    cells: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in seen:
        logit = one.observation.liveness_logit
        if one.observation.hint is None and logit is not None and np.isfinite(logit):
            cells[one.cell].append(logit)
    return {cell: np.array(logits) for cell, logits in cells.items()}


# --- fitting ---


def platt(cells: dict[tuple[str, str], NDArray[np.float64]]) -> tuple[float, float]:
    """Scale and offset of the logistic calibration (Platt 1999), by Newton's method.

    Live and attack weigh the same, and in each every set and species does: the answer is a likelihood ratio,
    without the sets' own share of attacks.
    """
    sides = Counter(label == LIVE for _, label in cells)
    x = np.concatenate(list(cells.values()))
    live = np.concatenate([np.full(len(v), label == LIVE, float) for (_, label), v in cells.items()])
    weight = np.concatenate(
        [np.full(len(v), 1 / len(v) / sides[label == LIVE]) for (_, label), v in cells.items()]
    )
    design = np.column_stack([x, np.ones_like(x)])
    answer = np.array([1.0, 0.0])
    for _ in range(100):
        chance = 1 / (1 + np.exp(-design @ answer))
        slope = design.T @ (weight * (chance - live))
        curve = (design * (weight * chance * (1 - chance))[:, None]).T @ design + 1e-6 * np.eye(2)
        step = np.linalg.solve(curve, slope)
        answer = answer - step
        if np.abs(step).max() < 1e-9:
            break
    return float(answer[0]), float(answer[1])


def intraclass(groups: list[list[float]]) -> float:
    """How alike members of a group are: ICC(1) of a one-way analysis of variance, groups of any size."""
    sizes, means = np.array([len(g) for g in groups]), np.array([np.mean(g) for g in groups])
    total, count = sizes.sum(), len(groups)
    middle = (sizes * means).sum() / total
    between = (sizes * (means - middle) ** 2).sum() / (count - 1)
    within = sum(((np.array(g) - np.mean(g)) ** 2).sum() for g in groups) / (total - count)
    usual = (total - (sizes**2).sum() / total) / (count - 1)
    return float((between - within) / (between + (usual - 1) * within))


def correlations(seen: list[Seen]) -> dict[tuple[str, str], float]:
    """Of logits within videos, by set and label of the known sets."""
    groups: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for frames in by_video(one for one in seen if one.shown.dataset in KNOWN).values():
        for cell, logits in good_logits(frames).items():
            groups[cell].append(logits.tolist())
    return {cell: intraclass(g) for cell, g in sorted(groups.items())}


def fit(seen: list[Seen], same_person: float) -> LookRules:
    """The four numbers from the known sets among `seen`.

    The bounds are Wald's for APCER and BPCER, moved outwards where the calibration promises more than it
    keeps: of no species is more than APCER above `accept_llr`, of no set's living people more than BPCER
    below `refuse_llr`.
    """
    known = [one for one in seen if one.shown.dataset in KNOWN]
    scale, offset = platt(good_logits(known))
    accept, refuse = log((1 - BPCER) / APCER), log(BPCER / (1 - APCER))
    rules = LookRules(scale, offset, accept, refuse, same_person)
    first: dict[tuple[str, str], list[float]] = defaultdict(list)
    for frames in by_video(known).values():
        for cell, logits in good_logits(frames).items():
            evidence = rules.evidence(logits[: rules.min_frames].tolist())
            if evidence is not None:
                first[cell].append(evidence)
    for (_, label), values in first.items():
        if label == LIVE:
            refuse = min(refuse, float(np.quantile(values, BPCER, method="lower")) - 1e-6)
        else:
            accept = max(accept, float(np.quantile(values, 1 - APCER, method="higher")) + 1e-6)
    accept, refuse = min(accept, FRAME_LLR), max(refuse, -FRAME_LLR)
    return replace(rules, accept_llr=round(accept, 2), refuse_llr=round(refuse, 2))


# --- reporting ---


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one look, or one frame on its own, ended."""

    subject: str
    outcome: LookOutcome
    frames: int


def look(frames: list[Seen], rules: LookRules, *, cues: bool) -> Outcome:
    """One look at `frames` as at a recording; without `cues`, by the network alone."""
    watching, result = Look(rules, SourceKind.RECORDED), None
    for place, one in enumerate(frames):
        observation = one.observation
        if one.shown.dataset != "video":
            observation = replace(observation, sequence=place, timestamp_ns=place * GAP_NS)
        if not cues:
            observation = replace(observation, landmarks=None, border=None)
        if (result := watching.feed(observation)) is not None:
            break
    result = result or watching.finish()
    return Outcome(frames[0].shown.subject, result.outcome, result.frames_seen)


def single(one: Seen, rules: LookRules) -> Outcome:
    """The same numbers on one frame."""
    result = Look(rules, SourceKind.STILL).feed(one.observation)
    outcome = LookOutcome.NO_FACE if result is None else result.outcome
    return Outcome(one.shown.subject, outcome, 1)


def looks_of(frames: list[Seen]) -> list[list[Seen]]:
    """Where looks begin: once in a stored video, every half second in a clip."""
    if frames[0].shown.dataset != "video":
        return [frames]
    times = [one.observation.timestamp_ns / 1e9 for one in frames]
    starts = [0]
    for place, time in enumerate(times):
        if time >= times[starts[-1]] + CLIP_STEP_S:
            starts.append(place)
    return [frames[start:] for start in starts]


def rows(seen: list[Seen], rules_for: Callable[[str], LookRules], *, cues: bool) -> dict[str, list[Outcome]]:
    """Looks by set and label."""
    found: dict[str, list[Outcome]] = defaultdict(list)
    for frames in by_video(seen).values():
        if len(frames) == 1:
            continue
        for start in looks_of(frames):
            name = "/".join(start[0].cell)
            found[name].append(look(start, rules_for(start[0].shown.subject), cues=cues))
    return found


def table(title: str, outcomes: dict[str, list[Outcome]]) -> str:
    """Shares that are accepted, unsure and refused, with 95 % intervals; what was not acquired is apart."""
    lines = [
        f"### {title}",
        "| set / label | n | people | live (95 %) | unsure | attack (95 %) | frames | no face |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, all_of_them in sorted(outcomes.items()):
        done = [o for o in all_of_them if o.outcome is not LookOutcome.NO_FACE]
        if not done:
            continue
        count = Counter(o.outcome for o in done)

        def share(what: LookOutcome, count: Counter[LookOutcome] = count, n: int = len(done)) -> str:
            low, high = wilson(count[what], n)
            return f"{100 * count[what] / n:.1f} % ({100 * low:.1f} to {100 * high:.1f})"

        unsure = 100 * count[LookOutcome.UNSURE] / len(done)
        taken = [o.frames for o in done]
        lines.append(
            f"| {name} | {len(done)} | {len({o.subject for o in done})} | {share(LookOutcome.LIVE)} "
            f"| {unsure:.1f} % | {share(LookOutcome.ATTACK)} "
            f"| {np.median(taken):.0f}, {np.percentile(taken, 95):.0f} | {len(all_of_them) - len(done)} |"
        )
    return "\n".join(lines) + "\n"


def press_edges(data: Path) -> list[int]:
    """On how many sides of the face LFW's pictures have an edge: every fifth one."""
    detector = Detector(load_model(load_manifest().card(Role.DETECTOR)))
    found = []
    for path in sorted((data / "lfw" / "images").glob("*/*.jpg"))[::LFW_EVERY]:
        rgb = read_image(path)
        faces = detector.detect(rgb)
        if faces:
            found.append(border_of(rgb, max(faces, key=lambda face: face.box.width).box).found)
    return found


def cue_figures(seen: list[Seen], press: list[int]) -> str:
    """What the cues' weights rest on: edges around faces, and planarity of two frames of one video."""
    edges: dict[str, list[int]] = defaultdict(list, {"lfw/live": press})
    ratios: dict[str, list[float]] = defaultdict(list)
    for one in seen:
        if one.observation.border is not None:
            edges["/".join(one.cell)].append(one.observation.border.found)
    for frames in by_video(seen).values():
        sightings = [
            Sighting(o.landmarks.points, i, o.payer.box)
            for i, o in enumerate(one.observation for one in frames)
            if o.landmarks is not None and o.payer is not None and o.hint is None
        ]
        for other in sightings[1:]:
            cue = planarity([sightings[0], other])
            if cue.value is not None:
                ratios["/".join(frames[0].cell)].append(cue.value)
    lines = ["### cues", "| set / label | n | edges on 3 sides | on 4 |", "|---|---|---|---|"]
    for name, sides in sorted(edges.items()):
        shares = [100 * np.mean(np.array(sides) == n) for n in (3, 4)]
        lines.append(f"| {name} | {len(sides)} | {shares[0]:.1f} % | {shares[1]:.1f} % |")
    lines += [
        "",
        "| set / label | pairs that moved | planarity: 5 %, median, 95 % | sd |",
        "|---|---|---|---|",
    ]
    for name, values in sorted(ratios.items()):
        low, middle, high = np.percentile(values, [5, 50, 95])
        lines.append(
            f"| {name} | {len(values)} | {low:.2f}, {middle:.2f}, {high:.2f} | {np.std(values):.2f} |"
        )
    return "\n".join(lines) + "\n"


def write(folder: Path, rules: LookRules, how: str) -> None:
    """Put the four into manifest.json; what else is there stays."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    card = next(card for card in manifest["models"] if card["role"] == "liveness")
    why = {
        "llr_scale": "logistic calibration, known sets and species weighted alike",
        "llr_offset": "logistic calibration, known sets and species weighted alike",
        "accept_llr": f"Wald's bound for APCER {APCER:.1%}, BPCER {BPCER:.0%}, no species above it",
        "refuse_llr": f"Wald's bound for APCER {APCER:.1%}, BPCER {BPCER:.0%}, no set above it",
    }
    for name in EVIDENCE:
        value = round(float(getattr(rules, name)), 4)
        card["thresholds"][name] = {
            "value": value,
            "set_by": f"tools/pad/fusion.py ({how}): {why[name]}",
        }
    path.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def report(seen: list[Seen], press: list[int], same_person: float) -> LookRules:
    """Prints everything, and returns the numbers fitted to everybody."""
    halves = deal((one.shown for one in seen), 2)  # type: ignore[arg-type]
    everybody = fit(seen, same_person)
    crossed = [
        fit([one for one in seen if halves[one.shown.subject] != half], same_person) for half in (0, 1)
    ]

    def rules_for(subject: str) -> LookRules:
        known = {one.shown.subject for one in seen if one.shown.dataset in KNOWN}
        return crossed[halves[subject]] if subject in known else everybody

    print("correlation of frames within a video:")
    found = correlations(seen)
    print("  ".join(f"{'/'.join(cell)} {rho:.2f}" for cell, rho in found.items()))
    print(f"mean {np.mean(list(found.values())):.2f}; the product discounts by {everybody.correlation}\n")
    for name, rules in (("everybody", everybody), ("half 1", crossed[0]), ("half 0", crossed[1])):
        print(f"fitted to {name}: " + ", ".join(f"{key} {getattr(rules, key):.3f}" for key in EVIDENCE))
    print()
    alone: dict[str, list[Outcome]] = defaultdict(list)
    for one in seen:
        alone["/".join(one.cell)].append(single(one, rules_for(one.shown.subject)))
    print(table("single frames, the same numbers", alone))
    print(table("looks, the network alone", rows(seen, rules_for, cues=False)))
    print(table("looks, network and cues", rows(seen, rules_for, cues=True)))
    print(cue_figures(seen, press))
    return everybody


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with pad/ and video/")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--runs", type=Path, help="where crossval.py wrote: logits out of fold")
    source.add_argument(
        "--logits", type=Path, help="table of logits out of fold: path (from --data on), logit"
    )
    parser.add_argument(
        "--unseen", action="store_true", help="with --runs: judge a set by the run without it"
    )
    parser.add_argument(
        "--seen", type=Path, help="keep what the kiosk sees of every frame in this file, and use it again"
    )
    parser.add_argument("--models", type=Path, help="write the numbers into this folder's manifest.json")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    judge, how = None, "the shipped network, people it was trained on"
    if given.runs:
        judge = out_of_fold(given.runs, pictures(given.data), unseen=given.unseen)
        how = "runs without the whole set" if given.unseen else "runs by person, out of fold"
    elif given.logits:
        judge, how = listed(given.logits), "logits out of fold"
    same_person = load_manifest().card(Role.EMBEDDING).threshold("same_person")
    print(f"logits: {how}\n")
    seen = remembered(given.seen, given.data)
    seen = judged(seen, given.data, judge) if judge else seen
    rules = report(seen, press_edges(given.data), same_person)
    if given.models:
        write(given.models, rules, how)


if __name__ == "__main__":
    main()
