"""A USB or built-in camera under Linux (V4L2), by OpenCV.

Waiting is bounded: `read` comes back within its time even where the camera stands still. A missing device, a
missing permission and a device that is busy each have their own line.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import cv2
import numpy as np

from kiosk.domain.errors import OperatorError
from kiosk.frames import Frame, PixelFormat, SourceInfo, SourceKind

__all__ = ["V4l2Source"]

WIDTH_PX: Final = 1280
HEIGHT_PX: Final = 720
FRAMES_PER_S: Final = 30

Connect: TypeAlias = Callable[[str], Any]
"""Opens a device's path as something that behaves like `cv2.VideoCapture`."""
Wait: TypeAlias = Callable[[Any, int], bool]
"""Waits at most that many nanoseconds for a frame, and grabs it."""

_BY_ID = Path("/dev/v4l/by-id")
_SYSTEM = Path("/sys/class/video4linux")


class V4l2Source:
    """`device` is a path such as `/dev/video0`. `connect` and `wait` stand in for OpenCV in tests."""

    def __init__(self, device: str, connect: Connect | None = None, wait: Wait | None = None) -> None:
        self._device = device
        self._connect = connect or _connect
        self._wait = wait or _wait
        self._info = SourceInfo(_name(device), SourceKind.LIVE, _camera_id(device))
        self._capture: Any = None
        self._sequence = 0

    @property
    def info(self) -> SourceInfo:
        return self._info

    @property
    def ended(self) -> bool:
        return self._capture is None

    def open(self) -> None:
        self.close()
        _check_device(self._device)
        capture = self._connect(self._device)
        if not capture.isOpened():
            capture.release()
            raise OperatorError(
                "the camera can't be opened",
                where=self._device,
                do="Close the program that uses it, or name another device (ls /dev/video*)",
            )
        for setting, value in (
            (
                cv2.CAP_PROP_FOURCC,
                cv2.VideoWriter.fourcc(*"MJPG"),
            ),  # raw video of this size is too much for USB 2
            (cv2.CAP_PROP_FRAME_WIDTH, WIDTH_PX),
            (cv2.CAP_PROP_FRAME_HEIGHT, HEIGHT_PX),
            (cv2.CAP_PROP_FPS, FRAMES_PER_S),
            (cv2.CAP_PROP_BUFFERSIZE, 2),
        ):
            capture.set(setting, value)
        self._capture, self._sequence = capture, 0

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame; None when none came in time, or the camera was pulled out (then it has ended)."""
        if self._capture is None:
            return None
        try:
            if not self._wait(self._capture, max(1, round(timeout_s * 1e9))):
                return None
            delivered, bgr = self._capture.retrieve()
        except cv2.error:
            self.close()
            return None
        if not delivered:
            return None
        frame = Frame(
            planes=(np.asarray(bgr, np.uint8),),
            format=PixelFormat.BGR888,
            width=bgr.shape[1],
            height=bgr.shape[0],
            timestamp_ns=round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6) or time.monotonic_ns(),
            sequence=self._sequence,
            camera_id=self._info.camera_id,
        )
        self._sequence += 1
        return frame

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
        self._capture = None


def _connect(device: str) -> Any:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2.VideoCapture(device, cv2.CAP_V4L2)


def _wait(capture: Any, timeout_ns: int) -> bool:
    return bool(cv2.VideoCapture.waitAny([capture], timeout_ns)[0])


def _check_device(device: str) -> None:
    try:
        mode = Path(device).stat().st_mode
    except OSError as error:
        raise OperatorError(
            "there is no such camera", where=device, do="Plug it in, or name another device (ls /dev/video*)"
        ) from error
    if not stat.S_ISCHR(mode):
        raise OperatorError("not a camera device", where=device, do="Name one of /dev/video*")
    if not os.access(device, os.R_OK | os.W_OK):
        raise OperatorError(
            "no permission to use the camera",
            where=device,
            do="Add this user to the group 'video' (sudo usermod -aG video USER) and log in again",
        )


def _camera_id(device: str) -> str:
    """A name that stays when devices are numbered anew: udev's link by serial number, where there is one."""
    links = sorted(_BY_ID.iterdir()) if _BY_ID.is_dir() else []
    same = [link.name for link in links if link.resolve() == Path(device).resolve()]
    return f"v4l2:{same[0] if same else _name(device)}"


def _name(device: str) -> str:
    """What the driver calls the camera, or the device's path."""
    try:
        return (_SYSTEM / Path(device).name / "name").read_text("utf-8", "replace").strip() or device
    except OSError:
        return device
