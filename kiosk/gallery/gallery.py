"""The people enrolled on this kiosk: records, a matcher over their references, a version that counts changes.

A forgotten person is gone from the search and overwritten in memory when `forget` returns. Not thread-safe:
the kernel owns it. `kiosk.gallery.store` keeps it on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from enum import StrEnum
from typing import Final

from kiosk.domain.decision import Candidate
from kiosk.gallery.epoch import Epoch
from kiosk.gallery.exact import ExactMatcher
from kiosk.gallery.hnsw import HnswMatcher
from kiosk.gallery.int8 import Int8Matcher
from kiosk.gallery.matcher import Matcher
from kiosk.gallery.template import PayerRecord, Template

__all__ = ["EXACT_UP_TO", "Engine", "Gallery", "new_matcher"]

EXACT_UP_TO: Final = 5_000
"""References up to which the float32 product is searched, above them the int8 one: both are exact, so this is
a matter of time alone. `kiosk bench --only search`, `--engine exact` and `int8` (docs/adr/0057-search.md)."""

LOADED_AT_ONCE: Final = 10_000
"""People whose references are copied for the matcher at a time."""


class Engine(StrEnum):
    """Which matcher; `SHIPPED` chooses by size."""

    SHIPPED = "shipped"
    EXACT = "exact"
    INT8 = "int8"
    HNSW = "hnsw"


def new_matcher(engine: Engine, references: int) -> Matcher:
    """An empty matcher that suits `references` reference vectors."""
    if engine is Engine.SHIPPED:
        engine = Engine.EXACT if references <= EXACT_UP_TO else Engine.INT8
    return _MATCHERS[engine]()


_MATCHERS: dict[Engine, Callable[[], Matcher]] = {
    Engine.EXACT: ExactMatcher,
    Engine.INT8: Int8Matcher,
    Engine.HNSW: HnswMatcher,
}


class Gallery:
    """Records by token, and who is nearest. The matcher is chosen once, by the size at the start.

    All references must come from one network (`model_id`): another's are refused with a ValueError, because
    their cosines would mean nothing. `epoch`: what they are turned by, and probes have to be; None: they are
    as the network gave them. `neighbours`: tokens of those who resemble another too much for a face alone.
    """

    def __init__(
        self,
        records: Iterable[PayerRecord] = (),
        *,
        version: int = 0,
        engine: Engine = Engine.SHIPPED,
        epoch: Epoch | None = None,
        neighbours: frozenset[str] = frozenset(),
    ) -> None:
        self.epoch, self.neighbours = epoch, neighbours
        self._records: dict[str, PayerRecord] = {}
        self._by_digits: dict[str, dict[str, None]] = {}  # tokens in the order of enrolment
        self._version = version
        people = list(records)
        self._matcher = new_matcher(engine, sum(len(record.references) for record in people))
        for record in people:
            if record.token in self._records:
                raise ValueError(f"token {record.token} is there twice")
            self._check_model(record)
            self._keep(record)
        for start in range(0, len(people), LOADED_AT_ONCE):
            self._search_too(people[start : start + LOADED_AT_ONCE])

    @property
    def version(self) -> int:
        """Counts every enrolment and deletion; payments name it as evidence."""
        return self._version

    def renumber(self, version: int) -> None:
        """Be `version`: what is kept on the disk counts for all who change it."""
        self._version = version

    @property
    def size(self) -> int:
        """How many people are enrolled."""
        return len(self._records)

    @property
    def model_id(self) -> str | None:
        """The network whose templates are held; None while nobody is enrolled."""
        return next((record.model_id for record in self._records.values()), None)

    def records(self) -> tuple[PayerRecord, ...]:
        """Everyone, in the order of enrolment."""
        return tuple(self._records.values())

    def payer(self, token: str) -> PayerRecord | None:
        """What is held of one person."""
        return self._records.get(token)

    def with_digits(self, digits: str) -> tuple[str, ...]:
        """Tokens of those whose phone number ends in `digits`; nobody for an empty text."""
        return tuple(self._by_digits.get(digits, ()))

    def enrol(self, record: PayerRecord) -> None:
        """Add a person; one who is there already is replaced, and their old references are overwritten."""
        self._check_model(record)
        self._drop(record.token)
        self._keep(record)
        self._search_too([record])
        self._version += 1

    def forget(self, token: str) -> bool:
        """Remove a person and overwrite their vectors in memory; False when nobody has that token."""
        if not self._drop(token):
            return False
        self._version += 1
        return True

    def wipe(self) -> None:
        """Overwrite every vector in memory: another gallery takes the place of this one. It is empty then."""
        for record in self._records.values():
            record.wipe()
        self._records.clear()
        self._by_digits.clear()
        self._matcher.wipe()

    def search(self, probe: Template, k: int, among: Collection[str] | None = None) -> tuple[Candidate, ...]:
        """The `k` nearest people, nearest first (`kiosk.gallery.matcher.Matcher.search`)."""
        return self._matcher.search(probe, k, among)

    def _search_too(self, people: Sequence[PayerRecord]) -> None:
        """The references of `people` to the matcher; the copies that they travel in are overwritten."""
        vectors = {record.token: record.vectors() for record in people}
        self._matcher.add(vectors)
        for copied in vectors.values():
            copied.fill(0.0)

    def _keep(self, record: PayerRecord) -> None:
        self._records[record.token] = record
        if record.digits:
            self._by_digits.setdefault(record.digits, {})[record.token] = None

    def _drop(self, token: str) -> bool:
        record = self._records.pop(token, None)
        if record is None:
            return False
        if record.digits:
            del self._by_digits[record.digits][token]
            if not self._by_digits[record.digits]:
                del self._by_digits[record.digits]
        self._matcher.remove(token)
        record.wipe()
        return True

    def _check_model(self, record: PayerRecord) -> None:
        other = next((r for token, r in self._records.items() if token != record.token), record)
        if other.model_id != record.model_id:
            raise ValueError(
                f"templates of {record.model_id} can't join those of {other.model_id}: enrol again"
            )
