"""What a leaked template or frame would look like, and a search for it in any bytes.

A template is looked for as numbers of every width, as they are and as hex, base64 and decimal text; a
fragment of 48 numbers is enough to be found. A frame is looked for as rows of pixels and as its file.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["IMAGE_FILES", "Needles", "frame_needles", "template_needles"]

Needle = tuple[str, bytes]
STRIDE = 24
"""Components between two windows: a fragment of twice as many holds a whole one."""
WINDOW = 24
"""Bytes of a window: chance doesn't write them again, and base64 keeps 16 digits of it in every phase."""
IMAGE_FILES = (b"JFIF\0", b"Exif\0\0", b"\x89PNG\r\n\x1a\n", b"WEBPVP8", b"ftypmp4", b"ftypisom")
"""How pictures and films begin, or nearly."""


def template_needles(vector: NDArray[np.float32], name: str) -> list[Needle]:
    """Everything by which float32[192] `vector` would be known."""
    found: list[Needle] = []
    for form in ("<f4", ">f4", "<f8", ">f8", "<f2", ">f2"):
        found += _encoded(vector.astype(form).tobytes(), np.dtype(form).itemsize, f"{name} {form}")
    for steps in (127, 125, 127 / float(np.abs(vector).max())):  # of the int8 forms, one is the matcher's
        found += _encoded(np.rint(vector * steps).astype("<i1").tobytes(), 1, f"{name} int8 * {steps:.0f}")
    for value in np.abs(vector[np.abs(vector) > 0.01]):
        found += [
            (f"{name} text", f"{value:.9f}"[1:9].encode()),
            (f"{name} text", f"{value:.8e}"[:8].encode()),
        ]
    return found


def frame_needles(picture: NDArray[np.uint8], file: bytes, name: str) -> list[Needle]:
    """Rows of uint8[h, w, 3] `picture` as BGR, RGB and grey, and pieces of the `file` that it came from."""
    grey = np.rint(picture @ np.array([0.114, 0.587, 0.299])).astype(np.uint8)
    found: list[Needle] = []
    for form, pixels in (("BGR", picture), ("RGB", picture[..., ::-1]), ("grey", grey)):
        height, width = pixels.shape[:2]
        for y in range(height // 4, height * 3 // 4, 4):
            row = np.ascontiguousarray(pixels[y, width // 3 :]).tobytes()[:WINDOW]
            if len(set(row)) > WINDOW // 2:  # a flat piece of wall could be anything
                found.append((f"{name} {form}", row))
    step = max(1, len(file) // 64)
    found += [
        (f"{name} file", file[at : at + WINDOW]) for at in range(len(file) // 8, len(file) - WINDOW, step)
    ]
    return found


def _encoded(raw: bytes, size: int, name: str) -> list[Needle]:
    found: list[Needle] = []
    for at in range(0, len(raw) - WINDOW + 1, STRIDE * size):
        window = raw[at : at + WINDOW]
        found += [(name, window), (f"{name} hex", window.hex().encode())]
        found.append((f"{name} HEX", window.hex().upper().encode()))
        for phase in range(3):
            text = base64.b64encode(bytes(phase) + window)
            kept = text[4 if phase else 0 : (phase + WINDOW) // 3 * 4]
            found += [
                (f"{name} base64", kept),
                (f"{name} base64", kept.translate(bytes.maketrans(b"+/", b"-_"))),
            ]
    return found


class Needles:
    """Many needles at once: their first eight bytes are held against all of a text's, then the rest."""

    def __init__(self, needles: Iterable[Needle]) -> None:
        self._by_start: dict[int, list[Needle]] = {}
        for name, needle in needles:
            start = int.from_bytes(needle[:8], "little")
            self._by_start.setdefault(start, []).append((name, needle))
        self._starts = np.array(sorted(self._by_start), np.uint64)

    def __len__(self) -> int:
        return sum(map(len, self._by_start.values()))

    def found_in(self, content: bytes, step: int = 1) -> set[str]:
        """Names of the needles in `content`: anywhere, or at each `step` (1, 2, 4 or 8) bytes only."""
        found: set[str] = set()
        for shift in range(0, min(8, max(0, len(content) - 7)), step):
            words = np.frombuffer(content, "<u8", (len(content) - shift) // 8, shift)
            at = np.searchsorted(self._starts, words).clip(max=len(self._starts) - 1)
            for word in np.flatnonzero(self._starts[at] == words):
                place = shift + 8 * int(word)
                for name, needle in self._by_start[int(words[word])]:
                    if content[place : place + len(needle)] == needle:
                        found.add(name)
        return found

    def found_in_files(self, folder: Path) -> Mapping[str, set[str]]:
        """The same for every file under `folder`; only files where something was found."""
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        found = {str(path): self.found_in(path.read_bytes()) for path in files}
        return {path: names for path, names in found.items() if names}
