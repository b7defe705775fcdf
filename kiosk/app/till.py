"""The till's orders, from the wire to the kernel and their ends back.

What a till is told of an order is read from the journal and from what is on the screen, never from what this
process remembers having said: the same question has the same answer after a restart, to another connection,
to a till that died meanwhile. A till that is gone changes nothing about the money.

    wire's thread: heard() -> kernel.post(work)     kernel's thread: everything else
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from kiosk.acquirer.journal import PaymentEntry
from kiosk.app.kernel import Kernel
from kiosk.app.receipts import LATER, of_payment
from kiosk.app.wiring import Base
from kiosk.domain.errors import OperatorError
from kiosk.domain.money import Money
from kiosk.domain.payment import (
    Answer,
    Cancel,
    Done,
    Idle,
    NothingSent,
    NotSent,
    Offer,
    Order,
    OtherMeans,
    Over,
    Refused,
    Result,
    Sent,
    State,
)
from kiosk.domain.receipt import render
from kiosk.domain.till import (
    Abort,
    AskStatus,
    Diagnose,
    OpenPayment,
    Outcome,
    Request,
    Till,
    TillWire,
    Told,
)
from kiosk.till.key import KEY_NAME, read_key

__all__ = ["TillDesk", "open_till", "till_desk", "till_key_file"]

MAX_HEARD: Final = 64
"""Requests that may wait for the kernel's thread; one more is answered with `busy` at once."""
MAX_RETURNED: Final = 200
"""Orders of which it is remembered that they were given back: the journal knows nothing of those."""

_OUTCOMES: Final = {
    Result.APPROVED: Outcome.APPROVED,
    Result.DECLINED: Outcome.DECLINED,
    Result.REVERSED: Outcome.REVERSED,
}


@dataclass(slots=True)
class _Waiting:
    """A till that is told the end of an order: as the answer to `request`, or (None) as news.

    `knows`: it has been told that the order is not final.
    """

    request: OpenPayment | None
    knows: bool


class TillDesk:
    """`kiosk.domain.ports.TillLink` for the kernel; `join` it to the kernel that was made with it.

    `currency`: what this kiosk takes; `payee` stands on the screen; `language`: of the receipts' lines.
    """

    def __init__(self, *, payee: str, currency: str, language: str = "en") -> None:
        self._payee, self._currency, self._language = payee, currency, language
        self._kernel: Kernel | None = None
        self._room = threading.BoundedSemaphore(MAX_HEARD)
        self._waiting: dict[str, dict[Till, _Waiting]] = {}
        """By order: who wants to hear its end."""
        self._returned: OrderedDict[str, tuple[str, Told]] = OrderedDict()
        """By order: the request that it was given back to, and what was said."""
        self._refusal = ("", "")
        """The last order that was refused on the screen, and why."""
        self._aborting = ""
        self._seen: State | None = None

    def join(self, kernel: Kernel) -> None:
        """From now on tills are heard."""
        self._kernel = kernel
        kernel.on_tick.append(self._tick)

    # --- the wire's thread ------------------------------------------------------------------------------

    def heard(self, request: Request, till: Till) -> None:
        """A till's request; its answer comes from the kernel's thread."""
        kernel = self._kernel
        if kernel is None:
            till.answer(request, Told(Outcome.OUT_OF_ORDER, code="starting"))
        elif not self._room.acquire(blocking=False):
            till.answer(request, Told(Outcome.BUSY, code="too_many_requests"))
        else:
            kernel.post(lambda: self._take(kernel, request, till))

    # --- the kernel's thread ----------------------------------------------------------------------------

    def concluded(self, order: Order, ref: str, result: Result, answer: Answer) -> None:
        """An attempt came to its end. Whether the order did too is asked when the screen has moved on."""
        self._look_again(order.order_ref)

    def handed_back(self, order: Order) -> None:
        """Nothing was charged and nothing is under way."""
        self._give_back(order.order_ref, order.amount)
        self._look_again(order.order_ref)

    def not_to_be_paid(self, order: Order) -> None:
        """The journal says why."""
        self._look_again(order.order_ref)

    def _look_again(self, order_ref: str) -> None:
        """Tell what became of an order once the message that is being handled has been carried to its end."""
        if self._kernel is not None and order_ref in self._waiting:
            self._kernel.post(lambda: self._tell(order_ref))

    def _tick(self) -> None:
        """Notice what nobody is called for: an outcome that has become open, an order that staff have."""
        kernel = self._kernel
        if kernel is None or kernel.state is self._seen:
            return
        self._seen = kernel.state
        if isinstance(kernel.state, Refused):
            self._refusal = (kernel.state.order.order_ref, kernel.state.reason.value)
        for order_ref in self._waiting:
            self._look_again(order_ref)

    def _take(self, kernel: Kernel, request: Request, till: Till) -> None:
        self._room.release()
        try:
            match request:
                case OpenPayment():
                    self._open(kernel, request, till)
                case Abort(order_ref=order_ref):
                    till.answer(request, self._abort(kernel, order_ref))
                case AskStatus(order_ref=order_ref):
                    told = self._status(kernel, order_ref)
                    if told.is_open:
                        self._wait(till, order_ref, None, told)
                    till.answer(request, told)
                case Diagnose():
                    till.answer(request, self._readiness(kernel))
        except OperatorError as failure:  # the journal can't be read
            kernel.failure = failure
            till.answer(request, Told(Outcome.OUT_OF_ORDER, code="journal"))

    def _open(self, kernel: Kernel, request: OpenPayment, till: Till) -> None:
        name = request.order_ref
        known = self._status(kernel, name)
        if known.is_open or known.outcome in _OUTCOMES.values():
            if known.amount != request.amount:
                till.answer(request, Told(Outcome.MISMATCH, name, known.amount))
            elif known.is_open:
                self._wait(till, name, request, known)
                if known.outcome is Outcome.NOT_FINAL:
                    till.notify(known)
            else:
                till.answer(request, known)
        elif known.amount == request.amount and self._returned[name][0] == request.id:
            till.answer(request, known)  # the same request again: its answer was lost
        else:
            self._offer(kernel, request, till)

    def _offer(self, kernel: Kernel, request: OpenPayment, till: Till) -> None:
        """Bring an order that nothing is known of onto the screen."""
        name = request.order_ref
        if request.amount.currency != self._currency:
            till.answer(request, Told(Outcome.OUT_OF_ORDER, name, request.amount, code="currency"))
            return
        if isinstance(kernel.state, Over) and kernel.state.order.order_ref == name:
            kernel.handle(Done())  # its last try is still on the screen
        if not isinstance(kernel.state, Idle | Over):
            till.answer(request, Told(Outcome.BUSY, name, request.amount))
            return
        self._returned.pop(name, None)
        self._refusal = ("", "")
        self._wait(till, name, request, Told(Outcome.IN_PROGRESS))
        kernel.handle(Offer(Order(name, request.amount, self._payee)))

    def _abort(self, kernel: Kernel, order_ref: str) -> Told:
        order = _order_of(kernel.state)
        if isinstance(kernel.state, NothingSent) and order is not None and order.order_ref == order_ref:
            self._aborting = order_ref
            kernel.handle(Cancel())
            self._aborting = ""
        told = self._status(kernel, order_ref)
        return replace(told, outcome=Outcome.TOO_LATE) if told.is_open else told

    def _wait(self, till: Till, order_ref: str, request: OpenPayment | None, told: Told) -> None:
        """Remember who wants to hear the order's end; the newest request of a till is the one answered."""
        tills = {one: waiting for one, waiting in self._waiting.get(order_ref, {}).items() if not one.gone}
        before = tills.pop(till, None)  # it comes last again: the newest request is the order's
        if request is None and before is not None:
            request = before.request
        tills[till] = _Waiting(request, told.outcome is Outcome.NOT_FINAL)
        self._waiting[order_ref] = tills

    def _tell(self, order_ref: str) -> None:
        """Tell those who wait for an order what is new: that it is not final, or its end."""
        kernel, tills = self._kernel, self._waiting.get(order_ref)
        if kernel is None or tills is None:
            return
        try:
            told = self._status(kernel, order_ref)
        except OperatorError as failure:
            kernel.failure, self._seen = failure, None  # asked again at the next tick
            return
        if not told.is_open:
            del self._waiting[order_ref]
        for till, waiting in tills.items():
            if told.outcome is Outcome.NOT_FINAL and not waiting.knows:
                waiting.knows = True
                till.notify(told)
            elif not told.is_open and waiting.request is not None:
                till.answer(waiting.request, told)
            elif not told.is_open:
                till.notify(told)

    # --- what is known ----------------------------------------------------------------------------------

    def _status(self, kernel: Kernel, order_ref: str) -> Told:
        """What can be said of an order now: the journal first, then the screen, then what was given back."""
        attempts = kernel.attempts_of(order_ref)
        on_screen = _order_of(kernel.state)
        shown = on_screen if on_screen is not None and on_screen.order_ref == order_ref else None
        for entry in attempts:
            if entry.answer is None:
                sent = shown is not None and isinstance(kernel.state, Sent)
                outcome = Outcome.IN_PROGRESS if sent else Outcome.NOT_FINAL
                return Told(outcome, order_ref, entry.order.amount, entry.ref, at_s=entry.at)
            if entry.answer.result is Result.APPROVED:
                return self._end(kernel, entry, entry.answer)
        if shown is not None and isinstance(kernel.state, NothingSent | Sent):
            return Told(Outcome.IN_PROGRESS, order_ref, shown.amount)
        if attempts and attempts[0].answer is not None:
            return self._end(kernel, attempts[0], attempts[0].answer)
        if order_ref in self._returned:
            return self._returned[order_ref][1]
        if order_ref in self._waiting:  # it left the screen on a way of which no till is told
            asked = self._asked(order_ref)
            return self._give_back(order_ref, asked.amount if asked else None)
        return Told(Outcome.NOT_FOUND, order_ref)

    def _give_back(self, order_ref: str, amount: Money | None) -> Told:
        """Remember that the order is the till's again, as the answer to the last request for it."""
        outcome = Outcome.ABORTED if self._aborting == order_ref else Outcome.RETURNED
        asked, state = self._asked(order_ref), self._kernel.state if self._kernel else Idle()
        code = self._refusal[1] if self._refusal[0] == order_ref else ""
        if not code and isinstance(state, OtherMeans | NotSent) and state.order.order_ref == order_ref:
            code = f"by_{state.means}" if isinstance(state, OtherMeans) else "not_sent"
        told = Told(outcome, order_ref, amount, code=code)
        self._returned[order_ref] = (asked.id if asked else "", told)
        self._returned.move_to_end(order_ref)
        if len(self._returned) > MAX_RETURNED:
            self._returned.popitem(last=False)
        return told

    def _asked(self, order_ref: str) -> OpenPayment | None:
        """The last request for an order among those that wait for an answer."""
        tills = self._waiting.get(order_ref, {}).values()
        return next((waiting.request for waiting in reversed(tills) if waiting.request is not None), None)

    def _readiness(self, kernel: Kernel) -> Told:
        """Whether the smallest order there is could be paid by face now."""
        smallest = Order("till-diagnosis", Money(1, self._currency), self._payee)
        refusal = kernel.refusal_of(smallest)
        if refusal is not None:
            return Told(Outcome.OUT_OF_ORDER, code=refusal.reason.value)
        return Told(Outcome.READY if isinstance(kernel.state, Idle | Over) else Outcome.BUSY)

    def _end(self, kernel: Kernel, entry: PaymentEntry, answer: Answer) -> Told:
        receipt = of_payment(kernel.setting, entry, kernel.tasks_of(entry.ref), copy=False)
        return Told(
            _OUTCOMES[answer.result],
            entry.order.order_ref,
            entry.order.amount,
            entry.ref,
            answer.code,
            answer.approval,
            receipt.rrn,
            receipt.masked_payer,
            entry.at,
            tuple(render(receipt, language=self._language).splitlines()),
            standing=str(receipt.outcome) if receipt.outcome in LATER else "",
            refunded=receipt.refunded,
        )


def _order_of(state: State) -> Order | None:
    return None if isinstance(state, Idle) else state.order


def till_desk(base: Base) -> TillDesk:
    """The desk for `open_kiosk`; it hears tills once `open_till` has opened their wire."""
    store = base.config.store
    return TillDesk(payee=store.payee, currency=store.currency, language=base.config.screen.language)


@contextmanager
def open_till(base: Base, desk: TillDesk) -> Iterator[None]:
    """The wire that the configuration names for the desk: none, TCP or a serial line.

    Opened after the kiosk, which says when another one runs on the same data folder; that one holds the wire
    too, and the wire's words would blame the port.

    Raises:
        OperatorError: no key, or the address can't be listened on.
    """
    wire = _wire(base)
    if wire is None:
        yield
        return
    try:
        wire.open(desk.heard)
        yield
    finally:
        wire.close()


def till_key_file(base: Base) -> Path:
    """Where the key is that this kiosk shares with its till."""
    return Path(base.config.till.key_file) if base.config.till.key_file else base.data_dir / KEY_NAME


def _wire(base: Base) -> TillWire | None:
    where = base.config.till
    match where.link:
        case "tcp":
            from kiosk.devices.till_tcp import TcpTill

            return TcpTill(
                where.address,
                where.port,
                key=read_key(till_key_file(base)),
                poi_id=base.config.store.terminal_id,
                clock=base.clock,
                warn=base.warn,
            )
        case "serial":
            from kiosk.devices.till_serial import SerialTill

            return SerialTill(where.device, where.baud, clock=base.clock, warn=base.warn)
        case "off":
            return None
