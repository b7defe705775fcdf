"""The guard: what a camera delivers passes, and each thing that no camera delivers is refused by name."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiosk.devices.guard import (
    RULES,
    Check,
    Finding,
    FrameGuard,
    GuardedSource,
    GuardError,
    GuardMemory,
    PinState,
    admit,
    pin_state,
)
from kiosk.domain.errors import OperatorError
from kiosk.frames import CameraIdentity, SensorMetadata, SourceInfo, SourceKind, SourceTraits

from . import streams
from .streams import MS, PI, WEBCAM, S

STREAMS = {"pi": (PI, streams.pi), "webcam": (WEBCAM, streams.webcam)}


class Session:
    """A guard whose clock is the stream's."""

    def __init__(self, info: SourceInfo, memory: GuardMemory | None = None) -> None:
        self.now = 0
        self.guard = FrameGuard(info, memory=memory, clock=lambda: self.now)

    def feed(self, arriving: Iterable[streams.Arriving]) -> int:
        """How many frames were handed on."""
        admitted = 0
        for frame, self.now in arriving:
            admitted += self.guard.admits(frame)
        return admitted

    def found(self, check: Check) -> Finding:
        return self.guard.evidence[check]


def refused(check: Check, info: SourceInfo, arriving: Iterable[streams.Arriving], told: str = ".") -> None:
    with pytest.raises(GuardError, match=told) as caught:
        Session(info).feed(arriving)
    assert caught.value.check is check
    assert caught.value.where == info.name
    assert caught.value.do


def changed(
    info: SourceInfo, count: int, change: Callable[[streams.Arriving, int], streams.Arriving], seed: int = 0
) -> list[streams.Arriving]:
    """A camera's stream with every frame changed."""
    made = streams.pi if info is PI else streams.webcam
    return [change(arriving, number) for number, arriving in enumerate(made(count, seed))]


def stamped(arriving: streams.Arriving, stamp_ns: int, age_ms: float = 60) -> streams.Arriving:
    return replace(arriving[0], timestamp_ns=stamp_ns), stamp_ns + round(age_ms * MS)


# --- what cameras do ---


@pytest.mark.parametrize("name", STREAMS)
def test_ten_thousand_frames_of_a_camera_pass_without_a_false_alarm(name: str) -> None:
    """None in 10,000 is at most 0.03 % of frames, 95 % (rule of three)."""
    info, stream = STREAMS[name]
    session = Session(info)
    admitted = session.feed(stream(10_000))
    assert admitted == 10_000 if info is PI else admitted > 7_000  # doubles and old ones are left out
    given = {Check.SEQUENCE, Check.SHAPE, Check.ORDER, Check.FRESHNESS, Check.RATE, Check.STALL, Check.JITTER}
    given |= {Check.REPETITION} | ({Check.METADATA, Check.RESPONSE} if info is PI else set())
    assert {check for check in Check if session.found(check) is Finding.PASSED} == given


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), name=st.sampled_from(list(STREAMS)), start=st.integers(0, 10**9))
def test_whatever_a_camera_s_crystal_light_and_start_are_its_frames_pass(
    seed: int, name: str, start: int
) -> None:
    info, stream = STREAMS[name]
    assert Session(info).feed(stream(150, seed, start * 1000)) > 0


def test_looks_that_follow_each_other_are_of_one_memory() -> None:
    """A look has too few frames to judge their scatter: several have enough."""
    memory, stream = GuardMemory(), list(streams.pi(100))
    for first in range(0, 90, 10):
        session = Session(PI, memory)
        session.feed(stream[first : first + 10])
    assert session.found(Check.JITTER) is Finding.PASSED


def test_a_camera_that_doubles_its_frames_shows_each_once() -> None:
    stream = [arriving for arriving in streams.webcam(20) for _ in (0, 1)]
    doubled = [
        stamped((replace(frame, sequence=number), 0), S + number * 33_350_000 + number * number * 2000)
        for number, (frame, _) in enumerate(stream)
    ]
    assert Session(WEBCAM).feed(doubled) == 20


def test_old_frames_of_a_queue_are_passed_over() -> None:
    stream = list(streams.pi(20))
    late = [(frame, frame.timestamp_ns + 900 * MS) for frame, _ in stream[:6]] + stream[6:]
    session = Session(PI)
    assert session.feed(late) == 14
    assert session.found(Check.FRESHNESS) is Finding.PASSED


@pytest.mark.parametrize("level", [0, 255, 16])
def test_a_covered_or_blinded_camera_is_no_recording(level: int) -> None:
    """Clipped pixels have no noise: they are the same in every frame."""

    def covered(arriving: streams.Arriving, number: int) -> streams.Arriving:
        frame, now = arriving
        flat = np.full_like(frame.planes[0], level)
        return replace(frame, planes=(flat, frame.planes[1])), now

    session = Session(PI)
    assert session.feed(changed(PI, 40, covered)) == 40
    assert session.found(Check.REPETITION) is Finding.UNAVAILABLE


def test_a_camera_at_the_end_of_its_exposure_need_not_respond() -> None:
    assert Session(PI).feed(brightening(SensorMetadata(33_000, 33_333, 16.0, auto_exposure=True))) == 60


def test_a_camera_whose_exposure_is_set_by_hand_need_not_respond() -> None:
    assert Session(PI).feed(brightening(SensorMetadata(9000, 33_333, 2.0, auto_exposure=False))) == 60


def test_another_camera_starts_without_the_memory_of_the_last() -> None:
    memory = GuardMemory()
    Session(PI, memory).feed(streams.pi(10))
    other = replace(PI, camera_id="pi:other")
    same = [(replace(frame, camera_id="pi:other"), now) for frame, now in streams.pi(10)]
    assert Session(other, memory).feed(same) == 10


# --- what no camera does ---


def test_the_same_frame_number_twice_is_refused() -> None:
    refused(Check.SEQUENCE, PI, changed(PI, 3, lambda a, n: (replace(a[0], sequence=n // 2), a[1])))


def test_a_frame_of_another_camera_is_refused() -> None:
    stream = changed(PI, 3, lambda a, n: (replace(a[0], camera_id="pi:y") if n == 2 else a[0], a[1]))
    refused(Check.SEQUENCE, PI, stream, "another camera")


def test_frames_of_another_size_are_refused() -> None:
    def cut(arriving: streams.Arriving, number: int) -> streams.Arriving:
        frame, now = arriving
        planes = (frame.planes[0][:46], frame.planes[1][:23])
        return (replace(frame, planes=planes, height=46) if number == 2 else frame), now

    refused(Check.SHAPE, PI, changed(PI, 3, cut), "NV12 of 64 x 46 px after NV12 of 64 x 48")


@pytest.mark.parametrize("back_ns", [0, 1, 5 * S])
def test_a_clock_that_stands_still_or_goes_back_is_refused(back_ns: int) -> None:
    stream = list(streams.webcam(5))
    stream[4] = stamped(stream[4], stream[3][0].timestamp_ns - back_ns)
    refused(Check.ORDER, WEBCAM, stream)


def test_a_recording_with_its_own_time_stamps_is_refused_as_old() -> None:
    stream = changed(WEBCAM, 20, lambda a, n: (a[0], a[1] + 3600 * S))
    refused(Check.FRESHNESS, WEBCAM, stream, "9 frames in a row were old, the last 3600")


def test_frames_of_the_future_are_refused() -> None:
    stream = changed(WEBCAM, 3, lambda a, n: (a[0], a[0].timestamp_ns - 6 * MS))
    refused(Check.FRESHNESS, WEBCAM, stream, "future, by 0.006 s")


def test_a_stream_faster_than_the_sensor_is_refused() -> None:
    def twice(arriving: streams.Arriving, number: int) -> streams.Arriving:
        return stamped(arriving, S + number * 16_700_000 + (number * 7919 % 13) * 1000)

    refused(Check.RATE, PI, changed(PI, 20, twice), "59.* frames a second in a mode of 30")


def test_two_frames_at_once_are_refused() -> None:
    stream = list(streams.pi(3))
    stream[2] = stamped(stream[2], stream[1][0].timestamp_ns + 5 * MS)
    refused(Check.RATE, PI, stream, "5.0 ms between frames")


@pytest.mark.parametrize(
    "clock",
    [
        lambda n: n * S // 30,
        lambda n: n * 33_333 * 1000,
        lambda n: n * 33_366_666 // 1000 * 1000,
        lambda n: n * 100 // 3 * MS,
        lambda n: (n + n // 5) * 40 * MS,
    ],
    ids=["30 a second", "in µs", "29.97 in µs", "in ms", "25 a second with gaps"],
)
def test_time_stamps_that_were_computed_are_refused(clock: Callable[[int], int]) -> None:
    stream = changed(PI, 70, lambda a, n: stamped(a, S + clock(n)))
    refused(Check.JITTER, PI, stream, "as regular as computed")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"exposure_us": 40_000.0}, "exposure_us is 40000"),
        ({"exposure_us": 0.0}, "exposure_us is 0"),
        ({"exposure_us": math.nan}, "exposure_us is nan"),
        ({"analogue_gain": 0.5}, "analogue_gain is 0.5"),
        ({"analogue_gain": 1e6}, "analogue_gain"),
        ({"digital_gain": 0.0}, "digital_gain"),
        ({"frame_duration_us": 8_000.0}, "frame_duration_us is 8000"),
        ({"colour_gains": (1.5, math.inf)}, "colour gains"),
        ({"colour_temperature_k": 0.0}, "colour_temperature_k"),
        ({"sensor_temperature_c": 300.0}, "sensor_temperature_c"),
        ({"lens_position_dpt": -1.0}, "lens_position_dpt"),
        ({"lux": -1.0}, "lux"),
        ({"exposure_us": None}, "without exposure or gain"),
        ({"analogue_gain": None}, "without exposure or gain"),
        (None, "without its metadata"),
    ],
)
def test_metadata_that_is_missing_or_impossible_is_refused(said: dict | None, told: str) -> None:
    def tell(arriving: streams.Arriving, number: int) -> streams.Arriving:
        frame, now = arriving
        return replace(frame, metadata=said and replace(frame.metadata, **said)), now

    refused(Check.METADATA, PI, changed(PI, 1, tell), told)


def brightening(said: SensorMetadata) -> list[streams.Arriving]:
    """The light grows to four times in two seconds, and the camera says the same throughout."""
    rng = np.random.default_rng(0)

    def bright(arriving: streams.Arriving, number: int) -> streams.Arriving:
        frame, now = arriving
        luma = streams.picture(rng, 50 + number * 2.5)
        return replace(frame, planes=(luma, frame.planes[1]), metadata=said), now

    return changed(PI, 60, bright)


def test_exposure_that_stands_still_while_the_light_changes_is_refused() -> None:
    said = SensorMetadata(9000, 33_333, 2.0, lux=200.0, auto_exposure=True)
    refused(Check.RESPONSE, PI, brightening(said), "exposure stood still")


def test_one_picture_again_and_again_is_refused() -> None:
    first = next(iter(streams.pi(1)))[0]
    again = changed(PI, 5, lambda a, n: (replace(a[0], planes=first.planes), a[1]))
    refused(Check.REPETITION, PI, again, "the same picture 2 times")
    first = next(iter(streams.webcam(1)))[0]
    again = changed(WEBCAM, 5, lambda a, n: (replace(a[0], planes=first.planes), a[1]))
    refused(Check.REPETITION, WEBCAM, again, "the same picture 3 times")


def test_a_recording_in_a_loop_is_refused_also_in_the_next_look() -> None:
    recorded = [frame for frame, _ in streams.pi(20)]
    memory, later = GuardMemory(), streams.pi(20, seed=1, first_ns=2000 * S)
    Session(PI, memory).feed(streams.pi(20))
    session = Session(PI, memory)
    with pytest.raises(GuardError, match="came before") as caught:
        session.feed(
            (replace(f, planes=old.planes), now) for (f, now), old in zip(later, recorded, strict=True)
        )
    assert caught.value.check is Check.REPETITION


def test_the_memory_is_bounded_and_holds_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GuardMemory, "FRAMES", 8)
    memory = GuardMemory()
    Session(PI, memory).feed(streams.pi(30))
    assert len(memory._seen) == len(memory._order) == 8
    assert all(len(digest) == 16 for digest in memory._seen)
    rows = np.arange(64, dtype=np.uint8)
    assert memory.digest(rows) != GuardMemory().digest(rows)


@settings(max_examples=40, deadline=None)
@given(
    at=st.integers(1, 19),
    back_ns=st.integers(0, 10**12),
    seed=st.integers(0, 99),
    name=st.sampled_from(list(STREAMS)),
)
def test_no_stream_hides_a_time_stamp_that_does_not_grow(at: int, back_ns: int, seed: int, name: str) -> None:
    info, made = STREAMS[name]
    stream = list(made(at + 1, seed))
    stream[at] = (
        replace(stream[at][0], timestamp_ns=stream[at - 1][0].timestamp_ns - back_ns),
        stream[at][1],
    )
    refused(Check.ORDER, info, stream)


NUMBERS = st.none() | st.floats()


@settings(max_examples=100, deadline=None)
@given(
    stamps=st.lists(st.integers(-(2**63), 2**63), min_size=1, max_size=12),
    said=st.builds(
        SensorMetadata, *[NUMBERS] * 4, st.none() | st.tuples(st.floats(), st.floats()), *[NUMBERS] * 5
    ),
    traits=st.builds(
        SourceTraits, st.booleans(), st.none() | st.floats(1, 1000), st.booleans(), st.integers(0, 2)
    ),
)
def test_whatever_comes_is_handed_on_passed_over_or_refused_in_one_line(
    stamps: list[int], said: SensorMetadata, traits: SourceTraits
) -> None:
    frame, now = next(iter(streams.pi(1)))
    session = Session(replace(PI, traits=traits))
    told = ""
    try:
        session.feed(
            (replace(frame, timestamp_ns=stamp, sequence=number, metadata=said), now)
            for number, stamp in enumerate(stamps)
        )
    except GuardError as error:
        told = str(error)
    assert "\n" not in told


# --- what can't be checked ---


def test_a_camera_without_a_clock_of_its_own_has_no_times_that_passed() -> None:
    session = Session(replace(WEBCAM, traits=SourceTraits()))
    session.feed(changed(WEBCAM, 70, lambda a, n: stamped(a, S + n * 33 * MS)))
    for check in (Check.ORDER, Check.FRESHNESS, Check.RATE, Check.JITTER, Check.METADATA, Check.RESPONSE):
        assert session.found(check) is Finding.UNAVAILABLE
    assert session.found(Check.REPETITION) is Finding.PASSED


def test_a_mode_that_nobody_knows_has_no_rate() -> None:
    session = Session(replace(WEBCAM, traits=SourceTraits(sensor_clock=True, repeats=1)))
    session.feed(streams.webcam(70))
    assert session.found(Check.RATE) is Finding.UNAVAILABLE
    assert session.found(Check.FRESHNESS) is Finding.PASSED


@pytest.mark.parametrize("kind", [SourceKind.STILL, SourceKind.RECORDED])
def test_of_a_file_nothing_is_passed_and_its_order_still_counts(kind: SourceKind) -> None:
    session = Session(replace(PI, kind=kind))
    assert session.feed(changed(PI, 70, lambda a, n: stamped(a, n * MS, 10**9))) == 70
    assert set(session.guard.evidence.values()) == {Finding.UNAVAILABLE}
    refused(Check.ORDER, replace(PI, kind=kind), changed(PI, 2, lambda a, n: stamped(a, S - n)))


# --- who is let in ---

IDENTITY = CameraIdentity("v4l2", (("driver", "uvcvideo"), ("card", "Cam"), ("serial", "17")))
CAMERA = SourceInfo("Cam", SourceKind.LIVE, IDENTITY.text, IDENTITY)
PROGRAM = replace(CAMERA, identity=replace(IDENTITY, virtual="a program's device (v4l2loopback)"))
NOBODY = replace(CAMERA, identity=None)
MODES = ("demo", "test", "training", "production")
STRICT = ("training", "production")


@pytest.mark.parametrize("mode", MODES)
def test_the_pinned_camera_is_let_in_in_every_mode(mode) -> None:
    assert admit(CAMERA, IDENTITY.text, mode) == {Check.CAMERA: Finding.PASSED, Check.PIN: Finding.PASSED}
    assert pin_state(CAMERA, IDENTITY.text) is PinState.OK


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("pin", "told"),
    [
        ("v4l2:driver=uvcvideo;card=Cam;serial=18", "serial '17', pinned '18'"),
        ("v4l2:driver=uvcvideo;card=Cam;serial=17;bus=1", "bus '', pinned '1'"),
        ("pi:sensor=imx708;bus=/base/x", "of the kind v4l2, the pin of the kind pi"),
        ("v4l2:card=Cam;driver=uvcvideo;serial=17", "another order"),
        ("junk", "of the kind v4l2"),
    ],
)
def test_another_camera_than_the_pinned_one_is_refused_in_every_mode(mode, pin: str, told: str) -> None:
    assert pin_state(CAMERA, pin) is PinState.WRONG
    with pytest.raises(GuardError, match=told) as caught:
        admit(CAMERA, pin, mode)
    assert caught.value.check is Check.PIN
    assert "kiosk doctor" in caught.value.do


@pytest.mark.parametrize("mode", MODES)
def test_a_camera_that_nothing_tells_of_is_not_the_pinned_one(mode) -> None:
    with pytest.raises(GuardError, match="nothing tells who"):
        admit(NOBODY, IDENTITY.text, mode)


@pytest.mark.parametrize("info", [PROGRAM, NOBODY], ids=["program", "nobody"])
def test_what_is_not_known_to_be_a_sensor_is_let_in_by_demo_and_test_only(info: SourceInfo) -> None:
    pin = info.identity.text if info.identity else ""
    for mode in STRICT:
        with pytest.raises(GuardError) as caught:
            admit(info, pin, mode)
        assert caught.value.check is Check.CAMERA
    for mode in ("demo", "test"):
        assert admit(info, pin, mode)[Check.CAMERA] is Finding.UNAVAILABLE


def test_without_a_pin_demo_and_test_go_on_and_say_unavailable() -> None:
    for mode in ("demo", "test"):
        assert admit(CAMERA, "", mode)[Check.PIN] is Finding.UNAVAILABLE
    for mode in STRICT:
        with pytest.raises(OperatorError, match=r"no camera is pinned.*kiosk doctor") as caught:
            admit(CAMERA, "", mode)
        assert not isinstance(caught.value, GuardError)  # nobody did anything wrong yet


@pytest.mark.parametrize("kind", [SourceKind.STILL, SourceKind.RECORDED])
def test_a_file_is_let_in_by_demo_and_test_only_and_has_no_pin(kind: SourceKind) -> None:
    info = SourceInfo("clip.mp4", kind, "video:clip.mp4")
    for mode in ("demo", "test"):
        assert set(admit(info, IDENTITY.text, mode).values()) == {Finding.UNAVAILABLE}
    for mode in STRICT:
        with pytest.raises(OperatorError, match=f"can't pay in {mode} mode"):
            admit(info, IDENTITY.text, mode)


@given(st.lists(st.tuples(st.sampled_from(["card", "serial", "bus"]), st.text(max_size=200)), max_size=5))
def test_whatever_a_device_calls_itself_its_pin_is_one_line_of_toml(parts) -> None:
    identity = CameraIdentity("v4l2", tuple(parts))
    assert tomllib.loads(f'pin = "{identity.text}"') == {"pin": identity.text}
    assert "\n" not in identity.text
    assert admit(replace(CAMERA, identity=identity), identity.text, "production")


# --- the source with the guard around it ---


class Fed:
    """A source that gives what a test puts in, and a clock that goes with it."""

    def __init__(self, info: SourceInfo, arriving: Iterable[streams.Arriving] = ()) -> None:
        self.info, self.now = info, 0
        self._arriving = iter(arriving)
        self.is_open = False

    @property
    def ended(self) -> bool:
        return not self.is_open

    def open(self) -> None:
        self.is_open = True

    def read(self, timeout_s: float):
        if not self.is_open:
            return None
        frame, now = next(self._arriving, (None, self.now + round(timeout_s * 1e9)))
        self.now = max(now, self.now)
        return frame

    def close(self) -> None:
        self.is_open = False


def guarded(fed: Fed, **more) -> tuple[GuardedSource, list[Check]]:
    told: list[Check] = []
    more = {"pin": "", "mode": "test", **more}
    return GuardedSource(fed, on_refusal=told.append, clock=lambda: fed.now, **more), told


def test_a_refusal_closes_the_camera_and_is_told_once() -> None:
    stream = list(streams.pi(5))
    stream[3] = stamped(stream[3], 0)
    fed = Fed(PI, stream)
    source, told = guarded(fed)
    source.open()
    assert [source.read(1).sequence for _ in range(3)] == [0, 1, 2]
    with pytest.raises(GuardError):
        source.read(1)
    assert source.ended
    assert source.read(1) is None
    assert told == [Check.ORDER]


def test_a_camera_that_is_not_let_in_is_closed_and_told() -> None:
    source, told = guarded(Fed(CAMERA), pin="v4l2:card=Other")
    with pytest.raises(GuardError):
        source.open()
    assert source.ended
    assert told == [Check.PIN]


def test_a_missing_pin_is_nobodys_attack() -> None:
    source, told = guarded(Fed(CAMERA), mode="production")
    with pytest.raises(OperatorError, match="no camera is pinned"):
        source.open()
    assert source.ended
    assert told == []


def test_old_frames_are_read_past_within_the_time_given() -> None:
    stream = list(streams.pi(6))
    fed = Fed(PI, [(frame, stream[5][1] + 300 * MS) for frame, _ in stream])
    fed.now = stream[5][1]
    source, _ = guarded(fed)
    source.open()
    assert source.read(5).sequence > 0


def test_a_read_comes_back_in_its_time_also_when_all_frames_are_old() -> None:
    fed = Fed(PI, [(frame, frame.timestamp_ns + 900 * MS) for frame, _ in streams.pi(3)])
    source, _ = guarded(fed)
    source.open()
    assert source.read(0.05) is None
    assert not source.ended


def test_a_camera_that_stands_still_is_refused_and_one_that_is_slow_to_start_is_not() -> None:
    source, told = guarded(Fed(PI, []))
    source.open()
    assert [source.read(1.0) for _ in range(5)] == [None] * 5
    source, told = guarded(Fed(PI, streams.pi(2)))
    source.open()
    assert source.read(1) is not None
    assert source.read(1) is not None
    assert source.read(1.5) is None
    with pytest.raises(GuardError, match=r"no frame for 3.0 s"):
        source.read(1.5)
    assert told == [Check.STALL]


def test_a_camera_that_was_pulled_out_has_ended_and_is_no_attack() -> None:
    fed = Fed(PI, streams.pi(1))
    source, told = guarded(fed)
    source.open()
    source.read(1)
    fed.close()
    fed.now += 10 * S
    assert source.read(1) is None
    assert told == []


def test_before_the_first_frame_nothing_is_passed_but_who_it_is() -> None:
    source, _ = guarded(Fed(CAMERA), pin=IDENTITY.text)
    assert set(source.evidence.values()) == {Finding.UNAVAILABLE}
    source.open()
    assert {check for check, found in source.evidence.items() if found is Finding.PASSED} == {
        Check.CAMERA,
        Check.PIN,
    }


def test_the_rules_leave_room_for_what_queues_hold() -> None:
    assert RULES.max_stale > 6  # PiSource's buffers; V4l2Source asks for two
