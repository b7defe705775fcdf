"""One peer in an environment of its own: analyses the picture it is told to, and says how long that took.

    python benchmarks/peers/worker.py PEER PICTURES.npz CPU

PEER is one of `PEERS`. A line on stdin names a picture (an array of the npz, uint8[h, w, 3], RGB); a line on
stdout answers `{"ms": ..., "cpu_ms": ..., "found": true}`: wall-clock and processor time of one analysis. The
first line says which versions were loaded. All threads that a library starts share the one processor CPU.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

Analyse = Callable[[Any], bool]
"""uint8[h, w, 3], RGB -> whether a face was found."""


def kiosk() -> tuple[Analyse, str]:
    """What a look does: detection, landmarks, quality, embedding of face and mirror image, liveness."""
    import cv2

    from kiosk import __version__
    from kiosk.frames import Frame, PixelFormat
    from kiosk.vision.pipeline import Vision

    cv2.setNumThreads(1)
    vision = Vision(threads=1)

    def analyse(rgb: Any) -> bool:
        frame = Frame((rgb,), PixelFormat.RGB888, rgb.shape[1], rgb.shape[0], 0, 0)
        return vision.observe(frame, alone=False).embedding is not None

    return analyse, f"facepay-kiosk {__version__}, ai-edge-litert {version('ai-edge-litert')}"


def kiosk_mesh() -> tuple[Analyse, str]:
    """Detection and landmarks alone: what MediaPipe's graph does."""
    import cv2

    from kiosk.vision.detect import Detector
    from kiosk.vision.landmarks import Landmarker
    from kiosk.vision.models import Role, load_manifest, load_model

    cv2.setNumThreads(1)
    manifest = load_manifest()
    detector = Detector(load_model(manifest.card(Role.DETECTOR), threads=1))
    landmarker = Landmarker(load_model(manifest.card(Role.LANDMARKS), threads=1))

    def analyse(rgb: Any) -> bool:
        faces = detector.detect(rgb)
        return bool(faces) and landmarker.find(rgb, faces[0]).presence >= 0.5

    return analyse, f"ai-edge-litert {version('ai-edge-litert')}"


def dlib() -> tuple[Analyse, str]:
    """`face_encodings` as its documentation shows it: HOG detector, landmarks, 128 numbers. No liveness."""
    import face_recognition

    def analyse(rgb: Any) -> bool:
        return len(face_recognition.face_encodings(rgb)) > 0

    return analyse, f"face_recognition {version('face-recognition')}, dlib-bin {version('dlib-bin')}"


def mediapipe() -> tuple[Analyse, str]:
    """Face Mesh's own graph on single pictures: detection and 468 points."""
    import mediapipe as library

    graph = library.solutions.face_mesh.FaceMesh(static_image_mode=True, max_num_faces=1)
    return (
        lambda rgb: graph.process(rgb).multi_face_landmarks is not None
    ), f"mediapipe {version('mediapipe')}"


def mediapipe_video() -> tuple[Analyse, str]:
    """The same graph for video: where it has seen the face before, it doesn't detect again."""
    import mediapipe as library

    graph = library.solutions.face_mesh.FaceMesh(static_image_mode=False, max_num_faces=1)
    return (
        lambda rgb: graph.process(rgb).multi_face_landmarks is not None
    ), f"mediapipe {version('mediapipe')}"


PEERS: dict[str, Callable[[], tuple[Analyse, str]]] = {
    "kiosk": kiosk,
    "kiosk-mesh": kiosk_mesh,
    "dlib": dlib,
    "mediapipe": mediapipe,
    "mediapipe-video": mediapipe_video,
}

FOLLOWS = {"mediapipe-video"}
"""Is shown each picture once more before, not timed: the frame that came before it."""


def main(peer: str, pictures: str, cpu: str) -> None:
    os.sched_setaffinity(0, {int(cpu)})
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the libraries print is not an answer
    with np.load(pictures) as stored:
        given = {name: stored[name] for name in stored.files}
    analyse, versions = PEERS[peer]()
    answers.write(json.dumps({"versions": versions}) + "\n")
    for line in sys.stdin:
        picture = given[line.strip()]
        if peer in FOLLOWS:
            analyse(picture)
        wall, cpu_time = time.perf_counter_ns(), time.process_time_ns()
        found = analyse(picture)
        taken = (time.perf_counter_ns() - wall) / 1e6, (time.process_time_ns() - cpu_time) / 1e6
        answers.write(json.dumps({"ms": taken[0], "cpu_ms": taken[1], "found": found}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
