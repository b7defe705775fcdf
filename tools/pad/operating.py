"""Sets the two liveness thresholds on people that no network judged had seen, and says what they cost.

    python tools/pad/operating.py --cache out/pad/cache --runs out/pad/crossval [--models assets/models]

Takes the three runs of crossval.py; each judges the third of the people that it never saw. `live` is the
lowest score that at most 1 % of any real species of the known sets reach; `attack` is the highest that at
most 2 % of the live faces of any set but NUAA (halved, blurred pictures) fall below. With --models both go
into the manifest; without, they are printed beside the table.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from crossval import FOLDS
from data import LIVE, Cache
from features import Seen
from metrics import Scores
from train import REPORT_ONLY, judge, load, split

WANTED_APCER = 0.01
WANTED_BPCER = 0.02
GRID = np.round(np.arange(0.05, 0.96, 0.05), 2)
LFW_PICTURES = 500
"""Of each fold: the set is much larger than the others."""

Key = tuple[str, str, str]


def scores_out_of_fold(cache: Cache, seen: Seen, runs: Path, seed: int = 0) -> dict[Key, Scores]:
    """Scores in [0, 1] by set, label and origin (real or simulated)."""
    found: dict[Key, list[float]] = defaultdict(list)
    for fold in range(FOLDS):
        network = load(runs / f"{fold}of{FOLDS}" / "checkpoint.pt")
        _, kept = split(cache, f"{fold}/{FOLDS}")
        order = np.random.default_rng(seed + fold).permutation(kept).tolist()
        faces = [i for i in order if cache.rows[i].dataset == "lfw"][:LFW_PICTURES]
        places = [i for i in kept if cache.rows[i].dataset != "lfw"] + faces
        for place, logit in zip(places, judge(network, seen, places), strict=True):
            row = cache.rows[place]
            found[row.dataset, row.label, row.origin].append(1.0 / (1.0 + float(np.exp(-logit))))
    return {key: np.array(values) for key, values in sorted(found.items())}


def choose(scores: dict[Key, Scores]) -> tuple[float, float]:
    """`live` and `attack`, on the grid."""
    attacks = [
        v for (d, label, o), v in scores.items() if label != LIVE and o == "real" and d not in REPORT_ONLY
    ]
    lives = [v for (d, label, _), v in scores.items() if label == LIVE and d not in (*REPORT_ONLY, "nuaa")]
    live = next(t for t in GRID if all((v >= t).mean() <= WANTED_APCER for v in attacks))
    attack = max(t for t in GRID if t <= live and all((v < t).mean() <= WANTED_BPCER for v in lives))
    return float(live), float(attack)


def table(scores: dict[Key, Scores], live: float, attack: float) -> str:
    """Per cent of each kind that is taken for live, that is unsure, and that is called an attack."""
    lines = ["| set | what | n | live | unsure | attack |", "|---|---|---|---|---|---|"]
    for (dataset, label, origin), values in scores.items():
        shares = ((values >= live), (values >= attack) & (values < live), (values < attack))
        cells = " | ".join(f"{100 * share.mean():.1f} %" for share in shares)
        name = label if origin == "real" else f"{label}, simulated"
        lines.append(f"| {dataset} | {name} | {len(values)} | {cells} |")
    return "\n".join(lines)


def write(folder: Path, live: float, attack: float) -> None:
    """Put both into manifest.json."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    card = next(card for card in manifest["models"] if card["role"] == "liveness")
    how = "tools/pad/operating.py (three runs by person, out of fold)"
    card["thresholds"] |= {
        "live": {"value": live, "set_by": f"{how}: APCER <= {WANTED_APCER:.1%} for each real known species"},
        "attack": {"value": attack, "set_by": f"{how}: BPCER <= {WANTED_BPCER:.0%} but for NUAA"},
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=Path("out/pad/cache"), help="what data.py made")
    parser.add_argument("--runs", type=Path, default=Path("out/pad/crossval"), help="where crossval.py wrote")
    parser.add_argument("--models", type=Path, help="write the thresholds into this folder's manifest.json")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    cache, seen = Cache.open(given.cache), Seen.open(given.cache)
    scores = scores_out_of_fold(cache, seen, given.runs)
    live, attack = choose(scores)
    print(table(scores, live, attack))
    print(f"\nlive from {live}, attack below {attack}")
    if given.models:
        write(given.models, live, attack)


if __name__ == "__main__":
    main()
