"""The shipped int8 networks say what the float networks say that they were made from (tools/agreement.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kiosk.assets import assets_dir
from kiosk.vision.models import Role, load_manifest
from kiosk.vision.runtime import Model

REFERENCE = Path(__file__).with_name("agreement.npz")
INPUTS = {Role.DETECTOR: (127.5, -1.0), Role.LANDMARKS: (255.0, 0.0), Role.EMBEDDING: (128.0, -127.5 / 128)}

LEAST_COSINE = 0.999
"""Of an embedding with the float network's (.99966 as shipped)."""
MAX_SCORE = 0.05
"""Of the detector: by how much any of its scores in [0, 1] may differ (.032; static int8 differed by .48)."""
MAX_BOX_PX = 3.0
"""Of 128: by how much the boxes and points of anchors with a face may differ (2.2)."""
MAX_POINT_PX, MEAN_POINT_PX = 1.0, 0.25
"""Of 192: by how much a landmark may differ, and all of a face on average (.50, .14)."""


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(REFERENCE) as stored:
        return {name: stored[name] for name in stored.files}


def network(role: Role, data: bytes | None = None) -> Model:
    card = load_manifest().card(role)
    return Model(
        data or (assets_dir() / "models" / card.file).read_bytes(),
        name=card.file,
        shapes_in=[tensor.shape for tensor in card.input],
        shapes_out=[tensor.shape for tensor in card.output],
    )


def answers(model: Model, role: Role, reference: dict[str, np.ndarray]) -> list[np.ndarray]:
    """One array an output, one row a picture."""
    divisor, offset = INPUTS[role]
    rows = [model.run((p[None] / divisor + offset).astype(np.float32)) for p in reference[f"{role}_pixels"]]
    return [np.stack([row[i][0].ravel() for row in rows]) for i in range(len(rows[0]))]


def complaints(role: Role, model: Model, reference: dict[str, np.ndarray]) -> list[str]:
    """In what a network differs from the float one by more than it may; nothing for one that agrees."""
    given = answers(model, role, reference)
    wanted = [reference[f"{role}_{number}"] for number in range(len(given))]
    if role is Role.EMBEDDING:
        (one,), (other,) = given, wanted
        cosine = np.sum(one * other, axis=1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1))
        return [f"cosine {cosine.min():.5f}"] if cosine.min() < LEAST_COSINE else []
    if role is Role.DETECTOR:
        score = np.abs(sigmoid(given[1]) - sigmoid(wanted[1])).max()
        face = np.repeat(wanted[1] > 0, 16, axis=1)
        box = np.abs(given[0] - wanted[0])[face].max()
        return over(("score", score, MAX_SCORE), ("box", box, MAX_BOX_PX))
    apart = np.linalg.norm((given[0] - wanted[0]).reshape(-1, 468, 3)[:, :, :2], axis=2)
    presence = np.abs(sigmoid(given[1]) - sigmoid(wanted[1])).max()
    return over(
        ("point", apart.max(), MAX_POINT_PX),
        ("mean of points", apart.mean(axis=1).max(), MEAN_POINT_PX),
        ("presence", presence, MAX_SCORE),
    )


def over(*measured: tuple[str, float, float]) -> list[str]:
    return [f"{what} {value:.4f} > {limit:g}" for what, value, limit in measured if value > limit]


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logits, -80.0, 80.0)))


def stored(file: bytearray, buffer) -> np.ndarray:
    """A tensor's values in the file itself, int8[n]: inside the flatbuffer or, in newer files, behind it."""
    if buffer.Size():
        return np.frombuffer(file, np.int8, buffer.Size(), buffer.Offset())
    return buffer.DataAsNumpy().view(np.int8)


def coarser(data: bytes, bits: int) -> bytes:
    """The network with its int8 weights rounded to so many bits: still a valid file, and a worse one."""
    from ai_edge_litert import schema_py_generated as schema

    changed = bytearray(data)
    graph = schema.Model.GetRootAs(changed, 0)
    tensors = [graph.Subgraphs(0).Tensors(i) for i in range(graph.Subgraphs(0).TensorsLength())]
    step = 1 << (8 - bits)
    for tensor in tensors:
        if tensor.Type() == schema.TensorType.INT8:
            values = stored(changed, graph.Buffers(tensor.Buffer()))
            values[:] = np.clip(np.round(values / step) * step, -127, 127)
    assert bytes(changed) != data
    return bytes(changed)


@pytest.mark.parametrize("role", INPUTS)
def test_a_shipped_network_agrees_with_its_float_original(role, reference):
    assert complaints(role, network(role), reference) == []


@pytest.mark.parametrize("role", INPUTS)
def test_a_network_that_lost_one_bit_of_its_weights_is_noticed(role, reference):
    data = (assets_dir() / "models" / load_manifest().card(role).file).read_bytes()
    assert complaints(role, network(role, coarser(data, 7)), reference) != []


def test_the_reference_holds_faces_that_the_float_detector_found(reference):
    assert len(reference["detector_pixels"]) >= 5
    assert (reference["detector_1"].max(axis=1) > 0).all()
