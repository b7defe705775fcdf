"""Pictures and videos as a camera: for demonstrations, tests and evaluation, never for production.

A file is hostile until it is decoded: its kind is read from its content, its size before it is decoded, and a
damaged one is an `OperatorError` of one line. Each picture comes once, then the source has ended.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from kiosk.devices.image_header import image_size
from kiosk.domain.errors import OperatorError
from kiosk.frames import MAX_SIDE_PX, Frame, PixelFormat, SourceInfo, SourceKind
from kiosk.quiet import no_remarks

__all__ = ["StillSource", "VideoSource", "first_bytes", "is_video", "read_image"]

MAX_IMAGE_BYTES: Final = 64 * 2**20
MAX_IMAGE_PIXELS: Final = 50_000_000
"""Just above what phones take (48 megapixels)."""

_STILLS_PER_S: Final = 30
_READS: Final = "JPEG, PNG, WebP and BMP are read"
_OTHER: Final = "Give another file"
_VIDEO_SIGNATURES: Final = (
    (4, b"ftyp"),
    (8, b"AVI "),
    (0, b"\x1aE\xdf\xa3"),
    (0, b"\0\0\1\xba"),
    (0, b"GIF8"),
)

# FFmpeg reads it when it is first used. Its remarks on a damaged file would stand beside our one line.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def is_video(data: bytes) -> bool:
    """Whether `data` (16 bytes are enough) begins like MP4, MOV, AVI, MKV, WebM, MPEG or GIF.

    FFmpeg also reads play lists, which name other files and servers: they are not let through.
    """
    return any(data[at : at + len(mark)] == mark for at, mark in _VIDEO_SIGNATURES)


def read_image(path: Path) -> NDArray[np.uint8]:
    """The picture in a file as uint8[h, w, 3], RGB, turned upright where its EXIF data says how.

    OperatorError for a file that is missing, too large, or no picture.
    """
    data = _read_bounded(path)
    try:
        width, height = image_size(data)
    except ValueError as error:
        raise OperatorError(f"no picture can be read ({error})", where=str(path), do=_READS) from error
    if not (1 <= width <= MAX_SIDE_PX and 1 <= height <= MAX_SIDE_PX and width * height <= MAX_IMAGE_PIXELS):
        raise OperatorError(
            f"the picture is {width} x {height} px",
            where=str(path),
            do=f"Sides of 1 to {MAX_SIDE_PX} px and at most {MAX_IMAGE_PIXELS // 10**6} megapixels are read",
        )
    picture = _decode(data)
    if picture is None:
        raise OperatorError("the picture is damaged", where=str(path), do=_OTHER)
    return picture


class StillSource:
    """One picture, or several in the order given; 30 a second by their time stamps, without waiting."""

    def __init__(self, pictures: Sequence[Path], name: str) -> None:
        self._pictures = tuple(pictures)
        self._info = SourceInfo(name, SourceKind.STILL, f"still:{Path(name).name}")
        self._next = len(self._pictures)

    @property
    def info(self) -> SourceInfo:
        return self._info

    @property
    def ended(self) -> bool:
        return self._next >= len(self._pictures)

    def open(self) -> None:
        missing = [path for path in self._pictures if not path.is_file()]
        if missing or not self._pictures:
            where = str(missing[0]) if missing else self._info.name
            raise OperatorError("there is no picture", where=where, do=_OTHER)
        self._next = 0

    def read(self, timeout_s: float) -> Frame | None:
        """The next picture; OperatorError when it can't be read (the one after it still can)."""
        if self.ended:
            return None
        number, self._next = self._next, self._next + 1
        rgb = read_image(self._pictures[number])
        return Frame(
            planes=(rgb,),
            format=PixelFormat.RGB888,
            width=rgb.shape[1],
            height=rgb.shape[0],
            timestamp_ns=number * 10**9 // _STILLS_PER_S,
            sequence=number,
            camera_id=self._info.camera_id,
        )

    def close(self) -> None:
        self._next = len(self._pictures)


class VideoSource:
    """A video file, frame by frame as fast as it is read; time stamps are the video's own clock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._info = SourceInfo(str(path), SourceKind.RECORDED, f"video:{path.name}")
        self._capture: cv2.VideoCapture | None = None
        self._sequence = 0
        self._timestamp_ns = -1

    @property
    def info(self) -> SourceInfo:
        return self._info

    @property
    def ended(self) -> bool:
        return self._capture is None

    def open(self) -> None:
        self.close()
        if not is_video(first_bytes(self._path)):
            raise OperatorError("not a video that can be read", where=str(self._path), do=_OTHER)
        capture = cv2.VideoCapture(str(self._path.resolve()), cv2.CAP_FFMPEG)
        width, height = (int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if not capture.isOpened() or width < 1 or height < 1:
            capture.release()
            raise OperatorError("the video is damaged", where=str(self._path), do=_OTHER)
        if max(width, height) > MAX_SIDE_PX:
            capture.release()
            do = f"Sides of 1 to {MAX_SIDE_PX} px are read"
            raise OperatorError(f"the video is {width} x {height} px", where=str(self._path), do=do)
        self._capture, self._sequence, self._timestamp_ns = capture, 0, -1

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame. OperatorError when the file does not hold even one."""
        if self._capture is None:
            return None
        delivered, bgr = self._capture.read()
        if not delivered:
            self.close()
            if self._sequence == 0:
                raise OperatorError("the video holds no frame", where=str(self._path), do=_OTHER)
            return None
        self._timestamp_ns = self._clock_ns(self._capture)
        frame = Frame(
            planes=(np.asarray(bgr, np.uint8),),
            format=PixelFormat.BGR888,
            width=bgr.shape[1],
            height=bgr.shape[0],
            timestamp_ns=self._timestamp_ns,
            sequence=self._sequence,
            camera_id=self._info.camera_id,
        )
        self._sequence += 1
        return frame

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
        self._capture = None

    def _clock_ns(self, capture: cv2.VideoCapture) -> int:
        """When the frame was shown; a clock that stands still or jumps back is moved on by one frame."""
        shown_ns = round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        if shown_ns > self._timestamp_ns:
            return shown_ns
        per_s = capture.get(cv2.CAP_PROP_FPS)
        return self._timestamp_ns + round(1e9 / (per_s if 1 <= per_s <= 1000 else _STILLS_PER_S))


def _read_bounded(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_IMAGE_BYTES:
            raise OperatorError(
                "the file is too large for a picture",
                where=str(path),
                do=f"Pictures of at most {MAX_IMAGE_BYTES // 2**20} MiB are read",
            )
        return path.read_bytes()
    except OSError as error:
        raise OperatorError(
            f"no picture can be read ({error.strerror})", where=str(path), do=_OTHER
        ) from error


def first_bytes(path: Path) -> bytes:
    """The first 16 bytes of a file, which tell its kind; OperatorError when it can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise OperatorError(
            f"the file can't be read ({error.strerror})", where=str(path), do=_OTHER
        ) from error


def _decode(data: bytes) -> NDArray[np.uint8] | None:
    with no_remarks():  # libjpeg and libpng write there; only files, which production refuses, come this way
        try:
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        except cv2.error:  # what a hostile file makes of an assertion in there
            return None
    return None if picture is None else np.asarray(picture, np.uint8)
