"""Every frame source keeps the port's promises (`kiosk.frames.FrameSource`), and so does one under guard."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from kiosk.devices.camera_v4l2 import V4l2Source
from kiosk.devices.cameras import open_source
from kiosk.devices.guard import Check, Finding, GuardedSource, GuardError
from kiosk.frames import FrameSource, SourceKind

DEVICES = Path(__file__).parent.parent / "devices"


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, DEVICES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pictures = load("pictures")
picamera2 = load("fake_picamera2")
WEBCAM_MS = 1000.0


class Webcam:
    """What OpenCV's capture shows of a V4L2 camera that delivers three frames and is then pulled out."""

    def __init__(self) -> None:
        self.left, self.released = 3, False

    def isOpened(self):
        return True

    def set(self, _setting, _value):
        return True

    def get(self, setting):
        return 30.0 if setting == cv2.CAP_PROP_FPS else WEBCAM_MS + 33.3 * (3 - self.left)

    def retrieve(self):
        self.left -= 1
        return True, np.full((48, 64, 3), 90, np.uint8)

    def release(self):
        self.released = True


def image(tmp_path: Path, _patch) -> FrameSource:
    return open_source(str(pictures.write_image(tmp_path / "one.png")))


def folder(tmp_path: Path, _patch) -> FrameSource:
    for name in ("b.jpg", "a.png", "c.webp"):
        pictures.write_image(tmp_path / name)
    return open_source(str(tmp_path))


def video(tmp_path: Path, _patch) -> FrameSource:
    return open_source(str(pictures.write_video(tmp_path / "clip.mp4")))


def pi(_tmp_path: Path, patch) -> FrameSource:
    patch.setitem(sys.modules, "picamera2", picamera2)
    return open_source("pi")


def v4l2(_tmp_path: Path, patch) -> FrameSource:
    patch.setattr("kiosk.devices.camera_v4l2._check_device", lambda _device: None)
    camera = Webcam()
    return V4l2Source("/dev/video0", connect=lambda _device: camera, wait=lambda c, _ns: c.left > 0)


KINDS = {
    image: SourceKind.STILL,
    folder: SourceKind.STILL,
    video: SourceKind.RECORDED,
    pi: SourceKind.LIVE,
    v4l2: SourceKind.LIVE,
}
Make = Callable[[Path, pytest.MonkeyPatch], FrameSource]
JUST_AFTER_NS = {pi: picamera2.FIRST_NS + 200_000_000, v4l2: round(WEBCAM_MS * 1e6) + 200_000_000}
"""When a guard says that frames arrive: shortly after the cameras here say that they were taken."""


@pytest.fixture(params=KINDS, ids=lambda make: make.__name__)
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


@pytest.fixture(params=[False, True], ids=["bare", "guarded"])
def source(request: pytest.FixtureRequest, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = make(tmp_path, monkeypatch)
    if request.param:
        source = guarded(source, make)
    yield source
    source.close()


def guarded(source: FrameSource, make: Make, pin: str = "") -> GuardedSource:
    return GuardedSource(source, pin=pin, mode="test", clock=lambda: JUST_AFTER_NS.get(make, 0))


def some(source: FrameSource, most: int = 5):
    """Up to `most` frames, each let go before the next is read."""
    for _ in range(most):
        frame = source.read(0.5)
        if frame is None:
            return
        yield frame


def test_it_is_a_frame_source_and_says_what_kind(source, make):
    assert isinstance(source, FrameSource)
    assert source.info.kind is KINDS[make]
    assert source.info.name


def test_before_it_is_opened_there_is_no_frame(source):
    assert source.ended
    assert source.read(0.01) is None


def test_frames_are_rgb_on_request_and_name_their_camera(source):
    source.open()
    frame = source.read(0.5)
    rgb = frame.rgb()
    assert rgb.dtype == np.uint8
    assert rgb.shape == (frame.height, frame.width, 3)
    assert frame.camera_id == source.info.camera_id
    assert frame.camera_id


def test_sequence_and_time_stamps_only_grow(source):
    source.open()
    seen = [(frame.sequence, frame.timestamp_ns) for frame in some(source)]
    assert [sequence for sequence, _ in seen] == list(range(len(seen)))
    assert all(earlier[1] < later[1] for earlier, later in pairwise(seen))


def test_a_frame_stays_as_it_was_while_others_are_read(source):
    source.open()
    first = source.read(0.5)
    before = first.rgb().copy()
    for _ in some(source):
        pass
    assert np.array_equal(first.rgb(), before)


def test_after_closing_it_has_ended_and_closing_again_is_harmless(source):
    source.open()
    source.read(0.5)
    source.close()
    source.close()
    assert source.ended
    assert source.read(0.01) is None


def test_it_can_be_opened_again(source):
    source.open()
    first = source.read(0.5)
    del first
    source.close()
    source.open()
    assert source.read(0.5).sequence == 0


@pytest.mark.parametrize("dry", [image, folder, video], ids=lambda make: make.__name__)
def test_what_is_recorded_runs_dry_and_says_so(dry, tmp_path, monkeypatch):
    source = dry(tmp_path, monkeypatch)
    source.open()
    frames = list(some(source, 100))
    assert len(frames) == {image: 1, folder: 3, video: 12}[dry]
    assert source.ended
    assert source.read(0.01) is None


GIVES = {
    pi: {Check.METADATA, Check.RESPONSE, Check.FRESHNESS, Check.ORDER, Check.CAMERA},
    v4l2: {Check.FRESHNESS, Check.ORDER},
}
"""What a few frames of each camera here can be checked for, beyond their numbers and their shape."""


def test_what_a_source_does_not_give_is_unavailable_and_never_passed(make, tmp_path, monkeypatch):
    source = guarded(make(tmp_path, monkeypatch), make)
    source.open()
    frames = sum(1 for _ in some(source, 3))
    passed = {check for check, found in source.evidence.items() if found is Finding.PASSED}
    source.close()
    assert frames == (1 if make is image else 3)
    assert set(source.evidence) == set(Check)
    if KINDS[make] is SourceKind.LIVE:
        assert passed == GIVES[make] | {Check.SEQUENCE, Check.SHAPE, Check.STALL}
    else:
        assert passed == set()


def test_the_wrong_camera_is_refused_and_its_light_is_off(tmp_path, monkeypatch):
    source = guarded(pi(tmp_path, monkeypatch), pi, pin="pi:sensor=imx219;bus=/base/soc/i2c@1a")
    with pytest.raises(GuardError, match="sensor 'imx708', pinned 'imx219'"):
        source.open()
    assert source.ended
