"""`kiosk eval identify | verify | pad`: figures on a table of pictures; JSON, or a table for people.

Progress goes to stderr when that is a terminal. An evaluation reads the manifest's thresholds and sets none.
`--report DIR` also writes Markdown and pictures for people who must rely on the figures.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from kiosk.cli.common import Json, complain, print_json, say
from kiosk.domain.errors import OperatorError

__all__ = ["app", "identify", "pad", "verify"]

app = typer.Typer(
    no_args_is_help=True, help="Measure: who is recognised, who is not, which attacks are found."
)

Manifest = Annotated[
    Path, typer.Option("--manifest", metavar="FILE.csv", help="Table of pictures; paths are relative to it.")
]
Report = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="DIR",
        help="Also write report.md and its pictures there (needs the extra 'report').",
        show_default=False,
    ),
]
Faces = Annotated[
    bool,
    typer.Option("--faces", help="Show faces of the worst cases in the report: it then holds personal data."),
]
Measure = Callable[[Path, Any, Callable[[int, int], None]], Any]
Write = Callable[[Any, Any], Path]


@app.command()
def identify(manifest: Manifest, as_json: Json = False, report: Report = None, faces: Faces = False) -> None:
    """1 : N. Columns: path,identity,role (enrol or probe), and group if wanted.

    Example: kiosk eval identify --manifest people/identify.csv --report out/identify
    """
    from kiosk.evaluation.identify import measure

    def write(measured: Any, context: Any) -> Path:
        from kiosk.evaluation.report_identify import write_identification

        return write_identification(measured, context)

    run = _Run("identify", manifest, report, faces=faces, as_json=as_json)
    _evaluate(run, "Identification", measure, write, liveness=False)


@app.command()
def verify(manifest: Manifest, as_json: Json = False, report: Report = None) -> None:
    """1 : 1. Columns: fold,same,path1,path2.

    Example: kiosk eval verify --manifest pairs/verify.csv
    """
    from kiosk.evaluation.verify import measure

    def write(measured: Any, context: Any) -> Path:
        from kiosk.evaluation.report_verify import write_verification

        return write_verification(measured, context)

    run = _Run("verify", manifest, report, faces=False, as_json=as_json)
    _evaluate(run, "Verification", measure, write, liveness=False)


@app.command()
def pad(manifest: Manifest, as_json: Json = False, report: Report = None, faces: Faces = False) -> None:
    """Presentation attacks. Columns: path,label (live or a species),subject,dataset,...

    Example: kiosk eval pad --manifest attacks/pad.csv --json
    """
    from kiosk.evaluation.pad import measure

    def write(measured: Any, context: Any) -> Path:
        from kiosk.evaluation.report_pad import write_pad

        return write_pad(measured, context)

    run = _Run("pad", manifest, report, faces=faces, as_json=as_json)
    _evaluate(run, "Presentation attack detection", measure, write, liveness=True)


@dataclass(frozen=True, slots=True)
class _Run:
    """What was asked for on the command line."""

    name: str
    manifest: Path
    report: Path | None
    _: KW_ONLY
    faces: bool
    as_json: bool

    @property
    def command(self) -> str:
        """The command as it can be typed again."""
        words = ["kiosk", "eval", self.name, "--manifest", str(self.manifest)]
        words += ["--report", str(self.report)] if self.report else []
        words += ["--faces"] if self.faces else []
        return shlex.join(words)


def _evaluate(run: _Run, title: str, measure: Measure, write: Write, *, liveness: bool) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from kiosk.vision.pipeline import Vision

    if run.faces and run.report is None:
        raise OperatorError("--faces shows faces in a report", do="Name its folder with --report DIR.")
    if run.report is not None:
        from kiosk.evaluation.report import prepare

        prepare(run.report)
    vision = Vision(liveness=liveness)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task(title, total=None)
        measured = measure(run.manifest, vision, lambda done, of: bar.update(task, completed=done, total=of))
    if run.report is not None:
        _write_report(run, run.report, vision, measured, write)
    if run.as_json:
        print_json(measured.figures)
    else:
        _print_table(title, measured.figures)


def _write_report(run: _Run, folder: Path, vision: Any, measured: Any, write: Write) -> None:
    from kiosk.evaluation.report import FACES_WARNING, Context

    written = write(measured, Context(folder, run.command, vision.manifest, run.faces))
    complain(f"report: {written}")
    if run.faces:
        complain(FACES_WARNING)


def _print_table(title: str, figures: dict[str, Any]) -> None:
    """One line a figure: its value, and the 95 % interval of a rate; below them how to take them."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    intervals = figures.get("interval_95", {})
    for key, value in figures.items():
        if key in {"interval_95", "note"}:
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
    if "note" in figures:
        say(figures["note"])


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "-" if value is None else str(value)


def _span(interval: Any) -> str:
    return f"{interval[0]:.4f} .. {interval[1]:.4f}" if isinstance(interval, tuple) else ""
