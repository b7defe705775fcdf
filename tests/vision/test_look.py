from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.domain.decision import LookOutcome
from kiosk.domain.errors import OperatorError
from kiosk.frames import SourceKind
from kiosk.vision.border import Border
from kiosk.vision.detect import Box, DetectedFace
from kiosk.vision.dynamics import CueName, Reading
from kiosk.vision.landmarks import Landmarks
from kiosk.vision.look import EVIDENCE, FRAME_LLR, Look, LookRules, Motion
from kiosk.vision.models import Role, Threshold, load_manifest
from kiosk.vision.observation import Observation
from kiosk.vision.quality import Hint, Pose

from .scenes import GOOD

RULES = LookRules(
    llr_scale=1.0, llr_offset=0.0, accept_llr=1.0, refuse_llr=-1.0, same_person=0.43, max_frames=20
)
FRAMED = Border(1.2, 1.0, 1.2, 1.3)
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
    blurred = replace(GOOD, score=0.01)
    near = (ANNA + 0.5 * BERT) / np.float32(np.sqrt(1.25))
    seen = [observation(0), observation(1), observation(2, who=near)]
    mean = run(SourceKind.LIVE, *seen)[0].template
    object.__setattr__(seen[2], "quality", blurred)
    assert run(SourceKind.LIVE, *seen)[0].template @ ANNA > mean @ ANNA


def test_a_look_ends_in_time_without_a_face():
    rules = replace(RULES, max_ms=330)
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
        assert result.llr >= RULES.accept_llr
        assert result.frames_used >= (1 if kind is SourceKind.STILL else RULES.min_frames)


logits = st.floats(-12, 12)
grey_or_not = st.lists(logits, min_size=1, max_size=12)


@given(grey_or_not, st.randoms())
def test_the_order_of_frames_does_not_matter_to_their_sum(values, chance):
    mixed = list(values)
    chance.shuffle(mixed)
    assert RULES.evidence(mixed) == RULES.evidence(values)


@given(grey_or_not, st.integers(0, 11), st.floats(0, 12), st.sampled_from(list(SourceKind)))
def test_a_livelier_frame_never_makes_an_attack_of_a_living_person(values, place, more, kind):
    before, _ = run(kind, *(observation(i, x) for i, x in enumerate(values)))
    raised = [x + more if i == place % len(values) else x for i, x in enumerate(values)]
    after, _ = run(kind, *(observation(i, x) for i, x in enumerate(raised)))
    if before.outcome is LookOutcome.LIVE:
        assert after.outcome is LookOutcome.LIVE
    if after.outcome is LookOutcome.ATTACK:
        assert before.outcome is LookOutcome.ATTACK


@given(
    st.lists(logits, min_size=2, max_size=12),
    st.integers(0, 2),
    st.sampled_from([None, math.nan, math.inf, -math.inf]),
    st.sampled_from(list(SourceKind)),
)
def test_a_frame_without_a_number_for_its_liveness_is_never_passed(values, place, missing, kind):
    with_gap = [*values[:place], missing, *values[place:]][: 1 if kind is SourceKind.STILL else None]
    if missing not in with_gap[:3]:
        with_gap[0] = missing
    result, _ = run(kind, *(observation(i, x) for i, x in enumerate(with_gap)))
    assert result.outcome in (LookOutcome.UNSURE, LookOutcome.NO_FACE)
    assert (result.template, result.llr, result.liveness) == (None, None, None)
    assert not result.challengeable


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_template_that_is_no_number_is_nobody_s(place):
    broken = np.full(192, np.nan, np.float32)
    frames = [observation(i, who=broken if i == place else ANNA) for i in range(3)]
    assert run(SourceKind.LIVE, *frames)[0].outcome is LookOutcome.NO_FACE
    result, _ = run(SourceKind.LIVE, *frames, *(observation(i) for i in range(3, 9)))
    assert result.template is not None
    assert np.isfinite(result.template).all()


@given(st.lists(logits, max_size=40), st.sampled_from(list(SourceKind)))
def test_a_look_uses_a_bounded_number_of_frames(values, kind):
    result, frames = run(kind, *(observation(i, x) for i, x in enumerate(values)))
    longest = 1 if kind is SourceKind.STILL else RULES.max_good
    assert result.frames_used <= longest
    assert frames <= longest


@given(logits, st.integers(1, 30), st.floats(0, 1))
def test_frames_that_repeat_each_other_count_for_less_than_their_number(value, count, correlation):
    rules = replace(RULES, correlation=correlation)
    one, many = rules.evidence([value]), rules.evidence([value] * count)
    assert abs(many) >= abs(one) - 1e-9
    assert abs(many) <= count * abs(one) + 1e-9
    assert replace(RULES, correlation=1.0).evidence([value] * count) == pytest.approx(one)


def test_one_frame_counts_no_more_than_its_bound():
    assert RULES.evidence([1000.0]) == FRAME_LLR
    assert RULES.evidence([-1000.0]) == -FRAME_LLR


def test_the_calibration_is_a_scale_and_an_offset():
    assert replace(RULES, llr_scale=2.0, llr_offset=-0.5).evidence([1.0]) == pytest.approx(1.5)


def framed(sequence: int, logit: float, border: Border | None = FRAMED) -> Observation:
    return replace(observation(sequence, logit), border=border)


def test_the_border_of_a_phone_turns_a_doubtful_look_into_an_attack():
    result, frames = run(SourceKind.LIVE, *(framed(i, 0.2) for i in range(5)))
    assert (frames, result.outcome) == (3, LookOutcome.ATTACK)
    border = next(cue for cue in result.cues if cue.name is CueName.BORDER)
    assert (border.reading, border.value) == (Reading.ATTACK, 4.0)
    assert result.llr == pytest.approx(RULES.evidence([0.2] * 3) + border.llr)


def test_a_look_without_cues_reads_them_as_unavailable():
    result, _ = run(SourceKind.LIVE, *(observation(i) for i in range(3)))
    assert [cue.name for cue in result.cues] == list(CueName)
    assert {cue.reading for cue in result.cues} == {Reading.UNAVAILABLE}


def test_a_still_reads_no_cue_even_where_one_is_to_be_seen():
    result, _ = run(SourceKind.STILL, framed(0, LIVE))
    assert result.outcome is LookOutcome.LIVE
    assert {cue.reading for cue in result.cues} == {Reading.UNAVAILABLE}


def test_cues_are_read_of_the_payer_only():
    others = [replace(framed(i, LIVE), embedding=BERT) for i in range(3)]
    seen = [replace(other, hint=Hint.LOOK_HERE) for other in others]
    result, _ = run(SourceKind.LIVE, *seen, *(framed(3 + i, LIVE, None) for i in range(3)))
    assert result.outcome is LookOutcome.LIVE
    assert {cue.reading for cue in result.cues} == {Reading.UNAVAILABLE}


class Moving(Look):
    """A look whose cues say the most that they can for a living person."""

    def _cues(self):
        return tuple(replace(cue, llr=1.4) for cue in super()._cues())


@pytest.mark.parametrize("logit", [-0.05, -0.5, -3.0])
def test_cues_make_no_living_person_of_what_the_network_takes_for_an_attack(logit):
    look = Moving(RULES, SourceKind.LIVE)
    results = [look.feed(observation(i, logit)) for i in range(RULES.max_good)]
    assert results[-1].outcome is not LookOutcome.LIVE


def manifest_with(**thresholds: float):
    manifest = load_manifest()
    given = {name: Threshold(value, "a test") for name, value in thresholds.items()}
    cards = [
        msgspec.structs.replace(card, thresholds=given) if card.role is Role.LIVENESS else card
        for card in manifest.models
    ]
    return msgspec.structs.replace(manifest, models=tuple(cards))


def test_the_rules_are_the_manifests():
    given = {"llr_scale": 2.0, "llr_offset": -0.5, "accept_llr": 5.0, "refuse_llr": -3.0}
    rules = LookRules.of(manifest_with(live=0.9, attack=0.1, **given))
    assert [getattr(rules, name) for name in EVIDENCE] == list(given.values())


@given(st.floats(0.001, 0.999), st.floats(0.001, 0.999), st.floats(0.001, 0.999))
def test_a_network_with_two_scores_only_decides_by_them_on_one_frame(one, other, score):
    attack, live = sorted((one, other))
    rules = LookRules.of(manifest_with(live=live, attack=attack))
    llr = rules.evidence([math.log(score / (1 - score))])
    if score < attack:
        assert llr < 0
    if llr >= rules.accept_llr:
        assert score >= live - 1e-9
    if llr <= rules.refuse_llr:
        assert score <= attack + 1e-9


def test_one_threshold_for_both_still_leaves_a_grey_zone():
    rules = LookRules.from_scores(0.5, 0.5, 0.43)
    assert (rules.accept_llr, rules.refuse_llr) == (1.0, -1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"live": 0.5},
        {"live": 0.2, "attack": 0.4},
        {"live": 1.0, "attack": 0.4},
        {"llr_scale": 1.0, "llr_offset": 0.0, "accept_llr": 1.0},
        {"llr_scale": 0.0, "llr_offset": 0.0, "accept_llr": 1.0, "refuse_llr": -1.0},
    ],
)
def test_a_manifest_that_lacks_numbers_or_has_wrong_ones_is_refused(wrong):
    with pytest.raises(OperatorError):
        LookRules.of(manifest_with(**wrong))


@pytest.mark.parametrize(
    "wrong",
    [
        {"llr_scale": 0.0},
        {"llr_scale": math.nan},
        {"llr_scale": math.inf},
        {"llr_offset": math.nan},
        {"accept_llr": 0.0},
        {"accept_llr": FRAME_LLR + 1},
        {"same_person": math.nan},
        {"same_person": -1.0},
        {"accept_llr": math.nan},
        {"refuse_llr": 0.0},
        {"refuse_llr": -FRAME_LLR - 1},
        {"correlation": 1.1},
        {"min_frames": 0},
        {"min_frames": 6},
        {"max_good": 30},
    ],
)
def test_rules_that_contradict_themselves_are_refused(wrong):
    with pytest.raises(ValueError, match="needs"):
        replace(RULES, **wrong)
