"""Several frames, one decision: is this a living person, and what does their face look like.

Pure: observations go in, an outcome comes out, no clock and no picture. It fails closed: what was not
measured is never passed, and a look that doesn't become sure in time ends as unsure or without a face.

Example (three good frames suffice):

    look = Look(LookRules.of(vision.manifest), source.info.kind)
    for frame in frames:
        result = look.feed(vision.observe(frame))
        if result is not None:
            break
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from kiosk.domain.decision import LookOutcome
from kiosk.frames import SourceKind
from kiosk.vision.dynamics import Cue
from kiosk.vision.embed import combine
from kiosk.vision.models import Manifest, Role
from kiosk.vision.observation import Observation
from kiosk.vision.quality import Hint, Pose, Quality

__all__ = ["Look", "LookResult", "LookRules", "Motion"]


class Motion(StrEnum):
    """Evidence that the scene moves. Never `seen` for a still or recorded source."""

    SEEN = "seen"
    ABSENT = "absent"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class LookRules:
    """When a look is over.

    `live` and `attack` are scores in [0, 1]: a mean at or above `live` is live, below `attack` an attack, and
    between them unsure. `same_person` is the cosine below which a face is another one, and the look begins
    again. A look of a live or recorded source takes `min_frames` good ones, and up to `max_good` while it is
    unsure; it ends after `max_frames` or `max_ms` in any case.
    """

    live: float
    attack: float
    same_person: float
    min_frames: int = 3
    max_good: int = 5
    max_frames: int = 450
    max_ms: int = 15_000

    def __post_init__(self) -> None:
        if not 0.0 < self.attack <= self.live < 1.0:
            raise ValueError(f"needs 0 < attack <= live < 1, got {self.attack} and {self.live}")
        if not 1 <= self.min_frames <= self.max_good <= self.max_frames:
            raise ValueError("needs 1 <= min_frames <= max_good <= max_frames")

    @classmethod
    def of(cls, manifest: Manifest) -> LookRules:
        """The rules with the manifest's thresholds; OperatorError when it lacks one."""
        liveness = manifest.card(Role.LIVENESS)
        return cls(
            live=liveness.threshold("live"),
            attack=liveness.threshold("attack"),
            same_person=manifest.card(Role.EMBEDDING).threshold("same_person"),
        )


@dataclass(frozen=True, slots=True, eq=False)
class LookResult:
    """How a look ended.

    `template` (float32[192], length 1: the mean of the good frames' embeddings, weighted by quality) is there
    only for a live outcome. `liveness` is the mean score in [0, 1]; `quality` and `pose` are those of the
    best frame. `llr` is the evidence in nats, positive for live, the cues' included; None when any frame's
    liveness was not measured. `challengeable`: the look ended in the grey zone, and a challenge can settle
    it; never without a face, with two, or with a feed that repeats itself. `timings_ms` sums each stage over
    the frames that were used.
    """

    outcome: LookOutcome
    frames_seen: int
    frames_used: int
    motion: Motion
    template: NDArray[np.float32] | None = field(default=None, repr=False)
    liveness: float | None = None
    quality: Quality | None = None
    pose: Pose | None = None
    hint: Hint | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)
    llr: float | None = None
    cues: tuple[Cue, ...] = ()
    challengeable: bool = False


class Look:
    """One look. Feed it observations in order until it answers; it then keeps its answer."""

    def __init__(self, rules: LookRules, kind: SourceKind) -> None:
        self._rules, self._kind = rules, kind
        self._needed = 1 if kind is SourceKind.STILL else rules.min_frames
        self._good: list[Observation] = []
        self._embeddings: list[NDArray[np.float32]] = []
        self._seen = 0
        self._first_ns = 0
        self._hint: Hint | None = None
        self._last: Observation | None = None
        self._result: LookResult | None = None

    @property
    def hint(self) -> Hint | None:
        """What the payer should mend now; None while frames are good."""
        return self._hint

    @property
    def progress(self) -> float:
        """In [0, 1]: good frames over those that are needed."""
        return 1.0 if self._result else min(len(self._good) / self._needed, 1.0)

    def feed(self, observation: Observation) -> LookResult | None:
        """The outcome, once there is one. Two faces end the look at once."""
        if self._result is not None:
            return self._result
        if self._seen == 0:
            self._first_ns = observation.timestamp_ns
        self._seen += 1
        self._hint, self._last = observation.hint, observation
        if observation.hint is Hint.ONE_PERSON:
            return self._end(LookOutcome.TWO_FACES)
        if observation.hint is None and observation.embedding is not None:
            self._take(observation, observation.embedding)
            outcome = self._judge()
            if outcome is not None:
                return self._end(outcome)
        late = (observation.timestamp_ns - self._first_ns) / 1e6 >= self._rules.max_ms
        return self.finish() if late or self._seen >= self._rules.max_frames else None

    def finish(self) -> LookResult:
        """The outcome now: the source has run dry, or time is up. Too few good frames are no face."""
        if self._result is not None:
            return self._result
        enough = len(self._good) >= self._needed
        return self._end(LookOutcome.UNSURE if enough else LookOutcome.NO_FACE)

    def template(self) -> NDArray[np.float32] | None:
        """The payer's face so far, float32[192], length 1, whatever the outcome; None without a good frame.

        What a challenge's frames are held against. An array of its own, the caller's to overwrite.
        """
        if not self._embeddings:
            return None
        weights = [o.quality.score if o.quality else 0.0 for o in self._good]
        return combine(self._embeddings, weights)

    def _take(self, observation: Observation, embedding: NDArray[np.float32]) -> None:
        """Adds a good frame. Another person's face begins the look again: two people make no payer."""
        if self._embeddings and float(self._embeddings[0] @ embedding) < self._rules.same_person:
            self._good.clear()
            self._embeddings.clear()
        self._good.append(observation)
        self._embeddings.append(embedding)

    def _judge(self) -> LookOutcome | None:
        """Live, attack or unsure once enough frames are good; None while more may still decide."""
        if len(self._good) < self._needed:
            return None
        score = self._score()
        final = self._kind is SourceKind.STILL or len(self._good) >= self._rules.max_good
        if score is None:
            return LookOutcome.UNSURE
        if score < self._rules.attack:
            return LookOutcome.ATTACK
        if score >= self._rules.live and self._motion() is not Motion.ABSENT:
            return LookOutcome.LIVE
        return LookOutcome.UNSURE if final else None

    def _score(self) -> float | None:
        """The mean logit as a score; None when any frame's liveness was not measured."""
        logits = [o.liveness_logit for o in self._good if o.liveness_logit is not None]
        if not logits or len(logits) < len(self._good):
            return None
        return float(1.0 / (1.0 + np.exp(-np.mean(logits))))

    def _motion(self) -> Motion:
        """A camera's frames are never twice the same; a feed that repeats one is no camera."""
        if self._kind is not SourceKind.LIVE:
            return Motion.UNAVAILABLE
        meshes = [o.landmarks.points for o in self._good if o.landmarks is not None]
        moved = any(not np.array_equal(meshes[0], mesh) for mesh in meshes[1:])
        return Motion.SEEN if moved else Motion.ABSENT

    def _is_challengeable(self, outcome: LookOutcome) -> bool:
        grey = outcome is LookOutcome.UNSURE and self._score() is not None
        return grey and self._motion() is not Motion.ABSENT

    def _end(self, outcome: LookOutcome) -> LookResult:
        good = self._good
        best = max(good, key=lambda o: o.quality.score if o.quality else 0.0, default=self._last)
        stages = sorted({stage for o in good for stage in o.timings_ms})
        self._result = LookResult(
            outcome=outcome,
            frames_seen=self._seen,
            frames_used=len(good),
            motion=self._motion(),
            template=self.template() if outcome is LookOutcome.LIVE else None,
            liveness=self._score(),
            quality=best.quality if best else None,
            pose=best.pose if best else None,
            hint=self._hint,
            timings_ms={s: sum(o.timings_ms.get(s, 0.0) for o in good) for s in stages},
            challengeable=self._is_challengeable(outcome),
        )
        return self._result
