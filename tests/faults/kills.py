"""Real `kill -9`: a kiosk's process against a `kiosk sandbox` process over a socket, at any moment.

A shop is a data folder, a sandbox and a number of kills; the kiosk sells, also offline while the sandbox is
dead, and gives back. Afterwards everything is started once more, what is open is finished, and the books of
both sides are held against each other: payments, offline sales and refunds, one by one.
"""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kiosk.acquirer.journal import Journal, PaymentEntry, Task
from kiosk.cli.processes import command
from kiosk.domain.payment import Result
from kiosk.sandbox.ledger import Ledger, LedgerRow

from .kiosk_process import AMOUNT, TOKEN
from .schedules import memory_folder

__all__ = ["Toll", "run_kills"]

KILLS_OF_A_SHOP = 50
SHOPS_AT_ONCE = 3
STARTING_S, SELLING_S = 1.0, 0.5
"""Windows out of which the moment is drawn: while the kiosk comes up, and while it sells."""
PATIENCE_S = 60
AWAY = 0.5
"""How often an acquirer that was killed is still away when the next kiosk comes up."""
POLICY = {
    "ceiling": {"per_payment": 100_000},
    "offline": {"per_payment": 100_000, "count": 10_000, "total": 10**9, "age_s": 86_400},
}
CONFIG = "[offline]\nenabled = true\n"
PAYERS = {TOKEN: {"balance_minor": 10**9, "currency": "CNY"}}
MISBEHAVIOUR = ("drop-answer", "delay:0.05", "bad-signature", "alter-body", "duplicate", "decline")


@dataclass
class Toll:
    """What the kills came to. `open_at_death`: kills that left an attempt or a task open in the journal.

    `offline`: sales that were accepted without the acquirer and forwarded. `refunds`: by how they ended.
    """

    kills: int = 0
    victims: Counter[str] = field(default_factory=Counter)
    open_at_death: int = 0
    attempts: int = 0
    approved: int = 0
    results: Counter[str] = field(default_factory=Counter)
    offline: int = 0
    refunds: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    violations: list[tuple[str, str]] = field(default_factory=list)

    @property
    def by_victim(self) -> str:
        return ", ".join(f"{n:,} {victim}" for victim, n in sorted(self.victims.items())) or "none"

    def as_json(self) -> dict[str, Any]:
        return {
            "n": self.kills,
            "victims": dict(self.victims),
            "open_at_death": self.open_at_death,
            "seconds": round(self.seconds, 1),
            "attempts": self.attempts,
            "results": dict(self.results),
            "offline": self.offline,
            "refunds": dict(self.refunds),
            "violations": [{"kind": kind, "what": what} for kind, what in self.violations],
        }


def run_kills(
    number: int, *, seed: int = 0, hurry: int = 1, progress: Callable[[Toll], None] = lambda toll: None
) -> Toll:
    """`number` kills, in shops of `KILLS_OF_A_SHOP`, a few shops at a time.

    `hurry` shortens the waits of the payment machine in the last recovery; 1 uses the real `kiosk resolve`.
    """
    toll, lock, started = Toll(), threading.Lock(), time.monotonic()

    def killed(victim: str, left_open: bool) -> None:
        with lock:
            toll.kills += 1
            toll.victims[victim] += 1
            toll.open_at_death += left_open
            toll.seconds = time.monotonic() - started
            if toll.kills % 10 == 0:
                progress(toll)

    def shop(first: int) -> None:
        with memory_folder() as folder:
            dice = random.Random(f"{seed} {first}")
            told = _Shop(folder, dice, killed).suffer(min(KILLS_OF_A_SHOP, number - first), hurry)
            with lock:
                audit(folder, told, toll)

    with ThreadPoolExecutor(SHOPS_AT_ONCE) as pool:
        for done in [pool.submit(shop, first) for first in range(0, number, KILLS_OF_A_SHOP)]:
            done.result()
    toll.seconds = time.monotonic() - started
    return toll


@dataclass
class _Told:
    """What the kiosk said before it died: its approvals (ref to order), and refunds that it was about to
    write (ref to amounts)."""

    approved: dict[str, str] = field(default_factory=dict)
    asked: dict[str, list[int]] = field(default_factory=dict)


class _Shop:
    """One data folder and the processes that die on it."""

    def __init__(self, folder: Path, dice: random.Random, killed: Callable[[str, bool], None]) -> None:
        self._folder, self._dice, self._killed = folder, dice, killed
        self._port, self._number = 0, 0
        self._told = _Told()
        self._open: set[str] = set()
        home = folder / "sandbox"
        home.mkdir(mode=0o700)
        (home / "policy.json").write_text(json.dumps(POLICY))
        (home / "payers.json").write_text(json.dumps(PAYERS))
        (folder / "kiosk.toml").write_text(CONFIG)

    def suffer(self, kills: int, hurry: int) -> _Told:
        """Kill, finish what is open, and return what the kiosk said."""
        self._sandbox = self._start_sandbox()
        try:
            self._become_known()
            done = 1
            while done < kills:
                done += self._one_life()
            if self._sandbox.poll() is not None:
                self._sandbox = self._start_sandbox()
            self._misbehave([])
            if hurry > 1:
                last = [*self._kiosk(), "--resolve-s", str(PATIENCE_S), "--hurry", str(hurry)]
            else:
                last = command("resolve", "--data-dir", self._folder, "--wait", "300")
            subprocess.run(last, check=False, capture_output=True, timeout=400)
        finally:
            self._sandbox.kill()
            self._sandbox.communicate()
        return self._told

    def _kiosk(self) -> list[str]:
        return [sys.executable, "-m", "tests.faults.kiosk_process", str(self._folder)]

    def _start_sandbox(self) -> subprocess.Popen[str]:
        started = subprocess.Popen(
            command("sandbox", "--data-dir", self._folder, "--port", str(self._port), "--until-parent-ends"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert started.stdout is not None
        line = started.stdout.readline().split()
        assert line[:2] == ["sandbox", "ready"], line
        self._port = int(line[2].rsplit(":", 1)[1])
        return started

    def _misbehave(self, faults: list[str]) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/sandbox/faults",
            json.dumps({"faults": faults}).encode(),
            {"Content-Type": "application/json"},
        )
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5):  # noqa: S310
            pass

    def _become_known(self) -> None:
        """The first life ends after its first sale: who never paid online buys nothing offline."""
        life = self._start_kiosk()
        assert life.stdout is not None
        for line in life.stdout:
            self._heard(line.decode())
            if self._told.approved:
                break
        self._kill(life)

    def _one_life(self) -> int:
        """A kiosk comes up, sells and is killed, often after its acquirer; how many kills that were."""
        dice, kills = self._dice, 0
        away = self._sandbox.poll() is not None
        if away and dice.random() >= AWAY:
            self._sandbox, away = self._start_sandbox(), False
        if dice.random() < 0.4 and not away:
            self._misbehave([f"{dice.choice(MISBEHAVIOUR)}:{dice.randrange(1, 4)}"])
        life = self._start_kiosk()
        assert life.stdout is not None
        if dice.random() < 0.15:  # while it comes up, or takes up what is open
            time.sleep(dice.random() * STARTING_S)
        else:
            self._heard(life.stdout.readline().decode())
            if dice.random() < 0.25 and not away:
                time.sleep(dice.random() * SELLING_S)
                self._sandbox.kill()
                self._sandbox.communicate()
                self._killed("sandbox", False)
                kills += 1
            time.sleep(dice.random() * SELLING_S)
        self._kill(life)
        return kills + 1

    def _start_kiosk(self) -> subprocess.Popen[bytes]:
        seed = str(self._dice.randrange(10**9))
        arguments = [*self._kiosk(), "--first", str(self._number), "--seed", seed]
        # Unbuffered: what a first line's read took beyond it would be lost to `communicate`.
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)

    def _kill(self, life: subprocess.Popen[bytes]) -> None:
        ended = life.poll()
        life.kill()
        rest, errors = life.communicate()
        assert ended is None, f"the kiosk ended by itself: {errors.decode()}"
        for line in rest.decode().splitlines(keepends=True):
            self._heard(line)
        self._number += self._dice.random() < 0.5
        self._killed("kiosk", self._left_open())

    def _heard(self, line: str) -> None:
        """What a line of the kiosk says, if it was written to its end."""
        words = line.split() if line.endswith("\n") else []
        match words:
            case ["asks", ref, minor]:
                self._told.asked.setdefault(ref, []).append(int(minor))
            case [number, state, ref]:
                self._number = int(number)  # the till asks for the same order again
                if state == "Approved":
                    self._told.approved[ref] = f"K-{number}"

    def _left_open(self) -> bool:
        """Whether this kill left something open that was not open before."""
        try:
            with closing(sqlite3.connect(self._folder / "journal.sqlite")) as db:
                left = {
                    what
                    for (what,) in db.execute(
                        """SELECT ref FROM attempts WHERE outcome IS NULL
                           UNION ALL SELECT idempotency_key FROM tasks WHERE outcome IS NULL"""
                    )
                }
        except sqlite3.Error:  # it died before there was a journal
            return False
        before, self._open = self._open, self._open | left
        return not left <= before


def audit(folder: Path, told: _Told, toll: Toll) -> None:
    """Hold the two books of a shop against each other and against what the kiosk said; note what differs."""
    wrong = toll.violations
    with (
        Journal(folder / "journal.sqlite") as journal,
        closing(Ledger(folder / "sandbox" / "ledger.sqlite")) as ledger,
    ):
        wrong += [("stuck", f"open: {attempt}") for attempt in journal.open_attempts()]
        wrong += [("stuck", f"open: {task.key}") for task in journal.open_tasks()]
        known = {entry.ref: entry for entry in journal.payments(1_000_000)}
        tasks = {ref: journal.tasks_of(ref) for ref in known}
        rows = {row.attempt.ref: row for row in ledger.rows()}
    taken: Counter[str] = Counter()
    for ref, row in rows.items():
        approved, entry = row.attempt.result is Result.APPROVED, known.get(ref)
        taken[row.attempt.order_ref] += row.attempt.amount.minor if approved else 0
        mine = entry.answer if entry else None
        if approved and (mine is None or mine.result is not Result.APPROVED):
            wrong.append(("unknown_approval", f"{ref} of {row.attempt.order_ref} is approved; here: {mine}"))
        elif entry is None:
            wrong.append(("books", f"the kiosk does not know {ref}, {row.attempt.result}"))
    wrong += [("double_debit", f"{order}: {minor}") for order, minor in taken.items() if minor > AMOUNT.minor]
    for ref, entry in known.items():
        result = entry.answer.result if entry.answer else None
        there = rows[ref].attempt.result if ref in rows else None
        toll.results[str(result)] += 1
        if (result is Result.APPROVED) != (there is Result.APPROVED):
            wrong.append(("books", f"{ref} is {result} here and {there} there"))
        _audit_offline(entry, tasks[ref], toll)
        _audit_refunds(entry, tasks[ref], rows.get(ref), told.asked.get(ref, []), toll)
    for ref, order in told.approved.items():
        if ref not in rows or rows[ref].attempt.result is not Result.APPROVED:
            wrong.append(("books", f"the kiosk said approved of {ref} ({order}), and it is not"))
    toll.attempts += len(known)
    toll.approved = toll.results["approved"]


def _audit_offline(entry: PaymentEntry, tasks: list[Task], toll: Toll) -> None:
    """A sale that was accepted offline was forwarded, once, and taken: nothing in these shops forbids it."""
    advices = [task for task in tasks if task.operation == "advice"]
    if not entry.offline and not advices:
        return
    toll.offline += 1
    if [task.result for task in advices] != [Result.APPROVED] or advices[0].minor != AMOUNT.minor:
        said = [(task.result, task.minor, task.answer) for task in advices]
        toll.violations.append(("books", f"offline sale {entry.ref}: {said}"))


def _audit_refunds(
    entry: PaymentEntry, tasks: list[Task], row: LedgerRow | None, asked: list[int], toll: Toll
) -> None:
    """Both sides hold the same refunds, each was asked for once, and their sum is what went back."""
    here = [(task.number, task.minor, str(task.result)) for task in tasks if task.operation == "refund"]
    there = [(one.number, one.minor, str(one.result)) for one in row.refunds] if row else []
    toll.refunds.update(result for _, _, result in here)
    if sorted(here) != sorted(there):
        toll.violations.append(("books", f"refunds of {entry.ref}: {here} here, {there} there"))
    if Counter(minor for _, minor, _ in here) - Counter(asked):
        toll.violations.append(("double_debit", f"refunds of {entry.ref}: {here}, asked for {asked}"))
    if row is not None and row.attempt.result is Result.APPROVED:
        back = sum(minor for _, minor, result in there if result == Result.APPROVED)
        if row.debited_minor != AMOUNT.minor - back or back > AMOUNT.minor:
            toll.violations.append(("books", f"{entry.ref}: {row.debited_minor} taken, {back} given back"))
