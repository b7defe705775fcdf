from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from kiosk.devices import camera_v4l2
from kiosk.devices.camera_v4l2 import V4l2Source
from kiosk.domain.errors import OperatorError

NULL = "/dev/null"  # a character device that is there on every machine


class Camera:
    opened = True

    def __init__(self) -> None:
        self.settings: dict[int, float] = {}
        self.delivers = True
        self.released = False

    def isOpened(self):
        return self.opened

    def set(self, setting, value):
        self.settings[setting] = value
        return True

    def get(self, _setting):
        return 0.0

    def retrieve(self):
        return self.delivers, np.zeros((720, 1280, 3), np.uint8) if self.delivers else None

    def release(self):
        self.released = True


def source(camera: Camera, wait=lambda _camera, _ns: True) -> V4l2Source:
    return V4l2Source(NULL, connect=lambda _device: camera, wait=wait)


def test_a_device_that_is_not_there_is_said_so():
    with pytest.raises(OperatorError, match=r"/dev/video97: there is no such camera\. Plug it in"):
        V4l2Source("/dev/video97").open()


def test_a_file_is_not_a_camera(tmp_path: Path):
    (tmp_path / "video0").touch()
    with pytest.raises(OperatorError, match="not a camera device"):
        V4l2Source(str(tmp_path / "video0")).open()


def test_without_permission_the_line_names_the_group(monkeypatch):
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    with pytest.raises(OperatorError, match="group 'video'"):
        V4l2Source(NULL).open()


def test_a_device_that_opencv_cannot_open_is_said_so_quietly(capfd):
    with pytest.raises(OperatorError, match="can't be opened"):
        V4l2Source(NULL).open()
    assert capfd.readouterr() == ("", "")


def test_a_busy_camera_is_let_go():
    camera = Camera()
    camera.opened = False
    with pytest.raises(OperatorError, match="Close the program"):
        source(camera).open()
    assert camera.released


def test_compressed_frames_of_the_right_size_are_asked_for():
    camera = Camera()
    source(camera).open()
    assert camera.settings[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"MJPG")
    assert camera.settings[cv2.CAP_PROP_FRAME_WIDTH] == 1280


def test_waiting_is_bounded_by_the_time_given():
    asked = []
    camera = Camera()
    made = source(camera, wait=lambda _camera, ns: asked.append(ns))
    made.open()
    assert made.read(0.25) is None
    assert made.read(0) is None
    assert asked == [250_000_000, 1]  # 0 would mean without an end
    assert not made.ended


def test_a_frame_that_cannot_be_decoded_is_left_out():
    camera = Camera()
    made = source(camera)
    made.open()
    camera.delivers = False
    assert made.read(0.1) is None
    assert not made.ended


def test_a_camera_without_a_clock_of_its_own_gets_the_monotonic_one():
    made = source(Camera())
    made.open()
    first, second = made.read(0.1), made.read(0.1)
    assert 0 < first.timestamp_ns < second.timestamp_ns


def test_a_camera_that_is_pulled_out_has_ended():
    def gone(_camera, _ns):
        raise cv2.error("VIDIOC_DQBUF")

    camera = Camera()
    made = source(camera, wait=gone)
    made.open()
    assert made.read(0.1) is None
    assert made.ended
    assert camera.released


def test_a_camera_that_loses_its_clock_gets_no_other_one():
    camera = Camera()
    camera.get = lambda setting: 5000.0 if setting == cv2.CAP_PROP_POS_MSEC else 30.0
    made = source(camera)
    made.open()
    assert made.read(0.1).timestamp_ns == 5_000_000_000
    assert made.info.traits.sensor_clock
    camera.get = lambda _setting: 0.0
    assert made.read(0.1).timestamp_ns == 0


def test_the_modes_rate_is_the_drivers_or_unknown():
    camera = Camera()
    made = source(camera)
    made.open()
    assert made.info.traits.frames_per_s is None
    camera.get = lambda _setting: 60.0
    made.open()
    assert made.info.traits.frames_per_s == 60.0


# --- who it is ---

WEBCAM = "platform/scb/1000.pcie/usb1/1-1/1-1.2/1-1.2:1.0"


@pytest.fixture
def sysfs(monkeypatch, tmp_path: Path):
    """Makes a device's entry as sysfs has it, and the device's path."""
    monkeypatch.setattr(camera_v4l2, "_DEVICES_BY_NUMBER", tmp_path / "dev")
    device = tmp_path / "video3"
    device.touch()  # a file's device number is 0:0

    def make(
        place: str, *, driver: str = "uvcvideo", linked: bool = True, usb: dict[str, str] | None = None
    ) -> str:
        hardware = tmp_path / "devices" / place
        node = hardware / "video4linux" / "video3"
        node.mkdir(parents=True)
        (node / "name").write_text("HD Webcam: HD Webcam\n")
        (node / "index").write_text("0\n")
        if linked:
            (node / "device").symlink_to(hardware)
            (tmp_path / "drivers" / driver).mkdir(parents=True)
            (hardware / "driver").symlink_to(tmp_path / "drivers" / driver)
        for name, value in (usb or {}).items():
            (hardware.parent / name).write_text(value + "\n")
        (tmp_path / "dev").mkdir()
        (tmp_path / "dev" / "0:0").symlink_to(node)
        return str(device)

    return make


USB = {"idVendor": "046d", "idProduct": "0825", "serial": 'A1"B2;\u00e9'}


def test_a_webcam_is_known_by_driver_card_usb_ids_serial_and_place(sysfs):
    info = V4l2Source(sysfs(WEBCAM, usb=USB)).info
    assert info.camera_id == (
        "v4l2:driver=uvcvideo;card=HD Webcam: HD Webcam;usb=046d:0825;serial=A1_B2__;"
        "bus=1000.pcie/1.2:1.0;index=0"
    )
    assert info.identity.virtual == ""
    assert info.name == "HD Webcam: HD Webcam"


def test_a_camera_by_another_name_is_the_same_camera(sysfs, tmp_path: Path):
    device = sysfs(WEBCAM, usb=USB)
    (tmp_path / "by-id").symlink_to(device)
    assert V4l2Source(str(tmp_path / "by-id")).info == V4l2Source(device).info


def test_a_camera_on_the_board_needs_no_usb_ids(sysfs):
    info = V4l2Source(sysfs("platform/fe801000.csi", driver="unicam")).info
    assert info.camera_id == "v4l2:driver=unicam;card=HD Webcam: HD Webcam;bus=fe801000.csi;index=0"


@pytest.mark.parametrize(
    ("place", "driver", "linked", "told"),
    [
        ("virtual", "", False, "a program's device"),
        ("platform/vivid.0", "vivid", True, "vivid"),
        ("platform/vimc.0", "vimc", True, "vimc"),
        ("platform/x.0", "v4l2 loopback", True, "v4l2 loopback"),
        ("platform/vhci_hcd.0/usb3/3-1/3-1:1.0", "uvcvideo", True, "vhci_hcd.0"),
        ("platform/dummy_hcd.0/usb4/4-1/4-1:1.0", "uvcvideo", True, "dummy_hcd.0"),
    ],
)
def test_a_program_that_plays_a_camera_is_known_as_one(sysfs, place, driver, linked, told):
    assert told in V4l2Source(sysfs(place, driver=driver, linked=linked)).info.identity.virtual


def test_a_device_of_which_the_kernel_tells_nothing_has_no_identity():
    info = V4l2Source(NULL).info
    assert info.identity is None
    assert info.camera_id == "v4l2:/dev/null"
    assert V4l2Source("/dev/video97").info.name == "/dev/video97"


def test_who_it_is_is_asked_of_the_device_that_is_open(sysfs, monkeypatch):
    monkeypatch.setattr(camera_v4l2, "_check_device", lambda _device: None)
    camera = Camera()
    made = V4l2Source(sysfs(WEBCAM, usb=USB), connect=lambda _device: camera)
    before = made.info
    (Path(made._device).parent / "dev" / "0:0").unlink()
    made.open()
    assert before.identity is not None
    assert made.info.identity is None
