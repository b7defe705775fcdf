"""Known ways to lose or double money, one class each: the simulation has to find every one of them."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import date
from typing import Any

import msgspec

from kiosk.acquirer.client import Lost, Unsent
from kiosk.acquirer.journal import OpenAttempt
from kiosk.acquirer.messages import Exchange, PaymentRequest, new_ref
from kiosk.app.kernel import Kernel, _Replied
from kiosk.app.offline import OfflineSales
from kiosk.app.outbox import Outbox
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import Spent
from kiosk.domain.offline import Doubt
from kiosk.domain.payment import (
    AcceptedOffline,
    Answer,
    Authorise,
    CouldNotSend,
    Effect,
    Event,
    Order,
    PinEntry,
    PinSealed,
    Result,
    ReversalAcknowledged,
)
from kiosk.sandbox.authorise import Authoriser, Treated

from .world import DiskJournal, Parts

__all__ = ["MUTANTS"]


class SendsBeforeItWrites(Kernel):
    """The request goes out, and only then into the journal."""

    def _authorise(self, effect: Authorise) -> None:
        write, kept = self._journal.open_attempt, list[Any]()
        self._journal.open_attempt = lambda *args, **kwargs: kept.append((args, kwargs))  # type: ignore[method-assign]
        try:
            super()._authorise(effect)
        finally:
            self._journal.open_attempt = write  # type: ignore[method-assign]
        for args, kwargs in kept:
            try:
                write(*args, **kwargs)
            except OperatorError as failure:
                self.failure = failure


class TakesSilenceForNo(Kernel):
    """No answer is read as: it was not sent."""

    def _understood(self, message: _Replied) -> Event | None:
        if isinstance(message.reply, Lost):
            message = _Replied(message.ref, message.operation, Unsent(message.reply.why))
        return super()._understood(message)


class ForgetsAtRestart(Kernel):
    """What the journal holds as open is not taken up."""

    def _recover(self) -> None:
        return


class TellsBeforeItWrites(Kernel):
    """The till hears of an end that is not in the journal yet, and may never be."""

    def _written(self, effects: tuple[Effect, ...]) -> bool:
        return True

    def _conclude(self, effect: Any) -> None:
        super()._conclude(effect)
        super()._written((effect,))


class BelievesThatItIsReversed(Kernel):
    """A reversal is over when it was sent."""

    def _reverse(self, order: Order, ref: str) -> None:
        super()._reverse(order, ref)
        self.post(ReversalAcknowledged(ref))


class LetsAnOrderBePaidAgain(DiskJournal):
    """A second attempt is let in while the first is open; and open ones aren't asked about."""

    def _refuse_second(self, order_ref: str) -> None:
        return

    def open_attempts(self) -> list[OpenAttempt]:
        return []

    def is_paid_or_open(self, order_ref: str) -> bool:
        return False


class LeavesNoTombstone(Authoriser):
    """A reversal that comes before its payment is acknowledged and forgotten."""

    def _undo(self, terminal: str, request: Any) -> Treated:
        treated = super()._undo(terminal, request)
        self.ledger._db.execute("DELETE FROM attempts WHERE token = '' AND ref = ?", (request.ref,))
        return treated


class KeepsTheMoney(Authoriser):
    """A reversal is acknowledged and nothing is given back."""

    def _undo(self, terminal: str, request: Any) -> Treated:
        attempt = self.ledger.attempt(terminal, request.ref)
        treated = super()._undo(terminal, request)
        if attempt is not None and attempt.result is Result.APPROVED:
            self.ledger._db.execute("UPDATE attempts SET result = 'approved' WHERE ref = ?", (request.ref,))
        return treated


class AsksForNoPin(Authoriser):
    """Whatever PIN is typed is the right one."""

    def _pin_refusal(self, request: PaymentRequest) -> str:
        return ""


class RetriesAPinUnderTheSameRef(Kernel):
    """A wrong PIN leads to another one for the same attempt; its first answer is taken for the next one's."""

    _first = ""

    def _step(self, event: Event) -> None:
        if isinstance(event, PinSealed) and isinstance(self.state, PinEntry):
            if not self.state.tries:
                self._first = event.ref
            event = replace(event, ref=self._first)
        super()._step(event)


class ForgetsItsAdvice(DiskJournal):
    """A sale is accepted offline, and what would tell the acquirer of it is not written."""

    def conclude_offline(self, ref: str, advice_exchange: Exchange, answer: Answer, *, day: date) -> None:
        self.conclude(ref, answer)


class AcceptsOfflineTooLate(Kernel):
    """A sale is accepted offline although its payer was told that it is not final, and it may be undone."""

    def _not_sent(self, ref: str, *, answered: bool) -> Event:
        effect, self._on_its_way = self._on_its_way, None
        if effect is None or effect.ref != ref or effect.pin is not None or answered:
            return CouldNotSend(ref)
        answer = self.offline(effect)
        return CouldNotSend(ref) if answer is None else AcceptedOffline(ref, answer)


class PaysForAnAdvice(Outbox):
    """A sale that was accepted offline is sent as a payment of its own, not as what it is."""

    def _next(self, now: int) -> tuple[str, Exchange] | None:
        following = super()._next(now)
        if following is None or following[1].operation != "advice":
            return following
        key, advice = following
        sale = msgspec.json.decode(advice.body or b"")["sale"].split(".")[1]
        body = msgspec.json.decode(base64.urlsafe_b64decode(sale + "=="))
        del body["offline"]
        body["ref"], body["sequence"] = new_ref(self._clock), body["sequence"] + 1_000
        once = f"{body['ref']}:payment:1"
        return key, Exchange(
            body["ref"], "payment", "POST", "/v1/payments", msgspec.json.encode(body), once, body["sequence"]
        )


class SellsOfflineAboveItsCaps(OfflineSales):
    """What the acquirer signed for sales without it is not held."""

    def _doubt(self, effect: Authorise, now: float) -> Doubt | None:
        doubt = super()._doubt(effect, now)
        return None if doubt in (Doubt.OVER_COUNT, Doubt.OVER_TOTAL, Doubt.OVER_AMOUNT) else doubt


class NumbersARefundAnew(Outbox):
    """A refund that is not answered is sent again as a new one."""

    def _next(self, now: int) -> tuple[str, Exchange] | None:
        following = super()._next(now)
        if following is None or following[1].operation != "refund" or not self._rest(following[0]).tries:
            return following
        key, refund = following
        body = msgspec.json.decode(refund.body or b"")
        body["number"] += 10
        body["sequence"] += 1_000
        again = f"{refund.ref}:refund:{body['number']}"
        return key, replace(refund, body=msgspec.json.encode(body), idempotency_key=again)


class WritesTheWrongEndOfARefund(DiskJournal):
    """A refund that was approved is written down as declined: it may be asked for again."""

    def conclude_task(self, key: str, result: str, answer: bytes) -> None:
        super().conclude_task(key, "declined" if ":refund:" in key else result, answer)


class ForgetsWhichDayItWas(DiskJournal):
    """Days go by the clock alone and know only themselves: set back over midnight, the cap is open again."""

    def latest_s(self) -> float:
        return 0.0

    def spent(self, token: str, now_s: float, day: date) -> Spent:
        sold = self._rows(
            """SELECT token, minor FROM attempts
               WHERE day = ? AND (outcome IS NULL OR outcome = 'approved')""",
            day.isoformat(),
        )
        return Spent(
            by_person=sum(row["minor"] for row in sold if row["token"] == token),
            by_kiosk=sum(row["minor"] for row in sold),
        )


MUTANTS = {
    mutant.__name__: parts
    for mutant, parts in (
        (SendsBeforeItWrites, Parts(kernel=SendsBeforeItWrites)),
        (TakesSilenceForNo, Parts(kernel=TakesSilenceForNo)),
        (ForgetsAtRestart, Parts(kernel=ForgetsAtRestart)),
        (TellsBeforeItWrites, Parts(kernel=TellsBeforeItWrites)),
        (BelievesThatItIsReversed, Parts(kernel=BelievesThatItIsReversed)),
        (LetsAnOrderBePaidAgain, Parts(journal=LetsAnOrderBePaidAgain)),
        (LeavesNoTombstone, Parts(authoriser=LeavesNoTombstone)),
        (KeepsTheMoney, Parts(authoriser=KeepsTheMoney)),
        (AsksForNoPin, Parts(authoriser=AsksForNoPin)),
        (RetriesAPinUnderTheSameRef, Parts(kernel=RetriesAPinUnderTheSameRef)),
        (ForgetsItsAdvice, Parts(journal=ForgetsItsAdvice)),
        (AcceptsOfflineTooLate, Parts(kernel=AcceptsOfflineTooLate)),
        (PaysForAnAdvice, Parts(outbox=PaysForAnAdvice)),
        (SellsOfflineAboveItsCaps, Parts(offline=SellsOfflineAboveItsCaps)),
        (NumbersARefundAnew, Parts(outbox=NumbersARefundAnew)),
        (WritesTheWrongEndOfARefund, Parts(journal=WritesTheWrongEndOfARefund)),
        (ForgetsWhichDayItWas, Parts(journal=ForgetsWhichDayItWas)),
    )
}
