from __future__ import annotations

import numpy as np
import pytest

from kiosk.vision.colour import face_colour
from kiosk.vision.detect import Box
from kiosk.vision.landmarks import Landmarks

from .payers import mesh

BOX = Box(240, 150, 400, 330)
FACE = Landmarks(mesh(), 1.0)


def picture(skin, around) -> np.ndarray:
    rgb = np.full((480, 640, 3), around, np.uint8)
    rgb[140:340, 235:405] = skin
    return rgb


def test_skin_and_background_are_measured_apart_and_in_linear_light():
    colour = face_colour(picture((188, 188, 0), (0, 255, 188)), BOX, FACE)
    assert colour.skin == pytest.approx(np.tile([0.503, 0.503, 0.0], (3, 1)), abs=0.002)
    assert colour.background == pytest.approx([0.0, 1.0, 0.503], abs=0.002)
    assert colour.burnt == 0.0


def test_twice_the_light_measures_twice():
    dim, bright = (face_colour(picture(code, code), BOX, FACE) for code in (99, 137))
    assert bright.skin / dim.skin == pytest.approx(2.0, abs=0.02)


def test_each_cheek_is_measured_by_itself():
    rgb = picture((120, 120, 120), 50)
    rgb[:, 320:405] = 240
    _, right, left = face_colour(rgb, BOX, FACE).skin
    assert left.mean() > 3 * right.mean()


def test_burnt_skin_is_told():
    assert face_colour(picture(255, 0), BOX, FACE).burnt == 1.0


def test_a_face_that_fills_the_frame_has_no_background():
    colour = face_colour(picture(120, 50), Box(-100, 100, 740, 400), FACE)
    assert np.isnan(colour.background).all()
    assert colour.skin.shape == (3, 3)


@pytest.mark.parametrize(
    "points",
    [mesh() + np.float32(1e4), mesh() * np.nan, mesh() * 0],
    ids=["beyond the frame", "not a number", "one point"],
)
def test_a_face_that_is_not_in_the_frame_has_no_colour(points):
    assert face_colour(picture(120, 50), BOX, Landmarks(points, 1.0)) is None


def test_a_picture_is_left_as_it_was():
    rgb = picture((120, 90, 80), 50)
    before = rgb.copy()
    face_colour(rgb, BOX, FACE)
    assert np.array_equal(rgb, before)


def test_an_observation_has_the_payers_colour(vision, portrait):
    from .scenes import frame_of

    observation = vision.observe(frame_of(portrait))
    assert observation.colour is not None
    assert "colour" in observation.timings_ms
    skin = observation.colour.skin.mean(axis=0)
    assert skin[0] > skin[1] > skin[2] > 0
