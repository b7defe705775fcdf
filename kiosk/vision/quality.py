"""Is this face good enough to compare, and if not, what should the payer do: one hint at a time.

Measures after ISO/IEC 29794-5 (the names in `Quality`), taken on the aligned face (112 x 112) and its mesh,
so that they mean the same at every distance; two sets of limits: `LIMITS` for a payment, `ENROLMENT_LIMITS`,
which are stricter, for a reference. None is on brightness: it is the skin's as much as the light's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import StrEnum
from operator import attrgetter
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from kiosk.vision.align import ALIGNED_PX
from kiosk.vision.detect import DetectedFace
from kiosk.vision.embed import Embedding
from kiosk.vision.landmarks import Landmarks

__all__ = [
    "ENROLMENT_LIMITS",
    "LIMITS",
    "Hint",
    "Limits",
    "Pose",
    "Quality",
    "SteadyHint",
    "assess",
    "hint_for",
    "pose_of",
]


class Hint(StrEnum):
    """What the payer is asked to do. The screen's text table has one line for each."""

    LOOK_HERE = "look_here"
    ONE_PERSON = "one_person"
    CLOSER = "closer"
    FURTHER = "further"
    MOVE_INTO_VIEW = "move_into_view"
    UNCOVER_FACE = "uncover_face"
    UNCOVER_EYES = "uncover_eyes"
    OPEN_EYES = "open_eyes"
    CLOSE_MOUTH = "close_mouth"
    MORE_LIGHT = "more_light"
    LESS_LIGHT = "less_light"
    EVEN_LIGHT = "even_light"
    HOLD_STILL = "hold_still"


@dataclass(frozen=True, slots=True)
class Pose:
    """Degrees. `yaw` > 0: turned to the subject's left; `pitch` > 0: looking up; `roll` > 0: clockwise."""

    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of one face; in brackets the ISO/IEC 29794-5 measure that each one follows.

    Where it is:
    - `face_px`, `eyes_px` [head size, inter-eye distance]: the box's width, the distance of the eyes, in px.
    - `fill` [head size]: the box's width in parts of the frame's shorter side.
    - `outside` [crop of the face image]: the part of the face's outline beyond the frame, [0, 1].

    What is seen of it:
    - `presence` [face occlusion prevention]: the mesh's own score, [0, 1].
    - `mouth_seen` [mouth occlusion prevention]: contrast around the mouth in parts of the face's, [0, about
      2]; a plain mask or a hand has hardly any. A mask with a printed mouth passes.
    - `eyes_seen` [eyes visible]: light around the better lit eye in parts of the cheeks', [0, about 2]; dark
      glasses are below a third. 1 where the face itself is dark: there it can't be told from deep-set eyes.
    - `eyes_burnt` [eyes visible]: how much more of an eye's surroundings than of the face is at or
      above 240, [0, 1]: glare on glasses.
    - `eyes_open` [eyes open]: the lids' distance in parts of the outer eye corners', mean of both eyes.
    - `mouth_open` [mouth closed]: the lips' distance in parts of that from eyes to chin.

    How it is lit:
    - `brightness` [luminance mean]: the face's mean luma, [0, 255]. Told, never judged.
    - `contrast` [dynamic range]: from the 5th to the 95th percentile of its luma, [0, 255].
    - `burnt` [over-exposure prevention]: the part of it at or above 250, [0, 1].
    - `evenness` [illumination uniformity]: the darker cheek's light in parts of the other's, [0, 1]. 1 on a
      turned head: the far cheek is out of sight.
    - `noise` [no noise]: the finest grain's standard deviation in parts of the face's, [0, about 1].

    How sharp it is:
    - `sharpness` [sharpness]: the Laplacian's standard deviation in parts of the luma's, [0, about 3].
    - `smear` [motion blur]: the weaker in parts of the stronger of the second derivatives across and down,
      and along both diagonals, [0, 1]; a face that moves while the shutter is open loses one.

    And what the embedding network makes of it [unified quality score]:
    - `magnitude`: the length of its answer, about 40 to 100.
    - `symmetry`: the cosine between its answers to the picture and to the mirror image.
    - `score`: in [0, 1], .5 for an ordinary photograph; the lower, the likelier the face is not recognised.
    """

    face_px: float
    eyes_px: float
    fill: float
    outside: float
    presence: float
    mouth_seen: float
    eyes_seen: float
    eyes_burnt: float
    eyes_open: float
    mouth_open: float
    brightness: float
    contrast: float
    burnt: float
    evenness: float
    noise: float
    sharpness: float
    smear: float
    magnitude: float
    symmetry: float
    score: float

    @property
    def weight(self) -> float:
        """In [.25, 1]: how much this face counts beside others of one person."""
        return min(max(self.score / _FULL_WEIGHT, _LEAST_WEIGHT), 1.0)


_NUMBERS: Final = attrgetter(*(field.name for field in fields(Quality)))


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a face is not compared but a hint is given, in the units of `Quality` and `Pose`."""

    face_px: float
    eyes_px: float
    fill: float
    outside: float
    presence: float
    mouth_seen: float
    eyes_seen: float
    eyes_burnt: float
    eyes_open: float
    mouth_open: float
    contrast: float
    burnt: float
    evenness: float
    noise: float
    sharpness: float
    smear: float
    yaw: float
    pitch: float
    roll: float


LIMITS: Final = Limits(
    face_px=56.0,
    eyes_px=18.0,
    fill=1.4,
    outside=0.25,
    presence=0.5,
    mouth_seen=0.18,
    eyes_seen=0.2,
    eyes_burnt=0.3,
    eyes_open=0.039,
    mouth_open=1.0,
    contrast=22.0,
    burnt=0.5,
    evenness=0.1,
    noise=0.2,
    sharpness=0.11,
    smear=0.38,
    yaw=45.0,
    pitch=32.0,
    roll=35.0,
)
"""For a payment: just outside what ordinary photographs and webcams show, and inside of where the cosine with
an undisturbed picture falls (docs/adr/0034-quality-gate.md); `tools/set_thresholds.py --quality` prints the
percentiles. The mouth may be open."""

ENROLMENT_LIMITS: Final = Limits(
    face_px=70.0,
    eyes_px=26.0,
    fill=1.2,
    outside=0.15,
    presence=0.8,
    mouth_seen=0.22,
    eyes_seen=0.33,
    eyes_burnt=0.12,
    eyes_open=0.046,
    mouth_open=0.2,
    contrast=35.0,
    burnt=0.15,
    evenness=0.3,
    noise=0.12,
    sharpness=0.16,
    smear=0.48,
    yaw=35.0,
    pitch=25.0,
    roll=25.0,
)
"""For a reference, which every later payment is compared with: about where the best 99 % of
the same people are."""


# The score's forecast, fitted to the cosines of 824 pairs of pictures of one person (LFW people of verify.csv
# who are not in identify.csv) and of 6,853 whose one picture was blurred, darkened, covered, cut and so on.
_MAGNITUDE: Final = 0.0936
_SYMMETRY: Final = 2.54
_SHARPNESS: Final = 11.3
_SMEAR: Final = 3.29
_EYES_SEEN: Final = 2.18
_PITCH: Final = 0.139
_ORDINARY: Final = 17.83
"""The forecast's median on these people: there the score is .5."""

_FULL_WEIGHT: Final = 0.05
_LEAST_WEIGHT: Final = 0.25
"""Measured best: a weight that follows the score further loses what different pictures add to one another."""

_NEUTRAL_PITCH: Final = -4.0
"""The mesh's pitch of a face that looks straight ahead: the median of the same run."""

_OUTLINE: Final = np.array(
    [
        *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
        *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
    ]
)
"""The mesh's points along the edge of the face."""
_CHIN: Final = 152
_UPPER_LIDS: Final = np.array([160, 159, 158, 385, 386, 387])
_LOWER_LIDS: Final = np.array([144, 145, 153, 380, 374, 373])
"""Three points of each upper lid, and those that they close on."""
_EYE_CORNERS: Final = ((33, 133), (263, 362))
"""Outer and inner, of the subject's right eye and of the left."""
_LIPS: Final = (13, 14)

# In the aligned face, whose eyes and mouth corners always lie in the same places.
_CORE: Final = (slice(24, 108), slice(20, 92))
_INNER: Final = (slice(1, -1), slice(1, -1))
"""Beyond it a filter sees neighbours that it made up."""
_MOUTH: Final = (slice(86, 100), slice(44, 69))
_CHEEKS: Final = ((slice(70, 81), slice(28, 39)), (slice(70, 81), slice(73, 84)))
_EYES: Final = ((slice(45, 59), slice(29, 48)), (slice(45, 59), slice(65, 84)))
_SECOND_DERIVATIVES: Final = (
    np.array([[1, -2, 1]], np.float32),
    np.array([[1], [-2], [1]], np.float32),
    np.diag(np.array([1, -2, 1], np.float32)),
    np.ascontiguousarray(np.diag(np.array([1, -2, 1], np.float32))[::-1]),
)
"""Across, down, and along the falling and the rising diagonal."""
_BURNT: Final = 250
_GLARE: Final = 240
_BOTH_CHEEKS: Final = 25.0
"""Degrees of yaw up to which the patch of the far cheek lies on the cheek, not behind it."""
_DARK: Final = 75.0
"""Mean luma below which deep-set eyes under a lamp are as dark as sunglasses (a woman of Replay-Attack; the
wearers of dark glasses in LFW are above 83)."""


def _ellipse() -> NDArray[np.uint8]:
    """uint8[112, 112]: 1 where the face is, with little hair and background."""
    mask = np.zeros((ALIGNED_PX, ALIGNED_PX), np.uint8)
    cv2.ellipse(mask, (56, 66), (36, 44), 0, 0, 360, 1, -1)
    return mask


_FACE: Final = _ellipse()
_FACE_PX: Final = int(_FACE.sum())


def pose_of(landmarks: Landmarks) -> Pose:
    """The head's turn, from the mesh's depth: the line between the eyes, and that from forehead to chin."""
    p = landmarks.points
    x, y, z = (p[362] + p[263] - p[33] - p[133]).tolist()
    sideways, down, forward = (p[152] - p[10]).tolist()
    return Pose(
        yaw=math.degrees(math.atan2(z, math.hypot(x, y))),
        pitch=-math.degrees(math.atan2(forward, math.hypot(sideways, down))) - _NEUTRAL_PITCH,
        roll=math.degrees(math.atan2(y, x)),
    )


def assess(
    aligned: NDArray[np.uint8],
    face: DetectedFace,
    landmarks: Landmarks,
    size: tuple[int, int],
    *,
    pose: Pose,
    embedding: Embedding,
) -> Quality:
    """The measures of a face: `aligned` is uint8[112, 112, 3], `size` the frame's width and height, in px."""
    luma = np.asarray(cv2.cvtColor(aligned, cv2.COLOR_RGB2GRAY), np.uint8)
    light = _light(luma)
    points = landmarks.points[:, :2]
    right, left = ((points[outer] + points[inner]) / 2 for outer, inner in _EYE_CORNERS)
    length = max(_apart((right + left) / 2, points[_CHIN]), 1e-6)
    edge = points[_OUTLINE]
    beyond = ((edge < 0) | (edge > np.asarray(size, np.float32))).any(axis=1)
    cheeks = (cv2.mean(luma[_CHEEKS[0]])[0], cv2.mean(luma[_CHEEKS[1]])[0])
    sharpness, smear, noise = _detail(luma, light.spread)
    eyes_seen = _eyes_seen(luma, cheeks) if light.mean >= _DARK else 1.0
    return Quality(
        face_px=face.box.width,
        eyes_px=_apart(right, left),
        fill=face.box.width / min(size),
        outside=float(beyond.mean()),
        presence=landmarks.presence,
        mouth_seen=_deviation(luma[_MOUTH]) / light.spread,
        eyes_seen=eyes_seen,
        eyes_burnt=max(0.0, *(_glaring(luma[eye]) - light.glaring for eye in _EYES)),
        eyes_open=_eyes_open(landmarks.points),
        mouth_open=_apart(points[_LIPS[0]], points[_LIPS[1]]) / length,
        brightness=light.mean,
        contrast=light.range,
        burnt=light.burnt,
        evenness=_evenly(*cheeks) if abs(pose.yaw) <= _BOTH_CHEEKS else 1.0,
        noise=noise,
        sharpness=sharpness,
        smear=smear,
        magnitude=embedding.magnitude,
        symmetry=embedding.symmetry,
        score=_score(pose, eyes_seen, sharpness, smear, embedding),
    )


def _score(pose: Pose, eyes_seen: float, sharpness: float, smear: float, embedding: Embedding) -> float:
    """A linear forecast of the cosine with another picture of the person, as a number in [0, 1]."""
    forecast = (
        _MAGNITUDE * embedding.magnitude
        + _SYMMETRY * math.atanh(max(min(embedding.symmetry, 0.999), -0.999))
        + _SHARPNESS * min(sharpness, 0.3)
        + _SMEAR * smear
        + _EYES_SEEN * math.log(min(max(eyes_seen, 0.05), 0.9))
        - _PITCH * max(abs(pose.pitch) - 12.0, 0.0)
        - _ORDINARY
    )
    return 1.0 / (1.0 + math.exp(-max(forecast, -700.0)))


@dataclass(frozen=True, slots=True)
class _Light:
    """Luma within the face: mean, standard deviation (1 at least), 5th to 95th percentile, bright parts."""

    mean: float
    spread: float
    range: float
    glaring: float
    burnt: float


def _light(luma: NDArray[np.uint8]) -> _Light:
    mean, spread = (float(value[0, 0]) for value in cv2.meanStdDev(luma, mask=_FACE))
    share = cv2.calcHist([luma], [0], _FACE, [256], [0, 256]).ravel() / _FACE_PX
    low, high = np.searchsorted(share.cumsum(), (0.05, 0.95)).tolist()
    return _Light(
        mean=mean,
        spread=max(spread, 1.0),
        range=float(high - low),
        glaring=float(share[_GLARE:].sum()),
        burnt=float(share[_BURNT:].sum()),
    )


def _detail(luma: NDArray[np.uint8], spread: float) -> tuple[float, float, float]:
    """Sharpness, smear and noise, in parts of the face's spread: skin and light cancel out."""
    part = luma[_CORE].astype(np.float32)
    across, down, falling, rising = (
        _deviation(cv2.filter2D(part, cv2.CV_32F, kernel)[_INNER]) for kernel in _SECOND_DERIVATIVES
    )
    smear = min(_evenly(across, down), _evenly(falling, rising))
    laplacian = _deviation(cv2.Laplacian(part, cv2.CV_32F)[_INNER])
    # The diagonal Haar band; its median is the noise's, not the eyebrows' (Donoho 1995).
    diagonal = part[::2, ::2] - part[1::2, ::2] - part[::2, 1::2] + part[1::2, 1::2]
    noise = _quantile(np.abs(diagonal), 0.5) / 2 / 0.6745
    return laplacian / spread, smear, noise / spread


def _eyes_seen(luma: NDArray[np.uint8], cheeks: tuple[float, float]) -> float:
    """The upper quartile around the better lit eye, in parts of the cheeks' light."""
    return max(_quantile(luma[eye], 0.75) for eye in _EYES) / max(sum(cheeks) / 2, 1.0)


def _glaring(luma: NDArray[np.uint8]) -> float:
    return float(np.count_nonzero(luma >= _GLARE)) / luma.size


def _eyes_open(points: NDArray[np.float32]) -> float:
    gaps = points[_UPPER_LIDS] - points[_LOWER_LIDS]
    width = points[_EYE_CORNERS[0][0]] - points[_EYE_CORNERS[1][0]]
    return float(np.sqrt((gaps * gaps).sum(axis=1)).mean()) / max(math.sqrt(float(width @ width)), 1e-6)


def _evenly(one: float, other: float) -> float:
    """The smaller in parts of the larger, [0, 1]."""
    return min(one, other) / max(one, other, 1e-6)


# NumPy's own std, quantile and norm take most of a millisecond for so small a picture.
def _deviation(values: cv2.typing.MatLike) -> float:
    return float(cv2.meanStdDev(values)[1][0, 0])


def _quantile(values: NDArray[np.float32] | NDArray[np.uint8], part: float) -> float:
    rank = int(part * (values.size - 1))
    return float(np.partition(values, rank, axis=None)[rank])


def _apart(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return math.hypot(float(a[0] - b[0]), float(a[1] - b[1]))


def _is_measured(quality: Quality, pose: Pose) -> bool:
    return all(map(math.isfinite, (*_NUMBERS(quality), pose.yaw, pose.pitch, pose.roll)))


def hint_for(quality: Quality, pose: Pose, limits: Limits = LIMITS) -> Hint | None:
    """The one thing to mend first; None when the face is good enough to compare.

    In the order of what is easiest to do, but a cause before what it causes: in the dark all is blurred.
    """
    q, at = quality, limits
    turned = abs(pose.yaw) > at.yaw or abs(pose.pitch) > at.pitch or abs(pose.roll) > at.roll
    for wrong, hint in (
        (not _is_measured(quality, pose), Hint.LOOK_HERE),  # a NaN is on neither side of a limit
        (q.face_px < at.face_px or q.eyes_px < at.eyes_px, Hint.CLOSER),
        (q.fill > at.fill, Hint.FURTHER),
        (q.outside > at.outside, Hint.MOVE_INTO_VIEW),
        (q.burnt > at.burnt, Hint.LESS_LIGHT),
        (q.contrast < at.contrast or q.noise > at.noise, Hint.MORE_LIGHT),
        (q.presence < at.presence, Hint.UNCOVER_FACE),
        (turned, Hint.LOOK_HERE),
        (q.mouth_seen < at.mouth_seen, Hint.UNCOVER_FACE),
        (q.eyes_seen < at.eyes_seen or q.eyes_burnt > at.eyes_burnt, Hint.UNCOVER_EYES),
        (q.evenness < at.evenness, Hint.EVEN_LIGHT),
        (q.sharpness < at.sharpness or q.smear < at.smear, Hint.HOLD_STILL),
        (q.eyes_open < at.eyes_open, Hint.OPEN_EYES),
        (q.mouth_open > at.mouth_open, Hint.CLOSE_MOUTH),
    ):
        if wrong:
            return hint
    return None


class SteadyHint:
    """What the screen shows of the hints of a look's frames: readable, and gone when the face is good.

    A hint comes at once and stays `HOLD_MS`, whatever the next frames say, unless one of them is good. A
    blink is no hint: eyes count as closed when they were for `BLINK_MS`.
    """

    HOLD_MS: Final = 700
    """To read four words."""
    BLINK_MS: Final = 150
    """Shorter than most blinks' closed phase, and within the 200 ms in which a hint has to come."""

    def __init__(self) -> None:
        self._shown: Hint | None = None
        self._shown_ns = 0
        self._closed_ns: int | None = None

    def show(self, hint: Hint | None, timestamp_ns: int) -> Hint | None:
        """The hint to show after a frame of `timestamp_ns` that asked for `hint`."""
        if hint is not Hint.OPEN_EYES:
            self._closed_ns = None
        elif self._closed_ns is None:
            self._closed_ns = timestamp_ns
        if self._closed_ns is not None and timestamp_ns - self._closed_ns < self.BLINK_MS * 1_000_000:
            return self._shown
        held = self._shown is not None and timestamp_ns - self._shown_ns < self.HOLD_MS * 1_000_000
        if hint is None or (hint is not self._shown and not held):
            self._shown, self._shown_ns = hint, timestamp_ns
        return self._shown
