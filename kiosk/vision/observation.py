"""What vision says about one frame: the faces in it, the payer's among them, and how good that one is.

An observation is data: it holds no picture. Its embedding is a biometric template: it goes to the gallery
and nowhere else, and is forgotten with the observation.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kiosk.vision.border import Border
from kiosk.vision.colour import FaceColour
from kiosk.vision.detect import DetectedFace
from kiosk.vision.landmarks import Landmarks
from kiosk.vision.quality import Hint, Pose, Quality

__all__ = ["Observation"]


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """One frame's worth.

    `faces` are all, the payer's first; `landmarks`, `pose`, `quality`, `colour` and `border` are the
    payer's, None without one.
    `embedding` (float32[192], length 1) and `liveness_logit` (positive for live) are there only when exactly
    one person stands before the kiosk. `hint` is what to mend first; None: this frame is good enough.
    `timings_ms` has one entry a stage that ran.
    """

    sequence: int
    timestamp_ns: int
    width: int
    height: int
    faces: tuple[DetectedFace, ...]
    hint: Hint | None
    landmarks: Landmarks | None = field(default=None, repr=False)
    pose: Pose | None = None
    quality: Quality | None = None
    embedding: NDArray[np.float32] | None = field(default=None, repr=False)
    liveness_logit: float | None = None
    colour: FaceColour | None = field(default=None, repr=False)
    border: Border | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)

    @property
    def payer(self) -> DetectedFace | None:
        """The face that the look is about; None when there is none."""
        return self.faces[0] if self.faces else None

    @property
    def liveness(self) -> float | None:
        """In [0, 1], 1 for live; None when it was not measured."""
        if self.liveness_logit is None:
            return None
        return float(1.0 / (1.0 + np.exp(-self.liveness_logit)))
