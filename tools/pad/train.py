"""Trains what judges the eye's sight: one run, one group of people or one set held out, one checkpoint.

    python tools/pad/data.py     --data DIR --out out/pad/cache
    python tools/pad/features.py --cache out/pad/cache --weights PEER
    python tools/pad/train.py    --cache out/pad/cache --out out/pad/final --hold-out 0/8

`general` is fitted to faces of Labeled Faces in the Wild and to simulated recaptures, and starts from the
published answer: no real attack is in it. `expert` is fitted to the real pictures of the sets with attacks,
`familiarity` to how these look. The same seed gives the same run on the same machine.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from time import monotonic

import numpy as np
import torch
from augment import plain
from data import DEMONSTRATED, LIVE, Cache, Row, deal, is_known
from features import BATCH, Seen, load_eye, look
from metrics import Scores
from network import MEANING, TEXTURE, AntiSpoof, Eye, Familiarity, General, parameters
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

__all__ = ["REPORT_ONLY", "Recipe", "judge", "load", "score", "split", "train"]

REPORT_ONLY = ("student_crops", "video")
"""Sets that no run ever trains on: webcams and cameras that stay unseen."""

LENT = 0.5
"""Share of a set's spread that comes from the sets together."""

Features = NDArray[np.float32]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a run does; all of it is in the checkpoint."""

    hold_out: str
    """`K/N`: fold K of N of the people is left out; else the name of the set that is."""
    pull: float = 0.03
    """How strongly `general` is held to the published answer (weight of the squared difference)."""
    hidden: int = 64
    """Width of the expert."""
    steps: int = 1500
    """Of the expert, 128 pictures each."""
    varied: float = 0.4
    """Share of the expert's pictures that another camera took."""
    kept: int = 96
    """Directions of texture that familiarity looks at."""
    far: float = 2.2
    """Distance at which expert and general have the same say: just beyond 95 % of a set's new people."""
    seed: int = 1


def split(cache: Cache, hold_out: str) -> tuple[list[int], list[int]]:
    """Places of the rows to train on, and of those kept apart, as `hold_out` says (see `Recipe`)."""
    places = range(len(cache.rows))
    usable = [
        i for i in places
        if cache.rows[i].dataset not in REPORT_ONLY and cache.rows[i].subject not in DEMONSTRATED
    ]  # fmt: skip
    if "/" in hold_out:
        fold, folds = (int(part) for part in hold_out.split("/"))
        dealt = deal(cache.rows, folds)
        apart = [dealt[cache.rows[i].subject] == fold for i in usable]
    else:
        apart = [cache.rows[i].dataset == hold_out for i in usable]
    kept = [i for i, out in zip(usable, apart, strict=True) if out]
    used = [i for i, out in zip(usable, apart, strict=True) if not out]
    return used, kept + [i for i in places if cache.rows[i].dataset in REPORT_ONLY]


def train(cache: Cache, seen: Seen, eye: Eye, used: list[int], recipe: Recipe) -> AntiSpoof:
    """Fits the three parts to the rows `used`, one after the other."""
    rows = cache.rows
    known = np.array([i for i in used if is_known(rows[i])])
    others = np.array([i for i in used if rows[i].dataset == "lfw" or rows[i].origin == "simulated"])
    names = sorted({rows[i].dataset for i in known})
    sets = [np.array([i for i in known if rows[i].dataset == name]) for name in names]
    torch.manual_seed(recipe.seed)
    network = AntiSpoof(eye, sets=len(sets), hidden=recipe.hidden, kept=recipe.kept, far=recipe.far)
    target = _labels(rows, others), torch.from_numpy(_evenly(rows, others)).float()
    for part, view in ((network.near, seen.near), (network.far, seen.far)):
        _fit_general(part, *_published(eye, view[others]), target, recipe.pull)
    _fit_expert(network, seen, rows, known, recipe)
    _fit_familiarity(network.familiarity, seen.far, np.array(used), sets)
    return network.eval()


def _evenly(rows: list[Row], places: Indices) -> NDArray[np.float64]:
    """Weights that sum to 1: live faces and attacks half each, and in each every set and species alike."""
    kinds = [(rows[i].label == LIVE, rows[i].dataset, rows[i].label) for i in places]
    counts, groups = Counter(kinds), Counter(kind[0] for kind in set(kinds))
    weights = np.array([1.0 / (counts[kind] * groups[kind[0]]) for kind in kinds])
    return weights / weights.sum()


def _labels(rows: list[Row], places: Indices) -> Tensor:
    return torch.tensor([float(rows[i].label == LIVE) for i in places])


@torch.no_grad()
def _published(eye: Eye, view: Features) -> tuple[Tensor, Tensor]:
    """What the eye saw, and the published answer to it."""
    seen = torch.from_numpy(view)
    return seen, eye.published(seen)


def _fit_general(
    part: General, seen: Tensor, published: Tensor, target: tuple[Tensor, Tensor], pull: float
) -> None:
    """A logistic regression on standardised meaning that departs from the published answer as it must.

    `target`: labels and weights, float32[n] each.
    """
    labels, weights = target
    x = seen[:, MEANING]
    mean, spread = x.mean(0), (x.std(0) + 1e-4) * (x.shape[1] / 256) ** 0.5
    x = (x - mean) / spread
    free = torch.zeros(x.shape[1] + 2)
    free[-1] = 0.5
    free.requires_grad_(True)
    optimiser = torch.optim.LBFGS([free], max_iter=100)

    def loss() -> Tensor:
        optimiser.zero_grad()
        logits = x @ free[:-2] + free[-2] + free[-1] * published
        error = (binary_cross_entropy_with_logits(logits, labels, reduction="none") * weights).sum()
        total: Tensor = error + pull * free[:-2].square().sum()
        total.backward()
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    found = free.detach()
    delta = found[:-2] / spread
    with torch.no_grad():  # the standardisation becomes part of the layer
        part.layer.weight.copy_(delta[None])
        part.layer.bias.copy_((found[-2] - delta @ mean)[None])
        part.trust.copy_(found[-1])


def _fit_expert(network: AntiSpoof, seen: Seen, rows: list[Row], known: Indices, recipe: Recipe) -> None:
    views = [torch.from_numpy(view[known]) for view in (seen.far, seen.varied)]
    mean, spread = views[0].mean(0), views[0].std(0) + 1e-3
    labels, weights = _labels(rows, known), _evenly(rows, known)
    first, last = network.expert[0], network.expert[2]
    path = nn.Sequential(nn.Dropout(0.2), first, nn.ReLU(), nn.Dropout(0.5), last)
    optimiser = torch.optim.AdamW(path.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=recipe.steps)
    rng = np.random.default_rng(recipe.seed)
    for _ in range(recipe.steps):
        drawn = torch.from_numpy(rng.choice(len(known), 128, p=weights))
        other = torch.from_numpy(rng.random(128) < recipe.varied)[:, None]
        x = (torch.where(other, views[1][drawn], views[0][drawn]) - mean) / spread
        target = labels[drawn] * 0.98 + 0.01
        loss = binary_cross_entropy_with_logits(path(x)[:, 0], target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():  # the standardisation becomes part of the first layer
        first.bias -= first.weight @ (mean / spread)
        first.weight /= spread


def _fit_familiarity(part: Familiarity, far: Features, used: Indices, sets: list[Indices]) -> None:
    """The projection from everything that is trained on, then each set's own whitening."""
    texture = far[:, TEXTURE]
    mean, spread = texture[used].mean(0), texture[used].std(0) + 1e-3
    x = (texture - mean) / spread
    centre = x[used].mean(0)
    axes = np.linalg.svd(np.cov((x[used] - centre).T))[0][:, : part.project.out_features]
    with torch.no_grad():
        weight = (axes / spread[:, None]).T
        part.project.weight.copy_(torch.from_numpy(weight))
        part.project.bias.copy_(torch.from_numpy(-(weight @ mean) - axes.T @ centre))
        flats = [(x[members] - centre) @ axes for members in sets]
        tied = np.mean([np.cov(flat.T) for flat in flats], axis=0)
        for white, flat in zip(part.whiten, flats, strict=True):
            # Part from all sets: how people differ is known better from thirty of them than from eight.
            spread_, turn = np.linalg.eigh(_shrunk((1 - LENT) * np.cov(flat.T) + LENT * tied))
            whiten = (turn / np.sqrt(spread_)).T
            white.weight.copy_(torch.from_numpy(whiten))
            white.bias.copy_(torch.from_numpy(-whiten @ flat.mean(0)))


def _shrunk(covariance: NDArray[np.float64], share: float = 0.02) -> NDArray[np.float64]:
    """A little of every direction, so that none is impossible (Ledoit and Wolf 2004, with a fixed share)."""
    kept = len(covariance)
    return (1 - share) * covariance + share * np.trace(covariance) / kept * np.eye(kept)


def save(network: AntiSpoof, recipe: Recipe, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sets = len(network.familiarity.whiten)
    eye = network.eye.net.state_dict()
    torch.save({"network": network.state_dict(), "eye": eye, "sets": sets, "recipe": asdict(recipe)}, path)


def load(path: Path) -> AntiSpoof:
    """The network of a checkpoint, ready to judge."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    recipe = Recipe(**saved["recipe"])
    network = AntiSpoof(
        Eye(saved["eye"]), sets=saved["sets"], hidden=recipe.hidden, kept=recipe.kept, far=recipe.far
    )
    network.load_state_dict(saved["network"])
    return network.eval()


@torch.no_grad()
def score(network: AntiSpoof, cache: Cache, rows: list[Row]) -> Scores:
    """The logit of every row, float64[n], on the crops that the product would cut."""
    found = [np.empty(0)]
    for start in range(0, len(rows), BATCH):
        crops = [plain(cache.picture(row), row.box) for row in rows[start : start + BATCH]]
        near, far = (torch.from_numpy(look(network.eye, np.stack(view))) for view in zip(*crops, strict=True))
        found.append(network.judge(near, far).double().numpy())
    return np.concatenate(found)


@torch.no_grad()
def judge(network: AntiSpoof, seen: Seen, places: list[int]) -> Scores:
    """The same from what the eye saw."""
    near, far = (torch.from_numpy(view[places]) for view in (seen.near, seen.far))
    return network.judge(near, far).double().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=Path("out/pad/cache"), help="what features.py left")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint.pt")
    for setting in fields(Recipe):
        flag, default = f"--{setting.name.replace('_', '-')}", setting.default
        if default is MISSING:
            parser.add_argument(
                flag, required=True, metavar="K/N | SET", help="0/8: an eighth of the people; nuaa"
            )
        else:
            parser.add_argument(flag, type=type(default), default=default, help=f"(default {default})")
    given = parser.parse_args()
    torch.set_num_threads(1)
    started, cache = monotonic(), Cache.open(given.cache)
    recipe = Recipe(**{setting.name: getattr(given, setting.name) for setting in fields(Recipe)})
    used, _ = split(cache, recipe.hold_out)
    network = train(cache, Seen.open(given.cache), load_eye(given.cache), used, recipe)
    save(network, recipe, given.out / "checkpoint.pt")
    print(f"{parameters(network)} parameters, {len(used)} pictures, {monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
