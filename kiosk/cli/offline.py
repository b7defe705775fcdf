"""`kiosk offline`: sales that were accepted without the acquirer: what waits, and what it declined since."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json, say
from kiosk.domain.moments import moment, rfc3339
from kiosk.domain.money import Money
from kiosk.domain.receipt import reason, render

if TYPE_CHECKING:
    from kiosk.app.offline import StoredSale
    from kiosk.domain.limits import OfflineCaps

__all__ = ["offline"]


def offline(
    slips: Annotated[
        bool, typer.Option("--slips", help="Also a slip for staff of each sale that was declined.")
    ] = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """What was sold while the acquirer could not be reached: waiting, forwarded, declined; and the caps.

    Works beside a running kiosk; `kiosk resolve` forwards what waits. Exit code 10 when a sale was declined:
    staff take that up, nothing is charged again by itself.

    Example: kiosk offline --slips
    """
    import time
    from zoneinfo import ZoneInfo

    from kiosk.acquirer.journal import Journal
    from kiosk.app.offline import stored_sales
    from kiosk.app.receipts import declined_offline
    from kiosk.app.unattended import Exit
    from kiosk.app.wiring import open_base
    from kiosk.domain.offline import caps_in_force

    printed: list[str] = []
    with open_base(data_dir, config, complain) as base:
        own, zone = base.config.offline.setting(), ZoneInfo(base.config.store.timezone)
        policy = base.stored_policy() if (base.data_dir / "policy.jws").exists() else None
        caps = caps_in_force(policy.offline, own) if policy and policy.offline and own.enabled else None
        sales: list[StoredSale] = []
        path = base.data_dir / "journal.sqlite"
        if path.exists():
            with Journal(path, read_only=True) as journal:
                sales = stored_sales(journal.advices())
                declined = [
                    (journal.payment(sale.task.ref), journal.tasks_of(sale.task.ref))
                    for sale in sales
                    if slips and sale.declined
                ]
            setting = base.setting(policy) if declined else None
            for payment, tasks in declined:
                slip = declined_offline(setting, payment, tasks) if setting and payment else None
                printed += [render(slip, language=base.config.screen.language)] if slip else []
        currency = policy.currency if policy else base.config.store.currency
    now_s = time.time()
    if json:
        print_json(_as_json(sales, caps, currency, zone) | {"slips": printed})
    else:
        _say(sales, caps, currency, zone, now_s)
        if not path.exists():
            say(f"nothing was sold here yet ({path} is not there)")
        for text in printed:
            say("\n" + text.rstrip("\n"))
    if any(sale.declined for sale in sales):
        raise typer.Exit(Exit.DECLINED)


def _groups(sales: Sequence[StoredSale]) -> dict[str, list[StoredSale]]:
    return {
        "waiting": [sale for sale in sales if sale.answer is None],
        "forwarded": [sale for sale in sales if sale.answer is not None and not sale.declined],
        "declined": [sale for sale in sales if sale.declined],
    }


def _sum(sales: Sequence[StoredSale], currency: str) -> Money:
    return Money(sum(sale.task.minor for sale in sales), currency)


def _say(
    sales: Sequence[StoredSale], caps: OfflineCaps | None, currency: str, zone: tzinfo, now_s: float
) -> None:
    groups = _groups(sales)
    if caps is None:
        say("offline sales are off here (offline.enabled, and the acquirer's policy)")
    for name, group in groups.items():
        line = f"{name:<10} {len(group):>3}  {_sum(group, currency)}"
        if name == "waiting" and caps is not None:
            line += f"  of {caps.count} sales, {Money(caps.total, currency)}"
            line += f"; one at most {Money(caps.per_payment, currency)}"
            if group:
                oldest_s = now_s - min(sale.task.at for sale in group)
                line += f"; the oldest since {_span(oldest_s)} of {_span(caps.age_s)}"
        say(line)
    for sale in groups["waiting"]:
        say(f"waits     {_line(sale, zone)}")
    for sale in groups["declined"]:
        say(f"DECLINED  {_line(sale, zone)}: {reason(sale.answer.code if sale.answer else '')}")


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{max(seconds, 0):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"


def _line(sale: StoredSale, zone: tzinfo) -> str:
    task = sale.task
    order = task.order
    sold = moment(task.at, zone)
    about = f"{order.amount} order {order.order_ref} " if order else ""
    return f"{about}sold {sold} (ref {task.ref})"


def _as_json(
    sales: Sequence[StoredSale], caps: OfflineCaps | None, currency: str, zone: tzinfo
) -> dict[str, Any]:
    def plain(sale: StoredSale) -> dict[str, Any]:
        return {
            "ref": sale.task.ref,
            "order_ref": sale.task.order.order_ref if sale.task.order else None,
            "amount": Money(sale.task.minor, currency).decimal(),
            "sold": rfc3339(sale.task.at, zone),
            "code": sale.answer.code if sale.answer else None,
            "approval": sale.answer.approval if sale.answer else None,
        }

    limits = None
    if caps is not None:
        limits = {
            "per_payment": Money(caps.per_payment, currency).decimal(),
            "count": caps.count,
            "total": Money(caps.total, currency).decimal(),
            "age_s": caps.age_s,
        }
    groups = {name: [plain(sale) for sale in group] for name, group in _groups(sales).items()}
    return {"enabled": caps is not None, "currency": currency, "caps": limits} | groups
