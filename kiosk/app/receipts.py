"""Receipts out of the journal: of a payment as it is now, of a refund, and the slip of a sale that came back.

What stands on them is what the journal holds and who this kiosk is; nothing is asked of anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from kiosk.acquirer.journal import PaymentEntry, Task
from kiosk.app.aftersale import answer_of, refund_receipt, refunds_of
from kiosk.app.kernel import Setting
from kiosk.domain.aftersale import given_back, left_of
from kiosk.domain.payment import Answer, Result
from kiosk.domain.receipt import Outcome, Receipt, became

__all__ = ["LATER", "declined_offline", "of_payment", "of_refund"]

LATER = (
    Outcome.REFUNDED_IN_FULL,
    Outcome.REFUNDED_IN_PART,
    Outcome.OFFLINE_CHARGED,
    Outcome.OFFLINE_NOT_CHARGED,
)
"""What an approved payment became after its receipt was first given."""


def of_payment(
    setting: Setting, payment: PaymentEntry, tasks: Sequence[Task], *, copy: bool = True
) -> Receipt:
    """The receipt of a payment as it is now. `tasks`: the journal's about it.

    One that is open is not final. Of an approved one it says what became of it: how much was refunded since,
    and whether an offline sale was charged when it was forwarded.
    """
    answer = payment.answer or Answer(Result.PENDING)
    receipt = Receipt.of(
        payment.order,
        payment.ref,
        answer,
        terminal_id=setting.terminal.terminal_id,
        mode=setting.terminal.mode,
        when=datetime.fromtimestamp(payment.at, setting.timezone),
        provider=setting.policy.provider if setting.policy else "",
        licence=setting.policy.licence if setting.policy else "",
    )
    word, paid = _word_on_advice(tasks), payment.order.amount
    if word is not None and word.result is Result.APPROVED:
        receipt = replace(receipt, rrn=word.rrn, masked_payer=word.masked_payer or receipt.masked_payer)
    elif word is not None:
        receipt = replace(receipt, code=word.code)
    refunds = refunds_of(payment, tasks)
    refunded = given_back(paid, refunds)
    if refunded.minor:
        receipt = replace(receipt, refunded=refunded, left=left_of(paid, refunds))
    outcome = became(answer, paid, refunded=refunded, advice=word.result if word else None)
    return replace(receipt, outcome=outcome, copy=copy)


def of_refund(setting: Setting, payment: PaymentEntry, tasks: Sequence[Task], number: int) -> Receipt | None:
    """The receipt of its refund `number`, as a copy; None when there is none that was given."""
    task = next((one for one in tasks if (one.operation, one.number) == ("refund", number)), None)
    receipt = None if task is None else refund_receipt(setting, payment, tasks, task)
    return None if receipt is None else replace(receipt, copy=True)


def declined_offline(setting: Setting, payment: PaymentEntry, tasks: Sequence[Task]) -> Receipt | None:
    """The slip for staff of an offline sale that the acquirer declined; None when it did not."""
    word = _word_on_advice(tasks)
    if word is None or word.result is Result.APPROVED:
        return None
    return replace(of_payment(setting, payment, tasks, copy=False), outcome=Outcome.OFFLINE_DECLINED)


def _word_on_advice(tasks: Sequence[Task]) -> Answer | None:
    advice = next((task for task in tasks if task.operation == "advice"), None)
    return None if advice is None else answer_of(advice)
