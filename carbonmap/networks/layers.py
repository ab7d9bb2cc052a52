"""The pieces that every network here is made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from carbonmap.errors import ModelError
from carbonmap.networks.specs import Norm

GROUPS = 32
"""At most so many groups in group normalisation (Wu & He 2018, their default)."""


PLAIN_STEPS, FREE_STEPS = 500, 1500
"""Between which batch renormalisation's bounds open; Ioffe's 5,000 and 25,000 are of runs of
130,000 steps, ours take 2,000 to 20,000."""

MOST_SCALE, MOST_SHIFT = 3.0, 5.0
"""Its r_max and d_max at the end, as Ioffe's."""

FORGET = 0.01
"""Share of its running statistics that a step replaces, as Ioffe's: about 100 steps."""


class ChannelNorm(nn.LayerNorm):
    """Each pixel's channels brought to mean 0 and variance 1, then scaled and shifted by channel.

    Ba et al. 2016 over channels alone, so that a pixel's value does not depend on the tile around
    it. In channels-last memory both permutations are free.
    """

    def forward(self, images: Tensor) -> Tensor:
        """``(batch, channel, row, col)`` there and back."""
        return super().forward(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class BatchRenorm(nn.BatchNorm2d):
    """Batch norm that learns by the statistics it predicts by (Ioffe 2017, batch renormalisation).

        learning    y = (x − μ_B)/σ_B · r + d,   r = σ_B/σ,  d = (μ_B − μ)/σ,  without gradients
        predicting  y = (x − μ)/σ

    With μ_B and σ_B the batch's and μ and σ the running statistics, both are the same numbers,
    while gradients still flow through the batch's. A denoiser needs that: the few maps of a step
    have each a noise level of its own, so their statistics stray, and what it answers at one level
    is what it is asked at the next. With plain batch norm the IIDM's first estimate of a map was
    right on average and its draws 7 Mg C/ha too low.

    r and d are held within bounds that open over the first steps, as there: until `PLAIN_STEPS` it
    is plain batch norm, from `FREE_STEPS` on r lies within 1/`MOST_SCALE` … `MOST_SCALE` and d
    within ±`MOST_SHIFT`. Everything else, its parameters too, is batch norm's.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """``(batch, channel, row, col)`` there and back."""
        if not self.training:
            return super().forward(images)
        with torch.no_grad():
            scale, shift = self._corrections(images)
        return F.batch_norm(
            images, None, None, self.weight * scale, self.bias + self.weight * shift, True, 0.0,
            self.eps,
        )  # fmt: skip

    def _corrections(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scale r and shift d of a batch, which is then counted."""
        mean, var = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        F.batch_norm(images, mean, var, None, None, True, 1.0, self.eps)  # the fastest way to them
        count = images.numel() // len(mean)
        done = (self.num_batches_tracked - PLAIN_STEPS) / (FREE_STEPS - PLAIN_STEPS)
        free = done.clamp(0, 1)
        spread = (self.running_var + self.eps).sqrt()
        most = 1 + free * (MOST_SCALE - 1)
        own = (var * ((count - 1) / count) + self.eps).sqrt()  # by which the batch is divided
        scale = (own / spread).clamp(1 / most, most)
        reach = free * MOST_SHIFT
        shift = ((mean - self.running_mean) / spread).clamp(-reach, reach)
        self.num_batches_tracked += 1
        rate = (1 / self.num_batches_tracked).clamp(min=FORGET)  # a plain mean at first
        self.running_mean.lerp_(mean, rate)
        self.running_var.lerp_(var, rate)
        return scale, shift


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
        case "renorm":
            return BatchRenorm(channels)
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
