"""A face as a vector: the cosine of two vectors says how alike two faces are.

In: an aligned face, uint8[112, 112, 3]. Out: float32[192] of length 1, from the picture and its mirror image
(a face and its mirror image are one person; the mean of both is steadier than either).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kiosk.vision.runtime import Model

__all__ = ["EMBEDDING_SIZE", "Embedder", "Embedding", "combine"]

EMBEDDING_SIZE = 192


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """What the network makes of one face.

    `vector` is float32[192] of length 1: a biometric template. `magnitude` is the length that it had, a
    measure of quality (as in Meng et al. 2021, arXiv:2103.06627: a face that the network is unsure of comes
    out short), and `symmetry` the cosine between the face's and its mirror image's, in [-1, 1].
    """

    vector: NDArray[np.float32] = field(repr=False)
    magnitude: float
    symmetry: float


class Embedder:
    """MobileFaceNet (Chen et al. 2018, arXiv:1804.07573). Not thread-safe."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def embed(self, aligned: NDArray[np.uint8]) -> Embedding:
        """The embedding of uint8[112, 112, 3]. What it is made from on the way is overwritten."""
        scaled = aligned.astype(np.float32)
        scaled -= 127.5
        scaled /= 128.0
        flipped = np.ascontiguousarray(scaled[:, ::-1])
        (one,), (mirrored,) = self._model.run(scaled[None]), self._model.run(flipped[None])
        both = one[0] + mirrored[0]
        try:
            lengths = float(np.linalg.norm(one) * np.linalg.norm(mirrored))
            magnitude = float(np.linalg.norm(both)) / 2
            return Embedding(_unit(both), magnitude, float(one[0] @ mirrored[0]) / lengths)
        finally:
            for made in (scaled, flipped, one, mirrored, both):
                made.fill(0.0)


def combine(
    embeddings: Sequence[NDArray[np.float32]], weights: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """The weighted mean of several embeddings of one person, float32[192] of length 1.

    Weights are >= 0 (default: equal). ValueError for none, for a negative weight, and where all cancel out.
    """
    if not embeddings:
        raise ValueError("no embedding to combine")
    each = np.ones(len(embeddings)) if weights is None else np.asarray(weights, np.float64)
    if len(each) != len(embeddings) or not np.all(each >= 0):
        raise ValueError("one weight >= 0 is needed for each embedding")
    stacked = np.stack(embeddings, dtype=np.float64)
    mean = each @ stacked
    try:
        return _unit(mean)
    finally:
        stacked.fill(0.0)
        mean.fill(0.0)


def _unit(vector: NDArray[np.floating]) -> NDArray[np.float32]:
    """A new float32 vector of length 1; `vector` is scaled in its place, so that no copy is left behind."""
    length = float(np.linalg.norm(vector))
    if not length > 0.0:  # "not >": NaN is refused as well
        raise ValueError("a vector without length has no direction")
    vector /= length
    return vector.astype(np.float32)
