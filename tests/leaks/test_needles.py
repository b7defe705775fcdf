"""The search itself: it finds a template and a frame in every form of a leak, and nothing else."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from ..cli.conftest import DEMO, PAYER
from .needles import Needles, frame_needles, template_needles


def a_template(seed: int) -> np.ndarray:
    raw = np.random.default_rng(seed).normal(size=192)
    return (raw / np.linalg.norm(raw)).astype(np.float32)


FORMS: dict[str, Callable[[np.ndarray], bytes]] = {
    "float32": lambda v: v.astype("<f4").tobytes(),
    "float32, other end first": lambda v: v.astype(">f4").tobytes(),
    "float64": lambda v: v.astype("<f8").tobytes(),
    "float16": lambda v: v.astype("<f2").tobytes(),
    "int8": lambda v: np.rint(v * 125).astype("i1").tobytes(),
    "int8, stretched": lambda v: np.rint(v * (127 / np.abs(a_template(1)).max())).astype("i1").tobytes(),
    "hex": lambda v: v.tobytes().hex().encode(),
    "HEX": lambda v: v.tobytes().hex().upper().encode(),
    "base64": lambda v: base64.b64encode(v.tobytes()),
    "base64, one byte on": lambda v: base64.b64encode(b"x" + v.tobytes()),
    "base64, two bytes on": lambda v: base64.b64encode(b"xy" + v.tobytes()),
    "base64 of a URL": lambda v: base64.urlsafe_b64encode(b"x" + v.astype("<f8").tobytes()),
    "JSON": lambda v: json.dumps(v.tolist()).encode(),
    "repr": lambda v: repr(v.astype("f8")).encode(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("part", [slice(0, 192), slice(37, 101)])
def test_a_template_is_found_in_every_form_and_a_third_of_it_is_enough(form: str, part: slice) -> None:
    vector, noise = a_template(1), np.random.default_rng(2).bytes(5_000)
    needles = Needles(template_needles(vector, "payer"))
    planted = noise[:2_003] + FORMS[form](vector[part]) + noise[2_003:]
    assert needles.found_in(planted)
    assert not needles.found_in(noise)
    others = b"".join(make(a_template(3)[part]) for make in FORMS.values())
    assert not needles.found_in(others)


def test_a_frame_is_found_as_pixels_and_as_its_file() -> None:
    path, other = DEMO / "probe" / f"{PAYER}.jpg", DEMO / "probe" / "stranger.jpg"
    file, picture = path.read_bytes(), cv2.imread(str(path))
    assert picture is not None
    needles = Needles(frame_needles(picture, file, "probe"))
    assert needles.found_in(b"x" * 5 + picture.tobytes()) == {"probe BGR"}
    assert needles.found_in(np.ascontiguousarray(picture[..., ::-1]).tobytes()) == {"probe RGB"}
    assert needles.found_in(file[1_000:]) == {"probe file"}
    assert not needles.found_in(other.read_bytes())
    assert not needles.found_in(b"")
