"""Verification (1 : 1): pairs of pictures, each of one person or of two.

Columns `fold,same,path1,path2`. With several folds each is judged at the threshold that is best on the others
(the protocol of Labeled Faces in the Wild); with one, at the shipped threshold. A pair that failed to be
acquired is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiosk.domain.errors import OperatorError
from kiosk.evaluation.metrics import fold_accuracies, tar_at_fmr, wilson
from kiosk.evaluation.tables import Progress, Table, read_picture, read_table
from kiosk.vision.models import Role
from kiosk.vision.pipeline import Vision

__all__ = ["FMRS", "Verification", "evaluate", "measure"]

FMRS = ("0.1", "0.01", "0.001", "0.0001")


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """What was measured: the figures, and each pair's score (a failed pair's is infinite and wrong)."""

    table: Table
    figures: dict[str, Any]
    scores: NDArray[np.float64]
    same: NDArray[np.bool_]


def evaluate(manifest: Path, vision: Vision, progress: Progress) -> dict[str, Any]:
    """The figures of `kiosk eval verify`, with n and 95 % intervals beside the rates."""
    return measure(manifest, vision, progress).figures


def measure(manifest: Path, vision: Vision, progress: Progress) -> Verification:
    """The figures and what they are made of."""
    table = read_table(manifest, ("fold", "same", "path1", "path2"), {"same": ("0", "1")})
    pictures = sorted({row[column] for row in table.rows for column in ("path1", "path2")})
    embeddings: dict[str, NDArray[np.float32] | None] = {}
    for name in pictures:
        embeddings[name] = vision.observe(read_picture(table.picture(name)), alone=False).embedding
        progress(len(embeddings), len(pictures))

    same = np.array([row["same"] == "1" for row in table.rows])
    folds = np.array([row["fold"] for row in table.rows])
    pairs = [(embeddings[row["path1"]], embeddings[row["path2"]]) for row in table.rows]
    acquired = np.array([a is not None and b is not None for a, b in pairs])
    # A failed pair gets the score that is wrong for it, whatever the threshold.
    scores = np.array(
        [
            float(a @ b) if a is not None and b is not None else (-np.inf if mates else np.inf)
            for (a, b), mates in zip(pairs, same, strict=True)
        ]
    )
    if not same.any() or same.all():
        raise OperatorError("needs pairs of one person and pairs of two", where=str(manifest))
    accuracies, threshold = _accuracies(scores, same, folds, vision)
    right = round(
        float(np.sum([a * np.sum(folds == f) for a, f in zip(accuracies, np.unique(folds), strict=True)]))
    )
    non_mated = int((~same).sum())
    figures = {
        "pairs": len(pairs),
        "accuracy": float(accuracies.mean()),
        "accuracy_std": float(accuracies.std()),
        "folds": len(accuracies),
        "threshold": threshold,
        "tar_at_fmr": {
            rate: tar_at_fmr(scores[same], scores[~same], float(rate))
            for rate in FMRS
            if float(rate) * non_mated >= 1
        },
        "failed_to_acquire": int((~acquired).sum()),
        "interval_95": {"accuracy": wilson(right, len(pairs))},
    }
    return Verification(table, figures, scores, same)


def _accuracies(
    scores: NDArray[np.float64], same: NDArray[np.bool_], folds: NDArray[np.str_], vision: Vision
) -> tuple[NDArray[np.float64], float | None]:
    """Each fold's accuracy, and the shipped threshold where that is what was used."""
    if len(np.unique(folds)) > 1:
        return fold_accuracies(scores, same, folds), None
    threshold = vision.manifest.card(Role.EMBEDDING).threshold("same_person")
    return np.array([np.mean((scores >= threshold) == same)]), threshold
