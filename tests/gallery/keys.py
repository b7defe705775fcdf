"""A key port that only derives, and a store with it."""

from __future__ import annotations

from pathlib import Path

from kiosk.gallery.store import GalleryStore


class Key:
    key_id = "test"
    key_class = "dev"

    def __init__(self, secret: bytes = b"k" * 32) -> None:
        self._secret = secret

    def public_key_der(self) -> bytes:
        return b""

    def sign(self, message: bytes) -> bytes:
        return b""

    def derive(self, purpose: str) -> bytes:
        assert purpose == "gallery"
        return self._secret

    def check(self) -> None:
        """It always can."""


def store_in(folder: Path, secret: bytes = b"k" * 32) -> GalleryStore:
    return GalleryStore(folder / "gallery", Key(secret))


def files_in(folder: Path) -> set[str]:
    return {path.name for path in (folder / "gallery").iterdir()}
