from __future__ import annotations

import itertools
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiosk.domain.challenge import FLASH_COLOURS, Challenge, ChallengeKind, ChallengeOutcome, Colour
from kiosk.vision.challenge import ChallengeRules, Examiner, draw
from kiosk.vision.colour import FaceColour
from kiosk.vision.landmarks import Landmarks
from kiosk.vision.quality import Hint, Pose

from .payers import ANNA, BERT, nobody, seen

LEFT = Challenge(ChallengeKind.TURN_LEFT)
RIGHT = Challenge(ChallengeKind.TURN_RIGHT)
BLINK = Challenge(ChallengeKind.BLINK, timeout_ms=3_000)
PASSED, FAILED, INCONCLUSIVE = ChallengeOutcome


def examiner(challenge, reference=ANNA):
    return Examiner(challenge, ChallengeRules(), reference=reference, same_person=0.43, asked_ns=0)


def answer(challenge, observations, reference=ANNA):
    examined = examiner(challenge, reference)
    for observation in observations:
        outcome = examined.feed(observation)
        if outcome is not None:
            return outcome
    return examined.finish()


def turning(to, *, begins=600, lasts=500, every=33, **looks):
    """Frames of a head that turns from 0 to `to` degrees and stays there."""
    for at in range(0, 2_500, every):
        yield seen(at, yaw=to * float(np.clip((at - begins) / lasts, 0, 1)), **looks)


def flash(seed):
    return draw([ChallengeKind.FLASH], Random(seed).randrange)


# --- what is asked --------------------------------------------------------------------------------------


def test_every_kind_is_drawn_and_only_those_that_may_be():
    kinds = [ChallengeKind.TURN_LEFT, ChallengeKind.FLASH]
    assert {draw(kinds).kind for _ in range(60)} == set(kinds)


def test_nothing_to_draw_from_is_refused():
    with pytest.raises(ValueError, match="no kind"):
        draw([])


@given(st.integers(0, 2**32))
def test_a_flash_shows_every_colour_none_twice_in_a_row_and_never_alternates_red(seed):
    challenge = flash(seed)
    assert set(challenge.colours) == set(FLASH_COLOURS)
    assert all(one != other for one, other in itertools.pairwise(challenge.colours))
    reds = [i for i, colour in enumerate(challenge.colours) if colour == FLASH_COLOURS[0]]
    assert all(later - earlier >= 3 for earlier, later in itertools.pairwise(reds))


@given(st.integers(0, 2**32))
def test_a_flash_stays_far_below_three_flashes_a_second(seed):
    """WCAG 2.3.1: a flash is a pair of changes."""
    challenge = flash(seed)
    changes_a_second = 1_000 / challenge.step_ms
    assert changes_a_second / 2 <= 1.5
    assert challenge.timeout_ms > len(challenge.colours) * challenge.step_ms


def test_sequences_hardly_repeat():
    drawn = [draw([ChallengeKind.FLASH]).colours for _ in range(200)]
    assert len(set(drawn)) > 180


# --- the turn -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("challenge", "degrees"), [(LEFT, 25), (RIGHT, -25), (LEFT, 60), (RIGHT, -17)])
@pytest.mark.parametrize("every", [33, 66])
def test_a_turn_in_the_asked_direction_passes(challenge, degrees, every):
    assert answer(challenge, turning(degrees, every=every)) is PASSED


@pytest.mark.parametrize(("challenge", "degrees"), [(LEFT, -25), (RIGHT, 25), (LEFT, -9)])
def test_a_turn_in_the_other_direction_fails(challenge, degrees):
    assert answer(challenge, turning(degrees)) is FAILED


def test_the_wrong_direction_first_fails_though_the_right_one_follows():
    there = list(turning(-20, begins=300, lasts=300))
    back = [seen(o.timestamp_ns / 1e6 + 2_500, yaw=25) for o in there]
    assert answer(LEFT, there + back) is FAILED


@pytest.mark.parametrize("degrees", [0, 5, 12])
def test_who_does_not_turn_far_enough_has_not_answered(degrees):
    assert answer(LEFT, turning(degrees)) is INCONCLUSIVE


def test_a_sheet_that_is_turned_fails():
    assert answer(LEFT, turning(30, flat=True)) is FAILED


def test_a_turn_before_anyone_can_react_fails():
    assert answer(LEFT, turning(25, begins=0, lasts=150)) is FAILED


def test_a_head_that_is_turned_already_has_to_come_back_first():
    assert answer(LEFT, (seen(t, yaw=30) for t in range(0, 5_100, 33))) is INCONCLUSIVE
    back = [seen(t, yaw=max(30 - t / 10, 0.0)) for t in range(0, 600, 33)]
    again = [seen(t, yaw=min((t - 600) / 20, 30.0)) for t in range(600, 2_500, 33)]
    assert answer(LEFT, back + again) is PASSED


def test_a_cut_from_frontal_to_turned_fails():
    assert answer(LEFT, turning(25, begins=600, lasts=1)) is FAILED


def test_one_stray_frame_is_no_turn():
    frames = [seen(t, yaw=16 if t == 990 else 4) for t in range(0, 2_500, 33)]
    assert answer(LEFT, frames) is INCONCLUSIVE


def test_a_turn_after_the_time_is_up_does_not_count():
    assert answer(replace(LEFT, timeout_ms=1_000), turning(25, begins=1_100)) is INCONCLUSIVE


def test_frames_from_before_the_request_are_no_answer():
    examined = examiner(LEFT)
    examined.shown(0, 10_000_000_000)
    assert all(examined.feed(o) is None for o in turning(30))


@given(st.lists(st.floats(-60, 60), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_one_sequence_of_poses_never_passes_left_and_right(yaws):
    frames = [seen(33 * i, yaw=yaw) for i, yaw in enumerate(yaws)]
    assert [answer(c, frames) for c in (LEFT, RIGHT)] != [PASSED, PASSED]


# --- the blink ------------------------------------------------------------------------------------------


def blinking(at, lasts, *, openness=0.08, every=33, **looks):
    for t in range(0, 2_900, every):
        yield seen(t, openness=openness if at <= t < at + lasts else 0.3, **looks)


@pytest.mark.parametrize(("lasts", "every"), [(100, 33), (200, 33), (500, 33), (200, 66)])
def test_a_blink_after_the_request_passes(lasts, every):
    assert answer(BLINK, blinking(900, lasts, every=every)) is PASSED


@pytest.mark.parametrize("lasts", [0, 1_200, 5_000])
def test_eyes_that_stay_open_or_stay_closed_are_no_blink(lasts):
    assert answer(BLINK, blinking(900, lasts)) is INCONCLUSIVE


def test_a_blink_that_was_under_way_is_no_answer():
    assert answer(BLINK, blinking(100, 150)) is INCONCLUSIVE


def test_lids_that_come_down_a_little_are_no_blink():
    assert answer(BLINK, blinking(900, 200, openness=0.24)) is INCONCLUSIVE


def test_looking_down_is_no_blink():
    frames = [
        seen(t, openness=0.1 if 900 <= t < 1_200 else 0.3, pitch=-20 if 900 <= t < 1_200 else 0)
        for t in range(0, 2_900, 33)
    ]
    assert answer(BLINK, frames) is INCONCLUSIVE


# --- the flash ------------------------------------------------------------------------------------------


def linear(colour: Colour) -> np.ndarray:
    return (np.array(colour) / 255) ** 2.2


def flashing(
    shown: tuple[Colour, ...],
    step_ms: float,
    *,
    share: float = 0.3,
    behind: float = 0.05,
    latency_ms: float = 60,
    every: float = 33,
    noise: float = 0.002,
    exposure: float = 0.0,
    until_ms: float | None = None,
    skin: tuple[float, float, float] = (1, 1, 1),
    **looks,
):
    """Frames of a face that the screen lights with `shown`, `share` of the room's light each."""
    rng = np.random.default_rng(4)
    until = until_ms or len(shown) * step_ms + 400
    for at in np.arange(0, until, every):
        number = int((at - latency_ms) // step_ms)
        light = linear(shown[number]) if 0 <= number < len(shown) else np.full(3, 0.5)
        gain = np.exp(exposure * np.sin(at / 300) + np.array([0.1, 0, -0.1]) * at / 3_000)
        face = np.array([0.4, 0.26, 0.2]) * (1 + share * np.outer(skin, light)) * gain
        wall = np.array([0.3, 0.3, 0.28]) * (1 + behind * light) * gain
        face, wall = (x * np.exp(rng.normal(0, noise, x.shape)) for x in (face, wall))
        yield seen(at, colour=FaceColour(face.astype(np.float32), wall.astype(np.float32), 0.0), **looks)


def flash_answer(challenge: Challenge, frames):
    examined = examiner(challenge)
    for index in range(len(challenge.colours)):
        examined.shown(index, round(index * challenge.step_ms * 1e6))
    for frame in frames:
        outcome = examined.feed(frame)
        if outcome is not None:
            return outcome
    return examined.finish()


@given(
    st.integers(0, 2**32),
    st.floats(0.06, 0.8),
    st.floats(0, 200),
    st.sampled_from([33.3, 50, 66.7]),
    st.floats(0, 0.3),
)
@settings(max_examples=40, deadline=None)
def test_a_face_that_follows_the_shown_colours_passes(seed, share, latency, every, exposure):
    """Whatever the room's light, the latency, the frame rate and an exposure that breathes."""
    challenge = flash(seed)
    frames = flashing(
        challenge.colours,
        challenge.step_ms,
        share=share,
        behind=share / 8,
        latency_ms=latency,
        every=every,
        exposure=exposure,
    )
    assert flash_answer(challenge, frames) is PASSED


@given(st.integers(0, 2**32), st.floats(0.06, 0.8), st.floats(0, 200))
@settings(max_examples=40, deadline=None)
def test_a_face_that_follows_any_other_order_does_not_pass(seed, share, latency):
    challenge = flash(seed)
    other = list(challenge.colours)
    while tuple(other) == challenge.colours:
        Random(seed).shuffle(other)
        seed += 1
    frames = flashing(tuple(other), challenge.step_ms, share=share, behind=share / 8, latency_ms=latency)
    assert flash_answer(challenge, frames) is not PASSED


def test_the_flash_of_an_older_session_fails():
    challenge, older = flash(1), flash(2)
    assert flash_answer(challenge, flashing(older.colours, older.step_ms)) is FAILED


CHALLENGE = flash(1)


@pytest.mark.parametrize(
    "how",
    [
        {"share": 0.0, "behind": 0.0},
        {"share": 0.3, "behind": 0.3},
        {"share": 0.05, "behind": 0.3},
        {"share": 0.005, "behind": 0.0},
        {"skin": (1.0, 0.05, 0.05)},
        {"every": 200},
    ],
    ids=[
        "none",
        "as the background",
        "less than the background",
        "hardly",
        "one patch only",
        "too few frames",
    ],
)
def test_a_response_that_is_not_a_near_lit_face_does_not_pass(how):
    assert flash_answer(CHALLENGE, flashing(CHALLENGE.colours, CHALLENGE.step_ms, **how)) is not PASSED


def test_a_response_that_comes_too_late_does_not_pass():
    frames = flashing(CHALLENGE.colours, CHALLENGE.step_ms, latency_ms=600)
    assert flash_answer(CHALLENGE, frames) is not PASSED


def test_a_flash_that_the_screen_did_not_finish_is_inconclusive():
    examined = examiner(CHALLENGE)
    for index in range(4):
        examined.shown(index, round(index * CHALLENGE.step_ms * 1e6))
    outcomes = [examined.feed(f) for f in flashing(CHALLENGE.colours, CHALLENGE.step_ms)]
    assert set(outcomes) == {None}
    assert examined.finish() is INCONCLUSIVE


@pytest.mark.parametrize("order", [(1, 0, 2, 3, 4, 5, 6), (0, 0, 1, 2, 3, 4, 5, 6), (0, 2, 3, 4, 5, 6, 7)])
def test_a_screen_that_showed_another_order_asked_nothing(order):
    examined = examiner(CHALLENGE)
    for number, index in enumerate(order):
        examined.shown(index, round(number * CHALLENGE.step_ms * 1e6))
    for frame in flashing(CHALLENGE.colours, CHALLENGE.step_ms):
        examined.feed(frame)
    assert examined.finish() is INCONCLUSIVE


def test_another_sequence_on_a_head_that_turns_settles_nothing():
    frames = list(flashing(flash(2).colours, CHALLENGE.step_ms))
    assert flash_answer(CHALLENGE, frames) is FAILED
    turned = [replace(f, pose=Pose(25 if 900 < f.timestamp_ns / 1e6 < 1_800 else 0, 0, 0)) for f in frames]
    assert flash_answer(CHALLENGE, turned) is INCONCLUSIVE


def test_a_face_without_a_background_is_not_judged():
    def close(frame):
        return replace(frame, colour=replace(frame.colour, background=np.full(3, np.nan, np.float32)))

    frames = (close(f) for f in flashing(CHALLENGE.colours, CHALLENGE.step_ms))
    assert flash_answer(CHALLENGE, frames) is INCONCLUSIVE


# --- who answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [LEFT, RIGHT, BLINK, CHALLENGE], ids=lambda c: c.kind.value)
def test_another_face_halfway_fails(asked):
    frames = [seen(t, who=ANNA if t < 500 else BERT) for t in range(0, 1_000, 33)]
    assert flash_answer(asked, frames) is FAILED if asked is CHALLENGE else answer(asked, frames) is FAILED


def test_somebody_other_than_the_one_who_was_looked_at_fails():
    assert answer(LEFT, turning(25, who=BERT)) is FAILED


def test_without_a_reference_the_first_face_is_it():
    assert answer(LEFT, turning(25), reference=None) is PASSED
    frames = [seen(t, who=ANNA if t < 500 else BERT) for t in range(0, 1_000, 33)]
    assert answer(LEFT, frames, reference=None) is FAILED


def test_an_answer_by_a_face_that_was_never_compared_does_not_pass():
    assert answer(LEFT, turning(25, who=None)) is INCONCLUSIVE
    assert answer(LEFT, turning(25, hint=Hint.MORE_LIGHT), reference=None) is INCONCLUSIVE


@pytest.mark.parametrize(
    "hint",
    [Hint.CLOSE_MOUTH, Hint.OPEN_EYES, Hint.EVEN_LIGHT, Hint.LOOK_HERE, Hint.MORE_LIGHT, Hint.HOLD_STILL],
)
@pytest.mark.parametrize("asked", [LEFT, BLINK, CHALLENGE], ids=lambda c: c.kind.value)
def test_a_face_that_takes_a_picture_s_place_can_t_answer_for_it_by_hiding_from_the_comparison(asked, hint):
    """A print of Anna is lowered once it was recognised; behind it Bert, with his mouth open, say."""
    if asked is CHALLENGE:
        frames = list(flashing(asked.colours, asked.step_ms))
        answered = flash_answer
    else:
        frames = list(turning(25) if asked is LEFT else blinking(900, 200))
        answered = answer
    swapped = [f if f.timestamp_ns < 5e8 else replace(f, embedding=BERT, hint=hint) for f in frames]
    assert answered(asked, swapped) is not PASSED


def test_who_answers_is_compared_while_answering():
    """The last frame that could be compared is too long ago: since then it may have become another."""
    frames = [f if f.timestamp_ns < 5e8 else replace(f, embedding=None) for f in turning(25, begins=1_700)]
    assert answer(LEFT, frames) is not PASSED


def test_one_frame_that_can_t_be_compared_is_nothing_contrary():
    blurred = [
        replace(f, embedding=BERT, hint=Hint.HOLD_STILL) if i % 3 == 0 else f
        for i, f in enumerate(turning(25))
    ]
    assert answer(LEFT, blurred) is PASSED


def test_a_second_face_fails():
    assert answer(LEFT, [seen(0), nobody(33, Hint.ONE_PERSON)]) is FAILED


def test_a_face_that_jumps_across_the_picture_fails():
    assert answer(LEFT, [seen(0), seen(33, x=480)]) is FAILED


def test_a_face_that_was_away_has_not_answered():
    assert answer(LEFT, [seen(0), *(nobody(t) for t in range(33, 800, 33))]) is INCONCLUSIVE
    assert answer(LEFT, [seen(0), seen(900)]) is INCONCLUSIVE


def test_nobody_has_not_answered():
    assert answer(LEFT, (nobody(t) for t in range(0, 6_000, 33))) is INCONCLUSIVE
    assert answer(LEFT, []) is INCONCLUSIVE


# --- hostile input --------------------------------------------------------------------------------------


def test_a_clock_that_runs_backwards_fails():
    assert answer(LEFT, [seen(100), seen(50)]) is FAILED


def test_an_outcome_is_kept():
    examined = examiner(LEFT)
    examined.feed(seen(100))
    assert examined.feed(seen(50)) is FAILED
    assert examined.feed(seen(200, yaw=30)) is FAILED
    assert examined.finish() is FAILED
    assert examined.progress == 1.0


@pytest.mark.parametrize("asked", [LEFT, BLINK, CHALLENGE], ids=lambda c: c.kind.value)
@pytest.mark.parametrize(
    "damage",
    [
        {"landmarks": None},
        {"landmarks": Landmarks(np.full((468, 3), np.nan, np.float32), 1.0)},
        {"landmarks": Landmarks(np.zeros((468, 3), np.float32), 1.0)},
        {"landmarks": Landmarks(np.zeros((468, 3), np.float32), float("nan"))},
        {"pose": None},
        {"pose": Pose(float("nan"), 0, 0)},
        {"pose": Pose(0, float("inf"), 0)},
        {"embedding": np.full(192, np.nan, np.float32)},
        {"colour": None},
        {"colour": FaceColour(np.full((3, 3), np.nan, np.float32), np.zeros(3, np.float32), 0.0)},
        {"colour": FaceColour(np.zeros((3, 3), np.float32), np.zeros(3, np.float32), 1.0)},
    ],
    ids=lambda d: next(iter(d)),
)
def test_frames_that_measured_nothing_never_pass(asked, damage):
    frames = flashing(CHALLENGE.colours, CHALLENGE.step_ms)
    examined = [replace(f, **damage) for f in frames]
    outcome = flash_answer(asked, examined) if asked is CHALLENGE else answer(asked, examined)
    assert outcome is not PASSED


@given(
    st.lists(
        st.tuples(
            st.integers(-50, 200),
            st.one_of(st.floats(-90, 90), st.just(float("nan"))),
            st.sampled_from([ANNA, BERT, None]),
            st.floats(0, 1000),
        ),
        max_size=40,
    ),
    st.sampled_from([LEFT, RIGHT, BLINK, CHALLENGE]),
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_fed_there_is_an_outcome_and_the_hint_and_progress_make_sense(frames, asked):
    examined, at = examiner(asked), 0
    for step, yaw, who, x in frames:
        at += step
        examined.feed(seen(at, yaw=yaw, who=who, x=x))
        assert 0.0 <= examined.progress <= 1.0
        assert examined.hint is None or examined.hint in Hint
    assert examined.finish() in ChallengeOutcome


def test_a_turned_head_is_not_told_to_look_here():
    examined = examiner(LEFT)
    for frame in turning(30):
        if examined.feed(replace(frame, hint=Hint.LOOK_HERE if frame.pose.yaw > 12 else None)):
            break
        assert examined.hint is None
