"""`kiosk doctor`: is everything well, and if not, what to do."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json

__all__ = ["doctor"]

_MARKS = {"green": "[green]ok  [/]", "amber": "[yellow]look[/]", "red": "[red]BAD [/]"}


def doctor(
    camera: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Camera to try. Default: the configured one.")
    ] = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Test every part of this kiosk and say what to do. Exit code 0 unless something is red (then 1).

    Example: kiosk doctor --camera /dev/video0 --json
    """
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
