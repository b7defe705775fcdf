"""`kiosk staff`: who may approve refunds here. Numbers and roles; PINs come from a prompt or a file."""

from __future__ import annotations

import getpass
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json, say
from kiosk.domain.errors import OperatorError
from kiosk.domain.moments import written
from kiosk.domain.staff import Action, Role

if TYPE_CHECKING:
    from kiosk.app.wiring import Base

__all__ = ["PinFile", "Staff", "app", "approve"]

app = typer.Typer(no_args_is_help=True, help="Staff numbers, roles and PINs; the trail of who approved what.")

MAX_PIN_BYTES = 64

Staff = Annotated[int, typer.Option("--staff", metavar="NUMBER", help="Who approves it: a staff number.")]
PinFile = Annotated[
    str | None,
    typer.Option(
        "--pin-file", metavar="FILE", help="File with that PIN ('-': from stdin). Without it, you are asked."
    ),
]
Number = Annotated[int, typer.Argument(metavar="NUMBER", help="Staff number, 1 to 9999.")]
By = Annotated[int | None, typer.Option("--by", metavar="NUMBER", help="The manager who approves it.")]
ByPinFile = Annotated[
    str | None, typer.Option("--by-pin-file", metavar="FILE", help="File with the manager's PIN.")
]


@app.command()
def add(
    number: Number,
    role: Annotated[Role, typer.Option(help="A manager may refund, dispute and change staff.")],
    pin_file: PinFile = None,
    by: By = None,
    by_pin_file: ByPinFile = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Add somebody. The first is a manager; after that a manager approves it (--by).

    Example: kiosk staff add 7 --role manager
    """
    with _base(data_dir, config, begins=True) as base:
        if base.staff.members():
            by = _approved(base, by, by_pin_file, "added", number)
        base.staff.add(number, role, _new_pin(pin_file, number), by=by)
    _done(json, number, str(role), f"staff {number} is a {role}")


@app.command("list")
def list_(data_dir: DataDir = None, config: ConfigFile = None, json: Json = False) -> None:
    """Everybody who is staff here, and who is locked after wrong PINs.

    Example: kiosk staff list
    """
    from kiosk.domain.staff import locked_until

    with _base(data_dir, config) as base:
        now = base.clock.utc_s()
        members = [(one, locked_until(one.failures, now) is not None) for one in base.staff.members()]
    if json:
        staff = [{"number": one.number, "role": str(one.role), "locked": locked} for one, locked in members]
        print_json({"staff": staff})
        return
    for one, locked in members:
        say(f"{one.number:>6}  {one.role}{'  locked after wrong PINs' if locked else ''}")
    if not members:
        say("nobody yet: kiosk staff add 1 --role manager")


@app.command()
def remove(
    number: Number,
    by: By = None,
    by_pin_file: ByPinFile = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Remove somebody; the last manager stays.

    Example: kiosk staff remove 12 --by 7
    """
    with _base(data_dir, config) as base:
        base.staff.remove(number, by=_approved(base, by, by_pin_file, "removed", number))
    _done(json, number, "", f"staff {number} is removed")


@app.command()
def pin(
    number: Number,
    pin_file: PinFile = None,
    by: By = None,
    by_pin_file: ByPinFile = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Give somebody a new PIN, which also unlocks them; a manager approves it (--by).

    Example: kiosk staff pin 12 --by 7
    """
    with _base(data_dir, config) as base:
        approved = _approved(base, by, by_pin_file, "new PIN", number)
        base.staff.set_pin(number, _new_pin(pin_file, number), by=approved)
    _done(json, number, "", f"staff {number} has a new PIN")


@app.command()
def log(data_dir: DataDir = None, config: ConfigFile = None, json: Json = False) -> None:
    """Who approved what, oldest first; a trail that was changed is refused.

    Example: kiosk staff log
    """
    with _base(data_dir, config) as base:
        entries, zone = base.audit.entries(), ZoneInfo(base.config.store.timezone)
    if json:
        print_json(
            {
                "entries": [
                    {
                        "at": one.at.astimezone(zone).isoformat(),
                        "staff": one.staff,
                        "what": one.what,
                        **one.values,
                    }
                    for one in entries
                ]
            }
        )
        return
    for one in entries:
        told = " ".join(f"{name} {value}" for name, value in one.values.items() if value not in (None, ""))
        say(f"{written(one.at.astimezone(zone))} staff {one.staff or '-'} {one.what} {told}".rstrip())


def approve(
    base: Base, staff: int, pin_file: str | None, action: Action, /, **values: int | str | None
) -> None:
    """Have `staff` approve `action` with their PIN. OperatorError: they did not, or may not."""
    if not base.staff.members():
        raise OperatorError("nobody is staff here yet", do="Run `kiosk staff add 1 --role manager`.")
    base.staff.approve(staff, read_pin(pin_file, f"PIN of staff {staff}: "), action, **values)


def read_pin(pin_file: str | None, prompt: str) -> str:
    """A PIN from a file, from stdin (`-`) or from the keyboard; never from an argument."""
    if pin_file is None:
        if not sys.stdin.isatty():
            raise OperatorError("no PIN", do="Give --pin-file, or run it in a terminal.")
        return getpass.getpass(prompt)
    try:
        if pin_file == "-":
            raw = sys.stdin.buffer.readline(MAX_PIN_BYTES)
        else:
            with Path(pin_file).open("rb") as file:
                raw = file.read(MAX_PIN_BYTES)
        return raw.decode("ascii").strip()
    except OSError as error:
        raise OperatorError(
            f"cannot be read ({error.strerror})", where=pin_file, do="Check the file."
        ) from None
    except UnicodeDecodeError:
        raise OperatorError("not a PIN", where=pin_file, do="Put the digits into it, nothing else.") from None


def _approved(base: Base, by: int | None, pin_file: str | None, what: str, number: int) -> int:
    if by is None:
        raise OperatorError("a manager approves who is staff", do="Give --by NUMBER.")
    approve(base, by, pin_file, Action.STAFF, change=what, number=number)
    return by


def _new_pin(pin_file: str | None, number: int) -> str:
    chosen = read_pin(pin_file, f"new PIN for staff {number}: ")
    if pin_file is None and read_pin(None, "once more: ") != chosen:
        raise OperatorError("the two PINs differ", do="Try again; nothing was changed.")
    return chosen


def _base(
    data_dir: Path | None, config: Path | None, *, begins: bool = False
) -> AbstractContextManager[Base]:
    from kiosk.app.wiring import open_base

    return open_base(data_dir, config, complain, begins=begins)


def _done(as_json: bool, number: int, role: str, line: str) -> None:
    if as_json:
        print_json({"number": number, "role": role, "done": line})
    else:
        say(line)
