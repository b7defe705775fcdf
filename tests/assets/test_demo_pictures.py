"""The demo's pictures are what `assets/demo/README.md` says, and the demo can be played with them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from kiosk.devices.cameras import open_source
from kiosk.frames import Frame
from kiosk.vision.models import Role
from kiosk.vision.pipeline import Vision

DEMO = Path(__file__).resolve().parents[2] / "assets" / "demo"
PICTURES = sorted(path.relative_to(DEMO).as_posix() for path in DEMO.rglob("*.jpg"))


@pytest.fixture(scope="module")
def vision() -> Vision:
    return Vision(liveness=False)


def embeddings(vision: Vision, source: str) -> list[np.ndarray]:
    frames: list[Frame] = []
    camera = open_source(str(DEMO / source))
    camera.open()
    while (frame := camera.read(0)) is not None:
        frames.append(frame)
    seen = [vision.observe(frame) for frame in frames]
    assert all(observation.hint is None for observation in seen), "a demo picture is not good enough"
    return [observation.embedding for observation in seen]


def test_every_picture_has_the_hash_that_the_readme_names():
    text = (DEMO / "README.md").read_text("utf-8")
    named = dict(re.findall(r"^\| `((?:enrol|probe)/[^`]+)` \| `([0-9a-f]{64})` \|$", text, re.MULTILINE))
    assert named == {name: hashlib.sha256((DEMO / name).read_bytes()).hexdigest() for name in PICTURES}


def test_every_picture_carries_its_credit_and_no_other_metadata():
    for name in PICTURES:
        raw = (DEMO / name).read_bytes()
        assert raw[2:4] == b"\xff\xfe"
        assert b"Public domain (17 U.S.C. 105)." in raw[:200]
        assert b"Exif\0" not in raw
        assert b"http://ns.adobe.com" not in raw


def test_the_pictures_stay_small():
    assert sum((DEMO / name).stat().st_size for name in PICTURES) <= 1_500_000


def test_no_photograph_both_enrols_and_probes():
    hashes = [hashlib.sha256((DEMO / name).read_bytes()).hexdigest() for name in PICTURES]
    assert len(set(hashes)) == len(hashes)
    assert {Path(name).stem for name in PICTURES if name.startswith("probe/")} - {"stranger"} <= {
        path.name for path in (DEMO / "enrol").iterdir()
    }


def test_the_payer_is_recognised_and_the_stranger_is_not(vision):
    card = vision.manifest.card(Role.EMBEDDING)
    enrolled = {path.name: embeddings(vision, f"enrol/{path.name}") for path in (DEMO / "enrol").iterdir()}
    assert len(enrolled) >= 2
    (payer,) = embeddings(vision, "probe/pyr-7f3k9q2m.jpg")
    (stranger,) = embeddings(vision, "probe/stranger.jpg")
    scores = {token: max(float(one @ payer) for one in each) for token, each in enrolled.items()}
    assert scores.pop("pyr-7f3k9q2m") >= card.threshold("match")
    assert max(scores.values()) < card.threshold("match_with_digits")
    assert all(
        float(one @ stranger) < card.threshold("match_with_digits")
        for each in enrolled.values()
        for one in each
    )
