"""The report on verification, in ISO/IEC 19795-1 terms: FNMR and FMR of pairs of pictures.

Pairs share pictures and people, so the intervals (Wilson, by pairs) are narrower than the truth.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kiosk.evaluation import plots
from kiosk.evaluation.metrics import eer, trade_off, wilson
from kiosk.evaluation.report import Context, head, per_cent, pictures, row, span, write
from kiosk.evaluation.verify import Verification
from kiosk.vision.models import Role

__all__ = ["write_verification"]


def write_verification(measured: Verification, context: Context) -> Path:
    """The report on verification (ISO/IEC 19795-1); where it is."""
    figures, same = measured.figures, measured.same
    scores = measured.scores
    mated, others = scores[same], scores[~same]
    fmr, fnmr = trade_off(mated, others)
    labels = ("FMR: pairs of two people taken for one, %", "FNMR: pairs of one person taken for two, %")
    curve = plots.Curve(f"{len(mated)} mated pairs\n{len(others)} non-mated", fmr, fnmr)
    plots.det(context.folder / "det.png", "Verification: error trade-off", labels, [curve])
    kept = [scores[same & np.isfinite(scores)], scores[~same & np.isfinite(scores)]]
    samples = [
        plots.Sample(f"mated pairs\nn = {len(kept[0])}", kept[0]),
        plots.Sample(f"non-mated pairs\nn = {len(kept[1])}", kept[1], 1),
    ]
    shipped = context.models.card(Role.EMBEDDING).threshold("same_person")
    plots.histograms(
        context.folder / "scores.png",
        "Scores of pairs",
        "cosine",
        [("", samples)],
        [("same person", shipped)],
    )
    lines = [
        "## Errors",
        "",
        f"Accuracy {per_cent(figures['accuracy'])} (95 %: {span(figures['interval_95']['accuracy'])}) of "
        f"{figures['pairs']} pairs in {figures['folds']} folds, standard deviation over folds "
        f"{per_cent(figures['accuracy_std'])}; EER {per_cent(eer(mated, others))}. "
        f"{figures['failed_to_acquire']} pairs failed to be acquired and count as errors.",
        "",
        row("FMR", "TAR (1 - FNMR)", "95 %"),
        row("---", "---", "---"),
    ]
    for rate, tar in figures["tar_at_fmr"].items():
        interval = wilson(round(tar * len(mated)), len(mated))
        lines.append(row(per_cent(float(rate)), per_cent(tar), span(interval)))
    parts = [
        *head("Verification", measured.table, context, (Role.DETECTOR, Role.LANDMARKS, Role.EMBEDDING)),
        *lines,
        "",
        *pictures(("det.png", "FNMR over FMR"), ("scores.png", "scores")),
    ]
    return write(context.folder, parts)
