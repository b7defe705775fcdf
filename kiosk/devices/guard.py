"""Injection defence: what a camera can't have delivered is not handed on, and the look that saw it fails.

`GuardedSource` stands around every source. It admits a camera by what it is (a sensor, the pinned one), and
each frame by what a sensor's frames are like: fresh, in order, at the mode's rate, never twice the same.

What a kind of camera does not give can't be checked: it reads `unavailable`, never `passed`. Nothing here
leaves the kiosk, and no picture is kept: of earlier frames there are digests, under a key that is made anew
at every start. What each check is worth, and what none of them sees: docs/adr/0054-injection-defence.md.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from statistics import fmean, median
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kiosk.domain.errors import OperatorError
from kiosk.domain.ports import Mode
from kiosk.frames import (
    CameraIdentity,
    Frame,
    FrameSource,
    PixelFormat,
    SensorMetadata,
    SourceInfo,
    SourceKind,
)

__all__ = [
    "Check",
    "Finding",
    "FrameGuard",
    "GuardError",
    "GuardMemory",
    "GuardRules",
    "GuardedSource",
    "PinState",
    "admit",
    "difference",
    "pin_state",
]


class Check(StrEnum):
    """What is looked at, in the order in which it is."""

    CAMERA = "camera"
    """The source is a sensor, not a program or a file that plays one."""
    PIN = "pin"
    """The camera is the one that was pinned."""
    SEQUENCE = "sequence"
    """Frames are of one camera, and their numbers grow."""
    SHAPE = "shape"
    """Size and format stay as they were when the camera was opened."""
    ORDER = "order"
    """Time stamps grow."""
    FRESHNESS = "freshness"
    """Frames are taken now: by the clock of this machine, neither in the future nor long ago."""
    RATE = "rate"
    """No more frames than the sensor's mode has."""
    STALL = "stall"
    """Frames keep coming."""
    JITTER = "jitter"
    """Time stamps scatter as an interrupt's do, and no computed series' do."""
    METADATA = "metadata"
    """Exposure and gain are told, and possible."""
    RESPONSE = "response"
    """What the camera says about itself moves while the picture's brightness does."""
    REPETITION = "repetition"
    """No picture comes twice: a sensor's noise never does."""


class Finding(StrEnum):
    """What a check has found so far. The third outcome, a failure, is raised: `GuardError`."""

    PASSED = "passed"
    UNAVAILABLE = "unavailable"
    """This kind of source does not give what it takes, or not enough of it came yet."""


class PinState(StrEnum):
    OK = "ok"
    MISSING = "missing"
    """There is a camera and no pin."""
    WRONG = "wrong"
    UNAVAILABLE = "unavailable"
    """A picture or a recording: nothing that could be pinned."""


class GuardError(OperatorError):
    """What came is not what the pinned camera can have taken. `check` says which rule it broke."""

    def __init__(self, check: Check, what: str, *, where: str = "", do: str = "") -> None:
        self.check = check
        super().__init__(what, where=where, do=do or _LOOK_AT_IT)


_LOOK_AT_IT: Final = (
    "Look at what is connected between sensor and kiosk; if nothing is wrong, restart the camera"
)
_SET_PIN: Final = "If you changed the camera: `kiosk doctor` shows the line for camera.pin"


@dataclass(frozen=True, slots=True)
class GuardRules:
    """The limits. None was set on a real camera yet; each leaves room for what drivers say they do."""

    max_age_ms: float = 500.0
    """From first exposed row to arrival here: four frames' time in the camera's and OpenCV's buffers at 30 a
    second, and as much again for a machine under load."""
    max_ahead_ms: float = 5.0
    """How far in the future a time stamp may lie: webcams' drivers reckon it from the camera's own clock."""
    max_stale: int = 8
    """Old frames in a row, none of them handed on: more than any queue here holds."""
    max_rate: float = 1.25
    """Frames over the mode's rate, as a factor, over `rate_intervals`."""
    rate_intervals: int = 8
    min_interval: float = 0.25
    """Shortest single interval, as a part of the mode's: USB delivers late, then catches up."""
    max_wait_ms: float = 2000.0
    """Longest wait for the next frame of a camera that runs; in the dark webcams go down to 5 a second."""
    jitter_intervals: int = 64
    min_jitter_ns: int = 1_000
    """Least spread of that many intervals: a computed series in V4L2's whole µs has its rounding only.

    Of simulated interrupts whose delay scatters by 1 µs (standard deviation), 0 of 20,000 windows are as
    regular; by 0.7 µs, 13; by 0.5 µs, 873. A kernel without real-time patches scatters by several."""
    response_frames: int = 30
    response_ratio: float = 1.5
    """How far brightness moves, as a factor, in that many frames, before the metadata has to move too."""
    response_levels: float = 20.0
    """The same in grey levels of 255, so that the dark does not count."""
    flat_levels: int = 16
    """A picture within so many levels is black, white or covered: clipped, so without noise to see."""


RULES: Final = GuardRules()

_ROWS: Final = 16
"""Rows looked at of each frame: every face that can be measured is crossed by several."""


class GuardMemory:
    """What is kept from look to look, of one camera at a time: digests of frames, and intervals in ns.

    A look has too few frames to judge how its time stamps scatter, so they are judged over several;
    `scattered` says how the last full number of `intervals` came out.
    Digests are keyed at random: whoever reads this memory can't look a picture up in it.
    """

    FRAMES: Final = 4096
    """About two minutes of looking, 0.5 MB."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._order: deque[bytes] = deque()
        self._seen: set[bytes] = set()
        self._camera_id = ""
        self.intervals: list[int] = []
        self.scattered = False

    def begin(self, camera_id: str) -> None:
        """A session with a camera begins; of another one nothing is remembered."""
        if camera_id != self._camera_id:
            self._order.clear()
            self._seen.clear()
            self.intervals.clear()
            self.scattered = False
        self._camera_id = camera_id

    def digest(self, rows: NDArray[np.uint8]) -> bytes:
        return blake2b(rows.tobytes(), digest_size=16, key=self._key).digest()

    def is_new(self, digest: bytes) -> bool:
        """Whether it was not seen before; from now on it was."""
        if digest in self._seen:
            return False
        if len(self._order) == self.FRAMES:
            self._seen.discard(self._order.popleft())
        self._order.append(digest)
        self._seen.add(digest)
        return True


def pin_state(info: SourceInfo, pin: str) -> PinState:
    """How the camera stands to `pin` (`CameraIdentity.text`; empty: none is set)."""
    if info.kind is not SourceKind.LIVE:
        return PinState.UNAVAILABLE
    if not pin:
        return PinState.MISSING
    return PinState.OK if info.identity is not None and info.identity.text == pin else PinState.WRONG


def admit(info: SourceInfo, pin: str, mode: Mode) -> Mapping[Check, Finding]:
    """What is known of the source before its first frame, or why it is not let in.

    Demo and test take any kind of source, and a camera without a pin; no mode takes another camera than the
    pinned one.

    Raises:
        OperatorError: a file where a camera belongs, or no pin yet.
        GuardError: another camera than the pinned one, or a program in a camera's place.
    """
    lenient = mode in ("demo", "test")
    if info.kind is not SourceKind.LIVE:
        if not lenient:
            raise OperatorError(
                f"a {info.kind} source can't pay in {mode} mode", where=info.name, do="Use the camera module."
            )
        return {Check.CAMERA: Finding.UNAVAILABLE, Check.PIN: Finding.UNAVAILABLE}
    state = pin_state(info, pin)
    if state is PinState.WRONG:
        raise GuardError(Check.PIN, f"not the pinned camera ({difference(info.identity, pin)})", do=_SET_PIN)
    physical = info.identity is not None and not info.identity.virtual
    if not physical and not lenient:
        why = info.identity.virtual if info.identity else "nothing tells who this camera is"
        raise GuardError(
            Check.CAMERA, f"{why}: can't pay in {mode} mode", where=info.name, do="Use a camera."
        )
    if state is PinState.MISSING and not lenient:
        raise OperatorError(
            f"no camera is pinned, which {mode} mode wants",
            where=info.name,
            do="`kiosk doctor` shows the line for camera.pin",
        )
    return {
        Check.CAMERA: Finding.PASSED if physical else Finding.UNAVAILABLE,
        Check.PIN: Finding.PASSED if state is PinState.OK else Finding.UNAVAILABLE,
    }


def difference(identity: CameraIdentity | None, pin: str) -> str:
    """The parts in which a camera and a pin that is not its own differ, in words."""
    if identity is None:
        return "nothing tells who this one is"
    family, _, listed = pin.partition(":")
    pinned = dict(part.partition("=")[::2] for part in listed.split(";"))
    own = dict(part.partition("=")[::2] for part in identity.text.partition(":")[2].split(";"))
    if family != identity.family:
        return f"it is of the kind {identity.family}, the pin of the kind {family}"
    parts = [
        f"{name} {own.get(name, '')!r}, pinned {pinned.get(name, '')!r}"
        for name in {**pinned, **own}
        if own.get(name) != pinned.get(name)
    ]
    return "; ".join(parts) or "its parts are in another order"


class FrameGuard:
    """One session with one source: of frame after frame, what can be checked.

    `clock` is CLOCK_MONOTONIC in ns. Keeps numbers and digests of frames, never a frame. Not thread-safe.
    """

    def __init__(
        self,
        info: SourceInfo,
        rules: GuardRules = RULES,
        memory: GuardMemory | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._info, self._rules, self._clock = info, rules, clock
        self._live, self._traits = info.kind is SourceKind.LIVE, info.traits
        self._memory = memory or GuardMemory()
        self._memory.begin(info.camera_id)
        # libcamera documents its time stamps as CLOCK_BOOTTIME, V4L2 gives CLOCK_MONOTONIC: they differ by
        # the time that this machine slept, and a kiosk does not sleep.
        self._slept_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
        self._findings = dict.fromkeys(Check, Finding.UNAVAILABLE)
        if self._memory.scattered:
            self._passed(Check.JITTER)
        self._sequence = -1
        self._shape: tuple[int, int, PixelFormat] | None = None
        self._stamps_ns: deque[int] = deque(maxlen=rules.rate_intervals + 1)
        self._stale = self._repeats = 0
        self._digest = b""
        self._said: SensorMetadata | None = None
        self._levels: deque[float] = deque(maxlen=rules.response_frames)

    @property
    def evidence(self) -> Mapping[Check, Finding]:
        """What this session's checks have found so far."""
        return dict(self._findings)

    def admits(self, frame: Frame) -> bool:
        """Whether `frame` may be handed on. False: it is old or a double, which happens and shows nothing.

        Raises:
            GuardError: no camera of this kind delivers such a frame.
        """
        arrived_ns = self._clock()
        self._is_the_next(frame)
        self._has_the_shape(frame)
        self._is_in_time(frame.timestamp_ns)
        if not self._live:
            return True
        self._is_told(frame.metadata)
        rows = _rows(frame)
        self._responds(frame.metadata, float(rows.mean()))
        is_new = self._is_new(rows)
        return self._is_fresh(arrived_ns - frame.timestamp_ns) and is_new

    def stands_still(self, waited_ms: float) -> None:
        """Nothing came for so long.

        Raises:
            GuardError: it is longer than a camera that runs takes.
        """
        if self._live and self._sequence >= 0 and waited_ms > self._rules.max_wait_ms:
            raise self._refusal(Check.STALL, f"no frame for {waited_ms / 1000:.1f} s", do=_CABLE)

    # --- one check each ---

    def _is_the_next(self, frame: Frame) -> None:
        if frame.camera_id != self._info.camera_id:
            raise self._refusal(Check.SEQUENCE, f"a frame of another camera ({frame.camera_id!a})")
        if frame.sequence <= self._sequence:
            raise self._refusal(Check.SEQUENCE, f"frame {frame.sequence} after frame {self._sequence}")
        if self._sequence >= 0:
            self._passed(Check.SEQUENCE, Check.STALL)
        self._sequence = frame.sequence

    def _has_the_shape(self, frame: Frame) -> None:
        if self._info.kind is SourceKind.STILL:
            return  # pictures of a folder differ in size
        shape = (frame.width, frame.height, frame.format)
        if self._shape is not None and shape != self._shape:
            told = [f"{format_} of {width} x {height} px" for width, height, format_ in (shape, self._shape)]
            raise self._refusal(Check.SHAPE, f"{told[0]} after {told[1]}")
        if self._shape is not None:
            self._passed(Check.SHAPE)
        self._shape = shape

    def _is_in_time(self, stamp_ns: int) -> None:
        """Order, rate and jitter of the time stamps."""
        before_ns = self._stamps_ns[-1] if self._stamps_ns else None
        self._stamps_ns.append(stamp_ns)
        if before_ns is None:
            return
        interval_ns = stamp_ns - before_ns
        if interval_ns <= 0:
            raise self._refusal(
                Check.ORDER, f"a time stamp {-interval_ns / 1e6:.3f} ms before the last frame's"
            )
        if not self._live or not self._traits.sensor_clock:
            return
        self._passed(Check.ORDER)
        self._is_at_its_rate(interval_ns)
        self._scatters(interval_ns)

    def _is_at_its_rate(self, interval_ns: int) -> None:
        per_s, rules = self._traits.frames_per_s, self._rules
        if per_s is None:
            return
        if interval_ns * per_s < rules.min_interval * 1e9:
            raise self._refusal(
                Check.RATE, f"{interval_ns / 1e6:.1f} ms between frames at {per_s:g} a second"
            )
        if len(self._stamps_ns) > rules.rate_intervals:
            found = rules.rate_intervals * 1e9 / (self._stamps_ns[-1] - self._stamps_ns[0])
            if found > per_s * rules.max_rate:
                raise self._refusal(Check.RATE, f"{found:.1f} frames a second in a mode of {per_s:g}")
            self._passed(Check.RATE)

    def _scatters(self, interval_ns: int) -> None:
        intervals = self._memory.intervals
        intervals.append(interval_ns)
        if len(intervals) < self._rules.jitter_intervals:
            return
        self._memory.scattered = not _is_computed(intervals, self._rules.min_jitter_ns)
        intervals.clear()
        if not self._memory.scattered:
            raise self._refusal(Check.JITTER, "time stamps as regular as computed ones")
        self._passed(Check.JITTER)

    def _is_told(self, said: SensorMetadata | None) -> None:
        if said is None and not self._traits.metadata:
            return
        problem = _problem(said, self._traits.frames_per_s) if said else "a frame without its metadata"
        if not problem and self._traits.metadata and said and None in (said.exposure_us, said.analogue_gain):
            problem = "a frame without exposure or gain"
        if problem:
            raise self._refusal(Check.METADATA, problem)
        self._passed(Check.METADATA)

    def _responds(self, said: SensorMetadata | None, level: float) -> None:
        """Auto-exposure that does nothing while the light changes belongs to another picture.

        A camera at the end of its range (the exposure fills the frame's time) can do nothing and need not.
        """
        if said is None or not said.auto_exposure:
            return
        if said != self._said:
            if self._said is not None:
                self._passed(Check.RESPONSE)
            self._said = said
            self._levels.clear()
        self._levels.append(level)
        if len(self._levels) < self._rules.response_frames or _is_at_its_end(said):
            return
        part, levels = self._rules.response_frames // 3, list(self._levels)
        low, high = sorted((fmean(levels[:part]), fmean(levels[-part:])))
        if high - low > self._rules.response_levels and high > low * self._rules.response_ratio:
            raise self._refusal(
                Check.RESPONSE,
                f"brightness went from {levels[0]:.0f} to {levels[-1]:.0f}, exposure stood still",
            )

    def _is_new(self, rows: NDArray[np.uint8]) -> bool:
        if int(rows.max()) - int(rows.min()) < self._rules.flat_levels:
            self._digest, self._repeats = b"", 0
            return True
        digest = self._memory.digest(rows)
        if digest == self._digest:
            self._repeats += 1
            if self._repeats > self._traits.repeats:
                raise self._refusal(Check.REPETITION, f"the same picture {self._repeats + 1} times in a row")
            return False
        if not self._memory.is_new(digest):
            raise self._refusal(Check.REPETITION, "a picture that came before: a recording that is repeated")
        if self._digest:
            self._passed(Check.REPETITION)
        self._digest, self._repeats = digest, 0
        return True

    def _is_fresh(self, age_ns: int) -> bool:
        if not self._traits.sensor_clock:
            return True
        first_ms, last_ms = -self._rules.max_ahead_ms, self._rules.max_age_ms
        ages_ms = (age_ns / 1e6, (age_ns + self._slept_ns) / 1e6)
        if any(first_ms <= age <= last_ms for age in ages_ms):
            self._stale = 0
            self._passed(Check.FRESHNESS)
            return True
        if max(ages_ms) < first_ms:
            raise self._refusal(
                Check.FRESHNESS, f"a frame of the future, by {-max(ages_ms) / 1000:.3f} s", do=_CLOCK
            )
        self._stale += 1
        if self._stale > self._rules.max_stale:
            raise self._refusal(
                Check.FRESHNESS, f"{self._stale} frames in a row were old, the last {ages_ms[0] / 1000:.3f} s"
            )
        return False

    def _passed(self, *checks: Check) -> None:
        if self._live:
            self._findings.update(dict.fromkeys(checks, Finding.PASSED))

    def _refusal(self, check: Check, what: str, do: str = "") -> GuardError:
        return GuardError(check, what, where=self._info.name, do=do)


_CABLE: Final = "Check the cable and the camera's power"
_CLOCK: Final = "For a webcam: the module uvcvideo must keep clock=CLOCK_MONOTONIC, which is its default"


def _rows(frame: Frame) -> NDArray[np.uint8]:
    """Rows spread over the frame, uint8[about 16, w]: luma, or green of a packed format. A copy."""
    plane = frame.planes[0] if frame.format is PixelFormat.NV12 else frame.planes[0][..., 1]
    step = max(1, frame.height // _ROWS)
    return np.ascontiguousarray(plane[step // 2 :: step])


def _is_computed(intervals_ns: Sequence[int], least_ns: int) -> bool:
    """Whether these are multiples of one interval up to rounding, or whole milliseconds."""
    typical = round(median(intervals_ns))
    rest = [interval - round(interval / typical) * typical for interval in intervals_ns]
    return max(rest) - min(rest) <= least_ns or all(interval % 1_000_000 == 0 for interval in intervals_ns)


def _is_at_its_end(said: SensorMetadata) -> bool:
    exposure_us, frame_us = said.exposure_us, said.frame_duration_us
    return exposure_us is None or frame_us is None or exposure_us > 0.95 * frame_us


def _problem(said: SensorMetadata, frames_per_s: float | None) -> str:
    """What no sensor would say; empty when there is nothing. NaN lies in no range."""
    slowest_us = 1e6 / frames_per_s if frames_per_s else math.inf
    frame_us = slowest_us if said.frame_duration_us is None else said.frame_duration_us
    ranges = {
        "frame_duration_us": (0.8 * slowest_us if frames_per_s else 100.0, 1e9),
        "exposure_us": (1.0, 1.02 * frame_us),
        "analogue_gain": (0.99, 256.0),
        "digital_gain": (0.5, 256.0),
        "colour_temperature_k": (500.0, 100_000.0),
        "lux": (0.0, 1e6),
        "sensor_temperature_c": (-40.0, 125.0),
        "lens_position_dpt": (0.0, 100.0),
    }
    for name, (least, most) in ranges.items():
        value = getattr(said, name)
        if value is not None and not least <= value <= most:
            return f"{name} is {value:g}, possible is {least:g} to {most:g}"
    if said.colour_gains is not None and not all(0 < gain <= 32 for gain in said.colour_gains):
        return f"colour gains of {said.colour_gains}"
    return ""


class GuardedSource:
    """A source with the guard around it; itself a `FrameSource`.

    `open` admits the camera or raises, `read` hands on what the guard admits. After a refusal the source is
    closed, its light off; `on_refusal` is told which check it was.
    """

    def __init__(
        self,
        source: FrameSource,
        *,
        pin: str,
        mode: Mode,
        rules: GuardRules = RULES,
        memory: GuardMemory | None = None,
        on_refusal: Callable[[Check], None] = lambda check: None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._source, self._pin, self._mode, self._rules = source, pin, mode, rules
        self._memory, self._on_refusal, self._clock = memory or GuardMemory(), on_refusal, clock
        self._admitted: Mapping[Check, Finding] = {}
        self._guard: FrameGuard | None = None
        self._waited_ns = 0

    @property
    def info(self) -> SourceInfo:
        return self._source.info

    @property
    def ended(self) -> bool:
        return self._source.ended

    @property
    def evidence(self) -> Mapping[Check, Finding]:
        """What the checks have found since the source was opened, every check named."""
        frames = self._guard.evidence if self._guard else dict.fromkeys(Check, Finding.UNAVAILABLE)
        return {**frames, **self._admitted}

    def open(self) -> None:
        """Raises OperatorError when the camera can't be opened, is not let in or not pinned (`admit`)."""
        self._admitted, self._guard, self._waited_ns = {}, None, 0
        with self._closed_on_error():
            self._source.open()
            self._admitted = admit(self._source.info, self._pin, self._mode)

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame that the guard admits. GuardError when one breaks a rule; then it is closed."""
        end_ns = self._clock() + round(timeout_s * 1e9)
        with self._closed_on_error(GuardError):
            while True:
                started_ns = self._clock()
                frame = self._source.read(max(0.0, (end_ns - started_ns) / 1e9))
                self._waited_ns += self._clock() - started_ns
                if self._guard is not None and not self._source.ended:
                    self._guard.stands_still(self._waited_ns / 1e6)
                if frame is None:
                    return None
                self._waited_ns = 0
                if self._guard is None:  # only now: a webcam's clock is known with its first frame
                    self._guard = FrameGuard(self._source.info, self._rules, self._memory, self._clock)
                if self._guard.admits(frame):
                    return frame
                del frame  # a camera has few buffers
                if self._clock() >= end_ns:
                    return None

    def close(self) -> None:
        self._source.close()

    @contextmanager
    def _closed_on_error(self, family: type[OperatorError] = OperatorError) -> Iterator[None]:
        try:
            yield
        except family as error:
            self._source.close()
            if isinstance(error, GuardError):
                self._on_refusal(error.check)
            raise
