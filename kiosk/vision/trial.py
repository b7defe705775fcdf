"""Runs a network that nobody vouches for yet, in a process of its own with little memory and time.

A file for the interpreter is parsed by native code: one that is made to crash it takes this process, not the
one that asked. `try_network` is for the asking side; run as a module, this file is the other one.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from typing import Any

import msgspec
import numpy as np

from kiosk.domain.errors import OperatorError
from kiosk.vision.models import MAX_MODEL_BYTES, ModelCard
from kiosk.vision.runtime import Array, Model

__all__ = ["try_network"]

MEMORY_BYTES = 4 * 1024**3
"""Of address space, most of it Python's, NumPy's and the interpreter's own."""
CPU_S = 60
WAIT_S = 120.0
TIMED_RUNS = 20


def try_network(card: ModelCard, data: bytes) -> float:
    """The median time of one answer of network `data`, in ms, once it has shown that it works here.

    It has to load, take and give float32 of the card's shapes, answer finite numbers, and not the same ones
    to every picture. OperatorError, by the card's id, when it does not.
    """
    command = [sys.executable, "-P", "-m", __name__]  # -P: nothing is imported from where one happens to be
    header = msgspec.json.encode([[t.shape for t in card.input], [t.shape for t in card.output]]) + b"\n"
    try:
        done = subprocess.run(command, input=header + data, capture_output=True, timeout=WAIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise _refused(card, f"has not answered after {WAIT_S:.0f} s") from None
    try:
        told = json.loads(done.stdout)
        problem, median_ms = str(told["problem"]), float(told["ms"])
    except (ValueError, KeyError, TypeError):
        raise _refused(card, f"does not run here: {_end_of(done.returncode)}") from None
    if problem:
        raise _refused(card, problem)
    return median_ms


def _refused(card: ModelCard, problem: str) -> OperatorError:
    return OperatorError(
        f"model {card.id} {problem}", do="docs/models.md says what a network has to take and give."
    )


def _end_of(code: int) -> str:
    if code < 0:
        return f"the trial was ended by {signal.Signals(-code).name}"
    return f"the trial ended with {code}"


def _examine(shapes_in: list[tuple[int, ...]], shapes_out: list[tuple[int, ...]], data: bytes) -> float:
    """As `try_network`, in this process; ValueError with the problem."""
    model = Model(data, name="it", shapes_in=shapes_in, shapes_out=shapes_out)
    answers = [model.run(*views) for views in _pictures(shapes_in)]
    if not all(np.isfinite(part).all() for answer in answers for part in answer):
        raise ValueError("gives answers that are no finite numbers")
    if all(
        np.array_equal(part, first) for a in answers[1:] for part, first in zip(a, answers[0], strict=True)
    ):
        raise ValueError("gives the same answer to every picture")
    taken = []
    (views, *_) = _pictures(shapes_in)
    for _ in range(TIMED_RUNS):
        started = time.perf_counter()
        model.run(*views)
        taken.append(1000.0 * (time.perf_counter() - started))
    return float(np.median(taken))


def _pictures(shapes: list[tuple[int, ...]]) -> list[list[Array]]:
    """Noise, dark and bright noise, a slope of light, black and white, in [0, 1]."""
    random = np.random.default_rng(20)

    def slope(shape: tuple[int, ...]) -> Array:
        return np.broadcast_to(np.linspace(0, 1, shape[-2])[:, None], shape).astype(np.float32)

    noise = [random.random(shape, np.float32) for shape in shapes]
    return [
        noise,
        [0.2 * part for part in noise],
        [0.8 + 0.2 * part for part in noise],
        [slope(shape) for shape in shapes],
        [np.zeros(shape, np.float32) for shape in shapes],
        [np.ones(shape, np.float32) for shape in shapes],
    ]


def _main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    told: dict[str, Any] = {"problem": "", "ms": 0.0}
    shapes_in, shapes_out = json.loads(sys.stdin.buffer.readline())
    data = sys.stdin.buffer.read(MAX_MODEL_BYTES)
    try:
        told["ms"] = _examine([tuple(s) for s in shapes_in], [tuple(s) for s in shapes_out], data)
    except OperatorError as error:
        told["problem"] = error.what
    except ValueError as error:
        told["problem"] = str(error)
    except (RuntimeError, MemoryError):
        told["problem"] = "fails while it runs"
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    _main()
