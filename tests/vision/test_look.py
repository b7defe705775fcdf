from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain.decision import LookOutcome
from kiosk.frames import SourceKind
from kiosk.vision.detect import Box, DetectedFace
from kiosk.vision.landmarks import Landmarks
from kiosk.vision.look import Look, LookRules, Motion
from kiosk.vision.observation import Observation
from kiosk.vision.quality import Hint, Pose, Quality

RULES = LookRules(live=0.7, attack=0.3, same_person=0.43, max_frames=20)
GOOD = Quality(200, 80, 0.4, 14, 115, 0.0, 1.0)
FACE = DetectedFace(Box(0, 0, 200, 200), 0.9, np.zeros((6, 2), np.float32))
ANNA, BERT = np.eye(192, dtype=np.float32)[:2]
LIVE, ATTACK, GREY = 3.0, -3.0, 0.0


def observation(
    sequence: int = 0, logit: float | None = LIVE, hint: Hint | None = None, who: np.ndarray | None = ANNA
) -> Observation:
    mesh = np.full((468, 3), sequence, np.float32)
    return Observation(
        sequence,
        sequence * 33_000_000,
        640,
        480,
        (FACE,),
        hint,
        Landmarks(mesh, 1.0),
        Pose(0, 0, 0),
        GOOD,
        who,
        logit,
        timings_ms={"detect": 1.0},
    )


def run(kind: SourceKind, *observations: Observation, rules: LookRules = RULES):
    look = Look(rules, kind)
    for number, seen in enumerate(observations, start=1):
        result = look.feed(seen)
        if result is not None:
            return result, number
    return look.finish(), len(observations)


def test_three_good_frames_of_a_living_person_decide():
    result, frames = run(SourceKind.LIVE, *(observation(i) for i in range(9)))
    assert frames == 3
    assert result.outcome is LookOutcome.LIVE
    assert result.template == pytest.approx(ANNA)
    assert result.motion is Motion.SEEN
    assert result.liveness == pytest.approx(1 / (1 + np.exp(-3)))
    assert result.timings_ms == {"detect": 3.0}
    assert (result.frames_used, result.frames_seen) == (3, 3)


def test_one_frame_of_a_still_decides_and_shows_no_motion():
    result, frames = run(SourceKind.STILL, observation(0))
    assert (frames, result.outcome, result.motion) == (1, LookOutcome.LIVE, Motion.UNAVAILABLE)


def test_a_recording_never_shows_motion():
    result, _ = run(SourceKind.RECORDED, *(observation(i) for i in range(9)))
    assert (result.outcome, result.motion) == (LookOutcome.LIVE, Motion.UNAVAILABLE)


def test_a_camera_that_repeats_one_frame_is_never_live():
    result, _ = run(SourceKind.LIVE, *(observation(0) for _ in range(9)))
    assert (result.outcome, result.motion) == (LookOutcome.UNSURE, Motion.ABSENT)
    assert result.template is None
    assert not result.challengeable


@pytest.mark.parametrize("kind", list(SourceKind))
def test_an_attack_is_called_one_and_gives_no_template(kind):
    result, _ = run(kind, *(observation(i, ATTACK) for i in range(9)))
    assert result.outcome is LookOutcome.ATTACK
    assert result.template is None


def test_the_grey_zone_takes_more_frames_and_ends_unsure():
    result, frames = run(SourceKind.LIVE, *(observation(i, GREY) for i in range(9)))
    assert (frames, result.outcome) == (5, LookOutcome.UNSURE)
    assert result.challengeable


def test_later_frames_can_lead_out_of_the_grey_zone():
    logits = (GREY, GREY, GREY, LIVE, LIVE)
    result, frames = run(SourceKind.LIVE, *(observation(i, x) for i, x in enumerate(logits)))
    assert (frames, result.outcome) == (5, LookOutcome.LIVE)


def test_one_living_frame_does_not_outweigh_an_attack():
    logits = (LIVE, ATTACK, ATTACK)
    result, _ = run(SourceKind.LIVE, *(observation(i, x) for i, x in enumerate(logits)))
    assert result.outcome is LookOutcome.ATTACK


@pytest.mark.parametrize("kind", list(SourceKind))
def test_liveness_that_was_not_measured_is_not_passed(kind):
    result, _ = run(kind, *(observation(i, None) for i in range(9)))
    assert result.outcome is LookOutcome.UNSURE
    mixed = [observation(i, LIVE if i else None) for i in range(3)]
    assert run(SourceKind.LIVE, *mixed)[0].outcome is LookOutcome.UNSURE


def test_two_faces_stop_the_look_at_once():
    crowd = observation(1, None, Hint.ONE_PERSON, None)
    result, frames = run(SourceKind.LIVE, observation(0), crowd, observation(2))
    assert (frames, result.outcome) == (2, LookOutcome.TWO_FACES)
    assert result.template is None


def test_frames_with_a_hint_do_not_count():
    bad = [observation(i, LIVE, Hint.CLOSER) for i in range(5)]
    result, frames = run(SourceKind.LIVE, *bad, *(observation(5 + i) for i in range(3)))
    assert (frames, result.outcome, result.frames_used) == (8, LookOutcome.LIVE, 3)


def test_another_persons_face_begins_the_look_again():
    living = [observation(0), observation(1)]
    picture = [observation(2 + i, ATTACK, who=BERT) for i in range(3)]
    result, frames = run(SourceKind.LIVE, *living, *picture)
    assert (frames, result.outcome, result.frames_used) == (5, LookOutcome.ATTACK, 3)


def test_a_template_never_mixes_two_people():
    frames = [observation(i, who=(ANNA, BERT)[i % 2]) for i in range(20)]
    result, _ = run(SourceKind.LIVE, *frames)
    assert result.outcome is LookOutcome.NO_FACE


def test_better_frames_weigh_more():
    blurred = Quality(200, 80, 0.4, 4.5, 115, 0.3, 0.6)
    near = (ANNA + 0.5 * BERT) / np.float32(np.sqrt(1.25))
    seen = [observation(0), observation(1), observation(2, who=near)]
    mean = run(SourceKind.LIVE, *seen)[0].template
    object.__setattr__(seen[2], "quality", blurred)
    assert run(SourceKind.LIVE, *seen)[0].template @ ANNA > mean @ ANNA


def test_a_look_ends_in_time_without_a_face():
    rules = LookRules(live=0.7, attack=0.3, same_person=0.43, max_ms=330)
    empty = (observation(i, None, Hint.LOOK_HERE, None) for i in range(99))
    result, frames = run(SourceKind.LIVE, *empty, rules=rules)
    assert (frames, result.outcome) == (11, LookOutcome.NO_FACE)


def test_a_look_ends_after_so_many_frames_whatever_the_clock_says():
    stuck = [observation(0, None, Hint.LOOK_HERE, None)] * 99
    result, frames = run(SourceKind.LIVE, *stuck)
    assert (frames, result.outcome) == (RULES.max_frames, LookOutcome.NO_FACE)


def test_an_answer_stays():
    look = Look(RULES, SourceKind.STILL)
    first = look.feed(observation(0))
    assert look.feed(observation(1, ATTACK)) is first
    assert look.finish() is first
    assert look.progress == 1.0


def test_progress_grows_with_good_frames_and_the_hint_is_the_latest():
    look = Look(RULES, SourceKind.LIVE)
    assert look.progress == 0.0
    look.feed(observation(0))
    assert look.progress == pytest.approx(1 / 3)
    look.feed(observation(1, LIVE, Hint.MORE_LIGHT))
    assert (look.progress, look.hint) == (pytest.approx(1 / 3), Hint.MORE_LIGHT)


@given(
    st.lists(
        st.tuples(st.sampled_from([LIVE, ATTACK, GREY, None]), st.sampled_from([None, *Hint]), st.booleans()),
        max_size=30,
    ),
    st.sampled_from(list(SourceKind)),
)
def test_a_template_comes_only_from_frames_that_were_measured_live(frames, kind):
    seen = [observation(i, x, hint, ANNA if known else None) for i, (x, hint, known) in enumerate(frames)]
    result, _ = run(kind, *seen)
    assert (result.template is not None) == (result.outcome is LookOutcome.LIVE)
    if result.outcome is LookOutcome.LIVE:
        assert result.liveness >= RULES.live
        assert result.frames_used >= (1 if kind is SourceKind.STILL else RULES.min_frames)


@pytest.mark.parametrize(
    "wrong",
    [{"live": 0.2}, {"attack": 0.0}, {"live": 1.0}, {"min_frames": 0}, {"min_frames": 6}, {"max_good": 30}],
)
def test_rules_that_contradict_themselves_are_refused(wrong):
    with pytest.raises(ValueError, match="needs"):
        LookRules(**{"live": 0.7, "attack": 0.3, "same_person": 0.4, "max_frames": 20, **wrong})
