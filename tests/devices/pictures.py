"""Files for the cameras' tests, made here: no picture of anyone."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np


def scene(width: int = 64, height: int = 48, level: int = 90) -> np.ndarray:
    """uint8[h, w, 3], RGB: red in the left upper quarter, grey elsewhere."""
    rgb = np.full((height, width, 3), level, np.uint8)
    rgb[: height // 2, : width // 2] = (220, 20, 20)
    return rgb


def write_image(path: Path, rgb: np.ndarray | None = None) -> Path:
    picture = scene() if rgb is None else rgb
    done, encoded = cv2.imencode(path.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done
    path.write_bytes(encoded.tobytes())
    return path


def write_video(path: Path, frames: int = 12, per_s: int = 25) -> Path:
    code = "MJPG" if path.suffix == ".avi" else "mp4v"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), per_s, (64, 48))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((48, 64, 3), 20 + 10 * number, np.uint8))
    writer.release()
    return path


def turned(jpeg: bytes, orientation: int) -> bytes:
    """The same JPEG with an EXIF block that says how it is to be turned."""
    tiff = b"MM\0*\0\0\0\x08" + b"\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0) + b"\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
