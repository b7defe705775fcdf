"""The anti-spoof network: two crops of one face in, one logit out, live positive.

A near crop (1.4 face widths) shows skin, print dots and screen grid; a far crop (2.7) shows edges of sheets,
bezels and hands. Dense 3 x 3 convolutions at few channels: on a CPU they train several times faster than
depthwise ones of the same accuracy, and the file stays far under 1 MB as int8.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["TRUST", "AntiSpoof", "Exported", "parameters"]

TRUST = 0.3
"""Weight of the taught logit: its teacher takes one print in six for live (Replay-Attack)."""


class Residual(nn.Module):
    """Two 3 x 3 convolutions around an identity; the first may halve the picture and change the width."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.skip = nn.Sequential(
                nn.AvgPool2d(stride) if stride != 1 else nn.Identity(),
                nn.Conv2d(before, after, 1, bias=False),
                nn.BatchNorm2d(after),
            )
        self.last = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.body(x) + self.skip(x))
        return out


def _branch(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, width, 3, 2, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        Residual(width, 2 * width, 2),
        Residual(2 * width, 4 * width, 2),
    )


class AntiSpoof(nn.Module):
    """`forward(near, far)`: float32[n, 3, 96, 96] in [0, 1] each, to two logits float32[n, 2], > 0 for live.

    The first is fitted to the labels, the second to the answers of the peer that teaches. `joined` makes one
    of them.
    """

    def __init__(self, width: int = 16, dropout: float = 0.3) -> None:
        super().__init__()
        self.near, self.far = _branch(width), _branch(width)
        self.trunk = nn.Sequential(
            nn.Conv2d(8 * width, 6 * width, 1, bias=False),
            nn.BatchNorm2d(6 * width),
            nn.ReLU(inplace=True),
            Residual(6 * width, 8 * width, 2),
        )
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(8 * width, 2))

    def forward(self, near: Tensor, far: Tensor) -> Tensor:
        joint = torch.cat([self.near(2 * near - 1), self.far(2 * far - 1)], dim=1)
        logits: Tensor = self.head(self.trunk(joint).mean(dim=(2, 3)))
        return logits

    def joined(self, logits: Tensor) -> Tensor:
        """One logit float32[n] of the two."""
        return logits[:, 0] * (1 - TRUST) + logits[:, 1] * TRUST


class Exported(nn.Module):
    """The network as the product calls it: float32[1, 96, 96, 3] near and far, to float32[1, 1]."""

    def __init__(self, network: AntiSpoof) -> None:
        super().__init__()
        self.network = network

    def forward(self, near: Tensor, far: Tensor) -> Tensor:
        logits = self.network(near.permute(0, 3, 1, 2), far.permute(0, 3, 1, 2))
        return self.network.joined(logits)[:, None]


def parameters(network: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(p.numel() for p in network.parameters())
