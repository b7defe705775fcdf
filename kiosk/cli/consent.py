"""`kiosk consent`: the text that a person reads before they enrol, as it stands here and now.

`consent_given` walks the flow for `kiosk enrol`, with options in the place of presses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, assert_never

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json, say
from kiosk.cli.staff import approve
from kiosk.domain.consent import (
    AGE,
    KEEP_DAYS,
    LANGUAGES,
    MOST_KEEP_DAYS,
    Agree,
    AskingAge,
    AskingGuardian,
    AskingStaff,
    Consent,
    Decline,
    Event,
    Given,
    GuardianDeclares,
    NotGiven,
    Reading,
    SayAge,
    StaffApproves,
    State,
    step,
)
from kiosk.domain.errors import OperatorError
from kiosk.domain.staff import Action

if TYPE_CHECKING:
    from kiosk.app.wiring import Base

__all__ = ["KeepDays", "Language", "Said", "app", "consent_given"]

app = typer.Typer(no_args_is_help=True, help="The consent text: versions and languages, as people read it.")

Language = Annotated[
    str,
    typer.Option(metavar="|".join(LANGUAGES), help="Default: the screen's language.", show_default=False),
]
KeepDays = Annotated[
    int, typer.Option(min=1, max=MOST_KEEP_DAYS, help="After how many days the consent ends by itself.")
]


@app.callback()
def consent() -> None:
    pass


@app.command()
def show(
    language: Language = "",
    version: Annotated[
        str, typer.Option(metavar="v1", help="Default: the newest that is there in every language.")
    ] = "",
    keep_days: KeepDays = KEEP_DAYS,
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """The whole text, with this kiosk's provider, licence and shop put in. Show it before `kiosk enrol`.

    `sha256` (--json) is that of the text's file: it goes into every consent that is given on it.

    Example: kiosk consent show --language ar
    """
    from kiosk.app.membership import text_facts
    from kiosk.app.wiring import open_base

    with open_base(data_dir, config, complain) as base:
        texts, wanted = base.consent_texts, language or base.config.screen.language
        text = texts.find(version, wanted) if version else texts.newest(wanted)
        if text is None:
            raise OperatorError(
                f"there is no consent text {version[:20]}/{wanted[:20]}",
                do=f"There is {', '.join(texts.versions())}, each in {', '.join(LANGUAGES)}.",
            )
        sections = text.filled(text_facts(base, keep_days))
    if json:
        print_json(
            {
                "version": text.version,
                "language": text.language,
                "sha256": text.sha256,
                "title": text.title,
                "summary": text.summary,
                "sections": [
                    {"name": one.name, "heading": one.heading, "body": one.body} for one in sections
                ],
                "agree": text.agree,
                "decline": text.decline,
                "of_age": text.of_age,
                "under_age": text.under_age,
                "guardian": text.guardian,
                "staff": text.staff,
                "versions": texts.versions(),
            }
        )
        return
    say(f"{text.title}\n\n{text.summary}")
    for one in sections:
        say(f"\n{one.heading}\n{one.body}")
    say(f"\n[ ] {text.agree}\n[ ] {text.decline}\n[ ] {text.of_age}\n[ ] {text.under_age}")
    say(f"\n{text.version}, {text.language}: who agrees enrols with --agreed {text.version}")


# --- the flow, by options -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """The options that stand for the presses on the consent's screens."""

    agreed: str
    """Which version they read; empty: none."""
    of_age: bool
    guardian: bool
    staff: int | None
    pin_file: str | None
    language: str
    keep_days: int


def consent_given(base: Base, said: Said) -> Consent:
    """Walk the flow as it was said. OperatorError where that leads to no consent: nobody is looked at."""
    text = base.consent_texts.newest(said.language or base.config.screen.language)
    if said.agreed not in ("", text.version):
        raise OperatorError(
            f"--agreed {said.agreed[:20]!r}: the text is {text.version} now",
            do="Show them that one: `kiosk consent show`.",
        )
    state: State = Reading(text, keep_days=said.keep_days)
    while True:
        match state:
            case Given(consent):
                return consent
            case NotGiven():
                raise OperatorError(
                    "nobody is enrolled without --agreed",
                    do="Show them `kiosk consent show`; when they agree to it, give --agreed VERSION.",
                )
            case Reading() | AskingAge() | AskingGuardian() | AskingStaff():
                state = step(state, _answer(base, said, state))


def _answer(base: Base, said: Said, state: Reading | AskingAge | AskingGuardian | AskingStaff) -> Event:
    match state:
        case Reading():
            return Agree(base.clock.utc_s()) if said.agreed else Decline()
        case AskingAge():
            if said.of_age == said.guardian:
                raise OperatorError(
                    f"either --of-age (they said that they are {AGE} or older) or --guardian",
                    do=f"Ask them. Who is under {AGE} enrols only with a parent or guardian beside them.",
                )
            return SayAge(of_age=said.of_age)
        case AskingGuardian():
            return GuardianDeclares(base.clock.utc_s())
        case AskingStaff(reading=reading):
            if said.staff is None:
                raise OperatorError(
                    "a child's consent is approved by a manager who sees child and guardian",
                    do="Give --staff NUMBER.",
                )
            text = f"{reading.text.version}/{reading.text.language}"
            approve(base, said.staff, said.pin_file, Action.CHILD, text=text)
            return StaffApproves(str(said.staff))
        case _:
            assert_never(state)
