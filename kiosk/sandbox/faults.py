"""Faults on request: the sandbox misbehaves for the next calls about payments, in earnest.

A socket that is closed is closed, a process that crashes is gone. Written as `NAME[:CALLS]`, and
`delay:SECONDS[:CALLS]`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from kiosk.domain.errors import OperatorError

__all__ = ["Fault", "FaultPlan", "Kind"]


class Kind(StrEnum):
    """What goes wrong with one call."""

    DROP_ANSWER = "drop-answer"
    """Treated, then the connection is closed without a byte."""
    DELAY = "delay"
    """Taken, and treated only after a while; meanwhile it is in flight."""
    BAD_SIGNATURE = "bad-signature"
    """Treated; the answer's signature has one wrong bit."""
    ALTER_BODY = "alter-body"
    """Treated; the answer's content is changed after it was signed."""
    DUPLICATE = "duplicate"
    """The call arrives twice; the kiosk gets the answer to the second arrival."""
    DECLINE = "decline"
    """A payment is declined."""
    CRASH_AFTER_COMMIT = "crash-after-commit"
    """Treated, then the process ends at once."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One call's fault; `seconds` for `delay` only."""

    kind: Kind
    seconds: float = 0.0


class FaultPlan:
    """The faults of the next calls, in order; after them all is well."""

    def __init__(self, texts: list[str]) -> None:
        self._next = deque(fault for text in texts for fault in _read(text))

    def take(self) -> Fault | None:
        return self._next.popleft() if self._next else None


def _read(text: str) -> list[Fault]:
    """`drop-answer:2` is two of them."""
    name, *rest = text.split(":")
    try:
        kind = Kind(name)
        seconds = float(rest.pop(0)) if kind is Kind.DELAY else 0.0
        calls = int(rest.pop(0)) if rest else 1
        if rest or not 1 <= calls <= 10_000 or not (math.isfinite(seconds) and 0 <= seconds <= 600):
            raise ValueError
    except (ValueError, IndexError):
        names = ", ".join(Kind)
        raise OperatorError(
            f"fault {text!r}", do=f"Use NAME[:CALLS] or delay:SECONDS[:CALLS]; the names: {names}."
        ) from None
    return [Fault(kind, seconds)] * calls
