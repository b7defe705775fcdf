"""A kiosk process to be killed: the product's own wiring, and a payer who stands there and always says yes.

Journal, workers, sockets, signatures and kernel are those of `kiosk run`; the look alone is given, so that a
process pays some tens of times a second. It sells until somebody ends it, and says each end on a line.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kiosk.app.kernel import LookDone
from kiosk.app.unattended import earlier_end, pay_once, resolve_open
from kiosk.app.wiring import open_base, open_money
from kiosk.app.workers import SystemClock
from kiosk.domain.decision import Candidate, LookOutcome
from kiosk.domain.money import Money
from kiosk.domain.payment import Order, Payer

TOKEN = "pyr-kill0001"
AMOUNT = Money(3850, "CNY")


class Eye:
    """Whoever presses is seen at once."""

    def start(self, look: int, tell: Callable[[Any], None]) -> None:
        tell(LookDone(look, LookOutcome.LIVE, np.ones(1, np.float32), 0.99))

    def stop(self) -> None:
        """The camera goes off."""


class People:
    version = 1

    def search(self, probe: object, digits: str | None) -> tuple[Candidate, ...]:
        return (Candidate(TOKEN, 0.99),)

    def searched(self, digits: str | None) -> int:
        return 1

    def payer(self, token: str) -> Payer:
        return Payer(token, "*ming", "•••• 1234", "consent-v1")


class Hurried(SystemClock):
    """Waits are shorter by `times`; the time of day is right."""

    def __init__(self, times: int) -> None:
        self._times = times

    def monotonic_ms(self) -> int:
        return super().monotonic_ms() * self._times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first", type=int, default=0, help="the first order's number")
    parser.add_argument("--resolve-s", type=float, default=0.0, help="sell nothing; finish what is open")
    parser.add_argument("--hurry", type=int, default=1)
    options = parser.parse_args()
    clock = Hurried(options.hurry)
    with open_base(options.folder, None) as base, open_money(base) as kernel:
        kernel._looker, kernel._people, kernel._clock = Eye(), People(), clock  # type: ignore[assignment]
        if options.resolve_s:
            left = resolve_open(kernel, clock=clock, wait_s=options.resolve_s * options.hurry)
            sys.exit(1 if left else 0)
        _say("ready")
        for number in itertools.count(options.first):
            order = Order(f"K-{number}", AMOUNT, "Shop")
            state = earlier_end(kernel, order, clock=clock, resolve_s=0.05)
            state = state or pay_once(kernel, order, clock=clock, resolve_s=0.4)
            kernel.keeps_screen = False
            _say(f"{number} {type(state).__name__} {getattr(state, 'ref', '-')}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
