"""Streams as cameras give them, made here: scattered time stamps, noise, light that changes, lost frames.

The figures are those that drivers let expect, not measured ones: a Raspberry Pi's time stamps come from an
interrupt at the frame's start (microseconds of scatter), a webcam's from the USB packet that began the frame
(a millisecond), and V4L2 cuts both to whole microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kiosk.frames import Frame, PixelFormat, SensorMetadata, SourceInfo, SourceKind, SourceTraits

MS = 1_000_000
S = 1_000_000_000
WIDTH, HEIGHT = 64, 48

Arriving = tuple[Frame, int]
"""A frame, and when it arrived (ns, CLOCK_MONOTONIC)."""

PI = SourceInfo(
    "imx708", SourceKind.LIVE, "pi:x", traits=SourceTraits(sensor_clock=True, frames_per_s=30, metadata=True)
)
WEBCAM = SourceInfo(
    "webcam", SourceKind.LIVE, "v4l2:x", traits=SourceTraits(sensor_clock=True, frames_per_s=30, repeats=1)
)


def picture(rng: np.random.Generator, level: float) -> np.ndarray:
    """A bright and a dark half, and a sensor's noise; uint8[48, 64]."""
    clean = np.full((HEIGHT, WIDTH), float(level))
    clean[:, WIDTH // 2 :] *= 0.5
    return np.clip(clean + rng.normal(0, 2, clean.shape), 0, 255).astype(np.uint8)


def pi(count: int, seed: int = 0, first_ns: int = 1000 * S) -> Iterator[Arriving]:
    """A Raspberry Pi's camera whose light changes every few seconds and whose exposure follows."""
    rng = np.random.default_rng(seed)
    period = 33_333_333 * (1 + rng.uniform(-50e-6, 50e-6))  # a crystal's tolerance
    light, exposure, at = 1.0, 9000.0, float(first_ns)
    for number in range(count):
        if rng.random() < 0.01:
            light = rng.uniform(0.3, 3.0)
        level = min(250.0, 110 * light * exposure / 9000)
        exposure = float(np.clip(exposure * (110 / level) ** 0.2, 100, 33_300))
        stamp = int(at + abs(rng.normal(0, 4000))) // 1000 * 1000
        said = SensorMetadata(
            exposure_us=round(exposure),
            frame_duration_us=33_333,
            analogue_gain=2.0,
            lux=250 * light,
            focus_measure=float(rng.integers(900, 1100)),
            auto_exposure=True,
        )
        chroma = np.full((HEIGHT // 2, WIDTH // 2, 2), 128, np.uint8)
        planes = (picture(rng, level), chroma)
        frame = Frame(planes, PixelFormat.NV12, WIDTH, HEIGHT, stamp, number, PI.camera_id, said)
        yield frame, stamp + int(rng.uniform(40, 120) * MS)
        at += period * (1 if rng.random() > 0.01 else rng.integers(2, 6))  # now and then the reader is late


def webcam(count: int, seed: int = 0, first_ns: int = 1000 * S) -> Iterator[Arriving]:
    """A USB camera: in the dark it gives every picture twice; after a pause, two old frames come first."""
    rng = np.random.default_rng(seed)
    period, at, dark, before, late = 33_350_000, float(first_ns), False, None, 0
    for number in range(count):
        if rng.random() < 0.005:
            dark = not dark
        if rng.random() < 0.002:
            late = 2
        if not dark or before is None or number % 2:
            luma = picture(rng, 30 if dark else 110)
            before = np.dstack((luma, luma, luma))
        stamp = int(at + np.clip(rng.normal(0, 1.2 * MS), -4 * MS, 4 * MS)) // 1000 * 1000
        frame = Frame((before,), PixelFormat.BGR888, WIDTH, HEIGHT, stamp, number, WEBCAM.camera_id)
        yield frame, stamp + int((rng.uniform(50, 150) + 700 * (late > 0)) * MS)
        late = max(0, late - 1)
        at += period
