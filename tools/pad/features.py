"""What the frozen eye sees in every stored picture: computed once, so that a run of train.py takes a minute.

    python tools/pad/features.py --cache out/pad/cache --weights PEER

leaves eye.pt (the published weights), near.npy and far.npy, float16[n, 1344]: both crops of each picture as
the product would cut them, and varied.npy: the far one as another camera would have seen it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from augment import plain, varied
from data import Cache
from minifasnet import FILES
from network import Eye
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

__all__ = ["Seen", "load_eye", "look"]

BATCH = 64


@dataclass(frozen=True, slots=True)
class Seen:
    """What the eye saw of every row of the cache, in its order: float32[n, 1344] each."""

    near: NDArray[np.float32]
    far: NDArray[np.float32]
    varied: NDArray[np.float32]

    @classmethod
    def open(cls, folder: Path) -> Seen:
        """What `main` left in `folder`."""
        return cls(*(np.load(folder / f"{name}.npy").astype(np.float32) for name in _NAMES))


_NAMES = ("near", "far", "varied")


def load_eye(folder: Path) -> Eye:
    """The eye that looked at the cache in `folder`."""
    return Eye(torch.load(folder / "eye.pt", map_location="cpu", weights_only=True))


class _Crops(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, cache: Cache, seed: int | None) -> None:
        self._cache, self._seed = cache, seed

    def __len__(self) -> int:
        return len(self._cache.rows)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        row = self._cache.rows[place]
        picture = self._cache.picture(row)
        if self._seed is None:
            near, far = plain(picture, row.box)
        else:
            near, far = varied(picture, row.box, np.random.default_rng((self._seed, place)))
        return torch.from_numpy(near), torch.from_numpy(far)


@torch.no_grad()
def look(eye: Eye, crops: NDArray[np.uint8] | Tensor) -> NDArray[np.float32]:
    """float32[n, 1344] of crops uint8[n, 80, 80, 3]."""
    seen = eye(torch.as_tensor(crops).permute(0, 3, 1, 2).float() / 255.0)
    return np.asarray(seen.numpy(), dtype=np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=Path("out/pad/cache"), help="what data.py made")
    parser.add_argument("--weights", type=Path, required=True, help="folder with MiniFASNet's two .pth files")
    parser.add_argument("--seed", type=int, default=2, help="of the variation")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    cache = Cache.open(given.cache)
    published = torch.load(given.weights / FILES[0][0], map_location="cpu", weights_only=True)
    torch.save(published, given.cache / "eye.pt")
    eye = load_eye(given.cache).eval()
    found: dict[str, list[NDArray[np.float16]]] = {name: [] for name in _NAMES}
    for near, far in DataLoader(_Crops(cache, None), BATCH, num_workers=1):
        found["near"].append(look(eye, near).astype(np.float16))
        found["far"].append(look(eye, far).astype(np.float16))
    for _, far in DataLoader(_Crops(cache, given.seed), BATCH, num_workers=1):
        found["varied"].append(look(eye, far).astype(np.float16))
    for name, parts in found.items():
        np.save(given.cache / f"{name}.npy", np.concatenate(parts))
        print(f"{name}: {sum(map(len, parts))} pictures", flush=True)


if __name__ == "__main__":
    main()
