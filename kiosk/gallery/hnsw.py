"""The fast matcher: an HNSW graph proposes, the exact cosines decide (Malkov and Yashunin, arXiv:1603.09320).

The only file that imports hnswlib. A person whom the graph misses is a false non-match: `kiosk bench --only
search` measures how many, and `EF` is set so that recall@1 stays at 0.999 or more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import hnswlib
import numpy as np
from numpy.typing import NDArray

from kiosk.domain.decision import Candidate
from kiosk.gallery.exact import ExactMatcher
from kiosk.gallery.matcher import Vectors
from kiosk.gallery.template import TEMPLATE_SIZE, Template

__all__ = ["HnswMatcher"]

LINKS = 16
"""hnswlib's M: links of a node on each layer above the lowest."""
EF_BUILD = 200
"""Candidates that are kept while a node is linked."""
EF = 1024
"""Candidates that are kept in a search. Recall@1 among 100,000 of the crowd that `kiosk bench --only search`
makes, 3,000 searches: .990 at 256, .996 at 512, .9997 at 1024."""
SEED = 20261125
_FIRST_CAPACITY = 1024


class HnswMatcher:
    """See `kiosk.gallery.matcher.Matcher`. Nodes are named by the exact matcher's slots.

    The graph is built by one thread, so that the same people in the same order give the same graph. hnswlib
    has no real deletion: a forgotten node is overwritten with a vector of chance, then marked.
    """

    def __init__(self) -> None:
        self._exact = ExactMatcher()
        self._chance = np.random.default_rng(SEED)
        self._graph = _new_graph()

    def __len__(self) -> int:
        return len(self._exact)

    def add(self, people: Mapping[str, Vectors]) -> None:
        if not people:
            return
        self._exact.add(people)
        nodes = np.concatenate([np.r_[self._exact.slots.rows(token)] for token in people])
        self._reserve(self._exact.slots.used)
        vectors = np.concatenate(list(people.values()))
        self._graph.add_items(vectors, nodes.astype(np.uint64))
        vectors.fill(0.0)

    def remove(self, token: str) -> bool:
        if token not in self._exact.slots:
            return False
        nodes = np.r_[self._exact.slots.rows(token)]
        chance = self._chance.standard_normal((len(nodes), TEMPLATE_SIZE)).astype(np.float32)
        chance /= np.linalg.norm(chance, axis=1, keepdims=True)
        self._graph.add_items(chance, nodes.astype(np.uint64))
        for node in nodes:
            self._graph.mark_deleted(node)
        return self._exact.remove(token)

    def wipe(self) -> None:
        self._exact.wipe()
        self._graph = _new_graph()  # the old one's memory is hnswlib's: it is given back, not overwritten

    def search(self, probe: Template, k: int, among: Collection[str] | None = None) -> tuple[Candidate, ...]:
        proposed = k * self._exact.slots.most
        if among is not None or k < 1 or probe.wiped or proposed >= min(EF, self._exact.slots.references):
            return self._exact.search(probe, k, among)
        return self._exact.rank(probe, k, self._propose(probe, proposed))

    def _propose(self, probe: Template, count: int) -> NDArray[np.intp] | None:
        """The slots of the `count` nearest nodes; None where the graph could not reach as many."""
        try:
            slots, _ = self._graph.knn_query(probe.vector, k=count)
        except RuntimeError:  # hnswlib's way to say so; the exact matcher answers instead
            return None
        return np.asarray(slots[0], np.intp)

    def _reserve(self, nodes: int) -> None:
        if nodes > self._graph.get_max_elements():
            self._graph.resize_index(max(nodes, 2 * self._graph.get_current_count()))


def _new_graph() -> hnswlib.Index:
    graph = hnswlib.Index(space="ip", dim=TEMPLATE_SIZE)
    graph.init_index(max_elements=_FIRST_CAPACITY, M=LINKS, ef_construction=EF_BUILD, random_seed=SEED)
    graph.set_num_threads(1)
    graph.set_ef(EF)
    return graph
