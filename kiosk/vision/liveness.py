"""Is a living person before the camera? The score of the anti-spoof network for one face in one frame.

`crop` makes the pictures that the network sees; the trainer imports this very function, so that training
and product look at identical pixels. The score is in [0, 1], 1 for live (ISO/IEC 30107-3: bona fide).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from kiosk.vision.detect import Box
from kiosk.vision.models import ModelCard, Tensor
from kiosk.vision.runtime import Model

__all__ = ["LARGEST_FACE_PX", "Liveness", "crop", "crop_inside", "exposure_curve"]

MAX_LOGIT = 30.0
LARGEST_FACE_PX = 180
"""Widest face that is sampled as it is; the trainer stores pictures like that (tools/pad/data.py)."""
_SAMPLES = 48
"""Pixels across a face that its median is taken of."""
_STEEPEST = 3.0
"""Largest gamma, and the inverse of the smallest."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def crop(rgb: NDArray[np.uint8], box: Box, scale: float, side: int) -> NDArray[np.uint8]:
    """A square of `scale` face widths around the box's centre, as uint8[side, side, 3].

    `rgb` is the whole frame, uint8[h, w, 3]; `box` is the detector's (its width counts). What lies beyond the
    frame's edge is mirrored (BORDER_REFLECT_101). Pixels are averaged when the square is larger than `side`,
    interpolated when it is smaller.
    """
    height, width = rgb.shape[:2]
    length = max(round(box.width * scale), 2)
    x0, y0 = (round(middle - length / 2) for middle in box.centre)
    left, top = max(-x0, 0), max(-y0, 0)
    right, bottom = max(x0 + length - width, 0), max(y0 + length - height, 0)
    if max(left, right) >= length or max(top, bottom) >= length:
        raise ValueError(f"{box} lies outside a frame of {width} x {height} px")
    square = rgb[max(y0, 0) : y0 + length, max(x0, 0) : x0 + length]
    if left or top or right or bottom:
        square = np.asarray(
            cv2.copyMakeBorder(square, top, bottom, left, right, cv2.BORDER_REFLECT_101), np.uint8
        )
    method = cv2.INTER_AREA if length > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (side, side), interpolation=method), np.uint8)


def crop_inside(
    rgb: NDArray[np.uint8], box: Box, scale: float, side: int, raised: float = 0.0
) -> NDArray[np.uint8]:
    """`scale` face widths and heights around the box, moved to lie inside the frame, as uint8[side, side, 3].

    The box's top is raised by `raised` of its height first (the detector's ends below the forehead). A crop
    larger than the frame shrinks to it: every pixel is one that the camera saw. This is how MiniFASNet's
    authors cut (Silent-Face-Anti-Spoofing, Apache-2.0), and what networks of that family expect. But a face
    wider than `LARGEST_FACE_PX` is averaged down to that first: sampled as it is, a blurred print looks
    sharp.
    """
    height, width = rgb.shape[:2]
    x0, y0, x1, y1 = box.x0, box.y0 - raised * (box.y1 - box.y0), box.x1, box.y1
    if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
        raise ValueError(f"{box} lies outside a frame of {width} x {height} px")
    scale = min(scale, (width - 1) / (x1 - x0), (height - 1) / (y1 - y0))
    wide, high = scale * (x1 - x0), scale * (y1 - y0)
    left = int(np.clip((x0 + x1 - wide) / 2, 0, width - 1 - wide))
    top = int(np.clip((y0 + y1 - high) / 2, 0, height - 1 - high))
    part = rgb[top : top + int(high) + 1, left : left + int(wide) + 1]
    shrink = LARGEST_FACE_PX / (x1 - x0)
    if shrink < 1.0:
        smaller = cv2.resize(part, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        part = np.asarray(smaller, np.uint8)
    return np.asarray(cv2.resize(part, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)


def exposure_curve(rgb: NDArray[np.uint8], box: Box, target: float) -> NDArray[np.uint8]:
    """The tone curve uint8[256] that brings the median luma of the face in `box` to `target`, in (0, 255).

    A gamma between 1/3 and 3, so that black and white stay: what a face looks like under it hardly depends on
    how the camera was exposed. Under it MiniFASNet's wide network mistook fewer pictures of Replay-Attack
    (prints 16 -> 12 %, replays 9 -> 7 %, equal error rate; docs/adr/0021-anti-spoof-generalises.md).
    """
    height, width = rgb.shape[:2]
    x0, x1 = max(int(box.x0), 0), min(int(box.x1), width)
    y0, y1 = max(int(box.y0), 0), min(int(box.y1), height)
    if x0 >= x1 or y0 >= y1:
        raise ValueError(f"{box} lies outside a frame of {width} x {height} px")
    step = max(1, (x1 - x0) // _SAMPLES)
    median = float(np.median(rgb[y0:y1:step, x0:x1:step] @ _LUMA)) / 255.0
    gamma = np.log(target / 255.0) / np.log(min(max(median, 0.02), 0.98))
    gamma = float(np.clip(gamma, 1 / _STEEPEST, _STEEPEST))
    return (255.0 * (np.arange(256) / 255.0) ** gamma + 0.5).astype(np.uint8)


class Liveness:
    """The anti-spoof network that the manifest names: its inputs say which crops. Not thread-safe."""

    def __init__(self, model: Model, card: ModelCard) -> None:
        self._model = model
        self._inputs = card.input

    def logit(self, rgb: NDArray[np.uint8], box: Box) -> float:
        """The network's logit for one face, positive for live, in [-30, 30]."""
        views = [(_view(rgb, box, tensor).astype(np.float32) / 255.0)[None] for tensor in self._inputs]
        (answer,) = self._model.run(*views)
        return float(np.clip(answer.ravel()[0], -MAX_LOGIT, MAX_LOGIT))


def _view(rgb: NDArray[np.uint8], box: Box, tensor: Tensor) -> NDArray[np.uint8]:
    scale, side = tensor.crop_scale or 1.0, tensor.shape[1]
    if tensor.crop_edge == "inside":
        view = crop_inside(rgb, box, scale, side, tensor.crop_raised)
    else:
        view = crop(rgb, box, scale, side)
    if tensor.crop_exposure:
        view = exposure_curve(rgb, box, tensor.crop_exposure)[view]
    return view
