"""`kiosk outbox`: what still has to reach the acquirer, and what it declined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json, say
from kiosk.domain.moments import moment, rfc3339
from kiosk.domain.money import Money
from kiosk.domain.receipt import reason

if TYPE_CHECKING:
    from kiosk.acquirer.journal import Task

__all__ = ["outbox"]


def outbox(
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, help="How many of the newest are looked at.")
    ] = 200,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Refunds, forwarded offline sales, disputes and withdrawals that wait, and those that were declined.

    It also works beside a running kiosk. Exit code 10 when something was declined: staff take that up.

    Example: kiosk outbox
    """
    from kiosk.acquirer.journal import Journal
    from kiosk.app.unattended import Exit
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base:
        path = base.data_dir / "journal.sqlite"
        tasks: list[Task] = []
        if path.exists():
            with Journal(path, read_only=True) as journal:
                tasks = [*journal.open_tasks(), *(one for one in journal.tasks(limit) if one.result)]
        withdrawals, zone = base.withdrawals.tokens(), ZoneInfo(base.config.store.timezone)
    waiting = [task for task in tasks if task.result is None]
    declined = [task for task in tasks if task.result == "declined"]
    if json:
        print_json(
            {
                "waiting": [_as_json(task, zone) for task in waiting],
                "declined": [_as_json(task, zone) for task in declined],
                "withdrawals": withdrawals,
            }
        )
    else:
        for task in waiting:
            say(f"waits     {_line(task, zone)}")
        for token in withdrawals:
            say(f"waits     withdrawal of {token}")
        for task in declined:
            say(f"DECLINED  {_line(task, zone)}: {reason(_code(task))}")
        if not (waiting or withdrawals or declined):
            why = "" if path.exists() else f" (nothing was sold here yet: {path} is not there)"
            say(f"nothing waits, nothing was declined{why}")
    if declined:
        raise typer.Exit(Exit.DECLINED)


def _money(task: Task) -> Money | None:
    return Money(task.minor, task.order.amount.currency) if task.order else None


def _code(task: Task) -> str:
    from kiosk.app.aftersale import answer_of

    answer = answer_of(task)
    return answer.code if answer else ""


def _line(task: Task, zone: ZoneInfo) -> str:
    order = f" of order {task.order.order_ref}" if task.order else ""
    money = _money(task)
    since = moment(task.at, zone)
    return f"{since} {task.operation} {task.number}{order}{f' {money}' if money else ''} (ref {task.ref})"


def _as_json(task: Task, zone: ZoneInfo) -> dict[str, Any]:
    money = _money(task)
    return {
        "operation": task.operation,
        "at": rfc3339(task.at, zone),
        "ref": task.ref,
        "number": task.number,
        "order_ref": task.order.order_ref if task.order else None,
        "amount": money.decimal() if money else None,
        "currency": money.currency if money else None,
        "result": task.result,
        "code": _code(task) if task.result == "declined" else None,
    }
