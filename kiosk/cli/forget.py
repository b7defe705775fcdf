"""`kiosk forget`: a person leaves when they ask, at once, and everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, check_token, complain, print_json, say
from kiosk.domain.errors import OperatorError

__all__ = ["forget"]

Token = Annotated[str, typer.Option("--payer", metavar="TOKEN", help="The acquirer's opaque payer token.")]


def forget(payer: Token, data_dir: DataDir = None, config: ConfigFile = None, json: Json = False) -> None:
    """Withdraw a payer's consent: gone here at once, from memory and disk, and at the acquirer.

    When the acquirer can't be reached it is told as soon as it can be, by `kiosk run` or `kiosk resolve`;
    the withdrawal outlives any cut. Exit code: 0 gone here (`confirmed` in --json: at the acquirer too), or
    the acquirer confirmed it; 14 nobody has that token here, and the acquirer can't be asked now; 2 nobody
    has it anywhere.

    Example: kiosk forget --payer tok-7f3a
    """
    check_token(payer)
    from kiosk.app.membership import withdraw
    from kiosk.app.unattended import Exit
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base:
        if not base.has_acquirer and base.gallery.payer(payer) is None:
            raise OperatorError(
                f"nobody is enrolled as {payer!r}", do="Check the token; nothing was changed."
            )
        left = withdraw(base, payer)
        size = base.gallery.size
    if left.at_acquirer is False and not left.here:
        raise OperatorError(
            f"nobody is enrolled as {payer!r}, here or at the acquirer", do="Check the token."
        )
    if json:
        print_json(
            {
                "payer": payer,
                "forgotten": left.here,
                "confirmed": left.at_acquirer is not None,
                "enrolled": size,
            }
        )
    elif left.here:
        say(f"forgot {payer}; {size} enrolled here")
    else:
        say(f"{payer} was not enrolled here")
    if left.at_acquirer is None:
        complain(f"the acquirer is told that {payer} withdrew when it can be reached ({left.why})")
        if not left.here:
            raise typer.Exit(Exit.UNKNOWN)
