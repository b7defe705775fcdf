"""468 points on a face, in frame pixels, and how sure the network is that a face is there.

The network sees a square of 1.5 box sides around the face, turned so that the eyes are level, as it was
trained (Kartynnik et al. 2019, arXiv:1907.06724). The points come back turned and shifted to the frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from kiosk.vision.align import warp
from kiosk.vision.detect import DetectedFace
from kiosk.vision.runtime import Model

__all__ = ["Landmarker", "Landmarks"]

INPUT_PX = 192
ROI_SCALE = 1.5
"""Side of the network's square in sides of the detector's box; the network's published value."""

_EYE_RIGHT, _EYE_LEFT = (33, 133), (362, 263)
_NOSE_TIP, _MOUTH_RIGHT, _MOUTH_LEFT = 4, 61, 291


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """`points`: float32[468, 3], frame pixels; z has the same unit, grows away from the camera, 0 at the
    head's centre. `presence` in [0, 1]: low when the face is covered, cut off or not a face."""

    points: NDArray[np.float32] = field(repr=False)
    presence: float

    @property
    def five(self) -> NDArray[np.float32]:
        """float32[5, 2]: eye centres (means of the corners), nose tip, mouth corners; left to right."""
        p = self.points[:, :2]
        eyes = [p[list(pair)].mean(axis=0) for pair in (_EYE_RIGHT, _EYE_LEFT)]
        return np.stack([*eyes, p[_NOSE_TIP], p[_MOUTH_RIGHT], p[_MOUTH_LEFT]]).astype(np.float32)


class Landmarker:
    """Face Mesh. Not thread-safe."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def find(self, rgb: NDArray[np.uint8], face: DetectedFace) -> Landmarks:
        """The points of one detected face in `rgb` (uint8[h, w, 3])."""
        matrix = _level(face)
        seen = warp(rgb, matrix, INPUT_PX).astype(np.float32)
        seen *= 1 / 255.0
        mesh, presence = self._model.run(seen[None])
        points = mesh.reshape(468, 3)
        back = cv2.invertAffineTransform(matrix)
        scale = float(np.hypot(back[0, 0], back[1, 0]))
        flat = points[:, :2] @ back[:, :2].T + back[:, 2]
        logit = float(np.clip(presence.ravel()[0], -80.0, 80.0))
        return Landmarks(
            np.column_stack([flat, points[:, 2] * scale]).astype(np.float32), float(1 / (1 + np.exp(-logit)))
        )


def _level(face: DetectedFace) -> NDArray[np.float64]:
    """float64[2, 3]: from the frame to the network's square, eyes level."""
    right, left = face.points[0], face.points[1]
    angle = float(np.arctan2(left[1] - right[1], left[0] - right[0]))
    scale = INPUT_PX / (ROI_SCALE * max(face.box.width, face.box.height))
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    x, y = face.box.centre
    return np.array(
        [
            [cos, sin, INPUT_PX / 2 - cos * x - sin * y],
            [-sin, cos, INPUT_PX / 2 + sin * x - cos * y],
        ]
    )
