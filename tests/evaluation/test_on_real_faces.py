"""The figures that the project promises, on the evaluation data: about 30 s on one core."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from kiosk.evaluation import identify, pad, verify
from kiosk.vision.pipeline import Vision

DATA = os.environ.get("KIOSK_EVAL_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="KIOSK_EVAL_DATA is not set: no faces to measure on")


@pytest.fixture(scope="module")
def vision() -> Vision:
    return Vision(liveness=False)


def every(step: int, table: Path, folder: Path, columns: tuple[str, ...]) -> Path:
    """A copy of the table in `folder` with each `step`-th row; its pictures stay where they are."""
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))[::step]
    with (folder / table.name).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, **{name: table.parent / row[name] for name in columns}})
    return folder / table.name


def test_240_enrolled_people_are_told_from_300_strangers(vision):
    figures = identify.evaluate(Path(DATA) / "lfw" / "identify.csv", vision, lambda done, of: None)
    assert (figures["gallery"], figures["unknown"]) == (240, 300)
    assert figures["rank1"] >= 0.99
    assert figures["fnir_at_fpir"]["0.01"] <= 0.015
    assert figures["wrong_accepts"] == 0
    assert figures["fnir"] <= 0.05


def test_pairs_of_pictures_are_told_apart(vision, tmp_path):
    table = every(4, Path(DATA) / "lfw" / "verify.csv", tmp_path, ("path1", "path2"))
    figures = verify.evaluate(table, vision, lambda done, of: None)
    assert figures["pairs"] == 300
    assert figures["accuracy"] >= 0.985


def test_attacks_are_rated_and_people_seen_in_training_are_said_to_be(tmp_path):
    figures = pad.evaluate(
        every(10, Path(DATA) / "pad" / "pad.csv", tmp_path, ("path",)), Vision(), lambda done, of: None
    )
    assert sum(figures["n"].values()) >= 145
    assert {"nuaa/print", "replay_attack/print", "replay_attack/replay"} <= set(figures["apcer"])
    assert figures["seen_people"] > 0
    assert figures["note"].startswith("seen people")
    assert all(0.0 <= rate <= 1.0 for rate in (figures["bpcer"], *figures["eer"].values()))
