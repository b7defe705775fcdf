from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest
from data import LIVE, Cache, Row, build, deal, is_known


def row(subject: str, dataset: str = "nuaa", label: str = LIVE, origin: str = "real") -> Row:
    return Row(0, 4, 4, 0, 0, 1, 1, label, subject, dataset, "train", origin, "x.jpg")


def test_everyone_is_in_exactly_one_fold_and_folds_differ_by_one_person_at_most():
    rows = [row(f"nuaa_{n:04}") for n in range(8)] + [row(f"ra_{n}", "replay_attack") for n in range(30)]
    folds = deal(rows * 2, 3)
    assert set(folds) == {one.subject for one in rows}
    for prefix in ("nuaa", "ra"):
        counts = np.bincount([fold for person, fold in folds.items() if person.startswith(prefix)])
        assert len(counts) == 3
        assert counts.max() - counts.min() <= 1


def test_a_persons_fold_does_not_depend_on_the_order_of_the_pictures():
    rows = [row(f"nuaa_{n:04}") for n in range(8)]
    assert deal(rows, 3) == deal(rows[::-1], 3)


def test_simulated_pictures_are_not_reported_on():
    assert is_known(row("a"))
    assert not is_known(row("a", label="print", origin="simulated"))
    assert not is_known(row("a", dataset="lfw"))


@pytest.fixture
def sets(tmp_path):
    """Two people of a known set (one live, one printed) and one of LFW, as the trainer finds them."""
    rng = np.random.default_rng(1)
    pictures = {
        "pad/train/a.jpg": (LIVE, "nuaa_0001"),
        "pad/train/b.jpg": ("print", "nuaa_0002"),
        "lfw/images/Some_Body/Some_Body_0001.jpg": (LIVE, "lfw_Some_Body"),
    }
    for name in pictures:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        smooth = cv2.resize(rng.integers(0, 255, (8, 8, 3), np.uint8), (240, 240))
        cv2.imwrite(str(tmp_path / name), smooth)
    columns = ["path", "label", "subject", "dataset", "instrument", "conditions", "video", "frame"]
    for name, extra in (("train.csv", ["x0", "y0", "x1", "y1"]), ("pad.csv", [])):
        with (tmp_path / "pad" / name).open("w", newline="") as table:
            writer = csv.writer(table)
            writer.writerow(columns + extra)
            if extra:
                for path, (label, subject) in list(pictures.items())[:2]:
                    where = path.removeprefix("pad/")
                    writer.writerow([where, label, subject, "nuaa", "", "", "v", 1, 80, 80, 160, 160])
    return tmp_path


def built(sets, name: str) -> Cache:
    def detect(rgb: np.ndarray) -> list[tuple[float, float, float, float]]:
        height, width = rgb.shape[:2]
        return [(width / 3, height / 3, width * 2 / 3, height * 2 / 3)]

    build(sets, sets / name, detect)
    return Cache.open(sets / name)


def test_the_cache_holds_every_picture_with_its_person_and_recaptures_of_the_live_ones(sets):
    cache = built(sets, "cache")
    real = [(one.subject, one.label) for one in cache.rows if one.origin == "real"]
    assert real == [("nuaa_0001", LIVE), ("nuaa_0002", "print"), ("lfw_Some_Body", LIVE)]
    simulated = [one for one in cache.rows if one.origin == "simulated"]
    assert {one.subject for one in simulated} <= {"nuaa_0001", "lfw_Some_Body"}
    assert {one.label for one in simulated} <= {"print", "replay"}
    for one in cache.rows:
        assert cache.picture(one).shape == (one.height, one.width, 3)
        assert 0 < one.x1 - one.x0 <= one.width


def test_building_twice_gives_the_same_bytes(sets):
    first, second = built(sets, "one"), built(sets, "two")
    assert first.rows == second.rows
    assert np.array_equal(first.pixels, second.pixels)


def test_a_face_that_is_stored_smaller_keeps_its_place(sets):
    """The box in the stored part shows the same pixels as the box in the picture."""
    cache = built(sets, "cache")
    one = cache.rows[0]
    whole = cv2.cvtColor(cv2.imread(str(sets / "pad/train/a.jpg")), cv2.COLOR_BGR2RGB)
    middle = cache.picture(one)[round((one.y0 + one.y1) / 2), round((one.x0 + one.x1) / 2)]
    assert np.array_equal(middle, whole[120, 120])
