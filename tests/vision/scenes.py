"""Frames with faces at known places."""

from __future__ import annotations

import cv2
import numpy as np

from kiosk.frames import Frame, PixelFormat


def frame_of(rgb: np.ndarray, sequence: int = 0) -> Frame:
    height, width = rgb.shape[:2]
    return Frame((rgb,), PixelFormat.RGB888, width, height, sequence * 33_000_000, sequence)


def placed(face: np.ndarray, size: tuple[int, int], at: tuple[int, int], side: int) -> np.ndarray:
    """`face` as a square of `side` px at (x, y) of a grey frame of (width, height)."""
    (width, height), (x, y) = size, at
    canvas = np.full((height, width, 3), 120, np.uint8)
    canvas[y : y + side, x : x + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return canvas
