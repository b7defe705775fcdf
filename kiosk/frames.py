"""Frames and where they come from: all that vision, devices and ui share.

A `Frame` is one picture from one sensor, with the sensor's own time stamp. A `FrameSource` hands out
frames until it is closed or runs dry. Nothing here knows what a face, a camera driver or a screen is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CameraIdentity",
    "Frame",
    "FrameSource",
    "PixelFormat",
    "SensorMetadata",
    "SourceInfo",
    "SourceKind",
    "SourceTraits",
]

MAX_SIDE_PX = 8192
"""Longest side that is accepted from outside; larger pictures are refused before they are decoded in full."""


class PixelFormat(StrEnum):
    """How the bytes of a frame's planes are laid out."""

    RGB888 = "RGB888"
    """One plane, uint8[h, w, 3], red first."""
    BGR888 = "BGR888"
    """One plane, uint8[h, w, 3], blue first (OpenCV's order)."""
    NV12 = "NV12"
    """Two planes: luma uint8[h, w], and interleaved chroma uint8[h // 2, w // 2, 2] (U, V)."""


class SourceKind(StrEnum):
    """What stands behind a source. Only `LIVE` may be used in production."""

    LIVE = "live"
    """A sensor that is looking at the world now."""
    STILL = "still"
    """One picture, or a folder of pictures."""
    RECORDED = "recorded"
    """A video file."""


@dataclass(frozen=True, slots=True)
class CameraIdentity:
    """Who a camera is, as far as its driver and its place on the bus tell; the same after a restart.

    `parts` are names and values in an order that stays (`("sensor", "imx708")`). `virtual` says why this is
    not a sensor but a program that plays one; empty for a camera.
    """

    family: str
    parts: tuple[tuple[str, str], ...]
    virtual: str = ""

    @property
    def text(self) -> str:
        """One line to pin the camera by: `pi:sensor=imx708;bus=/base/...`, printable ASCII without quotes."""
        return f"{self.family}:" + ";".join(f"{name}={_plain(value)}" for name, value in self.parts)


def _plain(value: str) -> str:
    """A device names itself: only what can stand in a line of TOML, and no separator."""
    kept = "".join(c if " " <= c <= "~" and c not in '"\\;=' else "_" for c in value.strip())
    return kept[:_MAX_PART]


_MAX_PART = 120


@dataclass(frozen=True, slots=True)
class SourceTraits:
    """What this kind of source gives with its frames: what it gives must be there, the rest can't be checked.

    `sensor_clock`: time stamps are the driver's, on the host's monotonic clock. `frames_per_s`: the mode's
    highest rate. `metadata`: every frame carries exposure and gain. `repeats`: how often in a row the same
    picture may come again (webcams double frames in the dark to keep their rate).
    """

    sensor_clock: bool = False
    frames_per_s: float | None = None
    metadata: bool = False
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """Who is delivering frames: `name` is for people, `camera_id` stays over restarts.

    `identity` is what a pin is compared with; None where nobody can tell.
    """

    name: str
    kind: SourceKind
    camera_id: str
    identity: CameraIdentity | None = None
    traits: SourceTraits = SourceTraits()


@dataclass(frozen=True, slots=True)
class SensorMetadata:
    """How the sensor took a frame, as far as its driver says; None is "not said".

    Gains are factors (1 is none), `colour_gains` those of red and blue. `auto_exposure`: whether the camera
    sets exposure and gain by itself.
    """

    exposure_us: float | None = None
    frame_duration_us: float | None = None
    analogue_gain: float | None = None
    digital_gain: float | None = None
    colour_gains: tuple[float, float] | None = None
    colour_temperature_k: float | None = None
    lux: float | None = None
    sensor_temperature_c: float | None = None
    lens_position_dpt: float | None = None
    focus_measure: float | None = None
    auto_exposure: bool | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture.

    `planes` are views, not copies: rows may be padded (NumPy's strides say so). `timestamp_ns` is the
    sensor's monotonic clock in nanoseconds; `sequence` counts the source's frames, dropped ones included.
    """

    planes: tuple[NDArray[np.uint8], ...] = field(repr=False)
    format: PixelFormat
    width: int
    height: int
    timestamp_ns: int
    sequence: int
    camera_id: str = field(default="")
    metadata: SensorMetadata | None = None

    def __post_init__(self) -> None:
        shapes = {
            PixelFormat.RGB888: ((self.height, self.width, 3),),
            PixelFormat.BGR888: ((self.height, self.width, 3),),
            PixelFormat.NV12: (
                (self.height, self.width),
                (self.height // 2, self.width // 2, 2),
            ),
        }[self.format]
        found = tuple(plane.shape for plane in self.planes)
        if found != shapes:
            raise ValueError(f"{self.format} {self.width} x {self.height} needs planes {shapes}, got {found}")
        if not 1 <= self.width <= MAX_SIDE_PX or not 1 <= self.height <= MAX_SIDE_PX:
            raise ValueError(f"frame of {self.width} x {self.height} px is outside 1..{MAX_SIDE_PX}")

    def rgb(self) -> NDArray[np.uint8]:
        """The picture as uint8[h, w, 3], RGB. Copies only when the format asks for it."""
        if self.format is PixelFormat.RGB888:
            return self.planes[0]
        import cv2

        if self.format is PixelFormat.BGR888:
            return np.asarray(cv2.cvtColor(self.planes[0], cv2.COLOR_BGR2RGB), dtype=np.uint8)
        return np.asarray(
            cv2.cvtColorTwoPlane(self.planes[0], self.planes[1], cv2.COLOR_YUV2RGB_NV12), dtype=np.uint8
        )


@runtime_checkable
class FrameSource(Protocol):
    """Something that delivers frames. Not thread-safe: one reader.

    `open` starts delivery and raises `kiosk.domain.errors.OperatorError` when it cannot (what, where, what to
    do). `read` waits up to `timeout_s` for the next frame and returns None when there is none in time or the
    source has run dry (`ended` tells which). `close` may be called at any time, twice, and from `__exit__`;
    after it the camera's light is off.
    """

    @property
    def info(self) -> SourceInfo: ...

    @property
    def ended(self) -> bool: ...

    def open(self) -> None: ...

    def read(self, timeout_s: float) -> Frame | None: ...

    def close(self) -> None: ...
