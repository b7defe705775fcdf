"""A vision that reads what is in a picture from its colour: evaluation's arithmetic without a network.

The picture's red says who (a direction), green how far from it, blue the liveness; black holds no face.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from kiosk.frames import Frame
from kiosk.vision.detect import Box, DetectedFace
from kiosk.vision.models import FalseMatches, Manifest, ModelCard, Role, Source, Threshold
from kiosk.vision.observation import Observation

FACE = DetectedFace(Box(0, 0, 10, 10), 0.9, np.zeros((6, 2), np.float32))
THRESHOLDS = {
    "match": 0.6,
    "match_with_digits": 0.5,
    "margin": 0.1,
    "promised_fpir": 0.01,
    "same_person": 0.4,
}
FALSE_MATCHES = FalseMatches((0.5, 0.6, 0.7), (2e-4, 2e-5, 2e-6), (1e-3, 1e-4, 1e-5), "a test")


def card(role: Role, thresholds: dict[str, float], subjects: tuple[str, ...] = ()) -> ModelCard:
    set_by = {name: Threshold(value, "a test") for name, value in thresholds.items()}
    source = Source("here", "here")
    known = FALSE_MATCHES if role is Role.EMBEDDING else None
    return ModelCard(str(role), role, "", "", 0, source, "", "", "no", "", (), (), set_by, subjects, known)


class ColourVision:
    def __init__(self, subjects: tuple[str, ...] = (), *, liveness: bool = True) -> None:
        self.manifest = Manifest(
            1,
            (
                card(Role.EMBEDDING, THRESHOLDS),
                card(Role.LIVENESS, {"live": 0.7, "attack": 0.3}, subjects),
            ),
        )

    def observe(self, frame: Frame, *, alone: bool = True) -> Observation:
        red, green, blue = (int(v) for v in frame.rgb()[0, 0])
        if red + green + blue == 0:
            return Observation(0, 0, frame.width, frame.height, (), None)
        vector = np.zeros(192, np.float32)
        cosine = 1 - green / 255
        vector[red], vector[191] = cosine, np.sqrt(1 - cosine**2)
        score = np.clip(blue / 255, 1e-6, 1 - 1e-6)
        logit = float(np.log(score / (1 - score)))
        return Observation(
            0, 0, frame.width, frame.height, (FACE,), None, embedding=vector, liveness_logit=logit
        )


def paint(folder: Path, name: str, who: int = 0, cosine: float = 1.0, live: float = 1.0) -> str:
    """A picture of person `who`, `cosine` from their direction; its name."""
    bgr = (round(live * 255), round((1 - cosine) * 255), who)
    cv2.imwrite(str(folder / name), np.full((4, 4, 3), bgr, np.uint8))
    return name


def paint_nothing(folder: Path, name: str) -> str:
    cv2.imwrite(str(folder / name), np.zeros((4, 4, 3), np.uint8))
    return name
