"""What a large gallery costs on the disk: taken from the acquirer, loaded, one person forgotten or enrolled.

    .venv/bin/python -m benchmarks.gallery [--people 100000]

People are made up (`kiosk.gallery.bench`), one reference each. Each step runs in its own process, so that
its peak of memory is its own; `base` is that of a process with all imported and nobody enrolled. Prints JSON:
wall clock and processor time in s, peak in MB, and the bytes that were published and are stored.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from kiosk.devices.key_software import SoftwareKey
from kiosk.gallery.change import Change, NewSegment
from kiosk.gallery.crowd import Crowd
from kiosk.gallery.epoch import Epoch
from kiosk.gallery.matcher import Vectors
from kiosk.gallery.segment import SEGMENT_PEOPLE, Place, open_segment, seal
from kiosk.gallery.store import GalleryStore
from kiosk.gallery.template import PayerRecord, Reference, Template

STEPS = ("base", "take", "load", "forget", "enrol")
EPOCH = Epoch("bench", 1, b"b" * 32)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step:
        print(json.dumps(measured(asked.step, asked.folder)))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures: dict[str, object] = {
            "people": asked.people,
            "published_bytes": publish(folder / "published", asked.people),
        }
        for step in STEPS:
            command = [sys.executable, "-m", "benchmarks.gallery", "--step", step, "--folder", name]
            figures[step] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        files = list((folder / "gallery").iterdir())
        figures |= {"stored_bytes": sum(file.stat().st_size for file in files), "files": len(files)}
    print(json.dumps(figures, indent=2))
    return 0


def publish(folder: Path, people: int) -> int:
    """The acquirer's segments as files in `folder`; how many bytes they are."""
    folder.mkdir()
    for start, block in Crowd(people).blocks():
        turned = EPOCH.turn(block)
        for at in range(0, len(turned), SEGMENT_PEOPLE):
            part = turned[at : at + SEGMENT_PEOPLE]
            records = [person(start + at + n, part[n : n + 1]) for n in range(len(part))]
            number = (start + at) // SEGMENT_PEOPLE
            sealed = seal(EPOCH.key("segment"), Place(EPOCH.id, number, 1), records)
            (folder / f"{number}.seg").write_bytes(sealed)
    return sum(file.stat().st_size for file in folder.iterdir())


def person(number: int, vectors: Vectors) -> PayerRecord:
    return PayerRecord(
        token=f"pyr-{number:012}",
        masked_name="*ing",
        masked_account="**** 4821",
        digits=f"{number % 10_000:04}",
        consent_ref=f"consent-{number:012}",
        enrolled_at_s=1_790_000_000,
        references=tuple(Reference(Template.of(vector), "bench-network-1") for vector in vectors),
        consent_text="v1/en",
    )


def measured(step: str, folder: Path) -> dict[str, float]:
    """One step in this process; `forget` and `enrol` on a gallery that was loaded before."""
    store = GalleryStore(folder / "gallery", SoftwareKey.load_or_create(folder / "device.key"))
    work = {
        "base": lambda: None,
        "take": lambda: store.apply(Change(put=published(folder / "published"), epoch=EPOCH)),
        "load": store.load,
    }.get(step)
    if work is None:
        gallery = store.load().gallery
        other = person(10**9, next(Crowd(1, seed=2).blocks())[1])
        if gallery.epoch is not None:
            gallery.epoch.turn(other.vectors())  # makes the turn, as the first search of a kiosk does
        work = {
            "forget": lambda: store.forget(gallery, "pyr-000000000007"),
            "enrol": lambda: store.enrol(gallery, other),
        }[step]
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return {
        "s": round(time.perf_counter() - began, 3),
        "cpu_s": round(time.process_time() - cpu, 3),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def published(folder: Path) -> tuple[NewSegment, ...]:
    return tuple(
        NewSegment(
            int(file.stem), 1, hashlib.sha256(file.read_bytes()).hexdigest(), file.name, partial(opened, file)
        )
        for file in sorted(folder.iterdir(), key=lambda file: int(file.stem))
    )


def opened(file: Path) -> list[PayerRecord]:
    return open_segment(EPOCH.key("segment"), Place(EPOCH.id, int(file.stem), 1), file.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
