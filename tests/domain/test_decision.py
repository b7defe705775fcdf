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
    FalseMatchBound,
    LookOutcome,
    Reason,
    Refuse,
    Thresholds,
    decide,
    within_limits,
)
from kiosk.domain.limits import Allowed, LimitKind, NeedPin, OverLimit
from kiosk.domain.money import Money

BOUND = FalseMatchBound(cosines=(0.4, 0.5, 0.6), rates=(1e-3, 1e-4, 1e-5))
THRESHOLDS = Thresholds(
    match=0.5, match_with_digits=0.4, margin=0.05, promised_fpir=0.01, false_matches=BOUND
)
SCORES = st.floats(-1, 1) | st.sampled_from([math.nan, math.inf, -math.inf])
CANDIDATES = st.lists(SCORES, max_size=6).map(
    lambda scores: tuple(Candidate(f"p{number}", score) for number, score in enumerate(scores))
)


def people(*scores: float) -> tuple[Candidate, ...]:
    return tuple(Candidate("abcdef"[number], score) for number, score in enumerate(scores))


def rate(cosine: float) -> float:
    """The bound between its points, worked out apart: a tenth less every .1."""
    return min(1e-3, 10 ** (-3 - (cosine - 0.4) / 0.1))


def face_alone(*scores: float, gallery_size: int = 10) -> object:
    return decide(LookOutcome.LIVE, people(*scores), gallery_size=gallery_size, thresholds=THRESHOLDS)


def with_digits(*scores: float, narrowed_to: int = 10) -> object:
    return decide(
        LookOutcome.LIVE,
        people(*scores),
        gallery_size=narrowed_to,
        thresholds=THRESHOLDS,
        digits_given=True,
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
        assert gallery_size <= 1000
        assert max(gallery_size, len(candidates)) * rate(decision.score) <= 0.01 * (1 + 1e-9)
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


@pytest.mark.parametrize(
    ("people_searched", "least"), [(0, 0.5), (1, 0.5), (100, 0.5), (316, 0.55), (1000, 0.6)]
)
def test_the_threshold_grows_with_the_gallery(people_searched: int, least: float) -> None:
    assert THRESHOLDS.match_among(people_searched) == pytest.approx(least, abs=1e-4)
    assert isinstance(face_alone(least + 1e-4, 0.1, gallery_size=people_searched), Accept)
    below = face_alone(least - 1e-4, 0.1, gallery_size=people_searched)
    assert below == AskSecondFactor(Factor.DIGITS)


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_a_larger_gallery_never_takes_a_lower_threshold(one: int, other: int) -> None:
    for digits in (False, True):
        small = THRESHOLDS.match_among(min(one, other), digits_given=digits)
        large = THRESHOLDS.match_among(max(one, other), digits_given=digits)
        assert small is not None
        assert large is not None
        assert small <= large


def test_a_gallery_too_large_for_any_known_threshold_asks_everybody_for_digits() -> None:
    assert isinstance(face_alone(0.9, 0.1, gallery_size=1000), Accept)
    assert face_alone(0.9, 0.1, gallery_size=1001) == AskSecondFactor(Factor.DIGITS)
    assert face_alone(1.0, 0.1, gallery_size=10**6) == AskSecondFactor(Factor.DIGITS)


def test_more_candidates_than_people_said_to_be_searched_count_as_searched() -> None:
    crowd = tuple(Candidate(str(number), 0.1) for number in range(1001))
    best = (Candidate("best", 0.9),)
    decision = decide(LookOutcome.LIVE, best + crowd, gallery_size=1, thresholds=THRESHOLDS)
    assert decision == AskSecondFactor(Factor.DIGITS)


@pytest.mark.parametrize("scores", [(), (0.39,), (-1.0, 0.2)])
def test_nobody_near_enough_is_not_recognised(scores: tuple[float, ...]) -> None:
    assert face_alone(*scores) == Refuse(Reason.NOT_RECOGNISED)
    assert with_digits(*scores) == Refuse(Reason.NOT_RECOGNISED)


def test_with_digits_a_lower_score_is_enough_but_never_a_thin_margin() -> None:
    assert isinstance(with_digits(0.45, 0.2), Accept)
    assert with_digits(0.71, 0.68) == Refuse(Reason.AMBIGUOUS)


def test_with_digits_that_many_people_share_it_takes_more_and_with_too_many_nobody_is_recognised() -> None:
    assert isinstance(with_digits(0.41, 0.2, narrowed_to=10), Accept)
    assert with_digits(0.41, 0.2, narrowed_to=100) == Refuse(Reason.NOT_RECOGNISED)
    assert isinstance(with_digits(0.51, 0.2, narrowed_to=100), Accept)
    assert with_digits(0.99, 0.2, narrowed_to=1001) == Refuse(Reason.NOT_RECOGNISED)


def test_the_caps_have_the_last_word() -> None:
    person = Accept("a", 0.9, 0.5)
    over = OverLimit(LimitKind.PER_PAYMENT, Money(100, "CNY"))
    assert within_limits(person, Allowed()) is person
    assert within_limits(person, NeedPin(Money(100, "CNY"))) == AskSecondFactor(Factor.PIN)
    assert within_limits(person, over) == Refuse(Reason.OVER_LIMIT, over)


def test_someone_with_a_near_double_gives_a_pin_for_every_amount() -> None:
    person = Accept("a", 0.7, 0.3)
    over = OverLimit(LimitKind.PER_PAYMENT, Money(100, "CNY"))
    assert within_limits(person, Allowed(), always_second_factor=True) == AskSecondFactor(Factor.PIN)
    assert within_limits(person, over, always_second_factor=True) == Refuse(Reason.OVER_LIMIT, over)


@pytest.mark.parametrize(
    "wrong",
    [
        {"match": math.nan},
        {"margin": math.inf},
        {"margin": -0.1},
        {"match": 0.3, "match_with_digits": 0.4},
        {"promised_fpir": 0.0},
        {"promised_fpir": 1.0},
        {"promised_fpir": math.nan},
    ],
)
def test_thresholds_that_would_weaken_the_decision_are_refused(wrong: dict[str, float]) -> None:
    sound = {"match": 0.5, "match_with_digits": 0.4, "margin": 0.05, "promised_fpir": 0.01}
    with pytest.raises(ValueError, match=r"threshold|margin"):
        Thresholds(**{**sound, **wrong}, false_matches=BOUND)


@pytest.mark.parametrize(
    ("cosines", "rates"),
    [
        ((0.5,), (1e-4,)),
        ((0.5, 0.6), (1e-4,)),
        ((0.6, 0.5), (1e-4, 1e-5)),
        ((0.5, 0.5), (1e-4, 1e-5)),
        ((0.5, 0.6), (1e-5, 1e-4)),
        ((0.5, 0.6), (1e-4, 1e-4)),
        ((0.5, 0.6), (1e-4, 0.0)),
        ((0.5, 0.6), (2.0, 1e-4)),
        ((0.5, 1.1), (1e-4, 1e-5)),
        ((0.5, math.nan), (1e-4, 1e-5)),
        ((0.5, 0.6), (1e-4, math.nan)),
    ],
)
def test_a_false_match_bound_that_is_not_one_is_refused(
    cosines: tuple[float, ...], rates: tuple[float, ...]
) -> None:
    with pytest.raises(ValueError, match="false match bound"):
        FalseMatchBound(cosines, rates)


@given(st.floats(1e-5, 1.0))
def test_at_the_cosine_for_a_rate_an_impostor_is_that_seldom(wanted: float) -> None:
    cosine = BOUND.cosine_at(wanted)
    assert cosine is not None
    assert rate(cosine) <= wanted * (1 + 1e-9)
    assert BOUND.cosine_at(0.99e-5) is None
