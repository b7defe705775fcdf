"""Was the request followed: observations of a payer who was asked to turn, blink or hold still under a flash.

Pure: observations and the times of what the screen showed go in (one clock, the frames'), an outcome comes
out. It fails closed: only `PASSED` is a pass, and what was not measured is never passed.

Example:

    challenge = draw([ChallengeKind.TURN_LEFT, ChallengeKind.TURN_RIGHT, ChallengeKind.FLASH])
    examiner = Examiner(challenge, ChallengeRules(), reference=template, same_person=0.43, asked_ns=now)
    for frame in frames:                                # and examiner.shown(k, at_ns) as the screen shows
        outcome = examiner.feed(vision.observe(frame))
        if outcome is not None:
            break
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from kiosk.domain.challenge import FLASH_COLOURS, Challenge, ChallengeKind, ChallengeOutcome, Colour
from kiosk.vision.colour import FaceColour
from kiosk.vision.dynamics import Sighting, planarity
from kiosk.vision.flash import FlashFit, fit_flash
from kiosk.vision.observation import Observation
from kiosk.vision.quality import Hint

__all__ = ["ChallengeRules", "Examiner", "draw"]


@dataclass(frozen=True, slots=True)
class ChallengeRules:
    """Every number of an examination. Angles are degrees of the mesh's yaw (`quality.Pose`).

    Where they come from: `tools/pad/challenge.py` (docs/adr/0022): what real clips show, and simulation.
    """

    reaction_ms: float = 200.0
    """Nobody answers a request sooner: the fastest choice reactions of people are about 200 ms."""
    presence: float = 0.5
    """The mesh's score from which it is on a face; the network's published working point."""
    lost_ms: float = 500.0
    """Longer without a face, or without a frame, and it is not one presentation any more."""
    jump: float = 0.6
    """A face moves by less than this in face widths from one frame to the next; more, and it is another."""
    mismatches: int = 2
    """So many good frames in a row below `same_person` are another person; one may be a blurred frame."""
    compared_yaw: float = 22.0
    """Beyond, an unlike face is not held against the payer: the embedding was made for frontal ones."""

    frontal: float = 12.0
    """A turn begins within this; a head that turns by more under a flash is not judged by its hue."""
    onset: float = 6.0
    """The turn has begun; less is sway."""
    turn: float = 15.0
    """The turn is made, from where it began. Turned photographs stay below."""
    wrong_way: float = 8.0
    """Turned so far in the other direction, and the answer is wrong."""
    fastest: float = 450.0
    """Degrees a second: heads turn at up to 300 when they hurry; a cut is faster."""
    shortest_turn_ms: float = 80.0
    """From the last frontal frame to a turn that is made."""
    depth: float = 0.57
    """Least `dynamics.planarity` from the frontal to the turned frame: heads are above .6, and sheets that
    seem to turn this far below, bent ones too."""

    closed: float = 0.70
    """Eyes are closed when both open less than this part of how far they were open."""
    opened: float = 0.85
    """... and open again from this on."""
    shortest_blink_ms: float = 50.0
    longest_blink_ms: float = 800.0
    nod: float = 10.0
    """Degrees of pitch within a blink: who looks down lowers the lids too."""

    frames_a_step: int = 3
    strength: float = 0.02
    """Least light of the screen on the face, beyond that on what is behind it, in parts of the room's."""
    explained: float = 0.5
    """Least part of the face's changes that the shown colours explain."""
    margin: float = 0.4
    """Nats a step, over the best other order of the colours."""
    evenness: float = 0.3
    """The weakest of three skin patches, in parts of their mean: a mirror image covers one, light all."""
    unexplained: float = 0.04
    """The face's hue changes by more, and not as the colours say: it follows another sequence."""


STEP_MS: Final = (350, 450)
"""How long a colour stays. Two changes are a flash: at most 1.4 flashes a second (WCAG 2.3.1 allows 3)."""
COLOURS: Final = (7, 8)
RED_APART: Final = 3
"""Saturated red comes at most every third step: it never alternates with another colour."""
TURN_MS: Final = 5_000
BLINK_MS: Final = 3_000
"""Short: people blink every four seconds by themselves, and so do those in a recording."""
FLASH_AIR_MS: Final = 1_500


def draw(kinds: Sequence[ChallengeKind], randbelow: Callable[[int], int] = secrets.randbelow) -> Challenge:
    """One of `kinds`, each as likely; of a flash also the colours, their number and their duration.

    `randbelow(n)` gives a number in [0, n): `secrets`' in the product, so that nobody knows what is asked
    before it is asked. ValueError without kinds.
    """
    if not kinds:
        raise ValueError("there is no kind of challenge to draw from")
    kind = kinds[randbelow(len(kinds))]
    if kind is ChallengeKind.FLASH:
        colours = _draw_colours(randbelow)
        step_ms = STEP_MS[0] + randbelow(STEP_MS[1] - STEP_MS[0] + 1)
        return Challenge(kind, colours, step_ms, len(colours) * step_ms + FLASH_AIR_MS)
    return Challenge(kind, timeout_ms=BLINK_MS if kind is ChallengeKind.BLINK else TURN_MS)


def _draw_colours(randbelow: Callable[[int], int]) -> tuple[Colour, ...]:
    """No colour follows itself, red is rare enough, and three hues at least are among them."""
    red = FLASH_COLOURS[0]
    length = COLOURS[0] + randbelow(COLOURS[1] - COLOURS[0] + 1)
    colours: list[Colour] = []
    while len(colours) < length:
        barred = set(colours[-1:]) | ({red} & set(colours[-(RED_APART - 1) :]))
        # The last places go to what is missing still: every sequence has all the colours once.
        missing = [c for c in FLASH_COLOURS if c not in colours]
        pool = missing if len(missing) >= length - len(colours) else FLASH_COLOURS
        free = [c for c in pool if c not in barred]
        colours.append(free[randbelow(len(free))])
    return tuple(colours)


class Examiner:
    """One challenge. Feed it every observation since the request, in order; it keeps its answer.

    `challenge` is what was asked, `reference` (float32[192], length 1) the look's template: who has to
    answer; None takes the first good frame's face. `same_person` is the cosine below which a face is another
    one: what such a frame shows is no part of an answer. `asked_ns` is when the request was given out, on the
    frames' clock; what the screen showed, and when, comes with `shown`.

    FAILED says that something was contrary to the request; INCONCLUSIVE that nothing was, and nothing was
    shown either (no answer in time, too much light for a flash, no face): another kind may be asked once.
    """

    def __init__(
        self,
        challenge: Challenge,
        rules: ChallengeRules,
        *,
        reference: NDArray[np.float32] | None,
        same_person: float,
        asked_ns: int,
    ) -> None:
        self._challenge, self._rules = challenge, rules
        self._judge = _judge_of(challenge, rules)
        self._asked_ns = asked_ns
        self._presentation = _OnePresentation(rules, reference, same_person)
        self._hint: Hint | None = None
        self._outcome: ChallengeOutcome | None = None

    @property
    def hint(self) -> Hint | None:
        """What the payer should mend now; None when frames are good, or turned as was asked."""
        return self._hint

    @property
    def progress(self) -> float:
        """In [0, 1]: how much of the answer has been seen."""
        return 1.0 if self._outcome is not None else self._judge.progress

    @property
    def flash(self) -> FlashFit | None:
        """What a flash said, once it is over: for logs and evaluation."""
        return self._judge.fit if isinstance(self._judge, _Flash) else None

    def shown(self, index: int, at_ns: int) -> None:
        """The screen shows colour `index` from `at_ns` on; index 0 of another kind is the request itself."""
        if index == 0:
            self._asked_ns = at_ns
        if isinstance(self._judge, _Flash):
            self._judge.shown(index, at_ns)

    def feed(self, observation: Observation) -> ChallengeOutcome | None:
        """The outcome once there is one, None while the challenge runs."""
        if self._outcome is not None:
            return self._outcome
        self._hint = observation.hint
        broken = self._presentation.look(observation)
        if broken is not None:
            return self._end(broken)
        since_ms = (observation.timestamp_ns - self._asked_ns) / 1e6
        if since_ms < 0:
            return None
        moment = _moment(observation, since_ms, self._rules.presence)
        if moment is not None and self._presentation.is_payer:
            verdict = self._judge.take(moment)
            if self._challenge.kind in _TURNS and self._hint is Hint.LOOK_HERE:
                self._hint = None
            if verdict is not None:
                return self._end(verdict)
        return self.finish() if since_ms >= self._challenge.timeout_ms else None

    def finish(self) -> ChallengeOutcome:
        """The outcome now: time is up, or the source has run dry. It was not passed in time."""
        if self._outcome is None:
            return self._end(self._judge.close())
        return self._outcome

    def _end(self, outcome: ChallengeOutcome) -> ChallengeOutcome:
        self._outcome = outcome
        return outcome


class _OnePresentation:
    """The same face of the same person, without a gap or a jump, on a clock that runs forward."""

    def __init__(
        self, rules: ChallengeRules, reference: NDArray[np.float32] | None, same_person: float
    ) -> None:
        self._rules, self._reference, self._same_person = rules, reference, same_person
        self._last_ns: int | None = None
        self._face_ns: int | None = None
        self._centre: tuple[float, float] | None = None
        self._strangers = 0
        self.is_payer = False
        """Whether the last frame's face was compared and is the reference's: only then may it answer."""

    def look(self, observation: Observation) -> ChallengeOutcome | None:
        """What ends the challenge, whatever was asked; None while it may go on."""
        now, self.is_payer = observation.timestamp_ns, False
        if self._last_ns is not None and now < self._last_ns:
            return ChallengeOutcome.FAILED
        self._last_ns = now
        if observation.hint is Hint.ONE_PERSON:
            return ChallengeOutcome.FAILED
        face = observation.payer
        if face is None:
            lost = self._face_ns is not None and (now - self._face_ns) / 1e6 > self._rules.lost_ms
            return ChallengeOutcome.INCONCLUSIVE if lost else None
        gap_ms = 0.0 if self._face_ns is None else (now - self._face_ns) / 1e6
        moved = self._moved(face.box.centre, face.box.width)
        self._face_ns, self._centre = now, face.box.centre
        if gap_ms > self._rules.lost_ms:
            return ChallengeOutcome.INCONCLUSIVE
        if moved > self._rules.jump:
            return ChallengeOutcome.FAILED
        return ChallengeOutcome.FAILED if self._is_stranger(observation) else None

    def _moved(self, centre: tuple[float, float], width: float) -> float:
        """Face widths since the last frame with a face; not a number moves infinitely far."""
        if self._centre is None:
            return 0.0
        far = float(np.hypot(centre[0] - self._centre[0], centre[1] - self._centre[1])) / max(width, 1.0)
        return far if np.isfinite(far) else np.inf

    def _is_stranger(self, observation: Observation) -> bool:
        """Whether the last frames in which that can be told show somebody else."""
        embedding, pose = observation.embedding, observation.pose
        if embedding is None or pose is None:
            return False
        is_clear = observation.hint is None and abs(pose.yaw) <= self._rules.compared_yaw
        if self._reference is None and is_clear:
            self._reference = embedding
        if self._reference is None:
            return False
        self.is_payer = float(self._reference @ embedding) >= self._same_person
        if is_clear:
            self._strangers = 0 if self.is_payer else self._strangers + 1
        return self._strangers >= self._rules.mismatches


@dataclass(frozen=True, slots=True, eq=False)
class _Moment:
    """One frame as the judges see it: `since_ms` counts from the request, `at_ns` is the frames' clock."""

    since_ms: float
    at_ns: int
    yaw: float
    pitch: float
    sighting: Sighting
    colour: FaceColour | None


def _moment(observation: Observation, since_ms: float, presence: float) -> _Moment | None:
    """None when the mesh is on no face, or its points are no numbers or all one."""
    landmarks, pose = observation.landmarks, observation.pose
    if landmarks is None or pose is None or observation.payer is None or not landmarks.presence >= presence:
        return None
    if not (np.isfinite(landmarks.points).all() and np.isfinite([pose.yaw, pose.pitch]).all()):
        return None
    if not np.ptp(landmarks.points[:, :2]) > 0:
        return None
    sighting = Sighting(landmarks.points, observation.timestamp_ns, observation.payer.box)
    return _Moment(since_ms, sighting.timestamp_ns, pose.yaw, pose.pitch, sighting, observation.colour)


class _Judge(Protocol):
    """What examines one kind."""

    @property
    def progress(self) -> float: ...

    def take(self, moment: _Moment) -> ChallengeOutcome | None: ...

    def close(self) -> ChallengeOutcome: ...


_TURNS: Final = {ChallengeKind.TURN_LEFT: 1.0, ChallengeKind.TURN_RIGHT: -1.0}


def _judge_of(challenge: Challenge, rules: ChallengeRules) -> _Judge:
    if challenge.kind in _TURNS:
        return _Turn(_TURNS[challenge.kind], rules)
    if challenge.kind is ChallengeKind.BLINK:
        return _Blink(rules)
    return _Flash(challenge, rules)


class _Turn:
    """From near frontal, in the asked direction (`sign` of yaw), without a jump, and not as a sheet."""

    def __init__(self, sign: float, rules: ChallengeRules) -> None:
        self._sign, self._rules = sign, rules
        self._start: tuple[float, Sighting] | None = None
        self._frontal_ms = 0.0
        self._last: tuple[float, float] | None = None
        self._turned = 0.0
        self._made = 0
        self._is_flat = False

    @property
    def progress(self) -> float:
        return float(np.clip(self._turned / self._rules.turn, 0.0, 1.0))

    def take(self, moment: _Moment) -> ChallengeOutcome | None:
        rules, since_ms, yaw = self._rules, moment.since_ms, self._sign * moment.yaw
        if self._is_cut(yaw, since_ms):
            return ChallengeOutcome.FAILED
        self._last = yaw, since_ms
        if self._start is None or abs(yaw) < abs(self._start[0]):
            # The most frontal frame so far: who was looking elsewhere comes back first.
            if abs(yaw) <= rules.frontal:
                self._start = yaw, moment.sighting
            elif self._start is None:
                return None
        from_yaw, frontal = self._start
        self._turned = yaw - from_yaw
        if self._turned < -rules.wrong_way:
            return ChallengeOutcome.FAILED
        if self._turned < rules.onset:
            self._frontal_ms, self._made = since_ms, 0
            return None
        if since_ms < rules.reaction_ms:
            return ChallengeOutcome.FAILED
        return self._turning(since_ms, planarity([frontal, moment.sighting]).value)

    def _turning(self, since_ms: float, depth: float | None) -> ChallengeOutcome | None:
        """Made when two frames in a row say so: one may be a landmark gone astray."""
        if self._turned < self._rules.turn:
            self._made = 0
            return None
        if since_ms - self._frontal_ms < self._rules.shortest_turn_ms:
            return ChallengeOutcome.FAILED
        self._is_flat = depth is not None and depth < self._rules.depth
        self._made = 0 if depth is None or self._is_flat else self._made + 1
        return ChallengeOutcome.PASSED if self._made >= 2 else None

    def _is_cut(self, yaw: float, since_ms: float) -> bool:
        """Whether the head turned faster than heads do. A few degrees are the landmarks' noise."""
        if self._last is None:
            return False
        before, at_ms = self._last
        return abs(yaw - before) > 4.0 + self._rules.fastest * (since_ms - at_ms) / 1e3

    def close(self) -> ChallengeOutcome:
        return ChallengeOutcome.FAILED if self._is_flat else ChallengeOutcome.INCONCLUSIVE


class _Blink:
    """Both eyes close and open again after the request, the head still."""

    def __init__(self, rules: ChallengeRules) -> None:
        self._rules = rules
        self._open: list[NDArray[np.float64]] = []
        self._last_open: tuple[float, float] | None = None
        """When both eyes were last open, and the pitch then."""
        self._is_closed = False

    @property
    def progress(self) -> float:
        return 0.5 if self._is_closed else 0.0

    def take(self, moment: _Moment) -> ChallengeOutcome | None:
        rules, since_ms, pitch = self._rules, moment.since_ms, moment.pitch
        openness = _eye_openness(moment.sighting.points)
        if not np.isfinite(openness).all():
            return None
        if len(self._open) < 90:
            self._open.append(openness)
        if len(self._open) < 3:
            return None
        part = openness / np.maximum(np.percentile(np.stack(self._open), 75, axis=0), 1e-6)
        if (part >= rules.opened).all():
            before, was_closed = self._last_open, self._is_closed
            self._last_open, self._is_closed = (since_ms, pitch), False
            return ChallengeOutcome.PASSED if was_closed and self._is_blink(before, since_ms, pitch) else None
        if (part <= rules.closed).all() and self._last_open is not None:
            self._is_closed |= abs(pitch - self._last_open[1]) <= rules.nod
        return None

    def _is_blink(self, before: tuple[float, float] | None, since_ms: float, pitch: float) -> bool:
        """A blink that was under way at the request, or came before anybody can react, is no answer."""
        if before is None or before[0] < self._rules.reaction_ms:
            return False
        lasted = since_ms - before[0]
        still = abs(pitch - before[1]) <= self._rules.nod
        return still and self._rules.shortest_blink_ms <= lasted <= self._rules.longest_blink_ms

    def close(self) -> ChallengeOutcome:
        return ChallengeOutcome.INCONCLUSIVE


class _Flash:
    """The face's colour follows the screen's."""

    def __init__(self, challenge: Challenge, rules: ChallengeRules) -> None:
        self._challenge, self._rules = challenge, rules
        self._starts: list[int] = []
        self._times: list[int] = []
        self._seen: list[FaceColour] = []
        self._is_mixed_up = False
        self._yaws: list[float] = []
        self.fit: FlashFit | None = None

    @property
    def progress(self) -> float:
        if not self._starts or not self._times:
            return 0.0
        whole = len(self._challenge.colours) * self._challenge.step_ms * 1e6
        return float(np.clip((self._times[-1] - self._starts[0]) / whole, 0.0, 1.0))

    def shown(self, index: int, at_ns: int) -> None:
        """Colours come in order, each once; a screen that says otherwise did not show the challenge."""
        in_order = index == len(self._starts) and (not self._starts or at_ns > self._starts[-1])
        if in_order and index < len(self._challenge.colours):
            self._starts.append(at_ns)
        else:
            self._is_mixed_up = True

    def take(self, moment: _Moment) -> ChallengeOutcome | None:
        if not self._starts or len(self._times) >= _MOST_FRAMES:
            return None
        self._yaws.append(moment.yaw)
        if moment.colour is not None and bool(np.isfinite(moment.colour.skin).all()):
            self._times.append(moment.at_ns)
            self._seen.append(moment.colour)
        over = len(self._starts) == len(self._challenge.colours)
        late_ns = moment.at_ns - self._end_ns()
        return self.close() if over and late_ns >= _LATEST_LIGHT_NS else None

    def _end_ns(self) -> int:
        return self._starts[-1] + self._challenge.step_ms * 1_000_000

    def close(self) -> ChallengeOutcome:
        """The verdict over all frames."""
        if self._is_mixed_up or len(self._starts) < len(self._challenge.colours):
            return ChallengeOutcome.INCONCLUSIVE
        self.fit = fit_flash(self._starts, self._challenge.colours, self._end_ns(), self._times, self._seen)
        outcome = _flash_outcome(self.fit, self._rules)
        # A head that turns shows other skin in another light: that is no answer, but nothing contrary.
        moved = bool(self._yaws) and max(self._yaws) - min(self._yaws) > self._rules.frontal
        return ChallengeOutcome.INCONCLUSIVE if moved and outcome is ChallengeOutcome.FAILED else outcome


def _flash_outcome(fit: FlashFit | None, rules: ChallengeRules) -> ChallengeOutcome:
    """PASSED when everything speaks for the shown sequence, FAILED when the face follows another one."""
    if fit is None or fit.fewest_in_a_step < rules.frames_a_step:
        return ChallengeOutcome.INCONCLUSIVE
    follows = fit.explained >= rules.explained and fit.margin >= rules.margin
    lit = fit.strength >= rules.strength and fit.evenness >= rules.evenness
    if follows and lit:
        return ChallengeOutcome.PASSED
    another = fit.unexplained >= rules.unexplained and not follows
    return ChallengeOutcome.FAILED if another else ChallengeOutcome.INCONCLUSIVE


_MOST_FRAMES: Final = 900
_LATEST_LIGHT_NS: Final = 250_000_000


_RIGHT_EYE: Final = (33, 160, 158, 133, 153, 144)
_LEFT_EYE: Final = (362, 385, 387, 263, 373, 380)


def _eye_openness(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """float64[2]: the eye aspect ratio of the subject's right and left eye, about .3 open and .1 closed.

    Height over width, both from corners and lids (Soukupova and Cech 2016).
    """
    ratios = []
    for eye in (_RIGHT_EYE, _LEFT_EYE):
        outer, up1, up2, inner, low2, low1 = points[list(eye), :2].astype(np.float64)
        high = np.hypot(*(up1 - low1)) + np.hypot(*(up2 - low2))
        wide = float(np.hypot(*(outer - inner)))
        ratios.append(high / (2 * wide) if wide > 0 else np.nan)
    return np.array(ratios)
