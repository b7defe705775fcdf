"""Finds faces: BlazeFace short range on the whole frame, and closer or wider when that finds none.

In: a frame as uint8[h, w, 3], RGB. Out: faces, largest first, with a box and six points in frame pixels.
Decoding follows the network's published layout (Bazarevsky et al. 2019, arXiv:1907.05047).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from kiosk.vision.runtime import Model

__all__ = ["Box", "DetectedFace", "Detector"]

INPUT_PX = 128
MIN_SCORE = 0.5
"""The score from which a box is a face: the detector's published working point."""
MIN_LOGIT = math.log(MIN_SCORE / (1 - MIN_SCORE))
SAME_FACE_IOU = 0.3
"""Boxes that overlap more than this are one face, averaged by score: the detector's published value."""

ALONE = 0.25
"""A face this wide, in parts of the frame's longer side, can't hide another of like size: one of .6 of its
width (`pipeline.COMPARABLE`) still has 19 px in the network's input, which finds faces from 16 px on."""
MIN_SIDE_PX = 256
"""Smaller squares show only faces that are too small to compare (`quality.LIMITS.face_px`)."""
CUT_PX = 19
"""Two squares side by side overlap by this many pixels of the whole frame's run, so that a face which their
borders both cut is one that the whole frame shows (it finds faces from 16 px on)."""
MAX_STRETCH = 1.1
"""Squares grow by up to this, if two are then enough: what they show gets smaller by as much."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in frame pixels; it may reach beyond the frame."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2


@dataclass(frozen=True, slots=True, eq=False)
class DetectedFace:
    """One face. `score` in [0, 1].

    `points`: float32[6, 2], frame pixels, x then y: the subject's right eye, left eye, nose tip, mouth, right
    ear, left ear.
    """

    box: Box
    score: float
    points: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Window:
    """A square of the frame, in frame pixels, that the network looks at; it may reach beyond the frame."""

    x0: float
    y0: float
    side: float


class Detector:
    """BlazeFace short range. Not thread-safe."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._input = np.empty((1, INPUT_PX, INPUT_PX, 3), np.float32)

    def detect(self, rgb: NDArray[np.uint8]) -> list[DetectedFace]:
        """Every face in `rgb` (uint8[h, w, 3]), largest first; an empty list when there is none.

        The whole frame is one run of the network. When it shows no face, it is looked at from further away (a
        face that fills the frame). When that shows none, or one so small that another of like size could have
        been missed, squares as high as the frame are looked at too, and at last smaller ones.
        """
        frame = _Pyramid(rgb)
        height, width = frame.height, frame.width
        longest, shortest = max(width, height), min(width, height)
        rows = self._look(frame, _around(width, height, longest))
        if not len(rows):
            rows = self._look(frame, _around(width, height, 2 * longest))
        if not len(rows) or _widest(rows) < ALONE * longest:
            rows = np.concatenate([rows, self._halves(frame, longest, shortest)])
        if not len(rows):
            side = max(longest // 3, MIN_SIDE_PX)
            rows = self._scan(frame, side, side / 2)
        return [face for face in _merge(rows) if _inside(face.box.centre, width, height)]

    def forget(self) -> None:
        """Overwrite the last picture that the network was shown."""
        self._input.fill(0.0)

    def _halves(self, frame: _Pyramid, longest: int, shortest: int) -> NDArray[np.float32]:
        """What two squares show that overlap by `CUT_PX`; in a frame too long for two, what a scan does."""
        side = max(shortest, round(longest * (1 + CUT_PX / INPUT_PX) / 2))
        if side > MAX_STRETCH * shortest:
            return self._scan(frame, shortest, shortest / 2)
        return self._scan(frame, side, 2 * side - longest)

    def _scan(self, frame: _Pyramid, side: int, overlap: float) -> NDArray[np.float32]:
        """What squares of `side` show that cover the frame with at least this overlap, cut faces left out."""
        height, width = frame.height, frame.width
        parts = [np.empty((0, 17), np.float32)]
        if MIN_SIDE_PX <= side < max(width, height):
            for y in np.linspace(0, max(height - side, 0), _steps(height, side, overlap)):
                for x in np.linspace(0, max(width - side, 0), _steps(width, side, overlap)):
                    rows = self._look(frame, _Window(float(x), float(y), side))
                    low = np.array([x if x > 0 else -np.inf, y if y > 0 else -np.inf])
                    high = np.array(
                        [x + side if x + side < width else np.inf, y + side if y + side < height else np.inf]
                    )
                    whole = np.all(rows[:, :2] >= low, axis=1) & np.all(rows[:, 2:4] <= high, axis=1)
                    parts.append(rows[whole])
        return np.concatenate(parts)

    def _look(self, frame: _Pyramid, window: _Window) -> NDArray[np.float32]:
        """float32[n, 17]: box, six points (frame pixels) and score of every anchor above the threshold."""
        np.multiply(frame.cut(window), 1 / 127.5, out=self._input[0])
        self._input -= 1.0
        regressors, logits = self._model.run(self._input)
        keep = np.flatnonzero(logits[0, :, 0] >= MIN_LOGIT)
        raw, anchors = regressors[0, keep], _anchors()[keep]
        rows = np.empty((len(keep), 17), np.float32)
        centre, half = raw[:, 0:2] + anchors[:, :2], raw[:, 2:4] / 2
        rows[:, 0:2], rows[:, 2:4] = centre - half, centre + half
        rows[:, 4:16] = raw[:, 4:16] + anchors
        rows[:, :16] *= window.side / INPUT_PX
        rows[:, 0:16:2] += window.x0
        rows[:, 1:16:2] += window.y0
        rows[:, 16] = 1.0 / (1.0 + np.exp(-np.clip(logits[0, keep, 0], -80.0, 80.0)))
        return rows


def _around(width: int, height: int, side: float) -> _Window:
    """The square of `side` around the frame's middle."""
    return _Window((width - side) / 2, (height - side) / 2, side)


def _inside(point: tuple[float, float], width: int, height: int) -> bool:
    """Whether a point is in the frame: a face whose middle lies in the black around it is none."""
    return 0 <= point[0] < width and 0 <= point[1] < height


def _widest(rows: NDArray[np.float32]) -> float:
    return float((rows[:, 2] - rows[:, 0]).max())


def _steps(length: int, side: int, overlap: float) -> int:
    """How many windows of `side` cover `length` with at least this overlap."""
    return 1 if length <= side else int(np.ceil((length - side) / (side - overlap))) + 1


class _Pyramid:
    """A frame and its halvings, each made when it is first needed: the network's windows overlap.

    A window is cut from the level that is less than twice as fine as the network's input, so that pixels are
    averaged and none is skipped, at a third of the time of averaging each window by itself.
    """

    def __init__(self, rgb: NDArray[np.uint8]) -> None:
        self._levels = [rgb]
        self.height, self.width = rgb.shape[:2]

    def cut(self, window: _Window) -> NDArray[np.uint8]:
        """The window as uint8[128, 128, 3], black outside the frame."""
        level = self._level(max(int(np.log2(window.side / INPUT_PX)), 0))
        height, width = level.shape[:2]
        fine_x, fine_y = width / self.width, height / self.height
        scale = INPUT_PX / window.side
        x0, x1 = max(window.x0, 0.0), min(window.x0 + window.side, self.width)
        y0, y1 = max(window.y0, 0.0), min(window.y0 + window.side, self.height)
        left, top = round((x0 - window.x0) * scale), round((y0 - window.y0) * scale)
        across = min(max(round((x1 - x0) * scale), 1), INPUT_PX - left)
        down = min(max(round((y1 - y0) * scale), 1), INPUT_PX - top)
        part = level[
            int(y0 * fine_y) : max(round(y1 * fine_y), int(y0 * fine_y) + 1),
            int(x0 * fine_x) : max(round(x1 * fine_x), int(x0 * fine_x) + 1),
        ]
        canvas = np.zeros((INPUT_PX, INPUT_PX, 3), np.uint8)
        method = cv2.INTER_AREA if across < part.shape[1] else cv2.INTER_LINEAR
        canvas[top : top + down, left : left + across] = cv2.resize(
            part, (across, down), interpolation=method
        )
        return canvas

    def _level(self, number: int) -> NDArray[np.uint8]:
        while len(self._levels) <= number:
            height, width = self._levels[-1].shape[:2]
            half = (max(width // 2, 1), max(height // 2, 1))
            small = cv2.resize(self._levels[-1], half, interpolation=cv2.INTER_AREA)
            self._levels.append(np.asarray(small, np.uint8))
        return self._levels[number]


@cache
def _anchors() -> NDArray[np.float32]:
    """float32[896, 12]: the anchors' centres in input pixels, once for each of six points: 2 anchors a cell
    of 16 x 16, then 6 a cell of 8 x 8."""
    parts = []
    for cells, each in ((16, 2), (8, 6)):
        line = (np.arange(cells, dtype=np.float32) + 0.5) * (INPUT_PX / cells)
        x, y = np.meshgrid(line, line)
        parts.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), each, axis=0))
    return np.tile(np.concatenate(parts), 6).astype(np.float32)


def _merge(rows: NDArray[np.float32]) -> list[DetectedFace]:
    """Weighted non-maximum suppression: overlapping boxes become one, averaged by score."""
    faces = []
    rows = rows[np.argsort(-rows[:, 16], kind="stable")]
    while len(rows):
        same = _iou(rows[0], rows) > SAME_FACE_IOU
        same[0] = True
        mean = rows[same, 16] @ rows[same, :16] / rows[same, 16].sum()
        x0, y0, x1, y1 = (float(v) for v in mean[:4])
        points = mean[4:].reshape(6, 2).astype(np.float32)
        faces.append(DetectedFace(Box(x0, y0, x1, y1), float(rows[0, 16]), points))
        rows = rows[~same]
    return sorted(faces, key=lambda face: -face.box.width)


def _iou(one: NDArray[np.float32], many: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of one box with each of many: float32[n] in [0, 1]."""
    low, high = np.maximum(one[:2], many[:, :2]), np.minimum(one[2:4], many[:, 2:4])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    area = np.prod(many[:, 2:4] - many[:, :2], axis=1)
    return np.asarray(common / np.maximum(area[0] + area - common, 1e-9), np.float32)
