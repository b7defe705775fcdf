"""Whether templates of two epochs can be linked, and whether turning changes a decision (docs/privacy.md).

    .venv/bin/python tools/linkability.py --manifest lfw/identify.csv

Real references and probes; each epoch has a secret of its own. First every probe is judged with and without
the turn: decisions have to be the same. Then the same person's references in two epochs are held against two
strangers' in two epochs: who can't tell them apart can't link them (area under the curve .5). Last, what
somebody gains who knows a number of people in both galleries and aligns the two by them (Procrustes).
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kiosk.domain.decision import Decision, LookOutcome, decide  # noqa: E402
from kiosk.evaluation.tables import read_picture, read_table  # noqa: E402
from kiosk.gallery.epoch import Epoch  # noqa: E402
from kiosk.gallery.exact import ExactMatcher  # noqa: E402
from kiosk.gallery.template import Template  # noqa: E402
from kiosk.vision.embed import combine  # noqa: E402
from kiosk.vision.models import Role, load_manifest, thresholds_of  # noqa: E402
from kiosk.vision.pipeline import Vision  # noqa: E402

Vectors = NDArray[np.float32]
EPOCHS = 40
KNOWN = (10, 50, 100, 150, 192)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--manifest", type=Path, required=True)
    references, probes = embedded(parser.parse_args().manifest)
    decisions(references, probes)
    links(np.stack(list(references.values())))


def embedded(manifest: Path) -> tuple[dict[str, Vectors], list[Vectors]]:
    """One reference a person, as at enrolment, and every probe that has a face."""
    table = read_table(manifest, ("path", "identity", "role"), {"role": ("enrol", "probe")})
    vision, enrolled, probes = Vision(load_manifest()), defaultdict(list), []
    for row in table.rows:
        found = vision.observe(read_picture(table.picture(row["path"])), alone=False).embedding
        if found is not None:
            (enrolled[row["identity"]] if row["role"] == "enrol" else probes).append(found)
    return {who: combine(looks) for who, looks in enrolled.items()}, probes


def decisions(references: dict[str, Vectors], probes: list[Vectors]) -> None:
    """Every probe, judged as it is and turned; the largest difference of a best cosine."""
    thresholds = thresholds_of(load_manifest().card(Role.EMBEDDING))
    epoch, plain, turned = Epoch.new("measured"), ExactMatcher(), ExactMatcher()
    plain.add({who: vector[None] for who, vector in references.items()})
    turned.add({who: epoch.turn(vector[None]) for who, vector in references.items()})
    same, most = 0, 0.0
    for probe in probes:
        found = plain.search(Template.of(probe), 2), turned.search(Template.of(epoch.turn(probe)), 2)
        judged = [
            decide(LookOutcome.LIVE, each, gallery_size=len(references), thresholds=thresholds)
            for each in found
        ]
        same += without_scores(judged[0]) == without_scores(judged[1])
        most = max(most, abs(found[0][0].score - found[1][0].score))
    print(f"{len(references)} references, {len(probes)} probes: {same} decisions the same, "
          f"largest difference of a cosine {most:.1e}")  # fmt: skip


def without_scores(decision: Decision) -> tuple[object, ...]:
    """What was decided, about whom, and why."""
    about = (getattr(decision, name, None) for name in ("token", "reason", "factor"))
    return (type(decision), *about)


def links(people: Vectors) -> None:
    """How the same person's cosine across two epochs lies to strangers', over many pairs of epochs."""
    draw = np.random.default_rng(1)
    same, strangers = [], []
    for _ in range(EPOCHS):
        one, other = Epoch.new("a").turn(people), Epoch.new("b").turn(people)
        cosines = one @ other.T
        same.append(np.diag(cosines))
        strangers.append(
            cosines[~np.eye(len(people), dtype=bool)][draw.integers(0, len(people) ** 2 // 2, 5_000)]
        )
    within = (people @ people.T)[~np.eye(len(people), dtype=bool)]
    told("the same person, two epochs", np.concatenate(same))
    told("strangers, two epochs", np.concatenate(strangers))
    told("strangers, one epoch", within)
    each = [area(mine, others) for mine, others in zip(same, strangers, strict=True)]
    print(f"area under the curve over {EPOCHS} pairs of epochs: mean {np.mean(each):.3f}, "
          f"{np.min(each):.3f} to {np.max(each):.3f}")  # fmt: skip
    for known in (n for n in KNOWN if n < len(people) - 20):
        left = [aligned(people, known, draw) for _ in range(5)]
        print(f"who knows {known} people of both galleries and aligns them by these: "
              f"{100 * np.mean(left):.0f} % of the others linked at rank 1")  # fmt: skip


def aligned(people: Vectors, known: int, draw: np.random.Generator) -> float:
    """Which part of the people that were not known is found again after an orthogonal Procrustes fit."""
    order = draw.permutation(len(people))
    one, other = Epoch.new("a").turn(people)[order], Epoch.new("b").turn(people)[order]
    left, _, right = np.linalg.svd(one[:known].T @ other[:known])
    cosines = (one[known:] @ (left @ right)) @ other[known:].T
    return float(np.mean(np.argmax(cosines, axis=1) == np.arange(len(cosines))))


def told(name: str, cosines: NDArray[np.float32]) -> None:
    print(f"{name}: n {cosines.size}, mean {cosines.mean():+.3f}, sd {cosines.std():.3f}, "
          f"largest {cosines.max():.3f}")  # fmt: skip


def area(positive: NDArray[np.float32], negative: NDArray[np.float32]) -> float:
    """The probability that one of `positive` is above one of `negative`."""
    ranks = np.searchsorted(np.sort(negative), positive)
    return float(ranks.mean() / negative.size)


if __name__ == "__main__":
    main()
