"""After a sale: give money back, hand in a dispute, close a batch; each a durable task of the journal.

A task is written before it is sent and ends by the acquirer's verified word, now or after restarts. Whoever
asks again while one is open goes on with that one: a refund that was interrupted is never made twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal

import msgspec

from kiosk import __version__
from kiosk.acquirer.journal import Journal, PaymentEntry, Task
from kiosk.acquirer.messages import Amount, PaymentRequest, new_ref, parse, utc
from kiosk.acquirer.operations import (
    MAX_RECONCILIATION_BYTES,
    DisputeAnswer,
    Envelope,
    EvidencePack,
    Item,
    JournalLine,
    ReconciliationAnswer,
    ReconciliationRequest,
    Total,
    dispute_request,
    reconciliation_request,
    refund_request,
)
from kiosk.app.kernel import Kernel, Setting
from kiosk.app.outbox import Outbox
from kiosk.domain.aftersale import (
    Comparison,
    Gap,
    PlannedRefund,
    Refund,
    Sum,
    compare,
    left_of,
    plan_refund,
    totals_of,
)
from kiosk.domain.errors import OperatorError, ProtocolError
from kiosk.domain.money import Money
from kiosk.domain.payment import Answer, Result, State
from kiosk.domain.ports import Clock
from kiosk.domain.receipt import CloseSlip, Outcome, Receipt

__all__ = [
    "About",
    "AfterSale",
    "Closed",
    "DisputeReason",
    "RefundReason",
    "answer_of",
    "dispute_of",
    "refunds_of",
    "written_dispute",
]

RefundReason = Literal["customer", "goods", "mistake", "other"]
DisputeReason = Literal["not_me", "amount", "twice", "goods", "other"]
MAX_LINES: Final = 64
"""Of the journal in one evidence pack; the protocol carries no more."""


@dataclass(frozen=True, slots=True)
class About:
    """Of a booking that differs: its order (empty where only the acquirer knows it), and the code by which
    the acquirer declined it after it was accepted offline."""

    order_ref: str
    declined: str = ""


@dataclass(frozen=True, slots=True)
class Closed:
    """One batch held against the acquirer. `settled`: it is closed for good. `about`: by the ref of a gap."""

    comparison: Comparison
    settled: bool
    about: Mapping[str, About]


class AfterSale:
    """For one thread: the kernel's own, or the one that runs the kernel between these calls."""

    def __init__(self, kernel: Kernel, journal: Journal, outbox: Outbox, clock: Clock) -> None:
        self._kernel, self._journal, self._outbox, self._clock = kernel, journal, outbox, clock

    # --- what there is ----------------------------------------------------------------------------------

    def payment(self, name: str) -> PaymentEntry:
        """The approved payment that `name` means: its order, its attempt or its reference (rrn).

        Raises:
            OperatorError: there is none, there are several, or it is not final.
        """
        found = self._journal.named(name)
        paid = [entry for entry in found if entry.answer and entry.answer.result is Result.APPROVED]
        if len(paid) > 1:
            raise OperatorError(
                f"{len(paid)} payments have the reference {name}", do="Give its order, or its attempt."
            )
        if paid:
            return paid[0]
        if any(entry.answer is None for entry in found):
            raise OperatorError(f"{name} is not final yet", do="Run `kiosk resolve`, then try again.")
        if found:
            raise OperatorError(f"{name} was not approved: nothing was charged")
        raise OperatorError(
            f"this kiosk has no payment {name!r}", do="Give the order or a reference, as its receipt says it."
        )

    def refunds(self, payment: PaymentEntry) -> list[Refund]:
        """Its refunds, oldest first, open and declined ones too."""
        return refunds_of(payment, self._tasks(payment.ref, "refund"))

    def left(self, payment: PaymentEntry) -> Money:
        """What can still be refunded of it."""
        return left_of(payment.order.amount, self.refunds(payment))

    def task(self, key: str) -> Task:
        """The task with this key as it stands now."""
        ref = key.partition(":")[0]
        return next(task for task in self._journal.tasks_of(ref) if task.key == key)

    def _tasks(self, ref: str, operation: str) -> list[Task]:
        return [task for task in self._journal.tasks_of(ref) if task.operation == operation]

    # --- refunds and disputes ---------------------------------------------------------------------------

    def open_refund(self, payment: PaymentEntry) -> Task | None:
        """The refund of it that is not final; at most one is."""
        open_ones = [task for task in self._tasks(payment.ref, "refund") if task.result is None]
        return open_ones[0] if open_ones else None

    def plan(self, payment: PaymentEntry, amount: Money | None) -> PlannedRefund:
        """What `refund` would ask for, with the same errors; nothing is written."""
        self._was_charged(payment)
        return plan_refund(payment.order.amount, self.refunds(payment), amount)

    def refund(
        self, payment: PaymentEntry, amount: Money | None, reason: RefundReason, approved_by: int
    ) -> Task:
        """Write a refund down, to be sent; `amount` None: all that is left. See `plan_refund` for errors."""
        plan = self.plan(payment, amount)
        exchange = refund_request(
            self._kernel.setting.terminal,
            payment.ref,
            payment.order.order_ref,
            plan.amount,
            number=plan.number,
            reason=reason,
            approved_by=str(approved_by),
            **self._envelope(),
        )
        self._journal.open_task(
            exchange, payment.order, token=payment.token, day=self._today(), minor=plan.amount.minor
        )
        return self.task(exchange.idempotency_key or "")

    def _was_charged(self, payment: PaymentEntry) -> None:
        """An offline sale can be given back only when the acquirer has taken it."""
        if not payment.offline:
            return
        advice = self._tasks(payment.ref, "advice")
        if advice and advice[0].result != Result.APPROVED:
            waits = advice[0].result is None
            raise OperatorError(
                "this offline sale was not forwarded yet" if waits else "this offline sale was declined",
                do="Wait until it was." if waits else "Nothing was charged, so nothing can go back.",
            )

    def open_dispute(self, payment: PaymentEntry) -> Task | None:
        """The dispute of it, whether it was filed yet or not."""
        return next(iter(self._tasks(payment.ref, "dispute")), None)

    def dispute(self, payment: PaymentEntry, reason: DisputeReason) -> Task:
        """Write a dispute with its evidence down, to be sent. A payment has one: again gives the first."""
        earlier = self.open_dispute(payment)
        if earlier is not None:
            return earlier
        exchange = dispute_request(
            self._kernel.setting.terminal,
            payment.ref,
            payment.order.order_ref,
            payment.order.amount,
            reason=reason,
            pack=self.evidence(payment),
            **self._envelope(),
        )
        self._journal.open_task(
            exchange, payment.order, token=payment.token, day=self._today(), minor=payment.order.amount.minor
        )
        return self.task(exchange.idempotency_key or "")

    def evidence(self, payment: PaymentEntry) -> EvidencePack:
        """What the journal knows of a payment: no face, no template, no name; it never had them.

        Where a PIN was given, the request was erased with it: the acquirer holds that one, signed.
        """
        frozen = self._journal.exchange(payment.ref, "payment")
        request = None if frozen is None else parse(frozen.body or b"", PaymentRequest)
        answer = payment.answer or Answer(Result.PENDING)
        return EvidencePack(
            evidence=request.evidence if request else None,
            consent_ref=request.consent_ref if request else "",
            policy_version=request.policy_version if request else None,
            approval=answer.approval,
            rrn=answer.rrn,
            software=f"kiosk-{__version__}",
            journal=tuple(
                JournalLine(
                    seq=entry.seq,
                    at=utc(entry.at),
                    kind=entry.kind,
                    result=entry.result,
                    body_sha256=entry.body_sha256,
                    hash=entry.hash,
                )
                for entry in self._journal.entries_of(payment.ref)[:MAX_LINES]
            ),
        )

    # --- the close of a batch ---------------------------------------------------------------------------

    def still_open(self) -> list[str]:
        """What keeps a batch from being closed, one line each."""
        attempts = [
            f"payment {one.order.amount} of order {one.order.order_ref} (ref {one.ref})"
            for one in self._journal.open_attempts()
        ]
        tasks = [
            f"{task.operation} of {task.ref}"
            for task in self._journal.open_tasks()
            if task.operation in ("refund", "advice")
        ]
        return attempts + tasks

    def open_closes(self) -> list[Task]:
        """Closes that the acquirer has not answered."""
        return [task for task in self._journal.open_tasks() if task.operation == "reconciliation"]

    def batches(self) -> list[int]:
        """Those that are not closed, oldest first: with bookings, and today's in any case."""
        return sorted({*self._journal.open_batches(), self._journal.batch(self._today())})

    def has_bookings(self, batch: int) -> bool:
        """Whether this kiosk booked anything in it: an empty day is compared, and not closed."""
        return bool(self._journal.bookings(batch))

    def close(self, batch: int, *, settle: bool) -> Task:
        """Write the comparison (`settle`: the close) of `batch` down, to be sent."""
        bookings = self._journal.bookings(batch)
        currency = self._currency()
        if any(one.currency != currency for one in bookings):
            raise OperatorError(f"batch {batch} has bookings in another currency than {currency}")
        envelope = self._envelope()
        if settle:  # from here on nothing is booked into it any more: the acquirer may have closed it
            envelope["batch"] = max(envelope["batch"], batch + 1)
        exchange = reconciliation_request(
            self._kernel.setting.terminal,
            new_ref(self._clock),
            closes=batch,
            settle=settle,
            currency=currency,
            totals=tuple(
                Total(kind=kind, count=total.count, amount=Amount(minor=total.minor, currency=currency))
                for kind, total in totals_of((one.kind, one.minor) for one in bookings).items()
            ),
            items=tuple(
                Item(ref=one.ref, kind=one.kind, number=one.number, minor=one.minor) for one in bookings
            ),
            **envelope,
        )
        self._journal.open_task(exchange, None, day=self._today(), batch=envelope["batch"])
        return self.task(exchange.idempotency_key or "")

    def closed(self, task: Task) -> Closed:
        """What came of a close that has its answer: the three sides of its batch."""
        asked = parse(task.exchange.body or b"", ReconciliationRequest, limit=MAX_RECONCILIATION_BYTES)
        answer = parse(task.answer or b"", ReconciliationAnswer, limit=MAX_RECONCILIATION_BYTES)
        comparison = compare(
            asked.closes,
            asked.currency,
            kiosk={(item.ref, item.kind, item.number): item.minor for item in asked.items},
            acquirer={total.kind: Sum(total.count, total.amount.minor) for total in answer.totals},
            named=[
                Gap(one.kind, "booking", one.kiosk, one.acquirer, one.ref, one.number)
                for one in answer.differences
            ],
            receipts={
                (one.ref, one.kind, one.number): one.minor
                for one in self._journal.receipts_in(asked.closes)
                if one.currency == asked.currency
            },
        )
        return Closed(
            comparison,
            task.result == "settled",
            {gap.ref: self._about(gap.ref, answer) for gap in comparison.gaps if gap.ref},
        )

    def _about(self, ref: str, answer: ReconciliationAnswer) -> About:
        """What people need to know of a booking that differs."""
        payment = self._journal.payment(ref)
        if payment is None:
            named = next((one.order_ref for one in answer.differences if one.ref == ref), "")
            return About(named)
        advice = next(iter(self._tasks(ref, "advice")), None)
        word = None if advice is None else answer_of(advice)
        declined = word is not None and word.result is Result.DECLINED
        return About(payment.order.order_ref, word.code if word and declined else "")

    # --- slips ------------------------------------------------------------------------------------------

    def refund_slip(self, task: Task) -> Receipt | None:
        """The receipt of a refund that was given; None while, or because, it was not."""
        payment = self._journal.payment(task.ref)
        tasks = self._tasks(task.ref, "refund")
        return None if payment is None else refund_receipt(self._kernel.setting, payment, tasks, task)

    def close_slip(self, closed: Closed) -> CloseSlip:
        """The close of a batch for printing."""
        terminal = self._kernel.setting.terminal
        return CloseSlip(
            payee=terminal.payee,
            terminal_id=terminal.terminal_id,
            mode=terminal.mode,
            batch=closed.comparison.batch,
            when=datetime.fromtimestamp(self._clock.utc_s(), self._kernel.setting.timezone),
            settled=closed.settled,
            totals=closed.comparison.totals,
            differences=len(closed.comparison.gaps),
        )

    # --- waiting ----------------------------------------------------------------------------------------

    def wait(self, keys: Collection[str], wait_s: float) -> bool:
        """Run the kernel until these tasks, open now, have their end, at most `wait_s`; whether all have.

        Nobody waits for one that only a recovery can end.
        """
        give_up = self._clock.monotonic_ms() + round(wait_s * 1000)
        waiting = set(keys)

        def over(state: State) -> bool:
            return waiting <= self._outbox.refused or self._clock.monotonic_ms() >= give_up

        self._outbox.on_end = waiting.discard
        self._outbox.hurry()
        self._outbox.tick()
        self._kernel.run(until=over)
        self._outbox.on_end = lambda key: None
        return not waiting

    # --- inside -----------------------------------------------------------------------------------------

    def _envelope(self) -> Envelope:
        return {
            "sequence": self._journal.next_sequence(),
            "batch": self._journal.batch(self._today()),
            "created_utc": self._clock.utc_s(),
            "previous": self._journal.last_hash,
        }

    def _today(self) -> date:
        """The store's day; a clock that was set back does not go back behind the last payment."""
        now = self._journal.not_before(self._clock.utc_s())
        return datetime.fromtimestamp(now, self._kernel.setting.timezone).date()

    def _currency(self) -> str:
        policy = self._kernel.setting.policy
        if policy is None:
            raise OperatorError("no policy of the acquirer is stored", do="Run `kiosk doctor`.")
        return policy.currency


def answer_of(task: Task) -> Answer | None:
    """The acquirer's word that ended a refund or an advice; None while it is open.

    One that came from the acquirer's books, or whose body was lost, has a bare result: that is an end too.
    """
    if task.result is None:
        return None
    if task.answer is None:
        return Answer(Result(task.result), "recovered")
    try:
        return msgspec.json.decode(task.answer, type=Answer)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise ProtocolError(f"the answer of {task.key} is damaged: {error}") from None


def refund_receipt(
    setting: Setting, payment: PaymentEntry, tasks: Sequence[Task], task: Task
) -> Receipt | None:
    """The receipt of the refund `task` among the `tasks` of its payment; None while, or because, it was not
    given."""
    answer = answer_of(task)
    if answer is None or answer.result is not Result.APPROVED:
        return None
    paid = payment.order.amount
    before = [refund for refund in refunds_of(payment, tasks) if refund.number <= task.number]
    return Receipt(
        outcome=Outcome.VOIDED if answer.code == "voided" else Outcome.REFUNDED,
        payee=payment.order.payee,
        terminal_id=setting.terminal.terminal_id,
        mode=setting.terminal.mode,
        order_ref=payment.order.order_ref,
        ref=payment.ref,
        amount=Money(task.minor, paid.currency),
        when=datetime.fromtimestamp(task.at, setting.timezone),
        approval=answer.approval,
        rrn=answer.rrn,
        masked_payer=answer.masked_payer,
        provider=setting.policy.provider if setting.policy else "",
        licence=setting.policy.licence if setting.policy else "",
        paid=paid,
        left=left_of(paid, before),
        number=task.number,
    )


def refunds_of(payment: PaymentEntry, tasks: Sequence[Task]) -> list[Refund]:
    """The refunds among the journal's `tasks` about a payment, oldest first, open and declined ones too."""
    currency = payment.order.amount.currency
    return [
        Refund(task.number, Money(task.minor, currency), Result(task.result) if task.result else None)
        for task in tasks
        if task.operation == "refund"
    ]


def dispute_of(task: Task) -> DisputeAnswer | None:
    """The acquirer's number for a dispute; None while it is open, and where the acquirer has another one."""
    return parse(task.answer, DisputeAnswer) if task.answer and task.result == "filed" else None


def written_dispute(task: Task) -> bytes:
    """The dispute as the acquirer gets it, indented for people: who, what, why and the evidence."""
    return msgspec.json.format(task.exchange.body or b"", indent=2) + b"\n"
