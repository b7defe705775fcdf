"""`kiosk payers`: whom the acquirer knows. Who joins or leaves: `kiosk enrol`, `kiosk forget`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from kiosk.cli.common import Camera, ConfigFile, DataDir, Json, check_token, complain, print_json, say
from kiosk.domain.errors import OperatorError

if TYPE_CHECKING:
    from kiosk.acquirer.operations import PayerAnswer

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Ask the acquirer who somebody is, and what is held of a payer.")

Token = Annotated[str, typer.Argument(metavar="TOKEN", help="The acquirer's opaque payer token.")]


@app.command()
def identify(camera: Camera, data_dir: DataDir = None, config: ConfigFile = None, json: Json = False) -> None:
    """Ask the acquirer who this is, with a look like a payment's; nothing is charged and nothing kept.

    Exit code: 0 found; 10 nobody the acquirer knows, or it is not sure; 12 presentation attack suspected;
    13 no usable face; 14 the acquirer does not answer.

    Example: kiosk payers identify --camera pi
    """
    from kiosk.acquirer.messages import new_ref
    from kiosk.acquirer.operations import IdentificationAnswer, identification_request
    from kiosk.app.asking import ask, envelope, sealed_template
    from kiosk.app.look import look_at
    from kiosk.app.membership import sealing_key
    from kiosk.app.unattended import Exit
    from kiosk.app.wiring import open_base
    from kiosk.domain.decision import LookOutcome

    with open_base(data_dir, config, complain) as base:
        why = base.fetch_policy()
        if why:
            raise _unanswered(why, Exit.UNKNOWN)
        with base.cameras.opened(camera) as source:
            look = look_at(source, base.vision(), base.look_rules())
        if look is None or look.outcome is not LookOutcome.LIVE or look.template is None:
            outcome = look.outcome if look else LookOutcome.NO_FACE
            complain(f"not asked: {outcome.replace('_', ' ')}")
            raise typer.Exit(12 if outcome in (LookOutcome.ATTACK, LookOutcome.UNSURE) else 13)
        ref = new_ref(base.clock)
        try:
            template = sealed_template(look.template, ref, sealing_key(base))
        finally:
            look.template.fill(0.0)
        with base.journal() as journal:
            exchange = identification_request(
                base.terminal(), ref, template=template, model_id=base.embedding_id(),
                gallery_version=base.gallery.version,
                **envelope(journal, base.clock, ZoneInfo(base.config.store.timezone)),
            )  # fmt: skip
        answer, why = ask(base.client(), exchange, IdentificationAnswer)
    if answer is None:
        raise _unanswered(why, Exit.UNKNOWN)
    found = answer.result == "found"
    if json:
        print_json({
            "result": answer.result,
            "payer": answer.token or None,
            "masked_name": answer.masked_name or None,
            "masked_account": answer.masked_account or None,
            "score_band": answer.score_band or None,
        })  # fmt: skip
    elif found:
        say(f"{answer.token}: {answer.masked_name} {answer.masked_account} ({answer.score_band})")
    else:
        complain("the acquirer knows nobody who is surely this person")
    if not found:
        raise typer.Exit(Exit.DECLINED)


@app.command()
def show(token: Token, data_dir: DataDir = None, config: ConfigFile = None, json: Json = False) -> None:
    """What the acquirer and this kiosk hold of a person. Exit code 14: the acquirer does not answer.

    Example: kiosk payers show tok-7f3a
    """
    check_token(token)
    from kiosk.acquirer.operations import payer_request
    from kiosk.app.membership import asked_of_acquirer
    from kiosk.app.unattended import Exit
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base:
        here = base.gallery.payer(token) is not None
        reply = base.client().send(payer_request(token))
    told, why = asked_of_acquirer(reply)
    if told is None and why != "not_found":
        raise _unanswered(why, Exit.UNKNOWN)
    if told is None and not here:
        raise OperatorError(f"neither the acquirer nor this kiosk knows {token!r}", do="Check the token.")
    if json:
        print_json(_as_json(token, told, here))
        return
    say(f"{token}: {_line(told)}")
    say(f"this kiosk: {'a sealed template' if here else 'nothing'}")


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
