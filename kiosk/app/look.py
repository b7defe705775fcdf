"""The camera's worker: from the press to a decision about the presentation, challenged or not, then off.

One thread a look reads the source. A live camera's frames go through `VisionWorker` (newest frame wins); a
picture or a recording is looked at frame by frame, because nothing of it may be skipped. The camera is open
only between `start` and the end of the look, and every frame also goes to the preview.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kiosk.app.challenger import Answered, Challenger, Watch
from kiosk.app.kernel import LookChallenge, LookDone
from kiosk.domain.challenge import Challenge, ChallengeKind
from kiosk.domain.decision import LookOutcome
from kiosk.domain.errors import OperatorError
from kiosk.frames import Frame, FrameSource, SourceInfo, SourceKind
from kiosk.vision.look import Look, LookResult, LookRules
from kiosk.vision.observation import Observation
from kiosk.vision.pipeline import Vision, VisionWorker
from kiosk.vision.quality import Hint, SteadyHint

__all__ = ["CameraLooker", "look_at", "require_source_for"]

_DOUBT: Final = {LookOutcome.LIVE: False, LookOutcome.UNSURE: True, LookOutcome.ATTACK: True}
"""What a look's end says of the next; without a face, or with two, nothing was seen that could."""
READ_S: Final = 0.2
"""How long one read may wait, so that a cancel is heard soon."""


def require_source_for(mode: str, info: SourceInfo) -> None:
    """Only demo and test take a picture or a recording for a camera (`architecture.md`, Modes)."""
    if mode not in ("demo", "test") and info.kind is not SourceKind.LIVE:
        raise OperatorError(
            f"a {info.kind} source can't pay in {mode} mode", where=info.name, do="Use the camera module."
        )


def look_at(
    source: FrameSource,
    vision: Vision,
    rules: LookRules,
    *,
    stopped: Callable[[], bool] = lambda: False,
    on_frame: Callable[[Frame], None] = lambda frame: None,
    on_progress: Callable[[Hint | None, float], None] = lambda hint, progress: None,
    then: Callable[[LookResult, NDArray[np.float32] | None, Watch], LookResult] | None = None,
) -> LookResult | None:
    """One look at an open `source`; None when it was stopped. Ends after the rules' time at the latest: a
    camera's by the clock, a recording's by its own, however slow this machine is.

    `then` gets what was found, the payer's template (to keep or to overwrite) and the means to watch on, and
    has the last word; its time is its own. The frames' own templates are overwritten before it returns; the
    result's is the caller's to overwrite.
    """
    look = Look(rules, source.info.kind)
    shown = SteadyHint()
    results: list[LookResult] = []
    templates: list[NDArray[np.float32]] = []

    def watch(take: Callable[[Observation], bool], most_s: float) -> None:
        _watch(source, vision, take, most_s, stopped=stopped, on_frame=on_frame, templates=templates)

    def take(observation: Observation) -> bool:
        result = look.feed(observation)
        on_progress(shown.show(look.hint, observation.timestamp_ns), look.progress)
        if result is not None:
            results.append(result)
        return result is not None

    try:
        watch(take, rules.max_ms / 1000 if source.info.kind is SourceKind.LIVE else math.inf)
        if not stopped():
            found = results[0] if results else look.finish()
            results = [found if then is None else then(found, look.template(), watch)]
        if not stopped():
            return results[0]
        templates += [result.template for result in results if result.template is not None]
        return None
    finally:
        for template in templates:
            template.fill(0.0)


def _watch(
    source: FrameSource,
    vision: Vision,
    take: Callable[[Observation], bool],
    most_s: float,
    *,
    stopped: Callable[[], bool],
    on_frame: Callable[[Frame], None],
    templates: list[NDArray[np.float32]],
) -> None:
    """Read and observe until `take` has had enough; every template that was made is put into `templates`."""
    ended = threading.Event()

    def observed(observation: Observation) -> None:
        if observation.embedding is not None:
            templates.append(observation.embedding)
        if not ended.is_set() and take(observation):
            ended.set()

    if source.info.kind is SourceKind.LIVE:
        worker = VisionWorker(vision.observe, observed)
        offer, finish = worker.offer, worker.stop
    else:
        offer, finish = (lambda frame: observed(vision.observe(frame))), (lambda: None)
    give_up = time.monotonic() + most_s
    try:
        while not ended.is_set() and not stopped() and time.monotonic() < give_up:
            frame = source.read(READ_S)
            if frame is not None:
                on_frame(frame)
                offer(frame)
            elif source.ended:
                break
    finally:
        finish()


class CameraLooker:
    """Implements `kernel.Looker` over a frame source; `failure` keeps the last look's trouble for staff.

    `kinds` are the challenges that whoever stands between this kiosk and its payer can ask; none at first.
    They call `shown` when the payer can see one. `always`: everybody is challenged (`vision.challenge`).
    After a look in doubt the next is challenged in any case: three looks are not three chances for a print.
    """

    def __init__(
        self,
        open_source: Callable[[], FrameSource],
        vision: Vision,
        rules: LookRules,
        *,
        mode: str,
        model_ids: tuple[str, ...],
        always: bool = False,
        on_frame: Callable[[Frame], None] = lambda frame: None,
        on_progress: Callable[[Hint | None, float], None] = lambda hint, progress: None,
    ) -> None:
        self.open_source = open_source
        self.failure: OperatorError | None = None
        self.last: LookResult | None = None
        self.answered: tuple[Answered, ...] = ()
        """The challenges of the last look."""
        self.kinds: tuple[ChallengeKind, ...] = ()
        self.on_frame, self.on_progress = on_frame, on_progress
        self._always, self._in_doubt = always, False
        self._challenger: Challenger | None = None
        self._vision, self._rules, self._mode, self._model_ids = vision, rules, mode, model_ids
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, look: int, tell: Callable[[LookDone | LookChallenge], None]) -> None:
        """Begin look number `look`; a look that still runs is ended first."""
        self._stop.set()
        stop, before = threading.Event(), self._thread
        self._stop = stop
        self._thread = threading.Thread(
            target=self._run, args=(look, tell, stop, before), name=f"look-{look}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the look soon; does not wait."""
        self._stop.set()

    def shown(self, challenge: Challenge, index: int, at_ns: int) -> None:
        """See `Challenger.shown`; from any thread."""
        challenger = self._challenger
        if challenger is not None:
            challenger.shown(challenge, index, at_ns)

    def close(self) -> None:
        """End the look and wait for the camera to be off."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def _run(
        self,
        look: int,
        tell: Callable[[LookDone | LookChallenge], None],
        stop: threading.Event,
        before: threading.Thread | None,
    ) -> None:
        if before is not None:
            before.join()  # the interpreters belong to one look at a time
        self.failure, self.last, self.answered = None, None, ()
        if stop.is_set():
            return

        def ask(challenge: Challenge) -> None:
            self._in_doubt = True  # until it is answered: a cancel ends no doubt
            tell(LookChallenge(look, challenge))

        challenger = Challenger(
            ask,
            kinds=self.kinds,
            always=self._always,
            same_person=self._rules.same_person,
            stopped=stop.is_set,
            on_progress=self.on_progress,
        )
        self._challenger = challenger
        try:
            result = self._watch(stop, challenger)
            self.answered = tuple(challenger.answered)
            if result is not None:
                self.last = result
                self._in_doubt = _DOUBT.get(result.outcome, self._in_doubt)
                tell(LookDone(look, result.outcome, result.template, result.liveness, self._model_ids))
        except OperatorError as failure:
            self.failure = failure
            tell(LookDone(look, LookOutcome.NO_FACE, None, None))
        finally:
            self._challenger = None
            self._vision.forget()  # after the answer: nobody waits for it

    def _watch(self, stop: threading.Event, challenger: Challenger) -> LookResult | None:
        source = self.open_source()
        require_source_for(self._mode, source.info)
        source.open()
        is_live = source.info.kind is SourceKind.LIVE
        challenger.always |= self._in_doubt and is_live and bool(self.kinds)
        try:
            return look_at(
                source,
                self._vision,
                self._rules,
                stopped=stop.is_set,
                on_frame=self.on_frame,
                on_progress=self.on_progress,
                then=lambda found, template, watch: challenger.settle(
                    found, template, source.info.kind, watch
                ),
            )
        finally:
            source.close()
