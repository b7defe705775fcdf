"""Trains the anti-spoof network: one run, one group of people held out, one checkpoint that can be resumed.

    python tools/pad/data.py  --data DIR --out out/pad/cache
    python tools/pad/train.py --cache out/pad/cache --out out/pad/final --hold-out 0/8

Each epoch draws the same number of pictures, a fixed share from each kind: live faces and attacks of the sets
in turn, faces of Labeled Faces in the Wild as more live people, and simulated recaptures of live faces.
The weights that count are the running mean (EMA). The last epoch is the result: no picture that is
reported on chooses an epoch. The same seed gives the same run on the same machine.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from time import monotonic

import cv2
import numpy as np
import torch
from augment import plain, varied
from data import DEMONSTRATED, LIVE, Cache, Row, deal
from metrics import Scores, eer
from network import AntiSpoof, parameters
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

__all__ = ["Recipe", "load", "score", "train"]

REPORT_ONLY = ("student_crops", "video")
"""Sets that no run ever trains on: webcams and cameras that stay unseen."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a run does; all of it is in the checkpoint."""

    hold_out: str
    """`K/N`: fold K of N of the people is left out; else the name of the set that is."""
    epochs: int = 30
    pictures: int = 5000
    """Pictures drawn an epoch."""
    batch: int = 64
    rate: float = 4e-3
    """Peak of the one-cycle learning rate."""
    decay: float = 0.02
    smoothing: float = 0.05
    """Labels are pulled this far towards 0.5."""
    width: int = 16
    share_lfw: float = 0.22
    """Share of live faces from LFW among all pictures."""
    share_simulated: float = 0.25
    """Share of simulated recaptures among all pictures; half of the pictures are live in any case."""
    taught: float = 0.5
    """Weight of the peer's answers in the loss; 0 leaves the teacher out."""
    seed: int = 1


class _Drawn(Dataset[tuple[Tensor, Tensor, Tensor, Tensor]]):
    """The pictures of one epoch: what is drawn, and how it is varied, follows from seed, epoch and place."""

    def __init__(self, cache: Cache, rows: list[Row], recipe: Recipe, epoch: int) -> None:
        self._cache, self._recipe, self._epoch = cache, recipe, epoch
        self._groups = _groups(rows)
        self._teacher = dict(zip((row.offset for row in cache.rows), cache.teacher, strict=True))

    def __len__(self) -> int:
        return self._recipe.pictures

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rng = np.random.default_rng((self._recipe.seed, self._epoch, place))
        row = self._draw(rng)
        near, far = varied(self._cache.picture(row), row.box, rng)
        label, taught = float(row.label == LIVE), float(self._teacher[row.offset])
        return torch.from_numpy(near), torch.from_numpy(far), torch.tensor(label), torch.tensor(taught)

    def _draw(self, rng: np.random.Generator) -> Row:
        """A kind by its share, then a set and species, then a person, then a picture, each evenly."""
        recipe, choice = self._recipe, rng.random()
        kind = "live"
        if choice < recipe.share_lfw:
            kind = "lfw"
        elif choice >= 0.5:
            kind = "simulated" if choice < 0.5 + recipe.share_simulated else "attack"
        group = self._groups[kind]
        people = group[rng.integers(len(group))]
        person = people[rng.integers(len(people))]
        return person[rng.integers(len(person))]


def _groups(rows: list[Row]) -> dict[str, list[list[list[Row]]]]:
    """Rows by kind, then by set and species, then by person."""
    kinds: dict[str, dict[str, dict[str, list[Row]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for row in rows:
        kind = "live" if row.label == LIVE else "attack"
        if row.origin == "simulated":
            kind = "simulated"
        elif row.dataset == "lfw":
            kind = "lfw"
        kinds[kind][f"{row.dataset}/{row.label}"][row.subject].append(row)
    return {
        kind: [[people[name] for name in sorted(people)] for _, people in sorted(species.items())]
        for kind, species in kinds.items()
    }


def _channels_first(pictures: Tensor) -> Tensor:
    """uint8[n, h, w, 3] to float32[n, 3, h, w] in [0, 1], still laid out with channels last."""
    return pictures.permute(0, 3, 1, 2).float() / 255


def train(
    cache: Cache,
    rows: list[Row],
    recipe: Recipe,
    out: Path,
    watch: Callable[[AntiSpoof], str],
    *,
    workers: int,
) -> AntiSpoof:
    """Runs the recipe on `rows`, from `out`/checkpoint.pt on where there is one; returns the mean weights."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    network = AntiSpoof(recipe.width).to(memory_format=torch.channels_last)
    mean = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    steps = recipe.pictures // recipe.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=recipe.epochs * steps)
    parts = {"network": network, "mean": mean, "optimiser": optimiser, "schedule": schedule}
    first = _resume(out / "checkpoint.pt", parts, recipe)
    print(
        f"{parameters(network)} parameters, {len(rows)} pictures, epochs {first} to {recipe.epochs}",
        flush=True,
    )
    for epoch in range(first, recipe.epochs):
        started, total = monotonic(), 0.0
        torch.manual_seed(recipe.seed * 1000 + epoch)
        network.train()
        loader = DataLoader(
            _Drawn(cache, rows, recipe, epoch), recipe.batch, num_workers=workers, drop_last=True,
            worker_init_fn=_one_thread,
        )  # fmt: skip
        for near, far, label, taught in loader:
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(_channels_first(near), _channels_first(far)).float()
            target = label * (1 - recipe.smoothing) + recipe.smoothing / 2
            loss = binary_cross_entropy_with_logits(logits[:, 0], target)
            loss = loss + recipe.taught * binary_cross_entropy_with_logits(
                logits[:, 1], torch.sigmoid(taught)
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            mean.update_parameters(network)
            total += loss.item()
        seen = watch(mean.module) if epoch % 5 == 4 or epoch == recipe.epochs - 1 else ""
        seconds = monotonic() - started
        print(
            f"epoch {epoch + 1}/{recipe.epochs}  loss {total / steps:.4f}  {seconds:.0f} s  {seen}",
            flush=True,
        )
        _save(out / "checkpoint.pt", parts, recipe, epoch + 1)
    return mean.module.eval()


def _one_thread(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _save(path: Path, parts: dict[str, object], recipe: Recipe, epochs: int) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}  # type: ignore[attr-defined]
    torch.save({**state, "recipe": asdict(recipe), "epochs": epochs}, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def _resume(path: Path, parts: dict[str, object], recipe: Recipe) -> int:
    """Loads the checkpoint, and returns how many epochs are done; 0 without one."""
    if not path.exists():
        return 0
    saved = torch.load(path, weights_only=True)
    if saved["recipe"] != asdict(recipe):
        raise SystemExit(f"{path} is of another recipe: give another --out, or remove it")
    for name, part in parts.items():
        part.load_state_dict(saved[name])  # type: ignore[attr-defined]
    return int(saved["epochs"])


def load(path: Path) -> AntiSpoof:
    """The mean weights of a checkpoint, ready to judge."""
    saved = torch.load(path, weights_only=True)
    network = AntiSpoof(saved["recipe"]["width"])
    network.load_state_dict(
        {name.removeprefix("module."): value for name, value in saved["mean"].items() if name != "n_averaged"}
    )
    return network.eval()


@torch.no_grad()
def score(network: AntiSpoof, cache: Cache, rows: list[Row]) -> Scores:
    """Both logits of every row, float64[n, 2], on the crops that the product would cut."""
    network.eval()
    logits = []
    for start in range(0, len(rows), 128):
        crops = [plain(cache.picture(row), row.box) for row in rows[start : start + 128]]
        near, far = (torch.from_numpy(np.stack([pair[i] for pair in crops])) for i in (0, 1))
        logits.append(network(_channels_first(near), _channels_first(far)).double().numpy())
    return np.concatenate(logits) if logits else np.empty((0, 2))


def summary(network: AntiSpoof, cache: Cache, rows: list[Row]) -> str:
    """EER in per cent by set and species, and the mean live probability where a set has one label only."""
    logits = network.joined(torch.from_numpy(score(network, cache, rows))).numpy()
    by: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row, logit in zip(rows, logits, strict=True):
        by[row.dataset, row.origin, row.label].append(float(logit))
    parts = []
    for (dataset, origin, label), values in sorted(by.items()):
        live = by.get((dataset, "real", LIVE))
        if label != LIVE and live:
            mark = "~" if origin == "simulated" else ""
            parts.append(f"{dataset}/{label}{mark} {100 * eer(np.array(live), np.array(values)):.1f}")
        else:
            parts.append(f"{dataset}/{label} p={np.mean(1 / (1 + np.exp(-np.array(values)))):.2f}")
    return "  ".join(parts)


def split(cache: Cache, hold_out: str) -> tuple[list[Row], list[Row]]:
    """Rows to train on, and rows kept apart, as `hold_out` says (see `Recipe`)."""
    usable = [row for row in cache.rows if row.dataset not in REPORT_ONLY and row.subject not in DEMONSTRATED]
    if "/" in hold_out:
        fold, folds = (int(part) for part in hold_out.split("/"))
        dealt = deal(cache.rows, folds)
        apart = {person for person, place in dealt.items() if place == fold}
        kept = [row for row in usable if row.subject in apart]
        used = [row for row in usable if row.subject not in apart]
    else:
        kept = [row for row in usable if row.dataset == hold_out]
        used = [row for row in usable if row.dataset != hold_out]
    return used, kept + [row for row in cache.rows if row.dataset in REPORT_ONLY]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", "--data", type=Path, default=Path("out/pad/cache"), dest="cache",
                        help="what data.py made of the sets")  # fmt: skip
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for checkpoint.pt; resumed if it is there"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that prepare pictures")
    parser.add_argument("--threads", type=int, default=1, help="of the training process")
    for setting in fields(Recipe):
        flag, default = f"--{setting.name.replace('_', '-')}", setting.default
        if default is MISSING:
            parser.add_argument(
                flag, required=True, metavar="K/N | SET", help="0/8: an eighth of the people; nuaa"
            )
        else:
            parser.add_argument(flag, type=type(default), default=default, help=f"(default {default})")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    cv2.setNumThreads(1)
    cache = Cache.open(given.cache)
    recipe = Recipe(**{setting.name: getattr(given, setting.name) for setting in fields(Recipe)})
    used, kept = split(cache, recipe.hold_out)
    watched = kept[:: max(1, len(kept) // 2500)] + [row for row in kept if row.dataset in REPORT_ONLY]
    train(
        cache,
        used,
        recipe,
        given.out,
        lambda network: summary(network, cache, watched),
        workers=given.workers,
    )


if __name__ == "__main__":
    main()
