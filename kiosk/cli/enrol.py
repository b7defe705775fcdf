"""`kiosk enrol`: people join by consent, with up to three looks, and nobody twice."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kiosk.cli.common import (
    NAME,
    REQUESTS,
    Camera,
    ConfigFile,
    DataDir,
    Json,
    ask_payer,
    check_token,
    complain,
    print_json,
    say,
)
from kiosk.cli.consent import KeepDays, Language, Said, consent_given
from kiosk.cli.staff import PinFile
from kiosk.domain.challenge import Challenge
from kiosk.domain.consent import AGE, KEEP_DAYS, Consent
from kiosk.domain.errors import OperatorError
from kiosk.domain.limits import Limits
from kiosk.domain.money import Money, MoneyError

if TYPE_CHECKING:
    from kiosk.acquirer.operations import EnrolmentAnswer
    from kiosk.app.enrol import Enrolment
    from kiosk.app.wiring import Base

__all__ = ["enrol"]

_DIGITS = re.compile(r"[0-9]{4}", re.ASCII)
ATTACK: Final = 12
NO_FACE: Final = 13
DUPLICATE: Final = 10
NO_ANSWER: Final = 14


def enrol(
    camera: Camera,
    payer: Annotated[
        str,
        typer.Option(
            "--payer",
            metavar="TOKEN",
            help="A token that the acquirer gave already: it holds the consent. Else it gives one now.",
            show_default=False,
        ),
    ] = "",
    account: Annotated[
        str,
        typer.Option(
            metavar="LINK",
            help="How the acquirer knows the person, never a name; with --payer only masked.",
            show_default=False,
        ),
    ] = "",
    agreed: Annotated[
        str,
        typer.Option(
            metavar="VERSION",
            help="They read this version of the text (`kiosk consent show`) and agreed to it.",
            show_default=False,
        ),
    ] = "",
    of_age: Annotated[
        bool, typer.Option("--of-age", help=f"They said that they are {AGE} or older.")
    ] = False,
    guardian: Annotated[
        bool,
        typer.Option(
            "--guardian", help=f"They are under {AGE}: a parent or guardian who is there agreed for them."
        ),
    ] = False,
    staff: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", help="With --guardian: the manager who sees both and approves it."),
    ] = None,
    pin_file: PinFile = None,
    language: Language = "",
    keep_days: KeepDays = KEEP_DAYS,
    digits: Annotated[
        str, typer.Option(help="Last four digits of the phone number, for close calls.", show_default=False)
    ] = "",
    name: Annotated[
        str, typer.Option(help="With --payer: name; only its masked form is kept.", show_default=False)
    ] = "",
    consent: Annotated[
        str, typer.Option(metavar="REF", help="With --payer: which consent of the acquirer's it rests on.")
    ] = "consent-v1",
    limit_per_payment: Annotated[
        str, typer.Option(metavar="AMOUNT", help="The most this payer pays at once, by their own wish.")
    ] = "",
    limit_per_day: Annotated[
        str, typer.Option(metavar="AMOUNT", help="The most this payer pays in a day, by their own wish.")
    ] = "",
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Enrol somebody by consent and up to three looks. Only sealed templates are kept, never a picture.

    Without --payer the acquirer enrols them: the text is read first (`kiosk consent show`), and the template
    goes out sealed for the acquirer alone. With --payer they are enrolled here under a token that it gave
    already, and who has that token here is replaced. Nobody is enrolled twice. A payer's own limits lie under
    the shop's and the acquirer's: they can only lower them.

    Exit code: 0 enrolled; 10 enrolled already, here or there, or refused by the acquirer; 12 presentation
    attack suspected; 13 no usable face; 14 the acquirer does not answer; 2 wrong use.

    Example: kiosk enrol --camera pi --account wallet-4711 --agreed v1 --of-age --digits 1234
    Example: kiosk enrol --camera ming/ --payer tok-7f3a --name "Ming" --limit-per-day 200.00
    """
    if payer:
        check_token(payer)
    if not payer and not account:
        raise OperatorError(
            "neither --payer nor --account",
            do="Give --account LINK to enrol at the acquirer, or --payer TOKEN of somebody it enrolled.",
        )
    if not NAME.fullmatch(consent):
        raise OperatorError(f"--consent {consent[:40]!r}", do="Use 1 to 64 letters, digits or . _ : -.")
    if digits and not _DIGITS.fullmatch(digits):
        raise OperatorError(f"--digits {digits!r}", do="Give the last four digits of the phone number.")
    if payer and (agreed or of_age or guardian or language or staff is not None):
        raise OperatorError(
            "--payer with --agreed, --of-age, --guardian, --staff or --language",
            do="The acquirer took that consent when it gave the token: leave them out.",
        )
    if name and not payer:
        raise OperatorError("--name without --payer", do="Leave it out: the acquirer gives the masked name.")
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain, begins=True) as base:
        currency = base.config.store.currency
        own = Limits(
            per_payment=_minor("--limit-per-payment", limit_per_payment, currency),
            per_person_day=_minor("--limit-per-day", limit_per_day, currency),
        )
        if payer:
            person = _Known(payer, name, account, consent, keep_days, digits, own)
            code = _enrol_known(base, camera, person, as_json=json)
        else:
            given = consent_given(base, Said(agreed, of_age, guardian, staff, pin_file, language, keep_days))
            code = _enrol_anew(base, camera, given, _New(account, digits, own), as_json=json)
    if code:
        raise typer.Exit(code)


# --- with a token that the acquirer gave already --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Known:
    token: str
    name: str
    account: str
    consent_ref: str
    keep_days: int
    digits: str
    limits: Limits


def _enrol_known(base: Base, camera: str, person: _Known, *, as_json: bool) -> int:
    from kiosk.app.membership import ALREADY_HERE, enrol_here, is_enrolled_already
    from kiosk.domain.masking import mask_account, mask_name
    from kiosk.gallery.template import PayerRecord, Reference, Template

    def end(found: Enrolment, result: str, line: str) -> None:
        if as_json:
            print_json(
                {
                    "payer": person.token,
                    "enrolled": result == "enrolled",
                    "result": result,
                    "liveness": str(found.outcome),
                    "looks": found.looks,
                }
            )
        elif result == "enrolled":
            say(line)
        else:
            complain(line)

    _end_consents(base)
    found = _looked(base, camera)
    if found.reference is None:
        end(found, "not_live", _not_live(found))
        return _code(found)
    try:
        if is_enrolled_already(base, found.reference, person.token):
            end(found, "duplicate", f"not enrolled: {ALREADY_HERE}")
            return DUPLICATE
        now = int(base.clock.utc_s())
        enrol_here(
            base,
            PayerRecord(
                token=person.token,
                masked_name=mask_name(person.name),
                masked_account=mask_account(person.account),
                digits=person.digits,
                consent_ref=person.consent_ref,
                enrolled_at_s=now,
                references=(Reference(Template(found.reference), base.embedding_id()),),
                limits=person.limits,
                keep_until_s=now + person.keep_days * 86_400,
            ),
        )
    finally:
        found.reference.fill(0.0)
    made_of = f"{found.looks} look{'s' * (found.looks != 1)}"
    end(found, "enrolled", f"enrolled {person.token} from {made_of}; {base.gallery.size} enrolled here")
    return 0


# --- at the acquirer ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _New:
    account: str
    digits: str
    limits: Limits


def _enrol_anew(base: Base, camera: str, consent: Consent, new: _New, *, as_json: bool) -> int:
    from kiosk.app.membership import ALREADY_HERE, check_allowed, enrol_at_acquirer, is_enrolled_already

    why = base.fetch_policy()
    if why:
        complain(f"the acquirer does not answer: {why}")
        return NO_ANSWER
    check_allowed(base)
    _end_consents(base)
    found = _looked(base, camera)
    if found.reference is None:
        complain(_not_live(found))
        return _code(found)
    try:
        if is_enrolled_already(base, found.reference):
            if as_json:
                print_json(_as_json("duplicate", "same_face_here", None, consent))
            else:
                complain(f"not enrolled: {ALREADY_HERE}")
            return DUPLICATE
        answer, why = enrol_at_acquirer(
            base, found.reference, consent, account=new.account, digits=new.digits, limits=new.limits
        )
    finally:
        found.reference.fill(0.0)
    if answer is None:
        complain(f"the acquirer does not answer: {why}; if it says `duplicate` next time, it had heard")
        return NO_ANSWER
    if as_json:
        print_json(_as_json(answer.result, answer.code, answer, consent))
    elif answer.result == "enrolled":
        say(f"enrolled {answer.token} at the acquirer and here, consent {answer.consent_ref}")
    else:
        complain(f"not enrolled: {_refused(answer)}")
    return 0 if answer.result == "enrolled" else DUPLICATE


REFUSALS: Final = {
    "same_face": "the acquirer has this face already, under another payer; nobody is enrolled twice. "
    "They withdraw that one first, or tell the provider where it is somebody else who looks alike",
    "under_age": "the acquirer takes nobody under age without a guardian",
    "consent_over": "the consent is over already",
    "unknown_text": "the acquirer does not know the text that was agreed to: `kiosk gallery sync` brings its",
}


def _refused(answer: EnrolmentAnswer) -> str:
    code = answer.code or "no reason given"
    return REFUSALS.get(code, f"the acquirer says {answer.result} ({code})")


def _as_json(result: str, code: str, answer: EnrolmentAnswer | None, consent: Consent) -> dict[str, object]:
    return {
        "result": result,
        "code": code or None,
        "payer": (answer.token if answer else "") or None,
        "consent_ref": (answer.consent_ref if answer else "") or None,
        "consent_text": consent.text,
        "masked_name": (answer.masked_name if answer else "") or None,
        "masked_account": (answer.masked_account if answer else "") or None,
    }


# --- both -----------------------------------------------------------------------------------------------


def _end_consents(base: Base) -> None:
    """Whose consent is over is nobody's duplicate."""
    from kiosk.app.membership import Retention

    retention = Retention(base)
    retention.tick()
    if retention.failure is not None:
        raise retention.failure


def _looked(base: Base, camera: str) -> Enrolment:
    from kiosk.app.challenger import Challenger
    from kiosk.app.enrol import capture

    rules = base.look_rules()

    def ask(challenge: Challenge) -> None:
        ask_payer(challenge.kind)
        challenger.shown(challenge, 0, time.monotonic_ns())

    challenger = Challenger(
        ask,
        kinds=tuple(REQUESTS),
        always=base.config.vision.challenge == "always",
        same_person=rules.same_person,
    )
    with base.cameras.opened(camera) as source:
        return capture(source, base.vision(), rules, challenger=challenger)


def _not_live(found: Enrolment) -> str:
    hint = f" ({found.hint.replace('_', ' ')})" if found.hint else ""
    return f"not enrolled: {found.outcome.replace('_', ' ')}{hint}"


def _code(found: Enrolment) -> int:
    from kiosk.domain.decision import LookOutcome

    return ATTACK if found.outcome in (LookOutcome.ATTACK, LookOutcome.UNSURE) else NO_FACE


def _minor(option: str, amount: str, currency: str) -> int | None:
    """The amount that was given for `option`, in minor units; None when it was not."""
    if not amount:
        return None
    try:
        return Money.parse(amount, currency).minor
    except MoneyError as error:
        raise OperatorError(
            f"{option} {amount[:40]!r}: {error}", do="Give an amount such as 200.00."
        ) from None
