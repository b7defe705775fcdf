"""`kiosk look`: what it tells, and how a challenge is exercised on pictures and recordings."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from kiosk.cli.look import Exercise
from kiosk.domain.challenge import ChallengeKind
from kiosk.domain.errors import OperatorError

from .conftest import DEMO, PAYER, Kiosk

PICTURE = DEMO / "probe" / f"{PAYER}.jpg"
FIXED = {"liveness", "quality", "pose", "timings_ms"}


def look(kiosk: Kiosk, folder: Path, camera: Path, *more: str) -> dict[str, object]:
    ran = kiosk("look", "--camera", camera, "--data-dir", folder, "--json", *more)
    assert ran.code == 0, ran.err
    told: dict[str, object] = json.loads(ran.out)
    return told


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a photograph that trembles: nobody in it turns, blinks or is lit by a screen."""
    path = tmp_path_factory.mktemp("recording") / "still.avi"
    picture = cv2.imread(str(PICTURE))
    high, wide = picture.shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15, (wide, high))
    for number in range(30):
        writer.write(np.roll(picture, number % 3, axis=1))
    writer.release()
    return path


def test_a_look_tells_its_evidence_and_that_no_challenge_was_asked(kiosk: Kiosk, tmp_path: Path) -> None:
    seen = look(kiosk, tmp_path, PICTURE)
    assert set(seen) >= FIXED
    assert isinstance(seen["llr"], float)
    assert isinstance(seen["cues"], dict)
    assert seen["challenge"] is None


def test_of_a_picture_no_check_of_the_camera_is_passed(kiosk: Kiosk, tmp_path: Path) -> None:
    assert set(look(kiosk, tmp_path, PICTURE)["camera"].values()) == {"unavailable"}


def test_a_picture_can_t_be_asked(kiosk: Kiosk, tmp_path: Path) -> None:
    alone = look(kiosk, tmp_path, PICTURE)
    seen = look(kiosk, tmp_path, PICTURE, "--challenge", "blink")
    assert seen["challenge"] == {"kind": "blink", "outcome": "unavailable", "flash": None}
    assert seen["liveness"] == alone["liveness"]


@pytest.mark.parametrize("kind", ["turn_left", "blink", "flash", "random"])
def test_a_recording_that_does_not_answer_is_examined_and_not_passed(
    kiosk: Kiosk, tmp_path: Path, recording: Path, kind: str
) -> None:
    alone = look(kiosk, tmp_path, recording)
    seen = look(kiosk, tmp_path, recording, "--challenge", kind)
    challenge = seen["challenge"]
    assert isinstance(challenge, dict)
    assert challenge["kind"] in ([kind] if kind != "random" else set(ChallengeKind))
    assert challenge["outcome"] in ("failed", "inconclusive")
    assert seen["liveness"] == alone["liveness"], "what looking alone says"


def test_what_was_asked_is_said_in_words_too(kiosk: Kiosk, tmp_path: Path, recording: Path) -> None:
    ran = kiosk("look", "--camera", recording, "--data-dir", tmp_path, "--challenge", "turn_right")
    assert ran.code == 0
    assert "turn right: inconclusive" in ran.out


def test_before_a_camera_a_terminal_asks_for_what_needs_no_screen() -> None:
    assert ChallengeKind.FLASH not in Exercise.RANDOM.kinds(live=True)
    assert Exercise.RANDOM.kinds(live=False) == tuple(ChallengeKind)
    assert Exercise.BLINK.kinds(live=True) == (ChallengeKind.BLINK,)
    with pytest.raises(OperatorError, match="lights no face"):
        Exercise.FLASH.kinds(live=True)
