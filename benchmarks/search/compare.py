"""The kiosk's matchers beside faiss and usearch: the same crowd, the same probes, one after the other.

    python benchmarks/search/compare.py --sizes 1000,10000,50000 [--engines int8,faiss-flat]
    python benchmarks/search/compare.py --sizes 50000 --real lfw/identify.csv
    python benchmarks/search/compare.py --check lfw/identify.csv
    python benchmarks/search/compare.py --draw docs/img/search.png

Each engine runs in a process of its own, held to as many processors as --cores says; the peers have an
environment of their own (`.venv-peer-search`, from the hashed list beside this file). What was measured is
kept in OUT/search.json, by crowd, size and engine, so that sizes can be measured at different times; every
run writes OUT/search.md. Embeddings of real people never leave the memory but for a file that is deleted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiosk.gallery.crowd import Crowd

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
OURS = ("exact", "int8", "hnsw")
PEERS = (
    "faiss-flat",
    "faiss-sq8",
    "faiss-pca-sq8",
    "faiss-ivf-sq8",
    "faiss-hnsw",
    "usearch-exact",
    "usearch",
)
WHAT = {
    "exact": "float32 product (NumPy)",
    "int8": "int8 bounds, exact cosines",
    "hnsw": "hnswlib, re-scored",
    "faiss-flat": "faiss Flat, float32",
    "faiss-sq8": "faiss SQ8",
    "faiss-pca-sq8": "faiss PCA64,SQ8",
    "faiss-ivf-sq8": "faiss IVF,SQ8, 1/8 of the lists",
    "faiss-hnsw": "faiss HNSW16",
    "usearch-exact": "usearch i8, exact",
    "usearch": "usearch i8, HNSW",
}
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75)
COLUMNS = (
    "references", "engine", "p50, ms", "p99, ms", "processor, ms", "recall@1", "added FNIR",
    "from vectors, s", "from its file, s", "memory, MB",
)  # fmt: skip
PANELS = {
    "p50_ms": ("a search, median (ms)", 1.0),
    "p99_ms": ("99 of 100 searches are quicker (ms)", 1.0),
    "cpu_ms": ("processor time of a search (ms)", 1.0),
    "rss_bytes": ("memory of the process (MB)", 1e6),
    "load_s": ("from vectors to ready (s)", 1.0),
    "missed": ("nearest person not found first (%)", 0.01),
}
GOALS = {"p99_ms": 10, "rss_bytes": 1000}
"""At a million references, drawn as dotted lines."""
TAILS = (0.5, 0.9, 0.99, 0.999, 0.9999)


def environment() -> Path:
    """The interpreter of the peers' environment, made when its list has changed."""
    folder, listed = ROOT / ".venv-peer-search", HERE / "search.txt"
    done, python = folder / "installed.txt", folder / "bin" / "python"
    if not done.exists() or done.read_text("utf-8") != listed.read_text("utf-8"):
        print(f"making {folder.name} (once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([*pip, "--only-binary", ":all:", "--no-deps", "-r", listed], check=True)
        done.write_text(listed.read_text("utf-8"), "utf-8")
    return python


def embedded(table: Path) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """(embeddings of all pictures of `table`, whose each is)."""
    from kiosk.evaluation.tables import read_picture, read_table
    from kiosk.vision.pipeline import Vision

    rows = read_table(table, ("path", "identity"))
    vision = Vision(liveness=False)
    seen = [
        (row["identity"], vision.observe(read_picture(rows.picture(row["path"])), alone=False))
        for row in rows.rows
    ]
    found = [(who, one.embedding) for who, one in seen if one.embedding is not None]
    return np.stack([vector for _, vector in found]), np.array([who for who, _ in found])


def one_each(vectors: NDArray[np.float32], who: NDArray[np.str_]) -> NDArray[np.float32]:
    return vectors[np.unique(who, return_index=True)[1]]


def check(table: Path) -> None:
    """Quantiles of cosines: of embeddings of real people, of the drawn crowd, of the crowd mixed of them."""
    vectors, who = embedded(table)
    real = one_each(vectors, who)
    same = who[:, None] == who[None, :]
    np.fill_diagonal(same, False)
    print(f"{len(real)} people, {len(vectors)} pictures")
    print("two people, part below:", *TAILS, "| two looks, part below:", *QUANTILES, "| directions for 99 %")
    show("real", upper(real), (vectors @ vectors.T)[same], vectors)
    for name, crowd in (("drawn", Crowd(5000)), ("mixed", Crowd(5000, real=real))):
        references, probes = next(crowd.blocks())[1], crowd.probes(5000)
        show(name, upper(references), np.einsum("ij,ij->i", references, probes), probes)


def upper(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((vectors @ vectors.T)[np.triu_indices(len(vectors), 1)], np.float32)


def show(name: str, people: NDArray[Any], looks: NDArray[Any], vectors: NDArray[np.float32]) -> None:
    held = np.cumsum(np.linalg.eigvalsh(vectors.T @ vectors)[::-1]) / len(vectors)
    parts = (np.quantile(people, TAILS), np.quantile(looks, QUANTILES))
    figures = " | ".join(" ".join(f"{value:6.3f}" for value in part) for part in parts)
    print(f"{name:6} {figures} | {int(np.argmax(held >= 0.99)) + 1}")


def measured(engine: str, size: int, searches: int, cores: int, real: Path | None) -> dict[str, Any]:
    """The figures of one engine; a line that says why where it failed."""
    python = environment() if engine in PEERS else Path(sys.executable)
    command = [
        python,
        HERE / "worker.py",
        engine,
        str(size),
        str(searches),
        str(cores),
        *([real] if real else []),
    ]
    began = time.monotonic()
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(cores))
    environ = {**os.environ, **threads, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=False)
    if ended.returncode:
        return {"size": size, "engine": engine, "failed": f"ended with {ended.returncode}"}
    figures: dict[str, Any] = json.loads(ended.stdout)
    return {**figures, "date": f"{datetime.now(UTC):%Y-%m-%d}", "took_s": time.monotonic() - began}


def as_markdown(kept: dict[str, Any]) -> str:
    lines = []
    for crowd in sorted({row["crowd"] for row in kept["rows"].values()}):
        lines += [f"**{crowd} crowd**", "", "| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
        rows = [row for row in kept["rows"].values() if row["crowd"] == crowd and "failed" not in row]
        lines += [
            line(row) for row in sorted(rows, key=lambda row: (row["size"], list(WHAT).index(row["engine"])))
        ]
        lines.append("")
    return "\n".join(lines)


def line(row: dict[str, Any]) -> str:
    reload_s = f"{row['reload_s']:.2f}" if "reload_s" in row else ""
    cells = (
        f"{row['size']:,}",
        WHAT[row["engine"]],
        f"{row['p50_ms']:.2f}",
        f"{row['p99_ms']:.1f}",
        f"{row['cpu_ms']:.2f}",
        f"{row['recall_at_1']:.4f}",
        f"{row['added_fnir']:.4f}",
        f"{row['load_s']:.2f}",
        reload_s,
        f"{row['rss_bytes'] / 1e6:.0f}",
    )
    return "| " + " | ".join(cells) + " |"


def draw(kept: dict[str, Any], path: Path) -> None:
    """Panels over the number of references: time of a search, memory, time until ready, recall."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from kiosk.evaluation.plots import COLOURS, STYLE

    found = [row for row in kept["rows"].values() if row["crowd"] == "drawn" and "failed" not in row]
    rows = [{**row, "missed": 1 - row["recall_at_1"]} for row in found]
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(2, 3, figsize=(14, 7.4), layout="constrained")
        for (key, (title, unit)), axis in zip(PANELS.items(), axes.flat, strict=True):
            for number, engine in enumerate(WHAT):
                line = sorted((row["size"], row[key] / unit) for row in rows if row["engine"] == engine)
                ours = engine in OURS
                if line:
                    axis.plot(
                        *zip(*line, strict=True), label=WHAT[engine], color=COLOURS[number % len(COLOURS)],
                        marker="o" if ours else "s", markersize=4, linewidth=2.6 if engine == "int8" else 1.2,
                        linestyle="-" if ours else "--", zorder=3 if ours else 2,
                    )  # fmt: skip
            axis.set(xscale="log", title=title, xlabel="references")
            axis.set_yscale("linear" if key == "missed" else "log")
            axis.grid(visible=True)
            if key in GOALS:
                axis.axhline(GOALS[key], color="#444444", linewidth=1.0, linestyle=":")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="", help="references, such as 1000,10000,50000; none: only write")
    parser.add_argument("--engines", default=",".join((*OURS, *PEERS)), help="default: all of them")
    parser.add_argument("--searches", type=int, default=1000, help="probes an engine and size (default 1000)")
    parser.add_argument("--cores", type=int, default=1, help="processors that each may use (default 1)")
    parser.add_argument("--real", type=Path, help="a manifest of pictures: the crowd is mixed of its people")
    parser.add_argument(
        "--check", type=Path, help="a manifest of pictures: hold both crowds against them, and end"
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "out" / "search", help="folder for search.json and .md"
    )
    parser.add_argument("--draw", type=Path, help="draw what was measured so far as this PNG file")
    options = parser.parse_args()
    if options.check:
        check(options.check)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    store = options.out / "search.json"
    kept: dict[str, Any] = json.loads(store.read_text("utf-8")) if store.exists() else {"rows": {}}
    kept["machine"] = {"cores": os.cpu_count(), "python": platform.python_version()}
    with tempfile.TemporaryDirectory() as folder:
        real = None
        if options.real:
            real = Path(folder) / "real.npy"
            np.save(real, one_each(*embedded(options.real)))
        crowd = "mixed" if real else "drawn"
        for size in map(int, filter(None, options.sizes.split(","))):
            for engine in options.engines.split(","):
                row = measured(engine, size, options.searches, options.cores, real)
                kept["rows"][f"{crowd} {size} {engine}"] = {**row, "crowd": crowd}
                store.write_text(json.dumps(kept, indent=2) + "\n", "utf-8")
                print(row.get("failed") or line(row), flush=True)
    (options.out / "search.md").write_text(as_markdown(kept), "utf-8")
    if options.draw:
        draw(kept, options.draw)


if __name__ == "__main__":
    main()
