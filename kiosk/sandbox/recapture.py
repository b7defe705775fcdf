"""What a camera sees when a picture of a face is held in front of it: printed on paper, or shown on a screen.

For demonstrations, tests and the training of the anti-spoof network, so that no real attack has to be staged.
It promises the same result for the same picture and seed, and draws on NumPy and OpenCV only.

    picture -> sheet (print: gamut, halftone, paper, margin | screen: gamma, black level, grid, bezel)
            -> scene (background, bend, perspective, hands) -> light (shading, glare, moire) -> camera

Figures are chosen by eye from what cameras of 0.3 to 1 megapixel make of office prints, phones and tablets;
none is measured. A recapture is a simulation: it is never evidence about real attacks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["LONGEST_SIDE_PX", "Instrument", "Recapture", "as_print", "as_screen", "camera", "recapture"]

Rgb: TypeAlias = NDArray[np.uint8]
Light: TypeAlias = NDArray[np.float32]
Scalar = TypeVar("Scalar", np.uint8, np.float32)

LONGEST_SIDE_PX = 640
"""The simulated camera's longest side: larger pictures are shrunk to it before they are recaptured."""


class Instrument(StrEnum):
    """Presentation attack instruments that are simulated (ISO/IEC 30107-1 calls them artefacts)."""

    PRINT = "print"
    SCREEN = "screen"


@dataclass(frozen=True, slots=True, eq=False)
class Recapture:
    """`rgb` is what the camera sees; `homography` takes the picture's pixels (x, y, 1) to those of `rgb`.

    A bent sheet departs from the plane by at most 3 % of its width; the homography leaves that out.
    """

    rgb: Rgb
    homography: NDArray[np.float64]


def as_print(rgb: Rgb, seed: int) -> Rgb:
    """The picture uint8[h, w, 3] as a paper print held before a background, its edges in view."""
    return recapture(rgb, Instrument.PRINT, np.random.default_rng(seed)).rgb


def as_screen(rgb: Rgb, seed: int) -> Rgb:
    """The picture uint8[h, w, 3] on a phone or tablet held before a background, its bezel in view."""
    return recapture(rgb, Instrument.SCREEN, np.random.default_rng(seed)).rgb


def recapture(
    rgb: Rgb,
    instrument: Instrument,
    rng: np.random.Generator,
    *,
    framed: bool = True,
    background: Rgb | None = None,
) -> Recapture:
    """One recapture of `rgb` (uint8[h, w, 3]), at most `LONGEST_SIDE_PX` long.

    With `framed` the sheet's edges are in view; without, the sheet fills the picture and only its surface
    tells. `background` is what stands behind the sheet; by default a blurred room is made up.
    """
    shrink = min(1.0, LONGEST_SIDE_PX / max(rgb.shape[:2]))
    picture = _light(_resized(rgb, shrink))
    height, width = picture.shape[:2]
    if instrument is Instrument.PRINT:
        sheet, margin = _printed(picture, rng, framed)
    else:
        sheet, margin = _shown(picture, rng, framed)
    placed = _placement(sheet, picture, framed, rng)
    scene = _room(picture, background, rng)
    seen = _held(sheet, placed, scene, kind=instrument, framed=framed, rng=rng)
    seen = _lit(seen, scene, instrument, rng)
    if rng.random() < 0.75:
        seen = _blurred(seen, rng.uniform(0.3, 2.4) * min(width, height) / 240)
    to_sheet = np.array([[shrink, 0, margin[0]], [0, shrink, margin[1]], [0, 0, 1]], dtype=np.float64)
    return Recapture(camera(_bytes(seen), rng, strength=0.6), placed @ to_sheet)


def camera(rgb: Rgb, rng: np.random.Generator, *, strength: float = 1.0) -> Rgb:
    """Another camera's view of `rgb`: white balance, exposure, focus, noise, sharpening, compression.

    `strength` in [0, 1] scales how far each may stray. Live faces and recaptures pass through the same
    function, so that none of these tells them apart.
    """
    x = _light(rgb)
    if rng.random() < 0.8:
        gain = np.exp(rng.normal(0, 0.09 * strength, 3)) * np.exp(rng.normal(0, 0.2 * strength))
        x *= gain.astype(np.float32)
    if rng.random() < 0.6:
        x = _curve(x, np.exp(rng.normal(0, 0.22 * strength)), rng.uniform(0, 0.06 * strength))
    if rng.random() < 0.3:
        x = _saturated(x, np.exp(rng.normal(0, 0.3 * strength)))
    side = min(x.shape[:2])
    if rng.random() < 0.3:
        shape = (x.shape[1], x.shape[0])
        x = _resized(x, max(rng.uniform(1 - 0.65 * strength, 1.0), 48 / side))
        x = np.asarray(cv2.resize(x, shape, interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    if rng.random() < 0.4:
        x = _blurred(x, rng.uniform(0.3, 0.3 + 1.3 * strength) * side / 240)
    if rng.random() < 0.3:
        x = x + np.float32(rng.uniform(0.2, 0.2 + 1.0 * strength)) * (x - _blurred(x, rng.uniform(0.8, 1.6)))
    if rng.random() < 0.6:
        amount = np.float32(abs(rng.normal(0, 0.025 * strength)))
        x = x + amount * _grain(x, rng, coloured=bool(rng.random() < 0.5))
    out = _bytes(x)
    if rng.random() < 0.6:
        quality = int(rng.uniform(95 - 65 * strength, 96))
        _, jpeg = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])
        out = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), dtype=np.uint8)
    return out


def _printed(picture: Light, rng: np.random.Generator, framed: bool) -> tuple[Light, tuple[float, float]]:
    """The picture as ink on paper, and where its top left corner lies on the sheet."""
    height, width = picture.shape[:2]
    x = _saturated(picture, 0.0 if rng.random() < 0.06 else rng.uniform(0.45, 1.15))
    x = _curve(x, rng.uniform(0.7, 1.35), 0.0)
    if rng.random() < 0.6:
        x = _halftoned(x, rng)
    if rng.random() < 0.3:
        rows = np.arange(height, dtype=np.float32)[:, None, None]
        x = x * (1 + rng.uniform(0.01, 0.06) * np.sin(rows * rng.uniform(0.15, 2.0) + rng.uniform(0, 6)))
    paper = (rng.uniform(0.78, 1.0) * (1 + rng.normal(0, 0.03, 3))).astype(np.float32)
    ink = np.float32(rng.uniform(0.03, 0.24))
    border = rng.uniform(0.02, 0.14) if framed and rng.random() < 0.75 else 0.0
    left, top = int(border * width), int(border * height * rng.uniform(0.5, 1.5))
    x = np.pad(np.clip(x, 0, 1), ((top, top), (left, left), (0, 0)), constant_values=1.0)
    sheet = paper * (ink + (1 - ink) * x)
    sheet = sheet + rng.uniform(0, 0.02) * _blurred(_grain(sheet, rng, coloured=False), 0.8)
    return sheet.astype(np.float32), (left, top)


def _shown(picture: Light, rng: np.random.Generator, framed: bool) -> tuple[Light, tuple[float, float]]:
    """The picture as a panel emits it, in its bezel, and where its top left corner lies on the device."""
    height, width = picture.shape[:2]
    x = _saturated(picture, rng.uniform(0.6, 1.45))
    x = _curve(x, rng.uniform(0.65, 1.6), rng.uniform(0.0, 0.16))
    white = (
        np.array([1.0, 1.0, 1.0]) + rng.normal(0, 0.05, 3) + rng.uniform(-0.04, 0.14) * np.array([-1, 0, 1])
    )
    x = x * (white * rng.uniform(0.65, 1.8)).astype(np.float32)
    x = np.clip(x, 0, 1).astype(np.float32)
    if not framed:
        return x, (0, 0)
    left = int(rng.uniform(0.015, 0.12) * width) + 1
    top = int(rng.uniform(0.015, 0.2) * height) + 1
    case = np.float32(rng.uniform(0.75, 0.95) if rng.random() < 0.15 else rng.uniform(0.0, 0.14))
    device = np.full((height + 2 * top, width + 2 * left, 3), case, dtype=np.float32)
    device[top : top + height, left : left + width] = x
    if rng.random() < 0.5:
        device = np.asarray(
            cv2.rectangle(
                device,
                (0, 0),
                (device.shape[1] - 1, device.shape[0] - 1),
                [float(rng.uniform(0.1, 0.7))] * 3,
                max(1, width // 150),
            )
        )
    return device, (left, top)


def _placement(sheet: Light, picture: Light, framed: bool, rng: np.random.Generator) -> NDArray[np.float64]:
    """The homography that takes the sheet's pixels to the camera's, which are the picture's."""
    sheet_height, sheet_width = sheet.shape[:2]
    height, width = picture.shape[:2]
    if framed:
        scale = rng.uniform(0.55, 0.98) * min(width / sheet_width, height / sheet_height)
        turn = np.deg2rad(rng.normal(0, 4))
        tilt = 0.05
    else:
        scale = rng.uniform(1.02, 1.35) * max(width / sheet_width, height / sheet_height)
        turn = np.deg2rad(rng.normal(0, 1.5))
        tilt = 0.01
    slack = np.abs(np.array([width - scale * sheet_width, height - scale * sheet_height])) / 2
    centre = np.array([width, height]) / 2 + rng.uniform(-0.8, 0.8, 2) * slack
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array([sheet_width, sheet_height]) / 2
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    size = scale * min(sheet_width, sheet_height)
    target = scale * corners @ rotation.T + centre + rng.uniform(-tilt, tilt, (4, 2)) * size
    source = corners + np.array([sheet_width, sheet_height]) / 2
    return np.asarray(
        cv2.getPerspectiveTransform(source.astype(np.float32), target.astype(np.float32)), dtype=np.float64
    )


def _room(picture: Light, background: Rgb | None, rng: np.random.Generator) -> Light:
    """What is behind the sheet: the given picture, or walls and edges out of focus."""
    height, width = picture.shape[:2]
    if background is not None:
        fitted = cv2.resize(background, (width, height), interpolation=cv2.INTER_AREA)
        return _light(np.asarray(fitted, dtype=np.uint8))
    coarse = rng.uniform(0.05, 0.95, (rng.integers(2, 7), rng.integers(2, 7), 1))
    coarse = np.clip(coarse + rng.normal(0, 0.09, (*coarse.shape[:2], 3)), 0, 1).astype(np.float32)
    how = cv2.INTER_NEAREST if rng.random() < 0.3 else cv2.INTER_LINEAR
    room = np.asarray(cv2.resize(coarse, (width, height), interpolation=how), dtype=np.float32)
    if rng.random() < 0.5:
        room = 0.5 * room + 0.5 * picture[:, ::-1]
    return _blurred(room, rng.uniform(0.5, 6) * min(width, height) / 240)


def _held(
    sheet: Light,
    placed: NDArray[np.float64],
    scene: Light,
    *,
    kind: Instrument,
    framed: bool,
    rng: np.random.Generator,
) -> Light:
    """The sheet in front of the scene, bent if it is paper, with hands at its edges where edges are seen."""
    height, width = scene.shape[:2]
    alpha = np.ones(sheet.shape[:2], dtype=np.float32)
    if kind is Instrument.PRINT:
        if framed and rng.random() < 0.2:
            alpha = _cut_out(alpha, rng)
        if rng.random() < 0.6:
            sheet, alpha = _bent(sheet, alpha, rng)
    layer = cv2.warpPerspective(
        sheet, placed, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    if kind is Instrument.SCREEN:
        layer = _moire(np.asarray(layer, dtype=np.float32), rng)
    mask = cv2.warpPerspective(alpha, placed, (width, height), flags=cv2.INTER_LINEAR)[..., None]
    seen = np.asarray(layer * mask + scene * (1 - mask), dtype=np.float32)
    if framed and rng.random() < 0.6:
        seen = _hands(seen, sheet, placed, rng)
    return seen


def _cut_out(alpha: Light, rng: np.random.Generator) -> Light:
    """Paper cut along an oval or rounded outline."""
    height, width = alpha.shape
    grid_y, grid_x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    power = np.float32(rng.uniform(2, 6))
    radius = np.abs(grid_x) ** power + np.abs(grid_y) ** power
    return np.asarray(radius < 1, dtype=np.float32)


def _bent(sheet: Light, alpha: Light, rng: np.random.Generator) -> tuple[Light, Light]:
    """Paper bent about one axis: rows (or columns) slide by up to 3 % and catch more or less light."""
    height, width = alpha.shape
    grid_y, grid_x = np.mgrid[0:height, 0:width].astype(np.float32)
    along, length = (grid_x, width) if rng.random() < 0.6 else (grid_y, height)
    phase = np.pi * (along / length * rng.uniform(0.7, 2.0) + rng.uniform(0, 2))
    slide = np.float32(rng.uniform(-0.03, 0.03) * length) * np.sin(phase)
    shade = 1 + np.float32(rng.uniform(-0.22, 0.22)) * np.cos(phase)
    map_x, map_y = (grid_x, grid_y + slide) if along is grid_x else (grid_x + slide, grid_y)
    bent = cv2.remap(sheet, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cut = cv2.remap(alpha, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(bent * shade[..., None], dtype=np.float32), np.asarray(cut, dtype=np.float32)


def _hands(seen: Light, sheet: Light, placed: NDArray[np.float64], rng: np.random.Generator) -> Light:
    """Fingers over the sheet's left and right edges: soft ellipses in the colours of skin."""
    height, width = seen.shape[:2]
    sheet_height, sheet_width = sheet.shape[:2]
    layer = np.zeros((height, width), dtype=np.float32)
    span = placed[:2, :2] @ np.array([sheet_width, 0.0])
    reach = float(np.hypot(*span)) / max(abs(placed[2, 2]), 1e-6)
    for side in (0.0, 1.0):
        if rng.random() < 0.3:
            continue
        level = rng.uniform(0.35, 1.0)
        for finger in range(int(rng.integers(1, 5))):
            spot = np.array([side * sheet_width, (level - 0.055 * finger) * sheet_height, 1.0])
            x, y, w = placed @ spot
            axes = (int(reach * rng.uniform(0.05, 0.14)) + 2, int(reach * rng.uniform(0.02, 0.035)) + 2)
            cv2.ellipse(layer, (int(x / w), int(y / w)), axes, float(rng.normal(0, 12)), 0, 360, 1.0, -1)
    skin = np.array([0.78, 0.58, 0.47]) * rng.uniform(0.4, 1.2) * (1 + rng.normal(0, 0.06, 3))
    soft = _blurred(layer, 1.0 + 0.004 * width)[..., None]
    return np.asarray(seen * (1 - soft) + soft * (0.75 + 0.25 * soft) * skin, dtype=np.float32)


def _moire(seen: Light, rng: np.random.Generator) -> Light:
    """What the panel's grid leaves in the camera's: waves of nearly the same frequency in each colour."""
    height, width = seen.shape[:2]
    grid_y, grid_x = np.mgrid[0:height, 0:width].astype(np.float32)
    if rng.random() < 0.75:
        waves = np.zeros((height, width, 3), dtype=np.float32)
        for _ in range(int(rng.integers(1, 3))):
            period = np.exp(rng.uniform(np.log(2.0), np.log(45.0))) * max(1.0, width / 320)
            angle = rng.uniform(0, np.pi)
            curl = np.float32(rng.normal(0, 0.0012) / period)
            base = np.cos(angle) * grid_x + np.sin(angle) * grid_y + curl * grid_x * grid_y
            phases = rng.normal(0, 0.6) + rng.normal(0, rng.uniform(0, 1.2), 3)
            for channel in range(3):
                waves[..., channel] += np.cos(
                    np.float32(2 * np.pi / period) * base + np.float32(phases[channel])
                )
        seen = seen * (1 + np.float32(rng.uniform(0.01, 0.16)) * waves)
    if rng.random() < 0.25:
        bands = np.sin(grid_y * np.float32(2 * np.pi * rng.uniform(0.5, 4) / height) + rng.uniform(0, 6))
        seen = seen * (1 + np.float32(rng.uniform(0.02, 0.15)) * bands[..., None])
    return np.asarray(seen, dtype=np.float32)


def _lit(seen: Light, scene: Light, instrument: Instrument, rng: np.random.Generator) -> Light:
    """Uneven light, glare of a lamp, and on glass the mirrored room."""
    height, width = seen.shape[:2]
    grid_y, grid_x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    slope = rng.normal(0, 0.12, 2)
    seen = seen * (1 + np.float32(slope[0]) * grid_x + np.float32(slope[1]) * grid_y)[..., None]
    glassy = instrument is Instrument.SCREEN
    if glassy and rng.random() < 0.5:
        seen = seen + np.float32(rng.uniform(0.02, 0.18)) * _blurred(scene[:, ::-1], 3)
    if rng.random() < (0.4 if glassy else 0.25):
        spot = rng.uniform(-0.9, 0.9, 2)
        spread = rng.uniform(0.05, 0.6, 2)
        glare = np.exp(-(((grid_x - spot[0]) / spread[0]) ** 2) - ((grid_y - spot[1]) / spread[1]) ** 2)
        seen = seen + np.float32(rng.uniform(0.1, 0.5)) * glare[..., None].astype(np.float32)
    return np.asarray(seen, dtype=np.float32)


def _halftoned(x: Light, rng: np.random.Generator) -> Light:
    """Dots of ink, one screen angle per colour; strongest in the middle tones."""
    height, width = x.shape[:2]
    grid_y, grid_x = np.mgrid[0:height, 0:width].astype(np.float32)
    period = rng.uniform(1.8, 5.0) * max(1.0, width / 320)
    strength = np.float32(rng.uniform(0.04, 0.3))
    dots = np.empty_like(x)
    for channel, degrees in enumerate((15.0, 75.0, 0.0)):
        angle = np.deg2rad(degrees + rng.normal(0, 3))
        step = np.float32(2 * np.pi / period)
        u = step * np.float32(np.cos(angle)) * grid_x + step * np.float32(np.sin(angle)) * grid_y
        v = step * np.float32(np.cos(angle)) * grid_y - step * np.float32(np.sin(angle)) * grid_x
        dots[..., channel] = np.cos(u) * np.cos(v)
    return np.asarray(x + strength * 4 * x * (1 - np.clip(x, 0, 1)) * dots, dtype=np.float32)


def _curve(x: Light, gamma: float, black: float) -> Light:
    """Tone curve x ** gamma over a raised black level."""
    return np.asarray(black + (1 - black) * np.clip(x, 0, 1) ** np.float32(gamma), dtype=np.float32)


def _saturated(x: Light, factor: float) -> Light:
    grey = x @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return np.asarray(grey[..., None] + np.float32(factor) * (x - grey[..., None]), dtype=np.float32)


def _blurred(x: Light, sigma_px: float) -> Light:
    return np.asarray(cv2.GaussianBlur(x, (0, 0), max(sigma_px, 0.2)), dtype=np.float32)


def _resized(x: NDArray[Scalar], scale: float) -> NDArray[Scalar]:
    if scale == 1.0:
        return x
    shape = (max(1, round(x.shape[1] * scale)), max(1, round(x.shape[0] * scale)))
    return np.asarray(cv2.resize(x, shape, interpolation=cv2.INTER_AREA), dtype=x.dtype)


@cache
def _grain_bank() -> Light:
    """Gaussian noise float32[1024, 1024], drawn once: windows of it are cheaper than new numbers."""
    return np.random.default_rng(0).standard_normal((1024, 1024), dtype=np.float32)


def _grain(like: Light, rng: np.random.Generator, *, coloured: bool) -> Light:
    """Noise of unit variance in the shape of `like`; the same in all channels unless `coloured`."""
    bank = _grain_bank()
    height, width = like.shape[:2]

    def window() -> Light:
        top, left = rng.integers(0, 1025 - height), rng.integers(0, 1025 - width)
        return bank[top : top + height, left : left + width]

    return (
        np.stack([window() for _ in range(3)], axis=-1) if coloured else np.repeat(window()[..., None], 3, -1)
    )


def _light(rgb: Rgb) -> Light:
    return rgb.astype(np.float32) * np.float32(1 / 255)


def _bytes(x: Light) -> Rgb:
    return np.asarray(np.clip(x * 255 + 0.5, 0, 255), dtype=np.uint8)
