"""`kiosk enrol` and `kiosk forget`: people join by consent and leave when they ask."""

from __future__ import annotations

import re
import time
from typing import Annotated

import typer

from kiosk.cli.common import Camera, ConfigFile, DataDir, Json, complain, print_json, say
from kiosk.domain.errors import OperatorError
from kiosk.domain.money import Money, MoneyError

__all__ = ["enrol", "forget"]

_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", re.ASCII)
_DIGITS = re.compile(r"[0-9]{4}", re.ASCII)
_CONSENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", re.ASCII)

Token = Annotated[str, typer.Option("--payer", metavar="TOKEN", help="The acquirer's opaque payer token.")]


def enrol(
    camera: Camera,
    payer: Token,
    name: Annotated[str, typer.Option(help="Name; only its masked form is kept.", show_default=False)] = "",
    account: Annotated[
        str, typer.Option(help="Account or phone number; only its masked form is kept.", show_default=False)
    ] = "",
    digits: Annotated[
        str, typer.Option(help="Last four digits of the phone number, for close calls.", show_default=False)
    ] = "",
    consent: Annotated[str, typer.Option(metavar="REF", help="Which consent this rests on.")] = "consent-v1",
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
    """Enrol a payer with up to three looks. Only the sealed template is kept, never a picture.

    A payer who is enrolled already is replaced. Exit code 0 enrolled, 12 presentation attack suspected,
    13 no usable face, 2 wrong use.

    A payer's own limits lie under the shop's and the acquirer's: they can only lower them.

    Example: kiosk enrol --camera ming/ --payer tok-7f3a --name "Ming" --digits 1234 --limit-per-day 200.00
    """
    if not _TOKEN.fullmatch(payer):
        raise OperatorError(
            f"payer token {payer!r}", do="Use 1 to 64 letters, digits or . _ : - as the acquirer gave it."
        )
    if not _CONSENT.fullmatch(consent):
        raise OperatorError(f"--consent {consent[:40]!r}", do="Use 1 to 64 letters, digits or . _ : -.")
    if digits and not _DIGITS.fullmatch(digits):
        raise OperatorError(f"--digits {digits!r}", do="Give the last four digits of the phone number.")
    from kiosk.app.enrol import capture
    from kiosk.app.wiring import open_base
    from kiosk.domain.decision import LookOutcome
    from kiosk.domain.limits import Limits
    from kiosk.domain.masking import mask_account, mask_name
    from kiosk.gallery.template import PayerRecord, Reference, Template

    with open_base(data_dir, config, complain, begins=True) as base, base.cameras.opened(camera) as source:
        currency = base.config.store.currency
        own = Limits(
            per_payment=_minor("--limit-per-payment", limit_per_payment, currency),
            per_person_day=_minor("--limit-per-day", limit_per_day, currency),
        )
        vision = base.vision()
        found = capture(source, vision, base.look_rules())
        if found.outcome is not LookOutcome.LIVE or found.reference is None:
            hint = f" ({found.hint.replace('_', ' ')})" if found.hint else ""
            _end(
                json,
                payer,
                found.outcome,
                found.looks,
                f"not enrolled: {found.outcome.replace('_', ' ')}{hint}",
            )
            raise typer.Exit(12 if found.outcome in (LookOutcome.ATTACK, LookOutcome.UNSURE) else 13)
        base.enrol(
            PayerRecord(
                token=payer,
                masked_name=mask_name(name),
                masked_account=mask_account(account),
                digits=digits,
                consent_ref=consent,
                enrolled_at_s=int(time.time()),
                references=(Reference(Template(found.reference), base.embedding_id()),),
                limits=own,
            )
        )
        found.reference.fill(0.0)
        made_of = f"{found.looks} look{'s' * (found.looks != 1)}"
        line = f"enrolled {payer} from {made_of}; {base.gallery.size} enrolled here"
        _end(json, payer, found.outcome, found.looks, line)


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


def _end(as_json: bool, payer: str, outcome: str, looks: int, line: str) -> None:
    if as_json:
        print_json({"payer": payer, "enrolled": outcome == "live", "liveness": str(outcome), "looks": looks})
    elif outcome == "live":
        say(line)
    else:
        complain(line)


def forget(payer: Token, data_dir: DataDir = None, config: ConfigFile = None, json: Json = False) -> None:
    """Delete a payer from this kiosk: from memory, from the gallery file and from its copy.

    Example: kiosk forget --payer tok-7f3a
    """
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base:
        found = base.forget(payer)
        size = base.gallery.size
    if json:
        print_json({"payer": payer, "forgotten": found, "enrolled": size})
    elif found:
        say(f"forgot {payer}; {size} enrolled here")
    if not found:
        raise OperatorError(f"nobody is enrolled as {payer!r}", do="Check the token; nothing was changed.")
