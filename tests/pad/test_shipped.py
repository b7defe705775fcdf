"""The network that ships, on the pictures that ship: none of them was trained on."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest

from kiosk.assets import assets_dir
from kiosk.sandbox.recapture import as_print, as_screen
from kiosk.vision.detect import Detector
from kiosk.vision.liveness import Liveness
from kiosk.vision.models import Role, load_manifest, load_model

PICTURES = sorted((assets_dir() / "demo").glob("**/*.jpg"))


@pytest.fixture(scope="module")
def judge():
    """What one frame of a face comes to, by the shipped thresholds: live, attack, unsure or no_face."""
    manifest = load_manifest()
    card = manifest.card(Role.LIVENESS)
    detector = Detector(load_model(manifest.card(Role.DETECTOR)))
    liveness = Liveness(load_model(card), card)

    def outcome(rgb: np.ndarray) -> str:
        faces = detector.detect(rgb)
        if not faces:
            return "no_face"
        score = 1 / (1 + np.exp(-liveness.logit(rgb, faces[0].box)))
        if score >= card.threshold("live"):
            return "live"
        return "attack" if score < card.threshold("attack") else "unsure"

    return outcome


def read(path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def test_the_manifest_says_that_the_network_may_not_be_sold():
    card = load_manifest().card(Role.LIVENESS)
    assert card.licence == "research only"
    assert card.commercial == "no"
    assert card.trained_subjects


def test_nobody_in_the_demonstration_was_trained_on():
    from data import DEMONSTRATED

    assert "lfw_Joseph_Biden" in DEMONSTRATED


def test_photographs_of_people_are_live(judge):
    assert len(PICTURES) >= 4
    outcomes = Counter(judge(read(path)) for path in PICTURES)
    assert outcomes["live"] == len(PICTURES)
    assert not outcomes["attack"]


@pytest.mark.parametrize(("made", "passed"), [(as_print, 0.3), (as_screen, 0.1)])
def test_a_recapture_of_them_is_seldom_taken_for_live_and_mostly_called_an_attack(judge, made, passed):
    outcomes = Counter(judge(made(read(path), seed)) for path in PICTURES for seed in range(100, 106))
    total = sum(outcomes.values()) - outcomes["no_face"]
    assert outcomes["live"] <= passed * total
    assert outcomes["attack"] >= 0.5 * total
