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


def test_a_camera_is_pinned_by_its_serial_number_where_udev_gives_one(monkeypatch, tmp_path: Path):
    device = tmp_path / "video3"
    device.touch()
    by_id = tmp_path / "by-id"
    by_id.mkdir()
    (by_id / "usb-Maker_Cam_123-video-index0").symlink_to(device)
    monkeypatch.setattr(camera_v4l2, "_BY_ID", by_id)
    assert V4l2Source(str(device)).info.camera_id == "v4l2:usb-Maker_Cam_123-video-index0"


def test_a_camera_is_named_by_its_driver(monkeypatch, tmp_path: Path):
    (tmp_path / "video3").mkdir()
    (tmp_path / "video3" / "name").write_text("HD Webcam: HD Webcam\n")
    monkeypatch.setattr(camera_v4l2, "_SYSTEM", tmp_path)
    assert V4l2Source("/dev/video3").info.name == "HD Webcam: HD Webcam"
