from __future__ import annotations

import cv2
import numpy as np
import pytest

from kiosk.vision.detect import Box
from kiosk.vision.quality import LIMITS

from .scenes import placed


@pytest.mark.parametrize(
    ("width", "height", "side"),
    [(250, 250, 250), (320, 240, 200), (640, 480, 300), (1920, 1080, 1000), (1080, 1920, 700)],
)
def test_a_face_is_found_where_it_is_at_every_frame_size(detector, head, width, height, side):
    x, y = (width - side) // 2, (height - side) // 2
    faces = detector.detect(placed(head, (width, height), (x, y), side))
    assert len(faces) == 1
    centre = np.array(faces[0].box.centre)
    assert np.hypot(*(centre - (x + side / 2, y + side / 2))) < 0.05 * side
    assert faces[0].box.width == pytest.approx(side / 3, rel=0.12)  # the picture is three face widths wide


def test_a_small_face_far_off_the_middle_of_a_wide_frame_is_found(detector, head):
    faces = detector.detect(placed(head, (1920, 1080), (1500, 100), 240))
    assert len(faces) == 1
    assert faces[0].box.centre == pytest.approx((1620, 220), abs=15)


@pytest.mark.parametrize("size", [(512, 512), (640, 480), (1280, 720)])
def test_the_smallest_face_that_may_be_compared_is_found(detector, head, size):
    side = round(3 * LIMITS.face_px * 1.05)
    at = (size[0] // 5, size[1] // 6)
    (face,) = detector.detect(placed(head, size, at, side))
    assert face.box.centre == pytest.approx((at[0] + side / 2, at[1] + side / 2), abs=10)


def test_a_face_that_fills_the_frame_is_found(detector, head):
    third = len(head) // 3
    face = np.ascontiguousarray(head[third:-third, third:-third])
    (found,) = detector.detect(cv2.resize(face, (480, 480)))
    assert found.box.width > 300


def test_two_people_are_two_faces_the_larger_first(detector, head):
    frame = placed(head, (1280, 720), (40, 60), 600)
    frame[200:600, 800:1200] = cv2.resize(head, (400, 400))
    faces = detector.detect(frame)
    assert len(faces) == 2
    assert faces[0].box.width > faces[1].box.width
    assert faces[0].box.centre[0] < 640 < faces[1].box.centre[0]


def test_the_points_are_in_their_places(detector, portrait):
    (face,) = detector.detect(portrait)
    right_eye, left_eye, nose, mouth, right_ear, left_ear = face.points
    assert right_ear[0] < right_eye[0] < left_eye[0] < left_ear[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < mouth[1]
    assert 0.5 <= face.score <= 1.0


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (480, 640), (1080, 1920)])
def test_an_empty_scene_of_any_size_holds_no_face(detector, size):
    assert detector.detect(np.full((*size, 3), 127, np.uint8)) == []
    noise = np.random.default_rng(7).integers(0, 256, (*size, 3), np.uint8)
    assert detector.detect(noise) == []


def test_rows_may_be_padded(detector, portrait):
    height, width = portrait.shape[:2]
    wide = np.zeros((height, width + 64, 3), np.uint8)
    wide[:, :width] = portrait
    assert detector.detect(wide[:, :width])[0].box == detector.detect(portrait)[0].box


def test_a_box_knows_its_measures():
    box = Box(10, 20, 40, 80)
    assert (box.width, box.height, box.centre) == (30, 60, (25, 50))
