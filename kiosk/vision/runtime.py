"""The interpreter that runs the networks: the only file that imports one.

`ai_edge_litert` is used where it is installed, `tflite_runtime` in its place. A `Model` is built from bytes,
not from a path: what was hash-checked is what runs. Not thread-safe: one worker owns each `Model`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiosk.domain.errors import OperatorError
from kiosk.quiet import no_remarks

__all__ = ["Model", "runtime_name"]

Array = NDArray[np.float32]

_INTERPRETERS = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")
"""In order of preference: ai-edge-litert was about twice as fast here, and has wheels for Python 3.13."""


def _interpreter_module() -> Any:
    for name in _INTERPRETERS:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise OperatorError(
        "no TFLite interpreter is installed", where="vision", do="Install ai-edge-litert (or tflite-runtime)."
    )


def runtime_name() -> str:
    """The package whose interpreter is used, for health reports."""
    return str(_interpreter_module().__name__).partition(".")[0]


class Model:
    """One network, ready to run.

    `shapes_in` and `shapes_out` are what the caller relies on, in the file's order; a file that has others is
    refused by `name`. `threads` is the interpreter's own; 1 is the product's setting.
    """

    def __init__(
        self,
        data: bytes,
        *,
        name: str,
        shapes_in: Sequence[tuple[int, ...]],
        shapes_out: Sequence[tuple[int, ...]],
        threads: int = 1,
    ) -> None:
        self.name = name
        try:
            with no_remarks():  # "Created TensorFlow Lite XNNPACK delegate"
                self._interpreter = _interpreter_module().Interpreter(model_content=data, num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise OperatorError(
                "is not a network that this interpreter can run",
                where=name,
                do="Rebuild it: tools/build_models.py.",
            ) from error
        entries, exits = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        found = tuple([tuple(int(n) for n in entry["shape"]) for entry in part] for part in (entries, exits))
        if found != (list(shapes_in), list(shapes_out)):
            raise OperatorError(
                f"takes and gives {found}, the manifest says {(list(shapes_in), list(shapes_out))}",
                where=name,
                do="Use the file that belongs to the manifest.",
            )
        if any(entry["dtype"] is not np.float32 for entry in (*entries, *exits)):
            raise OperatorError(
                "takes or gives other numbers than float32", where=name, do="Convert it with float32 ends."
            )
        self._shapes_in = tuple(shapes_in)
        self._inputs = tuple(int(entry["index"]) for entry in entries)
        self._outputs = tuple(int(entry["index"]) for entry in exits)

    def run(self, *inputs: Array) -> tuple[Array, ...]:
        """All outputs, as copies, for float32 `inputs` of exactly the shapes that the file takes."""
        for index, values in zip(self._inputs, inputs, strict=True):
            self._interpreter.set_tensor(index, values)
        self._interpreter.invoke()
        return tuple(self._interpreter.get_tensor(index) for index in self._outputs)

    def forget(self) -> None:
        """Overwrite what the tensors hold of the last inputs and outputs, by running on nothing."""
        self.run(*(np.zeros(shape, np.float32) for shape in self._shapes_in))
