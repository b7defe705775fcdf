"""Presentation attack detection (ISO/IEC 30107-3): live faces and attacks, single pictures.

Columns `path,label,subject,dataset,instrument,conditions,video,frame`; the label is `live` or an attack
species. Rates are of the presentations that were acquired; the others are counted by label. The threshold is
the manifest's `live`: at or above it a presentation is taken for live.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kiosk.domain.errors import OperatorError
from kiosk.evaluation.metrics import bpcer_at_apcer, eer, wilson
from kiosk.evaluation.tables import Progress, read_picture, read_table
from kiosk.vision.models import Role
from kiosk.vision.pipeline import Vision

__all__ = ["COLUMNS", "LIVE", "evaluate"]

LIVE = "live"
COLUMNS = ("path", "label", "subject", "dataset")


@dataclass(frozen=True, slots=True)
class _Presentation:
    label: str
    subject: str
    dataset: str
    score: float

    @property
    def species(self) -> str:
        return f"{self.dataset}/{self.label}"


def evaluate(manifest: Path, vision: Vision, progress: Progress) -> dict[str, Any]:
    """The figures of goals.md for `kiosk eval pad`."""
    table = read_table(manifest, COLUMNS)
    card = vision.manifest.card(Role.LIVENESS)
    seen, failed = [], Counter[str]()
    for done, row in enumerate(table.rows, start=1):
        observation = vision.observe(read_picture(table.picture(row["path"])), alone=False)
        if observation.liveness is None:
            failed[row["label"]] += 1
        else:
            seen.append(_Presentation(row["label"], row["subject"], row["dataset"], observation.liveness))
        progress(done, len(table.rows))
    if not seen:
        raise OperatorError("no face was found in any picture", where=str(manifest))
    report = _figures(seen, card.threshold("live"), card.threshold("attack"))
    report["failed_to_acquire"] = {label: failed[label] for label in sorted({r["label"] for r in table.rows})}
    trained = set(card.trained_subjects)
    known = sorted({p.subject for p in seen} & trained)
    report["seen_people"] = len(known)
    if known:
        report["note"] = (
            f"seen people: the network was trained on {len(known)} of these "
            f"{len({p.subject for p in seen})} subjects; tools/pad/crossval.py reports on unseen ones"
        )
    return report


def _figures(seen: list[_Presentation], threshold: float, grey_from: float) -> dict[str, Any]:
    live = [p for p in seen if p.label == LIVE]
    attacks = [p for p in seen if p.label != LIVE]
    by_species = {
        s: [p.score for p in attacks if p.species == s] for s in sorted({p.species for p in attacks})
    }
    by_dataset = {d: [p.score for p in live if p.dataset == d] for d in sorted({p.dataset for p in live})}
    refused = sum(p.score < threshold for p in live)
    passed = {s: sum(score >= threshold for score in scores) for s, scores in by_species.items()}
    n = {LIVE: len(live), **{s: len(scores) for s, scores in by_species.items()}}
    return {
        "threshold": threshold,
        "attack_threshold": grey_from,
        "n": n,
        "bpcer": refused / len(live) if live else None,
        "bpcer_by_dataset": {
            d: float(np.mean(np.array(scores) < threshold)) for d, scores in by_dataset.items()
        },
        "apcer": {s: passed[s] / n[s] for s in by_species},
        "unsure": sum(grey_from <= p.score < threshold for p in seen),
        "eer": {
            s: eer(by_dataset[s.split("/", 1)[0]], scores)
            for s, scores in by_species.items()
            if s.split("/", 1)[0] in by_dataset
        },
        "bpcer_at_apcer_5": (
            bpcer_at_apcer([p.score for p in live], by_species.values(), 0.05) if live and attacks else None
        ),
        "interval_95": {
            "bpcer": wilson(refused, len(live)),
            "apcer": {s: wilson(passed[s], n[s]) for s in by_species},
        },
    }
