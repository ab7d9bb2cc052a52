"""The improved implicit diffusion model's network: from condition, noisy map and noise level."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from carbonmap.errors import ModelError
from carbonmap.networks.attention import Concatenation, Fusion
from carbonmap.networks.blocks import Stage
from carbonmap.networks.embedding import NoiseLevel
from carbonmap.networks.implicit import ImplicitUpsample
from carbonmap.networks.layers import Answer, DoubleConv, he, normalisation, require_sides
from carbonmap.networks.specs import IidmSpec, Norm
from carbonmap.networks.vgg import Pyramid


def halving(cin: int, cout: int, norm: Norm) -> nn.Sequential:
    """fⁱ = Conv(fⁱ⁻¹), eq. 2: 3×3 with stride 2, its normalisation and a ReLU.

    The equation names the convolution alone; without an activation, all the fⁱ would be linear in
    f⁰, and one convolution of f⁰ each.
    """
    plain = norm == "none"
    conv = nn.Conv2d(cin, cout, 3, stride=2, padding=1, bias=plain)
    return nn.Sequential(
        he(conv) if plain else conv, normalisation(norm, cout), nn.ReLU(inplace=True)
    )


class Fall(nn.Module):
    """One level down the encoder: half the rows and columns, then the level's blocks.

    Max pooling before double blocks, as in the U-Net that the paper distils; a 3×3 convolution with
    stride 2 before residual ones, as in SR3's.

    Args:
        spec: of the network.
        level: the one that is reached, at least 1.
    """

    def __init__(self, spec: IidmSpec, level: int) -> None:
        super().__init__()
        fine, coarse = spec.widths[level - 1 : level + 1]
        strided = spec.block == "residual"
        self.down = nn.Conv2d(fine, fine, 3, 2, padding=1) if strided else nn.MaxPool2d(2)
        self.stage = Stage(spec, fine, coarse)

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        """``(batch, fine, row, col)`` to ``(batch, coarse, row / 2, col / 2)``."""
        out: Tensor = self.stage(self.down(images), noise)
        return out


class Rise(nn.Module):
    """One level up the decoder: fusion with the condition, upsampling, the skip, blocks.

    Args:
        spec: of the network.
        level: the one that is reached, from the next coarser.
    """

    def __init__(self, spec: IidmSpec, level: int) -> None:
        super().__init__()
        fine, coarse = spec.widths[level : level + 2]
        heads = spec.heads if 2 ** (level + 1) >= spec.attention_stride else None
        self.fusion: nn.Module = (
            Fusion(coarse, coarse, heads)
            if spec.fusion == "attention"
            else Concatenation(coarse, coarse)
        )
        self.up: nn.Module = (
            ImplicitUpsample(coarse, fine, spec.hidden)
            if spec.upsampling == "implicit"
            else nn.ConvTranspose2d(coarse, fine, 2, stride=2)
        )
        self.stage = Stage(spec, 2 * fine, fine)

    def forward(self, images: Tensor, feature: Tensor, skip: Tensor, noise: Tensor) -> Tensor:
        """``(batch, coarse, row, col)`` to ``(batch, fine, 2 row, 2 col)``."""
        raised = self.up(self.fusion(images, feature))
        out: Tensor = self.stage(torch.cat([raised, skip], 1), noise)
        return out


class Iidm(nn.Module):
    """The conditional denoiser (IIDM 4.3–4.6, figure 4): ``ε_θ(x, y_t, γ_t)`` of eq. 4, or v.

    `condition` is computed once a tile, `denoise` once a step. Scale-adaptive parts of IDM are left
    out: the paper sets its scale s to 1. The last convolution starts at zero, so that training
    begins at the mean.

    Args:
        spec: every switch of the paper's ablation.
    """

    def __init__(self, spec: IidmSpec) -> None:
        super().__init__()
        self.spec = spec
        widths, levels = spec.widths, range(len(spec.widths))
        residual = spec.block == "residual"
        self.features: nn.Module = (
            Pyramid(spec.vgg, spec.bands, spec.features)
            if spec.vgg
            else DoubleConv(spec.bands, spec.features, spec.norm)
        )
        self.halve = nn.ModuleList(
            halving(cin, cout, spec.norm) for cin, cout in pairwise((spec.features, *widths[1:]))
        )
        self.level = NoiseLevel(spec.embedding)
        held = spec.features + 1
        self.enter = nn.Conv2d(held, widths[0], 3, padding=1) if residual else nn.Identity()
        self.first = Stage(spec, widths[0] if residual else held, widths[0])
        self.encoder = nn.ModuleList(Fall(spec, level) for level in levels[1:])
        self.decoder = nn.ModuleList(Rise(spec, level) for level in reversed(levels[:-1]))
        self.exit = (
            nn.Sequential(normalisation(spec.norm, widths[0]), nn.SiLU())
            if residual
            else nn.Identity()
        )
        self.last = Answer(widths[0], 1, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]  # it has one

    @property
    def multiple(self) -> int:
        """Of which both sides of a tile must be multiples."""
        vgg = self.spec.vgg.layers.count(0) if self.spec.vgg else 0
        return 1 << max(len(self.spec.widths) - 1, vgg)

    def condition(self, x: Tensor) -> tuple[Tensor, ...]:
        """f⁰ at the tile's own resolution and fⁱ at each coarser one, for `denoise`.

        Args:
            x: standardised layers, ``(batch, band, row, col)``.

        Returns:
            ``(batch, spec.features, row, col)``, then ``(batch, widths[i], row / 2ⁱ, col / 2ⁱ)``.

        Raises:
            ModelError: x has other bands than the network, or sides that cannot be halved.
        """
        if x.shape[1] != self.spec.bands:
            raise ModelError(
                f"the condition has {x.shape[1]} bands, the network was made for {self.spec.bands};"
                " give the layers that its card names, in that order"
            )
        require_sides("the IIDM", x, self.multiple)
        found = [self.features(x)]
        for halve in self.halve:
            found.append(halve(found[-1]))
        return tuple(found)

    def denoise(self, features: Sequence[Tensor], y: Tensor, gamma: Tensor) -> Tensor:
        """One step: what the network makes of a noisy map.

        Args:
            features: from `condition`; of a batch of 1, they serve all draws of y without being
                copied. For several tiles with several draws each, repeat them in y's order.
            y: ``y_t = √γ y₀ + √(1 − γ) ε``, ``(batch, 1, row, col)``.
            gamma: each map's share of signal variance, ``(batch,)``.

        Returns:
            ``(batch, 1, row, col)``.

        Raises:
            ModelError: y does not fit the features, or gamma does not fit y.
        """
        self._check(features[0], y, gamma)
        noise = self.level(gamma)
        whole = features[0].expand(len(y), -1, -1, -1)
        found = [self.first(self.enter(torch.cat([whole, y], 1)), noise)]
        for fall in self.encoder:
            found.append(fall(found[-1], noise))
        out = found.pop()
        for rise, feature in zip(self.decoder, reversed(features[1:]), strict=True):
            out = rise(out, feature, found.pop(), noise)
        answer: Tensor = self.last(self.exit(out))
        return answer

    def forward(self, x: Tensor, y: Tensor, gamma: Tensor) -> Tensor:
        """`condition` and one `denoise`, as training wants them."""
        return self.denoise(self.condition(x), y, gamma)

    @staticmethod
    def _check(feature: Tensor, y: Tensor, gamma: Tensor) -> None:
        """Stop where torch would broadcast or fail in its own words."""
        want = (len(y), 1, *feature.shape[-2:])
        if tuple(y.shape) != want or len(feature) not in (1, len(y)):
            raise ModelError(
                f"the noisy map is {tuple(y.shape)}, the condition's features are "
                f"{tuple(feature.shape)}: both want the same rows and columns, the map 1 channel, "
                "and the features its batch or 1"
            )
        if gamma.shape != (len(y),):
            raise ModelError(
                f"gamma is {tuple(gamma.shape)}, want ({len(y)},): one noise level for each map"
            )
