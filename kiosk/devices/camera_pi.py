"""The Raspberry Pi's camera, by picamera2: frames are the camera's own buffers, mapped and never copied.

The only file that imports picamera2, and only when a camera is opened. A buffer goes back to the camera when
the last array that shows it is gone, so a frame stays whole for as long as anyone holds it.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from concurrent.futures import TimeoutError as JobTimeout
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kiosk.domain.errors import OperatorError
from kiosk.frames import (
    CameraIdentity,
    Frame,
    PixelFormat,
    SensorMetadata,
    SourceInfo,
    SourceKind,
    SourceTraits,
)

__all__ = ["PiSource"]

WIDTH_PX: Final = 1280
HEIGHT_PX: Final = 720
FRAMES_PER_S: Final = 30
BUFFERS: Final = 6
"""One is being filled, one waits, and vision and the preview may hold two each."""

_TRAITS: Final = SourceTraits(sensor_clock=True, frames_per_s=FRAMES_PER_S, metadata=True)
_ON_THE_BOARD: Final = "/base/"
"""How libcamera's id of a camera begins that the board's device tree knows; its simulated ones have none."""

# picamera2's names are those of DRM, where the first letter is the last byte in memory.
_RGB_FORMATS: Final = {"BGR888": PixelFormat.RGB888, "RGB888": PixelFormat.BGR888}


class PiSource:
    """Camera `number`, in picamera2's order."""

    def __init__(self, number: int = 0) -> None:
        self._number = number
        self._info = SourceInfo(f"pi:{number}", SourceKind.LIVE, f"pi:{number}", traits=_TRAITS)
        self._camera: Any = None
        self._job: Any = None
        self._sequence = 0

    @property
    def info(self) -> SourceInfo:
        """Once it was opened, with identity: the sensor's model and libcamera's id (its place on its bus)."""
        return self._info

    @property
    def ended(self) -> bool:
        return self._camera is None

    def open(self) -> None:
        self.close()
        factory = _picamera2(self._info.name).Picamera2
        found = {camera["Num"]: camera for camera in factory.global_camera_info()}
        if self._number not in found:
            raise OperatorError(
                f"there is no camera {self._number} ({len(found)} found)",
                where=self._info.name,
                do="Check the ribbon cable, then list the cameras: rpicam-hello --list-cameras",
            )
        described = found[self._number]
        try:
            camera = factory(self._number)
            _start(camera)
        except (RuntimeError, IndexError, OSError) as error:
            raise OperatorError(
                "the camera can't be started",
                where=self._info.name,
                do="Close the program that uses it; else restart the device",
            ) from error
        self._info = _described(described, self._info.name)
        self._camera, self._job, self._sequence = camera, None, 0

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame that the camera takes; None when none came in time."""
        if self._camera is None:
            return None
        if self._job is None:
            self._job = self._camera.capture_request(wait=False)
        try:
            request = self._camera.wait(self._job, timeout=timeout_s)
        except (JobTimeout, TimeoutError):
            return None  # the job stays: the next call waits for the same frame
        self._job = None
        frame = _frame(request, self._sequence, self._info.camera_id)
        self._sequence += 1
        return frame

    def close(self) -> None:
        camera, self._camera, self._job = self._camera, None, None
        if camera is not None:
            camera.stop()
            camera.close()


class _Lease:
    """A completed request's memory, as NumPy reads it; the request is released when the last view is gone."""

    def __init__(self, request: Any, buffer: NDArray[np.uint8]) -> None:
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": buffer.shape,
            "data": (buffer.ctypes.data, True),
        }
        weakref.finalize(self, request.release).atexit = False


def _start(camera: Any) -> None:
    """Configure and start; NV12, because the sensor's processor makes it and luma needs no conversion."""
    camera.configure(
        camera.create_video_configuration(
            main={"size": (WIDTH_PX, HEIGHT_PX), "format": "NV12"},
            raw=None,
            buffer_count=BUFFERS,
            queue=False,  # the next frame, never one that has waited
            controls={"FrameRate": FRAMES_PER_S},
        )
    )
    camera.start()


def _described(camera: Mapping[str, Any], name: str) -> SourceInfo:
    """The camera as libcamera describes it; `name` where it does not say the sensor's model."""
    model, place = str(camera.get("Model") or ""), str(camera["Id"])
    identity = CameraIdentity(
        "pi",
        (("sensor", model), ("bus", place)),
        virtual="" if place.startswith(_ON_THE_BOARD) else f"libcamera's {place}, which is on no bus",
    )
    return SourceInfo(model or name, SourceKind.LIVE, identity.text, identity, _TRAITS)


def _metadata(said: Mapping[str, Any]) -> SensorMetadata:
    """libcamera's controls of one request, by their names there (libcamera, control_ids_core.yaml)."""

    def number(name: str) -> float | None:
        return float(said[name]) if name in said else None

    gains = said.get("ColourGains")
    return SensorMetadata(
        exposure_us=number("ExposureTime"),
        frame_duration_us=number("FrameDuration"),
        analogue_gain=number("AnalogueGain"),
        digital_gain=number("DigitalGain"),
        colour_gains=None if gains is None else (float(gains[0]), float(gains[1])),
        colour_temperature_k=number("ColourTemperature"),
        lux=number("Lux"),
        sensor_temperature_c=number("SensorTemperature"),
        lens_position_dpt=number("LensPosition"),
        focus_measure=number("FocusFoM"),
        auto_exposure="AeLocked" in said or bool(said.get("AeState")),
    )


def _frame(request: Any, sequence: int, camera_id: str) -> Frame:
    """The request's main stream as a frame. It takes over the caller's reference to the request."""
    stream = request.config["main"]
    said = request.get_metadata()
    timestamp_ns = int(said["SensorTimestamp"])
    with _picamera2(camera_id).MappedArray(request, "main", reshape=False, write=False) as mapped:
        memory = np.asarray(_Lease(request, mapped.array))
    width, height = stream["size"]
    planes, layout = _planes(memory, stream["format"], width, height, stream["stride"])
    return Frame(planes, layout, width, height, timestamp_ns, sequence, camera_id, _metadata(said))


def _planes(
    memory: NDArray[np.uint8], name: str, width: int, height: int, stride: int
) -> tuple[tuple[NDArray[np.uint8], ...], PixelFormat]:
    """Views of the planes; `stride` is bytes a row, padding included."""
    if name == "NV12":
        luma = memory[: height * stride].reshape(height, stride)[:, :width]
        chroma = memory[height * stride : height * stride * 3 // 2].reshape(height // 2, stride // 2, 2)
        return (luma, chroma[:, : width // 2]), PixelFormat.NV12
    if name in _RGB_FORMATS:
        rows = memory[: height * stride].reshape(height, stride)
        return (rows[:, : width * 3].reshape(height, width, 3),), _RGB_FORMATS[name]
    raise OperatorError(f"the camera delivers {name}", do="NV12, RGB888 and BGR888 are understood")


def _picamera2(where: str) -> Any:
    """The library, or one line on how to get it."""
    try:
        import picamera2
    except ImportError as error:
        lacking = error.name or "picamera2"
        raise OperatorError(
            f"the library of the Raspberry Pi's camera is not there ({lacking})",
            where=where,
            do="Install it: sudo apt install python3-libcamera python3-prctl, make the virtual environment "
            "with --system-site-packages, then pip install 'facepay-kiosk[pi]'",
        ) from error
    return picamera2
