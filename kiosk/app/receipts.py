"""Receipts out of the journal: a copy of a payment's or a refund's, and the slip of a sale that came back.

What stands on them is what the journal holds and who this kiosk is; nothing is asked of anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from kiosk.acquirer.journal import PaymentEntry, Task
from kiosk.app.aftersale import answer_of, refund_receipt
from kiosk.app.kernel import Setting
from kiosk.domain.payment import Answer, Result
from kiosk.domain.receipt import Outcome, Receipt

__all__ = ["declined_offline", "of_payment", "of_refund"]


def of_payment(setting: Setting, payment: PaymentEntry, tasks: Sequence[Task]) -> Receipt:
    """The receipt of a payment, as a copy. `tasks`: the journal's about it.

    One that is open is not final. An offline sale stays one; when it was forwarded, the acquirer's reference
    stands on it too.
    """
    receipt = Receipt.of(
        payment.order,
        payment.ref,
        payment.answer or Answer(Result.PENDING),
        terminal_id=setting.terminal.terminal_id,
        mode=setting.terminal.mode,
        when=datetime.fromtimestamp(payment.at, setting.timezone),
        provider=setting.policy.provider if setting.policy else "",
        licence=setting.policy.licence if setting.policy else "",
    )
    word = _word_on_advice(tasks)
    if word is not None and word.result is Result.APPROVED:
        receipt = replace(receipt, rrn=word.rrn, masked_payer=word.masked_payer or receipt.masked_payer)
    return replace(receipt, copy=True)


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
    receipt = of_payment(setting, payment, tasks)
    return replace(receipt, outcome=Outcome.OFFLINE_DECLINED, code=word.code, copy=False)


def _word_on_advice(tasks: Sequence[Task]) -> Answer | None:
    advice = next((task for task in tasks if task.operation == "advice"), None)
    return None if advice is None else answer_of(advice)
