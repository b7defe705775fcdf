"""What somebody waits for, and no money hangs on: enrolments, identifications, telemetry.

One frozen request is sent until there is a word, so that a lost answer enrols nobody twice. Templates go out
sealed for the acquirer alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol, TypeVar
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from kiosk.acquirer.client import Lost, Reply, Told, Unsent
from kiosk.acquirer.journal import Journal
from kiosk.acquirer.jwe import TEMPLATE_TYP, seal
from kiosk.acquirer.messages import Exchange, Message
from kiosk.acquirer.operations import Envelope
from kiosk.domain.limits import PinKey
from kiosk.domain.ports import Clock

__all__ = ["PAUSES_S", "ask", "envelope", "sealed_template"]

PAUSES_S: Final = (1.0, 2.0, 5.0, 10.0)
"""Between tries: somebody stands there and waits."""
T = TypeVar("T", bound=Message)


class Sender(Protocol):
    """`AcquirerClient`, or what stands for it."""

    def send(self, exchange: Exchange) -> Reply: ...


def envelope(journal: Journal, clock: Clock, timezone: ZoneInfo) -> Envelope:
    """Where the next request of this kiosk stands in its history. OperatorError: the journal says no."""
    now = clock.utc_s()
    day = datetime.fromtimestamp(journal.not_before(now), timezone).date()
    return {
        "sequence": journal.next_sequence(),
        "batch": journal.batch(day),
        "created_utc": now,
        "previous": journal.last_hash,
    }


def sealed_template(template: NDArray[np.float32], ref: str, key: PinKey) -> str:
    """`template` (float32[d], L2-normalised) for the request `ref`, readable by the holder of `key` alone."""
    return seal(template.astype("<f4").tobytes(), TEMPLATE_TYP, ref, key)


def ask(
    acquirer: Sender, exchange: Exchange, answer: type[T], pause: Callable[[float], None] = time.sleep
) -> tuple[T | None, str]:
    """Send the same bytes until there is an `answer`, five times at most; with None, why there is none."""
    why = ""
    for pause_s in (*PAUSES_S, None):
        match acquirer.send(exchange):
            case Told(message) if isinstance(message, answer):
                return message, ""
            case Lost(found) | Unsent(found):
                why = found
            case _:
                why = "another answer than was asked for"
        if pause_s is not None:
            pause(pause_s)
    return None, why
