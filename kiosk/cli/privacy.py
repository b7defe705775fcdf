"""`kiosk privacy`: what is kept of a person, as a file for them."""

from __future__ import annotations

import typer

from kiosk.cli.privacy_export import export
from kiosk.cli.privacy_report import report

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="What this kiosk keeps of people, for them and for whoever answers for it."
)


app.command()(export)
app.command()(report)


@app.callback()
def privacy() -> None:
    pass
