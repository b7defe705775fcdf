"""The camera's worker with real networks and a shipped picture."""

from __future__ import annotations

import queue
from pathlib import Path

import numpy as np
import pytest

from kiosk.app.kernel import LookDone
from kiosk.app.look import CameraLooker, require_source_for
from kiosk.devices.cameras import open_source
from kiosk.domain.decision import LookOutcome
from kiosk.domain.errors import OperatorError
from kiosk.frames import Frame, FrameSource, PixelFormat, SourceInfo, SourceKind
from kiosk.vision.look import LookRules
from kiosk.vision.pipeline import Vision

PICTURE = Path(__file__).resolve().parents[2] / "assets" / "demo" / "probe" / "stranger.jpg"


@pytest.fixture(scope="module")
def vision() -> Vision:
    return Vision()


class EndlessWall:
    """A live camera that looks at a wall, and counts what is done to it."""

    def __init__(self) -> None:
        self.opened = self.closed = self.sequence = 0
        self.info = SourceInfo("wall", SourceKind.LIVE, "wall-1")
        self.ended = False

    def open(self) -> None:
        self.opened += 1

    def read(self, timeout_s: float) -> Frame | None:
        self.sequence += 1
        plane = np.full((240, 320, 3), 127, np.uint8)
        return Frame((plane,), PixelFormat.RGB888, 320, 240, self.sequence * 33_000_000, self.sequence)

    def close(self) -> None:
        self.closed += 1


def looker(vision: Vision, source: FrameSource | str, mode: str = "demo") -> CameraLooker:
    return CameraLooker(
        lambda: open_source(source) if isinstance(source, str) else source,
        vision,
        LookRules.of(vision.manifest),
        mode=mode,
        model_ids=("net-1",),
    )


def test_a_look_at_a_picture_ends_with_a_probe_and_shows_its_frame(vision: Vision) -> None:
    done: queue.SimpleQueue[LookDone] = queue.SimpleQueue()
    shown: list[Frame] = []
    subject = looker(vision, str(PICTURE))
    subject.on_frame = shown.append
    subject.start(7, done.put)
    found = done.get(timeout=30)
    subject.close()
    assert (found.look, found.outcome) == (7, LookOutcome.LIVE)
    assert found.probe is not None
    assert found.probe.shape == (192,)
    assert len(shown) == 1


def test_a_cancelled_look_says_nothing_and_the_camera_is_off(vision: Vision) -> None:
    done: queue.SimpleQueue[LookDone] = queue.SimpleQueue()
    wall = EndlessWall()
    subject = looker(vision, wall)
    subject.start(1, done.put)
    subject.close()
    assert done.empty()
    assert wall.closed >= wall.opened


def test_a_new_look_waits_for_the_camera_of_the_one_before(vision: Vision) -> None:
    done: queue.SimpleQueue[LookDone] = queue.SimpleQueue()
    wall = EndlessWall()
    subject = looker(vision, wall)
    subject.start(1, done.put)
    subject.open_source = lambda: open_source(str(PICTURE))
    subject.start(2, done.put)
    assert done.get(timeout=30).look == 2
    subject.close()
    assert done.empty()


def test_a_camera_that_can_t_be_opened_is_no_face_and_the_reason_is_kept_for_staff(vision: Vision) -> None:
    done: queue.SimpleQueue[LookDone] = queue.SimpleQueue()
    subject = looker(vision, "/dev/video99")
    subject.start(1, done.put)
    assert done.get(timeout=30).outcome is LookOutcome.NO_FACE
    subject.close()
    assert subject.failure is not None
    assert "/dev/video99" in str(subject.failure)


@pytest.mark.parametrize("mode", ["training", "production"])
@pytest.mark.parametrize("kind", [SourceKind.STILL, SourceKind.RECORDED])
def test_only_demo_and_test_take_a_picture_for_a_camera(mode: str, kind: SourceKind) -> None:
    with pytest.raises(OperatorError, match=mode):
        require_source_for(mode, SourceInfo("x", kind, "x"))
    require_source_for("demo", SourceInfo("x", kind, "x"))
    require_source_for(mode, SourceInfo("x", SourceKind.LIVE, "x"))
