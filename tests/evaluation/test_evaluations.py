from __future__ import annotations

import msgspec
import pytest

from kiosk.domain.errors import OperatorError
from kiosk.evaluation import identify, pad, verify
from kiosk.vision.models import Manifest, Threshold

from .people import ColourVision, paint, paint_nothing


def quiet(done: int, of: int) -> None:
    assert 0 < done <= of


def table(folder, header: str, *rows: str):
    path = folder / "table.csv"
    path.write_text("\n".join((header, *rows)) + "\n", "utf-8")
    return path


@pytest.fixture
def gallery(tmp_path):
    """Anna is 1, Bert is 2; each enrolled from one picture."""
    return [f"{paint(tmp_path, 'a.png', 1)},anna,enrol", f"{paint(tmp_path, 'b.png', 2)},bert,enrol"]


HEADER = "path,identity,role"


def test_identification_counts_each_kind_of_decision_once(tmp_path, gallery):
    rows = [
        f"{paint(tmp_path, 'p1.png', 1, 0.9)},anna,probe",  # accepted
        f"{paint(tmp_path, 'p2.png', 1, 0.55)},anna,probe",  # between the thresholds: asked for digits
        f"{paint(tmp_path, 'p3.png', 1, 0.2)},anna,probe",  # below both
        f"{paint(tmp_path, 'p4.png', 1, 0.8)},bert,probe",  # taken for Anna: a wrong accept and a miss
        f"{paint_nothing(tmp_path, 'p5.png')},bert,probe",  # failed to acquire: a miss
        f"{paint(tmp_path, 's1.png', 7)},carl,probe",  # a stranger, refused
        f"{paint(tmp_path, 's2.png', 2, 0.7)},dora,probe",  # a stranger who is accepted
        f"{paint(tmp_path, 's3.png', 2, 0.55)},emil,probe",  # a stranger who is asked for digits
        f"{paint_nothing(tmp_path, 's4.png')},fritz,probe",
    ]
    figures = identify.evaluate(table(tmp_path, HEADER, *gallery, *rows), ColourVision(), quiet)
    assert (figures["gallery"], figures["known"], figures["unknown"]) == (2, 5, 4)
    assert figures["failed_to_acquire"] == 2
    assert figures["rank1"] == pytest.approx(3 / 5)
    assert figures["fnir"] == pytest.approx(4 / 5)
    assert figures["fpir"] == pytest.approx(1 / 4)
    assert figures["wrong_accepts"] == 2
    assert (figures["second_factor"], figures["second_factor_unknown"]) == (1, 1)
    assert figures["threshold"] == 0.6
    assert list(figures["fnir_at_fpir"]) == ["0.1", "0.02", "0.01"]
    assert figures["fnir_at_fpir"]["0.01"] == pytest.approx(4 / 5)  # above .7 only p1 is right
    assert set(figures["ms_per_image"]) == {"p50", "p95"}
    assert figures["interval_95"]["rank1"][0] < 3 / 5 < figures["interval_95"]["rank1"][1]


def test_where_the_face_alone_is_never_enough_there_is_no_threshold_and_everybody_is_asked(tmp_path, gallery):
    vision = ColourVision()
    embedding, liveness = vision.manifest.models
    promise = {**embedding.thresholds, "promised_fpir": Threshold(1e-6, "a test")}
    vision.manifest = Manifest(1, (msgspec.structs.replace(embedding, thresholds=promise), liveness))
    rows = [f"{paint(tmp_path, 'p.png', 1)},anna,probe", f"{paint(tmp_path, 's.png', 7)},carl,probe"]
    figures = identify.evaluate(table(tmp_path, HEADER, *gallery, *rows), vision, quiet)
    assert (figures["threshold"], figures["second_factor"], figures["fnir"]) == (None, 1, 1.0)


def test_the_pictures_of_one_person_become_one_reference(tmp_path):
    rows = [
        f"{paint(tmp_path, 'a1.png', 1, 0.8)},anna,enrol",
        f"{paint(tmp_path, 'a2.png', 1, 0.6)},anna,enrol",
        f"{paint_nothing(tmp_path, 'a3.png')},anna,enrol",
        f"{paint_nothing(tmp_path, 'b1.png')},bert,enrol",
        f"{paint(tmp_path, 'p.png', 1, 0.7)},anna,probe",
        f"{paint(tmp_path, 'q.png', 2)},bert,probe",
        f"{paint(tmp_path, 's.png', 7)},carl,probe",
    ]
    figures = identify.evaluate(table(tmp_path, HEADER, *rows), ColourVision(), quiet)
    assert (figures["gallery"], figures["failed_to_enrol"], figures["failed_to_acquire"]) == (1, 1, 2)
    assert (figures["known"], figures["rank1"], figures["fnir"]) == (2, 0.5, 0.5)  # Bert is missed


def test_groups_are_reported_apart(tmp_path, gallery):
    rows = [
        f"{gallery[0]},",
        f"{gallery[1]},",
        f"{paint(tmp_path, 'p1.png', 1, 0.9)},anna,probe,young",
        f"{paint(tmp_path, 'p2.png', 2, 0.2)},bert,probe,old",
        f"{paint(tmp_path, 's1.png', 7)},carl,probe,old",
    ]
    figures = identify.evaluate(table(tmp_path, HEADER + ",group", *rows), ColourVision(), quiet)
    assert figures["groups"]["young"]["fnir"] == 0.0
    assert figures["groups"]["young"]["fpir"] is None  # no stranger in it
    assert (figures["groups"]["old"]["fnir"], figures["groups"]["old"]["fpir"]) == (1.0, 0.0)


def test_identification_needs_known_and_unknown_people(tmp_path, gallery):
    rows = [*gallery, f"{paint(tmp_path, 'p.png', 1)},anna,probe"]
    with pytest.raises(OperatorError, match="enrolled people and of others"):
        identify.evaluate(table(tmp_path, HEADER, *rows), ColourVision(), quiet)


def test_identification_where_nobody_could_be_enrolled_says_so(tmp_path):
    rows = [f"{paint_nothing(tmp_path, 'a.png')},anna,enrol", f"{paint(tmp_path, 'p.png', 1)},bert,probe"]
    with pytest.raises(OperatorError, match="nobody could be enrolled"):
        identify.evaluate(table(tmp_path, HEADER, *rows), ColourVision(), quiet)


PAIRS = "fold,same,path1,path2"


@pytest.fixture
def pairs(tmp_path):
    """Rows without the fold: two mates, one hard mate, two strangers, a stranger without a face."""
    names = {
        "one": paint(tmp_path, "1.png", 1),
        "one_too": paint(tmp_path, "1b.png", 1, 0.9),
        "one_hard": paint(tmp_path, "1c.png", 1, 0.3),
        "two": paint(tmp_path, "2.png", 2),
        "none": paint_nothing(tmp_path, "0.png"),
    }
    return [
        f"1,{names['one']},{names['one_too']}",
        f"1,{names['one']},{names['one_hard']}",
        f"0,{names['one']},{names['two']}",
        f"0,{names['one_too']},{names['two']}",
        f"0,{names['two']},{names['none']}",
    ]


def test_one_fold_is_judged_at_the_shipped_threshold_and_a_failed_pair_is_an_error(tmp_path, pairs):
    figures = verify.evaluate(table(tmp_path, PAIRS, *(f"1,{p}" for p in pairs)), ColourVision(), quiet)
    assert (figures["pairs"], figures["failed_to_acquire"], figures["threshold"]) == (5, 1, 0.4)
    assert figures["accuracy"] == pytest.approx(3 / 5)  # the hard mate and the failed pair are wrong
    assert figures["accuracy_std"] == 0.0


def test_with_folds_each_threshold_comes_from_the_others(tmp_path, pairs):
    rows = [f"{fold},{pair}" for fold in (1, 2) for pair in pairs[:4]]
    figures = verify.evaluate(table(tmp_path, PAIRS, *rows), ColourVision(), quiet)
    assert (figures["accuracy"], figures["folds"], figures["threshold"]) == (1.0, 2, None)


def test_verification_needs_both_kinds_of_pairs(tmp_path, pairs):
    with pytest.raises(OperatorError, match="pairs of one person"):
        verify.evaluate(table(tmp_path, PAIRS, f"1,{pairs[0]}"), ColourVision(), quiet)


PAD = "path,label,subject,dataset,instrument,conditions,video,frame"


def shown(folder, name: str, live: float, label: str, *, dataset: str = "set", subject: str = "s1") -> str:
    return f"{paint(folder, name, 1, live=live)},{label},{subject},{dataset},,,,"


def test_attacks_are_rated_by_species_and_live_faces_at_the_shipped_threshold(tmp_path):
    rows = [
        shown(tmp_path, "l1.png", 0.9, "live"),
        shown(tmp_path, "l2.png", 0.5, "live"),
        shown(tmp_path, "l3.png", 0.95, "live", dataset="other"),
        shown(tmp_path, "p1.png", 0.1, "print"),
        shown(tmp_path, "p2.png", 0.8, "print"),
        shown(tmp_path, "r1.png", 0.05, "replay"),
        shown(tmp_path, "m1.png", 0.1, "mask", dataset="lonely"),
        f"{paint_nothing(tmp_path, 'n.png')},print,s1,set,,,,",
    ]
    figures = pad.evaluate(table(tmp_path, PAD, *rows), ColourVision(), quiet)
    assert figures["threshold"] == 0.7
    assert figures["bpcer"] == pytest.approx(1 / 3)
    assert figures["apcer"] == {"lonely/mask": 0.0, "set/print": 0.5, "set/replay": 0.0}
    assert figures["eer"] == {"set/print": 0.5, "set/replay": 0.0}  # no live face goes with lonely/mask
    assert figures["failed_to_acquire"] == {"live": 0, "mask": 0, "print": 1, "replay": 0}
    assert figures["n"] == {"live": 3, "lonely/mask": 1, "set/print": 2, "set/replay": 1}
    assert figures["unsure"] == 1
    assert figures["bpcer_at_apcer_5"] == pytest.approx(1 / 3)
    assert figures["seen_people"] == 0
    assert "note" not in figures


def test_people_whom_the_network_was_trained_on_are_called_seen(tmp_path):
    rows = [shown(tmp_path, "l.png", 0.9, "live"), shown(tmp_path, "p.png", 0.1, "print", subject="s2")]
    figures = pad.evaluate(table(tmp_path, PAD, *rows), ColourVision(("s2", "s9")), quiet)
    assert figures["seen_people"] == 1
    assert figures["note"].startswith("seen people")


def test_attacks_alone_have_no_live_rates(tmp_path):
    rows = [shown(tmp_path, "p.png", 0.1, "print")]
    figures = pad.evaluate(table(tmp_path, PAD, *rows), ColourVision(), quiet)
    assert (figures["bpcer"], figures["eer"], figures["bpcer_at_apcer_5"]) == (None, {}, None)


def test_pictures_without_any_face_cannot_be_rated(tmp_path):
    rows = [f"{paint_nothing(tmp_path, 'n.png')},live,s1,set,,,,"]
    with pytest.raises(OperatorError, match="no face"):
        pad.evaluate(table(tmp_path, PAD, *rows), ColourVision(), quiet)
