"""`kiosk pay`: one payment without a screen. Running it is the press on *Pay with face* and on *Pay*."""

from __future__ import annotations

import os
import re
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from kiosk.cli.common import (
    REQUESTS,
    Camera,
    ConfigFile,
    DataDir,
    Json,
    ask_payer,
    complain,
    print_json,
    say,
)
from kiosk.domain.challenge import Challenge
from kiosk.domain.decision import Reason
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import LimitKind
from kiosk.domain.money import CURRENCIES, Money, MoneyError
from kiosk.domain.payment import (
    WRONG_PIN,
    Approved,
    Declined,
    Idle,
    NotSent,
    Order,
    PinEntry,
    Refused,
    Reversed,
    Reversing,
    SecondFactor,
    Sent,
    State,
    Unknown,
)
from kiosk.domain.pin import Pin
from kiosk.domain.receipt import OFFLINE_CODE, Outcome, Receipt, reason

if TYPE_CHECKING:
    from kiosk.app.unattended import Exit
    from kiosk.app.wiring import Kiosk

__all__ = ["pay"]

MAX_ORDER: Final = 128
LIMITS: Final = {
    LimitKind.PER_PAYMENT: "one payment at most",
    LimitKind.PER_PERSON_HOUR: "one person in one hour, with what was paid before, at most",
    LimitKind.PER_PERSON_DAY: "one person in one day, with what was paid before, at most",
    LimitKind.PER_KIOSK_DAY: "this kiosk in one day, with what was paid before, at most",
    LimitKind.PER_PERSON_HOUR_COUNT: "payments of one person in one hour, at most",
    LimitKind.PER_PERSON_DAY_COUNT: "payments of one person in one day, at most",
    LimitKind.PER_KIOSK_DAY_COUNT: "payments at this kiosk in one day, at most",
}
REFUSALS: Final = {
    Reason.NOT_RECOGNISED: "not recognised; look again or pay another way",
    Reason.AMBIGUOUS: "two people are too close to tell apart; pay another way",
    Reason.ATTACK_SUSPECTED: "presentation attack suspected; nothing was sent",
    Reason.LIVENESS_UNSURE: "not sure that a person is looking; nothing was sent",
    Reason.NO_FACE: "no usable face",
    Reason.TWO_FACES: "more than one face: one person please",
    Reason.TIMED_OUT: "no usable face within 15 s",
    Reason.PIN_NEEDED: "the amount needs a PIN, and the acquirer gave no key to seal one; pay another way",
    Reason.LOCKED: "too many wrong tries: payment by face is closed for now; pay another way",
    Reason.FACE_NOT_ALLOWED: "payment by face is not allowed for this order here and now",
    Reason.GALLERY_STALE: "this kiosk was offline for too long; kiosk gallery status says since when",
}

WHAT_TO_DO: Final = {
    "pin_blocked": ". No PIN is tried any more: the payer asks their provider, or pays another way",
    "pin_format": ". This kiosk and the acquirer do not agree on the PIN's key; see `kiosk doctor`",
    "payer_blocked": ". The payer asks their provider, or pays another way",
}
"""After a decline that another try does not end."""


def pay(
    camera: Camera,
    amount: Annotated[str, typer.Option(metavar="38.50", help="Amount with a point, more than zero.")],
    currency: Annotated[
        str, typer.Option(metavar="CODE", help="ISO 4217; default: the configured one.")
    ] = "",
    digits: Annotated[
        str | None, typer.Option(metavar="1234", help="Last four digits of the phone number, if asked.")
    ] = None,
    pin_file: Annotated[
        str,
        typer.Option(metavar="FILE", help="File with the wallet PIN, if one is asked for; - reads stdin."),
    ] = "",
    order: Annotated[
        str | None,
        typer.Option(metavar="REF", help="The purchase; it can be approved once. Default: a new one."),
    ] = None,
    resolve: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, max=600, help="How long to wait for an unknown outcome."),
    ] = 30.0,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Take one payment without a screen: look, decide, ask the acquirer, print the receipt.

    Where a camera's look isn't sure, a line on stderr asks to turn the head.

    Exit code: 0 approved, 10 declined, 11 not recognised, 12 presentation attack suspected, 13 no usable
    face, 14 outcome unknown (don't pay again), 15 second factor needed, 16 over a limit, 17 not sent
    (nothing charged), 2 wrong use.

    Example: kiosk pay --camera face.jpg --amount 38.50
    """
    if digits is not None and not re.fullmatch(r"[0-9]{4}", digits, re.ASCII):
        raise OperatorError(f"--digits {digits!r}", do="Give the last four digits of the phone number.")
    if order is not None and not (
        order.strip() == order and 1 <= len(order) <= MAX_ORDER and order.isprintable()
    ):
        raise OperatorError(
            f"--order {order[:40]!r}", do=f"Use 1 to {MAX_ORDER} printable characters without space around."
        )
    pin = _pin(pin_file) if pin_file else None
    from kiosk.app.unattended import Exit, earlier_end, exit_code, pay_once
    from kiosk.app.wiring import open_base, open_kiosk

    with open_base(data_dir, config, complain) as base:
        if currency and currency not in CURRENCIES:
            raise OperatorError(
                f"unknown currency {currency!r}", where="--currency", do="Use an ISO 4217 code such as CNY."
            )
        money = _money(amount, currency or base.config.store.currency)
        purchase = Order(order or f"K-{secrets.token_hex(6)}", money, base.config.store.payee)
    with open_kiosk(base, camera=camera) as kiosk:
        kiosk.looker.kinds = tuple(REQUESTS)

        def ask(challenge: Challenge) -> None:
            ask_payer(challenge.kind)
            kiosk.looker.shown(challenge, 0, time.monotonic_ns())

        policy = kiosk.kernel.setting.policy
        if policy is None:
            complain(
                f"not sent, nothing charged: {kiosk.policy_problem or 'no policy of the acquirer is stored'}"
            )
            raise typer.Exit(Exit.NOT_SENT)
        if policy.currency != money.currency:
            raise OperatorError(
                f"{money.currency} is not taken here", do=f"The acquirer's policy is in {policy.currency}."
            )
        earlier = earlier_end(kiosk.kernel, purchase, clock=kiosk.clock, resolve_s=resolve)
        with _interruptible():
            try:
                state = earlier or pay_once(
                    kiosk.kernel,
                    purchase,
                    clock=kiosk.clock,
                    digits=digits,
                    pin=pin,
                    resolve_s=resolve,
                    ask=ask,
                )
            except KeyboardInterrupt:
                state = kiosk.kernel.state
                if not isinstance(state, Sent | Unknown | Reversing):
                    complain("stopped before anything was sent; nothing was charged")
                    raise
        failure = kiosk.looker.failure or kiosk.kernel.failure
        if isinstance(state, Refused | NotSent) and failure is not None:
            raise failure
        code = exit_code(state, digits_given=digits is not None)
        try:
            _report(state, purchase, kiosk, code, as_json=json, again=earlier is not None)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read it is gone: what became of the money is in the exit code
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if code:
        raise typer.Exit(code)


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM as Ctrl-C: whoever stops a payment still hears what is known of it."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _pin(file: str) -> str:
    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as source:
            pin = source.read(64).strip()
    except OSError as error:
        raise OperatorError(
            f"cannot be read ({error.strerror})", where=file, do="Check --pin-file."
        ) from None
    try:
        Pin(pin.decode("ascii")).wipe()
    except ValueError:
        raise OperatorError("not a PIN", where=file, do="Give 4 to 12 digits and nothing else.") from None
    return pin.decode("ascii")


def _money(amount: str, currency: str) -> Money:
    try:
        money = Money.parse(amount, currency)
    except MoneyError as error:
        raise OperatorError(str(error), where="--amount") from None
    if money.minor == 0:
        raise OperatorError(f"amount {amount!r} is zero: a payment is more than zero", where="--amount")
    return money


def _report(state: State, order: Order, kiosk: Kiosk, code: Exit, *, as_json: bool, again: bool) -> None:
    if as_json:
        print_json(_as_json(state, order, kiosk, code) | {"again": again})
        return
    line = _line(state, order, kiosk)
    if again and isinstance(state, Approved):
        receipt = _as_it_is_now(state, kiosk)
        line = f"{_paid_before(receipt) or line} (paid before; nothing more was charged)"
    if code:
        complain(line)
    else:
        from kiosk.domain.receipt import render

        say(line)
        if kiosk.kernel.last_receipt is not None:
            say(render(kiosk.kernel.last_receipt, language=kiosk.base.config.screen.language))


def _line(state: State, order: Order, kiosk: Kiosk) -> str:
    match state:
        case Approved(ref=ref, answer=answer) if answer.code == OFFLINE_CODE:
            paid = f"{order.amount} OFFLINE order {order.order_ref} approval {answer.approval} ref {ref}"
            return f"APPROVED {paid} (charged when the acquirer is reached again)"
        case Approved(ref=ref, answer=answer):
            return f"APPROVED {order.amount} order {order.order_ref} approval {answer.approval} ref {ref}"
        case Declined(answer=answer) if answer.code == "order_paid":
            return f"order {order.order_ref} was paid elsewhere: don't take it again; nothing was charged now"
        case Declined(answer=answer):
            do = WHAT_TO_DO.get(answer.code, "")
            return f"declined by the acquirer: {reason(answer.code)}; nothing was charged{do}"
        case NotSent() if kiosk.offline.why:
            return (
                "not sent: the acquirer can't be reached; nothing was charged"
                f" (and nothing is sold offline: {kiosk.offline.why})"
            )
        case NotSent():
            return "not sent: the acquirer can't be reached; nothing was charged"
        case Sent(ref=ref) | Unknown(ref=ref) | Reversing(ref=ref):
            return f"outcome unknown: don't pay again; `kiosk resolve` goes on asking (ref {ref})"
        case Reversed(ref=ref):
            return f"the outcome was unknown and was reversed: nothing is charged (ref {ref})"
        case PinEntry(tries=0):
            return "a second factor is needed: the wallet PIN (--pin-file)"
        case PinEntry():
            left = kiosk.kernel.tries_left(state.payer.token)
            here = f"after {left} more payment by face is locked here" if left else "it is locked here now"
            return (
                f"declined by the acquirer: {reason(WRONG_PIN)}; nothing was charged. Try the right one with"
                f" --order {order.order_ref}; {here} for a while, and the provider may block the PIN sooner"
            )
        case SecondFactor(tries=0):
            return "a second factor is needed: the last four digits of the phone number (--digits)"
        case SecondFactor():
            return "not recognised with these digits"
        case Refused(refusal=refusal) if refusal.limit is not None:
            cap = refusal.limit
            return f"{order.amount} is over the limit: {LIMITS[cap.kind]} {cap.limit}"
        case Refused(refusal=refusal) if refusal.opens_at is not None:
            return REFUSALS[state.reason].replace("for now", f"until {refusal.opens_at:%H:%M}")
        case Refused(refusal=refusal) if refusal.note:
            return f"{REFUSALS[state.reason]}: {refusal.note}"
        case Refused() if not kiosk.base.gallery.size and state.reason is Reason.NOT_RECOGNISED:
            return "not recognised: nobody is enrolled here (see `kiosk enrol`)"
        case Refused() if state.reason is Reason.NO_FACE and (look := kiosk.looker.last) and look.frames_used:
            return f"no usable face: {look.frames_used} good frames are too few for a decision"
        case Refused():
            return REFUSALS[state.reason]
        case Idle():
            return "not recognised with these digits: they are another person's"
        case _:
            return "ended without a payment"


def _as_it_is_now(state: Approved, kiosk: Kiosk) -> Receipt:
    """What the journal holds of a payment that was approved, earlier or just now."""
    from kiosk.app.receipts import of_payment

    kernel = kiosk.kernel
    entry = next(one for one in kernel.attempts_of(state.order.order_ref) if one.ref == state.ref)
    return of_payment(kernel.setting, entry, kernel.tasks_of(state.ref))


def _paid_before(receipt: Receipt) -> str:
    """What became of a payment since it was approved; empty: nothing did."""
    about = f"order {receipt.order_ref} approval {receipt.approval} ref {receipt.ref}"
    match receipt.outcome:
        case Outcome.REFUNDED_IN_FULL:
            return f"REFUNDED IN FULL {receipt.refunded} {about}"
        case Outcome.REFUNDED_IN_PART:
            return f"REFUNDED IN PART {receipt.refunded} of {receipt.amount} {about}"
        case Outcome.OFFLINE_CHARGED:
            return f"APPROVED {receipt.amount} OFFLINE {about}, charged since"
        case Outcome.OFFLINE_NOT_CHARGED:
            return (
                f"OFFLINE SALE DECLINED {receipt.amount} {about}: {reason(receipt.code)}; the account was not"
                " charged, staff take it up with the provider"
            )
    return ""


def _wrong_pin(state: State) -> PinEntry | None:
    """On the PIN page again: the attempt before it was declined for its PIN."""
    return state if isinstance(state, PinEntry) and state.tries else None


def _as_json(state: State, order: Order, kiosk: Kiosk, code: Exit) -> dict[str, Any]:
    answer = getattr(state, "answer", None)
    refusal = getattr(state, "refusal", None)
    look = kiosk.looker.last
    now = _as_it_is_now(state, kiosk) if isinstance(state, Approved) else None
    wrong = _wrong_pin(state)
    return {
        "outcome": code.name.lower(),
        "exit_code": int(code),
        "amount": order.amount.decimal(),
        "currency": order.amount.currency,
        "order_ref": order.order_ref,
        "ref": getattr(state, "ref", None),
        "approval": answer.approval if answer else None,
        "rrn": answer.rrn if answer else None,
        "code": answer.code if answer else WRONG_PIN if wrong else None,
        "reason": str(refusal.reason) if refusal else None,
        "locked_until": refusal.opens_at.isoformat() if refusal and refusal.opens_at else None,
        "pin_tries_left": kiosk.kernel.tries_left(wrong.payer.token) if wrong else None,
        "not_offline": kiosk.offline.doubt,
        "liveness": str(look.outcome) if look else None,
        "frames_used": look.frames_used if look else 0,
        "challenges": [{"kind": str(one.kind), "outcome": str(one.outcome)} for one in kiosk.looker.answered],
        "standing": str(now.outcome) if now else None,
        "refunded": now.refunded.decimal() if now and now.refunded else None,
    }
