from __future__ import annotations

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from kiosk.cli import bench, look
from kiosk.cli import eval as evaluate
from kiosk.domain.decision import LookOutcome
from kiosk.domain.errors import OperatorError
from kiosk.vision import pipeline
from kiosk.vision.look import LookResult, Motion
from kiosk.vision.quality import Hint, Pose

from ..vision.scenes import GOOD
from .people import ColourVision, paint


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "Vision", ColourVision)
    rows = [
        f"{paint(tmp_path, 'a.png', 1)},anna,enrol",
        f"{paint(tmp_path, 'p.png', 1, 0.9)},anna,probe",
        f"{paint(tmp_path, 's.png', 7)},carl,probe",
    ]
    path = tmp_path / "m.csv"
    path.write_text("path,identity,role\n" + "\n".join(rows) + "\n", "utf-8")
    return path


def test_json_is_one_object_and_nothing_else(table):
    result = CliRunner().invoke(evaluate.app, ["identify", "--manifest", str(table), "--json"])
    assert result.exit_code == 0
    figures = json.loads(result.stdout)
    assert (figures["rank1"], figures["wrong_accepts"]) == (1.0, 0)
    assert {"gallery", "known", "unknown", "failed_to_acquire", "fnir_at_fpir", "threshold", "fnir", "fpir",
            "second_factor", "ms_per_image"} <= set(figures)  # fmt: skip


def test_a_person_reads_a_table_with_intervals(table):
    result = CliRunner().invoke(evaluate.app, ["identify", "--manifest", str(table)])
    assert "fnir_at_fpir 0.01" in result.stdout
    assert "0.2065 .. 1.0000" in result.stdout  # rank-1, one of one


def test_a_missing_table_is_the_operators_to_mend(monkeypatch, tmp_path):
    monkeypatch.setattr(pipeline, "Vision", ColourVision)
    for command in ("identify", "verify", "pad"):
        result = CliRunner().invoke(evaluate.app, [command, "--manifest", str(tmp_path / "no.csv")])
        assert isinstance(result.exception, OperatorError)
        assert "no.csv" in str(result.exception)


def looked(outcome: LookOutcome, **more) -> LookResult:
    return LookResult(outcome, frames_seen=1, frames_used=1, motion=Motion.UNAVAILABLE, **more)


def test_a_look_is_told_with_quality_pose_and_timings_and_without_the_template():
    quality, pose = GOOD, Pose(1, 2, 3)
    seen = look.described(
        looked(
            LookOutcome.LIVE,
            liveness=0.9,
            quality=quality,
            pose=pose,
            template=np.ones(192, np.float32),
            timings_ms={"detect": 1.23456},
        ),
        "still",
    )
    assert json.loads(json.dumps(seen)) == seen
    assert (seen["liveness"], seen["score"], seen["motion"]) == ("live", 0.9, "unavailable")
    assert seen["pose"] == {"yaw": 1, "pitch": 2, "roll": 3}
    assert seen["quality"]["face_px"] == 200
    assert seen["timings_ms"] == {"detect": 1.235}
    assert "template" not in seen


@pytest.mark.parametrize("outcome", list(LookOutcome))
def test_liveness_is_one_of_four_words(outcome):
    seen = look.described(looked(outcome, hint=Hint.ONE_PERSON), "live")
    assert seen["liveness"] in ("live", "attack", "unsure", "no_face")
    assert seen["two_faces"] == (outcome is LookOutcome.TWO_FACES)


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.setattr(
        bench,
        "SECTIONS",
        {"vision": lambda o: {"runs": o.runs}, "search": lambda o: {"sizes": list(o.sizes)}},
    )
    app = typer.Typer()
    app.command()(bench.bench)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_a_section_alone_gives_its_own_figures(benchmark):
    figures = json.loads(benchmark("--only", "search", "--sizes", "10,200", "--json").stdout)
    assert figures["sizes"] == [10, 200]
    assert figures["machine"]["cores"] >= 1


def test_all_sections_stand_beside_each_other(benchmark):
    figures = json.loads(benchmark("--runs", "3", "--json").stdout)
    assert figures["vision"] == {"runs": 3}
    assert figures["search"] == {"sizes": []}
    assert "vision runs" in benchmark("--runs", "3").stdout


@pytest.mark.parametrize("arguments", [("--only", "nothing"), ("--sizes", "ten"), ("--sizes", "0")])
def test_a_section_or_size_that_does_not_exist_is_refused(benchmark, arguments):
    assert isinstance(benchmark(*arguments).exception, OperatorError)
