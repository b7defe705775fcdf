"""Judges the recipe of train.py on people, sets and cameras that a run has not seen, beside the peer.

    python tools/pad/crossval.py --cache out/pad/cache --peer DIR --out out/pad/crossval

By person: three runs, each without a third of the people; everyone is scored by the run that never saw
them. Leave one set out: a run without each known set; the webcam and clip sets are in no run. Writes
report.json and report.md. Runs that are finished are kept; a run that was cut off goes on.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from data import LIVE, Cache, Row, is_known
from metrics import ErrorRate, Scores, eer_over_people
from minifasnet import Peer
from network import AntiSpoof
from train import REPORT_ONLY, Recipe, load, score, split, train

FOLDS = 3
KNOWN = ("nuaa", "replay_attack")


def _network(cache: Cache, recipe: Recipe, out: Path, workers: int) -> tuple[AntiSpoof, list[Row]]:
    """The trained network of one run, and the rows it never saw."""
    used, kept = split(cache, recipe.hold_out)
    folder = out / recipe.hold_out.replace("/", "of")
    print(f"run without {recipe.hold_out}", flush=True)
    train(cache, used, recipe, folder, lambda _: "", workers=workers)
    return load(folder / "checkpoint.pt"), kept


def _judged(row: Row) -> bool:
    """What is reported on: real pictures; of the known sets the full frames, as a kiosk would see them."""
    return row.origin == "real" and row.split in ("pad", "video")


def _rates(rows: list[Row], scores: Scores) -> dict[str, ErrorRate]:
    """EER by `set/species`, against the live faces of the same set."""
    rates = {}
    for dataset, species in sorted({(row.dataset, row.label) for row in rows if row.label != LIVE}):
        chosen = [i for i, row in enumerate(rows) if row.dataset == dataset and row.label in (LIVE, species)]
        live = np.array([rows[i].label == LIVE for i in chosen])
        if live.any() and not live.all():
            people = [rows[i].subject for i in chosen]
            rates[f"{dataset}/{species}"] = eer_over_people(scores[chosen], live, people)
    return rates


def _joined(network: AntiSpoof, cache: Cache, rows: list[Row]) -> Scores:
    return np.asarray(network.joined(torch.from_numpy(score(network, cache, rows))).numpy(), dtype=np.float64)


def _by_person(
    cache: Cache, recipe: Recipe, out: Path, workers: int
) -> tuple[dict[str, ErrorRate], dict[str, list]]:
    """Known sets with all folds' scores together; unseen sets once for each fold's network."""
    rows: list[Row] = []
    scores: list[Scores] = []
    unseen: dict[str, list[ErrorRate]] = {}
    for fold in range(FOLDS):
        network, kept = _network(cache, replace(recipe, hold_out=f"{fold}/{FOLDS}"), out, workers)
        mine = [row for row in kept if _judged(row) and is_known(row)]
        rows += mine
        scores.append(_joined(network, cache, mine))
        others = [row for row in kept if row.dataset in REPORT_ONLY]
        for name, rate in _rates(others, _joined(network, cache, others)).items():
            unseen.setdefault(name, []).append(rate)
    return _rates(rows, np.concatenate(scores)), unseen


def _table(report: dict[str, dict[str, ErrorRate]]) -> str:
    lines = [
        "| what | set / species | EER | 95 % | live | attacks | people |",
        "|---|---|---|---|---|---|---|",
    ]
    for what, rates in report.items():
        lines += [
            f"| {what} | {name} | {100 * r.rate:.1f} % | {100 * r.low:.1f} to {100 * r.high:.1f} "
            f"| {r.live} | {r.attacks} | {r.people} |"
            for name, r in rates.items()
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cache", type=Path, default=Path("out/pad/cache"), help="what data.py made of the sets"
    )
    parser.add_argument("--out", type=Path, default=Path("out/pad/crossval"), help="runs and report go here")
    parser.add_argument("--peer", type=Path, required=True, help="folder with MiniFASNet's two .pth files")
    parser.add_argument("--epochs", type=int, default=Recipe("").epochs, help="of each of the five runs")
    parser.add_argument("--seed", type=int, default=Recipe("").seed)
    parser.add_argument("--workers", type=int, default=1, help="processes that prepare pictures")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    cache = Cache.open(given.cache)
    recipe = Recipe(hold_out="", epochs=given.epochs, seed=given.seed)
    report: dict[str, dict[str, ErrorRate]] = {}
    report["by person"], unseen = _by_person(cache, recipe, given.out, given.workers)
    for number in range(FOLDS):
        report[f"unseen set, fold {number}"] = {name: rates[number] for name, rates in unseen.items()}
    for dataset in KNOWN:
        network, kept = _network(cache, replace(recipe, hold_out=dataset), given.out, given.workers)
        rows = [row for row in kept if _judged(row) and row.dataset == dataset]
        report[f"without {dataset}"] = _rates(rows, _joined(network, cache, rows))
    rows = [row for row in cache.rows if _judged(row)]
    report["MiniFASNet"] = _rates(rows, Peer(given.peer).score(cache, rows))
    plain = {what: {name: asdict(rate) for name, rate in rates.items()} for what, rates in report.items()}
    text = json.dumps({"recipe": asdict(recipe), "eer": plain}, indent=2)
    (given.out / "report.json").write_text(text + "\n", encoding="utf-8")
    (given.out / "report.md").write_text(_table(report), encoding="utf-8")
    print(_table(report))


if __name__ == "__main__":
    main()
