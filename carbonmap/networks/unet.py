"""The plain U-Net: the paper's teacher and student, and the baseline that regresses."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from carbonmap.networks.layers import Answer, DoubleConv, require_sides
from carbonmap.networks.specs import UnetSpec


class Unet(nn.Module):
    """Two convolutions a level, max pooling down, transposed convolutions up, skips concatenated.

    Ronneberger et al. 2015, figure 1, in the layout that gives the paper's counts (IIDM, table A3):
    padded convolutions, each with its normalisation, so that a tile comes out as large as it went
    in; each 2×2 transposed convolution gives as many channels as its skip has; a 1×1 convolution
    with a bias at the end.
    """

    def __init__(self, spec: UnetSpec) -> None:
        super().__init__()
        steps = list(pairwise(spec.widths))
        self.spec = spec
        self.first = DoubleConv(spec.bands, spec.widths[0], spec.norm)
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(DoubleConv(fine, coarse, spec.norm) for fine, coarse in steps)
        self.dropout = nn.Dropout2d(spec.dropout)
        self.rise = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in reversed(steps)
        )
        self.up = nn.ModuleList(
            DoubleConv(2 * fine, fine, spec.norm) for fine, _ in reversed(steps)
        )
        self.last = Answer(spec.widths[0], spec.out, 1)

    def forward(self, images: Tensor) -> Tensor:
        """``(batch, band, row, col)`` to ``(batch, out, row, col)``, without bounds.

        Raises:
            ModelError: a side is no multiple of 2 to the levels below the first.
        """
        require_sides("the U-Net", images, 2 ** len(self.down))
        found = [self.first(images)]
        for down in self.down:
            found.append(down(self.pool(found[-1])))
        out = self.dropout(found.pop())
        for rise, up in zip(self.rise, self.up, strict=True):
            out = up(torch.cat([found.pop(), rise(out)], 1))
        result: Tensor = self.last(out)
        return result
