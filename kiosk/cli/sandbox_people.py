"""`kiosk sandbox people`: how many enrolled, and people who do not exist, to measure with."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from kiosk.cli.common import DataDir, Json, print_json, say

__all__ = ["people"]


def people(
    synthetic: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1_000_000,
            metavar="N",
            help="Enrol people who do not exist, up to N of them.",
        ),
    ] = None,
    references: Annotated[
        int, typer.Option(min=1, max=8, help="Templates of each of them.", show_default=True)
    ] = 1,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Say how many people enrolled at the sandbox; with --synthetic, fill it for measurements.

    Their templates are random and their tokens begin with syn-. A running sandbox publishes them by itself.

    Example: kiosk sandbox people --synthetic 100000 --data-dir /tmp/load
    """
    from rich.console import Console
    from rich.progress import Progress

    from kiosk.app.config import default_data_dir
    from kiosk.app.workers import SystemClock
    from kiosk.sandbox.ledger import Ledger
    from kiosk.sandbox.server import home
    from kiosk.sandbox.synthetic import enrol_synthetic

    folder = home(data_dir or default_data_dir())
    with closing(Ledger(folder / "ledger.sqlite")) as ledger:
        came = 0
        if synthetic is not None:
            with Progress(console=Console(stderr=True), transient=True) as bar:
                task = bar.add_task("enrolling", total=synthetic)
                came = enrol_synthetic(
                    folder,
                    ledger,
                    SystemClock(),
                    synthetic,
                    references=references,
                    model_id=_embedding_id(),
                    progress=lambda count: bar.advance(task, count),
                )
        enrolled, withdrawn = ledger.gallery.numbers()
        waiting = ledger.gallery.number_waiting()
    if json:
        print_json({"enrolled": enrolled, "withdrawn": withdrawn, "unpublished": waiting, "came": came})
        return
    say(f"{enrolled} people enrolled, {withdrawn} withdrew, {waiting} in no segment yet; {came} came now")


def _embedding_id() -> str:
    """The network that kiosks make probes with."""
    from kiosk.vision.models import Role, load_manifest

    return load_manifest().card(Role.EMBEDDING).id
