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

__all__ = ["Frame", "FrameSource", "PixelFormat", "SourceInfo", "SourceKind"]

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
class SourceInfo:
    """Who is delivering frames: `name` is for people, `camera_id` for pinning (stable over restarts)."""

    name: str
    kind: SourceKind
    camera_id: str


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture.

    `planes` are views, not copies: rows may be padded (NumPy's strides say so). `timestamp_ns` is the
    sensor's monotonic clock in nanoseconds; `sequence` counts the source's frames, dropped ones included.
    """

    planes: tuple[NDArray[np.uint8], ...]
    format: PixelFormat
    width: int
    height: int
    timestamp_ns: int
    sequence: int
    camera_id: str = field(default="")

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
