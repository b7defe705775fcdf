"""The figures that the project promises, on the evaluation data: about 25 s on one core."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from kiosk.evaluation import identify, verify
from kiosk.vision.pipeline import Vision

DATA = os.environ.get("KIOSK_EVAL_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="KIOSK_EVAL_DATA is not set: no faces to measure on")


@pytest.fixture(scope="module")
def vision() -> Vision:
    return Vision(liveness=False)


def test_240_enrolled_people_are_told_from_300_strangers(vision):
    figures = identify.evaluate(Path(DATA) / "lfw" / "identify.csv", vision, lambda done, of: None)
    assert (figures["gallery"], figures["unknown"]) == (240, 300)
    assert figures["rank1"] >= 0.99
    assert figures["fnir_at_fpir"]["0.01"] <= 0.015
    assert figures["wrong_accepts"] == 0
    assert figures["fnir"] <= 0.05


def test_pairs_of_pictures_are_told_apart(vision, tmp_path):
    source = Path(DATA) / "lfw" / "verify.csv"
    with source.open(newline="") as stream:
        rows = list(csv.DictReader(stream))[::4]
    with (tmp_path / "verify.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, **{key: source.parent / row[key] for key in ("path1", "path2")}})
    figures = verify.evaluate(tmp_path / "verify.csv", vision, lambda done, of: None)
    assert figures["pairs"] == 300
    assert figures["accuracy"] >= 0.985
