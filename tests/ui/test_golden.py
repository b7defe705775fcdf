"""The look of the product does not change unnoticed: a few small pictures, compared with some tolerance.

After a wanted change: `KIOSK_UPDATE_GOLDEN=1 pytest tests/ui/test_golden.py`, and look at every picture.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QSize
from PySide6.QtGui import QGuiApplication, QImage

from kiosk.ui.screenshot import ORIENTATIONS, SCENES, Picture, render

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
FAR_OFF = 48
"""Levels of 255 by which a pixel differs visibly; anti-aliasing differs by less over Qt's versions."""
MOST_FAR_OFF = 0.004
MOST_MEAN = 1.5

PICTURES = [
    Picture(next(scene for scene in SCENES if scene.name == name), language, orientation, theme)
    for name, language, orientation, theme in (
        ("idle", "en", "portrait", "light"),
        ("offer", "zh-Hans", "portrait", "light"),
        ("look-closer", "en", "portrait", "dark"),
        ("challenge-left", "en", "portrait", "light"),
        ("flash-soon", "zh-Hans", "landscape", "light"),
        ("flash-blue", "en", "portrait", "dark"),
        ("digits", "en", "portrait", "light"),
        ("pin", "en", "portrait", "light"),
        ("pin-wrong", "zh-Hans", "landscape", "dark"),
        ("confirm", "zh-Hans", "landscape", "light"),
        ("approved", "en", "landscape", "dark"),
        ("refused-not_recognised", "zh-Hans", "landscape", "light"),
        ("checking", "en", "portrait", "light"),
    )
]


def grey_levels(image: QImage) -> np.ndarray:
    image = image.convertToFormat(QImage.Format.Format_RGBX8888)
    raw = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.width(), 4)
    return raw[..., :3].astype(np.int16)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_the_screen_looks_as_it_did(picture: Picture, qapp: QGuiApplication, tmp_path: Path) -> None:
    path = GOLDEN / f"{picture.name}.png"
    size = ORIENTATIONS[picture.orientation]
    now = render(picture, size=QSize(size.width() // 2, size.height() // 2))
    if os.environ.get("KIOSK_UPDATE_GOLDEN"):
        assert now.convertToFormat(QImage.Format.Format_RGB888).save(str(path), quality=0)  # 0: smallest file
    then = QImage(str(path))
    assert then.size() == now.size(), f"{path.name} is missing or has another size"
    difference = np.abs(grey_levels(now) - grey_levels(then)).max(axis=-1)
    kept = tmp_path / f"{picture.name}.png"
    now.save(str(kept))
    assert difference.mean() <= MOST_MEAN, f"mean {difference.mean():.2f}; now: {kept}, before: {path}"
    assert (difference > FAR_OFF).mean() <= MOST_FAR_OFF, f"now: {kept}, before: {path}"
