"""The payment machine: its invariants under random events, and its ways one by one.

`drive` keeps a history of every step; the invariants in the module's text are read off that history.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiosk.domain import payment
from kiosk.domain.challenge import FLASH_COLOURS, Challenge, ChallengeKind
from kiosk.domain.decision import Accept, AskSecondFactor, Decision, Factor, Reason, Refuse
from kiosk.domain.money import Money
from kiosk.domain.payment import (
    AcceptedOffline,
    Answer,
    Answered,
    Approved,
    Authorise,
    Cancel,
    Challenged,
    ChallengeDrawn,
    Conclude,
    Confirm,
    CouldNotSend,
    Declined,
    DigitsTyped,
    Done,
    Effect,
    Event,
    Evidence,
    ForgetFace,
    FreeScreen,
    HandOver,
    Identified,
    Idle,
    Looked,
    Looking,
    Means,
    NoAnswer,
    NotSent,
    Offer,
    Offered,
    Open,
    Order,
    OtherMeans,
    PayAnotherWay,
    Payer,
    PayWithFace,
    PinEntry,
    PinImpossible,
    PinSealed,
    Query,
    Refused,
    Rematch,
    Result,
    ReversalAcknowledged,
    Reverse,
    Reversed,
    Reversing,
    SecondFactor,
    Sent,
    StartCamera,
    State,
    StopCamera,
    Tick,
    Unknown,
    may_look_again,
    recovered,
    step,
)

ORDER = Order("A-1", Money(3850, "CNY"), "Corner Shop")
PAYER = Payer("token", "*ming", "**** 1234", "consent-1")
EVIDENCE = Evidence(("face",), 1, "high", "high", "high", ("m1",), 7)
ACCEPT = Accept("token", 0.8, 0.3)
RECOGNISED = Looked(ACCEPT, PAYER, EVIDENCE, "ref-1")
TURN = Challenge(ChallengeKind.TURN_LEFT)
BLINK = Challenge(ChallengeKind.BLINK)
FLASH = Challenge(ChallengeKind.FLASH, FLASH_COLOURS[:4], 400)
WATCHED = (Looking, Challenged)
LOOKING = (Looking, Challenged, SecondFactor)


@dataclass(frozen=True)
class Step:
    before: State
    event: Event
    now: int
    after: State
    effects: tuple[Effect, ...]


def drive(events: list[tuple[Event, int]], state: State | None = None) -> list[Step]:
    """Feed events, each after a pause in ms, to the machine; every look gets a `ref` of its own."""
    state, now, history = state or Idle(), 0, []
    for number, (event, pause) in enumerate(events):
        now += pause
        if isinstance(event, Looked) and event.ref:
            event = Looked(event.decision, event.payer, event.evidence, f"ref-{number}")  # noqa: PLW2901
        after, effects = step(state, event, now)
        history.append(Step(state, event, now, after, effects))
        state = after
    return history


def after(*events: Event, state: State | None = None, now: int = 0) -> State:
    """Where `events` lead, all at the same time."""
    state = state or Idle()
    for event in events:
        state, _ = step(state, event, now)
    return state


def effects_of(state: State, event: Event, now: int = 0) -> tuple[Effect, ...]:
    return step(state, event, now)[1]


TO_CONFIRM = (Offer(ORDER), PayWithFace(), RECOGNISED)
TO_SENT = (*TO_CONFIRM, Confirm())
TO_PIN = (Offer(ORDER), PayWithFace(), Looked(AskSecondFactor(Factor.PIN), PAYER, EVIDENCE, "ref-1"))
OPEN_REF = "ref-1"

# --- random events --------------------------------------------------------------------------------------

REFS = st.sampled_from(["ref-1", "ref-2", *(f"ref-{number}" for number in range(3, 40))])
DECISIONS: st.SearchStrategy[Decision] = st.one_of(
    st.just(ACCEPT),
    st.sampled_from(Factor).map(AskSecondFactor),
    st.sampled_from(Reason).map(Refuse),
)
LOOKS = st.one_of(
    st.just(RECOGNISED),
    st.builds(Looked, DECISIONS),
    st.builds(Looked, DECISIONS, st.just(PAYER), st.just(EVIDENCE), st.just("ref-x")),
    st.builds(Looked, st.just(ACCEPT), st.just(PAYER), st.just(EVIDENCE), st.just("")),
)
ANSWERS = st.sampled_from(Result).map(Answer) | st.just(Answer(Result.DECLINED, "wrong_pin"))
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Offer, st.just(ORDER), st.none() | st.sampled_from(Reason).map(Refuse)),
    st.just(PayWithFace()),
    st.sampled_from(Means).map(PayAnotherWay),
    st.just(Cancel()),
    LOOKS,
    st.sampled_from([TURN, BLINK, FLASH]).map(ChallengeDrawn),
    st.sampled_from(["1234", "0000", "12", "12345", "١٢٣٤", "abcd", ""]).map(DigitsTyped),
    st.just(Confirm()),
    st.builds(PinSealed, REFS, st.just("a.b.c.d.e")),
    st.just(PinImpossible()),
    st.builds(Answered, REFS, ANSWERS),
    st.builds(AcceptedOffline, REFS, st.just(Answer(Result.APPROVED, "offline", "123456", "1"))),
    REFS.map(NoAnswer),
    REFS.map(CouldNotSend),
    REFS.map(ReversalAcknowledged),
    st.just(Done()),
    st.just(Tick()),
)
PAUSES = st.sampled_from([0, 1, 250, 2_000, 5_000, 20_000, 60_000])
# Random events alone seldom get past the confirm page: most stories begin on a path that is meant to work.
BEGINNINGS = st.sampled_from(
    [
        (),
        TO_CONFIRM[:2],
        (*TO_CONFIRM[:2], ChallengeDrawn(TURN)),
        TO_CONFIRM,
        TO_SENT,
        TO_PIN,
        (*TO_PIN, PinSealed("ref-1", "a.b.c.d.e")),
        (*TO_CONFIRM[:2], Looked(AskSecondFactor(Factor.DIGITS))),
    ]
)


@st.composite
def stories(draw: st.DrawFn) -> list[Step]:
    beginning = [(event, 0) for event in draw(BEGINNINGS)]
    history = drive(beginning)
    events = draw(st.lists(st.tuples(EVENTS, PAUSES), max_size=40))
    aimed = draw(st.booleans())
    for event, pause in events:
        state = history[-1].after if history else Idle()
        ref = getattr(state, "ref", "")
        if aimed and ref and hasattr(event, "ref"):  # an event about the attempt that is open here
            event = _about(event, ref)  # noqa: PLW2901
        now = (history[-1].now if history else 0) + pause
        if isinstance(event, Looked) and event.ref:
            event = Looked(event.decision, event.payer, event.evidence, f"ref-{len(history)}")  # noqa: PLW2901
        if isinstance(event, PinSealed):  # the kernel makes a fresh one each time
            event = PinSealed(f"ref-{len(history)}", event.sealed)  # noqa: PLW2901
        following, effects = step(state, event, now)
        history.append(Step(state, event, now, following, effects))
    return history


def _about(event: Event, ref: str) -> Event:
    match event:
        case Answered(_, answer):
            return Answered(ref, answer)
        case AcceptedOffline(_, answer):
            return AcceptedOffline(ref, answer)
        case NoAnswer() | CouldNotSend() | ReversalAcknowledged():
            return type(event)(ref)
        case _:
            return event


@given(stories())
def test_the_camera_starts_only_because_someone_pressed_pay_with_face(history: list[Step]) -> None:
    for one in history:
        if StartCamera() in one.effects:
            assert isinstance(one.event, PayWithFace)
            assert isinstance(one.after, Looking)


@given(stories())
def test_money_is_asked_for_only_after_a_press_that_saw_the_amount_and_once_for_each_ref(
    history: list[Step],
) -> None:
    asked = [(one, effect) for one in history for effect in one.effects if isinstance(effect, Authorise)]
    for one, effect in asked:
        before = one.before
        assert isinstance(before, Identified | PinEntry)
        assert (effect.order, effect.payer) == (before.order, before.payer)
        if isinstance(before, PinEntry):
            assert isinstance(one.event, PinSealed)
            assert (effect.ref, effect.pin) == (one.event.ref, one.event.sealed)
            assert effect.evidence.methods == (*before.evidence.methods, "pin")
        else:
            assert isinstance(one.event, Confirm)
            assert (effect.ref, effect.evidence, effect.pin) == (before.ref, before.evidence, None)
    assert len({effect.ref for _, effect in asked}) == len(asked)


@settings(max_examples=300)
@given(stories())
def test_an_open_attempt_ends_only_by_a_word_about_that_very_attempt(history: list[Step]) -> None:
    for one in history:
        if isinstance(one.before, Open) and not isinstance(one.after, Open):
            assert isinstance(one.event, Answered | AcceptedOffline | CouldNotSend | ReversalAcknowledged)
            assert one.event.ref == one.before.ref
            if isinstance(one.event, Answered):
                assert one.event.answer.result is not Result.PENDING
            if isinstance(one.event, CouldNotSend | AcceptedOffline):
                assert isinstance(one.before, Sent), "bytes may have left: only the acquirer knows"
            if isinstance(one.event, ReversalAcknowledged):
                assert isinstance(one.before, Reversing)
        if isinstance(one.before, Open) and isinstance(one.after, Open):
            assert one.after.ref == one.before.ref
            assert one.after.order == one.before.order


@given(stories())
def test_every_attempt_is_concluded_once_and_only_after_it_was_sent(history: list[Step]) -> None:
    sent: set[str] = {OPEN_REF}
    concluded: list[str] = []
    for one in history:
        for effect in one.effects:
            if isinstance(effect, Authorise):
                sent.add(effect.ref)
            if isinstance(effect, Conclude):
                assert effect.ref in sent
                concluded.append(effect.ref)
        if isinstance(one.after, Approved) and not isinstance(one.before, Approved):
            assert isinstance(one.event, Answered | AcceptedOffline)
            assert one.event.answer.result is Result.APPROVED
    assert len(set(concluded)) == len(concluded)


@given(stories())
def test_a_look_that_ends_turns_the_camera_off_and_forgets_the_face(history: list[Step]) -> None:
    for one in history:
        if isinstance(one.before, WATCHED) and not isinstance(one.after, WATCHED):
            assert StopCamera() in one.effects
        if isinstance(one.before, LOOKING) and not isinstance(one.after, LOOKING):
            assert ForgetFace() in one.effects


@given(stories())
def test_a_look_is_challenged_three_times_at_most_and_never_twice_in_a_row_for_the_same(
    history: list[Step],
) -> None:
    asked: list[Challenge] = []
    for one in history:
        if isinstance(one.event, ChallengeDrawn) and one.after != one.before:
            assert isinstance(one.before, WATCHED), "the camera is on already: a challenge begins no look"
            assert isinstance(one.after, Challenged)
            assert one.effects == ()
            asked.append(one.after.challenge)
            assert one.after.number == len(asked) <= payment.MAX_CHALLENGES
            assert all(first.kind is not second.kind for first, second in pairwise(asked))
        elif not isinstance(one.after, Challenged):
            asked = []


@given(stories())
def test_nobody_is_identified_without_a_look_that_ended_so(history: list[Step]) -> None:
    for one in history:
        if isinstance(one.after, Identified) and not isinstance(one.before, Identified):
            assert isinstance(one.event, Looked)
            assert isinstance(one.event.decision, Accept)
            assert isinstance(one.before, LOOKING)


@given(stories())
def test_time_moves_every_state_but_idle(history: list[Step]) -> None:
    for one in history:
        state = one.after
        if isinstance(state, Idle):
            assert step(state, Tick(), one.now + 10**9) == (state, ())
            continue
        before_time = step(state, Tick(), state.until - 1)[0]
        assert before_time == state
        moved, effects = step(state, Tick(), state.until)
        assert moved != state
        if isinstance(state, Open):
            assert isinstance(moved, Open), "money may have moved: time alone ends nothing"
            assert not any(isinstance(effect, Conclude) for effect in effects)


@given(stories())
def test_digits_are_tried_three_times_a_look_and_no_more(history: list[Step]) -> None:
    tried = 0
    for one in history:
        tried = 0 if StartCamera() in one.effects else tried
        tried += sum(isinstance(effect, Rematch) for effect in one.effects)
        assert tried <= payment.MAX_DIGITS_TRIES
        for effect in one.effects:
            if isinstance(effect, Rematch):
                assert len(effect.digits) == 4
                assert effect.digits.isascii()


@given(stories())
def test_no_order_gets_more_than_three_looks(history: list[Step]) -> None:
    looks = 0
    for one in history:
        looks = 0 if isinstance(one.before, Idle) else looks
        looks += StartCamera() in one.effects
        assert looks <= payment.MAX_LOOKS


@given(stories())
def test_the_same_arguments_give_the_same_step(history: list[Step]) -> None:
    for one in history:
        assert step(one.before, one.event, one.now) == (one.after, one.effects)


@given(stories())
def test_an_order_that_was_opened_is_never_exchanged_for_another(history: list[Step]) -> None:
    for one in history:
        if not isinstance(one.before, Idle) and not isinstance(one.after, Idle):
            assert one.after.order == one.before.order


# --- the ways, one by one -------------------------------------------------------------------------------


def test_an_order_is_more_than_zero() -> None:
    with pytest.raises(ValueError, match="more than zero"):
        Order("A-1", Money(0, "CNY"), "Corner Shop")


def test_the_whole_way_to_an_approved_payment() -> None:
    history = drive(
        [
            (Offer(ORDER), 0),
            (PayWithFace(), 1_000),
            (RECOGNISED, 700),
            (Confirm(), 900),
        ]
    )
    assert [type(one.after) for one in history] == [Offered, Looking, Identified, Sent]
    sent = history[-1].after
    assert isinstance(sent, Sent)
    approval = Answer(Result.APPROVED, approval="A12345", rrn="000000000001")
    done, effects = step(sent, Answered(sent.ref, approval), 3_000)
    assert done == Approved(ORDER, sent.ref, approval, 3_000 + payment.RESULT_MS)
    assert effects == (Conclude(ORDER, sent.ref, approval),)
    assert after(Done(), state=done) == Idle()
    assert after(Tick(), state=done, now=3_000 + payment.RESULT_MS) == Idle()


def test_no_frame_is_taken_before_the_press() -> None:
    offered, effects = step(Idle(), Offer(ORDER), 0)
    assert isinstance(offered, Offered)
    assert effects == ()
    assert effects_of(offered, PayWithFace()) == (StartCamera(),)


def test_where_no_look_would_help_the_camera_stays_off_and_another_way_is_open() -> None:
    refusal = Refuse(Reason.FACE_NOT_ALLOWED)
    offered = after(Offer(ORDER, refusal))
    refused, effects = step(offered, PayWithFace(), 0)
    assert effects == ()
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.FACE_NOT_ALLOWED
    assert not may_look_again(refused)
    assert step(refused, PayWithFace(), 0) == (refused, ())
    assert isinstance(after(PayAnotherWay(Means.TILL), state=offered), OtherMeans)


@pytest.mark.parametrize("means", list(Means))
@pytest.mark.parametrize(
    "events",
    [
        (Offer(ORDER),),
        (Offer(ORDER), PayWithFace()),
        (Offer(ORDER), PayWithFace(), ChallengeDrawn(TURN)),
        (Offer(ORDER), PayWithFace(), Looked(AskSecondFactor(Factor.DIGITS))),
        TO_CONFIRM,
        (Offer(ORDER), PayWithFace(), Looked(Refuse(Reason.NOT_RECOGNISED))),
        (*TO_SENT, Answered(OPEN_REF, Answer(Result.DECLINED))),
        (*TO_SENT, CouldNotSend(OPEN_REF)),
        (*TO_SENT, Answered(OPEN_REF, Answer(Result.REVERSED))),
    ],
)
def test_another_way_is_there_wherever_nothing_was_charged(means: Means, events: tuple[Event, ...]) -> None:
    state = after(*events)
    handed, effects = step(state, PayAnotherWay(means), 5)
    assert handed == OtherMeans(ORDER, means, 5 + payment.RESULT_MS)
    assert effects[-1] == HandOver(ORDER, means)
    assert (ForgetFace() in effects) == isinstance(state, LOOKING)
    assert after(Done(), state=handed) == Idle()
    assert after(Tick(), state=handed, now=5 + payment.RESULT_MS) == Idle()


@pytest.mark.parametrize(
    "events",
    [
        (*TO_SENT, Answered(OPEN_REF, Answer(Result.APPROVED))),
        (*TO_SENT, Answered(OPEN_REF, Answer(Result.DECLINED))),
        (*TO_SENT, CouldNotSend(OPEN_REF)),
        (*TO_SENT, Answered(OPEN_REF, Answer(Result.REVERSED))),
        (Offer(ORDER), PayAnotherWay(Means.TILL)),
    ],
)
def test_the_next_order_takes_the_place_of_a_page_that_says_how_the_last_one_ended(
    events: tuple[Event, ...],
) -> None:
    following = Order("A-2", Money(100, "CNY"), "Corner Shop")
    offered = Offered(following, 7 + payment.OFFER_MS)
    assert step(after(*events), Offer(following), 7) == (offered, ())


@pytest.mark.parametrize(
    "event", [PayAnotherWay(Means.STAFF), Cancel(), Offer(ORDER), PayWithFace(), Confirm()]
)
def test_while_the_outcome_is_open_no_other_way_no_cancel_and_no_second_payment(event: Event) -> None:
    for state in (
        after(*TO_SENT),
        after(*TO_SENT, NoAnswer(OPEN_REF)),
        recovered(ORDER, OPEN_REF, reversing=True, now=0),
    ):
        assert step(state, event, 1) == (state, ())


@pytest.mark.parametrize(
    "events",
    [
        (Offer(ORDER),),
        (Offer(ORDER), PayWithFace()),
        (Offer(ORDER), PayWithFace(), ChallengeDrawn(TURN)),
        (Offer(ORDER), PayWithFace(), Looked(AskSecondFactor(Factor.DIGITS))),
        TO_CONFIRM,
        (Offer(ORDER), PayWithFace(), Looked(Refuse(Reason.NO_FACE))),
        (*TO_SENT, Answered(OPEN_REF, Answer(Result.DECLINED))),
    ],
)
def test_cancel_leads_back_to_idle_from_every_page_where_nothing_is_open(events: tuple[Event, ...]) -> None:
    assert after(*events, Cancel()) == Idle()


def test_a_look_takes_fifteen_seconds_at_most() -> None:
    looking = after(Offer(ORDER), PayWithFace())
    assert isinstance(after(Tick(), state=looking, now=14_999), Looking)
    refused, effects = step(looking, Tick(), 15_000)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.TIMED_OUT
    assert effects == (StopCamera(), ForgetFace())


def challenged(*challenges: Challenge) -> Challenged:
    """A look that was challenged so."""
    state = after(Offer(ORDER), PayWithFace(), *map(ChallengeDrawn, challenges))
    assert isinstance(state, Challenged)
    return state


def test_a_challenge_keeps_the_camera_on_and_its_own_time() -> None:
    looking = after(Offer(ORDER), PayWithFace())
    asked, effects = step(looking, ChallengeDrawn(TURN), 14_000)
    assert effects == ()
    assert asked == Challenged(ORDER, 1, TURN, 1, 14_000 + TURN.timeout_ms + payment.CHALLENGE_AIR_MS)
    again, effects = step(asked, ChallengeDrawn(FLASH), 20_000)
    assert effects == ()
    assert again == Challenged(ORDER, 1, FLASH, 2, 20_000 + payment.challenge_ms(FLASH))
    assert payment.challenge_ms(FLASH) - payment.challenge_ms(TURN) == payment.NOTICE_MS


@pytest.mark.parametrize(
    ("asked", "more"), [((TURN,), TURN), ((TURN, FLASH, BLINK), FLASH), ((FLASH, TURN), TURN)]
)
def test_one_challenge_too_many_or_the_same_again_is_not_asked(
    asked: tuple[Challenge, ...], more: Challenge
) -> None:
    state = challenged(*asked)
    assert step(state, ChallengeDrawn(more), 1) == (state, ())


@pytest.mark.parametrize("challenges", [(TURN,), (BLINK, FLASH)])
@pytest.mark.parametrize(
    ("looked", "becomes"),
    [
        (RECOGNISED, Identified),
        (Looked(AskSecondFactor(Factor.DIGITS)), SecondFactor),
        (Looked(Refuse(Reason.ATTACK_SUSPECTED)), Refused),
        (Looked(Refuse(Reason.LIVENESS_UNSURE)), Refused),
        (Looked(ACCEPT), Refused),
    ],
)
def test_a_challenged_look_ends_as_any_other(
    challenges: tuple[Challenge, ...], looked: Looked, becomes: type[State]
) -> None:
    looking = after(Offer(ORDER), PayWithFace())
    ended, effects = step(challenged(*challenges), looked, 5)
    assert isinstance(ended, becomes)
    assert (ended, effects) == step(looking, looked, 5)


def test_a_challenge_that_nobody_answers_is_not_sure_and_may_be_looked_at_again() -> None:
    asked = challenged(BLINK)
    assert after(Tick(), state=asked, now=asked.until - 1) == asked
    refused, effects = step(asked, Tick(), asked.until)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.LIVENESS_UNSURE
    assert effects == (StopCamera(), ForgetFace())
    assert may_look_again(refused)


@pytest.mark.parametrize("events", [(), (Offer(ORDER),), TO_CONFIRM, TO_SENT])
def test_nobody_is_challenged_while_the_camera_is_off(events: tuple[Event, ...]) -> None:
    state = after(*events)
    assert step(state, ChallengeDrawn(TURN), 1) == (state, ())


@pytest.mark.parametrize("reason", list(Reason))
def test_a_refusal_says_why_and_whether_another_look_may_help(reason: Reason) -> None:
    refused = after(Offer(ORDER), PayWithFace(), Looked(Refuse(reason)))
    assert isinstance(refused, Refused)
    assert refused.reason is reason
    helps = reason not in {
        Reason.OVER_LIMIT,
        Reason.PIN_NEEDED,
        Reason.FACE_NOT_ALLOWED,
        Reason.LOCKED,
        Reason.GALLERY_STALE,
    }
    assert may_look_again(refused) is helps
    assert isinstance(after(PayWithFace(), state=refused), Looking if helps else Refused)


def test_the_third_refusal_is_the_last_look() -> None:
    refused = after(Offer(ORDER))
    for _ in range(payment.MAX_LOOKS):
        refused = after(PayWithFace(), Looked(Refuse(Reason.NO_FACE)), state=refused)
    assert isinstance(refused, Refused)
    assert refused.attempt == payment.MAX_LOOKS
    assert step(refused, PayWithFace(), 0) == (refused, ())


@given(stories())
def test_a_pin_is_asked_of_a_payer_who_was_recognised_and_three_times_an_order_at_most(
    history: list[Step],
) -> None:
    typed = 0
    for one in history:
        typed = 0 if StartCamera() in one.effects else typed
        typed += isinstance(one.before, PinEntry) and isinstance(one.after, Sent)
        assert typed <= payment.MAX_PINS
        if isinstance(one.after, PinEntry) and not isinstance(one.before, PinEntry):
            assert ForgetFace() in one.effects or isinstance(one.before, Sent)
            assert isinstance(one.event, Looked | Answered)


def test_a_wrong_pin_leads_back_to_the_pin_page_and_the_next_is_another_attempt() -> None:
    pin = after(*TO_PIN)
    assert isinstance(pin, PinEntry)
    sent, (asked,) = step(pin, PinSealed("ref-1", "sealed-1"), 0)
    assert (asked.ref, asked.pin) == ("ref-1", "sealed-1")
    wrong = Answer(Result.DECLINED, "wrong_pin")
    again, effects = step(sent, Answered("ref-1", wrong), 0)
    assert effects == (Conclude(ORDER, "ref-1", wrong),)
    assert again == PinEntry(ORDER, PAYER, EVIDENCE, 1, payment.PIN_MS)
    sent, (asked,) = step(again, PinSealed("ref-2", "sealed-2"), 0)
    assert (asked.ref, asked.order, asked.pin) == ("ref-2", ORDER, "sealed-2")
    assert asked.evidence.methods == ("face", "pin")
    sent = after(Answered("ref-2", wrong), PinSealed("ref-3", "sealed-3"), state=sent)
    assert isinstance(after(Answered("ref-3", wrong), state=sent), Declined)
    assert isinstance(after(Answered("ref-3", Answer(Result.DECLINED, "pin_blocked")), state=sent), Declined)
    assert isinstance(after(Answered("ref-3", Answer(Result.APPROVED)), state=sent), Approved)


def test_a_payment_without_a_pin_that_is_declined_for_one_asks_for_none() -> None:
    declined = after(Answered("ref-1", Answer(Result.DECLINED, "wrong_pin")), state=after(*TO_SENT))
    assert isinstance(declined, Declined)


def test_a_pin_that_nobody_could_read_is_not_sent() -> None:
    refused = after(PinImpossible(), state=after(*TO_PIN))
    assert isinstance(refused, Refused)
    assert (refused.reason, may_look_again(refused)) == (Reason.PIN_NEEDED, False)


@pytest.mark.parametrize("event", [Cancel(), PayAnotherWay(Means.TILL), Tick()], ids=str)
def test_the_pin_page_is_left_without_a_payment(event: Event) -> None:
    left, effects = step(after(*TO_PIN), event, payment.PIN_MS)
    assert isinstance(left, Idle | OtherMeans)
    assert not any(isinstance(effect, Authorise) for effect in effects)


def test_a_sealed_pin_shows_in_no_representation() -> None:
    event = PinSealed("ref-1", "s3cret")
    sent, (asked,) = step(after(*TO_PIN), event, 0)
    assert not any("s3cret" in repr(shown) for shown in (event, sent, asked))


def test_a_sale_that_was_accepted_offline_is_approved_and_one_with_a_pin_never_is() -> None:
    offline = Answer(Result.APPROVED, "offline", "123456", "1")
    approved, effects = step(after(*TO_SENT), AcceptedOffline("ref-1", offline), 0)
    assert isinstance(approved, Approved)
    assert effects == (Conclude(ORDER, "ref-1", offline),)
    sent = after(PinSealed("ref-1", "sealed"), state=after(*TO_PIN))
    assert step(sent, AcceptedOffline("ref-1", offline), 0) == (sent, ())
    unknown = after(NoAnswer("ref-1"), state=after(*TO_SENT))
    assert step(unknown, AcceptedOffline("ref-1", offline), 0) == (unknown, ())


def test_an_amount_that_needs_a_pin_of_nobody_who_was_recognised_is_refused() -> None:
    refused = after(Offer(ORDER), PayWithFace(), Looked(AskSecondFactor(Factor.PIN)))
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.PIN_NEEDED


@pytest.mark.parametrize(
    "look",
    [
        Looked(ACCEPT),
        Looked(ACCEPT, PAYER),
        Looked(ACCEPT, PAYER, EVIDENCE),
        Looked(ACCEPT, None, EVIDENCE, "r"),
    ],
)
def test_an_accept_without_payer_evidence_and_ref_identifies_nobody(look: Looked) -> None:
    refused = after(Offer(ORDER), PayWithFace(), look)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.NOT_RECOGNISED


def second_factor() -> SecondFactor:
    state = after(Offer(ORDER), PayWithFace(), Looked(AskSecondFactor(Factor.DIGITS)))
    assert isinstance(state, SecondFactor)
    return state


def test_digits_search_again_and_lead_to_the_confirm_page() -> None:
    state, effects = step(second_factor(), DigitsTyped("1234"), 0)
    assert effects == (Rematch("1234"),)
    identified, effects = step(state, RECOGNISED, 0)
    assert isinstance(identified, Identified)
    assert effects == (StopCamera(), ForgetFace())


@pytest.mark.parametrize("digits", ["", "123", "12345", "12a4", "１２３４", "²²²²"])
def test_what_is_not_four_digits_is_not_a_try(digits: str) -> None:
    state = second_factor()
    assert step(state, DigitsTyped(digits), 0) == (state, ())


def test_a_typing_mistake_may_be_mended_twice() -> None:
    state: State = second_factor()
    wrong = (DigitsTyped("0000"), Looked(Refuse(Reason.NOT_RECOGNISED)))
    state = after(*wrong, *wrong, state=state)
    assert isinstance(state, SecondFactor)
    assert state.tries == 2
    assert isinstance(after(*wrong, state=state), Refused)


def test_a_face_without_digits_typed_decides_nothing_in_the_second_factor() -> None:
    state = second_factor()
    assert step(state, RECOGNISED, 0) == (state, ())


def test_two_people_with_the_same_digits_are_refused() -> None:
    refused = after(DigitsTyped("1234"), Looked(Refuse(Reason.AMBIGUOUS)), state=second_factor())
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.AMBIGUOUS


def test_the_second_factor_gives_up_after_its_time() -> None:
    state, effects = step(second_factor(), Tick(), payment.FACTOR_MS)
    assert state == Idle()
    assert effects == (StopCamera(), ForgetFace())


def test_the_confirm_page_cancels_by_itself_and_never_confirms_by_itself() -> None:
    identified = after(*TO_CONFIRM)
    assert step(identified, Tick(), payment.CONFIRM_MS) == (Idle(), ())


def test_a_connection_that_was_never_made_charges_nothing() -> None:
    state, effects = step(after(*TO_SENT), CouldNotSend(OPEN_REF), 0)
    assert isinstance(state, NotSent)
    assert effects == (Conclude(ORDER, OPEN_REF, Answer(Result.DECLINED, code="not_sent")),)


def test_an_answer_about_another_attempt_changes_nothing() -> None:
    for state in (after(*TO_SENT), after(*TO_SENT, NoAnswer(OPEN_REF))):
        for event in (
            Answered("another", Answer(Result.APPROVED)),
            NoAnswer("another"),
            CouldNotSend("another"),
            ReversalAcknowledged("another"),
        ):
            assert step(state, event, 0) == (state, ())


@pytest.mark.parametrize("event", [NoAnswer(OPEN_REF), Answered(OPEN_REF, Answer(Result.PENDING))])
def test_no_final_answer_makes_the_outcome_unknown_never_declined(event: Event) -> None:
    assert isinstance(after(*TO_SENT, event), Unknown)


def ticks(state: State, until: int) -> list[tuple[int, Effect]]:
    """What the machine asks for, second by second, when nobody answers."""
    asked = []
    for now in range(0, until + 1, 1_000):
        state, effects = step(state, Tick(), now)
        asked += [(now, effect) for effect in effects]
    return asked


def test_an_unknown_outcome_is_asked_about_four_times_and_then_reversed_until_acknowledged() -> None:
    unknown = after(*TO_SENT, NoAnswer(OPEN_REF))
    asked = [(now, effect) for now, effect in ticks(unknown, 200_000) if effect != FreeScreen()]
    assert asked[:4] == [(second * 1_000, Query(OPEN_REF)) for second in (2, 6, 14, 29)]
    reversals = [now for now, effect in asked[4:] if effect == Reverse(ORDER, OPEN_REF)]
    assert len(reversals) == len(asked) - 4
    assert reversals == [49_000, 54_000, 64_000, 94_000, 154_000]


def test_a_reversal_is_tried_for_ever_with_the_last_delay() -> None:
    state: State = Reversing(ORDER, OPEN_REF, tries=100, shown_until=0, until=0)
    state, effects = step(state, Tick(), 0)
    assert Reverse(ORDER, OPEN_REF) in effects
    assert isinstance(state, Reversing)
    assert state.until == payment.REVERSAL_DELAYS_MS[-1]


def test_an_acknowledged_reversal_ends_it_with_nothing_charged() -> None:
    state, effects = step(
        recovered(ORDER, OPEN_REF, reversing=True, now=0), ReversalAcknowledged(OPEN_REF), 0
    )
    assert isinstance(state, Reversed)
    assert effects == (Conclude(ORDER, OPEN_REF, Answer(Result.REVERSED, code="reversed")),)


def test_a_late_approval_ends_an_unknown_outcome_but_not_a_reversal_under_way() -> None:
    approval = Answered(OPEN_REF, Answer(Result.APPROVED))
    assert isinstance(after(*TO_SENT, NoAnswer(OPEN_REF), approval), Approved)
    reversing = recovered(ORDER, OPEN_REF, reversing=True, now=0)
    assert step(reversing, approval, 0) == (reversing, ())


def test_the_screen_is_free_on_request_and_after_a_minute_while_the_outcome_stays_open() -> None:
    unknown = after(*TO_SENT, NoAnswer(OPEN_REF))
    assert step(unknown, Done(), 0) == (unknown, (FreeScreen(),))
    freed = [now for now, effect in ticks(unknown, 70_000) if effect == FreeScreen()]
    assert freed[0] == payment.UNKNOWN_SHOWN_MS
    reversing = recovered(ORDER, OPEN_REF, reversing=True, now=0)
    assert step(reversing, Done(), 0) == (reversing, (FreeScreen(),))


@pytest.mark.parametrize(("reversing", "asks"), [(False, Query(OPEN_REF)), (True, Reverse(ORDER, OPEN_REF))])
def test_after_a_restart_what_was_open_is_due_at_once_behind_the_screen(
    reversing: bool, asks: Effect
) -> None:
    state = recovered(ORDER, OPEN_REF, reversing=reversing, now=500)
    assert effects_of(state, Tick(), 500) == (asks, FreeScreen())


@pytest.mark.parametrize("result", [Result.DECLINED, Result.REVERSED])
def test_a_final_no_is_shown_and_passes(result: Result) -> None:
    state = after(*TO_SENT, Answered(OPEN_REF, Answer(result)))
    assert isinstance(state, Declined if result is Result.DECLINED else Reversed)
    assert after(Done(), state=state) == Idle()
    assert after(Tick(), state=state, now=payment.RESULT_MS) == Idle()


def test_a_refused_page_passes_by_itself_or_when_done() -> None:
    refused = after(Offer(ORDER), PayWithFace(), Looked(Refuse(Reason.NO_FACE)))
    assert after(Done(), state=refused) == Idle()
    assert after(Tick(), state=refused, now=payment.REFUSED_MS) == Idle()


def test_an_offer_passes_by_itself() -> None:
    assert after(Tick(), state=after(Offer(ORDER)), now=payment.OFFER_MS) == Idle()


def test_a_sent_attempt_that_hears_nothing_becomes_unknown() -> None:
    assert isinstance(after(Tick(), state=after(*TO_SENT), now=payment.ANSWER_MS), Unknown)


def test_every_state_and_event_has_a_test_that_meets_it() -> None:
    """The random stories build every event; this fails when one is added and forgotten there."""
    assert len(get_args(payment.Event)) == 17
    assert len(get_args(payment.State)) == 16
