from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from kiosk.vision.align import align
from kiosk.vision.quality import Hint, Pose, Quality, assess, hint_for, pose_of

GOOD = Quality(face_px=200, eyes_px=80, fill=0.4, sharpness=14, brightness=115, burnt=0.0, presence=1.0)
AHEAD = Pose(0, 0, 0)


def test_a_good_face_needs_no_hint():
    assert hint_for(GOOD, AHEAD) is None


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"face_px": 30}, Hint.CLOSER),
        ({"fill": 1.6}, Hint.FURTHER),
        ({"presence": 0.2}, Hint.UNCOVER_FACE),
        ({"brightness": 20}, Hint.MORE_LIGHT),
        ({"brightness": 240}, Hint.LESS_LIGHT),
        ({"burnt": 0.5}, Hint.LESS_LIGHT),
        ({"sharpness": 2}, Hint.HOLD_STILL),
    ],
)
def test_each_fault_has_its_hint(change, hint):
    assert hint_for(replace(GOOD, **change), AHEAD) is hint


@pytest.mark.parametrize("pose", [Pose(50, 0, 0), Pose(-50, 0, 0), Pose(0, 40, 0), Pose(0, 0, -60)])
def test_who_looks_elsewhere_is_asked_to_look_here(pose):
    assert hint_for(GOOD, pose) is Hint.LOOK_HERE


def test_of_several_faults_the_one_to_mend_first_is_named():
    assert hint_for(replace(GOOD, face_px=30, sharpness=1, brightness=10), AHEAD) is Hint.CLOSER


def test_blur_darkness_and_glare_show_in_the_measures(detector, landmarker, portrait):
    face = detector.detect(portrait)[0]
    marks = landmarker.find(portrait, face)
    aligned = align(portrait, marks.five)

    def measured(picture: np.ndarray) -> Quality:
        return assess(picture, face, marks, 512)

    plain = measured(aligned)
    assert hint_for(plain, pose_of(marks)) is None
    assert plain.fill == pytest.approx(face.box.width / 512)
    blurred = measured(cv2.GaussianBlur(aligned, (0, 0), 4))
    assert hint_for(blurred, AHEAD) is Hint.HOLD_STILL
    assert blurred.score < plain.score
    assert hint_for(measured((aligned * 0.1).astype(np.uint8)), AHEAD) is Hint.MORE_LIGHT
    glare = np.minimum(aligned.astype(int) + 150, 255).astype(np.uint8)
    assert hint_for(measured(glare), AHEAD) is Hint.LESS_LIGHT


def test_a_mirrored_head_is_turned_the_other_way(detector, landmarker, portrait):
    mirrored = np.ascontiguousarray(portrait[:, ::-1])
    one, other = (
        pose_of(landmarker.find(picture, detector.detect(picture)[0])) for picture in (portrait, mirrored)
    )
    assert one.yaw == pytest.approx(-other.yaw, abs=4)
    assert one.roll == pytest.approx(-other.roll, abs=3)
    assert one.pitch == pytest.approx(other.pitch, abs=4)
