from __future__ import annotations

import cv2
import numpy as np
import pytest
from augment import SIDE, plain, varied

from kiosk.vision.detect import Box
from kiosk.vision.liveness import Liveness
from kiosk.vision.models import Role, load_manifest


@pytest.fixture
def picture() -> np.ndarray:
    rng = np.random.default_rng(4)
    return cv2.resize(rng.integers(0, 255, (9, 9, 3), np.uint8), (260, 220))


BOX = (90.0, 60.0, 170.0, 140.0)


def test_judging_sees_exactly_the_crops_of_the_product(picture):
    """What the manifest says of each input makes the product cut what the trainer cuts."""
    given: list[np.ndarray] = []

    class Recorder:
        def run(self, *views: np.ndarray) -> tuple[np.ndarray, ...]:
            given.extend(np.rint(255 * view[0]).astype(np.uint8) for view in views)
            return (np.zeros((1, 1), np.float32),)

    Liveness(Recorder(), load_manifest().card(Role.LIVENESS)).logit(picture, Box(*BOX))
    assert [view.shape for view in given] == [(SIDE, SIDE, 3)] * 2
    for seen, trained in zip(given, plain(picture, BOX), strict=True):
        assert np.array_equal(seen, trained)


def test_the_same_generator_state_gives_the_same_pixels(picture):
    for seed in range(8):
        one = varied(picture, BOX, np.random.default_rng(seed))
        two = varied(picture, BOX, np.random.default_rng(seed))
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_other_states_give_other_pixels_of_the_right_shape(picture):
    seen = {varied(picture, BOX, np.random.default_rng(seed))[0].tobytes() for seed in range(20)}
    assert len(seen) == 20
    for crop_ in varied(picture, BOX, np.random.default_rng(0)):
        assert crop_.shape == (SIDE, SIDE, 3)
        assert crop_.dtype == np.uint8


def test_a_face_at_the_edge_of_the_picture_can_be_varied(picture):
    for seed in range(30):
        varied(picture, (-12.0, -8.0, 70.0, 74.0), np.random.default_rng(seed))


def test_the_stored_picture_is_left_as_it_was(picture):
    before = picture.copy()
    picture.flags.writeable = False
    for seed in range(10):
        varied(picture, BOX, np.random.default_rng(seed))
    assert np.array_equal(picture, before)
