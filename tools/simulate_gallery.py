"""What the shipped decision does in galleries of up to a million people, and whether the promised FPIR holds.

    .venv/bin/python tools/simulate_gallery.py --manifest lfw/identify.csv --pairs lfw/verify.csv

Probes are real: the known and unknown people of --manifest, who set no threshold. The gallery around a known
probe's own reference is simulated: each of its people is mixed of three real ones of --pairs (who are not in
--manifest), deviation from the mean by deviation, at random weights. The first table holds this against real
people for as many as there are; it is to be believed beyond them only as far as it agrees there. Then
`kiosk.domain.decision.decide` itself judges every probe, and digits narrow the gallery by 10,000.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kiosk.domain.decision import (  # noqa: E402
    Accept,
    AskSecondFactor,
    Candidate,
    LookOutcome,
    Thresholds,
    decide,
)
from kiosk.evaluation.false_match import references_of  # noqa: E402
from kiosk.evaluation.metrics import wilson  # noqa: E402
from kiosk.evaluation.tables import read_picture, read_table  # noqa: E402
from kiosk.vision.embed import combine  # noqa: E402
from kiosk.vision.models import Role, load_manifest, thresholds_of  # noqa: E402
from kiosk.vision.pipeline import Vision  # noqa: E402

Vectors = NDArray[np.float32]
GALLERIES = {240: 20, 1_000: 10, 2_000: 10, 10_000: 4, 100_000: 1, 1_000_000: 1}
"""People in a gallery: how many such galleries are simulated."""
DIGITS = 10_000
CHUNK = 20_000
STRANGER = -1.0
OWN = "own"
CHECKED_AT = (0.46, 0.50, 0.54, 0.58)


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """People who do not exist: each mixed of three of `people` (float32[n, 192], length 1)."""

    people: Vectors

    def some(self, count: int, dice: np.random.Generator) -> Vectors:
        """float32[count, 192], length 1."""
        mean = self.people.mean(axis=0)
        weights = dice.dirichlet(np.ones(3), count).astype(np.float32)
        weights /= np.linalg.norm(weights, axis=1, keepdims=True)  # as far from the mean as real people
        mixed = np.tile(mean, (count, 1))
        for number in range(3):
            chosen = self.people[dice.integers(0, len(self.people), count)]
            mixed += weights[:, number, None] * (chosen - mean)
        return mixed / np.linalg.norm(mixed, axis=1, keepdims=True)


@dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """Real probes (float32[n, 192]); `own`: cosine with the own reference, -1 for who is not enrolled."""

    vectors: Vectors
    own: NDArray[np.float64]

    @property
    def stranger(self) -> NDArray[np.bool_]:
        return self.own == STRANGER


@dataclass(slots=True)
class Tally:
    """What became of the probes of one kind; the counts are of decisions over all simulated galleries."""

    decisions: int = 0
    face: Counter[str] = field(default_factory=Counter)
    in_the_end: Counter[str] = field(default_factory=Counter)

    def rate(self, counted: Counter[str], what: str, probes: int) -> str:
        """In per cent with the 95 % interval that so many probes allow: galleries do not multiply people."""
        part = counted[what] / self.decisions
        low, high = wilson(round(part * probes), probes)
        return f"{part:7.2%} ({low:.1%}-{high:.1%})"


def embed(pictures: dict[str, Path]) -> dict[str, Vectors]:
    vision = Vision(liveness=False)
    seen = {key: vision.observe(read_picture(path), alone=False) for key, path in pictures.items()}
    return {key: one.embedding for key, one in seen.items() if one.embedding is not None}


def real_people(manifest: Path) -> tuple[Probes, Vectors]:
    """(known and unknown probes, the references of the known)."""
    table = read_table(manifest, ("path", "identity", "role"))
    found = embed({row["path"]: table.picture(row["path"]) for row in table.rows})
    enrolled = defaultdict(list)
    for row in table.rows:
        if row["role"] == "enrol" and row["path"] in found:
            enrolled[row["identity"]].append(found[row["path"]])
    reference = {who: combine(pictures) for who, pictures in enrolled.items()}
    probes = [row for row in table.rows if row["role"] == "probe" and row["path"] in found]
    vectors = np.stack([found[row["path"]] for row in probes])
    own = [
        float(reference[p["identity"]] @ v) if p["identity"] in reference else STRANGER
        for p, v in zip(probes, vectors, strict=True)
    ]
    return Probes(vectors, np.array(own)), np.stack(list(reference.values()))


def crowd_of(pairs: Path, leave_out: Path) -> Crowd:
    """Mixed of the references of everybody in `pairs` who is not in `leave_out`."""
    left_out = {row["identity"] for row in read_table(leave_out, ("path", "identity")).rows}
    table = read_table(pairs, ("path1", "path2"))
    paths = sorted({row[column] for row in table.rows for column in ("path1", "path2")})
    found = embed({p: table.picture(p) for p in paths if Path(p).parent.name not in left_out})
    _, person = np.unique([Path(path).parent.name for path in found], return_inverse=True)
    references, _ = references_of(np.stack(list(found.values())), person.astype(np.intp), 1)
    return Crowd(references)


def check_crowd(strangers: Vectors, references: Vectors, crowd: Crowd, dice: np.random.Generator) -> None:
    """Real and simulated FPIR side by side, for the sizes that there are real people for."""
    everybody = np.concatenate([references, strangers])
    real = strangers @ everybody.T
    real[np.arange(len(strangers)), len(references) + np.arange(len(strangers))] = -1.0  # not with themselves
    print("people  cosine  FPIR of real people (95 %)  simulated")
    for people, best in (
        (len(references), real[:, : len(references)].max(axis=1)),
        (len(everybody) - 1, real.max(axis=1)),
    ):
        simulated = [(strangers @ crowd.some(people, dice).T).max(axis=1) for _ in range(50)]
        for cosine in CHECKED_AT:
            passed, mixed = int((best >= cosine).sum()), np.mean(np.stack(simulated) >= cosine)
            low, high = wilson(passed, len(strangers))
            print(f"{people:6}  {cosine:6.2f}", end="  ")
            print(f"{passed / len(strangers):6.2%} ({low:.1%} to {high:.1%})  {mixed:6.2%}")


def best_two(
    probes: Vectors, crowd: Crowd, people: int, dice: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(the two best scores of each probe in a gallery of `people`, its scores with some of them)."""
    best = np.full((len(probes), 2), -1.0, np.float32)
    scores = best
    for start in range(0, people, CHUNK):
        scores = probes @ crowd.some(min(CHUNK, people - start), dice).T
        best = np.sort(np.concatenate([best, np.partition(scores, -2, axis=1)[:, -2:]], axis=1), axis=1)[
            :, -2:
        ]
    return best[:, ::-1], scores


def judge(
    own: float, others: NDArray[np.float32], searched: int, thresholds: Thresholds, *, digits: bool
) -> str:
    """What the domain decides: right, wrong, digits or refused."""
    candidates = [Candidate(f"other {rank}", float(score)) for rank, score in enumerate(others)]
    if own != STRANGER:
        candidates.append(Candidate(OWN, own))
    decision = decide(
        LookOutcome.LIVE,
        tuple(candidates),
        gallery_size=searched,
        thresholds=thresholds,
        digits_given=digits,
    )
    match decision:
        case Accept():
            return "right" if decision.token == OWN else "wrong"
        case AskSecondFactor():
            return "digits"
        case _:
            return "refused"


def simulate(
    probes: Probes, crowd: Crowd, people: int, thresholds: Thresholds, dice: np.random.Generator
) -> tuple[Tally, Tally]:
    """(known, strangers): every probe in galleries of `people`, by the face alone, then with digits if asked.

    A known person types their own digits; a stranger those of somebody enrolled.
    """
    known, strangers = Tally(), Tally()
    for _ in range(GALLERIES[people]):
        best, some = best_two(probes.vectors, crowd, people - 1, dice)
        for probe, own in enumerate(probes.own):
            tally = strangers if own == STRANGER else known
            said = judge(own, best[probe], people, thresholds, digits=False)
            tally.face[said] += 1
            if said == "digits":
                count = dice.poisson(people / DIGITS) + (own == STRANGER)
                shared = some[probe, dice.integers(0, some.shape[1], count)]
                said = judge(own, shared, count + (own != STRANGER), thresholds, digits=True)
            tally.in_the_end[said] += 1
            tally.decisions += 1
    return known, strangers


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--manifest", type=Path, required=True, help="CSV with the columns path,identity,role"
    )
    parser.add_argument("--pairs", type=Path, required=True, help="CSV with the columns path1,path2")
    parser.add_argument("--most", type=int, default=max(GALLERIES), help="largest gallery")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    dice = np.random.default_rng(options.seed)
    probes, references = real_people(options.manifest)
    crowd = crowd_of(options.pairs, options.manifest)
    thresholds = thresholds_of(load_manifest().card(Role.EMBEDDING))
    of_strangers = int(probes.stranger.sum())
    of_known = len(probes.own) - of_strangers
    check_crowd(probes.vectors[probes.stranger], references, crowd, dice)
    print(f"\n{of_known} probes of known people, {of_strangers} of strangers; margin {thresholds.margin}")
    print("people | threshold | strangers taken for somebody: face alone | in the end, with someone's digits")
    print("       | known: right at once | asked for digits | right in the end | wrong in the end")
    for people in (size for size in GALLERIES if size <= options.most):
        known, strangers = simulate(probes, crowd, people, thresholds, dice)
        needed = thresholds.match_among(people)
        print(f"{people:9,} | {'digits' if needed is None else f'{needed:.3f}'}", end=" | ")
        print(strangers.rate(strangers.face, "wrong", of_strangers), end=" | ")
        print(strangers.rate(strangers.in_the_end, "wrong", of_strangers))
        print(f"{'':9} | {known.rate(known.face, 'right', of_known)}", end=" | ")
        print(known.rate(known.face, "digits", of_known), end=" | ")
        print(known.rate(known.in_the_end, "right", of_known), end=" | ")
        print(known.rate(known.in_the_end, "wrong", of_known), flush=True)


if __name__ == "__main__":
    main()
