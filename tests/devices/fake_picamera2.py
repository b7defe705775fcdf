"""A camera that behaves like picamera2 0.3.38's, as far as `PiSource` touches it: no libcamera, no sensor.

Faithful in what matters here: requests are reference-counted and recycled at zero (a released buffer is
filled anew at once, so a frame that was let go too early shows it), rows are padded, `capture_request(wait=
False)` gives a job, waiting for it can time out, and closing while buffers are exported is an error.
"""

from __future__ import annotations

import mmap
from concurrent.futures import Future
from typing import ClassVar

import numpy as np

PADDING = 64
FIRST_NS = 5_000_000_000


class MappedArray:
    def __init__(self, request, stream, reshape=True, write=True):
        assert not reshape
        assert request.ref_count > 0
        self._buffer = request.buffer

    def __enter__(self):
        self.array = np.array(self._buffer, copy=False, dtype=np.uint8)
        return self

    def __exit__(self, *_):
        del self.array


class CompletedRequest:
    def __init__(self, camera, number, buffer):
        self.camera, self.number, self.buffer = camera, number, buffer
        self.ref_count = 1
        self.config = camera.config

    def acquire(self):
        self.ref_count += 1

    def release(self):
        self.ref_count -= 1
        assert self.ref_count == 0
        if self.camera.is_open:
            self.camera.recycle(self.buffer)

    def get_metadata(self):
        return {
            "SensorTimestamp": FIRST_NS + self.number * 33_333_000,
            "ExposureTime": 9000,
            "FrameDuration": 33_333,
            "AnalogueGain": 2.0,
            "DigitalGain": 1.0,
            "ColourGains": (1.8, 1.6),
            "Lux": 250.0 + self.number,
            "AeLocked": True,
        }


class Job:
    def __init__(self, camera):
        self.camera = camera

    def get_result(self, timeout=None):
        future: Future = Future()
        if not self.camera.stalled and self.camera.free:
            future.set_result(self.camera.complete())
        return future.result(timeout=0)


class Picamera2:
    cameras = ({"Num": 0, "Model": "imx708", "Location": 2, "Rotation": 180, "Id": "/base/soc/i2c@1a"},)
    busy = False
    made: ClassVar[list[Picamera2]] = []

    @staticmethod
    def global_camera_info():
        return list(Picamera2.cameras)

    def __init__(self, number):
        if Picamera2.busy:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self.is_open, self.started, self.stalled = True, False, False
        self.free: list[mmap.mmap] = []
        self.number = 0
        Picamera2.made.append(self)

    def create_video_configuration(self, main, raw, buffer_count, queue, controls):
        assert raw is None
        return {"main": dict(main), "buffer_count": buffer_count, "queue": queue, "controls": controls}

    def configure(self, config):
        width, height = config["main"]["size"]
        config["main"]["stride"] = width + PADDING
        self.config = config
        self.free = [
            mmap.mmap(-1, (width + PADDING) * height * 3 // 2) for _ in range(config["buffer_count"])
        ]
        self.all = list(self.free)

    def start(self):
        self.started = True

    def capture_request(self, wait=None):
        assert wait is False
        assert self.started
        return Job(self)

    def wait(self, job, timeout=None):
        return job.get_result(timeout)

    def complete(self):
        buffer = self.free.pop(0)
        level = 16 + self.number % 200
        buffer[:] = bytes([level]) * len(buffer)
        self.number += 1
        return CompletedRequest(self, self.number - 1, buffer)

    def recycle(self, buffer):
        buffer[:] = b"\xff" * len(buffer)
        self.free.append(buffer)

    def stop(self):
        self.started = False

    def close(self):
        self.is_open = False
        for buffer in self.free:
            buffer.close()
