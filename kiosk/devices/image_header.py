"""How large a picture says it is, read from its first bytes: nothing is decoded to find out.

A few bytes can claim a picture of gigabytes; its size is known, and refused, before a decoder sees it.
JPEG (ITU-T T.81, B.2.2), PNG (W3C PNG, 11.2.1), WebP (RFC 9649, 2) and BMP (BITMAPINFOHEADER) are read.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["image_size", "is_image"]

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_NO_SIZE = {0xC4, 0xC8, 0xCC}  # in the range of the frame headers, but tables
_JPEG_NO_LENGTH = {0x01, *range(0xD0, 0xD9)}  # stand alone


def is_image(data: bytes) -> bool:
    """Whether `data` (16 bytes are enough) begins like a picture that this program reads."""
    return data.startswith((b"\xff\xd8\xff", _PNG, b"BM")) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def image_size(data: bytes) -> tuple[int, int]:
    """(width, height) in pixels as the header claims. ValueError where there is no header that says so."""
    if data.startswith(_PNG):
        return _number(data, 16, 4, "big"), _number(data, 20, 4, "big")
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data.startswith(b"BM"):
        return _number(data, 18, 4, "little"), abs(_number(data, 22, 4, "little", signed=True))
    raise ValueError("not a JPEG, PNG, WebP or BMP picture")


def _jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    while True:
        if _number(data, at, 1, "big") != 0xFF:
            raise ValueError("the picture's header is damaged")
        marker = _number(data, at + 1, 1, "big")
        if marker == 0xFF:  # fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in _JPEG_NO_SIZE:
            return _number(data, at + 7, 2, "big"), _number(data, at + 5, 2, "big")
        elif marker in _JPEG_NO_LENGTH:
            at += 2
        else:
            at += 2 + _number(data, at + 2, 2, "big")


def _webp(data: bytes) -> tuple[int, int]:
    match data[12:16]:
        case b"VP8X":
            return 1 + _number(data, 24, 3, "little"), 1 + _number(data, 27, 3, "little")
        case b"VP8L":
            bits = _number(data, 21, 4, "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            return _number(data, 26, 2, "little") & 0x3FFF, _number(data, 28, 2, "little") & 0x3FFF
    raise ValueError("the picture's header is damaged")


def _number(
    data: bytes, at: int, length: int, order: Literal["big", "little"], *, signed: bool = False
) -> int:
    part = data[at : at + length]
    if len(part) != length:
        raise ValueError("the picture's header is cut off")
    return int.from_bytes(part, order, signed=signed)
