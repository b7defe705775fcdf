"""A payer as vision would see them: a head of 468 points in space, turned and lit as a test asks."""

from __future__ import annotations

from functools import cache

import numpy as np

from kiosk.vision.colour import FaceColour
from kiosk.vision.detect import Box, DetectedFace
from kiosk.vision.landmarks import Landmarks
from kiosk.vision.observation import Observation
from kiosk.vision.quality import Hint, Pose

ANNA, BERT = np.eye(192, dtype=np.float32)[:2]
_CORNERS = {33: (-45, -30), 133: (-15, -30), 362: (15, -30), 263: (45, -30)}
_SKIN = {50: (-45, 15), 205: (-35, 30), 280: (45, 15), 425: (35, 30), 151: (0, -65), 9: (0, -50)}
_UPPER, _LOWER = {160: -36, 158: -24, 385: 24, 387: 36}, {144: -36, 153: -24, 380: 24, 373: 36}


@cache
def mesh(yaw: float = 0.0, *, openness: float = 0.3, flat: bool = False) -> np.ndarray:
    """float32[468, 3]: a head turned by `yaw` degrees to its left, eyes open by `openness` of their width."""
    angles = np.random.default_rng(8).uniform(-1.2, 1.2, (468, 2))
    x, y = 75 * np.sin(angles[:, 0]), 90 * np.sin(angles[:, 1])
    for number, (at_x, at_y) in (_CORNERS | _SKIN).items():
        x[number], y[number] = at_x, at_y
    for lid, side in ((_UPPER, -1), (_LOWER, 1)):
        for number, at_x in lid.items():
            x[number], y[number] = at_x, -30 + side * openness * 15
    x[[10, 152]], y[[10, 152]] = 0, (-90, 90)
    z = np.zeros(468) if flat else -60 * np.sqrt(np.clip(1 - (x / 80) ** 2 - 0.5 * (y / 95) ** 2, 0, 1))
    turn = np.deg2rad(yaw)
    across = x * np.cos(turn) - z * np.sin(turn)
    depth = x * np.sin(turn) + z * np.cos(turn)
    return np.column_stack([320 + across, 240 + y, depth]).astype(np.float32)


def seen(
    at_ms: float,
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
    openness: float = 0.3,
    who: np.ndarray | None = ANNA,
    flat: bool = False,
    colour: FaceColour | None = None,
    hint: Hint | None = None,
    x: float = 320.0,
) -> Observation:
    """One frame with one face, `at_ms` on the test's clock."""
    face = DetectedFace(Box(x - 80, 160, x + 80, 320), 0.9, np.zeros((6, 2), np.float32))
    return Observation(
        sequence=round(at_ms),
        timestamp_ns=round(at_ms * 1e6),
        width=640,
        height=480,
        faces=(face,),
        hint=hint,
        landmarks=Landmarks(mesh(yaw, openness=openness, flat=flat), 1.0),
        pose=Pose(yaw, pitch, 0.0),
        embedding=who,
        colour=colour,
    )


def nobody(at_ms: float, hint: Hint = Hint.LOOK_HERE) -> Observation:
    return Observation(round(at_ms), round(at_ms * 1e6), 640, 480, (), hint)
