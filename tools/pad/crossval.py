"""Judges the recipe of train.py on people, sets and cameras that a run has not seen, beside the peer.

    python tools/pad/crossval.py --cache out/pad/cache --peer DIR --out out/pad/crossval

By person: three runs, each without a third of the people; everyone is scored by the run that never saw
them. Leave one set out: a run without each known set; the webcam and clip sets are in no run.
Writes report.json and report.md.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from data import LIVE, Cache, Row, is_known
from features import Seen, load_eye
from metrics import ErrorRate, Scores, eer_over_people
from minifasnet import Peer
from network import AntiSpoof
from train import REPORT_ONLY, Recipe, judge, save, split, train

__all__ = ["FOLDS", "run"]

FOLDS = 3
KNOWN = ("nuaa", "replay_attack")


@dataclass(frozen=True, slots=True)
class Bench:
    """What the runs of a cross-validation share."""

    cache: Cache
    seen: Seen
    recipe: Recipe
    eye: Path
    out: Path


def run(bench: Bench, hold_out: str) -> tuple[AntiSpoof, list[int]]:
    """One run without `hold_out`, kept in its folder; and the places of the rows that it never saw."""
    recipe = replace(bench.recipe, hold_out=hold_out)
    used, kept = split(bench.cache, hold_out)
    network = train(bench.cache, bench.seen, load_eye(bench.eye), used, recipe)
    save(network, recipe, bench.out / hold_out.replace("/", "of") / "checkpoint.pt")
    print(f"run without {hold_out}: {len(used)} pictures", flush=True)
    return network, kept


def judged(row: Row) -> bool:
    """What is reported on: real pictures; of the known sets the full frames, as a kiosk would see them."""
    return row.origin == "real" and row.split in ("pad", "video")


def rates(rows: list[Row], scores: Scores) -> dict[str, ErrorRate]:
    """EER by `set/species`, against the live faces of the same set."""
    found = {}
    for dataset, species in sorted({(row.dataset, row.label) for row in rows if row.label != LIVE}):
        chosen = [i for i, row in enumerate(rows) if row.dataset == dataset and row.label in (LIVE, species)]
        live = np.array([rows[i].label == LIVE for i in chosen])
        if live.any() and not live.all():
            people = [rows[i].subject for i in chosen]
            found[f"{dataset}/{species}"] = eer_over_people(scores[chosen], live, people)
    return found


def report(bench: Bench, peer: Peer) -> dict[str, dict[str, ErrorRate]]:
    """Every run, and the peer on the same pictures."""
    rows, seen = bench.cache.rows, bench.seen
    by_person: list[int] = []
    scores: list[Scores] = []
    unseen: dict[str, dict[str, ErrorRate]] = {}
    for fold in range(FOLDS):
        network, kept = run(bench, f"{fold}/{FOLDS}")
        mine = [i for i in kept if judged(rows[i]) and is_known(rows[i])]
        by_person += mine
        scores.append(judge(network, seen, mine))
        others = [i for i in kept if rows[i].dataset in REPORT_ONLY]
        unseen[f"unseen set, fold {fold}"] = rates([rows[i] for i in others], judge(network, seen, others))
    found = {"by person": rates([rows[i] for i in by_person], np.concatenate(scores)), **unseen}
    for dataset in KNOWN:
        network, kept = run(bench, dataset)
        mine = [i for i in kept if judged(rows[i]) and rows[i].dataset == dataset]
        found[f"without {dataset}"] = rates([rows[i] for i in mine], judge(network, seen, mine))
    everything = [row for row in rows if judged(row)]
    found["MiniFASNet"] = rates(everything, peer.score(bench.cache, everything))
    return found


def means(found: dict[str, dict[str, ErrorRate]]) -> tuple[float, float]:
    """Mean EER over the left-out sets and species, ours (unseen sets: mean of the folds) and the peer's."""
    ours = [rate.rate for dataset in KNOWN for rate in found[f"without {dataset}"].values()]
    for name in found["unseen set, fold 0"]:
        ours.append(float(np.mean([found[f"unseen set, fold {k}"][name].rate for k in range(FOLDS)])))
    return float(np.mean(ours)), float(np.mean([rate.rate for rate in found["MiniFASNet"].values()]))


def table(found: dict[str, dict[str, ErrorRate]]) -> str:
    lines = [
        "| what | set / species | EER | 95 % | live | attacks | people |",
        "|---|---|---|---|---|---|---|",
    ]
    for what, by_name in found.items():
        lines += [
            f"| {what} | {name} | {100 * r.rate:.1f} % | {100 * r.low:.1f} to {100 * r.high:.1f} "
            f"| {r.live} | {r.attacks} | {r.people} |"
            for name, r in by_name.items()
        ]
    ours, peers = means(found)
    lines += ["", f"Mean over the left-out sets: {100 * ours:.1f} %; MiniFASNet {100 * peers:.1f} %."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=Path("out/pad/cache"), help="what features.py left")
    parser.add_argument("--out", type=Path, default=Path("out/pad/crossval"), help="runs and report go here")
    parser.add_argument("--peer", type=Path, required=True, help="folder with MiniFASNet's two .pth files")
    parser.add_argument("--seed", type=int, default=Recipe("").seed)
    parser.add_argument("--far", type=float, default=Recipe("").far, help="see train.py; large: expert only")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    cache = Cache.open(given.cache)
    recipe = Recipe(hold_out="", seed=given.seed, far=given.far)
    bench = Bench(cache, Seen.open(given.cache), recipe, given.cache, given.out)
    found = report(bench, Peer(given.peer))
    plain = {what: {name: asdict(rate) for name, rate in by.items()} for what, by in found.items()}
    text = json.dumps({"recipe": asdict(recipe), "eer": plain, "mean": means(found)}, indent=2)
    (given.out / "report.json").write_text(text + "\n", encoding="utf-8")
    (given.out / "report.md").write_text(table(found), encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
