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
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from kiosk.acquirer import journal as journal_module
from kiosk.acquirer.client import Lost, Reply, Unsent, Verified
from kiosk.acquirer.journal import Journal, PaymentEntry
from kiosk.acquirer.journal_chain import Draft
from kiosk.acquirer.messages import CeilingTerms, Exchange, OfflineTerms, Terminal, encode
from kiosk.app.aftersale import AfterSale
from kiosk.app.kernel import TICK_MS, Kernel, LookDone, Setting
from kiosk.app.offline import OfflineSales
from kiosk.app.outbox import Outbox
from kiosk.domain.decision import Candidate, FalseMatchBound, LookOutcome, Thresholds
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import Limits, OfflineCaps, PinKey, Policy
from kiosk.domain.money import Money
from kiosk.domain.offline import OfflineSetting
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
    PinEntry,
    Result,
    Reversing,
    State,
    Tick,
    Unknown,
)
from kiosk.domain.pin import Pin, PinTyped
from kiosk.sandbox import ledger as ledger_module
from kiosk.sandbox.authorise import DEFAULT_PIN, Authoriser, Terms
from kiosk.sandbox.ledger import Ledger, LedgerRow
from kiosk.sandbox.sealed import SealedTo

from .wire import HURTS, Keys, Packet, SealedWire, SignedWire

__all__ = ["Parts", "Place", "Violation", "World", "play"]

NOON: Final = 1_800_014_400.0
"""Noon in UTC: a sandbox's day is far from its end, a clock that jumps comes to another one."""
TO_MIDNIGHT_S: Final = 4 * 3_600
"""From `NOON` to the end of the store's day."""
AMOUNTS: Final = (1_200, 3_850, 12_000, 2_500)
"""What each order costs: one is above `PIN_ABOVE`; of the others only the two cheapest fit into `CAP`."""
ORDERS: Final = len(AMOUNTS)
PIN_ABOVE: Final = 10_000
CAP: Final = 5_000
"""Of a person and day, where a schedule has one."""
OFFLINE: Final = OfflineCaps(per_payment=3_000, count=2, total=3_700, age_s=86_400)
TERMS: Final = Terms(
    ceiling=CeilingTerms(per_payment=20_000, pin_above=PIN_ABOVE),
    offline=OfflineTerms(
        per_payment=OFFLINE.per_payment, count=OFFLINE.count, total=OFFLINE.total, age_s=OFFLINE.age_s
    ),
)
"""The acquirer's own: it has no cap of a day, so that the kiosk's is the only one."""
POLICY: Final = Policy(
    1, int(NOON) + 30 * 86_400, "CNY", "Pay", "LIC-1", True, Limits(per_payment=20_000, pin_above=PIN_ABOVE)
)
SETTING: Final = Setting(
    Terminal("M-1", "S-1", "T-1", "test", "Shop"),
    POLICY,
    Limits(),
    Thresholds(0.5, 0.4, 0.05, 0.01, FalseMatchBound((0.4, 0.5), (1e-3, 1e-4))),
    ZoneInfo("Asia/Shanghai"),
)
STAFF: Final = 7
PROBE: Final = np.ones(1, np.float32)
_NEVER: Final = 1 << 60
HEALED_MS: Final = 60 * 60_000
"""When the network works again, nothing may stay open longer than this: the longest wait is 5 minutes."""
LATE_MS: Final = ((1_500, 45_000), (45_000, 66_000), (61_000, 65_200))
"""A late request: beside other calls, with the reversal, or after it and just before its signature is old."""
RESOLVING_MS: Final = (3_100, 90_000)
"""A name that nobody resolves takes long: told too late for a sale to be accepted offline."""
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
        self.sealed_to = SealedTo(folder / "pin.key")
        (folder / "policy.json").write_bytes(encode(TERMS))
        self._journal, self._ledger = (
            sqlite3.connect(":memory:", isolation_level=None, factory=Disk) for _ in range(2)
        )
        self._journal.row_factory = sqlite3.Row
        self._journal.executescript(journal_module.SCHEMA + journal_module.MARKS)
        self._ledger.executescript(ledger_module.SCHEMA)
        self._tables = [
            name for (name,) in self._ledger.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        ]

    def setting(self, *, offline: bool, capped: bool) -> Setting:
        """The kiosk's, with the acquirer's key for PINs."""
        key = self.sealed_to.terms()
        policy = replace(
            POLICY,
            pin_key=PinKey(key.kid, key.key),
            offline=OFFLINE if offline else None,
            ceiling=replace(POLICY.ceiling, per_person_day=CAP if capped else None),
        )
        return replace(SETTING, policy=policy)

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
            kind = drafts[-1].kind
            world.note(f"journal: the {kind} that failed is there", f"failed {kind} is there")
            super()._append(*drafts)
            self._sequence = self._chain.sequence  # as if it had been there when the file was opened
            world.written(drafts)

    def _open(self) -> sqlite3.Connection:
        if self._disk is None:
            return super()._open()
        self._db = self._disk
        return self._db

    def _erase(self) -> None:
        if self._disk is None:  # a checkpoint can't be made inside a transaction
            super()._erase()

    def _append(self, *drafts: Draft) -> None:
        kind = drafts[-1].kind
        self.world.kiosk_may_die(f"before {kind} is written")
        if self.world.fault(0.03):
            self.world.note(f"journal: disk full at {kind}", "disk full")
            if self.world.fault(0.4):
                self.world.ghost = drafts
                self.world.ghosts.add(drafts[0].ref)
            raise OperatorError("the journal can't be written (disk full)")
        super()._append(*drafts)
        self.world.ghost = None
        self.world.written(drafts)
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
        return self._world.now_s() + self.off_s


class AcquirerClock:
    """The acquirer's clocks are those of the world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def monotonic_ms(self) -> int:
        return self._world.ms

    def utc_s(self) -> float:
        return self._world.now_s()


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
        if order in self._world.accepted.values():
            raise Violation("double_debit", f"{order.order_ref} was handed back and is accepted offline")
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


class Nobody:
    """Withdrawals of consent: there are none here, they move no money."""

    def tokens(self) -> list[str]:
        return []


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
    outbox: type[Outbox] = Outbox
    offline: type[OfflineSales] = OfflineSales


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
        plain = dice.random() < 0.4
        self.sells_offline, self.gives_back, self.capped = (
            dice.random() < chance and not plain for chance in (0.6, 0.6, 0.4)
        )
        self.began_s = NOON + (TO_MIDNIGHT_S - dice.randrange(100, 600) if self.capped else 0)
        self._off_s = 0.0
        self._setting = place.setting(offline=self.sells_offline, capped=self.capped)
        self.days: dict[str, date] = {}
        self.proven: set[str] = set()
        self.pins: dict[str, bool] = {}
        self.accepted: dict[str, Order] = {}
        self.asked: Counter[str] = Counter()
        self._typed_right = self._tasks_written = False
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
        authoriser = self._parts.authoriser(
            self.ledger, self._place.keys.policy, self._place.folder, clock, mode="test"
        )
        authoriser.sealed_to = self._place.sealed_to
        if not self.ledger.policy()[0]:
            self.ledger.issue(1, encode(TERMS), POLICY.expires_s)
        self.wire.start(authoriser)
        self.note("acquirer: up")

    def replace_network(self) -> None:
        """Another network: what was under way in the old one never arrives."""
        self.note("network: replaced", "network replaced")
        self._network += 1
        self.weather = Weather.drawn(self.dice)

    def change_reach(self) -> None:
        """The acquirer can't be reached from now on, or again."""
        down = self.weather.refused < 1
        self.note("network: down" if down else "network: back", "outage" if down else "")
        self.weather = Weather(refused=1.0) if down else Weather.drawn(self.dice)

    def jump_clock(self, off_s: float) -> None:
        """The kiosk's time of day is `off_s` seconds wrong from now on."""
        self.note(f"kiosk: clock is {off_s:+.0f} s off", "clock jumped")
        self._kiosk_clock.off_s = off_s

    def jump_both_clocks(self, off_s: float) -> None:
        """What both sides take their time from is wrong: past midnight, and back again."""
        self.note(f"clocks: {off_s:+.0f} s off", "both clocks jumped")
        self._off_s = off_s

    def now_s(self) -> float:
        """What the world's clocks say, seconds since 1970 (UTC)."""
        return self.began_s + self.ms / 1000 + self._off_s

    # --- the kiosk's process ----------------------------------------------------------------------------

    def boot(self) -> None:
        """A new process on the same folder."""
        while True:
            self._life += 1
            self._kiosk_clock.booted_ms = self.ms
            self.eye = Eye()
            self.journal = self._parts.journal(self._place.folder / "journal.sqlite", self, self._disks[0])
            self.outbox: Outbox | None = None
            try:
                self.kernel = self._parts.kernel(
                    self._setting,
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
                self._begin_tasks()
                self.note(f"kiosk: up, {len(self.kernel.behind)} open")
                return

    def _begin_tasks(self) -> None:
        """Offline sales, the outbox and what comes after a sale: as the product wires them, where used."""
        kernel, clock = self.kernel, self._kiosk_clock
        if self.sells_offline:
            kernel.offline = self._parts.offline(
                self.journal,
                clock,
                own=OfflineSetting(enabled=True),
                setting=lambda: kernel.setting,
                merchant=kernel.merchant,
                key=lambda: self._place.keys.kiosk,
            ).accept
        if self.sells_offline or self.gives_back:
            nobody: Any = Nobody()
            self.outbox = self._parts.outbox(self.journal, self, clock, kernel.post, nobody)
            kernel.on_tick.append(self.outbox.tick)
            self.aftersale = AfterSale(kernel, self.journal, self.outbox, clock)
            self._tasks_written = True

    def written(self, drafts: tuple[Draft, ...]) -> None:
        """What went into the journal, kept apart from it: days, PINs, offline sales.

        Days do not go back behind an approved one. One that is open proves nothing: its clock may be ahead.
        """
        for draft in drafts:
            ref, kind = draft.ref, draft.kind
            if kind == "payment":
                now = datetime.fromtimestamp(self._kiosk_clock.utc_s(), SETTING.timezone).date()
                self.days[ref] = max([now, *(self.days[one] for one in self.proven if one in self.days)])
                if draft.secret:
                    self.pins[ref] = self._typed_right
            elif kind == "concluded" and draft.result == Result.APPROVED:
                self.proven.add(ref)
            elif kind == "concluded":
                self.days.pop(ref, None)
            elif kind == "advice":
                assert draft.order is not None
                self.proven.add(ref)
                self.accepted[ref] = draft.order
                waiting = [order.amount.minor for order in self.accepted.values()]
                if max(waiting) > OFFLINE.per_payment or sum(waiting) > OFFLINE.total:
                    raise Violation("books", f"{self.short(ref)} is accepted offline above a cap")
            elif kind == "advice_end":
                self.accepted.pop(ref, None)
            self._tasks_written = self._tasks_written or kind not in ("payment", "reversal", "concluded")

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

    def press(self, event: Event | PinTyped) -> None:
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
            wait = self.dice.randrange(*RESOLVING_MS) if self.fault(0.1) else self.dice.randrange(3_100)
            self.later(wait, lambda: done(Unsent("refused")), life=life)
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
        if self.outbox is not None and self.outbox._seen == self.journal.last_hash:
            self._tasks_written = False

    def _next_tick(self) -> int:
        """The first tick (every `TICK_MS` of the process) at which a time-out is over."""
        state = self.kernel.state
        due = min(_due(state), self._outbox_due())
        for waiting in self.kernel.behind.values():
            due = min(due, waiting.until)
        if due >= 1 << 60:
            return due
        due = max(due, self._kiosk_clock.monotonic_ms() + 1)
        return self._kiosk_clock.booted_ms + -(-due // TICK_MS) * TICK_MS

    def _outbox_due(self) -> int:
        """When the outbox would send something at a tick, or look into the journal again."""
        box = self.outbox
        if box is None:
            return _NEVER
        if box._under_way:
            return box._until
        if self._tasks_written:
            return 0
        due, taken = _NEVER, set[str]()
        for task in box._open:
            queues = {task.ref} | ({task.operation} if task.operation == "advice" else set())
            if not queues & taken:
                due = min(due, box._rest(task.key).until)
            taken |= queues
        return max(due, box._line.until)

    # --- people -----------------------------------------------------------------------------------------

    def look(self) -> None:
        """Somebody is before the camera."""
        found = LookDone(self.eye.look, LookOutcome.LIVE, PROBE.copy(), 0.9)
        self.note("screen: a look ends")
        self.alive(lambda: self.kernel.handle(found))

    def offer(self, number: int) -> None:
        self.press(Offer(Order(f"O-{number}", Money(AMOUNTS[number], "CNY"), "Shop")))

    def wanted(self) -> int:
        """Which order is offered: in an outage one that needs no PIN."""
        if self.sells_offline and self.weather.refused == 1:
            return self.dice.choice([n for n in range(ORDERS) if AMOUNTS[n] <= PIN_ABOVE])
        return self.dice.randrange(ORDERS)

    def type_pin(self, *, right: bool) -> None:
        """The digits and the green key."""
        self._typed_right = right
        self.note("screen: a PIN is typed", "right PIN typed" if right else "wrong PIN typed")
        self.press(PinTyped(Pin(DEFAULT_PIN if right else "111111")))

    def give_money_back(self) -> None:
        """A manager gives one of the sales back, whole or in part, twice where they are impatient."""
        approved = [e for e in self.journal.payments() if e.answer and e.answer.result is Result.APPROVED]
        if not approved:
            return
        entry = self.dice.choice(approved)
        part = self.dice.choice((None, 500, 1_000))
        amount = None if part is None else Money(part, "CNY")

        def refund() -> None:
            self.asked[entry.ref] += 1
            try:
                self.aftersale.refund(entry, amount, "customer", STAFF)
                self.note(f"staff: {self.short(entry.ref)} goes back, {part or 'whole'}", "refund asked for")
            except OperatorError as error:
                self.note(f"staff: no refund of {self.short(entry.ref)}: {error.what}", "refund refused here")

        for _ in range(self.dice.choice((1, 1, 2))):
            self.alive(refund)

    def go_on(self, times: int = 1) -> None:
        """What makes sense on the screen that is shown, often twice."""
        state = self.kernel.state
        if isinstance(state, Looking):
            self.look()
        elif isinstance(state, Identified):
            for _ in range(times):
                self.press(Confirm())
        elif isinstance(state, PinEntry):
            right = self.dice.random() < 0.65
            for _ in range(times):
                self.type_pin(right=right)
        else:
            self.press(self.dice.choice((PayWithFace(), PayWithFace(), Done())))

    def act(self) -> None:
        """Somebody, or the world, does something."""
        wanted = self.dice.random()
        if self.gives_back and self.dice.random() < 0.2:
            self.give_money_back()
        elif self.sells_offline and self.dice.random() < (0.12 if self.weather.refused < 1 else 0.06):
            self.change_reach()
        elif self.capped and self.dice.random() < 0.2:
            self.jump_both_clocks(self.dice.choice((0, 900)))
        elif isinstance(self.kernel.state, Idle):
            self.offer(self.wanted())
            for _ in range(3 if wanted < 0.7 else 0):  # pay, look, confirm
                self.go_on(self.dice.choice((1, 1, 2)))
        elif wanted < 0.10:
            self.offer(self.wanted())
        elif wanted < 0.80:
            self.go_on(self.dice.choice((1, 1, 2)))
        elif wanted < 0.90:
            self.press(self.dice.choice((Cancel(), Done(), PayAnotherWay(Means.TILL))))
        elif wanted < 0.93:
            self.jump_clock(self.dice.choice((0, 4, -4, 30, -30, 3_600, 18_000, -86_400, 86_400)))
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
        self._kiosk_clock.off_s = self._off_s = 0.0
        end = self.ms + HEALED_MS
        while self._open() or self._flights:
            if self.ms >= end:
                raise Violation("stuck", f"{self._open() or 'a message'} after an hour of good weather")
            self.pass_ms(5_000)

    def _open(self) -> list[str]:
        state = self.kernel.state
        shown = [self.short(state.ref)] if isinstance(state, Open) else []
        tasks = [task.key for task in self.journal.open_tasks()] if self.outbox else []
        return shown + [self.short(ref) for ref in self.kernel.behind] + tasks

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
            self.met[f"attempt {row.attempt.result}"] += 1
            taken[row.attempt.order_ref] += row.attempt.amount.minor * (row.attempt.result is Result.APPROVED)
            self._check_row(row, known.get(ref))
        for order, minor in taken.items():
            if minor > AMOUNTS[int(order[-1])]:
                raise Violation("double_debit", f"{order}: {minor} of {AMOUNTS[int(order[-1])]}")
        for ref, entry in known.items():
            self._check_entry(entry, rows.get(ref))
            self._check_refunds(entry, rows.get(ref))
        self._check_cap(known)
        self.met["attempts"] += len(known)
        (balance,) = self.ledger._db.execute("SELECT coalesce(sum(minor), 0) FROM postings").fetchone()
        if balance:
            raise Violation("books", f"the ledger does not balance: {balance}")

    def _check_row(self, row: LedgerRow, entry: PaymentEntry | None) -> None:
        """One attempt in the acquirer's books: its own amount, asked for here, and as this kiosk says it."""
        result, name, minor = row.attempt.result, self.short(row.attempt.ref), row.attempt.amount.minor
        back = sum(refund.minor for refund in row.refunds if refund.result is Result.APPROVED)
        if row.debited_minor != (minor - back if result is Result.APPROVED else 0) or row.debited_minor < 0:
            raise Violation("books", f"{name} is {result} and {row.debited_minor} were taken")
        if entry is None or entry.answer is None:
            raise Violation("unknown_approval", f"the kiosk does not know {name}, which is {result}")
        if minor != entry.order.amount.minor or row.attempt.order_ref != entry.order.order_ref:
            raise Violation("books", f"{name} is another order, or of another amount")
        if result is not Result.APPROVED:
            return
        told = entry.answer
        if told.result is not result or (told.approval != row.attempt.approval and not entry.offline):
            raise Violation("unknown_approval", f"{name} is approved; the kiosk says {told}")
        if minor > PIN_ABOVE and not self.pins.get(entry.ref):
            raise Violation("books", f"{name} of {minor} is approved without the right PIN")

    def _check_entry(self, entry: PaymentEntry, row: LedgerRow | None) -> None:
        """One attempt in the kiosk's books: approved there too, or known as declined; the till heard so."""
        assert entry.answer is not None
        ref, result = entry.ref, entry.answer.result
        approved = row is not None and row.attempt.result is Result.APPROVED
        declined = False
        if entry.offline:
            (advice,) = (task for task in self.journal.tasks_of(ref) if task.operation == "advice")
            declined = advice.result == Result.DECLINED
            self.met[f"offline sale {advice.result}"] += 1
        if result is Result.APPROVED and approved is declined:
            raise Violation("books", f"the kiosk says approved of {self.short(ref)}, and it is not")
        told_till = self.till.ends.get(ref, set())
        if ref in self.ghosts and result is Result.REVERSED:
            told_till = told_till - {Result.DECLINED}  # not sent, it said: not charged is what both mean
        if told_till != {result}:
            raise Violation("books", f"{self.short(ref)} is {result}, the till heard {told_till}")

    def _check_refunds(self, entry: PaymentEntry, row: LedgerRow | None) -> None:
        """Each that was asked for is one, on both sides, and together they are no more than was paid."""
        tasks = [task for task in self.journal.tasks_of(entry.ref) if task.operation == "refund"]
        here = {(task.number, task.minor, str(task.result)) for task in tasks}
        there = {(one.number, one.minor, str(one.result)) for one in row.refunds} if row else set()
        for _, _, result in here:
            self.met[f"refund {result}"] += 1
        if here != there:
            raise Violation("books", f"refunds of {self.short(entry.ref)}: {here} here, {there} there")
        if len(here) > self.asked[entry.ref]:
            raise Violation("books", f"{self.short(entry.ref)} was given back more often than asked for")

    def _check_cap(self, known: dict[str, PaymentEntry]) -> None:
        """No day of a clock that never goes back is above the cap."""
        if not self.capped:
            return
        days: Counter[date] = Counter()
        for ref, day in self.days.items():
            days[day] += known[ref].order.amount.minor
        if days and max(days.values()) > CAP:
            raise Violation("over_cap", f"{max(days.values())} on a day with a cap of {CAP}")


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
