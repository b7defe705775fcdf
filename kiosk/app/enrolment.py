"""Enrolment at the acquirer: a person's consent and sealed template for a token, and then their place here.

The template goes out sealed for the acquirer alone. One frozen request is sent until there is a word, so that
a lost answer enrols nobody twice; who could not be kept here is withdrawn there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from kiosk.acquirer.client import Lost, Reply, Told, Unsent
from kiosk.acquirer.journal import Journal
from kiosk.acquirer.jwe import TEMPLATE_TYP, seal
from kiosk.acquirer.messages import Exchange, Terminal, new_ref
from kiosk.acquirer.operations import ConsentMessage, EnrolmentAnswer, enrolment_request
from kiosk.domain.limits import PinKey
from kiosk.domain.ports import Clock

__all__ = ["PAUSES_S", "ask", "freeze_enrolment"]

PAUSES_S: Final = (1.0, 2.0, 5.0, 10.0)
"""Between tries: somebody stands there and waits."""


class Sender(Protocol):
    """`AcquirerClient`, or what stands for it."""

    def send(self, exchange: Exchange) -> Reply: ...


def freeze_enrolment(
    terminal: Terminal,
    reference: NDArray[np.float32],
    consent: ConsentMessage,
    *,
    account: str,
    model_id: str,
    key: PinKey,
    journal: Journal,
    clock: Clock,
    timezone: ZoneInfo,
) -> Exchange:
    """The request for one person; `reference`: float32[d], L2-normalised; `key`: the policy's.

    Raises:
        OperatorError: an account or model that the protocol does not carry, or a key that is none.
    """
    ref, now = new_ref(clock), clock.utc_s()
    day = datetime.fromtimestamp(max(now, journal.latest_s()), timezone).date()
    return enrolment_request(
        terminal,
        ref,
        consent=consent,
        template=seal(reference.astype("<f4").tobytes(), TEMPLATE_TYP, ref, key),
        model_id=model_id,
        account=account,
        sequence=journal.next_sequence(),
        batch=journal.batch(day),
        created_utc=now,
        previous=journal.last_hash,
    )


def ask(
    acquirer: Sender, exchange: Exchange, pause: Callable[[float], None] = time.sleep
) -> tuple[EnrolmentAnswer | None, str]:
    """Send the same bytes until there is a word, five times at most: the answer, or why there is none."""
    why = ""
    for pause_s in (*PAUSES_S, None):
        match acquirer.send(exchange):
            case Told(EnrolmentAnswer() as answer):
                return answer, ""
            case Lost(found) | Unsent(found):
                why = found
            case _:
                why = "another answer than was asked for"
        if pause_s is not None:
            pause(pause_s)
    return None, why
