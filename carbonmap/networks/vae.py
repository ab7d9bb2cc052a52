"""The conditional VAE: a U-Net whose coarsest level is joined by a latent map.

Sohn et al. 2015 with the skips of the Probabilistic U-Net (Kohl et al. 2018). Theirs is one latent
vector for a whole image, joined to the last level; a map has no such whole, so z is a map here, on
the pixels of the coarsest level: what it says holds for a place and its surrounds. It joins every
level of the decoder: by the coarsest alone it is so long unheard that its KL silences it first.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from carbonmap.networks.layers import Answer, DoubleConv, require_sides
from carbonmap.networks.rival_specs import VaeSpec

LOG_DEVIATION = 5.0
"""Bound on |log σ| of a latent: beyond e±5 single precision loses (μ − μ')² / σ² in the KL."""

NARROW = -2.0
"""log σ with which recognition starts: z comes all but without noise, so that the decoder learns to
listen before the KL, whose cost of a mean is the same, has brought q to the prior."""


class Latent(NamedTuple):
    """A normal distribution of z, each number by itself; ``(batch, latent, row, col)``."""

    mean: Tensor
    log_deviation: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """``μ + σ ε`` (Kingma & Welling 2014, section 2.4)."""
        return self.mean + self.log_deviation.exp() * noise


def divergence(q: Latent, p: Latent) -> Tensor:
    """Kullback–Leibler divergence of two normals, nats, one for every number of z.

    KL(q ‖ p) = log σ_p − log σ_q + (σ_q² + (μ_q − μ_p)²) / (2 σ_p²) − 1/2
    """
    apart = q.log_deviation - p.log_deviation
    moved = (q.mean - p.mean) * torch.exp(-p.log_deviation)
    return (torch.exp(2 * apart) + moved * moved - 1) / 2 - apart


class Trunk(nn.Module):
    """The half of a U-Net that goes down: two convolutions a level, max pooling between."""

    def __init__(self, bands: int, spec: VaeSpec) -> None:
        super().__init__()
        self.first = DoubleConv(bands, spec.widths[0], spec.norm)
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(
            DoubleConv(fine, coarse, spec.norm) for fine, coarse in pairwise(spec.widths)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features of each level, the finest first."""
        found = [self.first(images)]
        for down in self.down:
            found.append(down(self.pool(found[-1])))
        return found


class LatentHead(nn.Module):
    """Features to the distribution of z at each of their pixels."""

    def __init__(self, features: int, latent: int) -> None:
        super().__init__()
        self.both = nn.Conv2d(features, 2 * latent, 1)

    def forward(self, features: Tensor) -> Latent:
        """In single precision, as `divergence` needs; log σ is bent into its bound smoothly."""
        mean, log = self.both(features).float().chunk(2, 1)
        return Latent(mean, LOG_DEVIATION * torch.tanh(log / LOG_DEVIATION))


class Vae(nn.Module):
    """All that draws a map: features of x, the prior p(z|x), the decoder p(y|x, z)."""

    def __init__(self, spec: VaeSpec) -> None:
        super().__init__()
        first, *_, last = widths = spec.widths
        steps = list(reversed(list(pairwise(widths))))
        self.spec = spec
        self.trunk = Trunk(spec.bands, spec)
        self.head = LatentHead(last, spec.latent)
        self.join = DoubleConv(last + spec.latent, last, spec.norm)
        self.rise = nn.ModuleList(nn.ConvTranspose2d(c, f, 2, stride=2) for f, c in steps)
        self.up = nn.ModuleList(
            DoubleConv(2 * fine + spec.latent, fine, spec.norm) for fine, _ in steps
        )
        self.last = Answer(first, 1, 1)

    def features(self, condition: Tensor) -> list[Tensor]:
        """Of x, each level's, the finest first.

        Raises:
            ModelError: a side of the tile is no multiple of the specification's `stride`.
        """
        require_sides("the VAE", condition, self.spec.stride)
        return list(self.trunk(condition))

    def prior(self, features: list[Tensor]) -> Latent:
        """p(z|x)."""
        return Latent(*self.head(features[-1]))

    def decode(self, features: list[Tensor], z: Tensor) -> Tensor:
        """Mean of p(y|x, z), ``(batch, 1, row, col)``, without bounds.

        Each level has z as the nearest of its own pixels; the convolutions smooth it.
        """
        *skips, deepest = features
        z = z.to(deepest.dtype)
        out = self.join(torch.cat([deepest, z], 1))
        for rise, up in zip(self.rise, self.up, strict=True):
            z = F.interpolate(z, scale_factor=2.0)
            out = up(torch.cat([skips.pop(), rise(out), z], 1))
        return torch.as_tensor(self.last(out))

    def forward(self, condition: Tensor, noise: Tensor) -> Tensor:
        """One draw: the decoder's mean at a z of the prior.

        Args:
            condition: ``(batch, band, row, col)``.
            noise: standard normal, on z's pixels, ``(batch, latent, row / stride, col / stride)``.
        """
        features = self.features(condition)
        return self.decode(features, self.prior(features).sample(noise))


class Recognition(nn.Module):
    """q(z|x, y): what z a known map would have had. It teaches, and no map needs it."""

    def __init__(self, spec: VaeSpec) -> None:
        super().__init__()
        self.trunk = Trunk(spec.bands + 2, spec)
        self.head = LatentHead(spec.widths[-1], spec.latent)
        with torch.no_grad():
            self.head.both.bias[spec.latent :] = NARROW  # type: ignore[index]

    def forward(self, condition: Tensor, target: Tensor, weight: Tensor) -> Latent:
        """The target enters where its weight is 1, as 0 elsewhere, and the weight beside it."""
        known = torch.where(weight > 0, target, 0)
        return Latent(*self.head(self.trunk(torch.cat([condition, known, weight], 1))[-1]))
