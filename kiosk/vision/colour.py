"""How much light of each colour comes from a face, and from what is around it: one measure a frame.

For the flash challenge, which compares these over time. In: a frame and the mesh of the face in it. Out: mean
linear light of three skin patches and of the background. No picture is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kiosk.vision.detect import Box
from kiosk.vision.landmarks import Landmarks

__all__ = ["FaceColour", "face_colour"]

_FOREHEAD, _RIGHT_CHEEK, _LEFT_CHEEK = (151, 9), (50, 205), (280, 425)
"""Points of the mesh whose mean is a patch's middle: above the brows, and beside the nose below the eyes."""
PATCH = 0.11
"""Half a patch's side in distances of the outer eye corners: skin only, on a turned head too."""
PATCH_PX = 24
"""At most so many pixels of a patch's side are read: the mean of 576 has a 24th of one pixel's noise."""
BESIDE = 0.85
"""The background begins this many box widths left and right of the face's middle: beyond hair and ears."""
BACKGROUND_PX = 32


@dataclass(frozen=True, slots=True, eq=False)
class FaceColour:
    """Mean linear light, [0, 1], RGB.

    `skin` is float32[3, 3]: forehead, subject's right cheek, left cheek. `background` is float32[3], NaN when
    the face leaves no room beside it. `burnt` is the part of the skin's pixels at the sensor's end (250 or
    more in a channel), where light no longer shows.
    """

    skin: NDArray[np.float32]
    background: NDArray[np.float32]
    burnt: float


def _decoded() -> NDArray[np.float32]:
    """float32[256]: sRGB code values as linear light (IEC 61966-2-1). Cameras come near enough to it."""
    code = np.arange(256, dtype=np.float64) / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LINEAR = _decoded()


def face_colour(rgb: NDArray[np.uint8], box: Box, landmarks: Landmarks) -> FaceColour | None:
    """The measure of one face in `rgb` (uint8[h, w, 3]); None when a patch lies outside the frame."""
    points = landmarks.points[:, :2]
    half = PATCH * float(np.hypot(*(points[263] - points[33])))
    if not np.isfinite(half):
        return None
    means, burnt = [], []
    for pair in (_FOREHEAD, _RIGHT_CHEEK, _LEFT_CHEEK):
        x, y = points[list(pair)].mean(axis=0)
        patch = _cut(rgb, Box(x - half, y - half, x + half, y + half), PATCH_PX)
        if patch is None:
            return None
        means.append(_mean(patch))
        burnt.append(float((patch >= 250).any(axis=2).mean()))
    return FaceColour(np.stack(means), _background(rgb, box), float(np.mean(burnt)))


def _background(rgb: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
    """What is left and right of the face, from half a face above it down to its chin."""
    middle = box.centre[0]
    top, bottom = box.y0 - 0.5 * box.height, box.y1
    away = BESIDE * box.width
    sides = [
        _cut(rgb, Box(0.0, top, middle - away, bottom), BACKGROUND_PX),
        _cut(rgb, Box(middle + away, top, rgb.shape[1], bottom), BACKGROUND_PX),
    ]
    seen = [(_mean(side), side.size) for side in sides if side is not None]
    if not seen:
        return np.full(3, np.nan, np.float32)
    means, sizes = zip(*seen, strict=True)
    return np.asarray(np.average(means, axis=0, weights=sizes), np.float32)


def _cut(rgb: NDArray[np.uint8], where: Box, most: int) -> NDArray[np.uint8] | None:
    """Every nth pixel of a rectangle, `most` or a few more a side; None when it is not in the frame."""
    height, width = rgb.shape[:2]
    left, right = max(int(where.x0), 0), min(round(where.x1), width)
    top, bottom = max(int(where.y0), 0), min(round(where.y1), height)
    if right - left < 2 or bottom - top < 2:
        return None
    across, down = max((right - left) // most, 1), max((bottom - top) // most, 1)
    return np.ascontiguousarray(rgb[top:bottom:down, left:right:across])


def _mean(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32[3]: the pixels' mean linear light."""
    return np.array(cv2.mean(cv2.LUT(pixels, _LINEAR))[:3], np.float32)
