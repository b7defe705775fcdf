"""`kiosk screenshot`: pictures of the screens, drawn without a display."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from kiosk.cli.common import say
from kiosk.domain.errors import OperatorError

__all__ = ["screenshot"]


def screenshot(
    all_: Annotated[
        Path | None,
        typer.Option("--all", metavar="DIR", help="Every screen x language x orientation x theme, into DIR."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option("--only", metavar="NAME", help="One screen (offer) or one situation (offer-long)."),
    ] = None,
    folder: Annotated[
        Path, typer.Option("--to", metavar="DIR", help="Where --only puts its pictures.")
    ] = Path(),
) -> None:
    """Draw the screens to PNG files: what is shown is made up, and no camera is opened.

    Example: kiosk screenshot --all out/screens; kiosk screenshot --only confirm --to out
    """
    if all_ is None and only is None:
        raise OperatorError("nothing to draw", do="Give --all DIR, or --only NAME")
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    os.environ["QT_QUICK_BACKEND"] = "software"
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from kiosk.ui.screenshot import SCENES, pictures, save

    wanted = list(pictures(only))
    if not wanted:
        names = ", ".join(scene.name for scene in SCENES)
        raise OperatorError(f"there is no screen {only!r}", where="--only", do=f"There are: {names}")
    target = all_ or folder
    try:
        target.mkdir(parents=True, exist_ok=True)
        columns = (
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, transient=True) as progress:
            task = progress.add_task("", total=len(wanted))
            for picture in wanted:
                progress.update(task, description=picture.scene.name)
                save(picture, target)
                progress.advance(task)
    except OSError as error:
        raise OperatorError(f"can't be written: {error.strerror or error}", where=str(target)) from error
    say(f"{len(wanted)} pictures in {target}")
