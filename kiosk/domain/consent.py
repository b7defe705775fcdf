"""Consent to be recognised by face: which text was shown, what was declared, for what and until when.

Pure: no clock, no file. `step` is the flow that a command or a screen walks through. A consent comes out of
an agreement after the text and of nothing else; a child's takes a guardian and one of staff. It is part of no
sale.

    Reading -> AskingAge -> Given
                         -> AskingGuardian -> AskingStaff -> Given
    any -> NotGiven
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = [
    "AGE",
    "FACTS",
    "KEEP_DAYS",
    "LANGUAGES",
    "MOST_KEEP_DAYS",
    "SECTIONS",
    "Agree",
    "AskingAge",
    "AskingGuardian",
    "AskingStaff",
    "Consent",
    "ConsentText",
    "Decline",
    "Event",
    "Given",
    "Guardian",
    "GuardianDeclares",
    "NotGiven",
    "Reading",
    "SayAge",
    "Scope",
    "Section",
    "StaffApproves",
    "State",
    "Why",
    "has_ended",
    "step",
    "version_number",
]

AGE: Final = 14
"""Years from which a person consents alone: Personal Information Protection Law of the PRC, article 31."""
KEEP_DAYS: Final = 365
"""How long a consent holds when nobody chose another time."""
MOST_KEEP_DAYS: Final = 3650
LANGUAGES: Final = ("en", "zh-Hans", "ar")
"""A version of the text exists in each of these, or isn't used."""
SECTIONS: Final = ("what", "why", "how_long", "who", "voluntary", "risks", "withdraw", "rights", "age")
"""What a text has to tell, in this order: a text that leaves one out is none."""
FACTS: Final = ("provider", "licence", "shop", "days")
"""What is filled in where a section has `{name}`: the provider and its licence (from the signed policy), who
runs the kiosk, and after how many days the consent ends. Each has to be said somewhere."""

DAY_S: Final = 86_400
MAX_TEXT: Final = 2_000
"""Longest title, section or button, in characters."""
_FACT: Final = re.compile(r"\{([^{}]*)\}")
_VERSION: Final = re.compile(r"v([1-9][0-9]{0,5})", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Scope(StrEnum):
    """What a face is recognised for; each is agreed to by itself."""

    PAY = "pay"
    STAFF = "staff"


class Why(StrEnum):
    """Why there is no consent."""

    DECLINED = "declined"
    UNDER_AGE = "under_age"


# --- the text -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Section:
    """One heading and what is said under it; `name` is one of `SECTIONS`."""

    name: str
    heading: str
    body: str


@dataclass(frozen=True, slots=True)
class ConsentText:
    """One version of the text in one language. ValueError for one that leaves something out.

    `sha256`: of its file, byte for byte: what was shown can be proven. The rest are what stands on the
    buttons (`agree`, `decline`, `of_age`, `under_age`) and what a guardian and one of staff declare.
    """

    version: str
    language: str
    title: str
    summary: str
    sections: tuple[Section, ...]
    agree: str
    decline: str
    of_age: str
    under_age: str
    guardian: str
    staff: str
    sha256: str

    def __post_init__(self) -> None:
        version_number(self.version)
        if self.language not in LANGUAGES:
            raise ValueError(f"the language {self.language!r} is none of {', '.join(LANGUAGES)}")
        if not _DIGEST.fullmatch(self.sha256):
            raise ValueError("its digest is no SHA-256")
        if tuple(section.name for section in self.sections) != SECTIONS:
            raise ValueError(f"its sections are not {', '.join(SECTIONS)}")
        sections = [text for one in self.sections for text in (one.heading, one.body)]
        buttons = (self.agree, self.decline, self.of_age, self.under_age, self.guardian, self.staff)
        plain = (self.title, self.summary, *buttons)
        if not all(text.strip() and len(text) <= MAX_TEXT for text in (*plain, *sections)):
            raise ValueError(f"each of its texts has 1 to {MAX_TEXT} characters")
        facts = {name for text in sections for name in _FACT.findall(text)}
        if facts != set(FACTS) or any(_FACT.search(text) for text in plain):
            raise ValueError(f"its sections, and they alone, have to say {', '.join(FACTS)}")

    def filled(self, facts: Mapping[str, str]) -> tuple[Section, ...]:
        """What a person reads: the sections with each of `FACTS` put in. KeyError when one is missing."""

        def put(text: str) -> str:
            return _FACT.sub(lambda found: facts[found[1]], text)

        return tuple(Section(one.name, put(one.heading), put(one.body)) for one in self.sections)


def version_number(version: str) -> int:
    """The number in `v1`, `v2`, ...: a higher one is newer. ValueError for anything else."""
    found = _VERSION.fullmatch(version)
    if found is None:
        raise ValueError(f"a text's version is v1, v2, ..., not {version[:20]!r}")
    return int(found[1])


# --- the consent ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Guardian:
    """A parent or guardian declared it (seconds since 1970, UTC); `approved_by` is a staff number."""

    declared_at_s: float
    approved_by: str


@dataclass(frozen=True, slots=True)
class Consent:
    """What somebody agreed to. Times are seconds since 1970 (UTC).

    Either the person said that they are `AGE` or older, or a `guardian` declared it. ValueError: no scope, or
    not 1 to `MOST_KEEP_DAYS` days.
    """

    text_version: str
    text_sha256: str
    language: str
    scope: tuple[Scope, ...]
    given_at_s: float
    keep_days: int
    guardian: Guardian | None = None

    def __post_init__(self) -> None:
        if not self.scope or len(set(self.scope)) != len(self.scope):
            raise ValueError("a consent is for something, and for each thing once")
        _check_days(self.keep_days)

    @property
    def of_age(self) -> bool:
        """Whether the person consented alone."""
        return self.guardian is None

    @property
    def keep_until_s(self) -> int:
        """When it ends by itself."""
        return int(self.given_at_s) + self.keep_days * DAY_S

    @property
    def text(self) -> str:
        """Which text, in which language, as one word: `v1/ar`."""
        return f"{self.text_version}/{self.language}"


def has_ended(keep_until_s: int | None, now_s: float) -> bool:
    """Whether a consent that holds until then (None: for ever) is over at `now_s`."""
    return keep_until_s is not None and now_s >= keep_until_s


# --- the flow -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """The text is before the person; nothing is agreed to, and no camera is on. ValueError: as `Consent`."""

    text: ConsentText
    scope: tuple[Scope, ...] = (Scope.PAY,)
    keep_days: int = KEEP_DAYS

    def __post_init__(self) -> None:
        _check_days(self.keep_days)


@dataclass(frozen=True, slots=True)
class AskingAge:
    """They agreed at `agreed_at_s`; whether they are of age is asked, and not assumed."""

    reading: Reading
    agreed_at_s: float


@dataclass(frozen=True, slots=True)
class AskingGuardian:
    """They are under age: only a parent or guardian goes on."""

    reading: Reading


@dataclass(frozen=True, slots=True)
class AskingStaff:
    """A guardian declared it; one of staff who sees both of them approves it."""

    reading: Reading
    declared_at_s: float


@dataclass(frozen=True, slots=True)
class Given:
    """The end: the looks may begin."""

    consent: Consent


@dataclass(frozen=True, slots=True)
class NotGiven:
    """The end: nobody is looked at, and nothing is kept. Paying another way is as before."""

    why: Why


State = Reading | AskingAge | AskingGuardian | AskingStaff | Given | NotGiven


@dataclass(frozen=True, slots=True)
class Agree:
    """The press on the text's own button, or the command that stands for it."""

    at_s: float


@dataclass(frozen=True, slots=True)
class SayAge:
    """Whether they said that they are `AGE` or older."""

    of_age: bool


@dataclass(frozen=True, slots=True)
class GuardianDeclares:
    """A parent or guardian read the text and agrees for the child."""

    at_s: float


@dataclass(frozen=True, slots=True)
class StaffApproves:
    """One of staff, by number, after their PIN was right."""

    number: str


@dataclass(frozen=True, slots=True)
class Decline:
    """No, a step back, or nobody there any more: all the same, and never held against anybody."""


Event = Agree | SayAge | GuardianDeclares | StaffApproves | Decline


def step(state: State, event: Event) -> State:
    """Where `event` leads; one that doesn't belong to `state` (a late press) changes nothing."""
    match state, event:
        case Given() | NotGiven(), _:
            pass
        case AskingGuardian() | AskingStaff(), Decline():
            return NotGiven(Why.UNDER_AGE)
        case _, Decline():
            return NotGiven(Why.DECLINED)
        case Reading(), Agree(at_s=at_s):
            return AskingAge(state, at_s)
        case AskingAge(reading=reading, agreed_at_s=at_s), SayAge(of_age=True):
            return Given(_consent(reading, at_s, None))
        case AskingAge(reading=reading), SayAge(of_age=False):
            return AskingGuardian(reading)
        case AskingGuardian(reading=reading), GuardianDeclares(at_s=at_s):
            return AskingStaff(reading, at_s)
        case AskingStaff(reading=reading, declared_at_s=at_s), StaffApproves(number=number):
            return Given(_consent(reading, at_s, Guardian(at_s, number)))
    return state


def _consent(reading: Reading, at_s: float, guardian: Guardian | None) -> Consent:
    text = reading.text
    return Consent(text.version, text.sha256, text.language, reading.scope, at_s, reading.keep_days, guardian)


def _check_days(days: int) -> None:
    if not 1 <= days <= MOST_KEEP_DAYS:
        raise ValueError(f"a consent holds for 1 to {MOST_KEEP_DAYS} days, not {days}")
