"""How long vision takes: each stage of one frame, and from the first frame of a look to its decision.

Computing is timed for real; the camera is simulated. Frames arrive on a fixed clock, and while one is being
looked at newer ones take each other's place, as in `VisionWorker`. So nothing sleeps and nothing is guessed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiosk.devices.camera_file import VideoSource
from kiosk.domain.decision import LookOutcome
from kiosk.frames import Frame, PixelFormat, SourceKind
from kiosk.vision.look import Look, LookRules
from kiosk.vision.pipeline import Vision

__all__ = ["FPS", "LookTime", "look_at_clips", "look_to_decision", "on_canvas", "stages", "summary"]

FPS = 30.0


@dataclass(frozen=True, slots=True)
class LookTime:
    """One simulated look: its outcome, `ms` from the first frame's arrival to the decision, and the number of
    camera frames that arrived until then (the dropped ones included)."""

    outcome: str
    ms: float
    frames: int


def stages(vision: Vision, frame: Frame, runs: int) -> dict[str, dict[str, float]]:
    """p50 and p95 in ms of every stage over `runs` of one frame, and of all together (`total`)."""
    taken: dict[str, list[float]] = {}
    for _ in range(3):  # the first runs allocate
        vision.observe(frame, alone=False)
    for _ in range(runs):
        start = time.perf_counter_ns()
        observation = vision.observe(frame, alone=False)
        total = (time.perf_counter_ns() - start) / 1e6
        for stage, ms in {**observation.timings_ms, "total": total}.items():
            taken.setdefault(stage, []).append(ms)
    return {stage: quantiles(values) for stage, values in taken.items()}


def look_to_decision(
    vision: Vision, rules: LookRules, frames: Sequence[Frame], fps: float = FPS
) -> LookTime | None:
    """One look at frames that arrive `fps` a second; None when they end before it is decided."""
    look, period_ms = Look(rules, SourceKind.RECORDED), 1000.0 / fps
    now_ms, index = 0.0, 0
    while index < len(frames):
        start = time.perf_counter_ns()
        stamped = replace(frames[index], timestamp_ns=round(index * period_ms * 1e6), sequence=index)
        result = look.feed(vision.observe(stamped))
        now_ms = max(now_ms, index * period_ms) + (time.perf_counter_ns() - start) / 1e6
        if result is not None:
            return LookTime(str(result.outcome), now_ms, int(now_ms // period_ms) + 1)
        index = max(index + 1, int(now_ms // period_ms))
    return None


def look_at_clips(folder: Path, vision: Vision, rules: LookRules) -> list[LookTime]:
    """Looks at the videos in `folder`, one from every half second; those without a face are left out."""
    looks = []
    for path in sorted(folder.iterdir()):
        frames = _frames(path)
        for start in range(0, len(frames), round(FPS / 2)):
            looks.append(look_to_decision(vision, rules, frames[start : start + rules.max_frames]))
    return [look for look in looks if look is not None and look.outcome != LookOutcome.NO_FACE]


def _frames(path: Path) -> list[Frame]:
    """The first ten seconds of a video."""
    source, frames = VideoSource(path), list[Frame]()
    source.open()
    while len(frames) < 10 * FPS and (frame := source.read(1.0)) is not None:
        frames.append(frame)
    source.close()
    return frames


def summary(looks: Sequence[LookTime]) -> dict[str, Any]:
    """Median and p95 of several looks; empty figures where there were none."""
    if not looks:
        return {"n": 0}
    ms, frames = [look.ms for look in looks], [look.frames for look in looks]
    return {
        "n": len(looks),
        "median_ms": float(np.median(ms)),
        "p95_ms": float(np.percentile(ms, 95)),
        "median_frames": float(np.median(frames)),
        "p95_frames": float(np.percentile(frames, 95)),
        "outcomes": dict(Counter(look.outcome for look in looks)),
    }


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """p50 and p95."""
    return {"p50": float(np.percentile(values, 50)), "p95": float(np.percentile(values, 95))}


def on_canvas(rgb: NDArray[np.uint8], width: int, height: int) -> Frame:
    """The picture in the middle of a grey camera frame, shrunk where it is larger."""
    import cv2

    scale = min(width / rgb.shape[1], height / rgb.shape[0], 1.0)
    across, down = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
    small = cv2.resize(rgb, (across, down), interpolation=cv2.INTER_AREA)
    canvas = np.full((height, width, 3), 128, np.uint8)
    x, y = (width - across) // 2, (height - down) // 2
    canvas[y : y + down, x : x + across] = small
    return Frame((canvas,), PixelFormat.RGB888, width, height, 0, 0)
