from __future__ import annotations

from dataclasses import replace
from itertools import repeat

import numpy as np
import pytest

from kiosk.sandbox.flash import Presented, Setting, flashed, screen_light

FACE = (70.0, 60.0, 130.0, 140.0)
TIMES = [i * 33_000_000 for i in range(40)]
RED, GREEN = (255, 0, 0), (0, 255, 0)
STILL = replace(
    Setting.draw(np.random.default_rng(1), lux=300),
    mixing=np.eye(3, dtype=np.float32),
    noise=0.0,
    lamps=0.0,
    sway=0.0,
    white_balance=0.0,
    exposure_follows_s=1e9,
    screen_share=0.4,
    behind=0.1,
    glass=0.03,
    latency_ms=0.0,
    exposure_ms=0.0,
)


@pytest.fixture
def picture() -> np.ndarray:
    return np.full((200, 200, 3), (150, 120, 105), np.uint8)


def run(picture, presented, setting=STILL, seed=1):
    light = screen_light([RED, GREEN], [0, 660_000_000], 1_320_000_000, TIMES, setting)
    rng = np.random.default_rng(seed)
    return list(flashed(repeat((picture, FACE)), light, TIMES, presented=presented, setting=setting, rng=rng))


def redder(frames, rows, columns) -> float:
    """How much redder a part is under red than under green, in code values."""
    hue = [float(np.subtract(*f[rows, columns].mean(axis=(0, 1))[:2])) for f in (frames[10], frames[30])]
    return hue[0] - hue[1]


MIDDLE, BESIDE = (slice(90, 110), slice(90, 110)), (slice(90, 110), slice(0, 20))


def test_the_same_generator_gives_the_same_frames(picture):
    setting = Setting.draw(np.random.default_rng(3))
    first, again, other = (run(picture, Presented.FACE, setting, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert first[0].shape == picture.shape
    assert first[0].dtype == np.uint8


def test_a_face_takes_the_screens_colour_and_the_room_behind_it_less(picture):
    frames = run(picture, Presented.FACE)
    assert redder(frames, *MIDDLE) > 3 * redder(frames, *BESIDE) > 0


def test_a_print_takes_it_everywhere_and_a_cut_out_like_a_face(picture):
    sheet, cut = run(picture, Presented.PRINT), run(picture, Presented.CUT_OUT)
    assert redder(sheet, *MIDDLE) == pytest.approx(redder(sheet, *BESIDE), abs=1)
    assert redder(cut, *MIDDLE) > 3 * redder(cut, *BESIDE) > 0


def test_a_stream_takes_none_and_a_screen_little(picture):
    assert redder(run(picture, Presented.STREAM), *MIDDLE) == 0.0
    mirrored = redder(run(picture, Presented.SCREEN, replace(STILL, mirrored=9.0)), *MIDDLE)
    assert 0 < mirrored < 0.5 * redder(run(picture, Presented.FACE), *MIDDLE)


def test_light_comes_with_the_latency_and_an_ordinary_page_before_and_after():
    setting = replace(STILL, latency_ms=100.0)
    light = screen_light([RED], [0], 500_000_000, [0, 90_000_000, 110_000_000, 700_000_000], setting)
    assert light[0] == pytest.approx(light[3])
    assert light[0] == pytest.approx(light[1])
    assert light[2] == pytest.approx([1, 0, 0])


def test_more_light_in_the_room_leaves_less_to_the_screen():
    dim, bright = (Setting.draw(np.random.default_rng(2), lux=lux) for lux in (100, 800))
    assert dim.screen_share == pytest.approx(8 * bright.screen_share)


def test_exposure_and_white_balance_follow_the_screen(picture):
    """An automatic camera takes back part of a tint that stays."""
    eager = replace(STILL, white_balance=0.8, white_balance_follows_s=0.1, exposure_follows_s=0.1)
    light = np.tile(np.array([[1.0, 0, 0]], np.float32), (40, 1))

    def last(setting):
        rng = np.random.default_rng(1)
        how = {"presented": Presented.PRINT, "setting": setting, "rng": rng}
        return list(flashed(repeat((picture, FACE)), light, TIMES, **how))[-1]

    assert np.ptp(last(eager)[100, 100].astype(int)) < np.ptp(last(STILL)[100, 100].astype(int))
