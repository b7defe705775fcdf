from __future__ import annotations

import cv2
import numpy as np
import pytest

from kiosk.sandbox.recapture import LONGEST_SIDE_PX, Instrument, as_print, as_screen, camera, recapture


@pytest.fixture
def picture() -> np.ndarray:
    rng = np.random.default_rng(3)
    return cv2.resize(rng.integers(40, 215, (6, 7, 3), np.uint8), (210, 180))


@pytest.mark.parametrize("made", [as_print, as_screen])
def test_the_same_picture_and_seed_give_the_same_recapture(picture, made):
    assert np.array_equal(made(picture, 5), made(picture, 5))
    assert not np.array_equal(made(picture, 5), made(picture, 6))


@pytest.mark.parametrize("made", [as_print, as_screen])
def test_a_recapture_is_a_picture_of_the_same_size_and_leaves_the_original_alone(picture, made):
    before = picture.copy()
    for seed in range(10):
        again = made(picture, seed)
        assert again.shape == picture.shape
        assert again.dtype == np.uint8
    assert np.array_equal(picture, before)


def test_large_pictures_are_seen_by_a_camera_of_its_own_size():
    large = np.full((900, 1600, 3), 128, np.uint8)
    assert max(as_print(large, 1).shape) == LONGEST_SIDE_PX


@pytest.mark.parametrize("instrument", list(Instrument))
def test_the_homography_says_where_the_picture_went(instrument):
    """A red field in the picture is found where the homography puts it."""
    picture = np.full((240, 240, 3), 120, np.uint8)
    picture[95:145, 95:145] = (230, 20, 20)
    hits = 0
    for seed in range(12):
        made = recapture(picture, instrument, np.random.default_rng(seed))
        x, y, w = made.homography @ np.array([120.0, 120.0, 1.0])
        red, green, blue = (int(v) for v in made.rgb[round(y / w), round(x / w)])
        hits += red > green and red > blue
    assert hits >= 10


def test_a_sheet_that_fills_the_picture_shows_no_background():
    picture = np.full((200, 200, 3), 128, np.uint8)
    black = np.zeros_like(picture)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        made = recapture(picture, Instrument.SCREEN, rng, framed=False, background=black)
        corners = made.rgb[[5, 5, -6, -6], [5, -6, 5, -6]]
        assert corners.max() > 40


def test_a_camera_of_no_strength_hardly_changes_a_picture(picture):
    changes = [
        np.abs(camera(picture, np.random.default_rng(seed), strength=0.0).astype(int) - picture).mean()
        for seed in range(10)
    ]
    assert np.median(changes) < 4
