"""Kiosk against acquirer under every fault that a seed can name: money is neither lost nor doubled.

A schedule is one seed: kernel and journal are the real ones, time is virtual, the network drops, delays,
doubles and reorders, the disk fills up, and the process dies between any two steps, also inside a write. At
its end the network heals, and the books of both sides must agree.

    KIOSK_FAULT_SEEDS=20000 pytest tests/app/test_faults.py     many more schedules
    KIOSK_FAULT_SEED=1234 pytest tests/app/test_faults.py       that one again
"""

from __future__ import annotations

import heapq
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from kiosk.acquirer.client import Lost, Reply, ReversalConfirmed, Unsent, Verified
from kiosk.acquirer.journal import Journal
from kiosk.acquirer.messages import Exchange, Terminal
from kiosk.app.kernel import Kernel, LookDone, Setting
from kiosk.domain.decision import Candidate, FalseMatchBound, LookOutcome, Thresholds
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import Limits, Policy
from kiosk.domain.money import Money
from kiosk.domain.payment import (
    Answer,
    Cancel,
    Confirm,
    Done,
    Identified,
    Looking,
    Means,
    Offer,
    Order,
    PayAnotherWay,
    Payer,
    PayWithFace,
    Result,
    Tick,
)

NOON = 1_800_000_000.0
SETTING = Setting(
    Terminal("M-1", "S-1", "T-1", "test", "Shop"),
    Policy(1, int(NOON) + 86_400, "CNY", "Pay", "LIC-1", True, Limits(per_payment=20_000)),
    Limits(),
    Thresholds(0.5, 0.4, 0.05, 0.01, FalseMatchBound((0.4, 0.5), (1e-3, 1e-4))),
    ZoneInfo("Asia/Shanghai"),
)
AMOUNT = Money(3850, "CNY")
SCHEDULES = int(os.environ.get("KIOSK_FAULT_SEEDS", "300"))
CHUNKS = 4


class Died(BaseException):
    """The process ends here and now."""


@dataclass
class Clock:
    ms: int = 0

    def monotonic_ms(self) -> int:
        return self.ms

    def utc_s(self) -> float:
        return NOON + self.ms / 1000


@dataclass
class Bank:
    """The acquirer's rules: idempotent, one approved attempt of an order, a reversal leaves a tombstone."""

    dice: random.Random
    attempts: dict[str, tuple[str, Result]] = field(default_factory=dict)
    postings: list[tuple[str, int]] = field(default_factory=list)
    stored: dict[str, tuple[bytes, Answer]] = field(default_factory=dict)

    def treat(self, exchange: Exchange) -> Reply:
        if exchange.operation == "status":
            if exchange.ref not in self.attempts:
                return Lost("not found", "not_found")
            if self.dice.random() < 0.1:
                return Verified(Answer(Result.PENDING, "in_flight"))
            return Verified(_answer(self.attempts[exchange.ref][1]))
        assert exchange.body is not None
        assert exchange.idempotency_key is not None
        body, answer = self.stored.get(exchange.idempotency_key, (exchange.body, None))
        assert body == exchange.body, "other bytes under the same key"
        content = msgspec.json.decode(body)
        assert (content["ref"], content["amount"]["minor"]) == (exchange.ref, AMOUNT.minor)
        order, result = content["order_ref"], self.attempts.get(exchange.ref, ("", None))[1]
        if exchange.operation == "payment":
            if result is Result.REVERSED:
                return Verified(Answer(Result.DECLINED, "reversed"))
            answer = answer or self._pay(exchange.ref, order)
        else:
            if result is Result.APPROVED:
                self.postings.append((order, -AMOUNT.minor))
            self.attempts[exchange.ref] = order, Result.REVERSED
            answer = Answer(Result.REVERSED)
        self.stored[exchange.idempotency_key] = body, answer
        return ReversalConfirmed() if exchange.operation == "reversal" else Verified(answer)

    def _pay(self, ref: str, order: str) -> Answer:
        paid = (order, Result.APPROVED) in self.attempts.values()
        result = Result.DECLINED if paid or self.dice.random() < 0.1 else Result.APPROVED
        if result is Result.APPROVED:
            self.postings.append((order, AMOUNT.minor))
        self.attempts[ref] = order, result
        return _answer(result)


def _answer(result: Result) -> Answer:
    approved = result is Result.APPROVED
    return Answer(result, str(result), *(("A1B2C3", "000000000001") if approved else ()))


class Till:
    """What the till was told, over all restarts."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.ends: dict[str, set[Result]] = {}

    def concluded(self, order: Order, ref: str, result: Result, answer: Answer) -> None:
        self._world.may_die()
        self.ends.setdefault(ref, set()).add(result)

    def handed_back(self, order: Order) -> None:
        paid = (order.order_ref, Result.APPROVED) in self._world.bank.attempts.values()
        assert not paid, f"{order.order_ref} was handed back and is paid"

    def not_to_be_paid(self, order: Order) -> None:
        """Nothing to check: it is the careful answer."""


class FragileJournal(Journal):
    """The journal on a disk that fills up, in a process that dies before or after a write."""

    world: World

    def _append(self, *args: Any, **kwargs: Any) -> None:
        self.world.may_die()
        if self.world.fault(0.05):
            raise OperatorError("the journal can't be written (disk full)")
        super()._append(*args, **kwargs)
        self.world.may_die()


class Eye:
    """The camera's worker: a look's result comes when somebody at the screen is looking."""

    def __init__(self) -> None:
        self.look = 0

    def start(self, look: int, done: Callable[[LookDone], None]) -> None:
        self.look = look

    def stop(self) -> None:
        """The camera goes off."""


class People:
    version = 1

    def search(self, probe: np.ndarray, digits: str | None) -> tuple[Candidate, ...]:
        return (Candidate("ming", 0.9),)

    def searched(self, digits: str | None) -> int:
        return 1

    def payer(self, token: str) -> Payer:
        return Payer(token, "*ming", "•••• 1234", "consent-v1")


class World:
    """One schedule: a kiosk that dies and comes back, a network, an acquirer; all of it out of one seed."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.dice = random.Random(seed)
        self.folder, self.clock = folder, Clock()
        self.bank, self.till = Bank(self.dice), Till(self)
        self.healthy = False
        self.weather = self.dice.choice((0.5, 1.0, 3.0))
        self.confirmed: set[str] = set()
        self.arrived: set[str] = set()
        self.deaths = Counter[str]()
        self._flights: list[tuple[int, int, int, Callable[[], None]]] = []
        self._life = self._number = 0
        self.boot()

    # --- faults -----------------------------------------------------------------------------------------

    def fault(self, chance: float) -> bool:
        return not self.healthy and self.dice.random() < chance

    def may_die(self) -> None:
        if self.fault(0.01):
            raise Died

    def boot(self) -> None:
        """A new process on the same folder."""
        self._life += 1
        self.eye = Eye()
        self.journal = FragileJournal(self.folder / "journal.sqlite")
        self.journal.world = self
        try:
            self.kernel = self._kernel()
        except Died:
            self.journal.close()
            self.boot()

    def _kernel(self) -> Kernel:
        return Kernel(
            SETTING,
            clock=self.clock,
            journal=self.journal,
            acquirer=self,
            looker=self.eye,
            people=People(),  # type: ignore[arg-type]
            till=self.till,
        )

    def alive(self, act: Callable[[], None]) -> None:
        """Do something; if the process dies of it, everything in its memory and its sockets is gone."""
        try:
            act()
            while not self.kernel._queue.empty():
                self.may_die()
                message = self.kernel._queue.get()
                assert message is not None
                self.kernel.handle(message)
            self.may_die()
        except Died:
            self.deaths[type(self.kernel.state).__name__] += 1
            self.journal.close()
            self.boot()

    # --- the kiosk's parts ------------------------------------------------------------------------------

    def submit(self, exchange: Exchange, done: Callable[[Reply], None], *, behind: bool) -> None:
        """The worker and the network: each delivery may be late, lost, or come twice."""
        self.may_die()
        if exchange.operation == "payment":
            assert exchange.ref in self.confirmed, "sent without a press"
        opened = [attempt.ref for attempt in self.journal.open_attempts()]
        assert exchange.ref in opened, f"{exchange.operation} of what is not open in the journal"
        if self.fault(0.05 * self.weather):
            self.later(self.dice.randrange(3_100), lambda: done(Unsent("refused")), of=self._life)
            return
        answered = False

        def arrive() -> None:
            nonlocal answered
            self.arrived.add(exchange.ref)
            reply = self.bank.treat(exchange)
            if not answered and not self.fault(0.2 * self.weather):
                answered = True
                self.later(self.dice.randrange(1, 4_000), lambda: done(reply), of=self._life)

        def give_up() -> None:
            nonlocal answered
            if not answered:
                answered = True
                done(Lost("no answer"))

        deliveries = 0 if self.fault(0.1 * self.weather) else 2 if self.fault(0.15) else 1
        for _ in range(deliveries):
            late = self.fault(0.15 * self.weather)
            self.later(self.dice.randrange(120_000 if late else 5_000), arrive, of=0)
        if not self.fault(0.1 * self.weather):  # else a worker whose answer comes when nobody waits any more
            self.later(15_000 + self.dice.randrange(3_000), give_up, of=self._life)

    def later(self, ms: int, act: Callable[[], None], *, of: int | None = None) -> None:
        """`act` after `ms`; with a life number only if that process still lives."""
        self._number += 1
        life = self._life if of is None else of
        heapq.heappush(self._flights, (self.clock.ms + ms, self._number, life, act))

    # --- time and people --------------------------------------------------------------------------------

    def pass_ms(self, ms: int, tick_ms: int) -> None:
        end = self.clock.ms + ms
        while self.clock.ms < end:
            due = min(self.clock.ms + tick_ms, end)
            while self._flights and self._flights[0][0] <= due:
                at, _, life, act = heapq.heappop(self._flights)
                self.clock.ms = max(self.clock.ms, at)
                if life in (0, self._life):
                    self.alive(act)
            self.clock.ms = due
            self.alive(lambda: self.kernel.handle(Tick()))

    def press(self) -> None:
        """Somebody at the screen or at the till does something, often what makes sense, and often twice."""
        state, dice = self.kernel.state, self.dice
        wanted = dice.random()
        if wanted < 0.25:
            self.alive(lambda: self.kernel.handle(Offer(Order(f"O-{dice.randrange(3)}", AMOUNT, "Shop"))))
        elif wanted < 0.85:
            if isinstance(state, Looking):
                probe = np.ones(4, np.float32)
                found = LookDone(self.eye.look, LookOutcome.LIVE, probe, 0.9)
                self.alive(lambda: self.kernel.handle(found))
            elif isinstance(state, Identified):
                self.confirmed.add(state.ref)
                for _ in range(dice.choice((1, 1, 2))):
                    self.alive(lambda: self.kernel.handle(Confirm()))
            else:
                self.alive(lambda: self.kernel.handle(dice.choice((PayWithFace(), PayWithFace(), Done()))))
        else:
            event = dice.choice((Cancel(), Done(), PayAnotherWay(Means.TILL)))
            self.alive(lambda: self.kernel.handle(event))

    def run(self) -> None:
        for _ in range(40):
            self.press()
            self.pass_ms(self.dice.choice((0, 0, 500, 2_000, 9_000, 30_000)), 500)
        self.healthy = True
        self.pass_ms(30 * 60_000, 5_000)

    # --- the books --------------------------------------------------------------------------------------

    def settle(self) -> None:
        """What must be true when the network has healed."""
        assert not self.kernel.behind
        assert not self.journal.open_attempts()
        assert self.journal.verify() is None
        taken = Counter[str]()
        for order, minor in self.bank.postings:
            taken[order] += minor
        entries = {entry.ref: entry for entry in self.journal.payments(1_000)}
        assert set(self.bank.attempts) <= set(entries), (
            "the acquirer knows an attempt that the kiosk does not"
        )
        assert self.arrived <= self.confirmed
        for ref, entry in entries.items():
            assert entry.answer is not None
            kiosk, bank = entry.answer.result, self.bank.attempts.get(ref, ("", None))[1]
            if entry.answer.code in ("not_sent", "reversed"):
                assert bank in (None, Result.REVERSED), (ref, entry.answer, bank)
            else:
                assert bank is kiosk, (ref, entry.answer, bank)
            assert self.till.ends.get(ref) == {kiosk}, "the till was told another end, or none"
        for order, minor in taken.items():
            approved = sum(
                entry.order.order_ref == order and entry.answer == _answer(Result.APPROVED)
                for entry in entries.values()
            )
            assert minor == approved * AMOUNT.minor
            assert approved <= 1, f"{order} was paid {approved} times"


@pytest.fixture
def fast_folder() -> Iterator[Path]:
    """In memory where there is such a place: what a power cut does to a disk is the journal's own test."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="kiosk-faults-", dir=memory if memory.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


def play(seed: int, folder: Path) -> World:
    place = folder / str(seed)
    world = World(seed, place)
    try:
        world.run()
        world.settle()
    except Exception as wrong:
        wrong.add_note(f"replay it: KIOSK_FAULT_SEED={seed} pytest {__file__}")
        raise
    finally:
        world.journal.close()
        shutil.rmtree(place)
    return world


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.timeout(0)
def test_no_schedule_of_faults_loses_or_doubles_money(fast_folder: Path, chunk: int) -> None:
    replayed = os.environ.get("KIOSK_FAULT_SEED")
    seeds = range(SCHEDULES) if replayed is None else [int(replayed)]
    worlds = [play(seed, fast_folder) for seed in seeds if seed % CHUNKS == chunk]
    met = Counter[str]()
    for world in worlds:
        met.update(world.deaths)
        met.update(str(result) for _, result in world.bank.attempts.values())
    if replayed is None:  # the faults were there, and so were the payments
        assert met.keys() >= {"approved", "declined", "reversed", "Sent", "Unknown", "Idle"}
