from __future__ import annotations

import msgspec
import numpy as np
import pytest

from kiosk.frames import SourceKind
from kiosk.vision.detect import Box
from kiosk.vision.liveness import Liveness, crop, crop_inside, exposure_curve
from kiosk.vision.look import Look, LookRules
from kiosk.vision.models import ModelCard, Role, Source, Tensor
from kiosk.vision.pipeline import Vision

from .scenes import frame_of


class Recorder:
    """Stands in for the network: keeps what it was given and answers `logit`."""

    def __init__(self, logit: float) -> None:
        self.logit, self.seen = logit, ()

    def run(self, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        self.seen = inputs
        return (np.array([[self.logit]], np.float32),)


CARD = ModelCard(
    id="test",
    role=Role.LIVENESS,
    file="none.tflite",
    sha256="",
    bytes=0,
    source=Source("here", "here"),
    build="",
    licence="",
    commercial="no",
    trained_on="",
    input=(Tensor("near", (1, 96, 96, 3), "RGB", 1.4), Tensor("far", (1, 64, 64, 3), "RGB", 2.7)),
    output=(Tensor("logit", (1, 1), ""),),
    thresholds={},
)


def marked(width: int, height: int, x: int, y: int) -> np.ndarray:
    frame = np.zeros((height, width, 3), np.uint8)
    frame[y - 5 : y + 5, x - 5 : x + 5] = 255
    return frame


@pytest.mark.parametrize("scale", [1.4, 2.7])
def test_a_crop_is_centred_on_the_box_and_as_wide_as_asked(scale):
    frame = marked(640, 480, 300, 220)
    view = crop(frame, Box(250, 170, 350, 270), scale, 96)
    assert view.shape == (96, 96, 3)
    ys, xs = np.nonzero(view[..., 0] > 127)
    assert (xs.mean(), ys.mean()) == pytest.approx((47.5, 47.5), abs=1)
    assert np.ptp(xs) + 1 == pytest.approx(10 * 96 / (100 * scale), abs=2)


def test_what_lies_beyond_the_edge_is_mirrored():
    ramp = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 200, axis=0).repeat(3, axis=2)
    view = crop(ramp, Box(-20, 50, 20, 90), 2.0, 80)  # from x = -40 to 40, one pixel a pixel
    assert view[40, 40, 0] == 0
    assert view[40, 30, 0] == view[40, 50, 0] == 10


def test_a_small_face_is_enlarged_and_a_large_one_averaged():
    fine = np.zeros((800, 800, 3), np.uint8)
    fine[::2] = 255
    assert np.abs(crop(fine, Box(200, 200, 600, 600), 1.4, 96)[5:-5].astype(int) - 127).max() < 40
    assert crop(fine, Box(400, 400, 410, 410), 1.4, 96).shape == (96, 96, 3)


def test_a_box_outside_the_frame_is_a_bug():
    with pytest.raises(ValueError, match="outside"):
        crop(np.zeros((100, 100, 3), np.uint8), Box(500, 10, 520, 30), 1.4, 96)


def test_the_network_gets_the_crops_that_the_manifest_asks_for():
    model, frame = Recorder(2.5), np.full((200, 200, 3), 255, np.uint8)
    assert Liveness(model, CARD).logit(frame, Box(80, 80, 120, 120)) == 2.5
    assert [view.shape for view in model.seen] == [(1, 96, 96, 3), (1, 64, 64, 3)]
    assert all(view.dtype == np.float32 and view.max() == 1.0 for view in model.seen)


@pytest.mark.parametrize(("logit", "kept"), [(1e9, 30.0), (-1e9, -30.0)])
def test_a_wild_logit_is_bounded(logit, kept):
    frame = np.zeros((200, 200, 3), np.uint8)
    assert Liveness(Recorder(logit), CARD).logit(frame, Box(80, 80, 120, 120)) == kept


def test_the_shipped_network_scores_a_portrait_and_the_look_knows_its_thresholds(portrait):
    vision = Vision()
    observation = vision.observe(frame_of(portrait))
    assert 0.0 < observation.liveness < 1.0
    result = Look(LookRules.of(vision.manifest), SourceKind.STILL).feed(observation)
    assert result.liveness == pytest.approx(observation.liveness)


@pytest.mark.parametrize("at", [(10, 10), (320, 240), (630, 470)])
def test_a_crop_inside_shows_only_what_the_camera_saw(at):
    frame = np.full((480, 640, 3), 200, np.uint8)
    box = Box(at[0] - 60, at[1] - 60, at[0] + 60, at[1] + 60)
    assert (crop_inside(frame, box, 4.0, 80, 0.15) == 200).all()


def test_a_crop_inside_is_moved_not_mirrored():
    frame = marked(640, 480, 40, 240)
    view = crop_inside(frame, Box(-10, 190, 90, 290), 2.0, 100)
    ys, xs = np.nonzero(view[..., 0] > 127)
    assert (xs.mean(), ys.mean()) == pytest.approx((20, 50), abs=1)


def test_a_crop_larger_than_the_frame_shrinks_to_it():
    frame = np.zeros((100, 100, 3), np.uint8)
    frame[:, :50] = 255
    view = crop_inside(frame, Box(20, 20, 80, 80), 4.0, 80)
    assert (view[:, :39] == 255).all()
    assert (view[:, 41:] == 0).all()


def test_the_raised_top_brings_the_forehead_in():
    frame = marked(640, 480, 320, 100)
    box = Box(270, 110, 370, 210)
    assert crop_inside(frame, box, 1.0, 80)[..., 0].max() < 255
    assert crop_inside(frame, box, 1.0, 80, raised=0.2)[..., 0].max() == 255


def test_a_box_outside_the_frame_is_refused():
    with pytest.raises(ValueError, match="outside"):
        crop_inside(np.zeros((10, 10, 3), np.uint8), Box(20, 20, 30, 30), 1.0, 8)


def test_the_manifest_says_which_way_to_cut():
    recorder = Recorder(1.0)
    tensors = (Tensor("far", (1, 64, 64, 3), "RGB", 4.0, "inside", 0.15),)
    card = msgspec.structs.replace(CARD, input=tensors)
    frame = np.full((100, 100, 3), 255, np.uint8)
    Liveness(recorder, card).logit(frame, Box(0, 0, 60, 60))
    assert (recorder.seen[0] == 1.0).all()


@pytest.mark.parametrize("luma", [30, 60, 118, 190])
def test_the_exposure_curve_brings_the_face_to_the_wanted_luma(luma):
    frame = np.full((200, 200, 3), 255, np.uint8)
    frame[50:150, 50:150] = luma
    curve = exposure_curve(frame, Box(50, 50, 150, 150), 118.0)
    assert curve[luma] == pytest.approx(118, abs=2)
    assert (curve[0], curve[255]) == (0, 255)
    assert (np.diff(curve.astype(int)) >= 0).all()


def test_the_exposure_curve_has_bounds():
    black = np.zeros((100, 100, 3), np.uint8)
    assert exposure_curve(black, Box(0, 0, 100, 100), 118.0)[128] < 255


def test_exposure_is_set_only_where_the_manifest_asks_for_it():
    recorder = Recorder(1.0)
    frame = np.full((100, 100, 3), 60, np.uint8)
    for wanted, seen in ((0.0, 60), (118.0, 118)):
        tensors = (Tensor("face", (1, 64, 64, 3), "RGB", 2.7, "inside", 0.15, wanted),)
        Liveness(recorder, msgspec.structs.replace(CARD, input=tensors)).logit(frame, Box(20, 20, 80, 80))
        assert 255 * recorder.seen[0].mean() == pytest.approx(seen, abs=2)


def test_a_large_face_is_averaged_before_it_is_sampled():
    """Of stripes one pixel wide a large picture shows the mean, not a pattern of its own."""
    stripes = np.zeros((800, 800, 3), np.uint8)
    stripes[:, ::2] = 255
    view = crop_inside(stripes, Box(100, 100, 700, 700), 1.2, 80)
    assert np.ptp(view) < 60
