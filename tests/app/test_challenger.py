"""The challenges of a look: what is asked, what an answer is worth, and that nothing is left of the face."""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from kiosk.app.challenger import Answered, Challenger
from kiosk.app.kernel import LookChallenge, LookDone
from kiosk.app.look import CameraLooker
from kiosk.domain.challenge import Challenge, ChallengeKind, ChallengeOutcome
from kiosk.domain.decision import LookOutcome
from kiosk.domain.errors import OperatorError
from kiosk.frames import Frame, SourceKind
from kiosk.vision.look import LookResult, Motion
from kiosk.vision.observation import Observation
from kiosk.vision.quality import Hint

from .test_look import EndlessWall

PASSED, FAILED, INCONCLUSIVE = ChallengeOutcome
EVERY_KIND = tuple(ChallengeKind)
TURNS = (ChallengeKind.TURN_LEFT, ChallengeKind.TURN_RIGHT)
FLASH, BLINK = ChallengeKind.FLASH, ChallengeKind.BLINK
FACE = np.full(192, 192**-0.5, np.float32)


def found(outcome: LookOutcome, *, challengeable: bool | None = None) -> LookResult:
    unsure = outcome is LookOutcome.UNSURE
    return LookResult(
        outcome, 5, 5, Motion.SEEN, challengeable=unsure if challengeable is None else challengeable
    )


GREY, LIVE = found(LookOutcome.UNSURE), found(LookOutcome.LIVE)


def observation(number: int, embedding: np.ndarray | None = None) -> Observation:
    return Observation(number, number * 33_000_000, 640, 480, (), None, embedding=embedding)


@dataclass
class Examiners:
    """Stands for the examiner; its verdict on each challenge in turn comes with the third frame."""

    verdicts: list[ChallengeOutcome]
    made: list[dict[str, object]] = field(default_factory=list)
    shown_to: list[tuple[int, int]] = field(default_factory=list)
    hint: Hint | None = None
    progress: float = 0.5
    flash: None = None

    def __call__(self, challenge: Challenge, rules: object, **given: object) -> Examiners:
        self.made.append(given | {"challenge": challenge})
        self.frames = 0
        return self

    def shown(self, index: int, at_ns: int) -> None:
        self.shown_to.append((index, at_ns))

    def feed(self, observation: Observation) -> ChallengeOutcome | None:
        self.frames += 1
        return self.verdicts[len(self.made) - 1] if self.frames >= 3 else None

    def finish(self) -> ChallengeOutcome:
        return INCONCLUSIVE


@pytest.fixture
def examiners(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Examiners]:
    def script(*verdicts: ChallengeOutcome) -> Examiners:
        examiners = Examiners(list(verdicts))
        monkeypatch.setattr("kiosk.app.challenger.Examiner", examiners)
        return examiners

    return script


@dataclass
class Payer:
    """Who is challenged: `asked` are the requests, and they are on the screen at once."""

    kinds: tuple[ChallengeKind, ...] = TURNS
    always: bool = False
    stopped: bool = False
    sees: bool = True
    asked: list[Challenge] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.template = FACE.copy()
        self.challenger = Challenger(
            self.ask,
            kinds=self.kinds,
            always=self.always,
            same_person=0.4,
            stopped=lambda: self.stopped,
        )

    def ask(self, challenge: Challenge) -> None:
        self.asked.append(challenge)
        if self.sees:
            self.challenger.shown(challenge, 0, 1_000)

    def watch(self, take: Callable[[Observation], bool], most_s: float) -> None:
        assert 0 < most_s < 20
        for number in range(10):
            if take(observation(number)):
                break

    def settle(self, result: LookResult, source: SourceKind = SourceKind.LIVE) -> LookResult:
        return self.challenger.settle(result, self.template, source, self.watch)


def test_a_challenge_that_was_passed_makes_the_look_live_with_the_look_s_own_face(examiners) -> None:
    made, payer = examiners(PASSED), Payer()
    result = payer.settle(GREY)
    assert result.outcome is LookOutcome.LIVE
    assert result.template is payer.template
    assert result.template == pytest.approx(FACE)
    assert made.made[0]["reference"] is payer.template, "the same person has to answer"
    assert made.shown_to == [(0, 1_000)]
    assert payer.challenger.answered == [Answered(payer.asked[0].kind, PASSED)]


def test_a_challenge_that_was_failed_is_an_attack_and_nothing_more_is_asked(examiners) -> None:
    examiners(FAILED, PASSED)
    payer = Payer()
    result = payer.settle(GREY)
    assert (result.outcome, result.template) == (LookOutcome.ATTACK, None)
    assert len(payer.asked) == 1
    assert not payer.template.any()


def asked(payer: Payer) -> list[ChallengeKind]:
    return [challenge.kind for challenge in payer.asked]


def is_turn(kind: ChallengeKind) -> bool:
    return kind in TURNS


def test_a_turn_and_a_flash_have_to_be_passed_and_which_comes_first_is_drawn(examiners) -> None:
    firsts = set()
    for _ in range(40):
        examiners(PASSED, PASSED)
        payer = Payer(EVERY_KIND)
        assert payer.settle(GREY).outcome is LookOutcome.LIVE
        assert sorted(map(is_turn, asked(payer))) == [False, True]
        assert BLINK not in asked(payer)
        firsts.add(asked(payer)[0])
    assert firsts == {*TURNS, FLASH}


@pytest.mark.parametrize("kinds", [EVERY_KIND, (*TURNS, BLINK), (FLASH, BLINK)])
@pytest.mark.parametrize(
    ("last", "outcome"), [(FAILED, LookOutcome.ATTACK), (INCONCLUSIVE, LookOutcome.UNSURE)]
)
def test_one_proof_of_two_makes_nobody_live(examiners, kinds, last, outcome) -> None:
    for _ in range(20):
        examiners(PASSED, last, last)
        payer = Payer(kinds)
        assert payer.settle(GREY).outcome is outcome
        assert not payer.template.any()


def test_without_a_screen_a_turn_is_followed_by_a_blink(examiners) -> None:
    examiners(PASSED, PASSED)
    payer = Payer((*TURNS, BLINK))
    assert payer.settle(GREY).outcome is LookOutcome.LIVE
    assert list(map(is_turn, asked(payer))) == [True, False]


def test_a_flash_that_settled_nothing_gives_way_to_a_blink(examiners) -> None:
    """By a sunny window no screen lights a face."""
    for _ in range(20):
        examiners(INCONCLUSIVE, PASSED, PASSED)
        payer = Payer(EVERY_KIND)
        result = payer.settle(GREY)
        if asked(payer)[0] is FLASH:
            assert result.outcome is LookOutcome.LIVE
            assert list(map(is_turn, asked(payer))) == [False, True, False]
            assert asked(payer)[2] is BLINK
        else:
            assert (result.outcome, len(payer.asked)) == (LookOutcome.UNSURE, 1), "never the other turn"


@pytest.mark.parametrize("kinds", [(BLINK,), (FLASH,)])
def test_a_blink_or_a_flash_by_itself_is_never_asked_for(examiners, kinds) -> None:
    examiners(PASSED)
    payer = Payer(kinds)
    assert payer.settle(GREY).outcome is LookOutcome.UNSURE
    assert payer.asked == []


@pytest.mark.parametrize(("hint", "told"), [(Hint.CLOSER, Hint.CLOSER), (Hint.OPEN_EYES, None), (None, None)])
def test_what_a_request_itself_brings_about_is_no_hint(examiners, hint, told) -> None:
    examiners(PASSED).hint = hint
    heard = []
    payer = Payer()
    payer.challenger._on_progress = lambda hint, progress: heard.append(hint)
    payer.settle(GREY)
    assert set(heard) == {told}


@pytest.mark.parametrize(
    ("result", "source", "kinds"),
    [
        (LIVE, SourceKind.LIVE, EVERY_KIND),
        (found(LookOutcome.ATTACK), SourceKind.LIVE, EVERY_KIND),
        (found(LookOutcome.NO_FACE), SourceKind.LIVE, EVERY_KIND),
        (found(LookOutcome.TWO_FACES), SourceKind.LIVE, EVERY_KIND),
        (found(LookOutcome.UNSURE, challengeable=False), SourceKind.LIVE, EVERY_KIND),
        (GREY, SourceKind.RECORDED, EVERY_KIND),
        (GREY, SourceKind.STILL, EVERY_KIND),
        (GREY, SourceKind.LIVE, ()),
        (LIVE, SourceKind.STILL, ()),
    ],
)
@pytest.mark.parametrize("always", [False, True])
def test_what_no_challenge_can_settle_stays_as_it_was(examiners, result, source, kinds, always) -> None:
    examiners(PASSED, PASSED)
    payer = Payer(kinds, always=always)
    settled = payer.settle(result, source)
    if always and result is LIVE:
        return  # the next two tests
    assert payer.asked == []
    assert settled.outcome is result.outcome
    live = result.outcome is LookOutcome.LIVE
    assert (settled.template is not None) == live
    assert payer.template.any() == live


def test_with_always_who_looks_live_is_asked_too(examiners) -> None:
    for verdict, outcome in ((PASSED, LookOutcome.LIVE), (FAILED, LookOutcome.ATTACK)):
        examiners(verdict)
        payer = Payer(always=True)
        assert payer.settle(LIVE).outcome is outcome
        assert len(payer.asked) == 1


@pytest.mark.parametrize(
    ("source", "kinds"),
    [(SourceKind.STILL, EVERY_KIND), (SourceKind.RECORDED, EVERY_KIND), (SourceKind.LIVE, ())],
)
def test_with_always_nobody_is_live_who_could_not_be_asked(examiners, source, kinds) -> None:
    examiners(PASSED)
    payer = Payer(kinds, always=True)
    settled = payer.settle(LIVE, source)
    assert (settled.outcome, settled.template, payer.asked) == (LookOutcome.UNSURE, None, [])
    assert not payer.template.any()


def test_until_the_request_is_on_the_screen_no_frame_is_late_enough_to_be_an_answer(examiners) -> None:
    made, payer = examiners(PASSED), Payer()
    payer.settle(GREY)
    assert made.made[0]["asked_ns"] > 10**18 * 4


def test_a_report_about_another_request_counts_for_nothing(examiners) -> None:
    made, payer = examiners(PASSED), Payer(kinds=TURNS[:1], sees=False)
    equal = Challenge(ChallengeKind.TURN_LEFT)

    def watch(take: Callable[[Observation], bool], most_s: float) -> None:
        payer.challenger.shown(equal, 0, 5)
        payer.watch(take, most_s)

    payer.challenger.settle(GREY, payer.template, SourceKind.LIVE, watch)
    payer.challenger.shown(equal, 0, 6)
    assert made.shown_to == []


def test_a_camera_that_fails_during_a_challenge_leaves_no_template(examiners) -> None:
    examiners(PASSED)
    payer = Payer()

    def watch(take: Callable[[Observation], bool], most_s: float) -> None:
        raise OperatorError("the camera was pulled out")

    with pytest.raises(OperatorError):
        payer.challenger.settle(GREY, payer.template, SourceKind.LIVE, watch)
    assert not payer.template.any()


def test_a_camera_that_has_no_more_frames_is_no_pass(examiners) -> None:
    examiners(PASSED, PASSED)
    payer = Payer()
    settled = payer.challenger.settle(GREY, payer.template, SourceKind.LIVE, lambda take, most_s: None)
    assert settled.outcome is LookOutcome.UNSURE


def test_after_a_cancel_nothing_more_is_asked(examiners) -> None:
    examiners(INCONCLUSIVE, PASSED)
    payer = Payer()

    def watch(take: Callable[[Observation], bool], most_s: float) -> None:
        payer.stopped = True

    payer.challenger.settle(GREY, payer.template, SourceKind.LIVE, watch)
    assert len(payer.asked) == 1
    assert not payer.template.any()


# --- on a camera ----------------------------------------------------------------------------------------


class Watching:
    """Eyes that see one face in every frame, and remember each template that they gave out."""

    def __init__(self) -> None:
        self.given: list[np.ndarray] = []

    def observe(self, frame: Frame) -> Observation:
        self.given.append(FACE.copy())
        return observation(frame.sequence, self.given[-1])

    def forget(self) -> None:
        pass


class GreyLook:
    """A look that isn't sure after three frames; its template is kept for the test."""

    hint, progress = None, 0.3
    templates: list[np.ndarray]

    def __init__(self, rules: object, kind: SourceKind) -> None:
        self.seen = 0

    def feed(self, observation: Observation) -> LookResult | None:
        self.seen += 1
        return GREY if self.seen >= 3 else None

    def template(self) -> np.ndarray:
        self.templates.append(FACE.copy())
        return self.templates[-1]


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> EndlessWall:
    GreyLook.templates = []
    monkeypatch.setattr("kiosk.app.look.Look", GreyLook)
    return EndlessWall()


class Rules:
    same_person, max_ms = 0.4, 15_000


def looker(wall: EndlessWall, kinds: tuple[ChallengeKind, ...] = TURNS) -> CameraLooker:
    subject = CameraLooker(lambda: wall, Watching(), Rules(), mode="production", model_ids=("net-1",))  # type: ignore[arg-type]
    subject.kinds = kinds
    return subject


def test_the_camera_stays_on_from_the_look_to_the_end_of_its_challenge(wall: EndlessWall, examiners) -> None:
    made, subject = examiners(PASSED), looker(wall)
    told: queue.SimpleQueue[LookDone | LookChallenge] = queue.SimpleQueue()

    def tell(message: LookDone | LookChallenge) -> None:
        if isinstance(message, LookChallenge):
            subject.shown(message.challenge, 0, 77)
        told.put(message)

    subject.start(7, tell)
    asked, done = told.get(timeout=10), told.get(timeout=10)
    subject.close()
    assert isinstance(asked, LookChallenge)
    assert isinstance(done, LookDone)
    assert (asked.look, done.look, done.outcome) == (7, 7, LookOutcome.LIVE)
    assert (0, 77) in made.shown_to
    assert (wall.opened, wall.closed) == (1, 1)
    assert done.probe == pytest.approx(FACE)
    assert subject.answered == (Answered(asked.challenge.kind, PASSED),)
    eyes: Watching = subject._vision  # type: ignore[assignment]
    assert not any(template.any() for template in eyes.given)


@pytest.mark.parametrize("verdict", [FAILED, INCONCLUSIVE])
def test_without_a_pass_there_is_no_probe_to_search_with(wall: EndlessWall, examiners, verdict) -> None:
    examiners(verdict, verdict)
    done: queue.SimpleQueue[LookDone | LookChallenge] = queue.SimpleQueue()
    subject = looker(wall)
    subject.start(1, lambda message: done.put(message) if isinstance(message, LookDone) else None)
    found = done.get(timeout=10)
    subject.close()
    assert isinstance(found, LookDone)
    assert found.probe is None
    assert found.outcome is (LookOutcome.ATTACK if verdict is FAILED else LookOutcome.UNSURE)
    assert not any(template.any() for template in GreyLook.templates)


def test_a_challenge_that_is_cancelled_leaves_nothing(wall: EndlessWall, examiners) -> None:
    examiners(PASSED, PASSED)
    told: list[LookDone | LookChallenge] = []
    subject = looker(wall)

    def tell(message: LookDone | LookChallenge) -> None:
        told.append(message)
        subject.stop()

    subject.start(1, tell)
    assert subject._thread is not None
    subject._thread.join(10)
    assert [type(message) for message in told] == [LookChallenge]
    assert (wall.opened, wall.closed) == (1, 1)
    assert not any(template.any() for template in GreyLook.templates)
    eyes: Watching = subject._vision  # type: ignore[assignment]
    assert not any(template.any() for template in eyes.given)


def test_a_kiosk_that_can_t_ask_leaves_a_look_unsure(wall: EndlessWall, examiners) -> None:
    examiners(PASSED)
    told: queue.SimpleQueue[LookDone | LookChallenge] = queue.SimpleQueue()
    subject = looker(wall, ())
    subject.start(1, told.put)
    found = told.get(timeout=10)
    subject.close()
    assert isinstance(found, LookDone)
    assert found.outcome is LookOutcome.UNSURE


class ScriptedLook(GreyLook):
    """Looks that end as the script says, one after the other."""

    script: list[LookOutcome]

    def feed(self, observation: Observation) -> LookResult | None:
        return found(self.script.pop(0)) if super().feed(observation) else None


def look_once(subject: CameraLooker, *, cancelled: bool = False) -> tuple[int, LookOutcome | None]:
    """How many challenges one look asked, and how it ended."""
    told: queue.SimpleQueue[LookDone | LookChallenge] = queue.SimpleQueue()

    def tell(message: LookDone | LookChallenge) -> None:
        told.put(message)
        if cancelled:
            subject.stop()

    subject.start(1, tell)
    assert subject._thread is not None
    subject._thread.join(10)
    messages = [told.get_nowait() for _ in range(told.qsize())]
    outcomes = [message.outcome for message in messages if isinstance(message, LookDone)]
    return len(messages) - len(outcomes), outcomes[0] if outcomes else None


@pytest.mark.parametrize("first", [LookOutcome.ATTACK, LookOutcome.UNSURE])
def test_after_a_look_in_doubt_the_next_is_challenged_though_it_seems_live(
    wall: EndlessWall, monkeypatch: pytest.MonkeyPatch, examiners, first
) -> None:
    """One print in thirty seems live: three looks of one print were three chances."""
    monkeypatch.setattr("kiosk.app.look.Look", ScriptedLook)
    ScriptedLook.script = [LookOutcome.LIVE, first, LookOutcome.NO_FACE, LookOutcome.LIVE, LookOutcome.LIVE]
    examiners(*[INCONCLUSIVE] * (first is LookOutcome.UNSURE), PASSED)
    subject = looker(wall)
    assert look_once(subject) == (0, LookOutcome.LIVE)
    assert look_once(subject)[1] is first
    assert look_once(subject) == (0, LookOutcome.NO_FACE)
    assert look_once(subject) == (1, LookOutcome.LIVE)
    assert look_once(subject) == (0, LookOutcome.LIVE), "who passed has ended the doubt"


def test_a_challenge_that_was_cancelled_is_asked_again_in_the_next_look(
    wall: EndlessWall, monkeypatch: pytest.MonkeyPatch, examiners
) -> None:
    monkeypatch.setattr("kiosk.app.look.Look", ScriptedLook)
    ScriptedLook.script = [LookOutcome.UNSURE, LookOutcome.LIVE]
    examiners(PASSED, PASSED)
    subject = looker(wall)
    assert look_once(subject, cancelled=True) == (1, None)
    assert look_once(subject) == (1, LookOutcome.LIVE)


def test_where_nothing_can_be_asked_a_doubt_changes_nothing(
    wall: EndlessWall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiosk.app.look.Look", ScriptedLook)
    ScriptedLook.script = [LookOutcome.ATTACK, LookOutcome.LIVE]
    subject = looker(wall, ())
    assert look_once(subject) == (0, LookOutcome.ATTACK)
    assert look_once(subject) == (0, LookOutcome.LIVE)
