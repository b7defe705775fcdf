"""The report on identification, in ISO/IEC 19795-1 terms: FNIR over FPIR, and both as shipped.

Every rate stands with its n and two 95 % intervals: by probes (Wilson) and over people (bootstrap), since
pictures of one person are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kiosk.domain.decision import Accept
from kiosk.evaluation import plots
from kiosk.evaluation.identify import Identification, Probe
from kiosk.evaluation.metrics import identification_curve
from kiosk.evaluation.report import Context, head, most, per_cent, pictures, rate_of, row, span, worst, write
from kiosk.vision.models import Role

__all__ = ["write_identification"]


def write_identification(measured: Identification, context: Context) -> Path:
    """The report on identification (ISO/IEC 19795-1); where it is."""
    figures, probes = measured.figures, measured.probes
    _draw_identification(context.folder, figures, probes)
    wrong = [p for p in probes if isinstance(p.decision, Accept) and p.decision.token != p.identity]
    missed = [p for p in probes if p.mated and not _accepted(p) and p not in wrong]
    parts = [
        *head("Identification", measured.table, context, (Role.DETECTOR, Role.LANDMARKS, Role.EMBEDDING)),
        *_identification_rates(figures, probes),
        *pictures(("det.png", "FNIR over FPIR"), ("scores.png", "scores")),
        *_identification_groups(figures),
        *worst(
            measured.table,
            context,
            {
                "Accepted as someone else": most(wrong, lambda p: -p.score),
                "Enrolled and not accepted, the least alike first": most(missed, lambda p: p.score),
                "Strangers, the most alike first": most(
                    [p for p in probes if not p.mated], lambda p: -p.score
                ),
            },
            lambda p: f"score {p.score:.3f}, {_word(p)}",
        ),
    ]
    return write(context.folder, parts)


def _draw_identification(folder: Path, figures: dict[str, Any], probes: Sequence[Probe]) -> None:
    sets = {"all": list(probes)}
    sets |= {name: [p for p in probes if p.group == name] for name in figures.get("groups", {})}
    curves: list[plots.Curve] = []
    for name, some in sets.items():
        mated, others = [p for p in some if p.mated], [p for p in some if not p.mated]
        if mated and others:
            fpir, fnir = identification_curve(
                [p.score for p in mated], [p.correct for p in mated], [p.score for p in others]
            )
            label = f"{name}\n{len(mated)} mated probes, {len(others)} non-mated"
            shipped = (figures["fpir"], figures["fnir"]) if not curves else None
            curves.append(plots.Curve(label, fpir, fnir, len(curves), shipped))
    labels = ("FPIR: strangers accepted, %", "FNIR: enrolled people missed, %")
    title = f"Identification among {figures['gallery']}: error trade-off"
    plots.det(folder / "det.png", title, labels, curves)
    mated = [p for p in probes if p.mated and p.acquired]
    other = [p.score for p in probes if not p.mated and p.acquired]
    right = [p.score for p in mated if p.correct]
    samples = [
        plots.Sample(f"mated, the right person\nn = {len(right)}", right),
        plots.Sample(f"non-mated\nn = {len(other)}", other, 1),
    ]
    confused = [p.score for p in mated if not p.correct]
    if confused:
        samples.append(plots.Sample(f"mated, someone else\nn = {len(confused)}", confused, 2))
    thresholds = [("match", round(figures["threshold"], 3))]
    title = f"Best score of each probe among {figures['gallery']}"
    plots.histograms(folder / "scores.png", title, "cosine", [("", samples)], thresholds)


def _identification_rates(figures: dict[str, Any], probes: Sequence[Probe]) -> list[str]:
    mated, others = [p for p in probes if p.mated], [p for p in probes if not p.mated]
    rows: list[tuple[str, Sequence[Probe], Callable[[Probe], bool]]] = [
        ("rank-1 identification", mated, lambda p: p.correct),
        ("FNIR at the shipped thresholds", mated, lambda p: not _accepted(p)),
        ("FPIR at the shipped thresholds", others, lambda p: isinstance(p.decision, Accept)),
        ("asked for a second factor, enrolled", mated, lambda p: _word(p) == "asked for a second factor"),
        ("asked for a second factor, strangers", others, lambda p: _word(p) == "asked for a second factor"),
        ("failed to acquire", probes, lambda p: not p.acquired),
    ]
    lines = [
        "## Errors",
        "",
        f"{figures['gallery']} people enrolled; {figures['failed_to_enrol']} failed to enrol. With so many "
        f"it takes a cosine of {figures['threshold']:.3f} and a margin of {figures['margin']:.3f} to "
        "the next candidate. A probe that failed to be acquired or was asked for a second factor is a miss.",
        "",
        row("rate", "n", "people", "events", "rate", "95 % by probes", "95 % over people"),
        row(*["---"] * 7),
    ]
    for what, some, event in rows:
        rate, each, people = rate_of(some, event)
        count, events = len({p.identity for p in some}), sum(event(p) for p in some)
        lines.append(row(what, len(some), count, events, per_cent(rate), span(each), span(people)))
    lines += ["", f"Wrong person accepted: {figures['wrong_accepts']} of {len(probes)} probes.", ""]
    lines += [row("FPIR", "FNIR", "95 % by probes"), row("---", "---", "---")]
    for fpir, fnir in figures["fnir_at_fpir"].items():
        interval = figures["interval_95"]["fnir_at_fpir"][fpir]
        lines.append(row(per_cent(float(fpir)), per_cent(fnir), span(interval)))
    times = figures["ms_per_image"]
    return [*lines, "", f"Time a picture: median {times['p50']:.1f} ms, p95 {times['p95']:.1f} ms.", ""]


def _identification_groups(figures: dict[str, Any]) -> list[str]:
    if "groups" not in figures:
        return ["## By group", "", "The table has no column `group`: nothing can be said by group.", ""]
    lines = ["## By group", "", row("group", "mated", "FNIR", "95 %", "non-mated", "FPIR", "95 %", "wrong")]
    lines.append(row(*["---"] * 8))
    for name, part in figures["groups"].items():
        spans = part["interval_95"]
        lines.append(
            row(
                name,
                part["known"],
                per_cent(part["fnir"]),
                span(spans["fnir"]),
                part["unknown"],
                per_cent(part["fpir"]),
                span(spans["fpir"]),
                part["wrong_accepts"],
            )
        )
    return [*lines, ""]


def _accepted(probe: Probe) -> bool:
    return isinstance(probe.decision, Accept) and probe.decision.token == probe.identity


def _word(probe: Probe) -> str:
    return {"Accept": "accepted", "AskSecondFactor": "asked for a second factor"}.get(
        type(probe.decision).__name__, "refused"
    )
