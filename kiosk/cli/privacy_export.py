"""`kiosk privacy export`: what is held of a person, as a file that they can take with them."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated, Any

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, check_token, complain, print_json, say
from kiosk.domain.errors import OperatorError

__all__ = ["export"]


def export(
    payer: Annotated[
        str, typer.Option("--payer", metavar="TOKEN", help="The acquirer's opaque payer token.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there, readable by its owner alone.")
    ] = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Everything that this kiosk and the acquirer hold of a payer; of a template the facts, never a value.

    It works beside a running kiosk, and the audit trail notes that it was made. Exit code: 0 both told what
    they hold; 14 the acquirer could not be asked: what lies here is exported anyway; 2 nobody has that token.

    Example: kiosk privacy export --payer tok-7f3a --out theirs.json
    """
    check_token(payer)
    from kiosk.app import privacy_export
    from kiosk.app.unattended import Exit
    from kiosk.app.wiring import open_base
    from kiosk.files import write_whole

    with open_base(data_dir, config, complain) as base:
        found = privacy_export.export(base, payer)
        here, there = found["kiosk"], found["acquirer"]
        known = here["enrolled"] or here["payments"] or here["audit_entries"] or here["withdrawal_waits"]
        if not known and there["answered"] and "state" not in there:
            raise OperatorError(f"nobody is known as {payer!r}, here or there", do="Check the token.")
        base.note("export", payer=payer)
    if out is not None:
        try:
            write_whole(out, json_format.dumps(found, ensure_ascii=False, indent=2).encode() + b"\n")
        except OSError as error:
            raise OperatorError(
                f"can't be written ({error.strerror})", where=str(out), do="Choose another --out."
            ) from None
    if json:
        print_json(found)
    else:
        _say(found)
        if out is not None:
            say(f"written to {out}")
    if not there["answered"]:
        complain(f"the acquirer could not be asked: {there['why']}")
        raise typer.Exit(Exit.UNKNOWN)


def _say(found: dict[str, Any]) -> None:
    here, there = found["kiosk"], found["acquirer"]
    say(f"{found['payer']}, {found['made_at']}")
    record = here["record"]
    if record is None:
        say("this kiosk: no template, no name, no account")
    else:
        template, consent = record["template"], record["consent"]
        say(
            f"this kiosk: {template['references']} sealed template of {template['network']}, "
            f"{record['masked_name']} {record['masked_account']}, digits {record['digits'].split(';')[0]}, "
            f"since {record['enrolled_at']}"
        )
        say(f"consent: {consent['ref']}, until {consent['keep_until'] or 'withdrawn'}")
    say(f"payments in this kiosk's journal: {len(here['payments'])}")
    if there["answered"]:
        held = ", ".join(there["held"]) or "nothing"
        say(f"the acquirer: {there.get('state', 'knows nobody by this token')}; held: {held}")
