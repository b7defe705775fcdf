"""A USB or built-in camera under Linux (V4L2), by OpenCV.

Waiting is bounded: `read` comes back within its time even where the camera stands still. A missing device, a
missing permission and a device that is busy each have their own line. Who the camera is, sysfs says.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import cv2
import numpy as np

from kiosk.domain.errors import OperatorError
from kiosk.frames import CameraIdentity, Frame, PixelFormat, SourceInfo, SourceKind, SourceTraits

__all__ = ["V4l2Source"]

WIDTH_PX: Final = 1280
HEIGHT_PX: Final = 720
FRAMES_PER_S: Final = 30
_MAX_RATE: Final = 1000

Connect: TypeAlias = Callable[[str], Any]
"""Opens a device's path as something that behaves like `cv2.VideoCapture`."""
Wait: TypeAlias = Callable[[Any, int], bool]
"""Waits at most that many nanoseconds for a frame, and grabs it."""

_DEVICES_BY_NUMBER = Path("/sys/dev/char")
_PROGRAMS: Final = frozenset(
    {"v4l2loopback", "v4l2 loopback", "vivid", "vimc", "vicodec", "vim2m", "visl", "vidtv"}
)
"""Drivers that deliver what a program, not a sensor, put in."""
_PLAYED_BUSES: Final = ("vhci_hcd", "dummy_hcd")
"""Host controllers of USB over a network (usbip) and of USB devices that are programs (gadget tests)."""
_DOUBLED: Final = 1
"""In the dark, webcams expose for two frames' time and deliver each picture twice."""


class V4l2Source:
    """`device` is a path such as `/dev/video0`. `connect` and `wait` stand in for OpenCV in tests."""

    def __init__(self, device: str, connect: Connect | None = None, wait: Wait | None = None) -> None:
        self._device = device
        self._connect = connect or _connect
        self._wait = wait or _wait
        self._info = _described(device)
        self._capture: Any = None
        self._sequence = 0
        self._clocked = False

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
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        self._capture, self._sequence = capture, 0
        # Anew, from the device that is open now: another one may have got its number since.
        self._info = _described(self._device, rate if 1 <= rate <= _MAX_RATE else None)

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
        stamp_ns = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        if self._sequence == 0:  # a driver has a clock or has none; one that loses it later is no such driver
            self._clocked = stamp_ns != 0
            self._info = replace(self._info, traits=replace(self._info.traits, sensor_clock=self._clocked))
        frame = Frame(
            planes=(np.asarray(bgr, np.uint8),),
            format=PixelFormat.BGR888,
            width=bgr.shape[1],
            height=bgr.shape[0],
            timestamp_ns=stamp_ns if self._clocked else time.monotonic_ns(),
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


def _described(device: str, frames_per_s: float | None = None) -> SourceInfo:
    """The camera behind `device`, as the kernel tells; named by its path where it tells nothing."""
    identity = _identity(device)
    card = dict(identity.parts)["card"] if identity else ""
    return SourceInfo(
        card or device,
        SourceKind.LIVE,
        identity.text if identity else f"v4l2:{device}",
        identity,
        SourceTraits(sensor_clock=True, frames_per_s=frames_per_s, repeats=_DOUBLED),
    )


def _identity(device: str) -> CameraIdentity | None:
    """From the device's number, not from its name: a link or a node with another name leads to the same."""
    try:
        number = Path(device).stat().st_rdev
        node = (_DEVICES_BY_NUMBER / f"{os.major(number)}:{os.minor(number)}").resolve(strict=True)
    except OSError:
        return None
    if node.parent.name != "video4linux":
        return None
    hardware = (node / "device").resolve()
    driver = (hardware / "driver").resolve().name if (hardware / "driver").exists() else ""
    usb = next((place for place in (hardware, *hardware.parents) if (place / "idVendor").is_file()), None)
    parts = [("driver", driver), ("card", _said(node / "name"))]
    if usb is not None:
        ids = f"{_said(usb / 'idVendor')}:{_said(usb / 'idProduct')}"
        parts += [("usb", ids), ("serial", _said(usb / "serial"))]
    parts += [("bus", _place(hardware, usb)), ("index", _said(node / "index"))]
    return CameraIdentity("v4l2", tuple(parts), virtual=_program(node, driver))


def _place(hardware: Path, usb: Path | None) -> str:
    """Controller, ports and interface: without the bus's number, which depends on who was found first."""
    if usb is None:
        return hardware.name
    root = next((place for place in (usb, *usb.parents) if re.fullmatch(r"usb\d+", place.name)), usb)
    ports, interface = usb.name.partition("-")[2], hardware.name.partition(":")[2]
    return f"{root.parent.name}/{ports}:{interface}"


def _program(node: Path, driver: str) -> str:
    """Why the device is a program's and not a sensor's; empty when nothing says so."""
    if driver in _PROGRAMS or "virtual" in node.parts or not (node / "device").exists():
        return f"a program's device ({driver or _said(node / 'name') or node.name})"
    played = [part for part in node.parts if part.startswith(_PLAYED_BUSES)]
    return f"a camera on a bus that is a program's ({played[0]})" if played else ""


def _said(path: Path) -> str:
    """One line of sysfs; empty where there is none."""
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
