from __future__ import annotations

import sys

import numpy as np
import pytest

from kiosk.devices.camera_pi import PiSource, _metadata, _planes
from kiosk.domain.errors import OperatorError
from kiosk.frames import PixelFormat, SensorMetadata

from . import fake_picamera2 as fake


@pytest.fixture
def library(monkeypatch):
    monkeypatch.setitem(sys.modules, "picamera2", fake)
    monkeypatch.setattr(fake.Picamera2, "made", [])
    return fake.Picamera2


@pytest.fixture
def source(library):
    source = PiSource()
    source.open()
    yield source
    source.close()


def test_without_the_library_the_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(
        OperatorError, match=r"pi:0: the library .* sudo apt install python3-libcamera"
    ) as caught:
        PiSource().open()
    assert "\n" not in str(caught.value)


def test_without_a_camera_the_line_says_what_to_check(library, monkeypatch):
    monkeypatch.setattr(library, "cameras", ())
    with pytest.raises(OperatorError, match=r"there is no camera 0 \(0 found\). Check the ribbon cable"):
        PiSource().open()
    with pytest.raises(OperatorError, match="no camera 1"):
        PiSource(1).open()


def test_a_busy_camera_is_said_so(library, monkeypatch):
    monkeypatch.setattr(library, "busy", True)
    with pytest.raises(OperatorError, match="can't be started"):
        PiSource().open()


def test_the_camera_is_pinned_by_its_sensor_and_libcameras_id(source):
    assert source.info.camera_id == "pi:sensor=imx708;bus=/base/soc/i2c@1a"
    assert source.info.identity.text == source.info.camera_id
    assert source.info.identity.virtual == ""
    assert source.info.name == "imx708"


def test_a_camera_that_is_not_on_the_board_is_no_sensor(library, monkeypatch):
    monkeypatch.setattr(library, "cameras", ({"Num": 0, "Model": "Virtual", "Id": "Virtual0"},))
    source = PiSource()
    source.open()
    assert "Virtual0" in source.info.identity.virtual
    source.close()


def test_a_frame_says_how_the_sensor_took_it(source):
    assert source.read(1).metadata == SensorMetadata(
        exposure_us=9000,
        frame_duration_us=33_333,
        analogue_gain=2.0,
        digital_gain=1.0,
        colour_gains=(1.8, 1.6),
        lux=250.0,
        auto_exposure=True,
    )


@pytest.mark.parametrize(
    ("said", "automatic"),
    [({}, False), ({"AeLocked": False}, True), ({"AeState": 0}, False), ({"AeState": 2}, True)],
)
def test_auto_exposure_runs_where_libcamera_tells_its_state(said, automatic):
    assert _metadata(said).auto_exposure is automatic


def test_a_frame_shows_the_cameras_own_memory(source, library):
    frame = source.read(1)
    assert frame.format is PixelFormat.NV12
    assert frame.planes[0].strides == (1280 + fake.PADDING, 1)
    assert frame.planes[1].shape == (360, 640, 2)
    camera = library.made[0]
    held = next(buffer for buffer in camera.all if buffer not in camera.free)
    held[0] = 77
    assert frame.planes[0][0, 0] == 77
    assert frame.rgb().shape == (720, 1280, 3)
    assert frame.timestamp_ns == 5_000_000_000


def test_a_frame_cannot_be_written_to(source):
    frame = source.read(1)
    with pytest.raises(ValueError, match="read-only"):
        frame.planes[0][0, 0] = 1


def test_a_buffer_goes_back_when_the_last_view_of_it_is_gone(source, library):
    camera = library.made[0]
    frame = source.read(1)
    corner = frame.planes[0][:4, :4]
    assert len(camera.free) == 5
    del frame
    assert len(camera.free) == 5
    assert (corner == 16).all()
    del corner
    assert len(camera.free) == 6


def test_a_reader_that_holds_every_buffer_waits_without_a_crash(source):
    held = [source.read(1) for _ in range(6)]
    assert source.read(0) is None
    assert not source.ended
    held.pop()
    assert source.read(0).sequence == 6


def test_a_camera_that_stalls_gives_none_in_time_and_the_frame_later(source, library):
    library.made[0].stalled = True
    assert source.read(0) is None
    library.made[0].stalled = False
    assert source.read(0).sequence == 0


def test_closing_while_a_frame_is_held_leaves_the_frame_whole(source, library):
    frame = source.read(1)
    source.close()
    assert source.ended
    assert (frame.planes[0] == 16).all()


@pytest.mark.parametrize(("name", "layout"), [("BGR888", PixelFormat.RGB888), ("RGB888", PixelFormat.BGR888)])
def test_packed_formats_are_named_by_their_order_in_memory(name, layout):
    memory = np.arange(4 * 32, dtype=np.uint8)
    (plane,), found = _planes(memory, name, 8, 4, 32)
    assert found is layout
    assert plane.shape == (4, 8, 3)
    assert plane.strides == (32, 3, 1)
    assert np.shares_memory(plane, memory)


def test_a_format_that_is_not_understood_is_named():
    with pytest.raises(OperatorError, match="YUYV"):
        _planes(np.zeros(64, np.uint8), "YUYV", 4, 4, 8)
