"""`kiosk close`: hold the day against the acquirer and the receipts, and close it when they agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json, say
from kiosk.cli.refund import Wait
from kiosk.cli.staff import PinFile, approve
from kiosk.domain.aftersale import Gap
from kiosk.domain.money import Money
from kiosk.domain.staff import Action

if TYPE_CHECKING:
    from kiosk.app.aftersale import AfterSale, Closed

__all__ = ["close"]

DIFFERENT: Final = 10
SIDES: Final = ("kiosk", "acquirer", "receipts")
NAMES: Final = {
    "payment": "payments", "offline": "offline sales", "reversal": "reversals", "refund": "refunds",
}  # fmt: skip


def close(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only compare; nothing is closed.")] = False,
    slip: Annotated[
        bool, typer.Option("--slip", help="Also the slip of each batch, as it is printed.")
    ] = False,
    staff: Annotated[
        int | None, typer.Option("--staff", metavar="NUMBER", help="Note who closes it; asks for their PIN.")
    ] = None,
    pin_file: PinFile = None,
    wait: Wait = 60.0,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Close the day: this kiosk's journal, the acquirer's books and the receipts side by side.

    Every batch that is not closed is compared, the oldest first. One that the acquirer holds otherwise stays
    open, and those after it too: run `kiosk journal recover`. Receipts keep nothing open: one that is missing
    is named (`kiosk receipt` prints it), and so is one too many, as of an offline sale that the acquirer
    declined (`kiosk offline --slips`). Nothing is closed while a payment or a refund is not final.

    Exit code: 0 balanced, 10 something differs (its lines begin with `!`), 14 not closed (something is not
    final, or the acquirer does not answer: run it again), 2 wrong use.

    Example: kiosk close --dry-run
    """
    from kiosk.app.aftersale import AfterSale
    from kiosk.app.unattended import Exit, resolve_open
    from kiosk.app.wiring import open_base, open_books
    from kiosk.domain.receipt import render_close

    with open_base(data_dir, config, complain) as base, open_books(base) as books:
        if staff is not None:
            approve(base, staff, pin_file, Action.CLOSE, dry_run=int(dry_run))
        sale = AfterSale(books.kernel, books.journal, books.outbox, base.clock)
        if not dry_run:
            resolve_open(books.kernel, clock=base.clock, wait_s=wait)
        waiting = {task.key for task in books.journal.open_tasks()}
        answered = sale.wait(waiting, wait) if waiting else True
        problems = [] if dry_run else sale.still_open()
        if sale.open_closes():
            problems.append("an earlier close: the acquirer has not answered it")
        results: list[Closed] = []
        if not problems:
            answered = _compare(sale, results, wait, settle=not dry_run)
        slips = [render_close(sale.close_slip(one)) for one in results] if slip else []
    _report(results, problems, answered, as_json=json)
    if not json:
        for printed in slips:
            say(printed)
    if problems or not answered:
        raise typer.Exit(Exit.UNKNOWN)
    if not all(one.comparison.balanced for one in results):
        raise typer.Exit(DIFFERENT)


def _compare(sale: AfterSale, results: list[Closed], wait: float, *, settle: bool) -> bool:
    """Compare batch after batch into `results`; False when the acquirer did not answer."""
    for batch in sale.batches():
        task = sale.close(batch, settle=settle and sale.has_bookings(batch))
        if not sale.wait({task.key}, wait):
            return False
        results.append(sale.closed(sale.task(task.key)))
        empty = not sale.has_bookings(batch) and results[-1].comparison.balanced
        if settle and not empty and not results[-1].settled:
            break  # batches are closed in their order: one that is passed over is never compared again
    return True


def _report(results: list[Closed], problems: list[str], answered: bool, *, as_json: bool) -> None:
    if as_json:
        batches = [_as_json(one) for one in results]
        balanced = answered and not problems and all(one.comparison.balanced for one in results)
        print_json({"balanced": balanced, "batches": batches, "not_final": problems, "answered": answered})
        return
    for one in results:
        say(_table(one))
    for problem in problems:
        complain(f"not closed: {problem} is not final")
    if not answered:
        complain("not closed: the acquirer does not answer; run it again, nothing is closed twice")


def _table(one: Closed) -> str:
    found = one.comparison
    state = "closed" if one.settled else "compared, not closed"
    head = f"batch {found.batch}: {'balanced' if found.balanced else 'DIFFERENT'}, {state}"
    lines = [head, f"  {'':<14}" + "".join(f"{side:>22}" for side in SIDES)]
    for total in found.totals:
        cells = (total.kiosk, total.acquirer, total.receipts)
        told = ["-" if cell is None else f"{cell[0]} x {cell[1]}" for cell in cells]
        lines.append(f"  {NAMES[total.kind]:<14}" + "".join(f"{cell:>22}" for cell in told))
    if not found.totals:
        lines.append("  nothing was booked")
    lines += [f"  ! {_gap(gap, one)}" for gap in found.gaps]
    return "\n".join(lines)


def _gap(gap: Gap, closed: Closed) -> str:
    """A difference, and what to do about it, in one line."""

    def told(minor: int | None) -> str:
        return "nothing" if minor is None else str(Money(minor, closed.comparison.currency))

    if gap.about == "acquirer":
        return (
            f"{NAMES[gap.kind]}: the acquirer's sum {told(gap.other)} does not follow from its list "
            f"(that gives {told(gap.kiosk)}): call the acquirer"
        )
    about = closed.about[gap.ref]
    number = f" no. {gap.number}" if gap.kind == "refund" else ""
    order = f"order {about.order_ref}, ref " if about.order_ref else ""
    name = f"{gap.kind}{number} of {order}{gap.ref}"
    if gap.about == "booking":
        do = "call the acquirer" if gap.other is None else "run `kiosk journal recover`"
        return f"{name}: kiosk {told(gap.kiosk)}, acquirer {told(gap.other)}: {do}"
    if gap.kiosk is None and about.declined:
        return (
            f"{name}: the acquirer declined it ({about.declined}), and nothing was charged; its receipt says "
            f"{told(gap.other)}: see `kiosk offline --slips`"
        )
    do = f": `kiosk receipt {gap.ref}` prints it" if gap.other is None else ""
    return f"{name}: {told(gap.kiosk)} in the journal, receipt for {told(gap.other)}{do}"


def _as_json(one: Closed) -> dict[str, Any]:
    found = one.comparison

    def side(cell: tuple[int, Money] | None) -> dict[str, Any] | None:
        return None if cell is None else {"count": cell[0], "amount": cell[1].decimal()}

    def money(minor: int | None) -> str | None:
        return None if minor is None else Money(minor, found.currency).decimal()

    return {
        "batch": found.batch,
        "currency": found.currency,
        "settled": one.settled,
        "balanced": found.balanced,
        "totals": [
            {
                "kind": total.kind,
                "kiosk": side(total.kiosk),
                "acquirer": side(total.acquirer),
                "receipts": side(total.receipts),
            }
            for total in found.totals
        ],
        "differences": [
            {
                "about": gap.about,
                "kind": gap.kind,
                "ref": gap.ref,
                "number": gap.number,
                "order_ref": one.about[gap.ref].order_ref if gap.ref else "",
                "declined": one.about[gap.ref].declined if gap.ref else "",
                "kiosk": money(gap.kiosk),
                "other": money(gap.other),
            }
            for gap in found.gaps
        ],
    }
