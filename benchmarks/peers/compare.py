"""The kiosk's vision against face_recognition (dlib) and MediaPipe: same run, same pictures, one thread each.

    python benchmarks/peers/compare.py [--rounds 10] [--out out/peers]

Peers get environments of their own (`.venv-peer-*`), made from the hashed lists beside this file. In each
round every peer analyses the same picture, one after the other in changing order, so that what else the
machine does hits all of them; a ratio is taken within a round. Writes peers.json and peers.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import random
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kiosk.assets import assets_dir
from kiosk.devices.camera_file import read_image
from kiosk.evaluation.speed import on_canvas
from kiosk.vision.detect import Box, Detector
from kiosk.vision.models import Role, load_manifest, load_model

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PEERS = {
    "kiosk": "",
    "dlib": "dlib",
    "kiosk-mesh": "",
    "mediapipe": "mediapipe",
    "mediapipe-video": "mediapipe",
}
"""Peer (worker.py) to environment; "" is the kiosk's own."""
PAIRS = (("dlib", "kiosk"), ("mediapipe", "kiosk-mesh"), ("mediapipe-video", "kiosk-mesh"))
"""Who is compared with whom: the first's time over the second's."""
SETS = {
    "near": "frames of 1280 x 720, the face 0.3 of their width: arm's length",
    "frame": "frames of 1280 x 720, the whole portrait in them: faces of 150 to 400 px",
    "portrait": "pictures of 250 x 250, cut like LFW's",
    "lfw": "pictures of LFW, 250 x 250",
}
FACE_PART = 2.2
"""Side of an LFW picture in widths of the face's box, about."""
NEAR_PX = 384
"""Width of a face at arm's length in a frame of 1280 x 720."""
LFW_PICTURES = 20
WARM_UP = 2

Picture = NDArray[np.uint8]


@dataclass
class Peer:
    """A worker that has loaded its networks."""

    name: str
    process: Any
    versions: str = ""
    taken: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def analyse(self, picture: str) -> dict[str, Any]:
        self.process.stdin.write(picture + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended; why stands in its .log beside the results")
        answer: dict[str, Any] = json.loads(line)
        return answer


def environment(name: str) -> Path:
    """The interpreter of a peer's environment, made when its list has changed."""
    folder, lists = ROOT / f".venv-peer-{name}", HERE / f"{name}.txt"
    done, python = folder / "installed.txt", folder / "bin" / "python"
    if not done.exists() or done.read_text("utf-8") != lists.read_text("utf-8"):
        print(f"making {folder.name} (once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
        ]
        wheels = ["--only-binary", ":all:"]
        if (
            name == "dlib"
        ):  # face_recognition_models comes as sources (data files): setuptools packs them, by hash
            subprocess.run([*pip, *wheels, "-r", ROOT / "requirements" / "build.txt"], check=True)
            wheels += ["--no-binary", "face-recognition-models", "--no-build-isolation"]
        subprocess.run([*pip, *wheels, "--no-deps", "-r", lists], check=True)
        done.write_text(lists.read_text("utf-8"), "utf-8")
    return python


def around(box: Box, rgb: Picture, scale: float, size: tuple[int, int]) -> Picture:
    """uint8[h, w, 3] of `size` (w, h): the face in the middle, the picture `scale` times as large."""
    x, y = box.centre
    matrix = np.array([[scale, 0, size[0] / 2 - scale * x], [0, scale, size[1] / 2 - scale * y]])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    shrunk = cv2.resize(rgb, None, fx=min(scale, 1.0), fy=min(scale, 1.0), interpolation=method)
    matrix[:, :2] /= min(scale, 1.0)
    cut = cv2.warpAffine(shrunk, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, np.uint8)


def pictures() -> dict[str, Picture]:
    """The shipped portraits as camera frames and as small pictures; with evaluation data LFW's too."""
    detector = Detector(load_model(load_manifest().card(Role.DETECTOR)))
    found: dict[str, Picture] = {}
    for number, path in enumerate(sorted((assets_dir() / "demo").rglob("*.jpg"))):
        rgb = read_image(path)
        box = detector.detect(rgb)[0].box
        found[f"near/{number}"] = around(box, rgb, NEAR_PX / box.width, (1280, 720))
        found[f"frame/{number}"] = on_canvas(rgb, 1280, 720).rgb()
        found[f"portrait/{number}"] = around(box, rgb, 250 / (FACE_PART * box.width), (250, 250))
    data = os.environ.get("KIOSK_EVAL_DATA")
    if data:
        table = Path(data) / "lfw" / "identify.csv"
        with table.open(newline="") as stream:
            names = [row["path"] for row in csv.DictReader(stream)]
        for number, name in enumerate(names[:: max(len(names) // LFW_PICTURES, 1)][:LFW_PICTURES]):
            found[f"lfw/{number}"] = read_image(table.parent / name)
    return found


def start(name: str, stored: Path, cpu: int, out: Path) -> Peer:
    python = environment(PEERS[name]) if PEERS[name] else Path(sys.executable)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with (out / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            [python, HERE / "worker.py", name, stored, str(cpu)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            env={**os.environ, **threads, "PYTHONPATH": "" if PEERS[name] else str(ROOT)},
        )  # fmt: skip
    peer = Peer(name, process)
    peer.versions = str(peer.answer()["versions"])
    return peer


def measure(peers: list[Peer], names: list[str], rounds: int) -> None:
    """Every round shows every picture to every peer, in an order that changes."""
    shuffle = random.Random(1)
    for number in range(-WARM_UP, rounds):
        for name in names:
            for peer in shuffle.sample(peers, len(peers)):
                answer = peer.analyse(name)
                if number >= 0:
                    peer.taken.setdefault(name, []).append(answer)
        print(f"\rround {max(number + 1, 0)} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def values(peer: Peer, group: str, key: str) -> NDArray[np.float64]:
    """One figure of every analysis of a set's pictures, in the order in which all peers were asked."""
    each = [
        [a[key] for a in taken] for name, taken in sorted(peer.taken.items()) if name.startswith(group + "/")
    ]
    return np.array(each, np.float64).ravel()


def spread(sample: NDArray[np.float64]) -> dict[str, float]:
    low, middle, high = np.percentile(sample, [5, 50, 95])
    return {"median": float(middle), "p5": float(low), "p95": float(high)}


def summary(peers: list[Peer], group: str) -> dict[str, Any]:
    by_name = {peer.name: peer for peer in peers}
    return {
        "pictures": len({name for name in peers[0].taken if name.startswith(group + "/")}),
        "ms": {p.name: spread(values(p, group, "ms")) for p in peers},
        "cpu_ms": {p.name: spread(values(p, group, "cpu_ms")) for p in peers},
        "found": {p.name: float(values(p, group, "found").mean()) for p in peers},
        "ratio": {
            f"{slow} / {fast}": {
                key: spread(values(by_name[slow], group, key) / values(by_name[fast], group, key))
                for key in ("ms", "cpu_ms")
            }
            for slow, fast in PAIRS
            if slow in by_name
        },
    }


def as_markdown(report: dict[str, Any]) -> str:
    lines = [
        f"{report['date']}, {report['machine']['cpu']}, Python {report['machine']['python']}, one processor, "
        f"{report['rounds']} rounds: milliseconds a picture, median (5 to 95 %).",
        "",
    ]
    lines += [f"- `{name}`: {versions}" for name, versions in report["versions"].items()]
    for group, figures in report["sets"].items():
        lines += [
            "",
            f"**{figures['pictures']} {SETS[group]}**",
            "",
            "| what | wall clock, ms | processor, ms | face found |",
        ]
        lines += ["|---|---|---|---|"]
        for name in figures["ms"]:
            wall, cpu = figures["ms"][name], figures["cpu_ms"][name]
            lines.append(f"| `{name}` | {span(wall)} | {span(cpu)} | {figures['found'][name]:.0%} |")
        lines += ["", "| times as fast | wall clock | processor |", "|---|---|---|"]
        lines += [
            f"| {pair} | {span(r['ms'])} | {span(r['cpu_ms'])} |" for pair, r in figures["ratio"].items()
        ]
    return "\n".join(lines) + "\n"


def span(part: dict[str, float]) -> str:
    return f"{part['median']:.1f} ({part['p5']:.1f} to {part['p95']:.1f})"


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, default=10, help="how often each picture is analysed (default 10)"
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "out" / "peers", help="folder for peers.json and .md"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    shown = pictures()
    stored = options.out / "pictures.npz"
    np.savez(stored, **shown)
    cpu = max(os.sched_getaffinity(0))
    left_out = {"mediapipe"} if sys.version_info >= (3, 13) else set()
    if left_out:
        print("MediaPipe 0.10.21 has no wheel for this Python (3.12 is the last): left out", file=sys.stderr)
    peers: list[Peer] = []
    try:
        try:
            for name, home in PEERS.items():
                if home not in left_out:
                    peers.append(start(name, stored, cpu, options.out))
        finally:
            stored.unlink()  # it may hold pictures of the evaluation data; whoever started has them by now
        measure(peers, list(shown), options.rounds)
    finally:
        for peer in peers:
            peer.process.terminate()
    report = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": {"cpu": processor(), "python": platform.python_version()},
        "rounds": options.rounds,
        "versions": {peer.name: peer.versions for peer in peers},
        "sets": {g: summary(peers, g) for g in SETS if any(name.startswith(g + "/") for name in shown)},
    }
    (options.out / "peers.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    (options.out / "peers.md").write_text(as_markdown(report), "utf-8")
    print(as_markdown(report), end="")


if __name__ == "__main__":
    main()
