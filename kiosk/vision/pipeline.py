"""Frame in, observation out; and the one worker that does it while the newest frame waits.

`Vision` owns the interpreters and is used by one thread. `VisionWorker` is that thread: it holds one frame,
a newer one takes its place, and what was dropped is counted. Frames are never queued and never kept.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from kiosk.frames import Frame, PixelFormat
from kiosk.vision.align import align
from kiosk.vision.border import border_of
from kiosk.vision.colour import face_colour
from kiosk.vision.detect import DetectedFace, Detector
from kiosk.vision.embed import Embedder
from kiosk.vision.landmarks import Landmarker, Landmarks
from kiosk.vision.liveness import Liveness
from kiosk.vision.models import Manifest, Role, load_manifest, load_model
from kiosk.vision.observation import Observation
from kiosk.vision.quality import LIMITS, Hint, Limits, assess, hint_for, pose_of
from kiosk.vision.runtime import Model

__all__ = ["COMPARABLE", "Vision", "VisionWorker"]

COMPARABLE = 0.6
"""A second face at least this wide, in payer's face widths, stands before the kiosk too: two people at arm's
length differ less, and someone waiting a step behind is at twice the distance, so half as wide."""


class Vision:
    """The networks of one manifest, ready to look at frames. Not thread-safe.

    `liveness` may be left out for measuring who is who; the product never leaves it out. OperatorError when a
    model is missing, wrong or not runnable.
    """

    def __init__(
        self,
        manifest: Manifest | None = None,
        *,
        directory: Path | None = None,
        threads: int = 1,
        liveness: bool = True,
    ) -> None:
        self.manifest = manifest or load_manifest(directory)

        self._limits = LIMITS
        self._models: list[Model] = []

        def load(role: Role) -> Model:
            card = self.manifest.card(role)
            self._models.append(load_model(card, self.manifest.home(card), threads=threads))
            return self._models[-1]

        self._detector = Detector(load(Role.DETECTOR))
        self._landmarker = Landmarker(load(Role.LANDMARKS))
        self._embedder = Embedder(load(Role.EMBEDDING))
        self._liveness = (
            Liveness(load(Role.LIVENESS), self.manifest.card(Role.LIVENESS)) if liveness else None
        )

    def observe(self, frame: Frame, *, alone: bool = True) -> Observation:
        """All that can be said about one frame. A picture that is converted for it is overwritten at its end.

        With `alone` (the product) a second face of comparable size means that no face is measured. Without it
        (photographs that are measured, people in the background) the most prominent face is.
        """
        clock = _Clock()
        with clock.stage("convert"):
            rgb = frame.rgb()
        try:
            return self._observe(frame, rgb, clock, alone=alone)
        finally:
            if frame.format is not PixelFormat.RGB888:  # there, it is the camera's own
                rgb.fill(0)

    def _observe(self, frame: Frame, rgb: NDArray[np.uint8], clock: _Clock, *, alone: bool) -> Observation:
        with clock.stage("detect"):
            faces = tuple(by_prominence(self._detector.detect(rgb), frame.width, frame.height))
        if not faces:
            return _without_face(frame, faces, Hint.LOOK_HERE, clock)
        with clock.stage("landmarks"):
            faces, landmarks = self._payer_first(rgb, faces)
            crowd = alone and self._is_crowd(rgb, faces)
        if crowd:
            return _without_face(frame, faces, Hint.ONE_PERSON, clock)
        return self._measure(frame, rgb, faces, landmarks, clock)

    def with_limits(self, limits: Limits) -> Self:
        """The same networks behind another quality gate; not to be used while this one is."""
        other = copy(self)
        other._limits = limits
        return other

    def forget(self) -> None:
        """Overwrite what the networks hold of the last face: its picture, and its template."""
        self._detector.forget()
        for model in self._models:
            model.forget()

    def _payer_first(
        self, rgb: NDArray[np.uint8], faces: tuple[DetectedFace, ...]
    ) -> tuple[tuple[DetectedFace, ...], Landmarks]:
        """The payer in front, with their mesh: the most prominent face that the mesh takes for one too.

        The detector sees faces in clouds and letters; the mesh's presence is a second opinion. Where it
        agrees with no face (covered, in profile), the most prominent one stays in front.
        """
        meshes = []
        for face in faces:
            meshes.append(self._landmarker.find(rgb, face))
            if meshes[-1].presence >= LIMITS.presence:
                return (face, *(other for other in faces if other is not face)), meshes[-1]
        return faces, meshes[0]

    def _is_crowd(self, rgb: NDArray[np.uint8], faces: tuple[DetectedFace, ...]) -> bool:
        """Whether someone of the payer's size stands beside them."""
        least = COMPARABLE * faces[0].box.width
        return any(
            other.box.width >= least and self._landmarker.find(rgb, other).presence >= LIMITS.presence
            for other in faces[1:]
        )

    def _measure(
        self,
        frame: Frame,
        rgb: NDArray[np.uint8],
        faces: tuple[DetectedFace, ...],
        landmarks: Landmarks,
        clock: _Clock,
    ) -> Observation:
        with clock.stage("colour"):
            colour = face_colour(rgb, faces[0].box, landmarks)
        with clock.stage("border"):
            border = border_of(rgb, faces[0].box)
        with clock.stage("embed"):
            aligned = align(rgb, landmarks.five)
            embedding = self._embedder.embed(aligned)
        with clock.stage("quality"):
            pose = pose_of(landmarks)
            size = (frame.width, frame.height)
            quality = assess(aligned, faces[0], landmarks, size, pose=pose, embedding=embedding)
        aligned.fill(0)
        logit = None
        if self._liveness is not None:
            with clock.stage("liveness"):
                logit = self._liveness.logit(rgb, faces[0].box)
        return Observation(
            sequence=frame.sequence,
            timestamp_ns=frame.timestamp_ns,
            width=frame.width,
            height=frame.height,
            faces=faces,
            hint=hint_for(quality, pose, self._limits),
            landmarks=landmarks,
            pose=pose,
            quality=quality,
            embedding=embedding.vector,
            liveness_logit=logit,
            colour=colour,
            border=border,
            timings_ms=clock.taken_ms,
        )


def by_prominence(faces: list[DetectedFace], width: int, height: int) -> list[DetectedFace]:
    """The faces, the payer's first: large and near the middle (box width less distance from it, px)."""

    def prominence(face: DetectedFace) -> float:
        x, y = face.box.centre
        return face.box.width - float(np.hypot(x - width / 2, y - height / 2))

    return sorted(faces, key=prominence, reverse=True)


def _without_face(frame: Frame, faces: tuple[DetectedFace, ...], hint: Hint, clock: _Clock) -> Observation:
    return Observation(
        sequence=frame.sequence,
        timestamp_ns=frame.timestamp_ns,
        width=frame.width,
        height=frame.height,
        faces=faces,
        hint=hint,
        timings_ms=clock.taken_ms,
    )


class _Clock:
    """How long each stage of one frame took."""

    def __init__(self) -> None:
        self.taken_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter_ns()
        yield
        self.taken_ms[name] = (time.perf_counter_ns() - start) / 1e6


class VisionWorker:
    """The thread that looks. `offer` never blocks; `on_observation` is called from the worker's thread.

    A frame that was offered while another waited is dropped (`dropped` counts them). What `look` raises ends
    the worker and comes out of the next `offer` or `stop`: a bug must not look like an empty street.
    """

    def __init__(
        self, look: Callable[[Frame], Observation], on_observation: Callable[[Observation], None]
    ) -> None:
        self._look, self._deliver = look, on_observation
        self._slot: Frame | None = None
        self._changed = threading.Condition()
        self._stopping = False
        self._failure: BaseException | None = None
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="vision", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Frames that a newer one replaced before they were looked at."""
        return self._dropped

    def offer(self, frame: Frame) -> None:
        """The newest frame. Returns at once."""
        with self._changed:
            self._check()
            self._dropped += self._slot is not None
            self._slot = frame
            self._changed.notify()

    def clear(self) -> None:
        """Forgets the waiting frame: the look is over."""
        with self._changed:
            self._slot = None

    def stop(self) -> None:
        """Ends the worker after the frame in hand; waits for it. May be called twice."""
        with self._changed:
            self._stopping, self._slot = True, None
            self._changed.notify()
        self._thread.join()
        self._check()

    def _check(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _run(self) -> None:
        try:
            while (frame := self._next()) is not None:
                self._deliver(self._look(frame))
                del frame
        except BaseException as error:  # handed to the thread that offers
            with self._changed:
                self._failure = error

    def _next(self) -> Frame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._slot is not None)
            frame, self._slot = self._slot, None
            return None if self._stopping else frame
