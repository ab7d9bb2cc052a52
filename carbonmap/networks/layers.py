"""The pieces that every network here is made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from carbonmap.errors import ModelError
from carbonmap.networks.specs import Norm

GROUPS = 32
"""At most so many groups in group normalisation (Wu & He 2018, their default)."""


class ChannelNorm(nn.LayerNorm):
    """Each pixel's channels brought to mean 0 and variance 1, then scaled and shifted by channel.

    Ba et al. 2016 over channels alone, so that a pixel's value does not depend on the tile around
    it. In channels-last memory both permutations are free.
    """

    def forward(self, images: Tensor) -> Tensor:
        """``(batch, channel, row, col)`` there and back."""
        return super().forward(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Answer(nn.Conv2d):
    """A network's last convolution, in single precision whatever the others count in.

    bfloat16 has 8 bits: a map would come in steps of 0.4 % of the label scale.
    """

    def forward(self, images: Tensor) -> Tensor:
        """``(batch, channel, row, col)`` to float32 with the answer's channels."""
        kind = images.device.type
        if not torch.amp.is_autocast_available(kind):  # such as where only shapes are tried
            return super().forward(images)
        with torch.autocast(kind, enabled=False):
            return super().forward(images.float())


def normalisation(norm: Norm, channels: int) -> nn.Module:
    """The layer that `norm` names, with a learned scale and shift a channel.

    Groups are 32, or the most below it that divide the channels.
    """
    match norm:
        case "batch":
            return nn.BatchNorm2d(channels)
        case "channel":
            return ChannelNorm(channels)
        case "group":
            groups = max(g for g in range(1, GROUPS + 1) if channels % g == 0)
            return nn.GroupNorm(groups, channels)
        case "none":
            return nn.Identity()


def he(convolution: nn.Conv2d) -> nn.Conv2d:
    """The same convolution, its weights drawn so that a following ReLU keeps the variance.

    He et al. 2015, eq. 10: normal with variance 2 / fan-in, biases 0. torch's own start has a sixth
    of that variance, and a deep trunk without normalisation would begin all but silent.
    """
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


def convolution(cin: int, cout: int, norm: Norm) -> list[nn.Module]:
    """A 3×3 convolution, its normalisation and a ReLU, for a `Sequential` to hold.

    Zeros are padded, so that the size stays. The convolution has a bias, and He's start, only where
    nothing normalises it: a normalisation has its own shift and undoes any scale.
    """
    plain = norm == "none"
    conv = nn.Conv2d(cin, cout, 3, padding=1, bias=plain)
    return [he(conv) if plain else conv, normalisation(norm, cout), nn.ReLU(inplace=True)]


class DoubleConv(nn.Sequential):
    """Two 3×3 convolutions, each with its normalisation and a ReLU (Ronneberger et al. 2015).

    Args:
        cin: channels in.
        cout: channels between the two and out.
        norm: after each.
    """

    def __init__(self, cin: int, cout: int, norm: Norm) -> None:
        super().__init__(*convolution(cin, cout, norm), *convolution(cout, cout, norm))


def parameters(module: nn.Module) -> int:
    """How many numbers of a module training moves; statistics of batch norms are not among them."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def require_sides(name: str, images: Tensor, multiple: int) -> None:
    """Stop unless both sides of the images can be halved as often as a network does.

    Raises:
        ModelError: a side is no multiple of `multiple`.
    """
    rows, cols = images.shape[-2:]
    if rows % multiple or cols % multiple:
        raise ModelError(
            f"{name} got a tile of {rows} × {cols} pixels; both sides must be multiples of "
            f"{multiple}: pad the tile, or choose another size (model.training.patch_px)"
        )
