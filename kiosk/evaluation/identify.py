"""Identification (1 : N): enrol some people, present known and unknown ones, count what goes wrong.

Columns `path,identity,role` (role: enrol, probe), and `group` if figures by group are wanted. A probe whose
identity is not enrolled is non-mated. Decisions are the product's own (`domain.decision.decide`) at the
manifest's thresholds, for a gallery of this size: nothing is tuned here.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kiosk.domain.decision import (
    Accept,
    AskSecondFactor,
    Candidate,
    Decision,
    LookOutcome,
    Reason,
    Refuse,
    Thresholds,
    decide,
)
from kiosk.domain.errors import OperatorError
from kiosk.evaluation.metrics import fnir_at_fpir, wilson
from kiosk.evaluation.tables import Progress, Row, Table, read_picture, read_table
from kiosk.gallery.exact import ExactMatcher
from kiosk.gallery.template import Template
from kiosk.vision.embed import combine
from kiosk.vision.models import Role, thresholds_of
from kiosk.vision.observation import Observation
from kiosk.vision.pipeline import Vision

__all__ = ["FPIRS", "Identification", "Probe", "evaluate", "measure"]

FPIRS = ("0.1", "0.02", "0.01")


@dataclass(frozen=True, slots=True)
class Probe:
    """One search: whose picture it was, what came back, what was decided. `row` counts the table's from 1."""

    row: int
    identity: str
    group: str
    mated: bool
    acquired: bool
    best: Candidate | None
    decision: Decision
    hinted: bool

    @property
    def correct(self) -> bool:
        return self.best is not None and self.best.token == self.identity

    @property
    def score(self) -> float:
        return self.best.score if self.best else float("-inf")


@dataclass(frozen=True, slots=True)
class Identification:
    """What was measured: the figures, and each probe that they are made of."""

    table: Table
    figures: dict[str, Any]
    probes: tuple[Probe, ...]


def evaluate(manifest: Path, vision: Vision, progress: Progress) -> dict[str, Any]:
    """The figures of `kiosk eval identify`, with n and 95 % intervals beside the rates.

    `threshold` is what a gallery of this size takes, None where everybody is asked for digits.
    """
    return measure(manifest, vision, progress).figures


def measure(manifest: Path, vision: Vision, progress: Progress) -> Identification:
    """The figures and what they are made of."""
    table = read_table(manifest, ("path", "identity", "role"), {"role": ("enrol", "probe")})
    thresholds = thresholds_of(vision.manifest.card(Role.EMBEDDING))
    observed, taken_ms = _observe(table, vision, progress)
    matcher, unenrolled = _enrol(table, observed)
    known = {row["identity"] for row in table.rows if row["role"] == "enrol"}
    probes = [
        _probe(row, observation, known, matcher, thresholds, number=number)
        for number, (row, observation) in enumerate(zip(table.rows, observed, strict=True), start=1)
        if row["role"] == "probe"
    ]
    if not any(p.mated for p in probes) or all(p.mated for p in probes):
        raise OperatorError("needs probes of enrolled people and of others", where=str(manifest))
    failed = sum(observation.embedding is None for observation in observed)
    report: dict[str, Any] = {"gallery": len(matcher), **_figures(probes)}
    report["failed_to_acquire"] = failed
    report["failed_to_enrol"] = unenrolled
    report["threshold"] = thresholds.match_among(len(matcher))
    report["margin"], report["promised_fpir"] = thresholds.margin, thresholds.promised_fpir
    report["ms_per_image"] = {
        "p50": float(np.percentile(taken_ms, 50)),
        "p95": float(np.percentile(taken_ms, 95)),
    }
    groups = sorted({p.group for p in probes} - {""})
    if groups:
        report["groups"] = {name: _figures([p for p in probes if p.group == name]) for name in groups}
    return Identification(table, report, tuple(probes))


def _observe(table: Table, vision: Vision, progress: Progress) -> tuple[list[Observation], list[float]]:
    observed, taken_ms = [], []
    for row in table.rows:
        frame = read_picture(table.picture(row["path"]))
        start = time.perf_counter_ns()
        observed.append(vision.observe(frame, alone=False))
        taken_ms.append((time.perf_counter_ns() - start) / 1e6)
        progress(len(observed), len(table.rows))
    return observed, taken_ms


def _enrol(table: Table, observed: Sequence[Observation]) -> tuple[ExactMatcher, int]:
    """One reference a person: the mean of their enrolment pictures. And how many people have none."""
    pictures = defaultdict(list)
    for row, observation in zip(table.rows, observed, strict=True):
        if row["role"] == "enrol":
            pictures[row["identity"]].append(observation.embedding)
    usable = {who: [e for e in found if e is not None] for who, found in pictures.items()}
    people = {who: combine(found)[None] for who, found in usable.items() if found}
    if not people:
        raise OperatorError("nobody could be enrolled", where=str(table.path))
    matcher = ExactMatcher()
    matcher.add(people)
    return matcher, len(pictures) - len(people)


def _probe(
    row: Row,
    observation: Observation,
    known: set[str],
    matcher: ExactMatcher,
    thresholds: Thresholds,
    *,
    number: int,
) -> Probe:
    candidates: tuple[Candidate, ...] = ()
    decision: Decision = Refuse(Reason.NO_FACE)
    if observation.embedding is not None:
        candidates = matcher.search(Template(observation.embedding), 2)
        decision = decide(LookOutcome.LIVE, candidates, gallery_size=len(matcher), thresholds=thresholds)
    return Probe(
        row=number,
        identity=row["identity"],
        group=row.get("group", ""),
        mated=row["identity"] in known,
        acquired=observation.embedding is not None,
        best=candidates[0] if candidates else None,
        decision=decision,
        hinted=observation.hint is not None,
    )


def _figures(probes: Sequence[Probe]) -> dict[str, Any]:
    """The figures of one set of probes; a rate without probes to rate is None."""
    mated, others = [p for p in probes if p.mated], [p for p in probes if not p.mated]
    rank1 = sum(p.correct for p in mated)
    misses = sum(not (isinstance(p.decision, Accept) and p.decision.token == p.identity) for p in mated)
    false = sum(isinstance(p.decision, Accept) for p in others)
    wrong = sum(isinstance(p.decision, Accept) and p.decision.token != p.identity for p in probes)
    curve = {
        rate: fnir_at_fpir(
            [p.score for p in mated], [p.correct for p in mated], [p.score for p in others], float(rate)
        )[0]
        for rate in FPIRS
        if mated and others
    }
    return {
        "known": len(mated),
        "unknown": len(others),
        "failed_to_acquire": sum(not p.acquired for p in probes),
        "rank1": _rate(rank1, len(mated)),
        "fnir_at_fpir": curve,
        "fnir": _rate(misses, len(mated)),
        "fpir": _rate(false, len(others)),
        "wrong_accepts": wrong,
        "second_factor": sum(isinstance(p.decision, AskSecondFactor) for p in mated),
        "second_factor_unknown": sum(isinstance(p.decision, AskSecondFactor) for p in others),
        "hinted": sum(p.hinted for p in probes),
        "interval_95": {
            "rank1": wilson(rank1, len(mated)),
            "fnir_at_fpir": {rate: wilson(round(v * len(mated)), len(mated)) for rate, v in curve.items()},
            "fnir": wilson(misses, len(mated)),
            "fpir": wilson(false, len(others)),
        },
    }


def _rate(events: int, n: int) -> float | None:
    return events / n if n else None
