"""`kiosk refund`: give all or a part of a payment back; a manager approves it with their PIN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json, say
from kiosk.cli.staff import PinFile, Staff, approve
from kiosk.domain.errors import OperatorError
from kiosk.domain.money import Money, MoneyError
from kiosk.domain.payment import Result
from kiosk.domain.staff import Action

if TYPE_CHECKING:
    from kiosk.acquirer.journal import PaymentEntry, Task
    from kiosk.app.aftersale import AfterSale, RefundReason

__all__ = ["Wait", "refund"]

REASONS = ("customer", "goods", "mistake", "other")
Wait = Annotated[
    float,
    typer.Option("--wait", metavar="SECONDS", min=0, max=3600, help="How long to wait for the acquirer."),
]


def refund(
    name: Annotated[
        str, typer.Argument(metavar="ORDER|REFERENCE", help="The payment, as its receipt names it.")
    ],
    staff: Staff,
    amount: Annotated[
        str, typer.Option(metavar="10.00", help="A part of it. Default: all that is left.")
    ] = "",
    reason: Annotated[str, typer.Option(help=f"One of {', '.join(REASONS)}.")] = "customer",
    pin_file: PinFile = None,
    wait: Wait = 60.0,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Give a payment back, all of it or a part; never more than is left of it.

    All of it before the close of the day is a void. One that was interrupted goes on: asked again while it is
    not final, it is the same refund.

    Exit code: 0 approved, 10 declined, 14 not final yet (it goes on by itself), 2 wrong use.

    Example: kiosk refund K-4711 --amount 10.00 --reason goods --staff 7
    """
    if reason not in REASONS:
        raise OperatorError(f"--reason {reason!r}", do=f"Use one of {', '.join(REASONS)}.")
    from kiosk.app.aftersale import AfterSale
    from kiosk.app.unattended import Exit
    from kiosk.app.wiring import open_base, open_books

    with open_base(data_dir, config, complain) as base, open_books(base) as books:
        sale = AfterSale(books.kernel, books.journal, books.outbox, base.clock)
        payment = sale.payment(name)
        money = _money(amount, payment) if amount else None
        task = sale.open_refund(payment)
        again = task is not None
        if task is None:
            plan = sale.plan(payment, money)
            approve(
                base, staff, pin_file, Action.REFUND,
                ref=payment.ref, number=plan.number, minor=plan.amount.minor, reason=reason,
            )  # fmt: skip
            task = sale.refund(payment, money, _reason(reason), approved_by=staff)
        elif money is not None and money.minor != task.minor:
            raise OperatorError(
                f"refund {task.number} of {Money(task.minor, money.currency)} is not final yet",
                do="Run it without --amount to go on with that one.",
            )
        sale.wait({task.key}, wait)
        task = sale.task(task.key)
        code = Exit.UNKNOWN if task.result is None else Exit.DECLINED
        if task.result == Result.APPROVED:
            code = Exit.APPROVED
        halted = books.journal.halted
        _report(sale, payment, task, code, as_json=json, again=again, halted=halted)
    if code:
        raise typer.Exit(code)


def _reason(text: str) -> RefundReason:
    return text  # type: ignore[return-value]  # one of `REASONS`


def _money(text: str, payment: PaymentEntry) -> Money:
    try:
        return Money.parse(text, payment.order.amount.currency)
    except MoneyError as error:
        raise OperatorError(str(error), where="--amount") from None


def _report(
    sale: AfterSale,
    payment: PaymentEntry,
    task: Task,
    code: int,
    *,
    as_json: bool,
    again: bool,
    halted: str,
) -> None:
    from kiosk.app.aftersale import answer_of
    from kiosk.domain.receipt import reason, render

    answer, left = answer_of(task), sale.left(payment)
    amount = Money(task.minor, left.currency)
    if as_json:
        told: dict[str, Any] = {
            "outcome": task.result or "unknown",
            "exit_code": int(code),
            "order_ref": payment.order.order_ref,
            "ref": payment.ref,
            "number": task.number,
            "amount": amount.decimal(),
            "currency": amount.currency,
            "paid": payment.order.amount.decimal(),
            "left": left.decimal(),
            "code": answer.code if answer else None,
            "approval": answer.approval if answer else None,
            "rrn": answer.rrn if answer else None,
            "again": again,
            "halted": halted,
        }
        print_json(told)
        return
    about = f"refund {task.number} of order {payment.order.order_ref}"
    if answer is None and halted:
        complain(
            f"{about}: an older copy of the journal was put back ({halted}), and the acquirer has another"
            " refund under this number. Run `kiosk journal recover`: it ends this one by that one"
        )
    elif answer is None:
        complain(f"{about}: {amount} is not final yet; it goes on by itself (`kiosk outbox` shows it)")
    elif code:
        complain(f"{about}: declined by the acquirer, {reason(answer.code)}; nothing went back")
    else:
        word = "VOIDED" if answer.code == "voided" else "REFUNDED"
        say(f"{word} {amount} of {payment.order.amount}, order {payment.order.order_ref}; left {left}")
        slip = sale.refund_slip(task)
        if slip is not None:
            say(render(slip))
