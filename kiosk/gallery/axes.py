"""Where references differ most: fewer numbers for each of them, and what the others can add at most.

The shipped network's 192 numbers lie in a space of some 60 directions, and those are not alike either. In the
gallery's own directions the first few tell nearly all of a cosine, and the length of the rest bounds what is
left out (Cauchy and Schwarz): a search looks at few numbers and still misses nobody.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kiosk.gallery.matcher import Vectors
from kiosk.gallery.template import TEMPLATE_SIZE

__all__ = ["SAMPLE", "leading_axes", "with_rest"]

SAMPLE: Final = 20_000
"""References that the directions are taken from: 100 for each of the numbers in a template."""

STEP: Final = 8
"""Directions and the rest's length fill whole groups of so many numbers: rows stay aligned."""

ROUNDING: Final = 1e-3
"""How much a rest's length may be off: the root of what float32 leaves of a difference near 0."""


def leading_axes(vectors: Vectors, rest: float) -> Vectors:
    """float32[192, n]: the fewest directions (8 i - 1, or all 192) that hold all but `rest` of the variance.

    `rest` is a part, in (0, 1). The same vectors give the same directions. Any vectors will do: a bound by
    poor directions is loose, never wrong.
    """
    sample = vectors[:SAMPLE].astype(np.float64)
    variances, axes = np.linalg.eigh(sample.T @ sample)
    sample.fill(0.0)
    left_out = 1 - np.cumsum(variances[::-1]) / max(float(variances.sum()), 1e-12)
    count = int(np.argmax(left_out <= rest)) + 1
    count = -(-(count + 1) // STEP) * STEP - 1
    kept = axes[:, ::-1][:, : count if count < TEMPLATE_SIZE else TEMPLATE_SIZE]
    return np.ascontiguousarray(kept, np.float32)


def with_rest(vectors: Vectors, axes: Vectors) -> NDArray[np.float32]:
    """float32[n, axes + 1]: each vector along `axes`, and no less than the length of what that leaves out.

    The product of two such rows is no less than the cosine of the two vectors (but for rounding, 1e-6).
    """
    rows = np.empty((len(vectors), axes.shape[1] + 1), np.float32)
    np.matmul(vectors, axes, out=rows[:, :-1])
    held = np.einsum("ij,ij->i", rows[:, :-1], rows[:, :-1])
    whole = np.einsum("ij,ij->i", vectors, vectors)
    rows[:, -1] = np.sqrt(np.maximum(whole - held, 0.0)) + ROUNDING
    return rows
