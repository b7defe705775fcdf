"""`kiosk doctor` and `kiosk resolve`: is everything well, and finish what is open."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json, say

__all__ = ["doctor", "resolve"]

_MARKS = {"green": "[green]ok  [/]", "amber": "[yellow]look[/]", "red": "[red]BAD [/]"}


def doctor(
    camera: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Camera to try. Default: the configured one.")
    ] = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Test every part of this kiosk and say what to do. Exit code 0 unless something is red (then 1)."""
    from rich.console import Console
    from rich.markup import escape

    from kiosk.app.health import checks
    from kiosk.app.wiring import open_base

    console = Console(highlight=False, soft_wrap=True)
    found = []
    with open_base(data_dir, config, complain) as base:
        for check in checks(base, camera or base.config.camera.source):
            found.append(check)
            if not json:
                console.print(f"{_MARKS[check.status]} {check.name:<12} {escape(check.detail)}")
                if check.action:
                    console.print(f"     {'':<12} [dim]-> {escape(check.action)}[/]")
    red = [check.name for check in found if check.status == "red"]
    if json:
        print_json({"ok": not red, "checks": [asdict(check) for check in found]})
    if red:
        raise typer.Exit(1)


def resolve(
    wait: Annotated[float, typer.Option("--wait", metavar="SECONDS", min=0, max=3600)] = 60.0,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Finish payments whose outcome is open: ask the acquirer, else reverse. Exit 14 if one stays open."""
    from kiosk.app.unattended import Exit, resolve_open
    from kiosk.app.wiring import open_base, open_kiosk

    with open_base(data_dir, config, complain) as base, open_kiosk(base) as kiosk:
        before = len(kiosk.kernel.behind)
        left = resolve_open(kiosk.kernel, clock=kiosk.clock, wait_s=wait)
    if json:
        print_json({"open_before": before, "open_now": left})
    else:
        say(f"{before} were open, {left} still are")
    if left:
        raise typer.Exit(Exit.UNKNOWN)
