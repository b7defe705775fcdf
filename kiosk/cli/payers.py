"""`kiosk payers`: a person joins at the acquirer, sees what is held of them, and withdraws."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from kiosk.cli.common import Camera, ConfigFile, DataDir, Json, complain, print_json, say
from kiosk.domain.errors import OperatorError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kiosk.acquirer.client import Reply
    from kiosk.acquirer.operations import ConsentMessage, EnrolmentAnswer, PayerAnswer
    from kiosk.app.wiring import Base
    from kiosk.domain.limits import PinKey

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Enrol a payer at the acquirer; what is held of them; withdraw.")

_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", re.ASCII)
_DIGITS = re.compile(r"[0-9]{4}", re.ASCII)
Token = Annotated[str, typer.Argument(metavar="TOKEN", help="The acquirer's opaque payer token.")]


@app.command()
def enrol(
    camera: Camera,
    account: Annotated[
        str, typer.Option(metavar="LINK", help="How the acquirer knows the person; never a name.")
    ],
    of_age: Annotated[
        bool, typer.Option("--of-age", help="The person said that they are 14 or older; else nobody enrols.")
    ] = False,
    consent_text: Annotated[
        str, typer.Option(metavar="VERSION", help="Which text they agreed to.")
    ] = "consent-v1",
    language: Annotated[str, typer.Option(help="In which language.")] = "zh-Hans",
    keep_days: Annotated[
        int, typer.Option(min=1, max=3650, help="After how many days it ends by itself.")
    ] = 365,
    digits: Annotated[str, typer.Option(help="Last four digits of the phone number, for close calls.")] = "",
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Enrol somebody at the acquirer, by consent and up to three looks, and here under the token it gives.

    The template goes out sealed for the acquirer alone; no picture is kept. Exit code: 0 enrolled; 10 the
    acquirer refused (also somebody who is enrolled already); 12 presentation attack suspected; 13 no usable
    face; 14 the acquirer does not answer; 2 wrong use.

    Example: kiosk payers enrol --camera pi --account wallet-4711 --of-age --digits 1234
    """
    if not of_age:
        raise OperatorError("nobody is enrolled without --of-age", do="Ask the person, then give it.")
    if digits and not _DIGITS.fullmatch(digits):
        raise OperatorError(f"--digits {digits!r}", do="Give the last four digits of the phone number.")
    from kiosk.acquirer.operations import ConsentMessage
    from kiosk.app.enrol import capture
    from kiosk.app.unattended import Exit
    from kiosk.app.wiring import open_base
    from kiosk.domain.decision import LookOutcome

    with open_base(data_dir, config, complain, begins=True) as base:
        why = base.fetch_policy()
        if why:
            raise _unanswered(why, Exit.UNKNOWN)
        with base.cameras.opened(camera) as source:
            found = capture(source, base.vision(), base.look_rules())
        if found.outcome is not LookOutcome.LIVE or found.reference is None:
            complain(f"not enrolled: {found.outcome.replace('_', ' ')}")
            raise typer.Exit(12 if found.outcome in (LookOutcome.ATTACK, LookOutcome.UNSURE) else 13)
        now = datetime.now(UTC)
        consent = ConsentMessage(
            text_version=consent_text,
            text_sha256=hashlib.sha256(consent_text.encode()).hexdigest(),
            language=language,
            scope=("pay",),
            given_at=now,
            keep_until=now + timedelta(days=keep_days),
            of_age=of_age,
        )
        try:
            answer, why = _enrol(base, found.reference, consent, account, digits)
        finally:
            found.reference.fill(0.0)
    if answer is None:
        raise _unanswered(f"{why}; if it says `duplicate` next time, it had heard", Exit.UNKNOWN)
    if json:
        print_json(
            {
                "result": answer.result,
                "code": answer.code or None,
                "payer": answer.token or None,
                "consent_ref": answer.consent_ref or None,
                "masked_name": answer.masked_name or None,
                "masked_account": answer.masked_account or None,
            }
        )
    elif answer.result == "enrolled":
        say(f"enrolled {answer.token} at the acquirer and here, consent {answer.consent_ref}")
    else:
        complain(f"not enrolled: the acquirer says {answer.result} ({answer.code or 'no reason given'})")
    if answer.result != "enrolled":
        raise typer.Exit(Exit.DECLINED)


def _enrol(
    base: Base, reference: NDArray[np.float32], consent: ConsentMessage, account: str, digits: str
) -> tuple[EnrolmentAnswer | None, str]:
    """Ask the acquirer, and keep whom it enrolled; who can't be kept here is withdrawn there."""
    from kiosk.acquirer.messages import new_ref
    from kiosk.acquirer.operations import EnrolmentAnswer, enrolment_request
    from kiosk.app.asking import ask, envelope, sealed_template
    from kiosk.gallery.template import PayerRecord, Reference, Template

    ref = new_ref(base.clock)
    template = sealed_template(reference, ref, _sealing_key(base))
    with base.journal() as journal:
        exchange = enrolment_request(
            base.terminal(), ref, consent=consent, template=template, model_id=base.embedding_id(),
            account=account, **envelope(journal, base.clock, ZoneInfo(base.config.store.timezone)),
        )  # fmt: skip
    answer, why = ask(base.client(), exchange, EnrolmentAnswer)
    if answer is not None and answer.result == "enrolled":
        try:
            base.enrol(
                PayerRecord(
                    token=answer.token,
                    masked_name=answer.masked_name,
                    masked_account=answer.masked_account,
                    digits=digits,
                    consent_ref=answer.consent_ref,
                    enrolled_at_s=int(base.clock.utc_s()),
                    references=(Reference(Template(reference), base.embedding_id()),),
                )
            )
        except OperatorError:
            base.withdrawals.add(answer.token)
            raise
    return answer, why


def _sealing_key(base: Base) -> PinKey:
    policy = base.stored_policy()
    if policy is None or policy.pin_key is None:
        raise OperatorError("the acquirer's policy names no key to seal a template for")
    return policy.pin_key


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
            template = sealed_template(look.template, ref, _sealing_key(base))
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
