"""Is this face good enough to compare, and if not, what should the payer do: one hint at a time.

All limits are in `LIMITS`, each with the measurement that set it. Measures are taken on the aligned face
(112 x 112), so that they mean the same at every distance; sizes are frame pixels, angles are degrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from kiosk.vision.detect import DetectedFace
from kiosk.vision.landmarks import Landmarks

__all__ = ["LIMITS", "Hint", "Limits", "Pose", "Quality", "assess", "hint_for", "pose_of"]


class Hint(StrEnum):
    """What the payer is asked to do. The screen's text table has one line for each."""

    LOOK_HERE = "look_here"
    ONE_PERSON = "one_person"
    CLOSER = "closer"
    FURTHER = "further"
    UNCOVER_FACE = "uncover_face"
    MORE_LIGHT = "more_light"
    LESS_LIGHT = "less_light"
    HOLD_STILL = "hold_still"


@dataclass(frozen=True, slots=True)
class Pose:
    """Degrees. `yaw` > 0: turned to the subject's left; `pitch` > 0: looking up; `roll` > 0: clockwise."""

    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of one face.

    `face_px` and `eyes_px` (box width, distance of the eyes) are frame pixels, `fill` is the box's width in
    parts of the frame's shorter side, `sharpness` the standard deviation of the Laplacian of the aligned
    face's luma, `brightness` its mean, [0, 255], `burnt` the part of it at or above 250, `presence` the
    mesh's own score, [0, 1].
    """

    face_px: float
    eyes_px: float
    fill: float
    sharpness: float
    brightness: float
    burnt: float
    presence: float

    @property
    def score(self) -> float:
        """In [0, 1]: how much this face counts beside others of the same look."""
        crisp = self.sharpness / (self.sharpness + LIMITS.sharpness)
        return self.presence * crisp * (1.0 - self.burnt)


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a face is not compared but a hint is given."""

    face_px: float
    fill: float
    yaw: float
    pitch: float
    roll: float
    presence: float
    brightness_low: float
    brightness_high: float
    burnt: float
    sharpness: float


LIMITS = Limits(
    face_px=56.0,
    fill=1.4,
    yaw=40.0,
    pitch=30.0,
    roll=35.0,
    presence=0.5,
    brightness_low=30.0,
    brightness_high=225.0,
    burnt=0.35,
    sharpness=4.0,
)
"""Just outside what ordinary photographs and webcams show: `tools/set_thresholds.py --quality` prints the
percentiles (LFW people of verify.csv who are not in identify.csv, n = 1,100: sharpness 4.1 at the lowest, yaw
within 37 degrees at 99 %, pitch within 24, brightness 48 to 180, burnt .24 at most)."""

_NEUTRAL_PITCH = -4.0
"""The mesh's pitch of a face that looks straight ahead: the median of the same run."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def pose_of(landmarks: Landmarks) -> Pose:
    """The head's turn, from the mesh's depth: the line between the eyes, and that from forehead to chin."""
    p = landmarks.points
    across = p[[362, 263]].mean(axis=0) - p[[33, 133]].mean(axis=0)
    down = p[152] - p[10]
    roll = np.arctan2(across[1], across[0])
    yaw = np.arctan2(across[2], np.hypot(across[0], across[1]))
    pitch = -np.arctan2(down[2], np.hypot(down[0], down[1]))
    yaw, pitch, roll = (float(np.degrees(angle)) for angle in (yaw, pitch, roll))
    return Pose(yaw=yaw, pitch=pitch - _NEUTRAL_PITCH, roll=roll)


def assess(
    aligned: NDArray[np.uint8], face: DetectedFace, landmarks: Landmarks, shorter_side: int
) -> Quality:
    """The measures of a face: `aligned` is uint8[112, 112, 3], `shorter_side` the frame's, in pixels."""
    luma = aligned.astype(np.float32) @ _LUMA
    five = landmarks.five
    return Quality(
        face_px=face.box.width,
        eyes_px=float(np.hypot(*(five[1] - five[0]))),
        fill=face.box.width / shorter_side,
        sharpness=float(cv2.Laplacian(luma, cv2.CV_32F).std()),
        brightness=float(luma.mean()),
        burnt=float((luma >= 250).mean()),
        presence=landmarks.presence,
    )


def hint_for(quality: Quality, pose: Pose, limits: Limits = LIMITS) -> Hint | None:
    """The one thing to mend first; None when the face is good enough to compare."""
    turned = abs(pose.yaw) > limits.yaw or abs(pose.pitch) > limits.pitch or abs(pose.roll) > limits.roll
    for wrong, hint in (
        (quality.face_px < limits.face_px, Hint.CLOSER),
        (quality.fill > limits.fill, Hint.FURTHER),
        (quality.presence < limits.presence, Hint.UNCOVER_FACE),
        (turned, Hint.LOOK_HERE),
        (quality.brightness < limits.brightness_low, Hint.MORE_LIGHT),
        (quality.brightness > limits.brightness_high or quality.burnt > limits.burnt, Hint.LESS_LIGHT),
        (quality.sharpness < limits.sharpness, Hint.HOLD_STILL),
    ):
        if wrong:
            return hint
    return None
