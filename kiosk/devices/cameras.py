"""SOURCE as it is typed after `--camera`: which camera or file it means.

pi, pi:1            Raspberry Pi camera 0, 1      /dev/video2, 2     V4L2 device
picture.jpg         one picture                   folder             its pictures, sorted by name
clip.mp4            a video
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Final

from kiosk.devices.camera_file import StillSource, VideoSource, first_bytes, is_video
from kiosk.devices.camera_pi import PiSource
from kiosk.devices.camera_v4l2 import V4l2Source
from kiosk.devices.image_header import is_image
from kiosk.domain.errors import OperatorError
from kiosk.frames import FrameSource

__all__ = ["IMAGE_SUFFIXES", "MAX_PICTURES", "open_source"]

IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
MAX_PICTURES: Final = 10_000
"""More in one folder are taken for a mistake."""

_MAX_SHOWN: Final = 200


def open_source(text: str) -> FrameSource:
    """The source that `text` names, not yet opened (`open` starts it).

    OperatorError when it names nothing: what, where, what to do.
    """
    if match := re.fullmatch(r"pi(?::(\d{1,2}))?", text):
        return PiSource(int(match[1] or 0))
    if re.fullmatch(r"\d{1,3}", text):
        return V4l2Source(f"/dev/video{int(text)}")
    if text.startswith("/dev/"):
        return V4l2Source(text)
    path = Path(text)
    if not text or not text.isprintable() or (mode := _mode(path)) is None:
        raise OperatorError(
            "no such camera or file",
            where=ascii(text)[:_MAX_SHOWN],
            do="Give a picture, a folder, a video, /dev/video0 or pi",
        )
    if stat.S_ISDIR(mode):
        return StillSource(_pictures(path), text)
    if not stat.S_ISREG(mode):  # a pipe would be waited for without an end
        raise OperatorError(
            "neither a file nor a folder", where=text, do="Give a picture, a folder or a video"
        )
    return _file(path, text)


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except OSError:
        return None


def _file(path: Path, text: str) -> FrameSource:
    start = first_bytes(path)
    if is_image(start):
        return StillSource((path,), text)
    if is_video(start):
        return VideoSource(path)
    raise OperatorError(
        "neither a picture nor a video that can be read",
        where=text,
        do="Pictures: JPEG, PNG, WebP, BMP; videos: MP4, MOV, AVI, MKV, WebM, MPEG, GIF",
    )


def _pictures(folder: Path) -> tuple[Path, ...]:
    try:
        files = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES and path.name.isprintable() and path.name[0] != "."
        )
    except OSError as error:
        raise OperatorError(f"the folder can't be read ({error.strerror})", where=str(folder)) from error
    if not files:
        raise OperatorError(
            "no picture in this folder", where=str(folder), do="JPEG, PNG, WebP and BMP are read"
        )
    if len(files) > MAX_PICTURES:
        raise OperatorError(
            f"{len(files)} pictures in one folder", where=str(folder), do=f"At most {MAX_PICTURES} are read"
        )
    return tuple(files)
