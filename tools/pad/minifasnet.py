"""The peer: Silent-Face-Anti-Spoofing's two published networks, run from their weights for comparison.

The layers are read off the names and shapes in the weight files, so nothing of that project is needed but the
two files (Apache-2.0). Input as its authors feed it: 80 x 80, BGR 0..255, crops of 2.7 and 4.0 that are
moved inside the picture; the score is the mean probability of class 1, given here as a logit.

    python tools/pad/minifasnet.py --cache out/pad/cache --weights DIR

leaves its answer for every stored picture in teacher.npy: our network learns from them (see train.py).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from data import Box, Cache, Rgb, Row
from metrics import Scores
from torch import Tensor
from torch.nn import functional

__all__ = ["FILES", "Peer"]

FILES = (("2.7_80x80_MiniFASNetV2.pth", 2.7), ("4_0_0_80x80_MiniFASNetV1SE.pth", 4.0))
SIDE = 80
RAISED = 0.15
"""BlazeFace's box ends below the forehead; theirs does not: the top is raised by this share of the height."""


class Peer:
    """Both networks from `folder`; `score` gives what `train.score` gives for ours."""

    def __init__(self, folder: Path) -> None:
        self._weights = [
            (torch.load(folder / name, map_location="cpu", weights_only=True), scale) for name, scale in FILES
        ]

    @torch.no_grad()
    def score(self, cache: Cache, rows: list[Row]) -> Scores:
        """Logits float64[n], higher for live."""
        live = np.empty(len(rows))
        for start in range(0, len(rows), 64):
            part = rows[start : start + 64]
            total = torch.zeros(len(part), 3)
            for weights, scale in self._weights:
                crops = [_crop(cache.picture(row), row.box, scale) for row in part]
                total += _probabilities(
                    weights, torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float()
                )
            live[start : start + 64] = (total[:, 1] / len(self._weights)).numpy()
        live = np.clip(live, 1e-9, 1 - 1e-9)
        return np.log(live / (1 - live))


def _crop(rgb: Rgb, box: Box, scale: float) -> Rgb:
    """BGR uint8[80, 80, 3] around the raised box; too large a crop shrinks, one beyond the edge moves."""
    height, width = rgb.shape[:2]
    x0, y0, x1, y1 = box[0], box[1] - RAISED * (box[3] - box[1]), box[2], box[3]
    scale = min(scale, (width - 1) / (x1 - x0), (height - 1) / (y1 - y0))
    wide, high = scale * (x1 - x0), scale * (y1 - y0)
    left = int(np.clip((x0 + x1 - wide) / 2, 0, width - 1 - wide))
    top = int(np.clip((y0 + y1 - high) / 2, 0, height - 1 - high))
    part = rgb[top : top + int(high) + 1, left : left + int(wide) + 1, ::-1]
    return np.asarray(cv2.resize(part, (SIDE, SIDE)), dtype=np.uint8)


def _probabilities(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """float32[n, 3]: the network that `weights` describe."""
    w = {name.removeprefix("module."): value for name, value in weights.items()}

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.batch_norm(
            x, w[f"{name}.running_mean"], w[f"{name}.running_var"], w[f"{name}.weight"], w[f"{name}.bias"]
        )

    def unit(x: Tensor, name: str, stride: int = 1, *, padded: bool = True) -> Tensor:
        kernel = w[f"{name}.conv.weight"]
        groups = kernel.shape[0] if kernel.shape[1] == 1 else 1
        padding = kernel.shape[-1] // 2 if padded else 0
        x = norm(functional.conv2d(x, kernel, None, stride, padding, groups=groups), f"{name}.bn")
        slope = w.get(f"{name}.prelu.weight")
        return x if slope is None else functional.prelu(x, slope)

    def block(x: Tensor, name: str, stride: int) -> Tensor:
        x = unit(unit(x, f"{name}.conv"), f"{name}.conv_dw", stride)
        x = unit(x, f"{name}.project")
        squeeze = f"{name}.se_module"
        if f"{squeeze}.fc1.weight" in w:
            gate = functional.conv2d(x.mean((2, 3), keepdim=True), w[f"{squeeze}.fc1.weight"])
            gate = functional.relu(norm(gate, f"{squeeze}.bn1"))
            gate = norm(functional.conv2d(gate, w[f"{squeeze}.fc2.weight"]), f"{squeeze}.bn2")
            x = x * torch.sigmoid(gate)
        return x

    x = unit(unit(x, "conv1", 2), "conv2_dw")
    for halving, stage in (("conv_23", "conv_3"), ("conv_34", "conv_4"), ("conv_45", "conv_5")):
        x = block(x, halving, 2)
        place = 0
        while f"{stage}.model.{place}.conv.conv.weight" in w:
            x = x + block(x, f"{stage}.model.{place}", 1)
            place += 1
    x = unit(unit(x, "conv_6_sep"), "conv_6_dw", padded=False).flatten(1)
    x = norm(functional.linear(x, w["linear.weight"], w.get("linear.bias")), "bn")
    return functional.linear(x, w["prob.weight"], w.get("prob.bias")).softmax(1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=Path("out/pad/cache"), help="what data.py made")
    parser.add_argument("--weights", type=Path, required=True, help="folder with the peer's two .pth files")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cache = Cache.open(given.cache)
    np.save(given.cache / "teacher.npy", Peer(given.weights).score(cache, cache.rows))


if __name__ == "__main__":
    main()
