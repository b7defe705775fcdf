"""One engine, one crowd, in a process and an environment of its own: prints its figures as JSON.

    worker.py ENGINE SIZE SEARCHES CORES [REAL.npy]

REAL.npy holds float32[n, 192], embeddings that the crowd is mixed of. `compare.py` starts it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from kiosk.domain.decision import Candidate
from kiosk.gallery.crowd import Crowd, measure
from kiosk.gallery.matcher import Vectors
from kiosk.gallery.template import TEMPLATE_SIZE, Template

LINKS, EF_BUILD, EF = 16, 200, 1024
"""Of every graph, as of the kiosk's: links of a node, candidates while building and while searching."""
IVF_PROBED = 1 / 8
"""Part of the lists that are looked through."""
TRAINED_ON = 100_000


class Peer:
    """A library's index as a matcher of one reference a person; people are numbered as they come."""

    def __init__(self, index: Any, save: Callable[[str], Any], load: Callable[[str], Any]) -> None:
        self.index, self.save, self.load = index, save, load
        self.train_s = 0.0

    def search(self, probe: Template, k: int) -> tuple[Candidate, ...]:
        scores, rows = self.index.search(probe.vector[None], k)
        return tuple(Candidate(str(row), float(score)) for row, score in zip(rows[0], scores[0], strict=True))

    def add(self, people: Mapping[str, Vectors]) -> None:
        self.index.add(np.concatenate(list(people.values())))

    def reload_s(self) -> float:
        """From the library's own file to ready. What a kiosk keeps is sealed: it has no such file."""
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "index")
            self.save(path)
            began = time.perf_counter()
            self.load(path)
            return time.perf_counter() - began


class USearch(Peer):
    """usearch gives distances, 1 - cosine, and names its rows by keys."""

    def __init__(self, dtype: str, *, exact: bool) -> None:
        from usearch.index import Index

        index = Index(
            ndim=TEMPLATE_SIZE, metric="cos", dtype=dtype, connectivity=LINKS,
            expansion_add=EF_BUILD if not exact else 1, expansion_search=EF,
        )  # fmt: skip
        super().__init__(index, index.save, Index.restore)
        self._exact = exact

    def add(self, people: Mapping[str, Vectors]) -> None:
        keys = np.fromiter(map(int, people), np.uint64, len(people))
        self.index.add(keys, np.concatenate(list(people.values())))

    def search(self, probe: Template, k: int) -> tuple[Candidate, ...]:
        found = self.index.search(probe.vector, k, exact=self._exact)
        return tuple(
            Candidate(str(key), 1 - float(distance))
            for key, distance in zip(found.keys, found.distances, strict=True)
        )


def faiss(recipe: str, crowd: Crowd) -> Peer:
    """`recipe` as faiss's index_factory reads it; what has to be trained is trained on the crowd's first."""
    import faiss as library

    index = library.index_factory(TEMPLATE_SIZE, recipe, library.METRIC_INNER_PRODUCT)
    peer = Peer(index, lambda path: library.write_index(index, path), library.read_index)
    if "HNSW" in recipe:
        index.hnsw.efConstruction, index.hnsw.efSearch = EF_BUILD, EF
    if "IVF" in recipe:
        index.nprobe = max(1, round(index.nlist * IVF_PROBED))
    if not index.is_trained:
        sample: list[Vectors] = []
        for start, block in crowd.blocks():
            if start >= TRAINED_ON:
                break
            sample.append(block)
        began = time.perf_counter()
        index.train(np.concatenate(sample))
        peer.train_s = time.perf_counter() - began
    return peer


def of_the_kiosk(engine: str, size: int) -> Any:
    from kiosk.gallery.gallery import Engine, new_matcher

    return new_matcher(Engine(engine), size)


def made(engine: str, crowd: Crowd) -> tuple[Any, str]:
    """(an empty matcher, the version of what it is made of)."""
    lists = max(16, min(4096, round(4 * crowd.size**0.5)))
    recipes = {
        "faiss-flat": "Flat",
        "faiss-sq8": "SQ8",
        "faiss-pca-sq8": "PCA64,SQ8",
        "faiss-ivf-sq8": f"IVF{lists},SQ8",
        "faiss-hnsw": f"HNSW{LINKS}",
    }
    if engine in recipes:
        return faiss(recipes[engine], crowd), f"faiss {version('faiss-cpu')}"
    if engine.startswith("usearch"):
        return USearch("i8", exact=engine == "usearch-exact"), f"usearch {version('usearch')}"
    library = f", hnswlib {version('hnswlib')}" if engine == "hnsw" else ""
    return of_the_kiosk(engine, crowd.size), f"kiosk, numpy {version('numpy')}{library}"


def main(engine: str, size: str, searches: str, cores: str, real: str = "") -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-int(cores) :])
    crowd = Crowd(int(size), real=np.load(real) if real else None)
    matcher, versions = made(engine, crowd)
    figures = measure(crowd, matcher, engine, int(searches))
    if isinstance(matcher, Peer):
        figures["load_s"] += matcher.train_s
        figures["reload_s"] = matcher.reload_s()
    print(json.dumps({**figures, "versions": versions}))


if __name__ == "__main__":
    main(*sys.argv[1:])
