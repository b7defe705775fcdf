"""What several frames of one face say together that no single frame does, as bounded evidence.

Pure: sightings (landmarks, time, box, border) go in, a cue comes out. A cue that could not be measured is
`unavailable` and weighs nothing. In favour of a living person no cue weighs more than `LIVE_LLR`: a replayed
film of somebody turns its head and blinks as well.

    cue      speaks for an attack                                      speaks for a living person
    plane    head "turns", landmarks follow one homography             they do not
    blink    none in all this time (weakly)                            one
    border   straight edges on three or four sides, not the room's     -
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from kiosk.vision.border import Border
from kiosk.vision.detect import Box

__all__ = [
    "Cue",
    "CueName",
    "Reading",
    "Sighting",
    "blink",
    "enclosure",
    "eye_openness",
    "planarity",
    "unavailable",
]

SPEAKS: Final = 0.2
"""Evidence of less reads `neutral` (odds of 6 in 11); it counts all the same."""
LIVE_LLR: Final = 0.69
"""ln 2: what a living person does and half of the attacks (replays of a film) do too. An estimate."""

RIGID: Final = (
    1, 2, 4, 5, 6, 168, 197, 195, 98, 327, 151, 9, 67, 297, 50, 280, 117, 346, 205, 425, 33, 133, 362, 263,
)  # fmt: skip
"""Mesh points of nose, forehead, cheeks and eye corners: what neither talking nor blinking moves."""
LEAST_MOTION: Final = 0.02
"""Below it a change of shape is the mesh's own noise. In distances between the outer eye corners."""
PLANE_RATIO, HEAD_RATIO = 0.28, 0.70
RATIO_SPREAD: Final = 0.13
"""Medians and standard deviation of `planarity`'s ratio for held prints and for living people (NUAA: 115 and
201 pairs of frames, `tools/pad/fusion.py`). The three give the log-likelihood ratio of two normals."""
PLANE_LLR: Final = 1.5
"""Most that planarity weighs against a living person: measured on the prints of eight people only."""

_EYES: Final = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
CLOSED, OPEN = 0.65, 0.80
"""Of the median opening of this very look: below it an eye is closed, above it open again."""
LONGEST_BLINK_S: Final = 0.6
BLINK_SPAN_S: Final = 0.5
"""Less than this has no room for a blink with open eyes before and after it."""
FRAME_GAP_S: Final = 0.12
"""A blink takes 0.1 to 0.4 s: frames further apart can miss it."""
BLINKS_PER_S: Final = 0.075
"""The lowest rate of people who look at something: 4.5 a minute, reading (Bentivoglio et al. 1997, Movement
Disorders 12:1028). Not blinking for T seconds then has probability exp(-rate T) for a living person, 1 for
a print: LLR = -rate T."""
NO_BLINK_LLR: Final = 0.7

SHEET_LLR: Final = {3: 1.0, 4: 1.5}
"""By the number of sides with a straight edge in a frame. Three: 4.5 % of LFW's press pictures (558), 0.1 %
of living people before webcams and in clips (3,506), but 15 % of held prints (800), 80 % of a phone's frames
(144) and 1.6 % of attacks that fill the frame (1,799). Four: 1.3 %, none; 28 %, 4 %, 0.1 %. From
`tools/pad/fusion.py`; mean of the attacks' four species by LFW's share, rounded towards 0."""
CARRIED_LLR: Final = 2.5
"""Of edges that move with the face: no room does that. An estimate."""
FACE_MOVED: Final = 0.15
"""Face widths that a face has to move before edges can be told to move with it, or to stand."""
CARRIED, STANDING = 0.7, 0.3
"""Edge's movement by the face's."""


class CueName(StrEnum):
    """What is read beside the anti-spoof network."""

    PLANE = "plane"
    """Landmarks of several frames lie on one rigid plane (a picture), or do not (a head)."""
    BLINK = "blink"
    """The eyes closed and opened."""
    BORDER = "border"
    """Straight edges of a sheet or a screen enclose the face."""


class Reading(StrEnum):
    """Which way a cue points."""

    LIVE = "live"
    ATTACK = "attack"
    NEUTRAL = "neutral"
    """Measured, and says next to nothing either way."""
    UNAVAILABLE = "unavailable"
    """Not measurable in these frames."""


@dataclass(frozen=True, slots=True)
class Cue:
    """One cue of one look: its measure (None when unavailable) and its log-likelihood ratio.

    `llr` is in nats, positive for live; 0 when it says nothing. What `value` measures is the cue's own.
    """

    name: CueName
    reading: Reading
    value: float | None
    llr: float


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """One face in one frame: `points` float32[468, 3] in frame pixels, `timestamp_ns` of the sensor, the
    detector's `box`, and the `border` where it was measured."""

    points: NDArray[np.float32]
    timestamp_ns: int
    box: Box
    border: Border | None = None


def unavailable(name: CueName) -> Cue:
    """The cue that could not be measured."""
    return Cue(name, Reading.UNAVAILABLE, None, 0.0)


def planarity(sightings: Sequence[Sighting]) -> Cue:
    """Whether the face is a rigid plane: `value` is what is left of its change of shape after a homography.

    Each frame is compared with the first. What a similarity (shift, scale, turn in the picture) leaves is
    motion in depth; what a homography leaves of that is none for a plane, and most of it for a head, whose
    nose moves against its cheeks. `value`: the median, in [0, 1], over the five frames that moved most.
    """
    if len(sightings) < 2:
        return unavailable(CueName.PLANE)
    points = np.stack([s.points[:, :2] for s in sightings]).astype(np.float64)
    eyes = np.hypot(*(points[1:, 263] - points[1:, 33]).T)
    first, later = points[0, RIGID], points[1:, RIGID]
    left = _after_similarity(first, later)
    moved = np.divide(left, eyes, out=np.zeros_like(left), where=eyes > 0)
    most = [i for i in np.argsort(-moved)[:5] if moved[i] >= LEAST_MOTION]
    if not most:
        return unavailable(CueName.PLANE)
    ratio = float(np.median([_after_homography(first, later[i], left[i]) / left[i] for i in most]))
    middle = (PLANE_RATIO + HEAD_RATIO) / 2
    llr = (HEAD_RATIO - PLANE_RATIO) / RATIO_SPREAD**2 * (ratio - middle)
    return _cue(CueName.PLANE, ratio, float(np.clip(llr, -PLANE_LLR, LIVE_LLR)))


def blink(sightings: Sequence[Sighting]) -> Cue:
    """Whether the eyes closed and opened again; `value` is the number of times."""
    if len(sightings) < 5:
        return unavailable(CueName.BLINK)
    times = np.array([s.timestamp_ns for s in sightings]) / 1e9
    opening = eye_openness(np.stack([s.points for s in sightings]))
    usual, span = float(np.median(opening)), float(times[-1] - times[0])
    if span < BLINK_SPAN_S or usual <= 0 or float(np.median(np.diff(times))) > FRAME_GAP_S:
        return unavailable(CueName.BLINK)
    times_closed = _closings(times, opening / usual)
    llr = LIVE_LLR if times_closed else -min(BLINKS_PER_S * span, NO_BLINK_LLR)
    return _cue(CueName.BLINK, float(times_closed), llr)


def enclosure(sightings: Sequence[Sighting]) -> Cue:
    """Whether a sheet's or a screen's edges surround the face; `value` is on how many sides, 0 to 4.

    That many sides have an edge in at least half of the frames. A kiosk's camera stands still: edges that
    stay where they are while the face moves belong to the room and say nothing, edges that move with the
    face weigh most. Without edges: nothing, for a picture can fill the frame.
    """
    seen = [(s, s.border) for s in sightings if s.border is not None]
    if not seen:
        return unavailable(CueName.BORDER)
    sides = int(np.median([border.found for _, border in seen]))
    weight = SHEET_LLR.get(sides, 0.0)
    carried = _carried(seen) if weight else None
    if carried is not None and carried <= STANDING:
        weight = 0.0
    elif carried is not None and carried >= CARRIED:
        weight = CARRIED_LLR
    return _cue(CueName.BORDER, float(sides), 0.0 - weight)


def eye_openness(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Height of the eyes by their width, mean of both, about 0.3 for open ones (Soukupová & Čech 2016).

    `points`: float32[..., 468, 3]; the answer has the shape of what stands for the dots. 0 without an eye.
    """
    eyes = points[..., _EYES, :2].astype(np.float64)  # [..., eye, point, xy]

    def far(one: int, other: int) -> NDArray[np.float64]:
        step = eyes[..., one, :] - eyes[..., other, :]
        return np.asarray(np.hypot(step[..., 0], step[..., 1]), np.float64)

    width = 2 * far(0, 3)
    height = far(1, 5) + far(2, 4)
    return np.asarray(np.divide(height, width, out=np.zeros_like(width), where=width > 0).mean(axis=-1))


def _cue(name: CueName, value: float, llr: float) -> Cue:
    reading = Reading.LIVE if llr > SPEAKS else Reading.ATTACK if llr < -SPEAKS else Reading.NEUTRAL
    return Cue(name, reading, value, llr)


def _after_similarity(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square, in px of `after`, of what the best shift, scale and turn of `before` leaves.

    float64[n, 2] and float64[m, n, 2] to float64[m].
    """
    start, end = (points[..., 0] + 1j * points[..., 1] for points in (before, after))
    start, end = (line - line.mean(axis=-1, keepdims=True) for line in (start, end))
    size = float(np.vdot(start, start).real)
    turn = (end @ np.conj(start)) / size if size > 0 else np.zeros(len(end))
    left = end - turn[:, None] * start
    return np.asarray(np.sqrt(np.mean(np.abs(left) ** 2, axis=-1)), np.float64)


def _after_homography(before: NDArray[np.float64], after: NDArray[np.float64], similar: float) -> float:
    """The same of one frame for the best homography: never more than a similarity (it is one) leaves."""
    matrix, _ = cv2.findHomography(before, after, 0)
    if np.shape(matrix) != (3, 3):
        return similar
    mapped = cv2.perspectiveTransform(before[None], matrix)[0]
    return float(np.fmin(np.sqrt(np.mean(np.sum((mapped - after) ** 2, axis=1))), similar))


def _closings(times: NDArray[np.float64], opening: NDArray[np.float64]) -> int:
    """How often eyes that were open closed and opened again within a blink's time."""
    count, open_at, closed = 0, None, False
    for time, wide in zip(times, opening, strict=True):
        if wide >= OPEN:
            count += closed and open_at is not None and time - open_at <= LONGEST_BLINK_S
            open_at, closed = time, False
        elif wide < CLOSED:
            closed = True
    return count


def _carried(seen: Sequence[tuple[Sighting, Border]]) -> float | None:
    """By how much the edges follow the face, 0 for the room's and 1 for a sheet's; None when it stood still.

    The median over the sides of the slope of the edge's place over the face's, both in frame pixels.
    """
    slopes = []
    for side, (axis, sign) in enumerate(((0, -1), (1, -1), (0, 1), (1, 1))):
        at = [
            (s.box.centre[axis], s.box.centre[axis] + sign * reach * s.box.width, s.box.width)
            for s, border in seen
            if (reach := border.sides[side]) is not None
        ]
        if len(at) < 2:
            continue
        face, edge, width = (np.array(column) for column in zip(*at, strict=True))
        if np.ptp(face) >= FACE_MOVED * np.median(width):
            slopes.append(float(np.polyfit(face, edge, 1)[0]))
    return float(np.median(slopes)) if slopes else None
