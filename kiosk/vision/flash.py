"""Does the light on a face follow the colours that the screen showed, and those only?

Pure arithmetic on measures over time (`kiosk.vision.colour`): a model with unknown gains and an unknown small
latency is fitted to the colours that were shown, and to them in other orders.

Three signals are explained: log red/green, log blue/green and log luminance, each of the face less that of
the background. Automatic exposure, white balance and the room's lamps multiply both, and fall out; a near
screen lights the face more than what is behind it. A drift is taken out too. What is left is linear in the
colours, and each signal's gain has to be positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kiosk.domain.challenge import Colour
from kiosk.vision.colour import FaceColour

__all__ = ["FlashFit", "fit_flash"]

Float = NDArray[np.float64]

LATENCIES_MS = range(0, 251, 25)
"""From telling the screen to light on the sensor: a display's pipeline and panel, half an exposure."""
TYPICAL = 0.3
"""The screen's light in parts of the room's at which the model is linear: between a dim and a bright shop."""
DARKEST = 2e-3
"""Linear light below which 8 bits say nothing."""


@dataclass(frozen=True, slots=True)
class FlashFit:
    """What a flash said.

    `strength`: the screen's light on the face beyond that on the background, in parts of the room's light.
    `explained`: part of the changes that the shown colours explain, [0, 1], the mean of the three signals.
    `margin`: log-likelihood, nats a step, over the best other order. `unexplained`: how far the face's hue
    strays from what the colours explain, root mean square, natural logarithm. `evenness`: the weakest skin
    patch's response in parts of the mean of three. `latency_ms` is the fit's; `fewest_in_a_step` are frames.
    """

    strength: float
    explained: float
    margin: float
    unexplained: float
    evenness: float
    latency_ms: int
    frames: int
    fewest_in_a_step: int


def fit_flash(
    starts_ns: Sequence[int],
    colours: Sequence[Colour],
    end_ns: int,
    times_ns: Sequence[int],
    seen: Sequence[FaceColour],
) -> FlashFit | None:
    """The fit of `seen` at `times_ns` to `colours`, each shown from its `starts_ns` on, the last to `end_ns`.

    None when too few frames show a background beside the face: a step without any.
    """
    usable = [i for i, colour in enumerate(seen) if bool(np.isfinite(colour.background).all())]
    if not usable:
        return None
    times = np.array([times_ns[i] for i in usable], np.int64)
    skin = np.stack([seen[i].skin for i in usable]).astype(np.float64)
    behind = _signals(np.stack([seen[i].background for i in usable]).astype(np.float64))
    light = np.stack([_signals(part) - behind for part in (skin.mean(axis=1), *skin.transpose(1, 0, 2))])
    right, others = _features(colours), _other_orders(colours)
    fits: list[tuple[float, int, _Steps]] = []
    rival = -np.inf
    for latency in LATENCIES_MS:
        steps = _Steps.cut(np.array(starts_ns, np.int64), end_ns, times - latency * 1_000_000, light)
        if steps is not None:
            fits.append((float(steps.likelihood(right[None])[0]), latency, steps))
            rival = max(rival, float(steps.likelihood(others).max()))
    if not fits:
        return None
    likelihood, latency, steps = max(fits, key=lambda fit: fit[0])
    return steps.summary(right, latency, (likelihood - rival) / len(colours))


@dataclass(frozen=True, slots=True, eq=False)
class _Steps:
    """The signals at one latency, drift taken out, reduced to sums over the k steps.

    `gram` (float64[k, k]) are the steps' indicators with each other, `moments` (float64[4, k, 3]) with the
    signals of the face and of its three patches, `power` (float64[3]) the face's sums of squares, `counts`
    the frames of each step.
    """

    gram: Float
    moments: Float
    power: Float
    counts: NDArray[np.int64]

    @classmethod
    def cut(
        cls, starts_ns: NDArray[np.int64], end_ns: int, times_ns: NDArray[np.int64], light: Float
    ) -> _Steps | None:
        """From `light` (float64[4, n, 3]) at `times_ns`, latency taken off; None when a step has no frame."""
        inside = (times_ns >= starts_ns[0]) & (times_ns < end_ns)
        number = np.searchsorted(starts_ns, times_ns[inside], side="right") - 1
        counts = np.bincount(number, minlength=len(starts_ns))
        if (counts == 0).any():
            return None
        when = (times_ns[inside] - times_ns[inside].mean()) / 1e9
        basis, _ = np.linalg.qr(np.column_stack([np.ones_like(when), when]))
        indicators = np.eye(len(starts_ns))[number]
        steps = indicators - basis @ (basis.T @ indicators)
        face = light[0, inside] - basis @ (basis.T @ light[0, inside])
        moments = np.stack([steps.T @ part for part in light[:, inside]])
        return cls(steps.T @ steps, moments, (face**2).sum(axis=0) + 1e-12, counts.astype(np.int64))

    def explained(self, sequences: Float) -> Float:
        """float64[n, 3] in [0, 1): part of each signal that each sequence (float64[n, k, 3]) explains."""
        along = np.clip(np.einsum("nkj,kj->nj", sequences, self.moments[0]), 0.0, None)
        size = np.einsum("nkj,kl,nlj->nj", sequences, self.gram, sequences)
        return np.asarray(np.minimum(along**2 / (np.maximum(size, 1e-12) * self.power), 1 - 1e-6))

    def likelihood(self, sequences: Float) -> Float:
        """float64[n]: log-likelihood of each sequence over no response at all, nats."""
        left = np.log1p(-self.explained(sequences)).sum(axis=1)
        return np.asarray(-0.5 * float(self.counts.sum()) * left)

    def summary(self, right: Float, latency_ms: int, margin: float) -> FlashFit:
        """What is known once `right` (float64[k, 3]) fits best at this latency."""
        explained = self.explained(right[None])[0]
        left = self.power * (1.0 - explained) / float(self.counts.sum())
        size = max(float(np.einsum("kj,kl,lj->", right, self.gram, right)), 1e-12)
        face, *patches = (float(gain) for gain in np.einsum("kj,pkj->p", right, self.moments) / size)
        mean = float(np.mean(patches))
        return FlashFit(
            strength=TYPICAL * face,
            explained=float(explained.mean()),
            margin=margin,
            unexplained=float(np.sqrt(left[:2].max())),
            evenness=min(patches) / mean if mean > 0 else 0.0,
            latency_ms=latency_ms,
            frames=int(self.counts.sum()),
            fewest_in_a_step=int(self.counts.min()),
        )


def _signals(light: Float) -> Float:
    """float64[n, 3]: log red/green, log blue/green and log luminance of linear light float64[n, 3]."""
    red, green, blue = np.log(np.maximum(light, DARKEST)).T
    luminance = np.log(np.maximum(light @ np.array([0.2126, 0.7152, 0.0722]), DARKEST))
    return np.column_stack([red - green, blue - green, luminance])


def _features(colours: Sequence[Colour]) -> Float:
    """float64[k, 3]: what each colour on the screen adds to the signals of a face in a room's white light."""
    return _signals(1.0 + TYPICAL * np.array([[_linear(v) for v in colour] for colour in colours]))


def _linear(code: int) -> float:
    """A display's light for a code value, [0, 1] (IEC 61966-2-1)."""
    x = code / 255
    return float(x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4)


def _other_orders(colours: Sequence[Colour]) -> Float:
    """float64[n, k, 3]: the features of `colours` with two of them exchanged, for every two that differ.

    Enough to unmask every other order: an exchange always brings one of its colours to its place.
    """
    orders = []
    for i, one in enumerate(colours):
        for j, other in enumerate(colours[:i]):
            if one != other:
                order = list(colours)
                order[i], order[j] = other, one
                orders.append(_features(order))
    return np.stack(orders)
