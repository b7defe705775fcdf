"""What must reach the acquirer although nobody waits for it: sent in order, again and again, until a word.

Refunds, advices, disputes and closes are tasks of the journal; withdrawals of consent lie in a file beside
it, because they are never refused, whoever holds the journal. One call is under way at a time. Two about the
same payment go in the order in which they were written, and so do all advices; one that the acquirer does not
answer holds up no others. A task ends by a verified word: an answer, or that it can never be treated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from kiosk.acquirer.client import Lost, Reply, Told, Unsent, Verified
from kiosk.acquirer.journal import Journal, Task
from kiosk.acquirer.messages import Exchange, encode, parse
from kiosk.acquirer.operations import (
    MAX_RECONCILIATION_BYTES,
    DisputeAnswer,
    PayerAnswer,
    ReconciliationAnswer,
    ReconciliationRequest,
    withdrawal_request,
)
from kiosk.app.kernel import Acquirer
from kiosk.app.withdrawals import Withdrawals
from kiosk.domain.errors import OperatorError
from kiosk.domain.payment import Answer, Result
from kiosk.domain.ports import Clock

__all__ = ["DELAYS_MS", "Outbox"]

DELAYS_MS: Final = (5_000, 10_000, 30_000, 60_000, 300_000)
"""Between tries; the last one repeats for ever."""
ANSWER_MS: Final = 40_000
"""A call that was neither answered nor given up by then was dropped on the way to its worker: send again."""
WITHDRAWAL: Final = "withdrawal:"
NEVER: Final = ("sequence_reused", "other_content")
"""Another call has this one's sequence or key: it was not treated, and the same bytes never will be."""
NOTHING_DONE: Final = (("refund", "sequence_reused"), ("dispute", "other_content"))
"""Where that ends a task: nothing has this refund's number, so nothing went back; a payment has one dispute,
and the acquirer has it. What another refund's number means for money, a recovery finds out."""


@dataclass(slots=True)
class _Rest:
    """How often something was tried in vain, and when it is tried again (ms of the kernel's clock)."""

    tries: int = 0
    until: int = 0

    def again(self, now: int) -> None:
        self.until = now + DELAYS_MS[min(self.tries, len(DELAYS_MS) - 1)]
        self.tries += 1


class Outbox:
    """Belongs to the kernel's thread: put `tick` into `Kernel.on_tick`; `post` is the kernel's.

    `on_end` is told each task that ended, after its end was written.
    """

    def __init__(
        self,
        journal: Journal,
        acquirer: Acquirer,
        clock: Clock,
        post: Callable[[Callable[[], None]], None],
        withdrawals: Withdrawals,
    ) -> None:
        self._journal, self._acquirer, self._clock, self._post = journal, acquirer, clock, post
        self._withdrawals = withdrawals
        self.on_end: Callable[[str], None] = lambda key: None
        self.why: dict[str, str] = {}
        """What the last try of a task came to, by its key; one line for staff."""
        self.refused: set[str] = set()
        """Keys of tasks whose bytes will never be treated, because another call has their number: sent no
        more, open until `kiosk journal recover`."""
        self.failure: OperatorError | None = None
        """The last trouble with journal or file."""
        self._rests: dict[str, _Rest] = {}
        self._line = _Rest()
        self._under_way, self._until = "", 0
        self._seen = ""
        self._open: list[Task] = []

    def tick(self) -> None:
        """Send what is due; never waits."""
        now = self._clock.monotonic_ms()
        if self._under_way and now < self._until:
            return
        try:
            self._refresh()
            following = self._next(now)
        except OperatorError as failure:
            self.failure = failure
            return
        if following is not None:
            key, exchange = following
            self._under_way, self._until = key, now + ANSWER_MS
            self._acquirer.submit(
                exchange, lambda reply: self._post(lambda: self._heard(key, exchange, reply)), behind=True
            )

    def hurry(self) -> None:
        """Somebody waits after all: what rests is due now."""
        self._rests.clear()
        self._line = _Rest()

    def waiting(self) -> list[str]:
        """The keys of what still waits: tasks, oldest first, then withdrawals."""
        self._refresh()
        return [*(task.key for task in self._open), *(WITHDRAWAL + one for one in self._withdrawals.tokens())]

    # --- inside -----------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Read anew what is open when the journal has grown since: whoever opens a task need not tell."""
        last = self._journal.last_hash
        if last != self._seen:
            self._open = self._journal.open_tasks()
            self._seen = last

    def _next(self, now: int) -> tuple[str, Exchange] | None:
        if now < self._line.until:
            return None
        taken: set[str] = set()
        for task in self._open:
            queues = {task.ref} | ({task.operation} if task.operation == "advice" else set())
            if not queues & taken and task.key not in self.refused and now >= self._rest(task.key).until:
                return task.key, task.exchange
            taken |= queues
        for token in self._withdrawals.tokens():
            key = WITHDRAWAL + token
            if now >= self._rest(key).until:
                return key, withdrawal_request(token)
        return None

    def _rest(self, key: str) -> _Rest:
        return self._rests.setdefault(key, _Rest())

    def _heard(self, key: str, exchange: Exchange, reply: Reply) -> None:
        """On the kernel's thread. A word that comes late, or twice, changes nothing."""
        if key == self._under_way:
            self._under_way = ""
        now = self._clock.monotonic_ms()
        if isinstance(reply, Unsent):  # nothing else would arrive either
            self._line.again(now)
            self.why[key] = reply.why
            return
        self._line = _Rest()
        try:
            if isinstance(reply, Lost) and reply.code in NEVER:
                self._journal.halt(reply.code)  # an older copy of the journal was put back
            ended = self._withdrawn(exchange, reply) or self._ended(key, exchange, reply)
        except OperatorError as failure:  # an end that can't be written was not heard: it is asked for again
            self.failure, ended = failure, False
        if not ended:
            if isinstance(reply, Lost) and reply.code == "other_content":
                self.refused.add(key)
            self._rest(key).again(now)
            self.why[key] = reply.why if isinstance(reply, Lost) else "not final yet"
            return
        self._rests.pop(key, None)
        self.why.pop(key, None)
        self.on_end(key)

    def _withdrawn(self, exchange: Exchange, reply: Reply) -> bool:
        """`not_found` ends it too: the acquirer verifiably holds nothing of that person."""
        if exchange.operation != "withdrawal":
            return False
        told = isinstance(reply, Told) and isinstance(reply.message, PayerAnswer)
        if told or (isinstance(reply, Lost) and reply.code == "not_found"):
            self._withdrawals.done(exchange.ref)
            return True
        return False

    def _ended(self, key: str, exchange: Exchange, reply: Reply) -> bool:
        """Write the end that `reply` is, if it is one."""
        task = next((task for task in self._journal.open_tasks() if task.key == key), None)
        if task is None:
            return exchange.operation != "withdrawal"  # its end was written before
        match reply:
            case Verified(answer) if answer.result in (Result.APPROVED, Result.DECLINED):
                if task.operation == "refund" and answer.result is Result.APPROVED and task.order:
                    # the receipt of a refund is made with its answer, whoever prints it and when
                    self._journal.note_receipt(
                        task.ref, "refund", task.number, task.minor, task.order.amount.currency, task.batch,
                        copy=False,
                    )  # fmt: skip
                self._journal.conclude_task(key, str(answer.result), msgspec.json.encode(answer))
            case Lost(code=code) if (task.operation, code) in NOTHING_DONE:
                # left open, it would halt the journal again after each recovery; an advice stays open: its
                # goods are gone, and no such word may be said to it
                refused = Answer(Result.DECLINED, code)
                self._journal.conclude_task(key, str(refused.result), msgspec.json.encode(refused))
            case Told(DisputeAnswer() as filed):
                self._journal.conclude_task(key, "filed", encode(filed))
            case Told(ReconciliationAnswer() as closed):
                self._closed(task, closed)
            case _:
                return False
        return True

    def _closed(self, task: Task, answer: ReconciliationAnswer) -> None:
        """A batch is settled here only as it was compared: what was booked meanwhile wants another close."""
        asked = parse(task.exchange.body or b"", ReconciliationRequest, limit=MAX_RECONCILIATION_BYTES)
        body = encode(answer)
        held = [(one.ref, one.kind, one.number, one.minor) for one in self._journal.bookings(asked.closes)]
        same = held == [(item.ref, item.kind, item.number, item.minor) for item in asked.items]
        settled = asked.settle and answer.settled and same and answer.closes == asked.closes
        if settled:
            self._journal.settle(asked.closes, body)
        self._journal.conclude_task(task.key, "settled" if settled else "compared", body)
