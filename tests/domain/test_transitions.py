"""The whole transition table, every value of it: what each event makes of each state, also at its time-out.

`transitions.txt` is for people to read when it changes: with REWRITE=1 the test writes it anew. What changes
nothing is left out.
"""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args

import pytest

from kiosk.domain import payment
from kiosk.domain.challenge import Challenge, ChallengeKind
from kiosk.domain.decision import Accept, AskSecondFactor, Factor, Reason, Refuse
from kiosk.domain.money import Money
from kiosk.domain.payment import (
    AcceptedOffline,
    Answer,
    Answered,
    Approved,
    Cancel,
    Challenged,
    ChallengeDrawn,
    Confirm,
    CouldNotSend,
    Declined,
    DigitsTyped,
    Done,
    Evidence,
    Identified,
    Idle,
    Looked,
    Looking,
    Means,
    NoAnswer,
    NotSent,
    Offer,
    Offered,
    Order,
    OtherMeans,
    PayAnotherWay,
    Payer,
    PayWithFace,
    PinEntry,
    PinImpossible,
    PinSealed,
    Refused,
    Result,
    ReversalAcknowledged,
    Reversed,
    Reversing,
    SecondFactor,
    Sent,
    Tick,
    Unknown,
    step,
)

TABLE = Path(__file__).with_name("transitions.txt")
DUE = 100_000
ORDER, OTHER = Order("O-1", Money(3850, "CNY"), "Shop"), Order("O-2", Money(1, "CNY"), "Shop")
PAYER = Payer("tok", "*ming", "1234", "consent-1")
EVIDENCE = Evidence(("face",), 1, "high", "high", "high", ("model",), 1)
REFUSAL = Refuse(Reason.FACE_NOT_ALLOWED)
LEFT, BLINK = Challenge(ChallengeKind.TURN_LEFT), Challenge(ChallengeKind.BLINK)
WRONG = Answer(Result.DECLINED, payment.WRONG_PIN)
ANSWERS = {result: Answer(result, "code", "APPR", "RRN") for result in Result}
NAMES: dict[Any, str] = {
    ORDER: "ORDER",
    OTHER: "OTHER",
    PAYER: "PAYER",
    EVIDENCE: "EVIDENCE",
    REFUSAL: "REFUSAL",
    LEFT: "LEFT",
    BLINK: "BLINK",
    WRONG: "WRONG_PIN",
    **{answer: result.upper() for result, answer in ANSWERS.items()},
}
SHOWN = DUE - 10_000
"""The next shopper may come from here on, before the next query or reversal is due."""

STATES = [
    Idle(),
    Offered(ORDER, DUE),
    Offered(ORDER, DUE, REFUSAL),
    Looking(ORDER, 2, DUE),
    Challenged(ORDER, 2, LEFT, 1, DUE),
    Challenged(ORDER, 2, LEFT, payment.MAX_CHALLENGES, DUE),
    *(SecondFactor(ORDER, 2, Factor.DIGITS, tries, DUE) for tries in range(payment.MAX_DIGITS_TRIES + 1)),
    Identified(ORDER, PAYER, EVIDENCE, "ref", DUE),
    *(PinEntry(ORDER, PAYER, EVIDENCE, tries, DUE) for tries in range(payment.MAX_PINS)),
    Refused(ORDER, 1, Refuse(Reason.NOT_RECOGNISED), DUE),
    Refused(ORDER, payment.MAX_LOOKS, Refuse(Reason.NOT_RECOGNISED), DUE),
    Refused(ORDER, 1, REFUSAL, DUE),
    Sent(ORDER, PAYER, "ref", DUE),
    *(Sent(ORDER, PAYER, "ref", DUE, EVIDENCE, tries) for tries in range(payment.MAX_PINS + 1)),
    Approved(ORDER, "ref", ANSWERS[Result.APPROVED], DUE),
    Declined(ORDER, "ref", ANSWERS[Result.DECLINED], DUE),
    NotSent(ORDER, "ref", DUE),
    *(Unknown(ORDER, "ref", queries, SHOWN, DUE) for queries in range(len(payment.QUERY_DELAYS_MS) + 1)),
    *(Reversing(ORDER, "ref", tries, SHOWN, DUE) for tries in (0, 1, 2, 3, 4, 5, 50)),
    Reversed(ORDER, "ref", DUE),
    OtherMeans(ORDER, Means.TILL, DUE),
]
EVENTS = [
    Offer(OTHER),
    Offer(OTHER, REFUSAL),
    PayWithFace(),
    *(PayAnotherWay(means) for means in Means),
    Cancel(),
    ChallengeDrawn(LEFT),
    ChallengeDrawn(BLINK),
    Looked(Accept("tok", 0.9, 0.5), PAYER, EVIDENCE, "ref"),
    Looked(Accept("tok", 0.9, 0.5)),
    *(Looked(AskSecondFactor(factor)) for factor in Factor),
    *(Looked(AskSecondFactor(factor), PAYER, EVIDENCE, "ref") for factor in Factor),
    Looked(AskSecondFactor(Factor.PIN), PAYER),
    Looked(AskSecondFactor(Factor.PIN), None, EVIDENCE),
    PinSealed("ref-2", "sealed"),
    PinImpossible(),
    Looked(REFUSAL),
    Looked(Refuse(Reason.NOT_RECOGNISED)),
    DigitsTyped("1234"),
    DigitsTyped("12x4"),
    Confirm(),
    *(Answered("ref", answer) for answer in ANSWERS.values()),
    Answered("ref", WRONG),
    AcceptedOffline("ref", ANSWERS[Result.APPROVED]),
    AcceptedOffline("another", ANSWERS[Result.APPROVED]),
    Answered("another", ANSWERS[Result.APPROVED]),
    NoAnswer("ref"),
    NoAnswer("another"),
    CouldNotSend("ref"),
    CouldNotSend("another"),
    ReversalAcknowledged("ref"),
    ReversalAcknowledged("another"),
    Done(),
    Tick(),
]


def shown(value: Any, now: int) -> str:
    """Short, and times as how far they are ahead of now."""
    if not isinstance(value, str) and getattr(type(value), "__hash__", None) and value in NAMES:
        return NAMES[value]
    if is_dataclass(value):
        inner = (
            f"{field.name}={getattr(value, field.name) - now:+d}"
            if field.name.endswith("until")
            else f"{field.name}={shown(getattr(value, field.name), now)}"
            for field in fields(value)
        )
        return f"{type(value).__name__}({', '.join(inner)})"
    return str(value) if isinstance(value, str | int | float) else repr(value)


def table() -> str:
    lines = []
    for state in STATES:
        lines.append(f"\n{shown(state, DUE)}")
        for event in EVENTS:
            for now in (SHOWN - 1, SHOWN, DUE - 1, DUE) if isinstance(event, Tick) else (SHOWN - 1,):
                after, effects = step(state, event, now)
                if after == state and not effects:
                    continue
                when = f" at {now - DUE:+d}" if isinstance(event, Tick) else ""
                lines.append(f"  {shown(event, now)}{when}")
                lines.append(f"    -> {shown(after, now) if after != state else 'the same'}")
                lines += [f"       {shown(effect, now)}" for effect in effects]
    return "\n".join(lines).lstrip() + "\n"


def test_every_state_and_every_event_has_its_place_in_the_table():
    assert {type(state) for state in STATES} == set(get_args(payment.State))
    assert {type(event) for event in EVENTS} == set(get_args(payment.Event))


def test_the_machine_does_exactly_what_the_table_says():
    if os.environ.get("REWRITE"):
        TABLE.write_text(table())
    assert table().splitlines() == TABLE.read_text().splitlines()


@pytest.mark.parametrize("reversing", [False, True])
def test_what_a_restart_takes_up_is_due_at_once_and_begins_from_the_first_try(reversing):
    state = payment.recovered(ORDER, "ref", reversing=reversing, now=7)
    assert state == (Reversing(ORDER, "ref", 0, 7, 7) if reversing else Unknown(ORDER, "ref", 0, 7, 7))


def test_a_payment_is_at_least_one_minor_unit():
    assert Order("O-1", Money(1, "CNY"), "Shop").amount.minor == 1
    with pytest.raises(ValueError, match=r"^a payment is more than zero$"):
        Order("O-1", Money(0, "CNY"), "Shop")
