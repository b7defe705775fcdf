"""Several frames, one decision: is this a living person, and what does their face look like.

Pure: observations go in, an outcome comes out, no clock and no picture. It fails closed: what was not
measured is never passed, and a look that doesn't become sure in time ends as unsure or without a face.

    each good frame:  logit -> llr = scale * logit + offset, kept within +-FRAME_LLR
    the network:      sum of the frames' llr, discounted because they resemble each other
    the evidence:     the network's and the cues' (plane, blink, border: kiosk.vision.dynamics)

    evidence >= accept_llr, and the network itself leans to live:      LIVE
    evidence <= refuse_llr, or the network's alone:                    ATTACK
    between them: the next frame; UNSURE when there are no more: the grey zone, where a challenge may ask

That is Wald's sequential test (Annals of Mathematical Statistics 16, 1945) with a shortest and a longest
length. Example (three good frames suffice):

    look = Look(LookRules.of(vision.manifest), source.info.kind)
    for frame in frames:
        result = look.feed(vision.observe(frame))
        if result is not None:
            break
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kiosk.domain.decision import LookOutcome
from kiosk.domain.errors import OperatorError
from kiosk.frames import SourceKind
from kiosk.vision.dynamics import Cue, CueName, Sighting, blink, enclosure, planarity, unavailable
from kiosk.vision.embed import combine
from kiosk.vision.models import Manifest, Role
from kiosk.vision.observation import Observation
from kiosk.vision.quality import Hint, Pose, Quality

__all__ = ["EVIDENCE", "Look", "LookResult", "LookRules", "Motion"]

EVIDENCE: Final = ("llr_scale", "llr_offset", "accept_llr", "refuse_llr")
"""The liveness network's thresholds that a look decides by, in the order of `LookRules`."""


class Motion(StrEnum):
    """Evidence that the scene moves. Never `seen` for a still or recorded source."""

    SEEN = "seen"
    ABSENT = "absent"
    UNAVAILABLE = "unavailable"


FRAME_LLR: Final = 6.0
"""Most that one frame counts, in nats, for either side: about as much as some hundreds of frames of a class
can support (ln 400), and too little for one frame to outweigh two that are sure of the opposite."""
FRAME_CORRELATION: Final = 0.84
"""How much two frames of one look resemble each other: the intraclass correlation of logits out of fold
within videos, mean over sets and species (`tools/pad/fusion.py` prints it). n such frames are worth
n / (1 + (n - 1) x correlation) independent ones (Kish's design effect)."""
LEAST_GREY, MOST_GREY = 1.0, 4.0
"""Half the grey zone's width, in nats, where it is derived from `live` and `attack`."""
MESH_HOLDS: Final = (None, Hint.LOOK_HERE, Hint.OPEN_EYES, Hint.CLOSE_MOUTH, Hint.EVEN_LIGHT)
"""Frames that the cues are read from: turned, blinking and talking faces are what they are about. Of a small,
dark, blurred or covered one the mesh is too coarse."""
TRACKED: Final = 150
"""Sightings that the cues are read from, the newest: five seconds at 30 a second."""


@dataclass(frozen=True, slots=True)
class LookRules:
    """When a look is over.

    `llr_scale` (> 0) and `llr_offset` make a log-likelihood ratio of a frame's logit, in nats, positive for
    live. Evidence from `accept_llr` on is live, down to `refuse_llr` an attack, between them unsure.
    `correlation` of a look's frames in [0, 1] discounts their sum. `same_person` is the cosine below which a
    face is another one, and the look begins again. A look of a live or recorded source takes `min_frames`
    good ones, and up to `max_good` while it is unsure; it ends after `max_frames` or `max_ms` in any case.
    """

    llr_scale: float
    llr_offset: float
    accept_llr: float
    refuse_llr: float
    same_person: float
    correlation: float = FRAME_CORRELATION
    min_frames: int = 3
    max_good: int = 5
    max_frames: int = 450
    max_ms: int = 15_000

    def __post_init__(self) -> None:
        if not (0.0 < self.llr_scale < math.inf and math.isfinite(self.llr_offset)):
            raise ValueError(f"needs llr_scale > 0 and a finite llr_offset, got {self}")
        if not -FRAME_LLR <= self.refuse_llr < 0.0 < self.accept_llr <= FRAME_LLR:
            raise ValueError(
                f"needs -{FRAME_LLR} <= refuse_llr < 0 < accept_llr <= {FRAME_LLR}, "
                f"got {self.refuse_llr} and {self.accept_llr}"
            )
        if not 0.0 < self.same_person < 1.0:
            raise ValueError(f"needs same_person in (0, 1), got {self.same_person}")
        if not 0.0 <= self.correlation <= 1.0:
            raise ValueError(f"needs a correlation in [0, 1], got {self.correlation}")
        if not 1 <= self.min_frames <= self.max_good <= self.max_frames:
            raise ValueError("needs 1 <= min_frames <= max_good <= max_frames")

    @classmethod
    def of(cls, manifest: Manifest) -> LookRules:
        """The rules with the manifest's thresholds.

        A network that comes with `live` and `attack` only gets rules that are derived from them
        (`from_scores`). OperatorError when the manifest has neither, one of the four alone, or nonsense.
        """
        card = manifest.card(Role.LIVENESS)
        same_person = manifest.card(Role.EMBEDDING).threshold("same_person")
        try:
            if not any(name in card.thresholds for name in EVIDENCE):
                return cls.from_scores(card.threshold("live"), card.threshold("attack"), same_person)
            scale, offset, accept, refuse = (card.threshold(name) for name in EVIDENCE)
            return cls(scale, offset, accept, refuse, same_person)
        except ValueError as error:
            raise OperatorError(
                f"thresholds of model {card.id}: {error}",
                where="manifest.json",
                do="Set them with tools/pad/fusion.py, or install a complete release.",
            ) from error

    @classmethod
    def from_scores(cls, live: float, attack: float, same_person: float) -> LookRules:
        """Rules for a network of which only single-frame thresholds are known, scores in (0, 1).

        Its logit is taken for a log-likelihood ratio (what a network fitted by cross-entropy to as many live
        faces as attacks gives), 0 moved to the middle of the grey zone, and the zone's ends are the bounds:
        one frame decides as `live` and `attack` would. A zone of less than +-1 nat is widened to that, one of
        more than +-4 scaled down, so that a look of several frames can decide at all.
        """
        if not 0.0 < attack <= live < 1.0:
            raise ValueError(f"needs 0 < attack <= live < 1, got {attack} and {live}")
        low, high = (math.log(score / (1.0 - score)) for score in (attack, live))
        half = (high - low) / 2
        bound = min(max(half, LEAST_GREY), MOST_GREY)
        scale = min(1.0, MOST_GREY / half) if half > 0 else 1.0
        return cls(scale, -scale * (low + high) / 2, bound, -bound, same_person)

    def evidence(self, logits: Sequence[float | None]) -> float | None:
        """The frames' log-likelihood ratio, in nats; their order does not matter.

        None without a frame, or when one was not measured or is not a finite number.
        """
        finite = [logit for logit in logits if logit is not None and math.isfinite(logit)]
        if not logits or len(finite) < len(logits):
            return None
        ratios = [self.llr_scale * logit + self.llr_offset for logit in finite]
        total = math.fsum(min(max(ratio, -FRAME_LLR), FRAME_LLR) for ratio in ratios)
        return total / (1.0 + (len(finite) - 1) * self.correlation)


@dataclass(frozen=True, slots=True, eq=False)
class LookResult:
    """How a look ended.

    `template` (float32[192], length 1: the mean of the good frames' embeddings, weighted by quality) is there
    only for a live outcome. `liveness` is the mean score in [0, 1]; `quality` and `pose` are those of the
    best frame. `llr` is the evidence in nats, positive for live: the network's and that of `cues`; None when
    a frame's liveness was not measured. `challengeable`: the look ended in the grey zone, and a challenge can
    settle it; never without a face, with two, or with a feed that repeats itself. `timings_ms` sums each
    stage over the frames that were used.
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
        self._track: deque[Observation] = deque(maxlen=TRACKED)
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
        if observation.hint in MESH_HOLDS:
            self._track.append(observation)
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
        weights = [o.quality.weight if o.quality else 0.0 for o in self._good]
        return combine(self._embeddings, weights)

    def _take(self, observation: Observation, embedding: NDArray[np.float32]) -> None:
        """Adds a good frame. Another person's face begins the look again: two people make no payer."""
        if self._embeddings and not float(self._embeddings[0] @ embedding) >= self._rules.same_person:
            self._good.clear()
            self._embeddings.clear()
        self._good.append(observation)
        self._embeddings.append(embedding)

    def _judge(self) -> LookOutcome | None:
        """Live, attack or unsure once enough frames are good; None while more may still decide."""
        if len(self._good) < self._needed:
            return None
        network, rules = self._network(), self._rules
        if network is None:
            return LookOutcome.UNSURE
        evidence = network + sum(cue.llr for cue in self._cues())
        if min(network, evidence) <= rules.refuse_llr:
            return LookOutcome.ATTACK
        if evidence >= rules.accept_llr and network > 0.0 and self._motion() is not Motion.ABSENT:
            return LookOutcome.LIVE
        final = self._kind is SourceKind.STILL or len(self._good) >= rules.max_good
        return LookOutcome.UNSURE if final else None

    def _network(self) -> float | None:
        """What the anti-spoof network says of the good frames; None when one of them was not measured."""
        return self._rules.evidence([o.liveness_logit for o in self._good])

    def _score(self) -> float | None:
        """The mean logit as a score; None when any frame's liveness was not measured."""
        logits = [o.liveness_logit for o in self._good if o.liveness_logit is not None]
        if not logits or len(logits) < len(self._good) or not np.isfinite(logits).all():
            return None
        return float(1.0 / (1.0 + np.exp(-np.mean(logits))))

    def _cues(self) -> tuple[Cue, ...]:
        """What the frames say together; a still says nothing."""
        track = self._sightings()
        if self._kind is SourceKind.STILL or not track:
            return tuple(unavailable(name) for name in CueName)
        return planarity(track), blink(track), enclosure(track)

    def _sightings(self) -> list[Sighting]:
        """The payer's, oldest first: turned faces count here too, other people's don't."""
        if not self._embeddings:
            return []
        payer, same = self._embeddings[0], self._rules.same_person
        return [
            Sighting(o.landmarks.points, o.timestamp_ns, o.payer.box, o.border)
            for o in self._track
            if o.landmarks and o.payer and o.embedding is not None and float(payer @ o.embedding) >= same
        ]

    def _motion(self) -> Motion:
        """A camera's frames are never twice the same; a feed that repeats one is no camera."""
        if self._kind is not SourceKind.LIVE:
            return Motion.UNAVAILABLE
        meshes = [o.landmarks.points for o in self._good if o.landmarks is not None]
        moved = any(not np.array_equal(meshes[0], mesh) for mesh in meshes[1:])
        return Motion.SEEN if moved else Motion.ABSENT

    def _is_challengeable(self, outcome: LookOutcome) -> bool:
        grey = outcome is LookOutcome.UNSURE and self._network() is not None
        return grey and self._motion() is not Motion.ABSENT

    def _end(self, outcome: LookOutcome) -> LookResult:
        good = self._good
        network, cues = self._network(), self._cues()
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
            llr=None if network is None else network + sum(cue.llr for cue in cues),
            cues=cues,
            challengeable=self._is_challengeable(outcome),
        )
        return self._result
