"""What a level of the denoising U-Net is made of: two convolutions that know the noise level."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from carbonmap.networks.layers import convolution, normalisation
from carbonmap.networks.specs import IidmSpec


def dropout(share: float) -> nn.Module:
    """Dropout of single values, or nothing where the share is 0 (torch would still draw a mask)."""
    return nn.Dropout(share) if share else nn.Identity()


class DoubleBlock(nn.Module):
    """The KD-UNet's two 3×3 convolutions, each normalised, the noise level added in between.

    The level's vector, by a linear layer of the block's own, is added to every pixel before the
    first activation: after it, a second convolution that is normalised could lose a shift that all
    of a batch share.

    Args:
        spec: whose norm, embedding and dropout (before the second convolution) hold.
        cin: channels in.
        cout: channels out.
    """

    def __init__(self, spec: IidmSpec, cin: int, cout: int) -> None:
        super().__init__()
        self.first = nn.Sequential(*convolution(cin, cout, spec.norm)[:2])
        self.level = nn.Linear(spec.embedding, cout)
        self.dropout = dropout(spec.dropout)
        self.second = nn.Sequential(*convolution(cout, cout, spec.norm))

    def forward(self, images: Tensor, level: Tensor) -> Tensor:
        """``(batch, cin, row, col)`` and ``(batch, embedding)`` to ``(batch, cout, row, col)``."""
        shift = self.level(level)[:, :, None, None]
        between = F.relu(self.first(images) + shift, inplace=True)
        out: Tensor = self.second(self.dropout(between))
        return out


class ResidualBlock(nn.Module):
    """SR3's and IDM's: normalised and activated before each convolution, the input added back.

    Args:
        spec: whose norm, embedding and dropout (before the second convolution) hold.
        cin: channels in.
        cout: channels out; where they differ from `cin`, the input goes through a 1×1 convolution.
    """

    def __init__(self, spec: IidmSpec, cin: int, cout: int) -> None:
        super().__init__()
        self.norm_first = normalisation(spec.norm, cin)
        self.first = nn.Conv2d(cin, cout, 3, padding=1)
        self.level = nn.Linear(spec.embedding, cout)
        self.norm_second = normalisation(spec.norm, cout)
        self.dropout = dropout(spec.dropout)
        self.second = nn.Conv2d(cout, cout, 3, padding=1)
        self.across = nn.Identity() if cin == cout else nn.Conv2d(cin, cout, 1)

    def forward(self, images: Tensor, level: Tensor) -> Tensor:
        """``(batch, cin, row, col)`` and ``(batch, embedding)`` to ``(batch, cout, row, col)``."""
        between = self.first(F.silu(self.norm_first(images)))
        between = between + self.level(level)[:, :, None, None]
        between = self.second(self.dropout(F.silu(self.norm_second(between))))
        out: Tensor = self.across(images) + between
        return out


class Stage(nn.Module):
    """The blocks of one level and path, one after the other.

    Args:
        spec: which blocks, and how many.
        cin: channels in.
        cout: channels of each block.
    """

    def __init__(self, spec: IidmSpec, cin: int, cout: int) -> None:
        super().__init__()
        kind = DoubleBlock if spec.block == "double" else ResidualBlock
        self.blocks = nn.ModuleList(
            kind(spec, cout if place else cin, cout) for place in range(spec.blocks)
        )

    def forward(self, images: Tensor, level: Tensor) -> Tensor:
        """``(batch, cin, row, col)`` and ``(batch, embedding)`` to ``(batch, cout, row, col)``."""
        for block in self.blocks:
            images = block(images, level)
        return images
