"""Known ways to lose or double money, one class each: the simulation has to find every one of them."""

from __future__ import annotations

from typing import Any

from kiosk.acquirer.client import Lost, Unsent
from kiosk.acquirer.journal import OpenAttempt
from kiosk.app.kernel import Kernel, _Replied
from kiosk.domain.errors import OperatorError
from kiosk.domain.payment import Authorise, Effect, Event, Order, Result, ReversalAcknowledged
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
    )
}
