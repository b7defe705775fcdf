"""`kiosk eval identify | verify | pad`: figures on a table of pictures; JSON, or a table for people.

Progress goes to stderr when that is a terminal. An evaluation reads the manifest's thresholds and sets none.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from kiosk.cli.common import Json, print_json

__all__ = ["app", "identify", "pad", "verify"]

app = typer.Typer(
    no_args_is_help=True, help="Measure: who is recognised, who is not, which attacks are found."
)

Manifest = Annotated[
    Path, typer.Option("--manifest", metavar="FILE.csv", help="Table of pictures; paths are relative to it.")
]
Evaluate = Callable[[Path, Any, Callable[[int, int], None]], dict[str, Any]]


@app.command()
def identify(manifest: Manifest, as_json: Json = False) -> None:
    """1 : N. Columns: path,identity,role (enrol or probe), and group if wanted.

    Example: kiosk eval identify --manifest people/identify.csv --json
    """
    from kiosk.evaluation.identify import evaluate

    _report("Identification", evaluate, manifest, liveness=False, as_json=as_json)


@app.command()
def verify(manifest: Manifest, as_json: Json = False) -> None:
    """1 : 1. Columns: fold,same,path1,path2.

    Example: kiosk eval verify --manifest pairs/verify.csv
    """
    from kiosk.evaluation.verify import evaluate

    _report("Verification", evaluate, manifest, liveness=False, as_json=as_json)


@app.command()
def pad(manifest: Manifest, as_json: Json = False) -> None:
    """Presentation attacks. Columns: path,label (live or a species),subject,dataset,...

    Example: kiosk eval pad --manifest attacks/pad.csv --json
    """
    from kiosk.evaluation.pad import evaluate

    _report("Presentation attack detection", evaluate, manifest, liveness=True, as_json=as_json)


def _report(title: str, evaluate: Evaluate, manifest: Path, *, liveness: bool, as_json: bool) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from kiosk.vision.pipeline import Vision

    vision = Vision(liveness=liveness)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task(title, total=None)
        figures = evaluate(manifest, vision, lambda done, of: bar.update(task, completed=done, total=of))
    if as_json:
        print_json(figures)
    else:
        _print_table(title, figures)


def _print_table(title: str, figures: dict[str, Any]) -> None:
    """One line a figure: its value, and the 95 % interval of a rate."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    intervals = figures.get("interval_95", {})
    for key, value in figures.items():
        if key == "interval_95":
            continue
        interval = intervals.get(key)
        if isinstance(value, dict):
            for name, part in value.items():
                if isinstance(part, dict):  # a group's figures: --json has them all
                    continue
                inner = interval.get(name) if isinstance(interval, dict) else None
                table.add_row(f"{key} {name}", _number(part), _span(inner))
        else:
            table.add_row(key, _number(value), _span(interval))
    Console().print(table)


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "-" if value is None else str(value)


def _span(interval: Any) -> str:
    return f"{interval[0]:.4f} .. {interval[1]:.4f}" if isinstance(interval, tuple) else ""
