"""`kiosk limits`: how much may be paid by face here, who says so, and the merchant's own setting."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final
from zoneinfo import ZoneInfo

import typer

from kiosk.app.limits import cap_said
from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json, say
from kiosk.cli.staff import PinFile, approve
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import NO_LIMITS, LimitKind, Limits, Policy, Spent, effective
from kiosk.domain.moments import written
from kiosk.domain.money import Money, MoneyError
from kiosk.domain.staff import Action

if TYPE_CHECKING:
    from kiosk.app.wiring import Base

__all__ = ["app"]

KINDS: Final = (*map(str, LimitKind), "pin_above")
SPENT: Final = {
    "per_person_hour": "by_person_hour",
    "per_person_day": "by_person",
    "per_kiosk_day": "by_kiosk",
    "per_person_hour_count": "person_hour_count",
    "per_person_day_count": "person_day_count",
    "per_kiosk_day_count": "kiosk_day_count",
}
"""Which field of `Spent` counts against a cap."""
STAFF: Final = re.compile(r"[0-9]{1,12}", re.ASCII)

app = typer.Typer(
    no_args_is_help=True,
    help="Caps on payments by face: the acquirer signs the ceiling, the merchant may lower it, a payer too.",
)


@app.callback()
def limits() -> None:
    pass


@app.command()
def show(
    payer: Annotated[
        str, typer.Option("--payer", metavar="TOKEN", help="Also what this payer set, and spent.")
    ] = "",
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Every cap: the acquirer's (with the law of the place), the merchant's, what is in force and spent.

    An hour is the last 60 minutes, a day the store's; a `_count` is a number of payments.

    Example: kiosk limits show --payer tok-7f3a
    """
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base:
        policy, currency = base.stored_policy(), base.config.store.currency
        ceiling = effective(policy.ceiling, policy.law) if policy else NO_LIMITS
        merchant = base.limits.in_force()
        own = _own(base, payer) if payer else NO_LIMITS
        spent = _spent(base, payer)
    in_force = effective(ceiling, merchant, own)
    rows: list[dict[str, int | str | None]] = [
        {
            "kind": kind,
            "acquirer": getattr(ceiling, kind),
            "merchant": getattr(merchant, kind),
            **({"payer": getattr(own, kind)} if payer else {}),
            "in_force": getattr(in_force, kind),
            "spent": _counted(kind, spent, payer),
        }
        for kind in KINDS
    ]
    if json:
        print_json({"currency": currency, **_law(policy), "limits": rows})
        return
    _table(rows, currency)
    _say_law(policy)


@app.command("set")
def set_(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="As `kiosk limits show` names it.")],
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="An amount such as 200.00, a number of payments, or none.")
    ],
    staff: Annotated[
        str,
        typer.Option(
            metavar="NUMBER",
            help="A manager, who is asked for their PIN (where there is staff); named in the audit trail.",
            show_default=False,
        ),
    ] = "",
    pin_file: PinFile = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Lower one of the merchant's caps, or lift it again (none). A running kiosk follows at the next payment.

    A value above the acquirer's ceiling is refused. Each change is in the audit trail (`kiosk limits log`).
    Where the shop has staff (`kiosk staff add`), a manager approves it with their PIN.

    Example: kiosk limits set per_person_day 200.00 --staff 1007
    """
    from kiosk.app.wiring import open_base

    kind = kind.replace("-", "_")
    if kind not in KINDS:
        raise OperatorError(f"there is no limit {kind!r}", do=f"One of {', '.join(KINDS)}.")
    if staff and not STAFF.fullmatch(staff):
        raise OperatorError(f"--staff {staff[:40]!r}", do="Give a staff number, 1 to 12 digits.")
    with open_base(data_dir, config, complain) as base:
        currency = base.config.store.currency
        wanted = None if value == "none" else _parsed(kind, value, currency)
        policy = base.stored_policy()
        ceiling = effective(policy.ceiling, policy.law) if policy else NO_LIMITS
        if base.staff.members():
            if not staff:
                raise OperatorError("a manager changes limits here", do="Give --staff NUMBER.")
            approve(base, int(staff), pin_file, Action.LIMITS, kind=kind, value=value)
        base.limits.change(kind, wanted, ceiling=ceiling, at_s=time.time(), staff=staff)
        now = getattr(effective(ceiling, base.limits.in_force()), kind)
    if json:
        print_json({"kind": kind, "merchant": wanted, "in_force": now})
    else:
        say(f"{kind}: {cap_said(kind, wanted, currency)}; in force: {cap_said(kind, now, currency)}")


@app.command()
def log(data_dir: DataDir = None, config: ConfigFile = None, json: Json = False) -> None:
    """Who changed which cap, and when. Exit code 2 when the trail was changed by other hands.

    Example: kiosk limits log --json
    """
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base:
        entries = [entry for entry in base.audit.entries() if entry.what == "limit"]
        currency, zone = base.config.store.currency, ZoneInfo(base.config.store.timezone)
    if json:
        print_json(
            {
                "changes": [
                    {"at": entry.at.astimezone(zone).isoformat(), "staff": entry.staff, **entry.values}
                    for entry in entries
                ]
            }
        )
        return
    for entry in entries:
        kind = str(entry.values["kind"])
        before, after = (cap_said(kind, entry.values[when], currency) for when in ("before", "after"))
        at = written(entry.at.astimezone(zone))
        say(f"{at} {kind}: {before} -> {after}, staff {entry.staff or 'not named'}")
    say(f"{len(entries)} changes")


# --- what is shown --------------------------------------------------------------------------------------


def _own(base: Base, token: str) -> Limits:
    record = base.gallery.payer(token)
    if record is None:
        raise OperatorError(f"nobody is enrolled as {token!r}", do="Check the token.")
    return record.limits


def _spent(base: Base, token: str) -> Spent:
    """What counts now, also beside a running kiosk."""
    from kiosk.acquirer.journal import Journal
    from kiosk.files import is_there

    path = base.data_dir / "journal.sqlite"
    if not is_there(path):
        return Spent()
    with Journal(path, read_only=True) as journal:
        now_s = journal.not_before(time.time())
        today = datetime.fromtimestamp(now_s, ZoneInfo(base.config.store.timezone)).date()
        return journal.spent(token, now_s, today)


def _counted(kind: str, spent: Spent, payer: str) -> int | None:
    """What counts against a cap; None where nothing does, or nobody was named."""
    field = SPENT.get(kind)
    if field is None or ("person" in kind and not payer):
        return None
    counted: int = getattr(spent, field)
    return counted


def _table(rows: list[dict[str, int | str | None]], currency: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in rows[0]:
        table.add_column(
            column.replace("_", " "), justify="left" if column == "kind" else "right", no_wrap=True
        )
    for row in rows:
        kind = str(row["kind"])
        told = [kind, *(cap_said(kind, value, currency) for name, value in row.items() if name != "kind")]
        table.add_row(*(escape("-" if words == "none" else words) for words in told))
    Console().print(table)


def _law(policy: Policy | None) -> dict[str, object]:
    return {
        "policy_version": policy.version if policy else None,
        "face_allowed": policy is not None and policy.face_allowed,
        "two_factors_above": policy.two_factors_above if policy else None,
        "law_note": policy.law_note if policy else "",
    }


def _say_law(policy: Policy | None) -> None:
    if policy is None:
        say("no policy of the acquirer is in force: nobody pays by face (see `kiosk doctor`)")
        return
    if not policy.face_allowed:
        say("payment by face is not allowed here")
    if policy.two_factors_above is not None:
        above = Money(policy.two_factors_above, policy.currency)
        say(f"the law of the place asks for two factors (face and PIN) above {above}")
    if policy.law_note:
        say(policy.law_note)


# --- what is set ----------------------------------------------------------------------------------------


def _parsed(kind: str, value: str, currency: str) -> int:
    if kind.endswith("_count"):
        if not re.fullmatch(r"[0-9]{1,9}", value, re.ASCII):
            raise OperatorError(f"{kind} {value[:40]!r}", do="Give a number of payments such as 5, or none.")
        return int(value)
    try:
        return Money.parse(value, currency).minor
    except MoneyError as error:
        raise OperatorError(f"{kind}: {error}", do="Give an amount such as 200.00, or none.") from None
