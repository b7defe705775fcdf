from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.vision.align import TEMPLATE, align, similarity, warp


@given(st.floats(-np.pi, np.pi), st.floats(0.05, 20), st.floats(-500, 500), st.floats(-500, 500))
def test_a_similarity_transform_is_recovered(angle, scale, dx, dy):
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    true = np.array([[cos, -sin, dx], [sin, cos, dy]])
    moved = TEMPLATE @ true[:, :2].T + true[:, 2]
    assert similarity(TEMPLATE, moved.astype(np.float32)) == pytest.approx(
        true, abs=1e-3 * max(scale, 1) + 1e-3
    )


def test_points_that_are_one_have_no_orientation():
    with pytest.raises(ValueError, match="orientation"):
        similarity(np.ones((5, 2), np.float32), TEMPLATE)


def test_a_face_on_the_template_stays_where_it_is():
    picture = np.random.default_rng(1).integers(0, 256, (112, 112, 3), np.uint8)
    assert np.abs(align(picture, TEMPLATE).astype(int) - picture).max() <= 1


def test_shrinking_averages_pixels_and_does_not_skip_them():
    fine = np.zeros((800, 800, 3), np.uint8)
    fine[::2, ::2] = fine[1::2, 1::2] = 255
    small = warp(fine, np.array([[0.125, 0, 0], [0, 0.125, 0]]), 100)
    assert np.abs(small[2:-2, 2:-2].astype(int) - 127).max() <= 2


def test_shrinking_keeps_things_where_they_are():
    ramp = np.repeat(np.linspace(0, 255, 900)[None, :, None], 900, axis=0).repeat(3, axis=2).astype(np.uint8)
    matrix = np.array([[0.2, 0, -20.0], [0, 0.2, -20.0]])
    seen = warp(ramp, matrix, 100)[50, 10:90, 0].astype(float)
    expected = np.interp((np.arange(10, 90) + 20) / 0.2, np.arange(900), np.linspace(0, 255, 900))
    assert np.abs(seen - expected).max() < 2


def test_what_lies_outside_the_frame_is_black():
    white = np.full((50, 50, 3), 255, np.uint8)
    assert warp(white, np.array([[1.0, 0, 200], [0, 1.0, 0]]), 100).max() == 0
    assert warp(np.full((900, 900, 3), 255, np.uint8), np.array([[0.1, 0, 500], [0, 0.1, 0]]), 100).max() == 0
