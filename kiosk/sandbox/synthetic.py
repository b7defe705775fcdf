"""People who do not exist, straight into the books: for measurements of a gallery's size, never for money.

Their templates are random directions, so that nobody is near anybody, and the same for the same number; their
accounts and tokens say what they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from kiosk.acquirer.messages import encode, utc
from kiosk.acquirer.operations import ConsentMessage
from kiosk.domain.ports import Clock
from kiosk.gallery.template import TEMPLATE_SIZE
from kiosk.sandbox.ledger import Ledger, Person
from kiosk.sandbox.templates import Templates

__all__ = ["PREFIX", "enrol_synthetic"]

PREFIX: Final = "syn-"
YEAR_S: Final = 365 * 86_400
AT_ONCE: Final = 1_000


def enrol_synthetic(
    folder: Path,
    ledger: Ledger,
    clock: Clock,
    number: int,
    *,
    references: int = 1,
    model_id: str,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Enrol so many that `number` of them (`syn-0000000` and on) have enrolled; how many came.

    `references`: 1 to 8 templates each, of the network `model_id`. `progress` is told how many it was each
    time. Who of them withdrew does not come back.
    """
    templates, now = Templates(folder), clock.utc_s()
    consent = encode(
        ConsentMessage(
            text_version="synthetic",
            text_sha256=hashlib.sha256(b"").hexdigest(),
            language="en",
            scope=("pay",),
            given_at=utc(now),
            keep_until=utc(now + YEAR_S),
            of_age=True,
        )
    )
    came = 0
    for start in range(0, number, AT_ONCE):
        count = min(AT_ONCE, number - start)
        faces = np.random.default_rng(start).normal(size=(AT_ONCE, references, TEMPLATE_SIZE))
        faces /= np.linalg.norm(faces, axis=2, keepdims=True)
        with ledger.transaction():
            for face, at in zip(faces.astype(np.float32), range(start, start + count), strict=False):
                token = f"{PREFIX}{at:07d}"
                if ledger.person(token) is None:
                    sealed = templates.seal(token, face)
                    account = f"synthetic-{at}"
                    ledger.enrol(
                        Person(token, now, account, f"consent-{token}", consent, model_id, sealed, None)
                    )
                    came += 1
        progress(count)
    return came
