"""The two crops that the network sees of one stored picture: plain for judging, varied for training.

Variation is drawn from the generator that is passed in and from nothing else: the same generator state gives
the same pixels. Live faces, attacks and simulated recaptures all pass through the same variation.
"""

from __future__ import annotations

from dataclasses import dataclass

import checkout  # noqa: F401  (kiosk is found through it)
import cv2
import numpy as np
from data import Box, Rgb

from kiosk.sandbox.recapture import camera
from kiosk.vision import liveness
from kiosk.vision.detect import Box as DetectorBox

__all__ = ["EXPOSURE", "FAR", "NEAR", "SIDE", "View", "plain", "varied"]


@dataclass(frozen=True, slots=True)
class View:
    """One crop: `scale` face widths, the detector's box raised by `raised` of its height."""

    scale: float
    raised: float


NEAR = View(1.4, 0.0)
"""Skin: the dots of a print, the grid of a screen, what a second lens has blurred."""
FAR = View(2.7, 0.15)
"""The face in its surroundings, as MiniFASNet's authors cut it: their box reaches above the forehead."""
EXPOSURE = 118.0
"""Luma that the face's median is brought to: a grey of 18 % in sRGB."""
SIDE = 80
"""Sides of both crops, in pixels."""
CAMERA = 0.5
"""How far the camera strays, of `recapture.camera`'s 1. At 1, blur and flat colours are no cue any more."""


def plain(rgb: Rgb, box: Box) -> tuple[Rgb, Rgb]:
    """Near and far crop, uint8[80, 80, 3] each, exactly as the product cuts and exposes them."""
    face = DetectorBox(*box)
    curve = liveness.exposure_curve(rgb, face, EXPOSURE)
    near, far = (liveness.crop_inside(rgb, face, view.scale, SIDE, view.raised) for view in (NEAR, FAR))
    return curve[near], curve[far]


def varied(rgb: Rgb, box: Box, rng: np.random.Generator) -> tuple[Rgb, Rgb]:
    """Near and far crop of another look at the same scene: mirrored, reframed, from afar, another camera."""
    if rng.random() < 0.35:
        rgb, box = _reframed(rgb, box, rng)
    if rng.random() < 0.5:
        rgb, box = _from_afar(rgb, box, rng)
    if rng.random() < 0.75:
        rgb = camera(rgb, rng, strength=CAMERA)
    if rng.random() < 0.5:
        rgb = np.ascontiguousarray(rgb[:, ::-1])
        box = (rgb.shape[1] - box[2], box[1], rgb.shape[1] - box[0], box[3])
    return plain(rgb, _nudged(box, rng))


def _reframed(rgb: Rgb, box: Box, rng: np.random.Generator) -> tuple[Rgb, Box]:
    """A picture cut closer about the face, so that how much of the far crop is mirrored edge says nothing."""
    height, width = rgb.shape[:2]
    left = int(rng.uniform(0, max(box[0], 0)))
    top = int(rng.uniform(0, max(box[1], 0)))
    right = int(np.ceil(rng.uniform(min(box[2], width), width)))
    bottom = int(np.ceil(rng.uniform(min(box[3], height), height)))
    return rgb[top:bottom, left:right], (box[0] - left, box[1] - top, box[2] - left, box[3] - top)


def _from_afar(rgb: Rgb, box: Box, rng: np.random.Generator) -> tuple[Rgb, Box]:
    """The same picture with fewer pixels: faces from 55 px wide."""
    face = box[2] - box[0]
    scale = rng.uniform(min(55 / face, 1.0), 1.0)
    shape = (max(round(rgb.shape[1] * scale), 2), max(round(rgb.shape[0] * scale), 2))
    small = np.asarray(cv2.resize(rgb, shape, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return small, (box[0] * scale, box[1] * scale, box[2] * scale, box[3] * scale)


def _nudged(box: Box, rng: np.random.Generator) -> Box:
    """The box as the detector might give it for the next frame: a little off, a little larger or smaller."""
    side = (box[2] - box[0]) * np.exp(rng.normal(0, 0.06))
    x = (box[0] + box[2]) / 2 + rng.normal(0, 0.03) * side
    y = (box[1] + box[3]) / 2 + rng.normal(0, 0.03) * side
    return float(x - side / 2), float(y - side / 2), float(x + side / 2), float(y + side / 2)
