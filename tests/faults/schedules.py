"""Many schedules on several processes, and what came of them in one summary."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .world import Place, play

__all__ = ["SIGNED_EVERY", "Summary", "is_signed", "memory_folder", "run_schedules"]

SIGNED_EVERY = 50
"""One schedule in so many goes over the signed wire and over files."""
CHUNK = 250


def is_signed(seed: int) -> bool:
    return seed % SIGNED_EVERY == 0


@contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder in memory where there is such a place: what a power cut does to a disk is another test's."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="kiosk-faults-", dir=memory if memory.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Summary:
    """Counts over schedules; `violations`: seed, kind and text of each that was found."""

    schedules: int = 0
    signed: int = 0
    seconds: float = 0.0
    virtual_hours: float = 0.0
    met: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, other: Summary) -> None:
        self.schedules += other.schedules
        self.signed += other.signed
        self.virtual_hours += other.virtual_hours
        self.met.update(other.met)
        self.violations += other.violations


def play_all(seeds: Iterable[int], folder: Path) -> Summary:
    """Every seed, one after the other, in this process."""
    place, summary = Place(folder), Summary()
    with _quiet():
        for seed in seeds:
            played = play(seed, place, signed=is_signed(seed))
            summary.schedules += 1
            summary.signed += is_signed(seed)
            summary.virtual_hours += played.virtual_ms / 3_600_000
            summary.met.update(played.met)
            if played.violation is not None:
                summary.violations.append((seed, played.violation.kind, str(played.violation)))
    return summary


@contextmanager
def _quiet() -> Iterator[None]:
    """The sandbox's log says nothing: full disks are wanted here."""
    log = logging.getLogger("uvicorn.error")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _work(job: tuple[int, int, str]) -> Summary:
    first, behind, folder = job
    own = Path(folder) / str(os.getpid())
    own.mkdir(exist_ok=True)
    return play_all(range(first, behind), own)


def run_schedules(
    first: int, number: int, *, jobs: int, progress: Callable[[Summary], None] = lambda summary: None
) -> Summary:
    """Seeds `first` to `first + number - 1` on `jobs` processes."""
    total, started = Summary(), time.monotonic()
    with memory_folder() as folder, multiprocessing.get_context("spawn").Pool(jobs) as pool:
        chunks = [
            (seed, min(seed + CHUNK, first + number), str(folder))
            for seed in range(first, first + number, CHUNK)
        ]
        for done in pool.imap_unordered(_work, chunks):
            total.add(done)
            total.seconds = time.monotonic() - started
            progress(total)
    total.seconds = time.monotonic() - started
    return total
