"""`kiosk resolve`: finish payments whose outcome is open, and send what else the acquirer has to hear."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json, say

if TYPE_CHECKING:
    from kiosk.acquirer.journal import PaymentEntry

__all__ = ["resolve"]

WORDS = {
    "approved": "approved: it is paid",
    "declined": "declined: nothing was charged",
    "reversed": "reversed: nothing is charged",
}


def resolve(
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, max=3600, help="How long to try.")
    ] = 60.0,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Finish payments whose outcome is open: ask the acquirer, else reverse; send what waits in the outbox.

    Exit code 14 when something stays open.

    `kiosk run` does the same behind its screen; this is for a kiosk that is not running.

    Example: kiosk resolve --wait 120
    """
    from kiosk.app.aftersale import AfterSale
    from kiosk.app.unattended import Exit, resolve_open
    from kiosk.app.wiring import open_base, open_books

    with open_base(data_dir, config, complain) as base, open_books(base) as books:
        kernel, sale = books.kernel, AfterSale(books.kernel, books.journal, books.outbox, base.clock)
        waiting = books.outbox.waiting()
        orders = {ref: state.order.order_ref for ref, state in kernel.behind.items()}

        def entry(ref: str) -> PaymentEntry:
            return next(found for found in kernel.attempts_of(orders[ref]) if found.ref == ref)

        def ended(ref: str) -> None:
            if not json:
                say(_line(entry(ref)))

        if orders and not json and sys.stderr.isatty():
            many = f"{len(orders)} open payment{'s' * (len(orders) != 1)}"
            sys.stderr.write(f"asking the acquirer about {many}, for at most {wait:.0f} s ...\n")
        left = resolve_open(kernel, clock=base.clock, wait_s=wait, ended=ended)
        sale.wait(books.outbox.waiting(), wait)  # what went through meanwhile ends no second time
        tasks = books.outbox.waiting()
        entries = [entry(ref) for ref in orders]
    if json:
        payments = [_as_json(found) for found in entries]
        outbox = {"waiting_before": len(waiting), "waiting_now": len(tasks)}
        print_json({"open_before": len(orders), "open_now": left, "payments": payments} | outbox)
    elif waiting:
        say(f"{len(waiting) - len(tasks)} of {len(waiting)} in the outbox went through (`kiosk outbox`)")
    elif not orders:
        say("nothing is open")
    if left or tasks:
        for found in entries:
            if found.answer is None:
                complain(_line(found))
        raise typer.Exit(Exit.UNKNOWN)


def _line(entry: PaymentEntry) -> str:
    became = WORDS[entry.answer.result] if entry.answer else "still open: don't pay it again"
    return f"{entry.order.amount} order {entry.order.order_ref} {became} (ref {entry.ref})"


def _as_json(entry: PaymentEntry) -> dict[str, Any]:
    return {
        "order_ref": entry.order.order_ref,
        "ref": entry.ref,
        "amount": entry.order.amount.decimal(),
        "currency": entry.order.amount.currency,
        "result": str(entry.answer.result) if entry.answer else "open",
        "approval": entry.answer.approval if entry.answer else "",
    }
