from __future__ import annotations

import numpy as np
import pytest

from kiosk.domain.errors import OperatorError
from kiosk.vision import runtime
from kiosk.vision.models import Role, load_manifest, read_model


@pytest.fixture
def detector_bytes() -> bytes:
    return read_model(load_manifest().card(Role.DETECTOR))


def detector_model(data: bytes) -> runtime.Model:
    return runtime.Model(
        data, name="d.tflite", shapes_in=[(1, 128, 128, 3)], shapes_out=[(1, 896, 16), (1, 896, 1)]
    )


def test_bytes_that_are_no_network_are_refused_by_name():
    with pytest.raises(OperatorError, match=r"d\.tflite"):
        detector_model(b"not a network at all, but long enough to be looked at")


def test_a_network_of_other_shapes_is_refused(detector_bytes):
    with pytest.raises(OperatorError, match=r"d\.tflite.*the manifest says"):
        runtime.Model(detector_bytes, name="d.tflite", shapes_in=[(1, 64, 64, 3)], shapes_out=[(1, 896, 16)])


def test_the_same_input_gives_the_same_output_and_outputs_are_the_callers_own(detector_bytes):
    model = detector_model(detector_bytes)
    one, other = np.zeros((1, 128, 128, 3), np.float32), np.ones((1, 128, 128, 3), np.float32)
    first = model.run(one)[0]
    kept = first.copy()
    assert not np.array_equal(model.run(other)[0], kept)
    assert np.array_equal(first, kept)
    assert np.array_equal(model.run(one)[0], kept)


def test_a_missing_input_is_a_bug_and_not_guessed(detector_bytes):
    with pytest.raises(ValueError, match="zip"):
        detector_model(detector_bytes).run()


def test_without_an_interpreter_the_operator_reads_what_to_install(monkeypatch):
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(runtime.importlib, "import_module", absent)
    with pytest.raises(OperatorError, match="Install ai-edge-litert"):
        runtime.runtime_name()


def test_loading_a_network_says_nothing(detector_bytes, capfd):
    detector_model(detector_bytes)
    assert capfd.readouterr() == ("", "")
