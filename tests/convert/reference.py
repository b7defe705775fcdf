"""Runs in the environment that converts: what the float networks say to crops, as the kiosk's logit.

    python reference.py WEIGHTS_FOLDER CROPS.npz ANSWERS.npy

CROPS.npz holds `near` and `far`, uint8[n, 80, 80, 3], RGB.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from kiosk.convert.minifasnet import LIVE
from kiosk.convert.minifasnet_pair import load_pair


def main(folder: str, crops: str, answers: str) -> None:
    near, far = load_pair(Path(folder))
    probabilities = []
    with np.load(crops) as views, torch.no_grad():
        for network, name in ((near, "near"), (far, "far")):
            bgr = torch.from_numpy(views[name][..., ::-1].copy()).permute(0, 3, 1, 2).float()
            probabilities.append(network(bgr).softmax(1)[:, LIVE].double())
    live = (probabilities[0] + probabilities[1]) / 2
    np.save(answers, torch.log(live / (1 - live)).numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
