from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kiosk.vision.border import Border
from kiosk.vision.detect import Box
from kiosk.vision.dynamics import (
    BLINK_SPAN_S,
    CARRIED_LLR,
    LIVE_LLR,
    NO_BLINK_LLR,
    PLANE_LLR,
    SHEET_LLR,
    CueName,
    Reading,
    Sighting,
    blink,
    enclosure,
    eye_openness,
    planarity,
)

FRAME_NS = 33_000_000
FRAMED = Border(1.2, 1.0, 1.2, 1.3)
SHEET = Border(1.2, None, 1.2, 1.3)
EYELIDS_UP, EYELIDS_DOWN = [160, 158, 385, 387], [144, 153, 380, 373]


@pytest.fixture(scope="module")
def mesh(portrait, detector, landmarker) -> np.ndarray:
    """A real face's points, its middle at 0 and its eyes 1 apart."""
    points = landmarker.find(portrait, detector.detect(portrait)[0]).points.astype(np.float64)
    points -= points.mean(axis=0)
    return points / np.hypot(*(points[263, :2] - points[33, :2]))


def seen(points: np.ndarray, number: int = 0, border: Border | None = None, x: float = 300) -> Sighting:
    box = Box(x - 100, 200, x + 100, 400)
    return Sighting(points.astype(np.float32), number * FRAME_NS, box, border)


def on_frame(points: np.ndarray, px: float = 100.0, x: float = 320.0, y: float = 240.0) -> np.ndarray:
    return points * px + np.array([x, y, 0.0])


def turned_head(points: np.ndarray, yaw: float, pitch: float) -> np.ndarray:
    """The head seen from afar after a turn, degrees."""
    y, p = np.radians([yaw, pitch])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    return points @ (about_x @ about_y).T


def turned_picture(points: np.ndarray, yaw: float, pitch: float, distance: float = 5.0) -> np.ndarray:
    """A picture of that face, turned before a camera `distance` eye distances away."""
    flat = np.column_stack([points[:, :2], np.zeros(len(points))])
    placed = turned_head(flat, yaw, pitch) + np.array([0, 0, distance])
    return np.column_stack([distance * placed[:, :2] / placed[:, 2:], points[:, 2]])


turns = st.tuples(st.floats(-35, 35), st.floats(-25, 25))


@given(st.lists(turns, min_size=1, max_size=4), st.randoms())
def test_a_picture_that_is_turned_never_looks_like_a_head(mesh, angles, chance):
    noise = np.random.default_rng(chance.randrange(2**32))
    frames = [on_frame(turned_picture(mesh, *angle)) for angle in [(0.0, 0.0), *angles]]
    for frame in frames:
        frame[:, :2] += noise.normal(0, 0.1, (468, 2))
    cue = planarity([seen(frame, i) for i, frame in enumerate(frames)])
    assert cue.reading is not Reading.LIVE
    assert -PLANE_LLR <= cue.llr <= 0


@given(
    st.lists(st.floats(-0.2, 0.2), min_size=4, max_size=4),
    st.lists(st.floats(-0.08, 0.08), min_size=2, max_size=2),
)
def test_a_plane_under_any_homography_leaves_nothing(mesh, affine, perspective):
    matrix = np.eye(3)
    matrix[:2, :2] += np.reshape(affine, (2, 2))
    matrix[2, :2] = perspective
    bent = cv2.perspectiveTransform(mesh[None, :, :2], matrix)[0]
    cue = planarity([seen(on_frame(mesh)), seen(on_frame(np.column_stack([bent, mesh[:, 2]])), 1)])
    if cue.reading is not Reading.UNAVAILABLE:
        assert cue.value < 0.05
        assert cue.llr == -PLANE_LLR


@given(st.floats(12, 35), st.sampled_from([-1, 1]), st.floats(-10, 10))
def test_a_head_that_turns_is_no_plane(mesh, yaw, side, pitch):
    cue = planarity([seen(on_frame(mesh)), seen(on_frame(turned_head(mesh, side * yaw, pitch)), 1)])
    assert cue.value > 0.5
    assert cue.reading is Reading.LIVE
    assert 0 < cue.llr <= LIVE_LLR


@given(turns, st.floats(0.3, 4), st.floats(-500, 500), st.floats(-500, 500))
def test_planarity_does_not_depend_on_where_and_how_large_the_face_is(mesh, angle, size, x, y):
    assume(abs(angle[0]) > 12)
    first, second = mesh, turned_head(mesh, *angle)
    here = planarity([seen(on_frame(first)), seen(on_frame(second), 1)])
    there = planarity([seen(on_frame(first, 100 * size, x, y)), seen(on_frame(second, 100 * size, y, x), 1)])
    assert there.value == pytest.approx(here.value, abs=0.02)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_face_that_does_not_turn_says_nothing_about_planes(mesh, count):
    shifted = [seen(on_frame(mesh, 100 + i, 300 + 5 * i), i) for i in range(count)]
    cue = planarity(shifted)
    assert (cue.name, cue.reading, cue.value, cue.llr) == (CueName.PLANE, Reading.UNAVAILABLE, None, 0.0)


def test_points_that_coincide_are_not_measured():
    dots = [seen(np.full((468, 3), float(i)), i) for i in range(30)]
    assert planarity(dots).reading is Reading.UNAVAILABLE
    assert blink(dots).reading is Reading.UNAVAILABLE


def blinking(mesh: np.ndarray, closed: set[int], frames: int, gap_ns: int = FRAME_NS) -> list[Sighting]:
    lids = mesh.copy()
    middle = (mesh[EYELIDS_UP] + mesh[EYELIDS_DOWN]) / 2
    for edge in (EYELIDS_UP, EYELIDS_DOWN):
        lids[edge] = middle + 0.2 * (mesh[edge] - middle)
    return [
        replace(seen(on_frame(lids if i in closed else mesh)), timestamp_ns=i * gap_ns) for i in range(frames)
    ]


def test_eyes_that_close_and_open_again_blink(mesh):
    cue = blink(blinking(mesh, {8, 9, 10}, 30))
    assert (cue.reading, cue.value, cue.llr) == (Reading.LIVE, 1.0, LIVE_LLR)


def test_every_blink_is_counted_and_two_weigh_no_more_than_one(mesh):
    cue = blink(blinking(mesh, {5, 6, 15, 16, 17}, 30))
    assert (cue.value, cue.llr) == (2.0, LIVE_LLR)


@pytest.mark.parametrize("closed", [range(10), range(30, 40), range(10, 24)])
def test_eyes_that_stay_closed_or_open_late_do_not_blink(mesh, closed):
    assert blink(blinking(mesh, set(closed), 40, gap_ns=50_000_000)).value == 0.0


def test_not_blinking_speaks_against_a_person_the_more_the_longer_it_lasts(mesh):
    short, long = (blink(blinking(mesh, set(), n)) for n in (30, 300))
    assert (short.reading, long.reading) == (Reading.NEUTRAL, Reading.ATTACK)
    assert -NO_BLINK_LLR <= long.llr < short.llr < 0
    assert blink(blinking(mesh, set(), 600, 60_000_000)).llr == -NO_BLINK_LLR


@pytest.mark.parametrize(("frames", "gap_ns"), [(4, FRAME_NS), (15, 30_000_000), (30, 200_000_000)])
def test_too_short_or_too_slow_a_look_says_nothing_about_blinks(mesh, frames, gap_ns):
    assert (frames - 1) * gap_ns / 1e9 < BLINK_SPAN_S or gap_ns > 120_000_000
    assert blink(blinking(mesh, {2}, frames, gap_ns)).reading is Reading.UNAVAILABLE


@given(st.floats(0.1, 10), st.floats(-1000, 1000))
def test_how_open_eyes_are_does_not_depend_on_size_or_place(mesh, size, x):
    moved = on_frame(mesh, 100 * size, x, -x)
    assert eye_openness(moved) == pytest.approx(float(eye_openness(mesh)), rel=1e-3)
    assert 0.1 < eye_openness(mesh) < 0.6


def test_edges_on_four_sides_weigh_more_than_on_three_and_none_weigh_nothing(mesh):
    def llr(border: Border) -> float:
        return enclosure([seen(mesh, i, border) for i in range(3)]).llr

    assert llr(FRAMED) == -SHEET_LLR[4]
    assert llr(SHEET) == -SHEET_LLR[3]
    assert llr(Border(1.2, None, 1.2, None)) == llr(Border(None, None, None, None)) == 0.0


def test_a_border_in_few_frames_is_none(mesh):
    cue = enclosure([seen(mesh, i, FRAMED if i == 0 else Border(None, None, None, None)) for i in range(3)])
    assert (cue.reading, cue.value) == (Reading.NEUTRAL, 0.0)


def test_edges_that_stand_while_the_face_moves_are_the_rooms(mesh):
    doorway = [
        seen(mesh, i, Border((x - 60) / 200, 1.0, (540 - x) / 200, None), x)
        for i, x in enumerate((290, 310, 330, 350))
    ]
    assert (enclosure(doorway).llr, enclosure(doorway).reading) == (0.0, Reading.NEUTRAL)


def test_edges_that_move_with_the_face_are_a_sheets(mesh):
    carried = [seen(mesh, i, SHEET, x) for i, x in enumerate((290, 310, 330, 350))]
    assert enclosure(carried).llr == -CARRIED_LLR


def test_a_border_that_was_not_measured_is_unavailable(mesh):
    assert enclosure([seen(mesh)]).reading is Reading.UNAVAILABLE
