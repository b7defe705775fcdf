from __future__ import annotations

import threading
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from kiosk.frames import Frame, PixelFormat
from kiosk.vision.detect import Box
from kiosk.vision.observation import Observation
from kiosk.vision.pipeline import Vision, VisionWorker
from kiosk.vision.quality import Hint

from .scenes import frame_of, placed

TINY = np.zeros((4, 4, 3), np.uint8)


def seen(frame: Frame) -> Observation:
    return Observation(frame.sequence, frame.timestamp_ns, frame.width, frame.height, (), Hint.LOOK_HERE)


def test_one_person_is_measured_whole(vision, portrait):
    observation = vision.observe(frame_of(portrait))
    assert observation.hint is None
    assert len(observation.faces) == 1
    assert observation.payer is observation.faces[0]
    assert observation.embedding is not None
    assert observation.liveness is None  # not measured is not passed
    assert observation.border is not None
    stages = {"convert", "detect", "landmarks", "quality", "colour", "border", "embed"}
    assert set(observation.timings_ms) == stages
    assert "embedding" not in repr(observation)


def test_an_empty_scene_asks_to_look_here(vision):
    observation = vision.observe(frame_of(np.full((480, 640, 3), 90, np.uint8)))
    assert (observation.hint, observation.payer, observation.embedding) == (Hint.LOOK_HERE, None, None)


def test_two_people_of_like_size_are_not_measured(vision, head):
    frame = placed(head, (1280, 720), (20, 60), 600)
    frame[60:660, 660:1260] = cv2.resize(head, (600, 600))
    observation = vision.observe(frame_of(frame))
    assert observation.hint is Hint.ONE_PERSON
    assert observation.embedding is None
    assert observation.liveness_logit is None


def test_someone_further_back_does_not_disturb(vision, head):
    frame = placed(head, (1280, 720), (300, 60), 600)
    frame[100:340, 1000:1240] = cv2.resize(head, (240, 240))
    observation = vision.observe(frame_of(frame))
    assert len(observation.faces) == 2
    assert observation.hint is None
    assert observation.payer.box.centre[0] < 700


def test_what_only_the_detector_takes_for_a_face_is_neither_payer_nor_second_person(
    vision, head, monkeypatch
):
    frame = placed(head, (1280, 720), (340, 60), 600)
    (face,) = vision.observe(frame_of(frame)).faces
    ghost = replace(face, box=Box(20, 20, 320, 320), points=face.points - 300)
    monkeypatch.setattr(vision._detector, "detect", lambda rgb: [ghost, face])
    observation = vision.observe(frame_of(frame))
    assert observation.payer is face
    assert observation.hint is None
    assert observation.embedding is not None


def test_the_payer_is_the_one_in_the_middle(vision, head):
    frame = placed(head, (1280, 720), (380, 100), 520)
    frame[100:640, 0:540] = cv2.resize(head, (540, 540))
    observation = vision.observe(frame_of(frame), alone=False)
    assert observation.payer.box.centre[0] == pytest.approx(640, abs=20)
    assert observation.embedding is not None


def test_the_order_of_colours_does_not_matter(vision, portrait):
    height, width = portrait.shape[:2]
    bgr = Frame((np.ascontiguousarray(portrait[..., ::-1]),), PixelFormat.BGR888, width, height, 0, 0)
    assert vision.observe(bgr).embedding @ vision.observe(frame_of(portrait)).embedding > 0.9999


def test_a_camera_in_nv12_sees_the_same_person(vision, portrait):
    yuv = cv2.cvtColor(portrait, cv2.COLOR_RGB2YUV_I420)
    height, width = portrait.shape[:2]
    luma, chroma = yuv[:height], yuv[height:].reshape(2, height // 2, width // 2)
    nv12 = Frame(
        (luma, np.ascontiguousarray(np.moveaxis(chroma, 0, 2))), PixelFormat.NV12, width, height, 0, 0
    )
    assert vision.observe(nv12).embedding @ vision.observe(frame_of(portrait)).embedding > 0.95


def test_a_hint_comes_within_200_ms_of_the_frame_that_asks_for_it(head):
    """Through the worker, with all networks, while the frame before is still being looked at; 95 of 100.

    Processor time is counted, which is what the wait is on a machine that has nothing else to do.
    """
    good = placed(head, (1280, 720), (340, 60), 600)
    scenes = {
        Hint.LOOK_HERE: np.full((720, 1280, 3), 90, np.uint8),
        Hint.HOLD_STILL: cv2.blur(good, (31, 1)),
        Hint.MORE_LIGHT: (good * 0.05).astype(np.uint8),
    }
    asked, waits, arrived = {}, [], threading.Event()

    def deliver(observation: Observation) -> None:
        if observation.sequence in asked:
            hint, offered_ns = asked[observation.sequence]
            waits.append((time.process_time_ns() - offered_ns) / 1e6)
            found.append((observation.hint, hint))
            arrived.set()

    found = []
    busy = threading.Event()
    look = Vision().observe

    def observe(frame: Frame) -> Observation:
        busy.set()
        return look(frame)

    worker = VisionWorker(observe, deliver)
    for number in range(24):
        hint, scene = list(scenes.items())[number % len(scenes)]
        busy.clear()
        arrived.clear()
        worker.offer(frame_of(good, 1000 + number))
        assert busy.wait(10)
        asked[number] = hint, time.process_time_ns()
        worker.offer(frame_of(scene, number))
        assert arrived.wait(10)
    worker.stop()
    assert all(one is other for one, other in found), found
    assert np.percentile(waits, 95) <= 200, waits


def test_the_newest_frame_wins_and_the_dropped_are_counted():
    busy, go, got = threading.Event(), threading.Event(), []
    done = threading.Event()

    def slow(frame: Frame) -> Observation:
        busy.set()
        go.wait(5)
        return seen(frame)

    def deliver(observation: Observation) -> None:
        got.append(observation.sequence)
        if len(got) == 2:
            done.set()

    worker = VisionWorker(slow, deliver)
    worker.offer(frame_of(TINY, 0))
    assert busy.wait(5)
    for sequence in (1, 2, 3):
        worker.offer(frame_of(TINY, sequence))
    go.set()
    assert done.wait(5)
    worker.stop()
    assert got == [0, 3]
    assert worker.dropped == 2


def test_a_cleared_frame_is_not_looked_at():
    busy, go, got = threading.Event(), threading.Event(), []

    def slow(frame: Frame) -> Observation:
        busy.set()
        go.wait(5)
        return seen(frame)

    worker = VisionWorker(slow, lambda observation: got.append(observation.sequence))
    worker.offer(frame_of(TINY, 0))
    assert busy.wait(5)
    worker.offer(frame_of(TINY, 1))
    worker.clear()
    go.set()
    worker.stop()
    worker.stop()
    assert got == [0]


def test_what_goes_wrong_in_the_worker_is_not_kept_quiet():
    failed = threading.Event()

    def broken(frame: Frame) -> Observation:
        failed.set()
        raise ZeroDivisionError("a bug")

    worker = VisionWorker(broken, lambda observation: None)
    worker.offer(frame_of(TINY, 0))
    assert failed.wait(5)
    with pytest.raises(ZeroDivisionError):
        worker.stop()
