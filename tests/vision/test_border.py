from __future__ import annotations

import cv2
import numpy as np
import pytest

from kiosk.sandbox.recapture import as_screen
from kiosk.vision.border import Border, border_of
from kiosk.vision.detect import Box

FACE = Box(280, 180, 400, 300)


def room(contrast: int = 0) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.full((480, 640, 3), 120, np.uint8) + rng.integers(0, 4 + contrast, (480, 640, 3), np.uint8)


def with_sheet(left: int, top: int, right: int, bottom: int, tilt: float = 0.0) -> np.ndarray:
    scene, sheet = room(), np.zeros((480, 640), np.uint8)
    sheet[top:bottom, left:right] = 255
    turn = cv2.getRotationMatrix2D((340.0, 240.0), tilt, 1.0)
    scene[cv2.warpAffine(sheet, turn, (640, 480)) > 0] = 210
    return scene


@pytest.mark.parametrize("tilt", [0.0, 4.0, -9.0])
def test_the_four_edges_of_a_sheet_are_found_where_they_are(tilt):
    border = border_of(with_sheet(210, 110, 480, 400, tilt), FACE)
    assert border.found == 4
    assert border.sides == pytest.approx((130 / 120, 130 / 120, 140 / 120, 160 / 120), abs=0.13)


def test_an_edge_beyond_the_frame_is_not_there():
    border = border_of(with_sheet(210, 110, 640, 400), FACE)
    assert (border.right, border.found) == (None, 3)


@pytest.mark.parametrize("contrast", [0, 60])
def test_a_wall_has_no_edges_noisy_or_not(contrast):
    assert border_of(room(contrast), FACE) == Border(None, None, None, None)


def test_a_short_edge_is_none():
    scene = room()
    scene[200:260, 200:220] = 240
    assert border_of(scene, FACE).found == 0


def test_a_simulated_phone_shows_its_edges_where_they_are_in_view(portrait, detector):
    def found(rgb: np.ndarray) -> int:
        faces = detector.detect(rgb)
        return border_of(rgb, faces[0].box).found if faces else 0

    assert found(portrait) < 3
    assert max(found(as_screen(portrait, seed)) for seed in range(8)) >= 3


@pytest.mark.parametrize("box", [Box(-60, -60, 20, 20), Box(600, 440, 700, 540), Box(700, 500, 800, 600)])
def test_a_face_at_the_frames_edge_is_no_trouble(box):
    assert border_of(room(), box).found == 0
