"""Enrolment's gate, with real networks and a shipped picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from kiosk.app.enrol import capture
from kiosk.app.look import look_at
from kiosk.devices.camera_file import StillSource, read_image
from kiosk.domain.decision import LookOutcome
from kiosk.vision.look import LookRules
from kiosk.vision.pipeline import Vision
from kiosk.vision.quality import ENROLMENT_LIMITS, LIMITS, Hint

PICTURE = Path(__file__).resolve().parents[2] / "assets" / "demo" / "enrol" / "pyr-b84xw1dz" / "1.jpg"


@pytest.fixture(scope="module")
def vision() -> Vision:
    return Vision()


def source(*pictures: Path) -> StillSource:
    opened = StillSource(pictures, str(pictures[0]))
    opened.open()
    return opened


def test_a_good_picture_makes_a_reference(vision: Vision) -> None:
    found = capture(source(PICTURE), vision, LookRules.of(vision.manifest))
    assert (found.outcome, found.looks, found.hint) == (LookOutcome.LIVE, 1, None)
    assert found.reference is not None
    assert np.linalg.norm(found.reference) == pytest.approx(1)


def test_who_is_near_enough_to_pay_may_have_to_come_closer_to_enrol(vision: Vision, tmp_path: Path) -> None:
    rgb = read_image(PICTURE)
    frame = source(PICTURE).read(1)
    assert frame is not None
    width = vision.observe(frame).faces[0].box.width
    scale = (LIMITS.face_px + ENROLMENT_LIMITS.face_px) / 2 / width
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    path = tmp_path / "further.png"
    cv2.imwrite(str(path), small[..., ::-1])

    rules = LookRules.of(vision.manifest)
    enrolled = capture(source(path), vision, rules)
    assert (enrolled.outcome, enrolled.looks, enrolled.hint) == (LookOutcome.NO_FACE, 0, Hint.CLOSER)
    assert enrolled.reference is None
    paid = look_at(source(path), vision, rules)
    assert paid is not None
    assert (paid.frames_used, paid.hint) == (1, None)
