"""A kiosk process to be killed: the product's own wiring, and a payer who stands there and always says yes.

Journal, outbox, workers, sockets, signatures and kernel are those of `kiosk run`; the look alone is given, so
that a process pays some tens of times a second. It sells (offline where nobody answers the door) and gives
back until somebody ends it, and says each end on a line: `17 Approved REF`, `asks REF MINOR`.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kiosk.app.aftersale import AfterSale
from kiosk.app.kernel import LookDone
from kiosk.app.unattended import earlier_end, pay_once, resolve_open
from kiosk.app.wiring import Books, open_base, open_books
from kiosk.app.workers import SystemClock
from kiosk.domain.decision import Candidate, LookOutcome
from kiosk.domain.errors import OperatorError
from kiosk.domain.money import Money
from kiosk.domain.payment import Order, Payer, Result

TOKEN = "pyr-kill0001"
AMOUNT = Money(3850, "CNY")
REFUNDS = 0.5
"""How often a sale is followed by a refund of one of the newest."""


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
    parser.add_argument("--seed", type=int, default=0, help="what is given back, and how much of it")
    parser.add_argument("--resolve-s", type=float, default=0.0, help="sell nothing; finish what is open")
    parser.add_argument("--hurry", type=int, default=1)
    options = parser.parse_args()
    clock = Hurried(options.hurry)
    with open_base(options.folder, None) as base, open_books(base) as books:
        kernel, dice = books.kernel, random.Random(options.seed)
        kernel._looker, kernel._people, kernel._clock = Eye(), People(), clock  # type: ignore[assignment]
        books.outbox._clock = clock
        sale = AfterSale(kernel, books.journal, books.outbox, clock)
        if options.resolve_s:
            wait_s = options.resolve_s * options.hurry
            left = resolve_open(kernel, clock=clock, wait_s=wait_s)
            sys.exit(0 if sale.wait(books.outbox.waiting(), wait_s) and not left else 1)
        _say("ready")
        for number in itertools.count(options.first):
            order = Order(f"K-{number}", AMOUNT, "Shop")
            state = earlier_end(kernel, order, clock=clock, resolve_s=0.05)
            state = state or pay_once(kernel, order, clock=clock, resolve_s=0.4)
            kernel.keeps_screen = False
            _say(f"{number} {type(state).__name__} {getattr(state, 'ref', '-')}")
            if dice.random() < REFUNDS:
                _give_back(books, sale, dice)


def _give_back(books: Books, sale: AfterSale, dice: random.Random) -> None:
    """One of the newest sales, all that is left of it or a part; often nobody waits for the answer."""
    newest = books.journal.payments(8)
    approved = [entry for entry in newest if entry.answer and entry.answer.result is Result.APPROVED]
    if not approved:
        return
    entry = dice.choice(approved)
    part = None if dice.random() < 0.5 else Money(dice.randrange(1, AMOUNT.minor), "CNY")
    try:
        plan = sale.plan(entry, part)
        _say(f"asks {entry.ref} {plan.amount.minor}")
        task = sale.refund(entry, part, "customer", approved_by=7)
    except OperatorError:  # one is open, too little is left, or it waits for its advice
        return
    if dice.random() < 0.5:
        sale.wait({task.key}, 0.2)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
