"""The calibration of a frame's logit and of how alike a look's frames are."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fusion import BPCER, Seen, Shown, fit, intraclass, listed, platt, write

from kiosk.assets import assets_dir
from kiosk.vision.look import EVIDENCE, LookRules
from kiosk.vision.models import Role, load_manifest
from kiosk.vision.observation import Observation


def cells(mean: float, spread: float, n: int = 4000) -> dict[tuple[str, str], np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        ("nuaa", "live"): rng.normal(mean, spread, n),
        ("nuaa", "print"): rng.normal(-mean, spread, n),
        ("replay_attack", "replay"): rng.normal(-mean, spread, n // 10),
    }


def test_two_normals_get_back_their_likelihood_ratio():
    scale, offset = platt(cells(1.0, 0.8))
    assert scale == pytest.approx(2 / 0.8**2, rel=0.1)
    assert offset == pytest.approx(0, abs=0.15)


def test_a_set_with_more_pictures_weighs_no_more():
    once = cells(1.0, 0.8)
    thrice = {key: np.tile(values, 3 if key[1] == "print" else 1) for key, values in once.items()}
    assert platt(thrice) == pytest.approx(platt(once))


def test_frames_that_differ_only_between_videos_are_one_frame():
    assert intraclass([[1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0]]) == pytest.approx(1.0)
    rng = np.random.default_rng(2)
    assert intraclass([rng.normal(size=8).tolist() for _ in range(400)]) == pytest.approx(0.0, abs=0.05)
    mixed = [(value + rng.normal(size=8)).tolist() for value in rng.normal(size=400)]
    assert intraclass(mixed) == pytest.approx(0.5, abs=0.06)


def shown(dataset: str, label: str, video: int, number: int, logit: float) -> Seen:
    name = f"{dataset}/{label}/{video}"
    place = Shown(f"{name}/{number}.jpg", dataset, label, f"person {video}", name, "train", number)
    return Seen(place, Observation(number, 0, 320, 240, (), None, liveness_logit=logit))


def videos(overlap: float) -> list[Seen]:
    rng = np.random.default_rng(3)
    return [
        shown(dataset, label, video, number, side * (2 - overlap) + rng.normal(scale=0.5 + overlap))
        for dataset, label, side in (("nuaa", "live", 1), ("nuaa", "print", -1), ("replay_attack", "live", 1))
        for video in range(60)
        for number in range(3)
    ]


def test_bounds_are_walds_where_the_calibration_keeps_its_word_and_wider_where_it_does_not():
    clean, unclear = fit(videos(0.0), 0.4), fit(videos(1.5), 0.4)
    assert (clean.accept_llr, clean.refuse_llr) == (5.25, -2.99)
    living = [
        unclear.evidence([one.observation.liveness_logit])
        for one in videos(1.5)
        if one.shown.label == "live" and one.shown.number == 0
    ]
    assert np.mean(np.array(living) <= unclear.refuse_llr) <= 2 * BPCER
    assert unclear.accept_llr >= clean.accept_llr


def test_the_numbers_go_into_the_manifest_beside_what_is_there(tmp_path):
    (tmp_path / "manifest.json").write_bytes((assets_dir() / "models" / "manifest.json").read_bytes())
    before = load_manifest(tmp_path).card(Role.LIVENESS).thresholds
    write(tmp_path, LookRules(2.0, -0.5, 5.25, -3.0, 0.4), "a test")
    manifest = load_manifest(tmp_path)
    after = manifest.card(Role.LIVENESS).thresholds
    assert {name: after[name].value for name in EVIDENCE} == dict(
        zip(EVIDENCE, (2.0, -0.5, 5.25, -3.0), strict=True)
    )
    assert all(after[name] == before[name] for name in before if name not in EVIDENCE)
    assert LookRules.of(manifest).accept_llr == 5.25
    others = json.loads((tmp_path / "manifest.json").read_text())["models"]
    assert len(others) == len(manifest.models)


def test_a_picture_that_a_table_of_logits_lacks_is_not_passed(tmp_path):
    table = tmp_path / "logits.csv"
    table.write_text("path,logit\nnuaa/live/0/0.jpg,1.5\n")
    judge = listed(table)
    here, gone = (shown("nuaa", "live", 0, n, 0.0).shown for n in (0, 1))
    assert judge(here, None, None) == 1.5
    assert np.isnan(judge(gone, None, None))
