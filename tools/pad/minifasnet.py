"""The peer: Silent-Face-Anti-Spoofing's two published networks, as their authors run them, for comparison.

Input as they feed it: 80 x 80, BGR 0..255, crops of 2.7 and 4.0 that are moved inside the picture; the score
is the mean probability of class 1, given here as a logit.
"""

from __future__ import annotations

from pathlib import Path

import checkout  # noqa: F401  (kiosk is found through it)
import numpy as np
import torch
from data import Cache, Row
from metrics import Scores

from kiosk.convert.minifasnet import LIVE, SIDE, build
from kiosk.convert.minifasnet_pair import FILES, RAISED
from kiosk.vision.detect import Box
from kiosk.vision.liveness import crop_inside

__all__ = ["FILES", "Peer"]


class Peer:
    """Both networks from `folder`; `score` gives what `train.score` gives for ours."""

    def __init__(self, folder: Path) -> None:
        self._networks = [
            (build(torch.load(folder / name, map_location="cpu", weights_only=True)), scale)
            for name, scale, _ in FILES
        ]

    @torch.no_grad()
    def score(self, cache: Cache, rows: list[Row]) -> Scores:
        """Logits float64[n], higher for live."""
        live = np.empty(len(rows))
        for start in range(0, len(rows), 64):
            part = rows[start : start + 64]
            total = torch.zeros(len(part))
            for network, scale in self._networks:
                crops = [
                    crop_inside(cache.picture(row), Box(*row.box), scale, SIDE, RAISED)[..., ::-1]
                    for row in part
                ]
                bgr = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float()
                total += network(bgr).softmax(1)[:, LIVE]
            live[start : start + 64] = (total / len(self._networks)).numpy()
        live = np.clip(live, 1e-9, 1 - 1e-9)
        return np.log(live / (1 - live))
