"""The pictures that the anti-spoof network is trained and judged on, as one file of pixels and one table.

Promises: boxes are the product's own detector's; a picture keeps its person, its set and its species; people
are dealt into folds so that nobody is on both sides. A simulated recapture belongs to the person it shows.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from hashlib import sha256
from pathlib import Path
from time import monotonic

import checkout  # noqa: F401  (kiosk is found through it)
import cv2
import numpy as np
from numpy.typing import NDArray

from kiosk.sandbox.recapture import Instrument, recapture
from kiosk.vision.liveness import LARGEST_FACE_PX

__all__ = ["DEMONSTRATED", "LIVE", "Cache", "Row", "build", "deal", "is_known"]

LIVE = "live"
DEMONSTRATED = ("lfw_Joseph_Biden",)
"""People of the sets whose other pictures the demonstration shows: no run trains on them."""
MARGIN = 4.4
"""Side of what is stored, in face widths: every crop and its jitter fit in."""
FRAMES_PER_CLIP = 12

Rgb = NDArray[np.uint8]
Box = tuple[float, float, float, float]
Detect = Callable[[Rgb], list[Box]]


@dataclass(frozen=True, slots=True)
class Row:
    """One stored picture. `x0`..`y1`: the detector's face box in its pixels."""

    offset: int
    height: int
    width: int
    x0: float
    y0: float
    x1: float
    y1: float
    label: str
    """`live`, or the species: `print`, `replay`, `unknown-attack`."""
    subject: str
    dataset: str
    split: str
    """`train` (train.csv, LFW), `pad` (pad.csv) or `video`."""
    origin: str
    """`real`, or `simulated`: a recapture of a live one."""
    path: str

    @property
    def box(self) -> Box:
        return self.x0, self.y0, self.x1, self.y1


@dataclass(frozen=True, slots=True)
class Cache:
    """The table and the pixels, mapped into memory."""

    rows: list[Row]
    pixels: NDArray[np.uint8]

    @classmethod
    def open(cls, folder: Path) -> Cache:
        """What `build` left in `folder`."""
        with (folder / "rows.csv").open(newline="") as table:
            rows = [
                Row(*(kind(value) for kind, value in zip(_KINDS, line, strict=True)))
                for line in list(csv.reader(table))[1:]
            ]
        return cls(rows, np.memmap(folder / "pixels.bin", dtype=np.uint8, mode="r"))

    def picture(self, row: Row) -> Rgb:
        """uint8[h, w, 3], RGB, read-only."""
        end = row.offset + row.height * row.width * 3
        return self.pixels[row.offset : end].reshape(row.height, row.width, 3)


_KINDS: tuple[type, ...] = (int, int, int, float, float, float, float, str, str, str, str, str, str)


def deal(rows: Iterable[Row], folds: int) -> dict[str, int]:
    """The fold of every person: each set's people in the order of their names' hashes, dealt in turn.

    So every fold gets as many people of each set as can be, and the same ones in every run.
    """
    people: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        people[row.dataset].add(row.subject)
    return {
        person: place % folds
        for members in people.values()
        for place, person in enumerate(sorted(members, key=lambda name: sha256(name.encode()).digest()))
    }


def is_known(row: Row) -> bool:
    """Real pictures of the two sets with many people: what "each known set" means in a report."""
    return row.origin == "real" and row.dataset in ("nuaa", "replay_attack")


@dataclass(frozen=True, slots=True)
class _Source:
    path: Path
    label: str
    subject: str
    dataset: str
    split: str
    expected: Box | None
    """The set's own face box, where it gives one: it says which of several faces is meant."""


def _sources(data: Path) -> Iterator[_Source]:
    with (data / "pad" / "train.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            box = (float(row["x0"]), float(row["y0"]), float(row["x1"]), float(row["y1"]))
            yield _Source(
                data / "pad" / row["path"], row["label"], row["subject"], row["dataset"], "train", box
            )
    with (data / "pad" / "pad.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            path = data / "pad" / row["path"]
            yield _Source(path, row["label"], row["subject"], row["dataset"], "pad", None)
    for path in sorted((data / "lfw" / "images").glob("*/*.jpg")):
        yield _Source(path, LIVE, f"lfw_{path.parent.name}", "lfw", "train", None)


def _clips(data: Path) -> Iterator[tuple[_Source, Rgb]]:
    """Frames of the clips, for reporting only: cameras and people that no training has seen."""
    for path in sorted((data / "video").glob("*")):
        if "no_face" in path.name:
            continue
        clip = cv2.VideoCapture(str(path))
        count = int(clip.get(cv2.CAP_PROP_FRAME_COUNT))
        label = "replay" if "fake" in path.name else LIVE
        wanted = set(np.linspace(0, max(count - 1, 0), FRAMES_PER_CLIP, dtype=int).tolist())
        for number in range(count):
            good, bgr = clip.read()
            if good and number in wanted:
                source = _Source(path, label, f"video_{path.stem}", "video", "video", None)
                yield source, np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        clip.release()


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union, in [0, 1]."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return wide * high / (both - wide * high)


def _surroundings(rgb: Rgb, box: Box) -> tuple[Rgb, Box]:
    """What the crops can reach of a picture, shrunk if its face is large; the picture's edges stay edges."""
    reach = MARGIN * (box[2] - box[0]) / 2
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    left, top = max(0, int(x - reach)), max(0, int(y - reach))
    part = rgb[top : int(y + reach) + 1, left : int(x + reach) + 1]
    scale = min(1.0, LARGEST_FACE_PX / (box[2] - box[0]))
    if scale < 1.0:
        shape = (round(part.shape[1] * scale), round(part.shape[0] * scale))
        part = np.asarray(cv2.resize(part, shape, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    x0, y0, x1, y1 = ((value - edge) * scale for value, edge in zip(box, (left, top, left, top), strict=True))
    return part, (x0, y0, x1, y1)


class _Writer:
    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._pixels = (folder / "pixels.bin").open("wb")
        self._table = (folder / "rows.csv").open("w", newline="")
        self._csv = csv.writer(self._table)
        self._csv.writerow([field.name for field in fields(Row)])
        self._offset = 0

    def add(self, rgb: Rgb, box: Box, source: _Source, label: str, origin: str) -> None:
        part, moved = _surroundings(rgb, box)
        height, width = part.shape[:2]
        place = (self._offset, height, width, *(round(value, 2) for value in moved))
        row = Row(*place, label, source.subject, source.dataset, source.split, origin, source.path.name)
        self._csv.writerow(astuple(row))
        self._offset += self._pixels.write(np.ascontiguousarray(part).tobytes())

    def close(self) -> None:
        self._pixels.close()
        self._table.close()


def _simulate(
    rgb: Rgb, box: Box, instrument: Instrument, detect: Detect, seed: int
) -> tuple[Rgb, Box] | None:
    """A recapture and the detector's box in it; None when the detector no longer finds that face."""
    rng = np.random.default_rng(seed)
    made = recapture(rgb, instrument, rng, framed=bool(rng.random() < 0.5))
    corners = np.array([[box[0], box[1], 1], [box[2], box[1], 1], [box[2], box[3], 1], [box[0], box[3], 1]])
    moved = corners @ made.homography.T
    moved = moved[:, :2] / moved[:, 2:]
    x0, y0 = moved.min(axis=0).tolist()
    x1, y1 = moved.max(axis=0).tolist()
    found = max(detect(made.rgb), key=lambda other: _overlap(other, (x0, y0, x1, y1)), default=None)
    if found is None or _overlap(found, (x0, y0, x1, y1)) < 0.3:
        return None
    return made.rgb, found


def build(data: Path, folder: Path, detect: Detect, *, seed: int = 1) -> None:
    """Reads every set under `data`, detects, simulates, and writes `pixels.bin` and `rows.csv`."""
    writer, started, missed = _Writer(folder), monotonic(), 0
    for number, source in enumerate(_sources(data)):
        bgr = cv2.imread(str(source.path), cv2.IMREAD_COLOR)
        rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        faces = detect(rgb)
        if not faces:
            missed += 1
            continue
        box = faces[0]
        if source.expected is not None:
            box = max(faces, key=lambda face: _overlap(face, source.expected))  # type: ignore[arg-type]
        elif source.dataset == "lfw":
            box = min(faces, key=lambda face: abs(face[0] + face[2] - 250) + abs(face[1] + face[3] - 250))
        writer.add(rgb, box, source, source.label, "real")
        if source.label == LIVE and source.dataset != "student_crops":
            for instrument, species in ((Instrument.PRINT, "print"), (Instrument.SCREEN, "replay")):
                made = _simulate(
                    rgb, box, instrument, detect, seed * 1_000_003 + 2 * number + (species == "print")
                )
                if made is not None:
                    writer.add(*made, source, species, "simulated")
        if number % 500 == 0:
            print(f"{number} pictures, {missed} without a face, {monotonic() - started:.0f} s", flush=True)
    for source, rgb in _clips(data):
        faces = detect(rgb)
        if faces:
            writer.add(rgb, faces[0], source, source.label, "real")
    writer.close()


def _product_detector() -> Detect:
    """BlazeFace as the kiosk runs it."""
    from kiosk.vision.detect import Detector
    from kiosk.vision.models import Role, load_manifest, load_model

    detector = Detector(load_model(load_manifest().card(Role.DETECTOR)))

    def detect(rgb: Rgb) -> list[Box]:
        return [(face.box.x0, face.box.y0, face.box.x1, face.box.y1) for face in detector.detect(rgb)]

    return detect


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with pad/, lfw/ and video/")
    parser.add_argument("--out", type=Path, default=Path("out/pad/cache"), help="where the cache goes (3 GB)")
    parser.add_argument("--seed", type=int, default=1, help="of the simulated recaptures")
    given = parser.parse_args()
    build(given.data, given.out, _product_detector(), seed=given.seed)


if __name__ == "__main__":
    main()
