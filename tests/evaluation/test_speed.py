from __future__ import annotations

import numpy as np
import pytest

from kiosk.domain.decision import LookOutcome
from kiosk.evaluation import speed
from kiosk.evaluation.speed import LookTime, look_to_decision, on_canvas, stages, summary
from kiosk.vision.look import LookRules
from kiosk.vision.observation import Observation

from ..vision.scenes import GOOD
from .people import FACE

RULES = LookRules.from_scores(0.7, 0.3, 0.4)


class SteadyClock:
    """A clock that only moves when vision works."""

    def __init__(self) -> None:
        self.now = 0

    def perf_counter_ns(self) -> int:
        return self.now


class SteadyVision:
    """Needs `ms` for each frame, by the clock above; always sees the same living person."""

    def __init__(self, clock: SteadyClock, ms: float, face: bool = True) -> None:
        self.clock, self.ms, self.face, self.sequences = clock, ms, face, []

    def observe(self, frame, *, alone: bool = True) -> Observation:
        self.clock.now += round(self.ms * 1e6)
        self.sequences.append(frame.sequence)
        vector = np.eye(192, dtype=np.float32)[0]
        faces = (FACE,) if self.face else ()
        return Observation(
            frame.sequence,
            frame.timestamp_ns,
            frame.width,
            frame.height,
            faces,
            None,
            quality=GOOD,
            embedding=vector if self.face else None,
            liveness_logit=3.0,
            timings_ms={"detect": self.ms},
        )


@pytest.fixture
def clock(monkeypatch) -> SteadyClock:
    steady = SteadyClock()
    monkeypatch.setattr(speed, "time", steady)
    return steady


FRAME = on_canvas(np.zeros((10, 10, 3), np.uint8), 32, 24)


def test_a_quick_vision_waits_for_the_camera(clock):
    took = look_to_decision(SteadyVision(clock, 10), RULES, [FRAME] * 20)
    assert took == LookTime(str(LookOutcome.LIVE), pytest.approx(2 * 1000 / 30 + 10), 3)


def test_a_slow_vision_skips_to_the_newest_frame(clock):
    vision = SteadyVision(clock, 80)
    took = look_to_decision(vision, RULES, [FRAME] * 20)
    assert vision.sequences == [0, 2, 4]
    assert took.ms == pytest.approx(240)
    assert took.frames == 8


def test_frames_that_end_before_a_decision_give_no_time(clock):
    assert look_to_decision(SteadyVision(clock, 10, face=False), RULES, [FRAME] * 5) is None


def test_a_summary_of_nothing_is_empty():
    assert summary([]) == {"n": 0}
    figures = summary([LookTime("live", 70, 3), LookTime("live", 90, 3), LookTime("unsure", 200, 7)])
    assert (figures["median_ms"], figures["median_frames"], figures["n"]) == (90, 3, 3)
    assert figures["outcomes"] == {"live": 2, "unsure": 1}


def test_each_stage_is_timed_and_their_sum(clock):
    figures = stages(SteadyVision(clock, 4), FRAME, 10)
    assert figures == {"detect": {"p50": 4.0, "p95": 4.0}, "total": {"p50": 4.0, "p95": 4.0}}


def test_a_picture_is_put_in_the_middle_and_never_enlarged():
    white = np.full((10, 20, 3), 255, np.uint8)
    rgb = on_canvas(white, 100, 50).rgb()
    ys, xs = np.nonzero(rgb[..., 0] == 255)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (40, 59, 20, 29)
    assert on_canvas(np.full((600, 300, 3), 255, np.uint8), 100, 50).rgb().shape == (50, 100, 3)
