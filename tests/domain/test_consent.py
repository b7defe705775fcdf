"""Consent: what a text has to say, what a consent is, and that no way but one leads to it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain import consent
from kiosk.domain.consent import (
    Agree,
    AskingAge,
    AskingGuardian,
    AskingStaff,
    Consent,
    ConsentText,
    Decline,
    Given,
    Guardian,
    GuardianDeclares,
    NotGiven,
    Reading,
    SayAge,
    Scope,
    Section,
    StaffApproves,
    Why,
    has_ended,
    step,
    version_number,
)

BODY = "{provider} {licence} {shop} {days}"
TEXT = ConsentText(
    version="v2",
    language="en",
    title="Pay by face",
    summary="You don't have to.",
    sections=tuple(Section(name, f"About {name}", BODY) for name in consent.SECTIONS),
    agree="I agree",
    decline="No",
    of_age="I am 14 or older",
    under_age="I am under 14",
    guardian="I agree for the child",
    staff="I see both",
    sha256="ab" * 32,
)
READING = Reading(TEXT, keep_days=30)
FACTS = {"provider": "Acme Pay", "licence": "L-1", "shop": "Corner Shop", "days": "30"}


def walked(*events: consent.Event, start: consent.State = READING) -> consent.State:
    state = start
    for event in events:
        state = step(state, event)
    return state


# --- the text -------------------------------------------------------------------------------------------


def test_what_a_person_reads_has_the_facts_put_in() -> None:
    filled = TEXT.filled(FACTS)
    assert [section.name for section in filled] == list(consent.SECTIONS)
    assert {section.body for section in filled} == {"Acme Pay L-1 Corner Shop 30"}


def test_a_shop_s_name_with_braces_is_shown_as_it_is() -> None:
    assert "{days} & Sons" in TEXT.filled(FACTS | {"shop": "{days} & Sons"})[0].body


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "1"}, "v1, v2"),
        ({"version": "v0"}, "v1, v2"),
        ({"language": "fr"}, "language"),
        ({"sha256": "AB" * 32}, "SHA-256"),
        ({"sections": TEXT.sections[:-1]}, "sections are not"),
        ({"sections": TEXT.sections[::-1]}, "sections are not"),
        ({"agree": " "}, "characters"),
        ({"title": "x" * 2_001}, "characters"),
        ({"summary": "for {days} days"}, "they alone"),
        ({"sections": tuple(replace(one, body="says nothing") for one in TEXT.sections)}, "have to say"),
        ({"sections": tuple(replace(one, body=BODY + "{x}") for one in TEXT.sections)}, "have to say"),
    ],
)
def test_a_text_that_leaves_something_out_is_none(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TEXT, **change)


def test_a_higher_number_is_the_newer_version() -> None:
    assert sorted(["v10", "v9"], key=version_number) == ["v9", "v10"]


# --- the consent ----------------------------------------------------------------------------------------


def test_a_consent_ends_by_itself_to_the_second() -> None:
    made = Consent("v2", "ab" * 32, "ar", (Scope.PAY,), 1_000.9, 2)
    assert made.keep_until_s == 1_000 + 2 * 86_400
    assert not has_ended(made.keep_until_s, made.keep_until_s - 0.001)
    assert has_ended(made.keep_until_s, made.keep_until_s)
    assert not has_ended(None, 1e12)
    assert (made.text, made.of_age) == ("v2/ar", True)


@pytest.mark.parametrize("days", [0, -1, 3_651])
def test_a_consent_for_ever_or_for_no_time_is_none(days: int) -> None:
    with pytest.raises(ValueError, match="1 to 3650 days"):
        Consent("v2", "ab" * 32, "ar", (Scope.PAY,), 0, days)
    with pytest.raises(ValueError, match="1 to 3650 days"):
        Reading(TEXT, keep_days=days)


@pytest.mark.parametrize("scope", [(), (Scope.PAY, Scope.PAY)])
def test_a_consent_is_for_something_and_for_each_thing_once(scope: tuple[Scope, ...]) -> None:
    with pytest.raises(ValueError, match="for something"):
        Consent("v2", "ab" * 32, "ar", scope, 0, 1)


# --- the flow -------------------------------------------------------------------------------------------


def test_who_agrees_and_is_of_age_has_consented() -> None:
    assert walked(Agree(5.0), SayAge(of_age=True)) == Given(
        Consent("v2", "ab" * 32, "en", (Scope.PAY,), 5.0, 30)
    )


def test_a_child_s_consent_is_the_guardian_s_and_one_of_staff_saw_both() -> None:
    ended = walked(Agree(5.0), SayAge(of_age=False), GuardianDeclares(9.0), StaffApproves("1007"))
    assert isinstance(ended, Given)
    assert ended.consent.guardian == Guardian(9.0, "1007")
    assert (ended.consent.of_age, ended.consent.given_at_s) == (False, 9.0)


def test_no_step_of_a_child_s_can_be_left_out() -> None:
    assert isinstance(walked(Agree(5.0), SayAge(of_age=False), StaffApproves("1")), AskingGuardian)
    assert isinstance(walked(Agree(5.0), SayAge(of_age=False), SayAge(of_age=True)), AskingGuardian)
    assert isinstance(
        walked(Agree(5.0), SayAge(of_age=False), GuardianDeclares(9.0), SayAge(of_age=True)), AskingStaff
    )
    assert isinstance(walked(Agree(5.0), GuardianDeclares(9.0), StaffApproves("1")), AskingAge)
    assert walked(SayAge(of_age=True), GuardianDeclares(9.0), StaffApproves("1")) == READING


def test_everybody_can_say_no_until_the_end_and_a_child_is_told_why() -> None:
    assert walked(Decline()) == NotGiven(Why.DECLINED)
    assert walked(Agree(5.0), Decline()) == NotGiven(Why.DECLINED)
    assert walked(Agree(5.0), SayAge(of_age=False), Decline()) == NotGiven(Why.UNDER_AGE)
    assert walked(Agree(5.0), SayAge(of_age=False), GuardianDeclares(9), Decline()) == NotGiven(Why.UNDER_AGE)


EVENTS = st.sampled_from(
    [
        Agree(5.0),
        SayAge(of_age=True),
        SayAge(of_age=False),
        GuardianDeclares(9.0),
        StaffApproves("7"),
        Decline(),
    ]
)


@given(st.lists(EVENTS, max_size=12))
def test_whatever_is_pressed_a_consent_follows_an_agreement_and_an_end_stays_one(
    events: list[consent.Event],
) -> None:
    state: consent.State = READING
    for number, event in enumerate(events):
        after = step(state, event)
        if isinstance(state, Given | NotGiven):
            assert after == state
        elif isinstance(after, Given):
            before = events[: number + 1]
            assert Agree(5.0) in before
            assert Decline() not in before
            if after.consent.guardian is None:
                assert SayAge(of_age=True) in before
            else:
                assert before[-1] == StaffApproves("7")
                assert GuardianDeclares(9.0) in before
        state = after
