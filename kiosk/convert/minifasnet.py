"""MiniFASNet, the anti-spoof networks of Silent-Face-Anti-Spoofing (Apache-2.0), built from their weights.

The layers are read off the names and shapes in a weight file, so nothing of that project is needed but the
files. Every weight is a parameter and every normalisation a layer: what is built here can be trained further.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["CLASSES", "FEATURES", "LIVE", "SIDE", "MiniFASNet", "build"]

SIDE = 80
CLASSES = 3
LIVE = 1
"""Which of the three classes is a living face; the other two are attacks."""
FEATURES = 128


def build(state: Mapping[str, Tensor]) -> MiniFASNet:
    """The network that a weight file's `state` describes, in evaluation mode and with those weights in it.

    `state` is what `torch.load` gives for a published `.pth` file (a leading `module.` in its names is
    dropped). KeyError or RuntimeError for the weights of another network.
    """
    weights = {name.removeprefix("module."): value for name, value in state.items()}
    network = MiniFASNet(weights)
    network.load_state_dict(weights)
    network.eval()
    return network


class MiniFASNet(nn.Module):
    """float32[n, 3, 80, 80], BGR in 0..255, to float32[n, 3]: logits of the three classes, 1 for live."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.conv1 = _Unit(weights, "conv1", stride=2)
        self.conv2_dw = _Unit(weights, "conv2_dw")
        self.conv_23 = _Block(weights, "conv_23", stride=2)
        self.conv_3 = _Stage(weights, "conv_3")
        self.conv_34 = _Block(weights, "conv_34", stride=2)
        self.conv_4 = _Stage(weights, "conv_4")
        self.conv_45 = _Block(weights, "conv_45", stride=2)
        self.conv_5 = _Stage(weights, "conv_5")
        self.conv_6_sep = _Unit(weights, "conv_6_sep")
        self.conv_6_dw = _Unit(weights, "conv_6_dw", padded=False)
        self.linear = nn.Linear(weights["linear.weight"].shape[1], FEATURES, bias=False)
        self.bn = nn.BatchNorm1d(FEATURES)
        self.prob = nn.Linear(FEATURES, CLASSES, bias=False)

    def features(self, x: Tensor) -> Tensor:
        """float32[n, 128]: what the last layer weighs."""
        x = self.conv2_dw(self.conv1(x))
        x = self.conv_3(self.conv_23(x))
        x = self.conv_4(self.conv_34(x))
        x = self.conv_5(self.conv_45(x))
        x = self.conv_6_dw(self.conv_6_sep(x)).flatten(1)
        normed: Tensor = self.bn(self.linear(x))
        return normed

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.prob(self.features(x))
        return logits


class _Unit(nn.Module):
    """A convolution, its normalisation and, where the file has its slopes, a PReLU."""

    def __init__(
        self, weights: Mapping[str, Tensor], name: str, stride: int = 1, *, padded: bool = True
    ) -> None:
        super().__init__()
        channels, in_group, side, _ = weights[f"{name}.conv.weight"].shape
        groups = channels if in_group == 1 else 1
        padding = side // 2 if padded else 0
        self.conv = nn.Conv2d(in_group * groups, channels, side, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.prelu = nn.PReLU(channels) if f"{name}.prelu.weight" in weights else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.prelu(self.bn(self.conv(x)))
        return y


class _Block(nn.Module):
    """Wide, depthwise, narrow (an inverted residual); where the file has one, a gate on the channels."""

    def __init__(self, weights: Mapping[str, Tensor], name: str, stride: int = 1) -> None:
        super().__init__()
        self.conv = _Unit(weights, f"{name}.conv")
        self.conv_dw = _Unit(weights, f"{name}.conv_dw", stride)
        self.project = _Unit(weights, f"{name}.project")
        gate = f"{name}.se_module"
        self.se_module = _Gate(weights, gate) if f"{gate}.fc1.weight" in weights else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.se_module(self.project(self.conv_dw(self.conv(x))))
        return y


class _Gate(nn.Module):
    """Squeeze and excitation: each channel times a number in [0, 1] that the whole picture decides."""

    def __init__(self, weights: Mapping[str, Tensor], name: str) -> None:
        super().__init__()
        narrow, channels = weights[f"{name}.fc1.weight"].shape[:2]
        self.fc1, self.bn1 = nn.Conv2d(channels, narrow, 1, bias=False), nn.BatchNorm2d(narrow)
        self.fc2, self.bn2 = nn.Conv2d(narrow, channels, 1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.bn1(self.fc1(x.mean((2, 3), keepdim=True)))
        return x * torch.sigmoid(self.bn2(self.fc2(torch.relu(gate))))


class _Stage(nn.Module):
    """As many blocks as the file has, each added to what it was given."""

    def __init__(self, weights: Mapping[str, Tensor], name: str) -> None:
        super().__init__()
        first = f"{name}.model."
        count = len({key.removeprefix(first).split(".")[0] for key in weights if key.startswith(first)})
        self.model = nn.ModuleList(_Block(weights, f"{first}{place}") for place in range(count))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.model:
            x = x + block(x)
        return x
