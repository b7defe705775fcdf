"""Straight edges around a face, as a phone's bezel or a sheet's rim make them, measured in one frame.

Pure and cheap: a small grey copy of the face's surroundings is searched for four lines, one a side. A door
frame makes such a line too, so nothing is judged here: `kiosk.vision.dynamics` does it over several frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from kiosk.vision.detect import Box

__all__ = ["Border", "border_of"]

FACE_PX: Final = 24
"""Width of the face in the small copy: a rim of 1 mm around a face of 15 cm keeps a tenth of its contrast."""
REACH: Final = 1.8
"""How far from the face's middle lines are looked for, in face widths."""
NEAREST: Final = (0.65, 1.0, 0.65, 0.75)
"""Left, top, right, bottom: nearer lines are ears, a fringe, a jaw or a collar."""
SPAN: Final = 1.0
"""A line is followed this far to both sides of the face's middle, in face widths."""
SLOPES: Final = (-0.24, -0.12, 0.0, 0.12, 0.24)
"""Tilts that are tried (14 degrees at most); a line may depart from them by one small pixel."""
STEP: Final = 8.0
"""Grey levels a small pixel from which on there is an edge."""
FILLED: Final = 0.8
"""Part of the line that has to be an edge, of the same sign."""


@dataclass(frozen=True, slots=True)
class Border:
    """Distance of the straight edge on each side from the middle of the face box, in face widths; None where
    there is none."""

    left: float | None
    top: float | None
    right: float | None
    bottom: float | None

    @property
    def sides(self) -> tuple[float | None, float | None, float | None, float | None]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.right, self.bottom

    @property
    def found(self) -> int:
        """How many sides have a line, 0 to 4."""
        return sum(side is not None for side in self.sides)


def border_of(rgb: NDArray[np.uint8], box: Box) -> Border:
    """The straight edges around the face in `box`; `rgb` is the whole frame, uint8[h, w, 3]."""
    small, x, y = _surroundings(rgb, box)
    if small.shape[0] < FACE_PX or small.shape[1] < FACE_PX:
        return Border(None, None, None, None)
    across, down = (
        np.asarray(cv2.Sobel(small, cv2.CV_32F, *way, ksize=3, scale=1 / 8), np.float32)
        for way in ((1, 0), (0, 1))
    )
    left, right = _lines(across, x, y, NEAREST[0], NEAREST[2])
    top, bottom = _lines(np.ascontiguousarray(down.T), y, x, NEAREST[1], NEAREST[3])
    return Border(left, top, right, bottom)


def _surroundings(rgb: NDArray[np.uint8], box: Box) -> tuple[NDArray[np.uint8], float, float]:
    """What lies around the face in the frame, grey and small, and where the face's middle is in it."""
    height, width = rgb.shape[:2]
    (x, y), reach, scale = box.centre, REACH * box.width, FACE_PX / box.width
    left, right = max(round(x - reach), 0), min(round(x + reach), width)
    top, bottom = max(round(y - reach), 0), min(round(y + reach), height)
    # Every n-th pixel first: averaging all of a face that fills a 720p frame would take longer than the rest.
    every = max(int(1 / scale / 3), 1)
    part = rgb[top:bottom:every, left:right:every]
    if part.size == 0:
        return np.zeros((0, 0), np.uint8), 0.0, 0.0
    shape = (max(round((right - left) * scale), 1), max(round((bottom - top) * scale), 1))
    small = cv2.resize(part, shape, interpolation=cv2.INTER_AREA)
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
    return grey, (x - left) * scale, (y - top) * scale


def _lines(
    steps: NDArray[np.float32], x: float, y: float, nearest_left: float, nearest_right: float
) -> tuple[float | None, float | None]:
    """The best upright line on each side of column `x`, followed from row `y` both ways.

    `steps` are grey levels a pixel from left to right, float32[h, w].
    """
    first, last = max(round(y - SPAN * FACE_PX), 0), min(round(y + SPAN * FACE_PX) + 1, steps.shape[0])
    band = steps[first:last]
    wide = np.ones((1, 3), np.uint8)
    signs = [cv2.dilate((band * sign > STEP).astype(np.float32), wide) for sign in (1.0, -1.0)]
    both = np.dstack(signs)
    filled = np.zeros(band.shape[1], np.float32)
    for slope in SLOPES:
        turned = np.array([[1.0, slope, -slope * (y - first)], [0.0, 1.0, 0.0]])
        sheared = cv2.warpAffine(both, turned, (band.shape[1], band.shape[0]), flags=cv2.INTER_NEAREST)
        np.maximum(filled, sheared.mean(axis=0).max(axis=1), out=filled)
    filled[:2] = filled[-2:] = 0.0  # the frame's own edge is no line
    places = (np.arange(len(filled)) - x) / FACE_PX
    return _nearest(filled, places, -REACH, -nearest_left), _nearest(filled, places, nearest_right, REACH)


def _nearest(
    filled: NDArray[np.float32], places: NDArray[np.float64], low: float, high: float
) -> float | None:
    """The distance of the fullest column between `low` and `high`; None where none is full enough."""
    here = np.flatnonzero((places >= low) & (places <= high) & (filled >= FILLED))
    if len(here) == 0:
        return None
    best = here[filled[here] == filled[here].max()]
    return float(np.abs(places[best].mean()))
