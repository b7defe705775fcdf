"""`kiosk dispute`: hand the acquirer what this kiosk knows of a payment that its payer contests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json, say
from kiosk.cli.refund import Wait
from kiosk.cli.staff import PinFile, Staff, approve
from kiosk.domain.errors import OperatorError
from kiosk.domain.staff import Action

if TYPE_CHECKING:
    from kiosk.app.aftersale import DisputeReason

__all__ = ["dispute"]

REASONS = ("not_me", "amount", "twice", "goods", "other")


def dispute(
    name: Annotated[
        str, typer.Argument(metavar="ORDER|REFERENCE", help="The payment, as its receipt names it.")
    ],
    staff: Staff,
    reason: Annotated[str, typer.Option(help=f"One of {', '.join(REASONS)}.")] = "not_me",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the evidence there too.")
    ] = None,
    pin_file: PinFile = None,
    wait: Wait = 60.0,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Open a dispute about a payment, with the journal's evidence: bands, consent, policy, chain.

    There is no face, template or name in it: the journal has none. A payment has one dispute; asked again, it
    tells that one's number. Exit code: 0 filed, 14 not filed yet (it goes on by itself), 10 the acquirer has
    another one of it, 2 wrong use.

    Example: kiosk dispute K-4711 --reason not_me --staff 7 --out pack.json
    """
    if reason not in REASONS:
        raise OperatorError(f"--reason {reason!r}", do=f"Use one of {', '.join(REASONS)}.")
    from kiosk.app.aftersale import AfterSale, dispute_of, written_dispute
    from kiosk.app.unattended import Exit
    from kiosk.app.wiring import open_base, open_books

    with open_base(data_dir, config, complain) as base, open_books(base) as books:
        if out is not None and not out.parent.is_dir():  # said before anything is filed
            raise OperatorError("there is no such folder", where=str(out.parent), do="Check --out.")
        sale = AfterSale(books.kernel, books.journal, books.outbox, base.clock)
        payment = sale.payment(name)
        task = sale.open_dispute(payment)
        if task is None:
            approve(base, staff, pin_file, Action.DISPUTE, ref=payment.ref, reason=reason)
            task = sale.dispute(payment, _reason(reason))
        if out is not None:
            _write(out, written_dispute(task))
        if task.result is None:
            sale.wait({task.key}, wait)
            task = sale.task(task.key)
        filed = dispute_of(task)
    number = filed.dispute_id if filed else None
    if json:
        told = {"order_ref": payment.order.order_ref, "ref": payment.ref, "dispute_id": number}
        print_json(told | {"filed": filed is not None, "out": str(out) if out else None})
    elif filed:
        say(f"dispute {number} of order {payment.order.order_ref} is filed")
    elif task.result:
        complain(
            f"order {payment.order.order_ref} has a dispute that an older copy of the journal does not know: "
            "ask the acquirer for its number"
        )
    else:
        complain(f"the dispute of order {payment.order.order_ref} is not filed yet; it goes on by itself")
    if filed is None:
        raise typer.Exit(Exit.DECLINED if task.result else Exit.UNKNOWN)


def _reason(text: str) -> DisputeReason:
    return text  # type: ignore[return-value]  # one of `REASONS`


def _write(path: Path, content: bytes) -> None:
    from kiosk.files import write_whole

    try:
        write_whole(path, content)
    except OSError as error:
        raise OperatorError(
            f"cannot be written ({error.strerror})", where=str(path), do="Check --out."
        ) from None
