"""`kiosk till`: what a shop's till needs to reach this kiosk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json, say
from kiosk.domain.errors import OperatorError

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="The link from a shop's till. `kiosk run` listens for one when the configuration says so "
    "(till.link); docs/till.md is the guide for whoever builds the till.\n\n"
    "First, for TCP: kiosk till key, give the till its content, kiosk doctor.",
)


@app.callback()
def till() -> None:
    pass


@app.command()
def key(
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it there. Default: till.key_file, or the data folder."),
    ] = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Make the key that till and kiosk share: 64 hex digits, mode 0600. Refused where there is one.

    Copy the file to the till, on a way that nobody reads; the key itself is never printed.

    Example: kiosk till key && sudo cat /var/lib/kiosk/till.key
    """
    from kiosk.app.till import till_key_file
    from kiosk.app.wiring import open_base
    from kiosk.files import is_there, write_whole
    from kiosk.till.key import new_key

    with open_base(data_dir, config, complain, begins=True) as base:
        path = out or till_key_file(base)
    if is_there(path):
        raise OperatorError(
            "there is a key already", where=str(path), do="Remove it first: the till needs the new one too."
        )
    try:
        write_whole(path, new_key())
    except OSError as error:
        raise OperatorError(f"the key can't be written ({error.strerror})", where=str(path)) from None
    if json:
        print_json({"file": str(path)})
    else:
        say(f"wrote {path}; give the till the same key")
