from __future__ import annotations

import cv2
import numpy as np
import pytest

from kiosk.vision.align import align
from kiosk.vision.embed import EMBEDDING_SIZE, combine


@pytest.fixture(scope="module")
def aligned(detector, landmarker, portrait):
    return align(portrait, landmarker.find(portrait, detector.detect(portrait)[0]).five)


def test_an_embedding_has_length_one(embedder, aligned):
    vector = embedder.embed(aligned).vector
    assert vector.shape == (EMBEDDING_SIZE,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_a_face_and_its_mirror_image_are_one_person(embedder, aligned):
    mirrored = np.ascontiguousarray(aligned[:, ::-1])
    assert embedder.embed(aligned).vector @ embedder.embed(mirrored).vector == pytest.approx(1, abs=1e-4)


def test_a_darker_and_softer_picture_is_still_the_same_person(embedder, aligned):
    darker = (aligned * 0.6).astype(np.uint8)
    assert embedder.embed(aligned).vector @ embedder.embed(darker).vector > 0.8


def test_what_is_hardly_a_face_comes_out_short_and_unlike_its_mirror_image(embedder, aligned):
    plain, blurred = embedder.embed(aligned), embedder.embed(cv2.GaussianBlur(aligned, (0, 0), 6))
    assert blurred.magnitude < 0.8 * plain.magnitude
    assert blurred.symmetry < plain.symmetry <= 1


def test_an_embedding_does_not_show_its_template(embedder, aligned):
    assert "vector" not in repr(embedder.embed(aligned))


def test_a_mean_leans_to_the_heavier_and_has_length_one():
    a, b = np.eye(EMBEDDING_SIZE, dtype=np.float32)[:2]
    assert combine([a, b])[:2] == pytest.approx([2**-0.5, 2**-0.5])
    mean = combine([a, b], [3, 1])
    assert mean[0] > mean[1] > 0
    assert np.linalg.norm(mean) == pytest.approx(1)


@pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0], [1, float("nan")]])
def test_weights_that_make_no_mean_are_refused(weights):
    a, b = np.eye(EMBEDDING_SIZE, dtype=np.float32)[:2]
    with pytest.raises(ValueError, match=r"weight|length"):
        combine([a, b], weights)


def test_no_embedding_and_opposite_embeddings_are_refused():
    a = np.eye(EMBEDDING_SIZE, dtype=np.float32)[0]
    with pytest.raises(ValueError, match="no embedding"):
        combine([])
    with pytest.raises(ValueError, match="length"):
        combine([a, -a])
