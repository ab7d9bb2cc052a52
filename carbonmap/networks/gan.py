"""pix2pix: a U-Net that draws a map, and a discriminator that judges it patch by patch.

Isola et al. 2017, appendix 6.1, in the layout of their PyTorch code, whose 54.414 and 2.769 million
parameters these have. Apart from the paper: its only noise is dropout, at test time too, which is
no function of place; here noise is channels beside the condition, and there is no dropout.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from carbonmap.networks.layers import require_sides
from carbonmap.networks.rival_specs import GanSpec

KERNEL = 4
"""Edge of every convolution; a multiple of the stride, so that none sees a pixel more often."""

SLOPE = 0.2
"""Of the leaky ReLUs on the way down and in the discriminator."""

START = 0.02
"""Standard deviation of the weights at the start, about 0, or about 1 for norms (appendix 6.2)."""


class PixGenerator(nn.Module):
    """A U-Net of stride-2 convolutions: each level has half the pixels of the one before."""

    def __init__(self, spec: GanSpec) -> None:
        super().__init__()
        first, *_, last = widths = spec.widths
        steps = list(pairwise(widths))
        self.spec = spec
        self.first = nn.Conv2d(spec.bands + spec.noise, first, KERNEL, 2, 1, bias=False)
        self.down = nn.ModuleList(
            nn.Sequential(nn.LeakyReLU(SLOPE), *_halve(fine, coarse)) for fine, coarse in steps[:-1]
        )
        self.deepest = nn.Sequential(  # no norm here: one pixel of one tile has no variance
            nn.LeakyReLU(SLOPE), nn.Conv2d(steps[-1][0], last, KERNEL, 2, 1, bias=False)
        )
        ups = [(last, steps[-1][0]), *((2 * c, f) for f, c in reversed(steps[:-1]))]
        self.up = nn.ModuleList(nn.Sequential(nn.ReLU(), *_double(c, f)) for c, f in ups)
        self.last = nn.Sequential(
            nn.ReLU(), nn.ConvTranspose2d(2 * first, 1, KERNEL, 2, 1), nn.Tanh()
        )
        self.apply(_start)

    def forward(self, condition: Tensor, noise: Tensor) -> Tensor:
        """One draw, ``(batch, 1, row, col)``, within [−1, 1].

        Args:
            condition: ``(batch, band, row, col)``.
            noise: standard normal, ``(batch, noise, row, col)``.

        Raises:
            ModelError: a side of the tile is no multiple of the specification's `stride`.
        """
        require_sides("the GAN", condition, self.spec.stride)
        found = [self.first(torch.cat([condition, noise], 1))]
        for down in self.down:
            found.append(down(found[-1]))
        out = self.deepest(found[-1])
        for up in self.up:
            out = torch.cat([found.pop(), up(out)], 1)
        return torch.as_tensor(self.last(out))


class PatchDiscriminator(nn.Module):
    """Whether each patch of a map is a true one, given the condition."""

    def __init__(self, spec: GanSpec) -> None:
        super().__init__()
        first, *_, last = widths = spec.discriminator
        layers: list[nn.Module] = [nn.Conv2d(spec.bands + 2, first, KERNEL, 2, 1)]
        for fine, coarse in pairwise(widths[:-1]):
            layers += [nn.LeakyReLU(SLOPE), *_halve(fine, coarse)]
        layers += [nn.LeakyReLU(SLOPE), *_halve(widths[-2], last, stride=1)]
        self.layers = nn.Sequential(*layers, nn.LeakyReLU(SLOPE), nn.Conv2d(last, 1, KERNEL, 1, 1))
        self.strides = (*[2] * (len(widths) - 1), 1, 1)
        self.apply(_start)

    def forward(self, condition: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Logits, ``(batch, 1, patch row, patch col)``.

        A true and a drawn map come in alike where the weight is 0: as 0, with the weight as a
        channel beside (which the paper, whose images are known throughout, does not have).
        """
        known = torch.where(weight > 0, target, 0)
        return torch.as_tensor(self.layers(torch.cat([condition, known, weight], 1)))

    def seen(self, weight: Tensor) -> Tensor:
        """1 for each patch that holds a pixel of weight, else 0; in the logits' shape."""
        for stride in self.strides:
            weight = F.max_pool2d(weight, KERNEL, stride, 1)
        return weight


def _halve(cin: int, cout: int, stride: int = 2) -> Sequence[nn.Module]:
    return nn.Conv2d(cin, cout, KERNEL, stride, 1, bias=False), nn.BatchNorm2d(cout)


def _double(cin: int, cout: int) -> Sequence[nn.Module]:
    return nn.ConvTranspose2d(cin, cout, KERNEL, 2, 1, bias=False), nn.BatchNorm2d(cout)


def _start(layer: nn.Module) -> None:
    """The paper's initial weights; norms about 1 as in its code."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0.0, START)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, START)
