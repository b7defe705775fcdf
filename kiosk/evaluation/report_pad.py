"""The report on presentation attack detection, in ISO/IEC 30107-3 terms.

Every rate stands with its n and two 95 % intervals: by presentations (Wilson) and over people (bootstrap),
since pictures of one person are not independent. Rates are by species; the worst one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from kiosk.evaluation import plots
from kiosk.evaluation.metrics import trade_off, wilson
from kiosk.evaluation.pad import LIVE, Attacks, Presentation
from kiosk.evaluation.report import Context, head, most, per_cent, pictures, rate_of, row, span, worst, write
from kiosk.evaluation.tables import Table
from kiosk.vision.models import Role

__all__ = ["write_pad"]


def write_pad(measured: Attacks, context: Context) -> Path:
    """The report on presentation attack detection (ISO/IEC 30107-3); where it is."""
    figures, seen = measured.figures, measured.presentations
    live = [p for p in seen if p.label == LIVE]
    species = {s: [p for p in seen if p.species == s] for s in figures["apcer"]}
    _draw_pad(context.folder, figures, live, species)
    parts = [
        *head("Presentation attack detection", measured.table, context, (Role.DETECTOR, Role.LIVENESS)),
        *([f"**{figures['note'][0].upper()}{figures['note'][1:]}.**", ""] if "note" in figures else []),
        *_non_responses(measured.table, figures["failed_to_acquire"]),
        *_pad_rates(figures, live, species),
        *pictures(("det.png", "APCER over BPCER"), ("rates.png", "rates"), ("scores.png", "scores")),
        *_pad_groups(figures, seen),
        *worst(
            measured.table,
            context,
            {
                "Attacks taken for live, the most convincing first": most(
                    [p for p in seen if p.label != LIVE and p.score >= figures["threshold"]],
                    lambda p: -p.score,
                ),
                "Live faces not taken for live, the least convincing first": most(
                    [p for p in live if p.score < figures["threshold"]], lambda p: p.score
                ),
            },
            lambda p: f"{p.species}, score {p.score:.3f}",
        ),
    ]
    return write(context.folder, parts)


def _draw_pad(
    folder: Path,
    figures: dict[str, Any],
    live: Sequence[Presentation],
    species: dict[str, list[Presentation]],
) -> None:
    """The pictures of the report."""
    _draw_trade_off(folder / "det.png", figures, live, species)
    _draw_rates(folder / "rates.png", figures["threshold"], live, species)
    _draw_scores(folder / "scores.png", figures, live, species)


def _draw_trade_off(
    path: Path, figures: dict[str, Any], live: Sequence[Presentation], species: dict[str, list[Presentation]]
) -> None:
    threshold = figures["threshold"]
    curves: list[plots.Curve] = []
    for colour, (name, attacks) in enumerate(species.items(), start=1):
        own = [p for p in live if p.dataset == attacks[0].dataset]
        if own:
            apcer, bpcer = trade_off(_scores(own), _scores(attacks))
            label = f"{name}\n{len(attacks)} attacks, {len(own)} live, EER {figures['eer'][name]:.1%}"
            shipped = (figures["apcer"][name], _below(own, threshold))
            curves.append(plots.Curve(label, apcer, bpcer, colour, shipped))
    if curves:
        labels = ("APCER: attacks taken for live, %", "BPCER: live faces not taken for live, %")
        plots.det(path, "Attacks: error trade-off, single pictures", labels, curves)


def _draw_rates(
    path: Path, threshold: float, live: Sequence[Presentation], species: dict[str, list[Presentation]]
) -> None:
    rows = [
        plots.Rate(f"BPCER {name}, n = {len(own)}", *rate_of(own, lambda p: p.score < threshold))
        for name, own in _by(live, lambda p: p.dataset).items()
    ]
    rows += [
        plots.Rate(f"APCER {name}, n = {len(some)}", *rate_of(some, lambda p: p.score >= threshold), colour)
        for colour, (name, some) in enumerate(species.items(), start=1)
    ]
    plots.rates(path, f"Errors at the shipped threshold, {threshold:g}", rows)


def _draw_scores(
    path: Path, figures: dict[str, Any], live: Sequence[Presentation], species: dict[str, list[Presentation]]
) -> None:
    panels = []
    for name in sorted({p.dataset for p in live} | {attacks[0].dataset for attacks in species.values()}):
        own = [p for p in live if p.dataset == name]
        samples = [plots.Sample(f"live, n = {len(own)}", _scores(own))] if own else []
        samples += [
            plots.Sample(f"{attacks[0].label}, n = {len(attacks)}", _scores(attacks), colour)
            for colour, attacks in enumerate(species.values(), start=1)
            if attacks[0].dataset == name
        ]
        panels.append((name, samples))
    thresholds = (("live from", figures["threshold"]), ("attack below", figures["attack_threshold"]))
    title, label = "Scores of single pictures", "score, 1 is live (log-odds scale)"
    plots.histograms(path, title, label, panels, thresholds, logit=True)


def _pad_rates(
    figures: dict[str, Any], live: Sequence[Presentation], species: dict[str, list[Presentation]]
) -> list[str]:
    threshold = figures["threshold"]
    rows: list[tuple[str, str, list[Presentation], Callable[[Presentation], bool], str]] = [
        ("BPCER", name, own, lambda p: p.score < threshold, "")
        for name, own in {"all": list(live), **_by(live, lambda p: p.dataset)}.items()
        if own
    ]
    rows += [
        ("APCER", name, attacks, lambda p: p.score >= threshold, per_cent(figures["eer"].get(name)))
        for name, attacks in species.items()
    ]
    lines = [
        f"## Errors at the shipped threshold, {threshold:g}",
        "",
        "A presentation is one picture; the product decides on several, and asks more where it is in doubt.",
        "",
        row(
            "rate", "of", "n", "people", "errors", "rate", "95 % by presentations", "95 % over people", "EER"
        ),
        row(*["---"] * 9),
    ]
    for what, name, some, wrong, equal in rows:
        rate, each, people = rate_of(some, wrong)
        errors = sum(wrong(p) for p in some)
        lines.append(
            row(
                what,
                name,
                len(some),
                len({p.subject for p in some}),
                errors,
                per_cent(rate),
                span(each),
                span(people),
                equal,
            )
        )
    if species:
        worst = max(species, key=lambda name: figures["apcer"][name])
        lines += ["", f"The worst species is {worst}: APCER {per_cent(figures['apcer'][worst])}."]
    if figures["bpcer_at_apcer_5"] is not None:
        lines += [f"BPCER where APCER is 5 % for each species: {per_cent(figures['bpcer_at_apcer_5'])}."]
    lines += [f"In doubt (between {figures['attack_threshold']:g} and {threshold:g}): {figures['unsure']}."]
    return [*lines, ""]


def _pad_groups(figures: dict[str, Any], seen: Sequence[Presentation]) -> list[str]:
    if "groups" not in figures:
        return ["## By group", "", "The table has no column `group`: nothing can be said by group.", ""]
    threshold = figures["threshold"]
    lines = ["## By group", "", row("group", "rate", "n", "people", "rate", "95 % over people")]
    lines.append(row(*["---"] * 6))
    for name in figures["groups"]:
        of_group = [p for p in seen if p.group == name]
        live = [p for p in of_group if p.label == LIVE]
        parts = {"BPCER": live}
        parts |= {
            f"APCER {s}": some
            for s, some in _by(of_group, lambda p: p.species).items()
            if some[0] not in live
        }
        for what, some in parts.items():
            if some:
                wrong = (
                    (lambda p: p.score < threshold) if what == "BPCER" else (lambda p: p.score >= threshold)
                )
                rate, _, people = rate_of(some, wrong)
                count = len({p.subject for p in some})
                lines.append(row(name, what, len(some), count, per_cent(rate), span(people)))
    return [*lines, ""]


def _non_responses(table: Table, failed: dict[str, int]) -> list[str]:
    """APNRR and BPNRR: presentations in which no face was found."""
    lines = ["## Failed to acquire", "", row("of", "n", "without a face", "non-response rate", "95 %")]
    lines.append(row(*["---"] * 5))
    for label, without in failed.items():
        n = sum(r["label"] == label for r in table.rows)
        lines.append(row(label, n, without, per_cent(without / n), span(wilson(without, n))))
    return [*lines, "", "They are left out of the rates below.", ""]


def _by(some: Iterable[Presentation], key: Callable[[Presentation], str]) -> dict[str, list[Presentation]]:
    found: dict[str, list[Presentation]] = {}
    for one in some:
        found.setdefault(key(one), []).append(one)
    return dict(sorted(found.items()))


def _scores(some: Iterable[Presentation]) -> list[float]:
    return [p.score for p in some]


def _below(some: Sequence[Presentation], threshold: float) -> float:
    return sum(p.score < threshold for p in some) / len(some)
