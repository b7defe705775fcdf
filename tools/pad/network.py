"""The anti-spoof network: two crops of one face in, one logit out, live positive.

It looks with MiniFASNetV2 of Silent-Face-Anti-Spoofing (Apache-2.0), whose weights stay as published: they
have seen far more cameras than the sets here show, and training them further on these sets unlearns that
(docs/adr/0021-anti-spoof-generalises.md). What is trained here judges what it saw:

    near crop -> eye -> meaning -> general ---.
    far crop  -> eye -> meaning -> general ---+----------.
                     -> all     -> expert ---------------+-> logit
                     -> texture -> familiarity: whose? --'

The two `general` answer for any camera; they learned from simulated recaptures. `expert` knows the cameras
and instruments of the training sets by heart, and is asked only where a frame's texture (sharpness, noise,
colour of the camera) is one of theirs.
"""

from __future__ import annotations

import checkout  # noqa: F401  (kiosk is found through it)
import torch
from torch import Tensor, nn

from kiosk.convert.minifasnet import MiniFASNet, build

__all__ = ["ALL", "MEANING", "TEXTURE", "AntiSpoof", "Exported", "Eye", "parameters"]

TEXTURE = slice(0, 704)
"""Means and deviations of the first four stages' channels: what the camera makes of any picture."""
MEANING = slice(1216, 1344)
"""What the published network's last layer weighs."""
ALL = slice(0, 1344)
SURE = 8.0
"""The expert's logit is kept within this: beyond, it has only learned its own sets' people."""


class Eye(nn.Module):
    """MiniFASNetV2 without its last layer: float32[n, 3, 80, 80], RGB in [0, 1], to float32[n, 1344].

    Raises KeyError or RuntimeError for the weights of another network.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.net: MiniFASNet = build(weights)
        for weight in self.parameters():
            weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        net, seen = self.net, []
        x = net.conv2_dw(net.conv1(255.0 * x.flip(1)))  # it was trained on BGR in 0..255
        for stage in (None, (net.conv_23, net.conv_3), (net.conv_34, net.conv_4), (net.conv_45, net.conv_5)):
            if stage is not None:
                x = stage[1](stage[0](x))
            mean = x.mean((2, 3))
            spread = ((x * x).mean((2, 3)) - mean * mean).clamp(min=1e-6).sqrt()
            seen += [mean, spread]
        x = net.conv_6_sep(x)
        seen.append(x.mean((2, 3)))
        seen.append(net.bn(net.linear(net.conv_6_dw(x).flatten(1))))
        return torch.cat(seen, 1)

    def published(self, seen: Tensor) -> Tensor:
        """The published network's own answer to what it saw, float32[n]: logit of class 1, live."""
        classes = self.net.prob(seen[:, MEANING])
        attack = torch.logsumexp(classes[:, [0, 2]], 1)
        answer: Tensor = classes[:, 1] - attack
        return answer


class Familiarity(nn.Module):
    """How far a frame's texture is from each training set's: the mean square of its whitened coordinates.

    A Gaussian for each set after one projection (Lee et al. 2018, arXiv:1807.03888); about 1 for frames that
    the Gaussian was fitted to. The logit is 0 at `far`, and positive nearer.
    """

    def __init__(self, sets: int, kept: int, far: float, soft: float) -> None:
        super().__init__()
        width = TEXTURE.stop - TEXTURE.start
        self.project = nn.Linear(width, kept)
        self.whiten = nn.ModuleList(nn.Linear(kept, kept) for _ in range(sets))
        self.far, self.soft = far, soft

    def distance(self, seen: Tensor) -> Tensor:
        """float32[n], 0 or more, to the nearest set."""
        flat = self.project(seen[:, TEXTURE])
        near: Tensor = torch.stack([white(flat).square().mean(1) for white in self.whiten], 1).amin(1)
        return near

    def forward(self, seen: Tensor) -> Tensor:
        return (self.far - self.distance(seen)) / self.soft


class General(nn.Module):
    """Any camera's judge of one crop: the published answer, corrected by a layer on what it was made of."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(MEANING.stop - MEANING.start, 1)
        self.trust = nn.Parameter(torch.tensor(0.5))
        """Weight of the published answer."""

    def forward(self, seen: Tensor, published: Tensor) -> Tensor:
        answer: Tensor = self.layer(seen[:, MEANING])[:, 0] + self.trust * published
        return answer


class AntiSpoof(nn.Module):
    """`forward(near, far)`: float32[n, 3, 80, 80], RGB in [0, 1], to one logit float32[n], > 0 for live."""

    def __init__(
        self, eye: Eye, *, sets: int, hidden: int = 64, kept: int = 96, far: float = 2.2, soft: float = 0.15
    ) -> None:
        super().__init__()
        self.eye = eye
        self.near, self.far = General(), General()
        self.expert = nn.Sequential(nn.Linear(ALL.stop, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        self.familiarity = Familiarity(sets, kept, far, soft)

    def general(self, near: Tensor, far: Tensor) -> Tensor:
        """What any camera's judges say together, float32[n]."""
        answer: Tensor = self.near(near, self.eye.published(near)) + self.far(far, self.eye.published(far))
        return answer

    def judge(self, near: Tensor, far: Tensor) -> Tensor:
        """One logit float32[n] of what the eye saw, float32[n, 1344] each."""
        general = self.general(near, far)
        expert = self.expert(far)[:, 0].clamp(-SURE, SURE)
        trust = torch.sigmoid(self.familiarity(far))
        return general + trust * expert

    def forward(self, near: Tensor, far: Tensor) -> Tensor:
        seen = self.eye(torch.cat([near, far]))  # together: one copy of the weights in the file
        return self.judge(seen[: len(near)], seen[len(near) :])


class Exported(nn.Module):
    """The network as the product calls it: float32[1, 80, 80, 3] twice, RGB in [0, 1], to float32[1, 1]."""

    def __init__(self, network: AntiSpoof) -> None:
        super().__init__()
        self.network = network

    def forward(self, near: Tensor, far: Tensor) -> Tensor:
        answer: Tensor = self.network(near.permute(0, 3, 1, 2), far.permute(0, 3, 1, 2))[:, None]
        return answer


def parameters(network: nn.Module) -> int:
    """How many numbers there are in it."""
    return sum(p.numel() for p in network.parameters())
