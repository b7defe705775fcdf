"""One shop and one acquirer in virtual time, with every fault that a seed can name.

Real: kernel, payment machine, journal and ledger (SQLite, every statement), messages, the acquirer's rules;
in signed schedules also signatures, the sandbox's HTTP and both databases as files. Simulated: time, network,
the look; in the others also the disks: databases in memory that outlive their process with what it committed.
"""

from __future__ import annotations

import heapq
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from kiosk.acquirer import journal as journal_module
from kiosk.acquirer.client import Lost, Reply, Unsent, Verified
from kiosk.acquirer.journal import Journal
from kiosk.acquirer.journal_chain import Draft
from kiosk.acquirer.messages import Exchange, Terminal
from kiosk.app.kernel import TICK_MS, Kernel, LookDone, Setting
from kiosk.domain.decision import Candidate, FalseMatchBound, LookOutcome, Thresholds
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import Limits, Policy
from kiosk.domain.money import Money
from kiosk.domain.payment import (
    Answer,
    Cancel,
    Confirm,
    Done,
    Event,
    Identified,
    Idle,
    Looking,
    Means,
    Offer,
    Open,
    Order,
    PayAnotherWay,
    Payer,
    PayWithFace,
    Result,
    Reversing,
    State,
    Tick,
    Unknown,
)
from kiosk.sandbox import ledger as ledger_module
from kiosk.sandbox.authorise import Authoriser
from kiosk.sandbox.ledger import Ledger

from .wire import HURTS, Keys, Packet, SealedWire, SignedWire

__all__ = ["Parts", "Place", "Violation", "World", "play"]

NOON: Final = 1_800_014_400.0
"""Noon in UTC: a sandbox's day is far from its end, a clock that jumps comes to another one."""
AMOUNT: Final = Money(3850, "CNY")
ORDERS: Final = 3
SETTING: Final = Setting(
    Terminal("M-1", "S-1", "T-1", "test", "Shop"),
    Policy(1, int(NOON) + 86_400, "CNY", "Pay", "LIC-1", True, Limits(per_payment=20_000)),
    Limits(),
    Thresholds(0.5, 0.4, 0.05, 0.01, FalseMatchBound((0.4, 0.5), (1e-3, 1e-4))),
    ZoneInfo("Asia/Shanghai"),
)
PROBE: Final = np.ones(1, np.float32)
HEALED_MS: Final = 60 * 60_000
"""When the network works again, nothing may stay open longer than this: the longest wait is 5 minutes."""
LATE_MS: Final = ((1_500, 45_000), (45_000, 66_000))
"""A late request: beside other calls, or with the reversal, and about when its signature is too old."""
ANSWER_MS: Final = 15_000
"""The client's own time-out."""


class Violation(Exception):  # noqa: N818 - it is a finding, not a failure of the program
    """Money was lost or doubled, or an order is stuck. `kind` is one of `__main__.ZEROS`."""

    def __init__(self, kind: str, what: str) -> None:
        self.kind = kind
        super().__init__(f"{kind}: {what}")


class KioskDied(BaseException):
    """The kiosk's process ends here and now."""


class AcquirerDied(BaseException):
    """The acquirer's process ends here and now."""


# --- two disks ------------------------------------------------------------------------------------------


class Disk(sqlite3.Connection):
    """A database in memory that outlives the process that has it open."""

    def close(self) -> None:
        """The process is gone, the disk is not."""


class Place:
    """What schedules share so that each starts quickly: keys, the lock's folder, two disks in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = Keys(folder)
        self._journal, self._ledger = (
            sqlite3.connect(":memory:", isolation_level=None, factory=Disk) for _ in range(2)
        )
        self._journal.row_factory = sqlite3.Row
        self._journal.executescript(journal_module.SCHEMA + journal_module.MARKS)
        self._ledger.executescript(ledger_module.SCHEMA)
        self._tables = [
            name for (name,) in self._ledger.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        ]

    def empty_disks(self) -> tuple[Disk, Disk]:
        """Empty, with every statement still prepared: schemas made anew would take longer than a payment.

        Nothing can be deleted from a journal, so that all that a schedule writes is inside a transaction of
        ours which is rolled back. Each write of the journal is one statement, all or nothing, so that this
        changes nothing for it; a journal that began a transaction of its own would fail here at once.
        """
        if self._journal.in_transaction:
            self._journal.execute("ROLLBACK")
        self._journal.execute("BEGIN")
        for table in self._tables:
            self._ledger.execute(f"DELETE FROM {table}")  # noqa: S608
        return self._journal, self._ledger

    def no_files(self) -> None:
        """Remove the databases of a schedule that used files."""
        for path in self.folder.glob("*.sqlite*"):
            path.unlink()


class DiskJournal(Journal):
    """The journal on such a disk, which fills up, in a process that dies before or after a write.

    A write that failed may be there all the same for the next process (the disk had it, and its word for that
    did not come), unless another one took its place: `World.ghost`.
    """

    def __init__(self, path: Path, world: World, disk: Disk | None) -> None:
        self.world, self._disk = world, disk
        super().__init__(path, now=world._kiosk_clock.utc_s)
        if world.ghost is not None:
            drafts, world.ghost = world.ghost, None
            kind = drafts[0].kind
            world.note(f"journal: the {kind} that failed is there", f"failed {kind} is there")
            super()._append(*drafts)

    def _open(self) -> sqlite3.Connection:
        if self._disk is None:
            return super()._open()
        self._db = self._disk
        return self._db

    def _erase(self) -> None:
        if self._disk is None:  # a checkpoint can't be made inside a transaction
            super()._erase()

    def _append(self, *drafts: Draft) -> None:
        kind = drafts[0].kind
        self.world.kiosk_may_die(f"before {kind} is written")
        if self.world.fault(0.03):
            self.world.note(f"journal: disk full at {kind}", "disk full")
            if self.world.fault(0.4):
                self.world.ghost = drafts
                self.world.ghosts.add(drafts[0].ref)
            raise OperatorError("the journal can't be written (disk full)")
        super()._append(*drafts)
        self.world.ghost = None
        self.world.kiosk_may_die(f"after {kind} is written")


class DiskLedger(Ledger):
    """The ledger on such a disk, in a process that dies before or after a commit."""

    def __init__(self, path: Path, world: World, disk: Disk | None) -> None:
        self.world = world
        if disk is None:
            super().__init__(path)
        else:
            self._path, self._db = path, disk

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with super().transaction():
            yield
            if self.world.fault(0.01):
                self.world.note("acquirer: disk full", "disk full")
                raise sqlite3.OperationalError("disk full")
            self.world.acquirer_may_die("before commit")
        self.world.acquirer_may_die("after commit")
        if self.world.fault(0.005):
            self.world.note("acquirer: committed, and can't tell", "committed and told an error")
            raise OperatorError("the ledger can't be used (I/O error)")


# --- the parts that are not there -----------------------------------------------------------------------


class KioskClock:
    """The kiosk's clocks: monotonic starts anew with each process, the time of day may be wrong."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.booted_ms, self.off_s = 0, 0.0

    def monotonic_ms(self) -> int:
        return self._world.ms - self.booted_ms

    def utc_s(self) -> float:
        return NOON + self._world.ms / 1000 + self.off_s


class AcquirerClock:
    """The acquirer's clocks are right."""

    def __init__(self, world: World) -> None:
        self._world = world

    def monotonic_ms(self) -> int:
        return self._world.ms

    def utc_s(self) -> float:
        return NOON + self._world.ms / 1000


class Till:
    """What the till was told, over all restarts."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.ends: dict[str, set[Result]] = {}

    def concluded(self, order: Order, ref: str, result: Result, answer: Answer) -> None:
        self._world.kiosk_may_die("before the till is told")
        self.ends.setdefault(ref, set()).add(result)
        self._world.note(f"till: {self._world.short(ref)} {order.order_ref} {result} {answer.code}")

    def handed_back(self, order: Order) -> None:
        if self._world.ledger.is_paid("M-1/S-1", order.order_ref):
            raise Violation("double_debit", f"{order.order_ref} was handed back to the till and is paid")
        self._world.note(f"till: {order.order_ref} handed back")

    def not_to_be_paid(self, order: Order) -> None:
        """Nothing to check: it is the careful answer."""


class Eye:
    """The camera's worker: a look's result comes when somebody at the screen is looking."""

    look = 0

    def start(self, look: int, tell: object) -> None:
        self.look = look

    def stop(self) -> None:
        """The camera goes off."""


class People:
    version = 1

    def search(self, probe: object, digits: str | None) -> tuple[Candidate, ...]:
        return (Candidate("ming", 0.9),)

    def searched(self, digits: str | None) -> int:
        return 1

    def payer(self, token: str) -> Payer:
        return Payer(token, "*ming", "•••• 1234", "consent-v1")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a test may swap for something broken, to see that the books notice."""

    kernel: type[Kernel] = Kernel
    journal: type[DiskJournal] = DiskJournal
    authoriser: type[Authoriser] = Authoriser


@dataclass
class Weather:
    """How bad the network is: chances for each message."""

    refused: float = 0.0
    lost: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    hurt: float = 0.0
    swapped: float = 0.0
    held: float = 0.0

    @classmethod
    def drawn(cls, dice: random.Random) -> Weather:
        force = dice.choice((0.3, 1.0, 2.5))
        return cls(*(force * chance for chance in (0.05, 0.15, 0.12, 0.15, 0.06, 0.02, 0.05)))


FINE: Final = Weather()


# --- the world ------------------------------------------------------------------------------------------


class World:
    """One schedule: a kiosk and an acquirer that die and come back, and a network; all out of one seed."""

    def __init__(
        self, dice: random.Random, place: Place, *, signed: bool = False, parts: Parts | None = None,
        trace: list[str] | None = None,
    ) -> None:  # fmt: skip
        self.dice, self._place, self._parts, self.trace = dice, place, parts or Parts(), trace
        self.ms, self.healthy = 0, False
        self.met: Counter[str] = Counter()
        self.ghost: tuple[Draft, ...] | None = None
        self.ghosts: set[str] = set()
        self.weather = Weather.drawn(dice)
        self._flights: list[tuple[int, int, int, Callable[[], None]]] = []
        self._life = self._number = 0
        self._network = 0
        self._refs: dict[str, str] = {}
        self._answers: list[Packet] = []
        self.till = Till(self)
        self._kiosk_clock, self._acquirer_clock = KioskClock(self), AcquirerClock(self)
        self._disks = (None, None) if signed else place.empty_disks()
        wire = SignedWire if signed else SealedWire
        self.wire = wire(place.keys, self._kiosk_clock, self._acquirer_clock)
        self._deadly = dice.choice((0.0, 0.01, 0.04))
        self._start_acquirer()
        self.boot()

    # --- faults -----------------------------------------------------------------------------------------

    def fault(self, chance: float) -> bool:
        return not self.healthy and self.dice.random() < chance

    def note(self, line: str, met: str = "") -> None:
        if met:
            self.met[met] += 1
        if self.trace is not None:
            self.trace.append(f"{self.ms / 1000:10.3f}  {line}")

    def short(self, ref: str) -> str:
        return self._refs.setdefault(ref, f"#{len(self._refs) + 1}")

    def kiosk_may_die(self, where: str) -> None:
        if self._deadly and self.fault(self._deadly):
            self.kill_kiosk(where)

    def kill_kiosk(self, where: str) -> None:
        self.note(f"kiosk: killed {where}", f"kiosk killed {where}")
        raise KioskDied

    def acquirer_may_die(self, where: str) -> None:
        if self._deadly and self.fault(2 * self._deadly):
            self.note(f"acquirer: killed {where}", f"acquirer killed {where}")
            raise AcquirerDied

    def kill_acquirer(self) -> None:
        """Its memory is gone; it is back after a while, and does not know what was signed before."""
        self._up = False
        self.later(self.dice.choice((0, 1_000, 20_000, 200_000)), self._start_acquirer, life=0)

    def _start_acquirer(self) -> None:
        self._up = True
        if hasattr(self, "ledger"):
            self.ledger.close()
        self.ledger = DiskLedger(self._place.folder / "ledger.sqlite", self, self._disks[1])
        clock: Any = self._acquirer_clock
        self.wire.start(
            self._parts.authoriser(
                self.ledger, self._place.keys.policy, self._place.folder, clock, mode="test"
            )
        )
        self.note("acquirer: up")

    def replace_network(self) -> None:
        """Another network: what was under way in the old one never arrives."""
        self.note("network: replaced", "network replaced")
        self._network += 1
        self.weather = Weather.drawn(self.dice)

    def jump_clock(self, off_s: float) -> None:
        """The kiosk's time of day is `off_s` seconds wrong from now on."""
        self.note(f"kiosk: clock is {off_s:+.0f} s off", "clock jumped")
        self._kiosk_clock.off_s = off_s

    # --- the kiosk's process ----------------------------------------------------------------------------

    def boot(self) -> None:
        """A new process on the same folder."""
        while True:
            self._life += 1
            self._kiosk_clock.booted_ms = self.ms
            self.eye = Eye()
            self.journal = self._parts.journal(self._place.folder / "journal.sqlite", self, self._disks[0])
            try:
                self.kernel = self._parts.kernel(
                    SETTING,
                    clock=self._kiosk_clock,
                    journal=self.journal,
                    acquirer=self,
                    looker=self.eye,
                    people=People(),  # type: ignore[arg-type]
                    till=self.till,
                )
            except KioskDied:
                self.journal.close()
            else:
                self.note(f"kiosk: up, {len(self.kernel.behind)} open")
                return

    def alive(self, act: Callable[[], None]) -> None:
        """Do something; if the process dies of it, everything in its memory and its sockets is gone."""
        try:
            act()
            queue = self.kernel._queue
            while not queue.empty():
                self.kiosk_may_die("between two messages")
                message = queue.get()
                assert message is not None
                self.kernel.handle(message)
        except KioskDied:
            self.journal.close()
            self.boot()

    def press(self, event: Event) -> None:
        if self.trace is not None:
            self.note(f"screen: {event} on {type(self.kernel.state).__name__}")
        self.alive(lambda: self.kernel.handle(event))

    # --- the network ------------------------------------------------------------------------------------

    def submit(self, exchange: Exchange, done: Callable[[Reply], None], *, behind: bool) -> None:
        """The worker and the network; the kernel calls it."""
        self.kiosk_may_die(f"before {exchange.operation} is sent")
        what, life = f"{exchange.operation} {self.short(exchange.ref)}", self._life
        weather = FINE if self.healthy else self.weather
        if not self._up or self.fault(weather.refused):
            self.note(f"network: {what} refused", "refused")
            self.later(self.dice.randrange(3_100), lambda: done(Unsent("refused")), life=life)
            return
        packet = self.wire.sign(exchange)
        answered = False

        def hear(reply: Reply) -> None:
            nonlocal answered
            if not answered:
                answered = True
                if self.trace is not None:
                    word = (
                        f" {reply.answer.result} {reply.answer.code}" if isinstance(reply, Verified) else ""
                    )
                    self.note(f"kiosk: {what} -> {type(reply).__name__}{word}")
                done(reply)

        deliveries = 0 if self.fault(weather.lost) else 2 if self.fault(weather.doubled) else 1
        if deliveries != 1:
            self.note(
                f"network: {what} delivered {deliveries} times", "lost" if not deliveries else "doubled"
            )
        for _ in range(deliveries):
            late = self.fault(weather.late)
            if late:
                self.met["late"] += 1
            delay = self.dice.randrange(*self.dice.choice(LATE_MS) if late else (1_500,))
            sent = self._hurt(packet, what, HURTS[:-1])
            self._fly(delay, lambda sent=sent: self._arrive(packet, sent, what, hear, life), life=0)  # type: ignore[misc]
        self.later(ANSWER_MS, lambda: hear(Lost("no answer")), life=life)
        self.kiosk_may_die(f"after {exchange.operation} is sent")

    def _arrive(
        self, packet: Packet, sent: Packet, what: str, hear: Callable[[Reply], None], life: int
    ) -> None:
        """A request reaches the acquirer, which may be slow with it."""
        if not self._up:
            self.note(f"acquirer: {what} reaches nobody")
            return
        if packet.exchange.operation != "status" and self.fault(self.weather.held):
            self.note(f"acquirer: {what} is in flight", "held")
            self.wire.hold(packet)

            def treat() -> None:
                self.wire.release(packet)
                self._treat(packet, sent, what, hear, life)

            self.later(self.dice.choice((100, 5_000, 30_000)), treat, life=0)
        else:
            self._treat(packet, sent, what, hear, life)

    def _treat(
        self, packet: Packet, sent: Packet, what: str, hear: Callable[[Reply], None], life: int
    ) -> None:
        if not self._up:
            return
        try:
            self.acquirer_may_die("at arrival")
            answer = self.wire.treat(sent, decline=self.fault(0.08))
        except AcquirerDied:
            self.kill_acquirer()
            return
        self.note(f"acquirer: {what} -> {answer.status}")
        weather = FINE if self.healthy else self.weather
        if self.fault(weather.lost):
            self.note(f"network: answer to {what} lost", "answer lost")
            return
        if self._answers and self.fault(weather.swapped):
            self.note(f"network: answer to {what} is an old one", "replayed answer")
            answer = self.dice.choice(self._answers)
        elif not self.healthy:
            self._answers.append(answer)
        heard = self._hurt(answer, f"answer to {what}", HURTS[:2] + HURTS[3:])
        delay = self.dice.randrange(30_000 if self.fault(weather.late) else 1_500)
        self._fly(delay, lambda: hear(self.wire.hear(packet, heard)), life=life)

    def _hurt(self, packet: Packet, what: str, ways: tuple[str, ...]) -> Packet:
        if not self.fault(self.weather.hurt):
            return packet
        how = self.dice.choice(ways)
        self.note(f"network: {what} hurt ({how})", "corrupted")
        return self.wire.hurt(packet, how, self.dice.random())

    def _fly(self, ms: int, act: Callable[[], None], *, life: int) -> None:
        """`act` after `ms`, unless the network was replaced meanwhile."""
        network = self._network

        def land() -> None:
            if network == self._network:
                act()

        self.later(ms, land, life=life)

    def later(self, ms: int, act: Callable[[], None], *, life: int) -> None:
        """`act` after `ms`; only if the kiosk's process `life` still lives (0: the acquirer's, always)."""
        self._number += 1
        heapq.heappush(self._flights, (self.ms + ms, self._number, life, act))

    # --- time -------------------------------------------------------------------------------------------

    def pass_ms(self, ms: int) -> None:
        """Let time pass. The kernel is handed the ticks at which something is due: others change nothing."""
        end = self.ms + ms
        while True:
            tick = self._next_tick()
            flight = self._flights[0][0] if self._flights else end + 1
            now = min(tick, flight)
            if now > end:
                self.ms = end
                return
            self.ms = max(self.ms, now)
            if flight <= tick:
                _, _, life, act = heapq.heappop(self._flights)
                if not life:
                    act()
                elif life == self._life:
                    self.alive(act)
            else:
                self.alive(self._tick)

    def _tick(self) -> None:
        self.kernel.handle(Tick())

    def _next_tick(self) -> int:
        """The first tick (every `TICK_MS` of the process) at which a time-out is over."""
        state = self.kernel.state
        due = _due(state)
        for waiting in self.kernel.behind.values():
            due = min(due, waiting.until)
        if due >= 1 << 60:
            return due
        due = max(due, self._kiosk_clock.monotonic_ms() + 1)
        return self._kiosk_clock.booted_ms + -(-due // TICK_MS) * TICK_MS

    # --- people -----------------------------------------------------------------------------------------

    def look(self) -> None:
        """Somebody is before the camera."""
        found = LookDone(self.eye.look, LookOutcome.LIVE, PROBE.copy(), 0.9)
        self.note("screen: a look ends")
        self.alive(lambda: self.kernel.handle(found))

    def offer(self, number: int) -> None:
        self.press(Offer(Order(f"O-{number}", AMOUNT, "Shop")))

    def go_on(self, times: int = 1) -> None:
        """What makes sense on the screen that is shown, often twice."""
        state = self.kernel.state
        if isinstance(state, Looking):
            self.look()
        elif isinstance(state, Identified):
            for _ in range(times):
                self.press(Confirm())
        else:
            self.press(self.dice.choice((PayWithFace(), PayWithFace(), Done())))

    def act(self) -> None:
        """Somebody, or the world, does something."""
        wanted = self.dice.random()
        if isinstance(self.kernel.state, Idle):
            self.offer(self.dice.randrange(ORDERS))
            for _ in range(3 if wanted < 0.7 else 0):  # pay, look, confirm
                self.go_on(self.dice.choice((1, 1, 2)))
        elif wanted < 0.10:
            self.offer(self.dice.randrange(ORDERS))
        elif wanted < 0.80:
            self.go_on(self.dice.choice((1, 1, 2)))
        elif wanted < 0.90:
            self.press(self.dice.choice((Cancel(), Done(), PayAnotherWay(Means.TILL))))
        elif wanted < 0.93:
            self.jump_clock(self.dice.choice((0, 4, -4, 30, -30, 3_600, -86_400, 86_400)))
        elif wanted < 0.95:
            self.replace_network()
        elif wanted < 0.97 and self._deadly:
            self.alive(lambda: self.kill_kiosk("at rest"))
        elif wanted < 0.98 and self._deadly:
            self.note("acquirer: killed at rest", "acquirer killed at rest")
            self.kill_acquirer()

    def run(self) -> None:
        for _ in range(self.dice.choice((8, 14, 30))):
            self.act()
            wait = self.dice.choice((0, 0, 300, 2_000, 9_000, 30_000))
            if wait:
                self.pass_ms(wait)

    def heal(self) -> None:
        """The network works, clocks are right, nobody dies: everything has to come to its end."""
        self.note("-- healed --")
        self.healthy = True
        self._kiosk_clock.off_s = 0.0
        end = self.ms + HEALED_MS
        while self._open() or self._flights:
            if self.ms >= end:
                raise Violation("stuck", f"{self._open() or 'a message'} after an hour of good weather")
            self.pass_ms(5_000)

    def _open(self) -> list[str]:
        state = self.kernel.state
        shown = [self.short(state.ref)] if isinstance(state, Open) else []
        return shown + [self.short(ref) for ref in self.kernel.behind]

    # --- the books --------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Hold what the acquirer debited against what the kiosk knows.

        Raises:
            Violation: they differ, or somebody paid twice.
        """
        if (left := self.journal.open_attempts()) or self.journal.verify() is not None:
            raise Violation("stuck", f"open in the journal: {[self.short(attempt.ref) for attempt in left]}")
        taken: Counter[str] = Counter()
        known = {entry.ref: entry for entry in self.journal.payments(1_000)}
        rows = {row.attempt.ref: row for row in self.ledger.rows()}
        for ref, row in rows.items():
            result, order, name = row.attempt.result, row.attempt.order_ref, self.short(ref)
            taken[order] += row.debited_minor
            self.met[f"attempt {result}"] += 1
            if row.debited_minor != (AMOUNT.minor if result is Result.APPROVED else 0):
                raise Violation("books", f"{name} is {result} and {row.debited_minor} were taken")
            entry = known.get(ref)
            if entry is None or entry.answer is None:
                raise Violation("unknown_approval", f"the kiosk does not know {name}, which is {result}")
            told = entry.answer
            if result is Result.APPROVED and (
                told.result is not result or told.approval != row.attempt.approval
            ):
                raise Violation("unknown_approval", f"{name} is approved; the kiosk says {told}")
        for order, minor in taken.items():
            if minor > AMOUNT.minor:
                raise Violation("double_debit", f"{order}: {minor} of {AMOUNT.minor}")
        for ref, entry in known.items():
            assert entry.answer is not None
            if entry.answer.result is Result.APPROVED and (
                ref not in rows or rows[ref].attempt.result is not Result.APPROVED
            ):
                raise Violation("books", f"the kiosk says approved of {self.short(ref)}, and it is not")
            told_till = self.till.ends.get(ref, set())
            if ref in self.ghosts and entry.answer.result is Result.REVERSED:
                told_till = told_till - {Result.DECLINED}  # not sent, it said: not charged is what both mean
            if told_till != {entry.answer.result}:
                raise Violation(
                    "books", f"{self.short(ref)} is {entry.answer.result}, the till heard {told_till}"
                )
        self.met["attempts"] += len(known)
        (balance,) = self.ledger._db.execute("SELECT coalesce(sum(minor), 0) FROM postings").fetchone()
        if balance:
            raise Violation("books", f"the ledger does not balance: {balance}")


_NEVER: Final = 1 << 60


def _due(state: State) -> int:
    due: int = getattr(state, "until", _NEVER)
    return min(due, state.shown_until) if isinstance(state, Unknown | Reversing) else due


@dataclass
class Played:
    """What came of a schedule."""

    seed: int
    violation: Violation | None
    met: Counter[str]
    virtual_ms: int
    trace: list[str] = field(default_factory=list)


def play(
    seed: int, place: Place, *, signed: bool = False, parts: Parts | None = None, traced: bool = False
) -> Played:
    """One schedule from its first order to the audit. A crash that is no simulated one is a violation too."""
    trace: list[str] | None = [] if traced else None
    world = World(random.Random(seed), place, signed=signed, parts=parts, trace=trace)
    violation: Violation | None = None
    try:
        world.run()
        world.heal()
        world.settle()
    except Violation as found:
        violation = found
    except Exception as bug:
        violation = Violation("crash", repr(bug))
        violation.__cause__ = bug
    finally:
        world.journal.close()
        world.ledger.close()
        if signed:
            place.no_files()
    return Played(seed, violation, world.met, world.ms, trace or [])
