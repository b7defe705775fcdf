"""`kiosk`: every command of the product behind one name; errors are one line and have the right exit code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from kiosk import __version__
from kiosk.app.memory import keep_private
from kiosk.cli import (
    audit,
    bench,
    close,
    consent,
    demo,
    dispute,
    doctor,
    enrol,
    forget,
    gallery,
    journal,
    keys,
    limits,
    look,
    models,
    offline,
    outbox,
    pay,
    payers,
    privacy,
    receipt,
    refund,
    resolve,
    run,
    sandbox,
    sandbox_till,
    screenshot,
    staff,
    till,
)
from kiosk.cli import eval as evaluate
from kiosk.cli.common import complain, print_json, say
from kiosk.domain.errors import KioskError

__all__ = ["app", "main"]

WRONG_USE = 2

app = typer.Typer(
    name="kiosk",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A kiosk that people pay at by looking. Start with `kiosk demo`, then `kiosk doctor`.",
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"kiosk {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for command in (
    run.run,
    pay.pay,
    enrol.enrol,
    forget.forget,
    look.look,
    doctor.doctor,
    resolve.resolve,
    refund.refund,
    close.close,
    dispute.dispute,
    outbox.outbox,
    offline.offline,
    receipt.receipt,
    demo.demo,
    screenshot.screenshot,
    bench.bench,
):
    app.command()(command)
app.add_typer(sandbox.app, name="sandbox")
app.add_typer(evaluate.app, name="eval")
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")
app.add_typer(staff.app, name="staff")
app.add_typer(consent.app, name="consent")
app.add_typer(payers.app, name="payers")
app.add_typer(privacy.app, name="privacy")
app.add_typer(limits.app, name="limits")
app.add_typer(journal.app, name="journal")
app.add_typer(gallery.app, name="gallery")
app.add_typer(audit.app, name="audit")
app.add_typer(till.app, name="till")
sandbox.app.command("till")(sandbox_till.till)


def _wrong(line: str) -> int:
    """Exit code of wrong use; with --json the line is also an object on stdout, for whoever parses that."""
    if line:
        complain(line)
    if "--json" in sys.argv:
        print_json({"error": line, "exit_code": WRONG_USE})
    return WRONG_USE


def main() -> None:
    """The console script."""
    keep_private()
    try:
        code = app(standalone_mode=False)
    except typer.Exit as stop:
        code = stop.exit_code
    except typer.Abort:
        code = 130
    except typer.TyperException as wrong:
        code = _wrong(f"{wrong.format_message()} Try --help." if wrong.format_message() else "")
    except KioskError as error:
        code = _wrong(str(error))
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
        code = 141
    sys.exit(code or 0)


if __name__ == "__main__":
    main()
