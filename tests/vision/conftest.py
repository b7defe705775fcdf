"""The shipped networks and one shipped portrait, loaded once for all vision tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from kiosk.assets import assets_dir
from kiosk.devices.camera_file import read_image
from kiosk.vision.detect import Detector
from kiosk.vision.embed import Embedder
from kiosk.vision.landmarks import Landmarker
from kiosk.vision.models import Role, load_manifest, load_model
from kiosk.vision.pipeline import Vision


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """A shipped picture of one person, RGB."""
    return read_image(assets_dir() / "demo" / "probe" / "stranger.jpg")


@pytest.fixture(scope="session")
def detector() -> Detector:
    return Detector(load_model(load_manifest().card(Role.DETECTOR)))


@pytest.fixture(scope="session")
def landmarker() -> Landmarker:
    return Landmarker(load_model(load_manifest().card(Role.LANDMARKS)))


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return Embedder(load_model(load_manifest().card(Role.EMBEDDING)))


@pytest.fixture(scope="session")
def vision() -> Vision:
    """Who is who, without the anti-spoof network."""
    return Vision(liveness=False)


@pytest.fixture(scope="session")
def head(portrait: np.ndarray, detector: Detector) -> np.ndarray:
    """The portrait's head and its surroundings, a square of three face widths."""
    box = detector.detect(portrait)[0].box
    half = round(1.5 * box.width)
    x, y = (round(v) for v in box.centre)
    around = cv2.copyMakeBorder(portrait, half, half, half, half, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(around[y : y + 2 * half, x : x + 2 * half])


@pytest.fixture
def models_copy(tmp_path: Path) -> Path:
    """A folder with a copy of the shipped models, to be damaged."""
    folder = tmp_path / "models"
    folder.mkdir()
    for path in (assets_dir() / "models").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder
