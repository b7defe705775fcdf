"""MiniFASNet's published pair as one liveness network that meets the kiosk's contract, with its card.

Both networks, their pictures' layout, the mean of their answers and its logit are one graph: what the kiosk
does for it is what it does for its own network, two crops as RGB in [0, 1].
"""

from __future__ import annotations

import copy
import hashlib
import pickle
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from kiosk.convert import tflite
from kiosk.convert.minifasnet import LIVE, SIDE, MiniFASNet, build
from kiosk.domain.errors import OperatorError
from kiosk.vision import models
from kiosk.vision.models import ModelCard, Role, Source, Threshold

__all__ = ["FILES", "RAISED", "Pair", "convert_pair", "load_pair"]

FILES: Final = (
    ("2.7_80x80_MiniFASNetV2.pth", 2.7, "a5eb02e1843f19b5386b953cc4c9f011c3f985d0ee2bb9819eea9a142099bec0"),
    (
        "4_0_0_80x80_MiniFASNetV1SE.pth",
        4.0,
        "84ee1d37d96894d5e82de5a57df044ef80a58be2b218b5ed7cdfd875ec2f5990",
    ),
)
"""Name, crop in face widths, and SHA-256 of the two files as Silent-Face-Anti-Spoofing publishes them."""
RAISED: Final = 0.15
"""BlazeFace's box ends below the forehead, theirs does not: its top is raised by this share of its height."""
LARGEST_BYTES: Final = 16 * 1024 * 1024
"""Of a weight file; theirs have 1.8 MB."""
LEAST_PROBABILITY: Final = 1e-13
"""Keeps the logit within the kiosk's +-30."""


class Pair(nn.Module):
    """Two crops, float32[1, 80, 80, 3], RGB in [0, 1], to float32[1, 1]: logit of the mean live probability.

    RGB for BGR and 1 for 255 are folded into the first weights, so that they cost nothing.
    """

    def __init__(self, near: MiniFASNet, far: MiniFASNet) -> None:
        super().__init__()
        self.near, self.far = (copy.deepcopy(network) for network in (near, far))
        for network in (self.near, self.far):
            first = network.conv1.conv
            first.weight = nn.Parameter(255.0 * first.weight.detach().flip(1))

    def forward(self, near: Tensor, far: Tensor) -> Tensor:
        views = ((self.near, near), (self.far, far))
        total = sum(network(view.permute(0, 3, 1, 2)).softmax(1) for network, view in views)
        live = total[:, LIVE : LIVE + 1]
        attack = total[:, :LIVE] + total[:, LIVE + 1 :]
        return (live.clamp(min=LEAST_PROBABILITY) / attack.clamp(min=LEAST_PROBABILITY)).log()


def load_pair(folder: Path) -> tuple[MiniFASNet, MiniFASNet]:
    """The two networks from their files in `folder`; OperatorError for a file that is not one of them."""
    near, far = (_network(folder / name) for name, _, _ in FILES)
    return near, far


def convert_pair(folder: Path, file: str) -> tuple[bytes, ModelCard]:
    """The network's bytes and its card; `file` is the name that it will have.

    Weights that are not the published ones are converted too, but their terms are then not known here: the
    card says so, and production refuses them until the operator names them.
    """
    near, far = load_pair(folder)
    example = torch.zeros(1, SIDE, SIDE, 3)
    model = tflite.quantise(tflite.convert(Pair(near, far), (example, example)))
    found = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name, _, _ in FILES]
    return model, _card(model, file, found)


def _network(path: Path) -> MiniFASNet:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise OperatorError(f"larger than {LARGEST_BYTES // 2**20} MiB", where=str(path), do=_GET)
        return build(torch.load(path, map_location="cpu", weights_only=True))
    except OSError as error:
        raise OperatorError(f"cannot be read ({error.strerror})", where=str(path), do=_GET) from None
    except (pickle.UnpicklingError, EOFError, RuntimeError, AttributeError, KeyError, ValueError, TypeError):
        raise OperatorError("is not a MiniFASNet weight file", where=str(path), do=_GET) from None


_GET: Final = (
    "Give the folder with Silent-Face-Anti-Spoofing's two files as published: "
    + ", ".join(name for name, _, _ in FILES)
    + "."
)


def _card(model: bytes, file: str, found: list[str]) -> ModelCard:
    published = found == [digest for _, _, digest in FILES]
    chosen = "chosen, not measured: docs/models.md says how to set your own"
    return ModelCard(
        id="minifasnet-pair-int8-1",
        role=Role.LIVENESS,
        file=file,
        sha256=hashlib.sha256(model).hexdigest(),
        bytes=len(model),
        source=Source(
            registry="github.com",
            package="minivision-ai/Silent-Face-Anti-Spoofing",
            file=", ".join(name for name, _, _ in FILES),
            file_sha256=", ".join(found),
        ),
        build="kiosk models convert minifasnet: pair in one graph, PReLU fused, dynamic int8 in CONV_2D",
        licence="Apache-2.0" if published else "not the published weights: ask whoever made them",
        commercial="yes" if published else "unstated",
        trained_on="pictures of its authors; not published" if published else "not stated",
        attribution=(
            "MiniFASNetV2 and MiniFASNetV1SE of Silent-Face-Anti-Spoofing, Copyright 2020 Minivision, "
            "Apache License 2.0; changed: converted to TFLite, quantised"
        ),
        input=tuple(
            models.Tensor(
                name=name,
                shape=(1, SIDE, SIDE, 3),
                values="RGB in [0, 1], around the detector's box, moved to lie inside the frame",
                crop_scale=scale,
                crop_edge="inside",
                crop_raised=RAISED,
            )
            for name, (_, scale, _) in zip(("near", "far"), FILES, strict=True)
        ),
        output=(models.Tensor(name="logit", shape=(1, 1), values="positive for live"),),
        thresholds={"live": Threshold(0.9, chosen), "attack": Threshold(0.5, chosen)},
    )
