"""Presentation attack detection (ISO/IEC 30107-3): live faces and attacks, single pictures.

Columns `path,label,subject,dataset,instrument,conditions,video,frame`; the label is `live` or an attack
species. Rates are of the presentations that were acquired; the others are counted by label. The threshold is
the manifest's `live`: at or above it a presentation is taken for live. With a column
`group` figures come by group too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kiosk.domain.errors import OperatorError
from kiosk.evaluation.metrics import bpcer_at_apcer, eer, wilson
from kiosk.evaluation.tables import Progress, Table, read_picture, read_table
from kiosk.vision.models import Role
from kiosk.vision.pipeline import Vision

__all__ = ["COLUMNS", "LIVE", "Attacks", "Presentation", "evaluate", "measure"]

LIVE = "live"
COLUMNS = ("path", "label", "subject", "dataset")


@dataclass(frozen=True, slots=True)
class Presentation:
    """One picture that was acquired. `score` in [0, 1], 1 for live; `row` counts the table's from 1."""

    row: int
    label: str
    subject: str
    dataset: str
    group: str
    score: float

    @property
    def species(self) -> str:
        return f"{self.dataset}/{self.label}"


@dataclass(frozen=True, slots=True)
class Attacks:
    """What was measured: the figures, and each presentation that they are made of."""

    table: Table
    figures: dict[str, Any]
    presentations: tuple[Presentation, ...]


def evaluate(manifest: Path, vision: Vision, progress: Progress) -> dict[str, Any]:
    """The figures of `kiosk eval pad`, with n and 95 % intervals beside the rates."""
    return measure(manifest, vision, progress).figures


def measure(manifest: Path, vision: Vision, progress: Progress) -> Attacks:
    """The figures and what they are made of."""
    table = read_table(manifest, COLUMNS)
    card = vision.manifest.card(Role.LIVENESS)
    seen, failed = [], Counter[str]()
    for done, row in enumerate(table.rows, start=1):
        observation = vision.observe(read_picture(table.picture(row["path"])), alone=False)
        if observation.liveness is None:
            failed[row["label"]] += 1
        else:
            seen.append(
                Presentation(
                    row=done,
                    label=row["label"],
                    subject=row["subject"],
                    dataset=row["dataset"],
                    group=row.get("group", ""),
                    score=observation.liveness,
                )
            )
        progress(done, len(table.rows))
    if not seen:
        raise OperatorError("no face was found in any picture", where=str(manifest))
    live, attack = card.threshold("live"), card.threshold("attack")
    report = _figures(seen, live, attack)
    groups = sorted({p.group for p in seen} - {""})
    if groups:
        report["groups"] = {
            name: _figures([p for p in seen if p.group == name], live, attack) for name in groups
        }
    report["failed_to_acquire"] = {label: failed[label] for label in sorted({r["label"] for r in table.rows})}
    trained = set(card.trained_subjects)
    known = sorted({p.subject for p in seen} & trained)
    report["seen_people"] = len(known)
    if known:
        report["note"] = (
            f"seen people: the network was trained on {len(known)} of these "
            f"{len({p.subject for p in seen})} subjects; tools/pad/crossval.py reports on unseen ones"
        )
    return Attacks(table, report, tuple(seen))


def _figures(seen: Sequence[Presentation], threshold: float, grey_from: float) -> dict[str, Any]:
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
