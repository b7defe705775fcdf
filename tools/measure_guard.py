"""What the guard costs a frame of 1280 x 720, and how often it refuses a camera's frames without a reason.

    python tools/measure_guard.py [--frames 10000] [--streams 20]

False alarms are counted on synthetic streams (tests/devices/streams.py), each of another crystal and light:
their scatter is what drivers let expect. With a camera, `kiosk doctor` runs the same checks on real frames.
The cost is the thread's processor time, so that what else runs here does not count.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kiosk.devices.guard import FrameGuard, GuardError
from kiosk.frames import Frame, PixelFormat, SensorMetadata
from tests.devices import streams

WIDTH, HEIGHT = 1280, 720


def frames(layout: PixelFormat, count: int) -> Iterator[Frame]:
    """Noise at 30 a second, each picture another one."""
    rng = np.random.default_rng(0)
    shape = (HEIGHT, WIDTH) if layout is PixelFormat.NV12 else (HEIGHT, WIDTH, 3)
    chroma = np.zeros((HEIGHT // 2, WIDTH // 2, 2), np.uint8)
    info = streams.PI if layout is PixelFormat.NV12 else streams.WEBCAM
    picture = rng.integers(0, 256, shape, np.uint8)
    for number in range(count):
        picture = np.roll(picture, 1, axis=1)
        planes = (picture, chroma) if layout is PixelFormat.NV12 else (picture,)
        stamp = streams.S + number * 33_333_000 + int(rng.normal(0, 4000))
        said = SensorMetadata(9000 + number, 33_333, 2.0, lux=200.0 + number, auto_exposure=True)
        yield Frame(planes, layout, WIDTH, HEIGHT, stamp, number, info.camera_id, said)


def cost(layout: PixelFormat, count: int = 500) -> str:
    """Time of one `admits`, in ms."""
    info = streams.PI if layout is PixelFormat.NV12 else streams.WEBCAM
    now, taken = [0], []
    guard = FrameGuard(info, clock=lambda: now[0])
    for frame in frames(layout, count):
        now[0] = frame.timestamp_ns + 60 * streams.MS
        start = time.thread_time_ns()
        guard.admits(frame)
        taken.append((time.thread_time_ns() - start) / 1e6)
    p50, p95, p99 = np.percentile(taken, (50, 95, 99))
    return f"{layout}: p50 {p50:.3f}, p95 {p95:.3f}, p99 {p99:.3f} ms a frame ({count} frames)"


def false_alarms(name: str, count: int, seeds: int) -> str:
    """Streams that the guard refused, of streams that a camera of that kind could have given."""
    info, made = {"pi": (streams.PI, streams.pi), "webcam": (streams.WEBCAM, streams.webcam)}[name]
    refused, seen = [], 0
    for seed in range(seeds):
        now = [0]
        guard = FrameGuard(info, clock=lambda now=now: now[0])
        try:
            for frame, now[0] in made(count, seed):
                guard.admits(frame)
                seen += 1
        except GuardError as error:
            refused.append(str(error.check))
    bound = f", at most {3 / seen:.5%} of frames (95 %)" if not refused else ""
    return f"{name}: {len(refused)} refusals in {seen} frames{bound} {' '.join(refused)}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--streams", type=int, default=20)
    asked = parser.parse_args()
    for layout in (PixelFormat.NV12, PixelFormat.BGR888):
        print(cost(layout))
    for name in ("pi", "webcam"):
        print(false_alarms(name, asked.frames, asked.streams))


if __name__ == "__main__":
    main()
