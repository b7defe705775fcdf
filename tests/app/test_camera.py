"""The kiosk's camera: one way in, under the configured or the provisioned pin; refusals are counted."""

from __future__ import annotations

import queue
import tempfile
from pathlib import Path

import msgspec
import pytest

from kiosk.app.camera import Cameras, Refusals
from kiosk.app.config import CameraConfig, Config
from kiosk.app.kernel import LookDone
from kiosk.app.look import CameraLooker
from kiosk.devices import camera_v4l2
from kiosk.devices.guard import Check, GuardedSource, GuardError
from kiosk.domain.decision import LookOutcome
from kiosk.domain.errors import OperatorError
from kiosk.frames import Frame, SourceKind
from kiosk.vision.look import LookRules
from kiosk.vision.models import load_manifest

from ..devices import streams
from ..permissions import of_somebody_else

PICTURE = Path(__file__).resolve().parents[2] / "assets" / "demo" / "probe" / "stranger.jpg"
RULES = LookRules.of(load_manifest())
PIN = "v4l2:driver=uvcvideo;card=Cam;bus=1"
OTHER = "v4l2:driver=uvcvideo;card=Cam;bus=2"


def test_without_configuration_and_provisioning_there_is_no_pin(tmp_path: Path) -> None:
    assert Cameras(Config(), tmp_path).pin == ""


def test_the_configuration_s_pin_goes_before_the_provisioned_one(tmp_path: Path) -> None:
    (tmp_path / "camera.pin").write_text(f"{OTHER}\n")
    assert Cameras(Config(), tmp_path).pin == OTHER
    assert Cameras(Config(camera=CameraConfig(pin=PIN)), tmp_path).pin == PIN


def test_a_pin_that_can_t_be_read_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "camera.pin").write_bytes(b"\xff\xfe")
    with pytest.raises(OperatorError, match=r"camera\.pin: the camera's pin can't be read"):
        Cameras(Config(), tmp_path).open_source(str(PICTURE))


def test_a_pin_of_somebody_else_is_not_passed_over() -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "camera.pin").write_text(PIN)
        with of_somebody_else(Path(folder)), pytest.raises(OperatorError, match="can't be read"):
            _ = Cameras(Config(), Path(folder)).pin


def test_every_source_is_guarded_and_closed_in_the_end(tmp_path: Path) -> None:
    with Cameras(Config(), tmp_path).opened(str(PICTURE)) as source:
        assert source.info.kind is SourceKind.STILL
        assert source.read(1) is not None
    assert source.ended


def test_a_look_whose_camera_is_refused_sees_no_face_and_staff_read_why(tmp_path: Path) -> None:
    """What a recording shows is never searched, however alive it looks."""
    now = [0]
    recorded = [(frame, now_ns + 3600 * streams.S) for frame, now_ns in streams.webcam(30)]
    source = GuardedSource(Replay(recorded, now), pin="", mode="test", clock=lambda: now[0])
    told: queue.SimpleQueue[LookDone] = queue.SimpleQueue()
    looker = CameraLooker(lambda: source, Blind(), RULES, mode="test", model_ids=())  # type: ignore[arg-type]
    looker.start(1, told.put)  # type: ignore[arg-type]
    done = told.get(timeout=10)
    looker.close()
    assert (done.outcome, done.liveness) == (LookOutcome.NO_FACE, None)
    assert isinstance(looker.failure, GuardError)
    assert looker.failure.check is Check.FRESHNESS
    assert source.ended


class Replay:
    """A recording where the camera should be."""

    info = streams.WEBCAM

    def __init__(self, arriving: list[streams.Arriving], now: list[int]) -> None:
        self._arriving, self._now, self.ended = iter(arriving), now, True

    def open(self) -> None:
        self.ended = False

    def read(self, _timeout_s: float) -> Frame:
        frame, self._now[0] = next(self._arriving)
        return frame

    def close(self) -> None:
        self.ended = True


class Blind:
    """Vision that must not be asked."""

    def observe(self, _frame: Frame) -> None:
        raise AssertionError("a refused frame was looked at")

    def forget(self) -> None:
        pass


@pytest.mark.parametrize("mode", ["training", "production"])
def test_a_picture_pays_in_demo_and_test_only(tmp_path: Path, mode) -> None:
    with (
        pytest.raises(OperatorError, match=f"a still source can't pay in {mode} mode"),
        Cameras(Config(mode=mode), tmp_path).opened(str(PICTURE)),
    ):
        pass


class Camera:
    """What OpenCV shows of a camera that opens."""

    def isOpened(self) -> bool:
        return True

    def set(self, _setting: int, _value: float) -> bool:
        return True

    def get(self, _setting: int) -> float:
        return 30.0

    def release(self) -> None:
        pass


def test_another_camera_than_the_pinned_one_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_v4l2, "_check_device", lambda _device: None)
    monkeypatch.setattr(camera_v4l2, "_connect", lambda _device: Camera())
    cameras = Cameras(Config(camera=CameraConfig(pin=PIN)), tmp_path)
    for _ in range(2):
        with pytest.raises(GuardError), cameras.opened("/dev/video0"):
            pass
    assert cameras.refusals.counts() == {"pin": 2}


def test_refusals_are_counted_over_restarts_and_say_nothing_but_the_check(tmp_path: Path) -> None:
    path = tmp_path / "camera-refusals.json"
    for check in (Check.JITTER, Check.PIN, Check.JITTER):
        Refusals(path).add(check)
    assert Refusals(path).counts() == {"pin": 1, "jitter": 2}
    assert msgspec.json.decode(path.read_bytes()) == {"pin": 1, "jitter": 2}
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"pin": "1"}', b'{"pin": -1, "other": 5}', b"\xff" * 9000]
)
def test_a_damaged_count_counts_nothing_and_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "camera-refusals.json"
    path.write_bytes(content)
    refusals = Refusals(path)
    assert refusals.counts() == {}
    refusals.add(Check.ORDER)
    assert refusals.counts() == {"order": 1}


def test_a_refusal_that_can_t_be_written_down_is_still_one(tmp_path: Path) -> None:
    refusals = Refusals(tmp_path / "gone" / "camera-refusals.json")
    refusals.add(Check.ORDER)
    assert refusals.counts() == {}
