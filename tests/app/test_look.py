"""The camera's worker with real networks and a shipped picture."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

import numpy as np
import pytest

from kiosk.app.camera import Cameras
from kiosk.app.config import Config
from kiosk.app.enrol import capture
from kiosk.app.kernel import LookDone
from kiosk.app.look import CameraLooker, look_at, require_source_for
from kiosk.devices.cameras import open_source
from kiosk.domain.decision import LookOutcome
from kiosk.domain.errors import OperatorError
from kiosk.frames import Frame, FrameSource, PixelFormat, SourceInfo, SourceKind
from kiosk.vision.look import LookResult, LookRules, Motion
from kiosk.vision.observation import Observation
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


class EveryTemplate:
    """The networks, remembering every template that they gave out; `after` is called with each."""

    def __init__(self, vision: Vision) -> None:
        self._vision = vision
        self.given: list[np.ndarray] = []
        self.after = lambda: None

    def observe(self, frame: Frame) -> Observation:
        seen = self._vision.observe(frame)
        if seen.embedding is not None:
            self.given.append(seen.embedding)
            self.after()
        return seen


def test_only_the_look_s_template_outlives_it_and_nothing_outlives_a_cancel(
    vision: Vision, tmp_path: Path
) -> None:
    seeing, rules, stopped = EveryTemplate(vision), LookRules.of(vision.manifest), []
    with Cameras(Config(), tmp_path).opened(str(PICTURE)) as source:
        result = look_at(source, seeing, rules)  # type: ignore[arg-type]
    assert result is not None
    assert result.template is not None
    assert result.template.any()
    seeing.after = lambda: stopped.append(True)
    with Cameras(Config(), tmp_path).opened(str(PICTURE)) as source:
        assert look_at(source, seeing, rules, stopped=lambda: bool(stopped)) is None  # type: ignore[arg-type]
    assert len(seeing.given) == 2
    assert not any(template.any() for template in seeing.given)


class SlowWall(EndlessWall):
    """A wall whose frames come when the test lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.reading, self.go = threading.Event(), threading.Event()

    def read(self, timeout_s: float) -> Frame | None:
        self.reading.set()
        self.go.wait()
        return super().read(timeout_s)


def test_a_look_that_was_cancelled_before_it_began_opens_no_camera(vision: Vision) -> None:
    wall = SlowWall()
    subject = looker(vision, wall)
    subject.start(1, lambda found: None)
    wall.reading.wait()
    subject.start(2, lambda found: None)
    subject.stop()
    wall.go.set()
    subject.close()
    assert (wall.opened, wall.closed) == (1, 1)


@pytest.mark.parametrize("spoiled", ["attack", "too few"])
def test_an_enrolment_that_fails_keeps_no_template(
    vision: Vision, monkeypatch: pytest.MonkeyPatch, spoiled: str
) -> None:
    templates = [np.full(192, 192**-0.5, np.float32) for _ in range(2)]
    looks = [LookResult(LookOutcome.LIVE, 3, 3, Motion.SEEN, template) for template in templates]
    bad = LookResult(LookOutcome.ATTACK if spoiled == "attack" else LookOutcome.NO_FACE, 3, 3, Motion.SEEN)
    script = iter([*looks, bad])
    monkeypatch.setattr("kiosk.app.enrol.look_at", lambda *args, **kwargs: next(script))
    found = capture(EndlessWall(), vision, LookRules.of(vision.manifest))
    assert found.reference is None
    assert not any(template.any() for template in templates)


def test_after_a_look_the_networks_hold_no_picture_and_no_template(vision: Vision) -> None:
    done: queue.SimpleQueue[LookDone] = queue.SimpleQueue()
    subject = looker(vision, str(PICTURE))
    subject.start(1, done.put)
    found = done.get(timeout=30)
    subject.close()
    assert found.probe is not None
    assert not vision._detector._input.any()
    for model in vision._models:
        assert not any(model._interpreter.get_tensor(index).any() for index in model._inputs)
    held = vision._embedder._model._interpreter.get_tensor(vision._embedder._model._outputs[0])[0]
    assert float(held @ found.probe) / float(np.linalg.norm(held)) < 0.5
