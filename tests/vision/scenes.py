"""Frames with faces at known places."""

from __future__ import annotations

import cv2
import numpy as np

from kiosk.frames import Frame, PixelFormat
from kiosk.vision.quality import Quality

GOOD = Quality(
    face_px=200,
    eyes_px=80,
    fill=0.4,
    outside=0,
    presence=1,
    mouth_seen=0.8,
    eyes_seen=0.9,
    eyes_burnt=0,
    eyes_open=0.08,
    mouth_open=0.02,
    brightness=115,
    contrast=120,
    burnt=0,
    evenness=0.9,
    noise=0.04,
    sharpness=0.4,
    smear=0.8,
    magnitude=70,
    symmetry=0.98,
    score=0.5,
)
"""The measures of an ordinary face at arm's length."""


def frame_of(rgb: np.ndarray, sequence: int = 0) -> Frame:
    height, width = rgb.shape[:2]
    return Frame((rgb,), PixelFormat.RGB888, width, height, sequence * 33_000_000, sequence)


def placed(face: np.ndarray, size: tuple[int, int], at: tuple[int, int], side: int) -> np.ndarray:
    """`face` as a square of `side` px at (x, y) of a grey frame of (width, height)."""
    (width, height), (x, y) = size, at
    canvas = np.full((height, width, 3), 120, np.uint8)
    canvas[y : y + side, x : x + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return canvas
