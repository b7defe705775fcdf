from __future__ import annotations

import math
from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.vision.align import align
from kiosk.vision.quality import (
    ENROLMENT_LIMITS,
    LIMITS,
    Hint,
    Limits,
    Pose,
    Quality,
    SteadyHint,
    assess,
    hint_for,
    pose_of,
)

from .scenes import GOOD, frame_of

AHEAD = Pose(0, 0, 0)
MS = 1_000_000


@pytest.fixture
def measured(detector, landmarker, embedder, portrait):
    """The measures of the portrait's aligned face after `change`."""
    face = detector.detect(portrait)[0]
    marks = landmarker.find(portrait, face)
    aligned = align(portrait, marks.five)

    def measure(change=lambda picture: picture, limits: Limits = LIMITS) -> tuple[Quality, Hint | None]:
        picture = np.ascontiguousarray(np.clip(change(aligned.copy()), 0, 255).astype(np.uint8))
        size = (portrait.shape[1], portrait.shape[0])
        pose = pose_of(marks)
        quality = assess(picture, face, marks, size, pose=pose, embedding=embedder.embed(picture))
        return quality, hint_for(quality, pose, limits)

    return measure


def test_a_good_face_needs_no_hint():
    assert hint_for(GOOD, AHEAD) is None
    assert hint_for(GOOD, AHEAD, ENROLMENT_LIMITS) is None


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"face_px": 30}, Hint.CLOSER),
        ({"eyes_px": 10}, Hint.CLOSER),
        ({"fill": 1.6}, Hint.FURTHER),
        ({"outside": 0.3}, Hint.MOVE_INTO_VIEW),
        ({"presence": 0.2}, Hint.UNCOVER_FACE),
        ({"mouth_seen": 0.05}, Hint.UNCOVER_FACE),
        ({"eyes_seen": 0.1}, Hint.UNCOVER_EYES),
        ({"eyes_burnt": 0.6}, Hint.UNCOVER_EYES),
        ({"eyes_open": 0.02}, Hint.OPEN_EYES),
        ({"contrast": 10}, Hint.MORE_LIGHT),
        ({"noise": 0.4}, Hint.MORE_LIGHT),
        ({"burnt": 0.7}, Hint.LESS_LIGHT),
        ({"evenness": 0.01}, Hint.EVEN_LIGHT),
        ({"sharpness": 0.05}, Hint.HOLD_STILL),
        ({"smear": 0.2}, Hint.HOLD_STILL),
    ],
)
def test_each_fault_has_its_hint_in_payment_and_enrolment(change, hint):
    assert hint_for(replace(GOOD, **change), AHEAD) is hint
    assert hint_for(replace(GOOD, **change), AHEAD, ENROLMENT_LIMITS) is hint


@pytest.mark.parametrize("pose", [Pose(50, 0, 0), Pose(-50, 0, 0), Pose(0, 40, 0), Pose(0, 0, -60)])
def test_who_looks_elsewhere_is_asked_to_look_here(pose):
    assert hint_for(GOOD, pose) is Hint.LOOK_HERE


@pytest.mark.parametrize("name", [f.name for f in fields(Limits)])
def test_what_was_not_measured_is_not_good(name):
    if hasattr(GOOD, name):
        assert hint_for(replace(GOOD, **{name: math.nan}), AHEAD) is not None
    else:
        assert hint_for(GOOD, replace(AHEAD, **{name: math.nan})) is not None


def test_who_laughs_may_pay_but_closes_the_mouth_for_the_reference():
    laughing = replace(GOOD, mouth_open=0.3)
    assert hint_for(laughing, AHEAD) is None
    assert hint_for(laughing, AHEAD, ENROLMENT_LIMITS) is Hint.CLOSE_MOUTH


def test_enrolment_is_never_laxer_than_payment():
    at_most = {"fill", "outside", "eyes_burnt", "mouth_open", "burnt", "noise", "yaw", "pitch", "roll"}
    for field in fields(Limits):
        use, enrolment = getattr(LIMITS, field.name), getattr(ENROLMENT_LIMITS, field.name)
        assert (enrolment <= use) if field.name in at_most else (enrolment >= use), field.name


def test_of_several_faults_the_one_to_mend_first_is_named():
    assert hint_for(replace(GOOD, face_px=30, sharpness=0, contrast=5), AHEAD) is Hint.CLOSER
    assert hint_for(replace(GOOD, contrast=5, sharpness=0, presence=0), AHEAD) is Hint.MORE_LIGHT


def test_the_skin_is_not_judged_only_the_light(measured):
    """Half of the light, an eighth of it, a black-and-white camera: as long as it shows a face, it is one."""
    for change in (
        lambda picture: picture * 0.5,
        lambda picture: picture * 0.25,
        lambda picture: np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2),
    ):
        quality, hint = measured(change)
        assert hint is None, quality


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda picture: cv2.GaussianBlur(picture, (0, 0), 4), Hint.HOLD_STILL),
        (lambda picture: cv2.blur(picture, (15, 1)), Hint.HOLD_STILL),
        (lambda picture: cv2.blur(picture, (1, 15)), Hint.HOLD_STILL),
        (lambda picture: cv2.filter2D(picture, -1, np.eye(13) / 13), Hint.HOLD_STILL),
        (lambda picture: picture * 0.08, Hint.MORE_LIGHT),
        (lambda picture: picture + np.random.default_rng(1).normal(0, 40, picture.shape), Hint.MORE_LIGHT),
        (lambda picture: picture + 150.0, Hint.LESS_LIGHT),
    ],
    ids=["out of focus", "moved across", "moved down", "moved aslant", "dark", "noisy", "glaring"],
)
def test_what_spoils_a_picture_shows_in_the_measures(measured, change, hint):
    plain, _ = measured()
    spoilt, found = measured(change)
    assert found is hint, spoilt
    assert spoilt.score < plain.score


def covered(picture: np.ndarray, rows: slice, columns: slice, colour: float) -> np.ndarray:
    picture[rows, columns] = colour
    return picture


@pytest.mark.parametrize("colour", [225, 30, (90, 140, 200)], ids=["white", "black", "blue"])
def test_a_plain_mask_over_the_mouth_is_seen(measured, colour):
    quality, hint = measured(lambda picture: covered(picture, slice(68, 112), slice(14, 98), colour))
    assert hint is Hint.UNCOVER_FACE, quality


def test_dark_glasses_are_seen(measured):
    quality, hint = measured(lambda picture: covered(picture, slice(42, 62), slice(20, 92), 12))
    assert hint is Hint.UNCOVER_EYES, quality


def test_deep_set_eyes_in_a_dark_face_are_no_dark_glasses(measured):
    quality, _ = measured(lambda picture: covered(picture * 0.4, slice(42, 62), slice(20, 92), 4))
    assert quality.eyes_seen == 1


def test_glare_on_glasses_is_seen(measured):
    def glare(picture: np.ndarray) -> np.ndarray:
        return covered(picture, slice(44, 60), slice(28, 50), 255)

    quality, hint = measured(glare)
    assert hint is Hint.UNCOVER_EYES, quality


def test_light_from_one_side_only_is_seen(measured):
    shade = np.clip((np.arange(112) - 30) / 50, 0.03, 1.0)[None, :, None]
    quality, hint = measured(lambda picture: picture * shade)
    assert quality.evenness < 0.1
    assert hint is Hint.EVEN_LIGHT


def test_a_face_cut_off_by_the_frame_is_asked_in(vision, portrait):
    box = vision.observe(frame_of(portrait)).faces[0].box
    cut = np.ascontiguousarray(portrait[:, round(box.x0 + 0.3 * box.width) :])
    assert vision.observe(frame_of(cut)).hint is Hint.MOVE_INTO_VIEW


def test_the_same_networks_serve_a_stricter_gate(vision, portrait):
    frame = frame_of(portrait)
    nobody = replace(LIMITS, face_px=10_000.0)
    strict = vision.with_limits(nobody)
    assert strict.observe(frame).hint is Hint.CLOSER
    assert vision.observe(frame).hint is None


def test_scores_are_probabilities_and_weights_leave_nobody_out(measured):
    good, _ = measured()
    bad, _ = measured(lambda picture: cv2.GaussianBlur(picture, (0, 0), 8))
    assert 0 <= bad.score < 0.05 < good.score <= 1
    assert bad.weight == 0.25
    assert good.weight == 1


def test_a_mirrored_head_is_turned_the_other_way(detector, landmarker, portrait):
    mirrored = np.ascontiguousarray(portrait[:, ::-1])
    one, other = (
        pose_of(landmarker.find(picture, detector.detect(picture)[0])) for picture in (portrait, mirrored)
    )
    assert one.yaw == pytest.approx(-other.yaw, abs=4)
    assert one.roll == pytest.approx(-other.roll, abs=3)
    assert one.pitch == pytest.approx(other.pitch, abs=4)


def test_a_hint_is_shown_at_once_and_stays_until_it_was_read():
    steady = SteadyHint()
    assert steady.show(Hint.CLOSER, 0) is Hint.CLOSER
    assert steady.show(Hint.HOLD_STILL, 300 * MS) is Hint.CLOSER
    assert steady.show(Hint.HOLD_STILL, 699 * MS) is Hint.CLOSER
    assert steady.show(Hint.HOLD_STILL, 700 * MS) is Hint.HOLD_STILL
    assert steady.show(Hint.CLOSER, 800 * MS) is Hint.HOLD_STILL


def test_a_good_frame_takes_the_hint_away():
    steady = SteadyHint()
    steady.show(Hint.CLOSER, 0)
    assert steady.show(None, 33 * MS) is None
    assert steady.show(Hint.HOLD_STILL, 66 * MS) is Hint.HOLD_STILL


def test_a_blink_is_no_hint_but_closed_eyes_are_within_200_ms():
    steady = SteadyHint()
    assert [steady.show(Hint.OPEN_EYES, at * 33 * MS) for at in range(4)] == [None] * 4
    assert steady.show(None, 132 * MS) is None
    assert [steady.show(Hint.OPEN_EYES, at * MS) for at in (200, 300, 349, 350)] == [
        *[None] * 3,
        Hint.OPEN_EYES,
    ]


@given(st.lists(st.tuples(st.integers(1, 400), st.sampled_from([None, *Hint])), max_size=60))
def test_no_hint_is_replaced_by_another_before_700_ms(frames):
    steady, now, shown, since = SteadyHint(), 0, None, 0
    for gap, hint in frames:
        now += gap * MS
        found = steady.show(hint, now)
        if found is not shown:
            assert found is None or shown is None or now - since >= 700 * MS
            assert found in (None, hint)
            shown, since = found, now
