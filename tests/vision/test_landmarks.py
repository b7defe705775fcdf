from __future__ import annotations

import cv2
import numpy as np
import pytest

from kiosk.vision.quality import pose_of


def test_the_five_points_are_in_their_places(detector, landmarker, portrait):
    face = detector.detect(portrait)[0]
    marks = landmarker.find(portrait, face)
    right, left, nose, mouth_right, mouth_left = marks.five
    assert marks.points.shape == (468, 3)
    assert marks.presence > 0.99
    assert right[0] < nose[0] < left[0]
    assert mouth_right[0] < mouth_left[0]
    assert max(right[1], left[1]) < nose[1] < min(mouth_right[1], mouth_left[1])
    assert np.hypot(*(right - face.points[0])) < 0.08 * face.box.width


@pytest.mark.parametrize("degrees", [-30, 20])
def test_the_points_turn_with_the_head(detector, landmarker, head, degrees):
    face = cv2.resize(head, (480, 480), interpolation=cv2.INTER_AREA)
    turn = cv2.getRotationMatrix2D((240, 240), -degrees, 1.0)
    turned = cv2.warpAffine(face, turn, (480, 480), borderMode=cv2.BORDER_REPLICATE)
    straight = landmarker.find(face, detector.detect(face)[0])
    found = landmarker.find(turned, detector.detect(turned)[0])
    expected = straight.five @ turn[:, :2].T + turn[:, 2]
    assert np.abs(found.five - expected).max() < 6
    assert pose_of(found).roll - pose_of(straight).roll == pytest.approx(degrees, abs=4)


def test_where_there_is_no_face_its_presence_is_low(detector, landmarker, portrait):
    face = detector.detect(portrait)[0]
    blank = np.full_like(portrait, 128)
    assert landmarker.find(blank, face).presence < 0.5
