"""`kiosk journal`: what this kiosk asked for and what became of it: read, verified, exported, put right."""

from __future__ import annotations

import csv
import json as json_module
import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json, say
from kiosk.domain.errors import OperatorError
from kiosk.domain.moments import moment
from kiosk.domain.money import Money

if TYPE_CHECKING:
    from kiosk.acquirer.journal import Journal, PaymentEntry, Receipted, Task
    from kiosk.acquirer.operations import Difference
    from kiosk.app.recovery import Recovered
    from kiosk.app.wiring import Base

__all__ = ["app"]

BROKEN = 2
"""The exit code of a chain that does not hold."""
UNANSWERED = 14
"""The exit code where the acquirer did not say what is missing: run it again."""

app = typer.Typer(
    no_args_is_help=True,
    help="The journal: every payment and what became of it, in a chain that shows what was changed.",
)


@app.callback()
def journal() -> None:
    pass


@app.command()
def verify(
    archive: Annotated[
        bool, typer.Option("--archive", help="The archive files too, and how they join.")
    ] = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Follow the chain from the first entry to the last. Exit 0: whole; 2: it is not, and where.

    Works beside a running kiosk.

    Example: kiosk journal verify --archive
    """
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base:
        problem, found = (
            "",
            {"entries": 0, "last_seq": 0, "last_hash": "", "gaps": [], "halted": "", "archives": 0},
        )
        try:
            found = _verified(base, archive=archive)
        except OperatorError as error:
            problem = str(error)
    if json:
        print_json({"whole": not problem, "problem": problem, **found})
    elif problem:
        complain(problem)
    else:
        for line in _said(found):
            say(line)
    if problem:
        raise typer.Exit(BROKEN)


def _verified(base: Base, *, archive: bool) -> dict[str, Any]:
    from kiosk.acquirer.journal_archive import verify_archives

    with _reading(base) as opened:
        chain, origin = opened.chain(), opened.origin()
        found = {
            "entries": chain.seq - origin[0] - sum(gap.last - gap.first + 1 for gap in chain.gaps),
            "first_seq": origin[0] + 1,
            "last_seq": chain.seq,
            "last_hash": chain.hash,
            "gaps": [[gap.first, gap.last] for gap in chain.gaps],
            "halted": opened.halted,
        }
        found["archives"] = verify_archives(opened.path, origin) if archive else 0
        return found


def _said(found: dict[str, Any]) -> Iterator[str]:
    yield f"the chain is whole: {found['entries']} entries, the last is number {found['last_seq']}"
    yield f"its hash: {found['last_hash']}"
    if found["archives"]:
        yield f"and {found['archives']} archive files before it, joined to it and to each other"
    for first, last in found["gaps"]:
        yield f"entries {first} to {last} were lost; a recovery wrote that down"
    if found["halted"]:
        yield f"no payment is begun ({found['halted']}): run `kiosk journal recover`"


@app.command()
def show(
    day: Annotated[
        str, typer.Option("--day", metavar="YYYY-MM-DD", help="Only of this day of the store.")
    ] = "",
    order: Annotated[str, typer.Option("--order", metavar="ORDER", help="Only of this order.")] = "",
    ref: Annotated[str, typer.Option("--ref", metavar="REF", help="Only this attempt.")] = "",
    only_open: Annotated[bool, typer.Option("--open", help="Only what has no end yet.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")] = 50,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Payments, newest first: when, how much, which order, how it ended; refunds and receipts under each.

    Works beside a running kiosk.

    Example: kiosk journal show --day 2026-11-25 --open
    """
    from kiosk.app.wiring import open_base

    wanted = _day(day)
    with open_base(data_dir, config, complain) as base, _reading(base) as opened:
        found = [
            (entry, opened.tasks_of(entry.ref), opened.receipts_of(entry.ref))
            for entry in (opened.attempts_of(order) if order else opened.payments(1_000_000))
            if (not wanted or entry.day == wanted) and (not ref or entry.ref == ref)
        ]
        zone = _zone(base)
    if only_open:
        found = [one for one in found if one[0].answer is None or any(task.result is None for task in one[1])]
    if json:
        print_json({"payments": [_as_json(*one) for one in found[:limit]]})
        return
    for entry, tasks, receipts in found[:limit]:
        when, paid = moment(entry.at, zone), entry.order
        say(f"{when}  {paid.amount!s:>14}  {_end(entry):<22}  {paid.order_ref}  {entry.ref}")
        for line in _under(entry, tasks, receipts):
            say(f"    {line}")
    if not found:
        say("nothing of that kind is in the journal")
    elif len(found) > limit:
        complain(f"{len(found) - limit} more; --limit shows them")


def _under(entry: PaymentEntry, tasks: list[Task], receipts: list[Receipted]) -> Iterator[str]:
    for task in tasks:
        amount = f"{Money(task.minor, entry.order.amount.currency)}" if task.minor else ""
        corrected = ", corrected" if task.corrected else ""
        yield f"{task.operation} {task.number}  {amount}  {task.result or 'on its way'}{corrected}"
    for receipt in receipts:
        yield f"receipt of the {receipt.kind}{' (copy)' if receipt.copy else ''}"


def _end(entry: PaymentEntry) -> str:
    if entry.answer is None:
        return "being reversed" if entry.reversing else "open: don't pay again"
    words = f"{entry.answer.result} {entry.answer.approval}".strip()
    words = f"{words} offline" if entry.offline else words
    return f"{words} corrected" if entry.corrected else words


def _as_json(entry: PaymentEntry, tasks: list[Task], receipts: list[Receipted]) -> dict[str, Any]:
    return {
        "at": entry.at,
        "day": entry.day,
        "batch": entry.batch,
        "order_ref": entry.order.order_ref,
        "ref": entry.ref,
        "amount": entry.order.amount.decimal(),
        "currency": entry.order.amount.currency,
        "payer": _short(entry.token),
        "result": str(entry.answer.result) if entry.answer else "open",
        "code": entry.answer.code if entry.answer else "",
        "approval": entry.answer.approval if entry.answer else "",
        "offline": entry.offline,
        "adopted": entry.adopted,
        "corrected": entry.corrected,
        "tasks": [
            {
                "operation": task.operation,
                "number": task.number,
                "minor": task.minor,
                "result": task.result or "open",
                "corrected": task.corrected,
            }
            for task in tasks
        ],
        "receipts": [
            {"kind": one.kind, "number": one.number, "minor": one.minor, "copy": one.copy} for one in receipts
        ],
    }


@app.command()
def export(
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Default: stdout.")] = None,
    form: Annotated[Literal["jsonl", "csv"], typer.Option("--format", help="JSON lines or CSV.")] = "jsonl",
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Every entry with its hash, oldest first; payers' tokens are shortened, bodies are named by their hash.

    Whoever gets the file can verify the chain without this program: an entry's `hash` is SHA-256 over
    `prev_hash` (32 bytes), the length of its text (8 bytes, big-endian), and the text: a JSON array without
    spaces of `chained`, in that order. `prev_hash` is the `hash` of the entry before.

    Example: kiosk journal export --out journal.jsonl
    """
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base, _reading(base) as opened:
        try:
            target = out.open("w", encoding="utf-8", newline="") if out else sys.stdout
            try:
                _write(opened, target, form)
            finally:
                if out:
                    target.close()
        except OSError as error:
            raise OperatorError(
                f"can't be written ({error.strerror})", where=str(out), do="Use --out."
            ) from None


def _write(opened: Journal, target: Any, form: str) -> None:
    from kiosk.acquirer.journal_chain import exported

    table = None
    for entry in map(exported, opened.entries()):
        entry["token"] = _short(entry["token"])
        if form == "jsonl":
            target.write(json_module.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n")
            continue
        if table is None:
            table = csv.DictWriter(target, list(entry), lineterminator="\n")
            table.writeheader()
        table.writerow({**entry, "chained": " ".join(entry["chained"])})


@app.command()
def compact(
    keep_days: Annotated[int, typer.Option("--keep-days", min=7, max=36_500, help="Days that stay.")] = 180,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Move settled days into an archive file beside the journal; the chain holds through both.

    What is open, not settled, or younger stays. The kiosk must not be running.

    Example: kiosk journal compact --keep-days 180
    """
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base, base.journal() as opened:
        today = datetime.fromtimestamp(base.clock.utc_s(), _zone(base)).date()
        found = opened.compact(today - timedelta(days=keep_days))
    if json:
        moved = found.last - found.first + 1 if found else 0
        print_json(
            {"moved": moved, "file": found.file if found else "", "sha256": found.sha256 if found else ""}
        )
    elif found is None:
        say(f"nothing to move: no settled day is older than {keep_days} days")
    else:
        say(f"entries {found.first} to {found.last} are in archive/{found.file} (SHA-256 {found.sha256})")


@app.command()
def recover(
    days: Annotated[int, typer.Option("--days", min=0, max=400, help="How many days back to compare.")] = 35,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """After a damaged or an older journal, or where `kiosk close` differs: believe the acquirer's books.

    What can be read of a damaged file is saved, and the file is kept. What only the acquirer knows is
    written; what was declined here and is approved there gets a correction, and so does a refund. What is
    approved here and not there stays, for a call. Payments are begun again only when the acquirer answered
    for every day: exit 14, run it again. Running it again changes nothing; the kiosk must not be running.

    Example: kiosk journal recover
    """
    from kiosk.app.recovery import Recovery, mend_if_damaged
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base:
        path = base.data_dir / "journal.sqlite"
        mended = mend_if_damaged(path, base.clock.utc_s)
        with base.journal() as opened:
            terminal, currency = base.terminal(), base.config.store.currency
            found = Recovery(opened, base.client(), terminal, base.clock, _zone(base), currency).run(
                mended, days=days
            )
    if json:
        print_json(_recovered(found))
    else:
        for line in _told(found, currency):
            say(line)
    if not found.complete:
        raise typer.Exit(UNANSWERED)


def _recovered(found: Recovered) -> dict[str, Any]:
    mended = found.mended

    def booked(differences: tuple[Difference, ...]) -> list[dict[str, Any]]:
        return [
            {
                "ref": one.ref,
                "kind": one.kind,
                "number": one.number,
                "order_ref": one.order_ref,
                "minor": one.acquirer,
            }
            for one in differences
        ]

    return {
        "complete": found.complete,
        "saved": mended.saved if mended else None,
        "gaps": [[gap.first, gap.last] for gap in mended.gaps] if mended else [],
        "kept": str(mended.kept) if mended else "",
        "was_halted": found.was_halted,
        "compared": found.compared,
        "unanswered": list(found.unanswered),
        "adopted": booked(found.adopted),
        "corrected": booked(found.corrected),
        "refused": [
            {"ref": task.ref, "kind": "refund", "number": task.number, "minor": task.minor}
            for task in found.refused
        ],
        "differ": [
            {"ref": one.ref, "kind": one.kind, "kiosk": one.kiosk, "acquirer": one.acquirer}
            for one in found.differ
        ],
        "open": found.open_attempts,
    }


def _told(found: Recovered, currency: str) -> Iterator[str]:
    def money(minor: int | None) -> str:
        return "nothing" if minor is None else str(Money(minor, currency))

    if found.mended:
        lost = sum(gap.last - gap.first + 1 for gap in found.mended.gaps)
        yield f"{found.mended.saved} entries saved, {lost} lost; the damaged file is {found.mended.kept}"
    yield f"{found.compared} days compared with the acquirer: {len(found.adopted)} bookings were missing here"
    for one in found.adopted:
        yield f"  {_named(one)}, {money(one.acquirer)}: written"
    for one in found.corrected:
        yield f"  {_named(one)}: held here otherwise, the acquirer has {money(one.acquirer)}: corrected"
        if one.kind == "payment":
            yield "    the payer was charged: give them the receipt (`kiosk receipt`), or the money back"
    for task in found.refused:
        yield f"  refund {task.number} of {task.ref}: nothing went back by it; give it anew"
    for one in found.differ:
        sides = f"here {money(one.kiosk)}, the acquirer {money(one.acquirer)}"
        yield f"  {_named(one)}: {sides}: call the acquirer"
    if found.open_attempts:
        yield f"{found.open_attempts} payments have no end: run `kiosk resolve`"
    if found.unanswered:
        yield f"{len(found.unanswered)} days were not answered: run it again, no payment is begun before"


def _named(one: Difference) -> str:
    number = f" {one.number}" if one.kind == "refund" else ""
    return f"{one.kind}{number} of {f'order {one.order_ref}, ' if one.order_ref else ''}ref {one.ref}"


# --- shared ---------------------------------------------------------------------------------------------


def _reading(base: Base) -> Journal:
    from kiosk.acquirer.journal import Journal

    return Journal(base.data_dir / "journal.sqlite", read_only=True)


def _zone(base: Base) -> ZoneInfo:
    return ZoneInfo(base.config.store.timezone)


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError:
        raise OperatorError(f"{text!r} is no day", do="Write it as 2026-11-25.") from None


def _short(token: str) -> str:
    return token if len(token) <= 8 else f"{token[:4]}…{token[-2:]}"
