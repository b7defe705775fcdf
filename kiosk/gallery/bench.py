"""What `kiosk bench --only search` measures: the shipped matchers in crowds of several sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from kiosk.domain.errors import OperatorError
from kiosk.gallery.crowd import Crowd, measure
from kiosk.gallery.gallery import Engine, new_matcher

__all__ = ["DEFAULT_SIZES", "search_figures", "search_section"]

DEFAULT_SIZES: Final = (1_000, 10_000, 50_000)


def search_section(sizes: Sequence[int], engine: str, searches: int) -> dict[str, Any]:
    """What `kiosk bench --only search` prints: one size's figures, or those of each size by its number.

    OperatorError for an engine that does not exist.
    """
    if engine not in set(Engine):
        raise OperatorError(f"no engine {engine!r}", do=f"There are: {', '.join(Engine)}.")
    measured = {str(size): search_figures(size, Engine(engine), searches) for size in sizes or DEFAULT_SIZES}
    return measured if len(measured) > 1 else next(iter(measured.values()))


def search_figures(size: int, engine: Engine = Engine.SHIPPED, searches: int = 1000) -> dict[str, Any]:
    """The figures of `kiosk.gallery.crowd.measure` for one of the shipped matchers."""
    return measure(Crowd(size), new_matcher(engine, size), engine.value, searches)
