"""`kiosk doctor`: is everything well, and if not, what to do."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json
from kiosk.domain.errors import OperatorError

if TYPE_CHECKING:
    from kiosk.app.health import Check
    from kiosk.app.wiring import Base

__all__ = ["doctor"]

UNHEARD: Final = 14

_MARKS = {"green": "[green]ok  [/]", "amber": "[yellow]look[/]", "red": "[red]BAD [/]"}


def doctor(
    camera: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Camera to try. Default: the configured one.")
    ] = None,
    report: Annotated[
        bool,
        typer.Option("--report", help="Tell the acquirer too: versions, counters, how each check ended."),
    ] = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Test every part of this kiosk and say what to do. Exit code 0 unless something is red (then 1).

    With --report 14 when the acquirer did not hear it; nothing about persons is in it.

    Example: kiosk doctor --camera /dev/video0 --json
    """
    from rich.console import Console
    from rich.markup import escape

    from kiosk.app.health import checks
    from kiosk.app.wiring import open_base

    console = Console(highlight=False, soft_wrap=True)
    found = []
    with open_base(data_dir, config, complain, begins=True) as base:
        for check in checks(base, camera or base.config.camera.source):
            found.append(check)
            if not json:
                console.print(f"{_MARKS[check.status]} {check.name:<12} {escape(check.detail)}")
                if check.action:
                    console.print(f"     {'':<12} [dim]-> {escape(check.action)}[/]")
        why = _report(base, found) if report else ""
    red = [check.name for check in found if check.status == "red"]
    if json:
        told = {"reported": not why} if report else {}
        print_json({"ok": not red, "checks": [asdict(check) for check in found]} | told)
    if why:
        complain(f"the acquirer did not hear it: {why}")
    if red or why:
        raise typer.Exit(1 if red else UNHEARD)


def _report(base: Base, found: list[Check]) -> str:
    """Tell the acquirer; empty when it heard, else why not. It may have a newer policy, or people."""
    from kiosk.acquirer.operations import TelemetryAnswer
    from kiosk.app.asking import ask
    from kiosk.app.telemetry import report

    try:
        answer, why = ask(base.client(), report(base, found), TelemetryAnswer)
    except OperatorError as failure:  # the checks are told all the same
        return str(failure)
    if answer is not None and answer.action == "refresh_policy":
        base.fetch_policy()
    if answer is not None and answer.action == "refresh_gallery":
        complain("the acquirer has published newer people and deletions: run `kiosk gallery sync`")
    return why
