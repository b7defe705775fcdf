"""Turns and scales a face so that five of its points lie where the networks expect them.

`similarity` is the least-squares similarity transform; `warp` cuts a square through such a transform, and
averages pixels where it shrinks (a plain bilinear cut would skip them and alias).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["ALIGNED_PX", "TEMPLATE", "align", "similarity", "warp"]

ALIGNED_PX = 112

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    np.float32,
)
"""float32[5, 2]: eyes, nose tip, mouth corners in a 112 x 112 picture (left to right as seen); ArcFace's
template (Deng et al. 2019, arXiv:1801.07698), which the embedding network was trained on."""


def similarity(source: NDArray[np.float32], target: NDArray[np.float32]) -> NDArray[np.float64]:
    """float64[2, 3]: the rotation, scale and shift that bring `source` nearest to `target`, both [n, 2].

    Written with complex numbers, w = a z + b, the least squares have a closed form and no reflection.
    ValueError when all source points are one.
    """
    z = source[:, 0].astype(np.complex128) + 1j * source[:, 1]
    w = target[:, 0].astype(np.complex128) + 1j * target[:, 1]
    centred = z - z.mean()
    spread = float(np.sum(np.abs(centred) ** 2))
    if spread == 0.0:
        raise ValueError("points that are all one have no orientation")
    a = complex(np.sum(np.conj(centred) * (w - w.mean())) / spread)
    b = complex(w.mean() - a * z.mean())
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def warp(rgb: NDArray[np.uint8], matrix: NDArray[np.float64], side: int) -> NDArray[np.uint8]:
    """uint8[side, side, 3]: `rgb` seen through `matrix` (float64[2, 3], frame to square), black outside.

    Where the square is less than half as fine as the frame, the frame's part is averaged down first.
    """
    shrink = int(1.0 / max(float(np.hypot(matrix[0, 0], matrix[1, 0])), 1e-6))
    if shrink >= 2:
        rgb, matrix = _averaged(rgb, matrix, side, shrink)
    return np.asarray(cv2.warpAffine(rgb, matrix, (side, side), flags=cv2.INTER_LINEAR), np.uint8)


def _averaged(
    rgb: NDArray[np.uint8], matrix: NDArray[np.float64], side: int, shrink: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The part of `rgb` under the square, `shrink` times smaller, and the matrix that fits it."""
    height, width = rgb.shape[:2]
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]], np.float64)
    back = cv2.invertAffineTransform(matrix)
    seen = corners @ back[:, :2].T + back[:, 2]
    x0, y0 = (int(v) for v in np.clip(np.floor(seen.min(axis=0)) - shrink, 0, (width - 1, height - 1)))
    x1, y1 = (int(v) for v in np.clip(np.ceil(seen.max(axis=0)) + shrink, (x0 + 1, y0 + 1), (width, height)))
    # Whole multiples of `shrink`: averaging by a whole number takes a third of the time.
    across, down = max((x1 - x0) // shrink, 1), max((y1 - y0) // shrink, 1)
    x1, y1 = min(x0 + across * shrink, width), min(y0 + down * shrink, height)
    small = cv2.resize(rgb[y0:y1, x0:x1], (across, down), interpolation=cv2.INTER_AREA)
    sx, sy = (x1 - x0) / across, (y1 - y0) / down
    # A small pixel's centre lies at s * (i + 1/2) - 1/2 of the large one.
    grow = np.array([[sx, 0, x0 + (sx - 1) / 2], [0, sy, y0 + (sy - 1) / 2], [0, 0, 1]])
    return np.asarray(small, np.uint8), matrix @ grow


def align(rgb: NDArray[np.uint8], five: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The face as uint8[112, 112, 3]: its five points (float32[5, 2], frame pixels) lie on `TEMPLATE`."""
    return warp(rgb, similarity(five, TEMPLATE), ALIGNED_PX)
