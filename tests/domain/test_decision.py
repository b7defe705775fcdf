"""The decision: an attack never reaches the scores, and nobody is accepted on a doubt."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain.decision import (
    Accept,
    AskSecondFactor,
    Candidate,
    Factor,
    LookOutcome,
    Reason,
    Refuse,
    Thresholds,
    decide,
    within_limits,
)
from kiosk.domain.limits import Allowed, LimitKind, NeedPin, OverLimit
from kiosk.domain.money import Money

THRESHOLDS = Thresholds(match=0.5, match_with_digits=0.4, margin=0.05, max_gallery=1000)
SCORES = st.floats(-1, 1) | st.sampled_from([math.nan, math.inf, -math.inf])
CANDIDATES = st.lists(SCORES, max_size=6).map(
    lambda scores: tuple(Candidate(f"p{number}", score) for number, score in enumerate(scores))
)


def people(*scores: float) -> tuple[Candidate, ...]:
    return tuple(Candidate("abcdef"[number], score) for number, score in enumerate(scores))


def face_alone(*scores: float, gallery_size: int = 10) -> object:
    return decide(LookOutcome.LIVE, people(*scores), gallery_size=gallery_size, thresholds=THRESHOLDS)


def with_digits(*scores: float) -> object:
    return decide(
        LookOutcome.LIVE, people(*scores), gallery_size=10**6, thresholds=THRESHOLDS, digits_given=True
    )


@pytest.mark.parametrize(
    ("look", "reason"),
    [
        (LookOutcome.ATTACK, Reason.ATTACK_SUSPECTED),
        (LookOutcome.UNSURE, Reason.LIVENESS_UNSURE),
        (LookOutcome.NO_FACE, Reason.NO_FACE),
        (LookOutcome.TWO_FACES, Reason.TWO_FACES),
    ],
)
@given(candidates=CANDIDATES, digits_given=st.booleans())
def test_a_look_that_is_not_live_is_refused_whatever_the_scores_say(
    look: LookOutcome, reason: Reason, candidates: tuple[Candidate, ...], digits_given: bool
) -> None:
    decision = decide(look, candidates, gallery_size=1, thresholds=THRESHOLDS, digits_given=digits_given)
    assert decision == Refuse(reason)


@given(candidates=CANDIDATES, gallery_size=st.integers(0, 3000), digits_given=st.booleans())
def test_who_is_accepted_is_the_best_by_a_margin_and_above_the_threshold(
    candidates: tuple[Candidate, ...], gallery_size: int, digits_given: bool
) -> None:
    decision = decide(
        LookOutcome.LIVE,
        candidates,
        gallery_size=gallery_size,
        thresholds=THRESHOLDS,
        digits_given=digits_given,
    )
    if isinstance(decision, Accept):
        score = {candidate.token: candidate.score for candidate in candidates}
        others = [value for token, value in score.items() if token != decision.token]
        assert decision.score == score[decision.token] >= (0.4 if digits_given else 0.5)
        assert all(decision.score - other >= 0.05 for other in others)
        assert digits_given or gallery_size <= 1000
    if digits_given:
        assert not isinstance(decision, AskSecondFactor), "digits are asked once, not again"


@given(candidates=CANDIDATES, data=st.data())
def test_the_order_of_candidates_does_not_matter(
    candidates: tuple[Candidate, ...], data: st.DataObject
) -> None:
    shuffled = tuple(data.draw(st.permutations(candidates)))
    first, second = (
        decide(LookOutcome.LIVE, some, gallery_size=10, thresholds=THRESHOLDS)
        for some in (candidates, shuffled)
    )
    assert first == second


@pytest.mark.parametrize("scores", [(0.9, math.nan), (math.nan, 0.9), (0.6, math.nan, 0.9), (math.inf,)])
def test_a_score_that_is_no_number_accepts_nobody(scores: tuple[float, ...]) -> None:
    assert face_alone(*scores) == Refuse(Reason.NOT_RECOGNISED)
    assert with_digits(*scores) == Refuse(Reason.NOT_RECOGNISED)


def test_the_face_alone_is_enough_when_it_is_clear() -> None:
    decision = face_alone(0.71, 0.40)
    assert isinstance(decision, Accept)
    assert (decision.token, decision.score) == ("a", 0.71)
    assert decision.margin == pytest.approx(0.31)


def test_one_person_alone_has_the_whole_range_as_margin() -> None:
    assert face_alone(0.71) == Accept("a", 0.71, 0.71 + 1.0)


@pytest.mark.parametrize("scores", [(0.71, 0.68), (0.45, 0.1)])
def test_two_people_close_or_a_score_in_between_asks_for_digits(scores: tuple[float, ...]) -> None:
    assert face_alone(*scores) == AskSecondFactor(Factor.DIGITS)


def test_a_gallery_too_large_for_the_face_alone_asks_for_digits() -> None:
    assert isinstance(face_alone(0.9, 0.1, gallery_size=1000), Accept)
    assert face_alone(0.9, 0.1, gallery_size=1001) == AskSecondFactor(Factor.DIGITS)


@pytest.mark.parametrize("scores", [(), (0.39,), (-1.0, 0.2)])
def test_nobody_near_enough_is_not_recognised(scores: tuple[float, ...]) -> None:
    assert face_alone(*scores) == Refuse(Reason.NOT_RECOGNISED)
    assert with_digits(*scores) == Refuse(Reason.NOT_RECOGNISED)


def test_with_digits_a_lower_score_is_enough_but_never_a_thin_margin() -> None:
    assert isinstance(with_digits(0.45, 0.2), Accept)
    assert with_digits(0.71, 0.68) == Refuse(Reason.AMBIGUOUS)


def test_the_caps_have_the_last_word() -> None:
    person = Accept("a", 0.9, 0.5)
    over = OverLimit(LimitKind.PER_PAYMENT, Money(100, "CNY"))
    assert within_limits(person, Allowed()) is person
    assert within_limits(person, NeedPin(Money(100, "CNY"))) == AskSecondFactor(Factor.PIN)
    assert within_limits(person, over) == Refuse(Reason.OVER_LIMIT, over)


@pytest.mark.parametrize(
    "wrong",
    [
        {"match": math.nan},
        {"margin": math.inf},
        {"margin": -0.1},
        {"match": 0.3, "match_with_digits": 0.4},
    ],
)
def test_thresholds_that_would_weaken_the_decision_are_refused(wrong: dict[str, float]) -> None:
    sound = {"match": 0.5, "match_with_digits": 0.4, "margin": 0.05, "max_gallery": 10}
    with pytest.raises(ValueError, match=r"threshold|margin"):
        Thresholds(**{**sound, **wrong})  # type: ignore[arg-type]
