"""Screen, kernel, camera and examiner together: a flash that the window really shows lights who is there.

The camera is a script whose light is what the window last swapped in; all else is the product's own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PySide6.QtGui import QGuiApplication

from kiosk.app.config import Config
from kiosk.app.front import Front
from kiosk.app.look import CameraLooker
from kiosk.app.wiring import Kiosk
from kiosk.domain.challenge import Challenge, ChallengeKind, ChallengeOutcome
from kiosk.domain.decision import Reason
from kiosk.domain.payment import MAX_LOOKS, Challenged, Idle, Offer, Offered, PayWithFace, Refused
from kiosk.frames import Frame, PixelFormat, SourceInfo, SourceKind
from kiosk.ui.bridge import Bridge
from kiosk.ui.screenshot import SHOP
from kiosk.ui.window import application, stage, unload
from kiosk.vision.colour import FaceColour
from kiosk.vision.detect import Box, DetectedFace
from kiosk.vision.landmarks import Landmarks
from kiosk.vision.observation import Observation
from kiosk.vision.quality import Pose

from .test_challenger import FACE, GreyLook, Rules
from .test_kernel import Shop
from .test_unattended import ORDER

FRAME_S = 0.025
SEEN = DetectedFace(Box(200, 100, 400, 340), 0.9, np.zeros((6, 2), np.float32))
MESH = Landmarks(np.random.default_rng(1).uniform(200, 400, (468, 3)).astype(np.float32), 1.0)
SKIN = np.array([[0.30, 0.20, 0.15]] * 3, np.float32)
ROOM = np.array([0.25, 0.25, 0.25], np.float32)


class LitCamera:
    """A sensor that delivers a frame every 25 ms."""

    info = SourceInfo("lit", SourceKind.LIVE, "lit-1")
    ended = False

    def __init__(self) -> None:
        self.sequence, self.opened, self.closed, self._pace = 0, 0, 0, threading.Event()

    def open(self) -> None:
        self.opened += 1

    def read(self, timeout_s: float) -> Frame | None:
        self._pace.wait(FRAME_S)
        self.sequence += 1
        plane = np.zeros((48, 64, 3), np.uint8)
        return Frame((plane,), PixelFormat.RGB888, 64, 48, time.monotonic_ns(), self.sequence)

    def close(self) -> None:
        self.closed += 1


class Eyes:
    """Sees one face; `near` and `far` are the screen's light on it and on what is behind it."""

    def __init__(self, near: float, far: float) -> None:
        self.near, self.far = near, far
        self.lit = np.zeros(3, np.float32)

    def observe(self, frame: Frame) -> Observation:
        grain = np.random.default_rng(frame.sequence).normal(1, 0.002, 3)
        light = FaceColour(SKIN * (1 + self.near * self.lit * grain), ROOM * (1 + self.far * self.lit), 0.0)
        return Observation(
            frame.sequence,
            frame.timestamp_ns,
            640,
            480,
            (SEEN,),
            None,
            landmarks=MESH,
            pose=Pose(0, 0, 0),
            embedding=FACE.copy(),
            colour=light,
        )

    def forget(self) -> None:
        pass


def kiosk_of(base: SimpleNamespace, shop: Shop, looker: CameraLooker) -> Kiosk:
    """Nobody enrols and nothing is sold offline here."""
    return Kiosk(base, shop.kernel, looker, None, shop.journal, None, "")  # type: ignore[arg-type]


class Counter:
    """A kiosk at whose screen somebody stands."""

    def __init__(self, folder: Path, eyes: Eyes) -> None:
        self.shop, self.camera, self.shown = Shop(folder), LitCamera(), []
        looker = CameraLooker(lambda: self.camera, eyes, Rules(), mode="test", model_ids=("net-1",))  # type: ignore[arg-type]
        self.shop.kernel._looker = looker
        base = SimpleNamespace(warn=lambda line: None, config=Config())
        self.looker, self.kernel = looker, self.shop.kernel
        self.front = Front(kiosk_of(base, self.shop, looker))
        self.bridge = Bridge(SHOP, self.front.pressed, guard_ms=0)
        self.window = stage(self.bridge)
        self.window.resize(270, 480)
        self.window.show()
        self.front.start(self.bridge)
        heard = self.bridge.on_shown

        def shown(challenge: Challenge, index: int, at_ns: int) -> None:
            self.shown.append(challenge)
            if challenge.colours:
                eyes.lit = (np.array(challenge.colours[index], np.float32) / 255) ** 2.2
            heard(challenge, index, at_ns)

        self.bridge.on_shown = shown

    def close(self) -> None:
        self.front.stop()
        self.looker.close()
        self.shop.journal.close()
        unload(self.window)


@pytest.fixture(scope="session")
def qapp() -> QGuiApplication:
    return application()


@pytest.fixture
def counter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qapp: QGuiApplication
) -> Iterator[Callable[..., Counter]]:
    GreyLook.templates = []
    monkeypatch.setattr("kiosk.app.look.Look", GreyLook)
    monkeypatch.setattr("kiosk.ui.flash.NOTICE_MS", 100)
    counters: list[Counter] = []

    def made(near: float, far: float) -> Counter:
        counters.append(Counter(tmp_path, Eyes(near, far)))
        return counters[-1]

    yield made
    for one in counters:
        one.close()


def flashed(kiosk: Counter, qtbot) -> ChallengeOutcome:
    """What one flash comes to."""
    kiosk.kernel.post(PayWithFace())
    qtbot.waitUntil(lambda: not isinstance(kiosk.kernel.state, Offered | Refused), timeout=10_000)
    qtbot.waitUntil(lambda: isinstance(kiosk.kernel.state, Refused), timeout=30_000)
    return kiosk.looker.answered[0].outcome


def test_the_face_that_the_window_lights_passes_a_flash_and_is_not_live_by_that_alone(counter, qtbot) -> None:
    kiosk = counter(near=0.3, far=0.05)
    kiosk.looker.kinds = (ChallengeKind.FLASH, ChallengeKind.BLINK)
    kiosk.kernel.post(Offer(ORDER))
    # A machine that is busy with other things misses frames, and a flash with them; a payer looks again.
    outcomes = [flashed(kiosk, qtbot)]
    while outcomes[-1] is not ChallengeOutcome.PASSED and len(outcomes) < MAX_LOOKS:
        outcomes.append(flashed(kiosk, qtbot))
    assert outcomes[-1] is ChallengeOutcome.PASSED
    assert kiosk.kernel.state.reason is Reason.LIVENESS_UNSURE, "there was no blink"
    assert len(kiosk.shown) >= len(kiosk.shown[-1].colours)
    qtbot.waitUntil(lambda: kiosk.camera.closed == len(outcomes), timeout=5_000)


def test_a_stream_that_no_light_of_the_window_reaches_is_not(counter, qtbot) -> None:
    kiosk = counter(near=0.0, far=0.0)
    kiosk.looker.kinds = (ChallengeKind.FLASH, ChallengeKind.BLINK)
    kiosk.kernel.post(Offer(ORDER))
    assert flashed(kiosk, qtbot) is ChallengeOutcome.INCONCLUSIVE
    assert kiosk.kernel.state.reason is Reason.LIVENESS_UNSURE
    assert kiosk.shown
    qtbot.waitUntil(lambda: kiosk.camera.closed == 1, timeout=5_000)


def test_cancel_on_the_screen_ends_a_challenge_and_the_camera_goes_off(counter, qtbot) -> None:
    kiosk = counter(0.0, 0.0)
    kiosk.kernel.post(Offer(ORDER))
    kiosk.kernel.post(PayWithFace())
    qtbot.waitUntil(lambda: isinstance(kiosk.kernel.state, Challenged), timeout=10_000)
    qtbot.waitUntil(lambda: bool(kiosk.bridge.current.actions), timeout=5_000)
    qtbot.waitUntil(lambda: kiosk.bridge.current.screen in ("challenge", "flash"), timeout=5_000)
    kiosk.bridge.press("cancel")
    qtbot.waitUntil(lambda: isinstance(kiosk.kernel.state, Idle), timeout=5_000)
    qtbot.waitUntil(lambda: kiosk.camera.closed == 1, timeout=5_000)
    qtbot.waitUntil(lambda: kiosk.bridge.image is None, timeout=5_000)
    assert not any(template.any() for template in GreyLook.templates)


def test_a_screen_with_less_motion_never_flashes(tmp_path: Path, qapp: QGuiApplication) -> None:
    shop = Shop(tmp_path)
    looker = CameraLooker(LitCamera, Eyes(0, 0), Rules(), mode="test", model_ids=())  # type: ignore[arg-type]
    front = Front(kiosk_of(SimpleNamespace(warn=print, config=Config()), shop, looker))
    front.start(Bridge(SHOP, front.pressed, reduced_motion=True))
    front.stop()
    shop.journal.close()
    assert set(looker.kinds) == set(ChallengeKind) - {ChallengeKind.FLASH}
