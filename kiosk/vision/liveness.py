"""Is a living person before the camera? The score of the anti-spoof network for one face in one frame.

`crop` makes the pictures that the network sees; the trainer imports this very function, so that training
and product look at identical pixels. The score is in [0, 1], 1 for live (ISO/IEC 30107-3: bona fide).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from kiosk.vision.detect import Box
from kiosk.vision.models import ModelCard
from kiosk.vision.runtime import Model

__all__ = ["Liveness", "crop"]

MAX_LOGIT = 30.0


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


class Liveness:
    """The anti-spoof network that the manifest names: its inputs say which crops. Not thread-safe."""

    def __init__(self, model: Model, card: ModelCard) -> None:
        self._model = model
        self._crops = tuple((tensor.crop_scale or 1.0, tensor.shape[1]) for tensor in card.input)

    def logit(self, rgb: NDArray[np.uint8], box: Box) -> float:
        """The network's logit for one face, positive for live, in [-30, 30]."""
        views = [
            (crop(rgb, box, scale, side).astype(np.float32) / 255.0)[None] for scale, side in self._crops
        ]
        (answer,) = self._model.run(*views)
        return float(np.clip(answer.ravel()[0], -MAX_LOGIT, MAX_LOGIT))
