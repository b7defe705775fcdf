"""The camera's worker: from the press to a decision about the presentation, then off again.

One thread a look reads the source. A live camera's frames go through `VisionWorker` (newest frame wins); a
picture or a recording is looked at frame by frame, because nothing of it may be skipped. The camera is open
only between `start` and the end of the look, and every frame also goes to the preview.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kiosk.app.kernel import LookDone
from kiosk.domain.decision import LookOutcome
from kiosk.domain.errors import OperatorError
from kiosk.frames import Frame, FrameSource, SourceInfo, SourceKind
from kiosk.vision.look import Look, LookResult, LookRules
from kiosk.vision.observation import Observation
from kiosk.vision.pipeline import Vision, VisionWorker
from kiosk.vision.quality import Hint

__all__ = ["CameraLooker", "look_at", "require_source_for"]

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
) -> LookResult | None:
    """One look at an open `source`; None when it was stopped. Ends after the rules' time at the latest.

    The frames' own templates are overwritten before it returns; the result's is the caller's to overwrite.
    """
    look = Look(rules, source.info.kind)
    ended = threading.Event()
    results: list[LookResult] = []
    templates: list[NDArray[np.float32]] = []

    def observed(observation: Observation) -> None:
        if observation.embedding is not None:
            templates.append(observation.embedding)
        if results:
            return
        result = look.feed(observation)
        on_progress(look.hint, look.progress)
        if result is not None:
            results.append(result)
            ended.set()

    if source.info.kind is SourceKind.LIVE:
        worker = VisionWorker(vision.observe, observed)
        offer, finish = worker.offer, worker.stop
    else:
        offer, finish = (lambda frame: observed(vision.observe(frame))), (lambda: None)
    give_up = time.monotonic() + rules.max_ms / 1000
    try:
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
        if not stopped():
            return results[0] if results else look.finish()
        templates += [result.template for result in results if result.template is not None]
        return None
    finally:
        for template in templates:
            template.fill(0.0)


class CameraLooker:
    """Implements `kernel.Looker` over a frame source; `failure` keeps the last look's trouble for staff."""

    def __init__(
        self,
        open_source: Callable[[], FrameSource],
        vision: Vision,
        rules: LookRules,
        *,
        mode: str,
        model_ids: tuple[str, ...],
        on_frame: Callable[[Frame], None] = lambda frame: None,
        on_progress: Callable[[Hint | None, float], None] = lambda hint, progress: None,
    ) -> None:
        self.open_source = open_source
        self.failure: OperatorError | None = None
        self.last: LookResult | None = None
        self.on_frame, self.on_progress = on_frame, on_progress
        self._vision, self._rules, self._mode, self._model_ids = vision, rules, mode, model_ids
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, look: int, done: Callable[[LookDone], None]) -> None:
        """Begin look number `look`; a look that still runs is ended first."""
        self._stop.set()
        stop, before = threading.Event(), self._thread
        self._stop = stop
        self._thread = threading.Thread(
            target=self._run, args=(look, done, stop, before), name=f"look-{look}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the look soon; does not wait."""
        self._stop.set()

    def close(self) -> None:
        """End the look and wait for the camera to be off."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def _run(
        self,
        look: int,
        done: Callable[[LookDone], None],
        stop: threading.Event,
        before: threading.Thread | None,
    ) -> None:
        if before is not None:
            before.join()  # the interpreters belong to one look at a time
        self.failure, self.last = None, None
        if stop.is_set():
            return
        try:
            result = self._watch(stop)
            if result is not None:
                self.last = result
                done(LookDone(look, result.outcome, result.template, result.liveness, self._model_ids))
        except OperatorError as failure:
            self.failure = failure
            done(LookDone(look, LookOutcome.NO_FACE, None, None))
        finally:
            self._vision.forget()  # after the answer: nobody waits for it

    def _watch(self, stop: threading.Event) -> LookResult | None:
        source = self.open_source()
        require_source_for(self._mode, source.info)
        source.open()
        try:
            return look_at(
                source,
                self._vision,
                self._rules,
                stopped=stop.is_set,
                on_frame=self.on_frame,
                on_progress=self.on_progress,
            )
        finally:
            source.close()
