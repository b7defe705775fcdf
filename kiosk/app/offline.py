"""Selling while the acquirer can't be reached: asked by the kernel when a payment provably did not leave.

What is accepted is signed and in the journal, with its advice, before anybody is told; what can't be signed
or written is not accepted. The outbox forwards the advices in the order of the sales.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from kiosk.acquirer.journal import Journal, Task
from kiosk.acquirer.offline import local_approval, seal_sale
from kiosk.acquirer.operations import advice_request
from kiosk.acquirer.signing import SigningKey
from kiosk.app.aftersale import answer_of
from kiosk.app.kernel import Setting
from kiosk.domain import limits
from kiosk.domain.limits import OfflineCaps
from kiosk.domain.money import Money
from kiosk.domain.offline import Doubt, OfflineSetting, Sale, Waiting, caps_in_force, refusal
from kiosk.domain.payment import Answer, Authorise, Result
from kiosk.domain.ports import Clock
from kiosk.domain.receipt import OFFLINE_CODE

__all__ = ["OfflineSales", "StoredSale", "stored_sales", "waiting", "why"]


@dataclass(frozen=True, slots=True)
class StoredSale:
    """An offline sale as staff see it. `answer`: the acquirer's word; None: it waits to be forwarded."""

    task: Task
    answer: Answer | None

    @property
    def declined(self) -> bool:
        return self.answer is not None and self.answer.result is not Result.APPROVED


def stored_sales(tasks: Sequence[Task]) -> list[StoredSale]:
    """The offline sales among the journal's tasks, in their order."""
    return [StoredSale(task, answer_of(task)) for task in tasks if task.operation == "advice"]


def waiting(tasks: Sequence[Task]) -> Waiting:
    """What still has to be forwarded, by the journal's open tasks."""
    sales = [task for task in tasks if task.operation == "advice" and task.result is None]
    return Waiting(
        count=len(sales),
        minor=sum(task.minor for task in sales),
        oldest_s=min((task.at for task in sales), default=None),
    )


_WHY: Final = {
    Doubt.SWITCHED_OFF: "offline sales are off here (offline.enabled)",
    Doubt.NOT_SIGNED: "the acquirer's policy allows no offline sales",
    Doubt.POLICY_EXPIRED: "the acquirer's policy has expired",
    Doubt.FACE_NOT_ALLOWED: "the acquirer's policy allows no payment by face now",
    Doubt.CURRENCY: "the acquirer's policy is in another currency",
    Doubt.CLOCK: "the clock is before what the journal already holds",
    Doubt.PIN: "it needs a PIN, which only the acquirer can check",
    Doubt.PAYER: "the acquirer's last word about this payer, at this kiosk, was no approval",
}


def why(doubt: Doubt, amount: Money, stored: Waiting, caps: OfflineCaps | None) -> str:
    """The reason for staff, with the cap (`caps`: those in force) and what is `stored` where that is it."""
    if caps is None or doubt in _WHY:
        return _WHY.get(doubt, str(doubt))

    def money(minor: int) -> Money:
        return Money(minor, amount.currency)

    return {
        Doubt.OVER_AMOUNT: f"one sale may be {money(caps.per_payment)} at most",
        Doubt.OVER_COUNT: f"{stored.count} sales wait to be forwarded, of {caps.count} that may",
        Doubt.OVER_TOTAL: f"{money(stored.minor)} wait to be forwarded, of {money(caps.total)} that may",
        Doubt.OVER_AGE: f"a sale waits for longer than {caps.age_s / 3600:.3g} h",
    }[doubt]


class OfflineSales:
    """Give `accept` to the kernel as its `offline`. `key`: the one that signs now; `setting`: the kernel's.

    `merchant`: the merchant's caps now; an amount that needs a PIN by them is not accepted either.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        *,
        own: OfflineSetting,
        setting: Callable[[], Setting],
        merchant: Callable[[], limits.Limits],
        key: Callable[[], SigningKey],
    ) -> None:
        self._journal, self._clock, self._own = journal, clock, own
        self._setting, self._merchant, self._key = setting, merchant, key
        self.doubt: Doubt | None = None
        """Why the last sale that could not be sent was not accepted."""
        self.why = ""
        """The same in words, for staff: which cap, how much waits."""

    def accept(self, effect: Authorise) -> Answer | None:
        """The answer in the acquirer's name, in the journal already; None: nothing is accepted.

        Raises:
            OperatorError: no key, or the journal could not write it; nothing is accepted.
        """
        now = self._clock.utc_s()
        self.doubt = self._doubt(effect, now)
        frozen = self._journal.exchange(effect.ref, "payment")
        if self.doubt is not None or frozen is None:
            return None
        setting, day = self._setting(), self._day(now)
        number = self._journal.next_advice()
        sale = seal_sale(self._key(), frozen, stored_s=now, number=number)
        advice = advice_request(
            setting.terminal,
            effect.ref,
            sale,
            sequence=self._journal.next_sequence(),
            batch=self._journal.batch(day),
            created_utc=now,
            previous=self._journal.last_hash,
        )
        answer = Answer(
            Result.APPROVED, OFFLINE_CODE, local_approval(sale), masked_payer=effect.payer.masked_name
        )
        self._journal.conclude_offline(effect.ref, advice, answer, day=day)
        return answer

    def _doubt(self, effect: Authorise, now: float) -> Doubt | None:
        token, policy = effect.payer.token, self._setting().policy
        sale = Sale(
            effect.order.amount,
            in_good_standing=self._journal.last_word(token) is Result.APPROVED,
            pin=effect.pin is not None or self._needs_pin(effect, policy),
        )
        stored = waiting(self._journal.open_tasks())
        doubt = refusal(
            sale,
            stored,
            policy=policy,
            setting=self._own,
            now_s=now,
            latest_s=self._journal.latest_s(),
        )
        caps = caps_in_force(policy.offline, self._own) if policy and policy.offline else None
        self.why = "" if doubt is None else why(doubt, sale.amount, stored, caps)
        return doubt

    def _needs_pin(self, effect: Authorise, policy: limits.Policy | None) -> bool:
        layers = (self._merchant(), effect.payer.limits, *((policy.ceiling, policy.law) if policy else ()))
        above = limits.effective(*layers).pin_above
        return "pin" in effect.evidence.methods or (above is not None and effect.order.amount.minor > above)

    def _day(self, now: float) -> date:
        return datetime.fromtimestamp(now, self._setting().timezone).date()
