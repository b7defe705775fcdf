"""Tills, a shopper, an acquirer, the network and restarts in any order: what tills are told is the truth."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kiosk.acquirer.client import Lost, Reply, ReversalConfirmed, Unsent, Verified
from kiosk.acquirer.messages import Exchange
from kiosk.domain.money import Money
from kiosk.domain.payment import Answer, Cancel, Confirm, Done, Idle, Means, Offered, PayAnotherWay, Result
from kiosk.domain.till import Abort, AskStatus, OpenPayment, Outcome, Request, Told

from .test_kernel import unit
from .test_till import Counter, FakeTill

ORDERS = {"A-1": Money(3850, "CNY"), "A-2": Money(100, "CNY"), "A-3": Money(999, "CNY")}
NOT_CHARGED = (Outcome.DECLINED, Outcome.REVERSED, Outcome.RETURNED, Outcome.ABORTED)


class CheckingTill(FakeTill):
    """A till that holds what it is told against the acquirer's books, at the moment when it is told."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world, self.waiting = world, dict[str, str]()

    def answer(self, request: Request, told: Told) -> None:
        super().answer(request, told)
        if isinstance(request, OpenPayment):
            self.world.check(told, final=True)
            if self.waiting.get(request.order_ref) == request.id:
                del self.waiting[request.order_ref]
        elif not isinstance(request, Abort) or told.outcome is not Outcome.TOO_LATE:
            self.world.check(told, final=False)

    def notify(self, told: Told) -> None:
        super().notify(told)
        self.world.check(told, final=False)


class World(RuleBasedStateMachine):
    """Three orders, two tills, one kiosk, and an acquirer that keeps books."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.shop = Counter(self.folder)
        self.tills = [CheckingTill(self), CheckingTill(self)]
        self.books: dict[str, tuple[str, Result]] = {}
        """By attempt: its order and what became of it."""
        self.calls: list[tuple[Exchange, Callable[[Reply], None]]] = []
        self.asked = 0

    def teardown(self) -> None:
        """All is well from now on: every order comes to its end, and whoever still waits hears it."""
        for _ in range(60):
            self._collect()
            while self.calls:
                self._reply(0, arrives=True, comes_back=True, approves=True)
            self.shop.later(30_000)
        assert not self.shop.journal.open_attempts()
        assert isinstance(self.shop.kernel.state, Idle)
        assert all(till.gone or not till.waiting for till in self.tills)
        self.shop.journal.close()
        shutil.rmtree(self.folder)

    # --- the truth ---

    def check(self, told: Told, *, final: bool) -> None:
        """Nothing is told that the books contradict, or could still come to contradict."""
        paid = [ref for ref, (order, result) in self.books.items() if order == told.order_ref
                and result is Result.APPROVED]  # fmt: skip
        if told.outcome is Outcome.APPROVED:
            assert paid == [told.ref]
        if told.outcome in NOT_CHARGED:
            assert not paid
            assert not self.shop.journal.is_paid_or_open(told.order_ref)
        if told.outcome in (Outcome.NOT_FOUND, Outcome.RETURNED, Outcome.ABORTED):
            assert not self.shop.journal.attempts_of(told.order_ref), "what was sent is never forgotten"
        assert not (final and told.is_open)

    @invariant()
    def no_order_is_debited_twice(self) -> None:
        paid = [order for order, result in self.books.values() if result is Result.APPROVED]
        assert len(paid) == len(set(paid))

    # --- the tills ---

    def _hear(self, request: Request, till: CheckingTill) -> None:
        self.shop.hear(request, till)
        self._collect()

    @rule(number=st.integers(0, 1), order=st.sampled_from(sorted(ORDERS)), again=st.booleans())
    def ask(self, number: int, order: str, again: bool) -> None:
        till = self.tills[number]
        name = till.waiting.get(order) if again else None
        if name is None:
            self.asked += 1
            name = str(self.asked)
        till.waiting[order] = name
        self._hear(OpenPayment(name, order, ORDERS[order]), till)

    @rule(number=st.integers(0, 1), order=st.sampled_from(sorted(ORDERS)))
    def abort(self, number: int, order: str) -> None:
        self._hear(Abort("abort", order), self.tills[number])

    @rule(number=st.integers(0, 1), order=st.sampled_from(sorted(ORDERS)))
    def status(self, number: int, order: str) -> None:
        self._hear(AskStatus("status", order), self.tills[number])

    @rule(number=st.integers(0, 1))
    def vanish(self, number: int) -> None:
        self.tills[number].gone = True
        self.tills[number] = CheckingTill(self)

    # --- the shopper ---

    @precondition(lambda self: isinstance(self.shop.kernel.state, Offered))
    @rule()
    def pay(self) -> None:
        self.shop.press()
        self._collect()

    @rule(press=st.sampled_from([Cancel(), Done(), Confirm(), *map(PayAnotherWay, Means)]))
    def press(self, press: Cancel | Done | Confirm | PayAnotherWay) -> None:
        self.shop.kernel.handle(press)
        self.shop.drain()
        self._collect()

    @precondition(lambda self: isinstance(self.shop.kernel.state, Offered))
    @rule()
    def look_like_a_stranger(self) -> None:
        self.shop.look(unit(99))
        self.shop.drain()

    # --- acquirer, network, time, power ---

    def _collect(self) -> None:
        self.calls += self.shop.acquirer.sent
        self.shop.acquirer.sent.clear()

    @precondition(lambda self: self.calls)
    @rule(index=st.integers(0, 9), arrives=st.booleans(), comes_back=st.booleans(), approves=st.booleans())
    def reply(self, index: int, arrives: bool, comes_back: bool, approves: bool) -> None:
        self._reply(index % len(self.calls), arrives, comes_back, approves)

    def _reply(self, index: int, arrives: bool, comes_back: bool, approves: bool) -> None:
        exchange, done = self.calls.pop(index)
        reply = self._acquirer(exchange, approves) if arrives else Unsent("no route")
        done(reply if comes_back or not arrives else Lost("no answer"))
        self.shop.drain()
        self._collect()

    def _acquirer(self, exchange: Exchange, approves: bool) -> Reply:
        """Its books are kept before its answer is sent; a reversal leaves a tombstone."""
        ref = exchange.ref
        if exchange.operation == "payment":
            order = next(
                attempt.order.order_ref for attempt in self.shop.journal.payments() if attempt.ref == ref
            )
            self.books.setdefault(ref, (order, Result.APPROVED if approves else Result.DECLINED))
        if exchange.operation == "reversal":
            self.books[ref] = (self.books.get(ref, ("", Result.REVERSED))[0], Result.REVERSED)
            return ReversalConfirmed()
        if exchange.operation not in ("payment", "status") or ref not in self.books:
            return Lost("not known")
        return Verified(Answer(self.books[ref][1]))

    @rule(ms=st.sampled_from([250, 2_000, 20_000, 61_000]))
    def wait(self, ms: int) -> None:
        self.shop.later(ms)
        self._collect()

    @rule()
    def restart(self) -> None:
        for till in self.tills:
            till.gone = True
        self.calls.clear()
        self.shop.restart()
        self.tills = [CheckingTill(self), CheckingTill(self)]


World.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestWorld = World.TestCase
