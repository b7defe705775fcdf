"""Worker threads: calls that wait are made here, never in the kernel.

`AcquirerWorkers` keeps the call in front apart from the ones behind (queries, reversals), so that an open
outcome of the last shopper cannot hold up the next one.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Final

from kiosk.acquirer.client import AcquirerClient, Reply, Unsent
from kiosk.acquirer.messages import Exchange
from kiosk.domain.errors import OperatorError

__all__ = ["AcquirerWorkers", "SystemClock"]

BEHIND_QUEUE: Final = 64
"""Calls that may wait behind the screen; one more is dropped: the payment machine asks again by itself."""

Job = tuple[Exchange, Callable[[Reply], None]]


class SystemClock:
    """The machine's own clocks."""

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def utc_s(self) -> float:
        return time.time()


class AcquirerWorkers:
    """Two threads, a client for each call; implements `kernel.Acquirer`."""

    def __init__(self, connect: Callable[[], AcquirerClient]) -> None:
        self._front: queue.Queue[Job | None] = queue.Queue(maxsize=1)
        self._behind: queue.Queue[Job | None] = queue.Queue(maxsize=BEHIND_QUEUE)
        self._threads = [
            threading.Thread(target=self._work, args=(connect, jobs), name=name, daemon=True)
            for name, jobs in (("acquirer-front", self._front), ("acquirer-behind", self._behind))
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, exchange: Exchange, done: Callable[[Reply], None], *, behind: bool) -> None:
        """Queue a call; never waits. A payment that finds one waiting already is not sent, and its reply says
        so; behind, a full queue drops the newest."""
        try:
            (self._behind if behind else self._front).put_nowait((exchange, done))
        except queue.Full:
            if not behind:
                done(Unsent("the payment before it is still under way"))

    def close(self, timeout_s: float = 0.2) -> None:
        """Ask the threads to end; one that waits for an answer is left behind (it holds nothing)."""
        for jobs in (self._front, self._behind):
            try:
                jobs.put_nowait(None)
            except queue.Full:
                continue
        for thread in self._threads:
            thread.join(timeout_s)

    @staticmethod
    def _work(connect: Callable[[], AcquirerClient], jobs: queue.Queue[Job | None]) -> None:
        while (job := jobs.get()) is not None:
            exchange, done = job
            try:
                client = connect()  # for each call: the key that signs may have been followed by another
            except OperatorError as error:
                done(Unsent(str(error)))
                continue
            done(client.send(exchange))
