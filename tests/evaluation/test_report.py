"""Reports say how they were made, rates with both intervals, and show faces only when asked for."""

from __future__ import annotations

import builtins
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from kiosk.cli import eval as evaluate
from kiosk.domain.errors import OperatorError
from kiosk.evaluation import plots
from kiosk.evaluation.report import FACES_WARNING
from kiosk.vision import pipeline

from .people import ColourVision, paint, paint_nothing


@pytest.fixture(autouse=True)
def _eyes(monkeypatch):
    monkeypatch.setattr(pipeline, "Vision", lambda **_: ColourVision(("s2",)))


@pytest.fixture
def people(tmp_path):
    """Anna is found, Bert is asked for digits or has no face; of two strangers one is accepted."""
    rows = [
        f"{paint(tmp_path, 'a.png', 1)},anna,enrol,",
        f"{paint(tmp_path, 'b.png', 2)},bert,enrol,",
        f"{paint(tmp_path, 'p1.png', 1, 0.9)},anna,probe,old",
        f"{paint(tmp_path, 'p2.png', 2, 0.55)},bert,probe,young",
        f"{paint_nothing(tmp_path, 'p3.png')},bert,probe,young",
        f"{paint(tmp_path, 's1.png', 2, 0.7)},carl,probe,old",
        f"{paint(tmp_path, 's2.png', 7)},dora,probe,young",
    ]
    return write(tmp_path, "path,identity,role,group", rows)


@pytest.fixture
def attacks(tmp_path):
    """Two people live and two species, one of which passes once; one print in which no face is found."""
    rows = [
        f"{paint(tmp_path, f'l{i}.png', 1, live=score)},live,s{i % 2},lab,old"
        for i, score in enumerate((0.9, 0.95, 0.5))
    ]
    rows += [f"{paint(tmp_path, f'p{i}.png', 1, live=v)},print,s2,lab,old" for i, v in enumerate((0.1, 0.8))]
    rows += [
        f"{paint(tmp_path, f'r{i}.png', 1, live=v)},replay,s3,lab,young" for i, v in enumerate((0.1, 0.2))
    ]
    rows += [f"{paint_nothing(tmp_path, 'n.png')},print,s2,lab,old"]
    return write(tmp_path, "path,label,subject,dataset,group", rows)


def write(folder, header, rows):
    path = folder / "m.csv"
    path.write_text("\n".join((header, *rows)) + "\n", "utf-8")
    return path


def report(command, table, *options):
    folder = table.parent / "report"
    result = CliRunner().invoke(
        evaluate.app, [command, "--manifest", str(table), "--report", str(folder), *options]
    )
    assert result.exit_code == 0, result.output
    text = (folder / "report.md").read_text("utf-8")
    for name in {line.split("(")[1].split(")")[0] for line in text.splitlines() if line.startswith("![")}:
        assert cv2.imread(str(folder / name)) is not None, name
    return folder, text, result


def cells(text, start):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_attacks_are_reported_by_species_with_both_intervals(attacks):
    _, text, _ = report("pad", attacks)
    assert cells(text, "APCER | lab/print")[2:6] == ["2", "1", "1", "50.00 %"]
    assert cells(text, "APCER | lab/replay")[2:6] == ["2", "1", "0", "0.00 %"]
    assert cells(text, "BPCER | lab")[2:6] == ["3", "2", "1", "33.33 %"]
    assert "The worst species is lab/print: APCER 50.00 %." in text
    assert cells(text, "print")[1:4] == [
        "2" if False else "3",
        "1",
        "33.33 %",
    ]  # of the presentations, one had no face
    assert "Seen people: the network was trained on 1 of these 4 subjects" in text


def test_a_report_says_what_is_needed_to_do_it_again(attacks):
    folder, text, result = report("pad", attacks)
    assert f"`kiosk eval pad --manifest {attacks} --report {folder}`" in text
    assert "SHA-256" in text
    assert cells(text, "live | 0.7")[2] == "a test"
    assert "report.md" in result.stderr


def test_figures_come_by_group_where_the_table_has_the_column(attacks, people):
    _, text, _ = report("identify", people)
    assert cells(text, "young")[1:4] == ["2", "100.00 %", "34.24 to 100.00 %"]
    assert cells(text, "old")[5] == "100.00 %"


def test_a_table_without_groups_says_that_nothing_can_be_said_by_group(tmp_path):
    rows = [
        f"{paint(tmp_path, 'l.png', 1, live=0.9)},live,s1,lab",
        f"{paint(tmp_path, 'p.png', 1, live=0.1)},print,s1,lab",
    ]
    _, text, _ = report("pad", write(tmp_path, "path,label,subject,dataset", rows))
    assert "nothing can be said by group" in text


def test_identification_counts_misses_second_factors_and_the_wrong_person(people):
    _, text, _ = report("identify", people)
    assert cells(text, "FNIR at the shipped thresholds")[1:5] == ["3", "2", "2", "66.67 %"]
    assert cells(text, "FPIR at the shipped thresholds")[1:5] == ["2", "2", "1", "50.00 %"]
    assert cells(text, "asked for a second factor, enrolled")[3] == "1"
    assert "Wrong person accepted: 1 of 5 probes." in text
    assert "- row 6: score 0.698, accepted" in text  # the stranger who is taken for Bert


def test_verification_has_a_report_too(tmp_path):
    one, other, two = (paint(tmp_path, f"{n}.png", n, c) for n, c in ((1, 1.0), (1, 0.9), (2, 1.0)))
    _, text, _ = report(
        "verify", write(tmp_path, "fold,same,path1,path2", [f"1,1,{one},{one}", f"1,0,{other},{two}"])
    )
    assert "Accuracy" in text


def test_nobody_is_shown_and_no_name_is_told_unless_faces_are_asked_for(people):
    folder, text, _ = report("identify", people)
    assert not (folder / "faces").exists()
    assert not [name for name in ("anna", "bert", "carl", "dora", "p2.png") if name in text]


def test_with_faces_the_worst_cases_are_shown_and_the_folder_is_called_personal_data(people):
    folder, text, result = report("identify", people, "--faces")
    assert "![row 6](faces/row-6.png)" in text
    assert max(cv2.imread(str(folder / "faces" / "row-6.png")).shape[:2]) == 128
    assert FACES_WARNING in text
    assert FACES_WARNING in result.stderr


def test_faces_without_a_report_are_refused(people):
    result = CliRunner().invoke(evaluate.app, ["identify", "--manifest", str(people), "--faces"])
    assert isinstance(result.exception, OperatorError)


def test_without_matplotlib_one_line_says_what_to_install_before_anything_is_measured(people, monkeypatch):
    original = builtins.__import__

    def missing(name, *rest, **more):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.setattr(pipeline, "Vision", lambda **_: pytest.fail("measured first"))
    result = CliRunner().invoke(evaluate.app, ["identify", "--manifest", str(people), "--report", "x"])
    assert isinstance(result.exception, OperatorError)
    assert "facepay-kiosk[report]" in str(result.exception)


def test_a_folder_that_can_not_be_is_refused(people, tmp_path):
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(
        evaluate.app, ["identify", "--manifest", str(people), "--report", str(tmp_path / "file" / "in")]
    )
    assert isinstance(result.exception, OperatorError)


def test_a_trade_off_without_any_error_can_be_drawn(tmp_path):
    curve = plots.Curve("perfect", *(np.array([0.0, 1.0]),) * 2)
    plots.det(tmp_path / "det.png", "title", ("x", "y"), [curve])
    assert cv2.imread(str(tmp_path / "det.png")) is not None


def test_where_the_product_works_is_inside_a_trade_offs_axes(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "_figure", keeping(plots._figure, drawn))
    rates = np.array([0.1, 0.5, 0.95])
    plots.det(
        tmp_path / "det.png", "title", ("x", "y"), [plots.Curve("one", rates, rates[::-1], 1, (0.0, 0.95))]
    )
    (axes,) = drawn[0].axes
    (dot,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert axes.get_ylim()[0] <= dot.get_ydata()[0] <= axes.get_ylim()[1]


def keeping(figure, drawn):
    """plots._figure, and what it made is kept in `drawn`."""

    @contextmanager
    def make(*arguments):
        with figure(*arguments) as made:
            drawn.append(made)
            yield made

    return make
