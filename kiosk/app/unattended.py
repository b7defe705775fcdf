"""One payment without a screen: the same kernel, with the presses made by whoever called.

`kiosk pay` and the tests use it. Calling it *is* the press on "Pay with face" and the press on "Pay".
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import IntEnum
from typing import Final

from kiosk.app.kernel import Kernel
from kiosk.domain.challenge import Challenge
from kiosk.domain.decision import Reason
from kiosk.domain.errors import OperatorError
from kiosk.domain.payment import (
    Approved,
    Cancel,
    Challenged,
    Confirm,
    Declined,
    DigitsTyped,
    Identified,
    Idle,
    NotSent,
    Offer,
    Order,
    PayWithFace,
    PinEntry,
    Refused,
    Result,
    Reversed,
    Reversing,
    SecondFactor,
    Sent,
    State,
    Unknown,
)
from kiosk.domain.pin import Pin, PinTyped
from kiosk.domain.ports import Clock

__all__ = ["Exit", "earlier_end", "exit_code", "pay_once", "resolve_open"]


class Exit(IntEnum):
    """Exit codes of `kiosk pay`."""

    APPROVED = 0
    WRONG_USE = 2
    DECLINED = 10
    NOT_RECOGNISED = 11
    ATTACK_SUSPECTED = 12
    NO_USABLE_FACE = 13
    UNKNOWN = 14
    SECOND_FACTOR = 15
    OVER_LIMIT = 16
    NOT_SENT = 17


_REFUSALS: Final = {
    Reason.NOT_RECOGNISED: Exit.NOT_RECOGNISED,
    Reason.AMBIGUOUS: Exit.NOT_RECOGNISED,
    Reason.ATTACK_SUSPECTED: Exit.ATTACK_SUSPECTED,
    Reason.LIVENESS_UNSURE: Exit.ATTACK_SUSPECTED,
    Reason.NO_FACE: Exit.NO_USABLE_FACE,
    Reason.TWO_FACES: Exit.NO_USABLE_FACE,
    Reason.TIMED_OUT: Exit.NO_USABLE_FACE,
    Reason.PIN_NEEDED: Exit.SECOND_FACTOR,
    Reason.OVER_LIMIT: Exit.OVER_LIMIT,
    Reason.LOCKED: Exit.SECOND_FACTOR,
    Reason.FACE_NOT_ALLOWED: Exit.DECLINED,
    Reason.GALLERY_STALE: Exit.DECLINED,
}


def pay_once(
    kernel: Kernel,
    order: Order,
    *,
    clock: Clock,
    digits: str | None = None,
    pin: str | None = None,
    resolve_s: float = 30.0,
    watch: Callable[[State], None] = lambda state: None,
    ask: Callable[[Challenge], None] = lambda challenge: None,
) -> State:
    """Run one sale to its end and return its last state; an unknown outcome is waited for `resolve_s`.

    `ask` brings a challenge before the payer, on the kernel's thread.
    """
    give_up: list[int] = []

    def press(state: State) -> None:
        watch(state)
        match state:
            case Challenged(challenge=challenge):
                ask(challenge)
            case Identified(payer=payer) | PinEntry(payer=payer, tries=0) if (
                digits is not None and not kernel.digits_fit(payer.token, digits)
            ):
                kernel.contradicted(payer.token)
                kernel.post(Cancel())  # digits that contradict the face are no confirmation
            case Identified():
                kernel.post(Confirm())
            case PinEntry(tries=0) if pin is not None:
                kernel.post(PinTyped(Pin(pin)))
            case SecondFactor(tries=0) if digits is not None:
                kernel.post(DigitsTyped(digits))

    def over(state: State) -> bool:
        match state:
            case Unknown() | Reversing():
                give_up[:] = give_up or [clock.monotonic_ms() + round(resolve_s * 1000)]
                return clock.monotonic_ms() >= give_up[0]
            case SecondFactor(tries=tries):
                return digits is None or tries > 0
            case PinEntry(tries=tries):
                return pin is None or tries > 0
            case Refused() | Approved() | Declined() | NotSent() | Reversed() | Idle():
                return True
        return False

    kernel.on_state, kernel.keeps_screen = press, True
    kernel.handle(Offer(order))
    kernel.handle(PayWithFace())
    kernel.run(until=over)
    return kernel.state


def earlier_end(kernel: Kernel, order: Order, *, clock: Clock, resolve_s: float) -> State | None:
    """What an earlier attempt to pay `order` came to; None when it may be paid now.

    An open one is waited for. The same request twice is one payment: an approved one is told again.

    Raises:
        OperatorError: the order was paid with another amount.
    """
    for attempt in kernel.attempts_of(order.order_ref):
        if attempt.ref in kernel.behind:
            resolve_open(kernel, clock=clock, wait_s=resolve_s, refs={attempt.ref})
    for attempt in kernel.attempts_of(order.order_ref):
        if attempt.answer is None:
            return Unknown(attempt.order, attempt.ref, queries=0, shown_until=0, until=0)
        if attempt.answer.result is Result.APPROVED:
            if attempt.order.amount != order.amount:
                raise OperatorError(
                    f"order {order.order_ref} is paid with {attempt.order.amount} (ref {attempt.ref})",
                    do="Give another purchase another --order.",
                )
            return Approved(attempt.order, attempt.ref, attempt.answer, until=0)
    return None


def resolve_open(
    kernel: Kernel,
    *,
    clock: Clock,
    wait_s: float,
    refs: Collection[str] | None = None,
    ended: Callable[[str], None] = lambda ref: None,
) -> int:
    """Ask and reverse until nothing is open (of `refs`), for at most `wait_s`; how many are still open.

    `ended` is told each `ref` that came to its end.
    """
    give_up = clock.monotonic_ms() + round(wait_s * 1000)
    waiting = set(kernel.behind if refs is None else refs)

    def over(state: State) -> bool:
        for ref in waiting - kernel.behind.keys():
            waiting.discard(ref)
            ended(ref)
        return not waiting or clock.monotonic_ms() >= give_up

    kernel.run(until=over)
    return len(waiting)


def exit_code(state: State, *, digits_given: bool) -> Exit:
    """The exit code that goes with the last state of a sale."""
    match state:
        case Approved():
            return Exit.APPROVED
        case Refused():
            return _REFUSALS[state.reason]
        case SecondFactor():
            return Exit.NOT_RECOGNISED if digits_given else Exit.SECOND_FACTOR
        case PinEntry(tries=tries):
            return Exit.DECLINED if tries else Exit.SECOND_FACTOR
        case NotSent():
            return Exit.NOT_SENT
        case Sent() | Unknown() | Reversing():
            return Exit.UNKNOWN
        case Reversed():
            return Exit.UNKNOWN  # the outcome was unknown; the reversal is acknowledged, nothing is charged
        case Idle() if digits_given:
            return Exit.NOT_RECOGNISED
        case _:
            return Exit.DECLINED
