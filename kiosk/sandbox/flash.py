"""What a camera sees of a face, a print or a screen while the kiosk's screen shows one colour after another.

For tests, and for measuring the flash challenge, so that nobody has to be flashed. It promises the same
frames for the same picture, times and generator, and draws on NumPy only.

    picture -> linear light -> + the screen's light (by distance and relief | by paper | mirrored by glass)
            -> room (lamps that drift) -> camera (exposure and white balance that follow, noise, 8 bits)

The ranges of `Setting.draw` are those of kiosk screens and shops as data sheets and lighting standards give
them; none is measured on a device. A simulation is never evidence about real faces or real attacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Presented", "Setting", "flashed", "screen_light"]

Rgb: TypeAlias = NDArray[np.uint8]
Light: TypeAlias = NDArray[np.float32]
Box: TypeAlias = tuple[float, float, float, float]


class Presented(StrEnum):
    """What is before the camera."""

    FACE = "face"
    PRINT = "print"
    """A sheet that fills the picture: its printed background reflects the screen like its face does."""
    CUT_OUT = "cut_out"
    """A print cut along the face, held before the room."""
    SCREEN = "screen"
    """A phone or tablet that fills the picture: it emits its own light, and its glass mirrors a little."""
    STREAM = "stream"
    """Frames that no sensor made: nothing of the kiosk's screen is in them."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One place, screen and camera."""

    screen_share: float
    """The white screen's illuminance on the face over the room's."""
    behind: float
    """The same ratio on the background, in parts of the face's."""
    glass: float
    """What a presented screen's glass mirrors of the white kiosk screen, in parts of its own white."""
    mirrored: float
    """Radius of that mirror image in face widths."""
    mixing: Light
    """float32[3, 3]: the display's primaries in the camera's channels."""
    latency_ms: float
    """From the screen's swap to its light on the sensor, by the two clocks."""
    exposure_ms: float
    exposure_follows_s: float
    white_balance_follows_s: float
    white_balance: float
    """How far the white balance goes towards grey, [0, 1]."""
    noise: float
    """Standard deviation of one pixel at white, linear light; it falls with the root of the light."""
    lamps: float
    """How far the room's light strays within a second, natural logarithm."""
    sway: float
    """The same of the light on a face that moves a little."""

    @classmethod
    def draw(cls, rng: np.random.Generator, *, lux: float | None = None) -> Setting:
        """A kiosk screen of 15 to 27 inches and 200 to 450 cd/m2, a face at 40 to 75 cm.

        `lux` is the room's light on the face; without it 100 to 800, evenly by its logarithm (EN 12464-1 asks
        for 300 to 500 in shops, on the counter).
        """
        area_m2 = rng.uniform(0.06, 0.2)
        nits, away_m, wall_m = rng.uniform(200, 450), rng.uniform(0.4, 0.75), rng.uniform(0.5, 4.0)
        room = float(np.exp(rng.uniform(np.log(100), np.log(800)))) if lux is None else lux
        mixing = np.eye(3) + rng.uniform(0.0, 0.14, (3, 3))
        return cls(
            screen_share=nits * area_m2 / (away_m**2 + area_m2 / np.pi) / room,
            behind=(away_m / (away_m + wall_m)) ** 2,
            glass=float(np.exp(rng.uniform(np.log(0.004), np.log(0.05)))),
            mirrored=rng.uniform(0.3, 2.5),
            mixing=(mixing / mixing.sum(axis=1, keepdims=True)).astype(np.float32),
            latency_ms=rng.uniform(20, 180),
            exposure_ms=rng.uniform(5, 33),
            exposure_follows_s=rng.uniform(0.2, 2.0),
            white_balance_follows_s=rng.uniform(0.5, 5.0),
            white_balance=rng.uniform(0.0, 0.8),
            noise=rng.uniform(0.005, 0.04),
            lamps=rng.uniform(0.0, 0.03),
            sway=rng.uniform(0.0, 0.03),
        )


def screen_light(
    colours: Sequence[tuple[int, int, int]],
    starts_ns: Sequence[int],
    end_ns: int,
    times_ns: Sequence[int],
    setting: Setting,
) -> Light:
    """float32[n, 3]: the screen's light during each frame's exposure, 1 for white.

    `times_ns` are the frames' time stamps. Before the first colour and from `end_ns` on, an ordinary page is
    shown: two thirds of white.
    """
    page = np.full((1, 3), 0.66)
    shown = np.concatenate([page, _decode(np.array(colours, np.uint8)), page])
    edges = np.array([*starts_ns, end_ns])
    parts = []
    for share in np.linspace(0.0, 1.0, 5):
        moment = np.array(times_ns) - round((setting.latency_ms - share * setting.exposure_ms) * 1e6)
        parts.append(shown[np.searchsorted(edges, moment, side="right")])
    return np.asarray(np.mean(parts, axis=0) @ setting.mixing.T, np.float32)


def flashed(
    views: Iterable[tuple[Rgb, Box]],
    light: Light,
    times_ns: Sequence[int],
    *,
    presented: Presented,
    setting: Setting,
    rng: np.random.Generator,
) -> Iterator[Rgb]:
    """The frames at `times_ns`, uint8[h, w, 3]: the pictures of `views`, their faces under `light`.

    `views` has a picture and its face (x0, y0, x1, y1) for each time; `itertools.repeat` one for a face that
    keeps still. `light` is `screen_light`'s, float32[n, 3]. The pictures' own light is the room's.
    """
    last: tuple[Rgb, Box] | None = None
    camera: _Camera | None = None
    before = times_ns[0]
    lamps, sway = np.zeros(3), 0.0
    spot = rng.normal(0, 0.6, 2)
    for view, at, screen in zip(views, times_ns, light, strict=False):
        if last is None or view[0] is not last[0]:
            last = view
            picture = _decode(view[0]).astype(np.float32)
            is_face = _ellipse(picture.shape[:2], view[1])
            gain = _response(picture, is_face, view[1], presented=presented, setting=setting, spot=spot)
        camera = camera or _Camera(picture, setting)
        passed = (at - before) / 1e9
        lamps = _strayed(lamps, 0.2 * rng.normal(size=3) + rng.normal(), setting.lamps, passed)
        sway = float(_strayed(np.array([sway]), rng.normal(size=1), setting.sway, passed)[0])
        lit = picture * np.exp(lamps).astype(np.float32) + gain * screen
        if presented is not Presented.STREAM:
            lit = lit * (1 + np.float32(sway) * is_face)
        yield camera.shoot(lit, passed, rng)
        before = at


def _response(
    picture: Light,
    is_face: Light,
    face: Box,
    *,
    presented: Presented,
    setting: Setting,
    spot: NDArray[np.float64],
) -> Light:
    """float32[h, w, 3]: what white light of the screen adds to each pixel; `spot`: where glass mirrors it."""
    if presented is Presented.STREAM:
        return np.zeros_like(picture)
    if presented is Presented.SCREEN:
        mirror = _mirror(picture.shape[:2], face, setting.mirrored, spot)
        return np.float32(setting.glass) * mirror * np.ones_like(picture)
    if presented is Presented.PRINT:
        return np.float32(setting.screen_share) * picture
    near = is_face if presented is Presented.CUT_OUT else is_face * _relief(picture.shape[:2], face)
    share = near + np.float32(setting.behind) * (1 - is_face)
    return np.float32(setting.screen_share) * share * picture


class _Camera:
    """Exposure and white balance that follow the picture, noise, and 8 bits of sRGB."""

    def __init__(self, picture: Light, setting: Setting) -> None:
        self._setting = setting
        self._aim = self._mean(picture)
        self._gain = np.zeros(3)

    @staticmethod
    def _mean(light: Light) -> NDArray[np.float64]:
        return np.asarray(np.log(np.maximum(light[::8, ::8].mean(axis=(0, 1)), 1e-4)), np.float64)

    def shoot(self, light: Light, passed_s: float, rng: np.random.Generator) -> Rgb:
        s = self._setting
        off = self._aim - self._mean(light) - self._gain
        self._gain += off.mean() * (1 - np.exp(-passed_s / s.exposure_follows_s))
        hue = s.white_balance * (self._aim - self._mean(light))
        hue = hue - hue.mean() - (self._gain - self._gain.mean())
        self._gain += hue * (1 - np.exp(-passed_s / s.white_balance_follows_s))
        seen = light * np.exp(self._gain).astype(np.float32)
        grain = _grain(seen.shape, rng)
        seen = seen + np.float32(s.noise) * np.sqrt(np.maximum(seen, np.float32(0.01))) * grain
        return np.asarray(_ENCODED[np.clip(seen * _LEVELS, 0, _LEVELS).astype(np.uint16)], np.uint8)


_LEVELS: Final = 4095.0


def _encoded() -> Rgb:
    """uint8[4096]: linear light as sRGB code values (IEC 61966-2-1)."""
    x = np.linspace(0.0, 1.0, int(_LEVELS) + 1)
    code = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(code * 255), np.uint8)


_ENCODED: Final = _encoded()


def _decode(code: Rgb) -> NDArray[np.float64]:
    x = code.astype(np.float64) / 255
    return np.asarray(np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4), np.float64)


def _strayed(
    now: NDArray[np.float64], step: NDArray[np.float64], size: float, passed_s: float
) -> NDArray[np.float64]:
    """A random walk that comes back within seconds."""
    return np.asarray(now * np.exp(-passed_s / 3.0) + step * size * np.sqrt(max(passed_s, 0.0)))


def _grid(shape: tuple[int, ...], face: Box) -> tuple[Light, Light]:
    """Where each pixel lies in the face's ellipse: 0 in its middle, 1 at its edge."""
    x0, y0, x1, y1 = face
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    across = (columns - np.float32((x0 + x1) / 2)) / np.float32(max(0.55 * (x1 - x0), 1))
    down = (rows - np.float32((y0 + y1) / 2 - 0.08 * (y1 - y0))) / np.float32(max(0.75 * (y1 - y0), 1))
    return across, down


def _ellipse(shape: tuple[int, ...], face: Box) -> Light:
    """float32[h, w, 1]: 1 on the face, 0 beside it, soft between."""
    across, down = _grid(shape, face)
    return np.asarray(np.clip((1.0 - across**2 - down**2) * 6, 0, 1)[..., None], np.float32)


def _relief(shape: tuple[int, ...], face: Box) -> Light:
    """float32[h, w, 1]: how squarely the skin faces the screen: 1 in the middle, .4 at the face's edge."""
    across, down = _grid(shape, face)
    slope = np.sqrt(np.clip(1 - 0.84 * (across**2 + 0.5 * down**2), 0.16, 1))
    return np.asarray(slope[..., None], np.float32)


def _mirror(shape: tuple[int, ...], face: Box, radius: float, spot: NDArray[np.float64]) -> Light:
    """float32[h, w, 1]: where the glass mirrors the kiosk's screen, `spot` and `radius` in face widths."""
    width = face[2] - face[0]
    x = (face[0] + face[2]) / 2 + spot[0] * width
    y = (face[1] + face[3]) / 2 + spot[1] * width
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    apart = np.hypot(columns - np.float32(x), rows - np.float32(y)) / np.float32(max(radius * width, 1))
    return np.asarray(np.clip((1.2 - apart) * 5, 0, 1)[..., None], np.float32)


@cache
def _grain_bank() -> Light:
    """Gaussian noise, drawn once: stretches of it are cheaper than new numbers for each pixel."""
    return np.random.default_rng(0).standard_normal(1 << 22, dtype=np.float32)


def _grain(shape: tuple[int, ...], rng: np.random.Generator) -> Light:
    """Noise of unit variance."""
    bank, count = _grain_bank(), int(np.prod(shape))
    if count >= len(bank):
        return rng.standard_normal(shape, dtype=np.float32)
    start = int(rng.integers(len(bank) - count))
    return bank[start : start + count].reshape(shape)
