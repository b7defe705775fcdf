"""`kiosk payers`: what the acquirer holds of a person, and the end of it when they withdraw."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json, say
from kiosk.domain.errors import OperatorError

if TYPE_CHECKING:
    from kiosk.acquirer.client import Reply
    from kiosk.acquirer.operations import PayerAnswer

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="What is held of a payer; withdraw their consent.")

_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", re.ASCII)
Token = Annotated[str, typer.Argument(metavar="TOKEN", help="The acquirer's opaque payer token.")]


@app.command()
def show(token: Token, data_dir: DataDir = None, config: ConfigFile = None, json: Json = False) -> None:
    """What the acquirer and this kiosk hold of a person. Exit code 14: the acquirer does not answer.

    Example: kiosk payers show tok-7f3a
    """
    _check(token)
    from kiosk.acquirer.operations import payer_request
    from kiosk.app.unattended import Exit
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base:
        here = base.gallery.payer(token) is not None
        reply = base.client().send(payer_request(token))
    told, why = _told(reply)
    if told is None and why != "not_found":
        raise _unanswered(why, Exit.UNKNOWN)
    if told is None and not here:
        raise OperatorError(f"neither the acquirer nor this kiosk knows {token!r}", do="Check the token.")
    if json:
        print_json(_as_json(token, told, here))
        return
    say(f"{token}: {_line(told)}")
    say(f"this kiosk: {'a sealed template' if here else 'nothing'}")


@app.command()
def withdraw(token: Token, data_dir: DataDir = None, config: ConfigFile = None, json: Json = False) -> None:
    """Withdraw a person's consent: forgotten here at once, and at the acquirer.

    Exit code: 0 the acquirer confirmed it; 14 it can't be reached: it is told as soon as it can be, by
    `kiosk run` or `kiosk resolve`; 2 wrong use.

    Example: kiosk payers withdraw tok-7f3a
    """
    _check(token)
    from kiosk.acquirer.operations import withdrawal_request
    from kiosk.app.unattended import Exit
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base:
        base.withdrawals.add(token)  # first: a cut after this line is made good by the outbox
        here = base.forget(token)
        told, why = _told(base.client().send(withdrawal_request(token)))
        confirmed = told is not None or why == "not_found"
        if confirmed:
            base.withdrawals.done(token)
    if told is None and confirmed and not here:
        raise OperatorError(f"neither the acquirer nor this kiosk knows {token!r}", do="Check the token.")
    if json:
        print_json({"payer": token, "forgotten": here, "confirmed": confirmed})
    elif confirmed:
        say(f"{token} is withdrawn; nothing of their face is kept")
    if not confirmed:
        complain(f"{token} is forgotten here; the acquirer is told when it can be reached ({why})")
        raise typer.Exit(Exit.UNKNOWN)


def _check(token: str) -> None:
    if not _TOKEN.fullmatch(token):
        raise OperatorError(f"payer token {token[:64]!r}", do="Use it as the acquirer gave it.")


def _told(reply: Reply) -> tuple[PayerAnswer | None, str]:
    """The acquirer's word about a person, or why there is none."""
    from kiosk.acquirer.client import Lost, Told, Unsent
    from kiosk.acquirer.operations import PayerAnswer

    match reply:
        case Told(PayerAnswer() as told):
            return told, ""
        case Lost(why, code):
            return None, code or why
        case Unsent(why):
            return None, why
    return None, "another answer than was asked for"


def _unanswered(why: str, code: int) -> typer.Exit:
    complain(f"the acquirer does not answer: {why}")
    return typer.Exit(code)


def _line(told: PayerAnswer | None) -> str:
    if told is None:
        return "the acquirer holds nothing"
    since = f" since {told.enrolled_at:%Y-%m-%d}" if told.enrolled_at else ""
    return f"{told.state}{since}, {told.masked_name} {told.masked_account}; held: {', '.join(told.held)}"


def _as_json(token: str, told: PayerAnswer | None, here: bool) -> dict[str, object]:
    return {
        "payer": token,
        "state": told.state if told else None,
        "consent_ref": told.consent_ref if told else None,
        "masked_name": told.masked_name if told else None,
        "masked_account": told.masked_account if told else None,
        "enrolled_at": told.enrolled_at.isoformat() if told and told.enrolled_at else None,
        "withdrawn_at": told.withdrawn_at.isoformat() if told and told.withdrawn_at else None,
        "held": list(told.held) if told else [],
        "enrolled_here": here,
    }
