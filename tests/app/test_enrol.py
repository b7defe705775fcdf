"""Enrolment's gate, with real networks and a shipped picture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from kiosk.app.challenger import Watch
from kiosk.app.enrol import capture
from kiosk.app.look import look_at
from kiosk.devices.camera_file import StillSource, read_image
from kiosk.domain.decision import LookOutcome
from kiosk.frames import SourceKind
from kiosk.vision.look import LookResult, LookRules
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


@dataclass
class Asked:
    """Stands for the challenger: says of each look what it was asked, and what came of it."""

    always: bool
    outcomes: list[LookOutcome]
    wanted: list[bool] = field(default_factory=list)

    def settle(
        self, found: LookResult, template: np.ndarray | None, source: SourceKind, watch: Watch
    ) -> LookResult:
        self.wanted.append(self.always)
        outcome = self.outcomes.pop(0) if self.always else found.outcome
        return replace(found, outcome=outcome, template=template if outcome is LookOutcome.LIVE else None)


def folder_of(tmp_path: Path, pictures: int) -> StillSource:
    paths = [tmp_path / f"{number}.jpg" for number in range(pictures)]
    for path in paths:
        path.write_bytes(PICTURE.read_bytes())
    return source(*paths)


def test_where_everybody_is_challenged_an_enrolment_is_too_until_it_is_passed_once(
    vision: Vision, tmp_path: Path
) -> None:
    asked = Asked(True, [LookOutcome.UNSURE, LookOutcome.LIVE])
    found = capture(folder_of(tmp_path, 4), vision, LookRules.of(vision.manifest), challenger=asked)
    assert (found.outcome, found.looks) == (LookOutcome.LIVE, 3)
    assert asked.wanted == [True, True, False, False]


def test_a_challenge_that_is_failed_ends_the_enrolment(vision: Vision, tmp_path: Path) -> None:
    asked = Asked(True, [LookOutcome.ATTACK])
    found = capture(folder_of(tmp_path, 4), vision, LookRules.of(vision.manifest), challenger=asked)
    assert (found.outcome, found.reference, asked.wanted) == (LookOutcome.ATTACK, None, [True])
