"""Specifications by name: four sizes, and every row of the paper's Tables 1 and 2."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

from carbonmap.errors import ModelError, nearest
from carbonmap.networks.specs import Depth, IidmSpec, VggSpec, Widths
from carbonmap.networks.vgg import TABLE_A2

FULL = (64, 128, 256, 512, 1024)
"""Widths of the paper's U-Net before distillation (table A2)."""

DISTILLED = (44, 88, 176, 352, 704)
"""Widths after it, the paper's own selection."""

STEP = 4
"""Scaled widths are rounded up to multiples of it: half of what a 256-bit register holds, so that
little of one stands empty, the ratios stay near the paper's, and `tiny`'s heads divide them."""


def kd_vgg(depth: Depth) -> VggSpec:
    """A VGG with the channels of table A2.

    The lists for VGG-16 and VGG-11 lack the last convolution: it takes the last listed number.
    """
    listed = TABLE_A2[depth]
    missing = len(channels_of(VggSpec(depth))) - len(listed)
    return VggSpec(depth, listed + listed[-1:] * missing)


def channels_of(vgg: VggSpec) -> Widths:
    """Of each convolution, in order, whether the specification lists them or not."""
    return tuple(width for width in vgg.layers if width)


def _times(widths: Widths, factor: float) -> Widths:
    return tuple(STEP * ceil(width * factor / STEP) for width in widths)


PAPER = IidmSpec(bands=1, vgg=kd_vgg(19), widths=DISTILLED, attention_stride=8, norm="renorm")
"""The IIDM; with tiles of 256, attention at 32² and below."""

IDM = IidmSpec(
    bands=1,
    vgg=None,
    widths=(64, 128, 256, 512, 512),
    block="residual",
    blocks=2,
    norm="group",
    fusion="concatenation",
    dropout=0.2,
)
"""Gao et al. 2023: SR3's U-Net, 64 × 1, 2, 4, 8, 8, without their self-attention at 16², their
middle blocks and what in their code never receives a gradient; two convolutions of x stand for
their EDSR, which takes coarser pixels to the map's. With one skip a level, where theirs has three,
46 million parameters stand for their 99."""

IDM_TINY = replace(
    IDM,
    features=16,
    widths=(16, 32, 64, 128, 128),
    norm="renorm",
    hidden=64,
    embedding=32,
)
"""The same blocks and skips at the scale of `tiny`, with its norms: group norms of so few channels
would be norms of each channel over the tile."""

TINY_VGG = 1 / 8
"""Channels of `tiny`'s trunk over the paper's: f⁰ costs an eighth of one step."""

PRESETS: dict[str, IidmSpec] = {
    "tiny": IidmSpec(
        bands=1,
        vgg=VggSpec(11, _times(channels_of(VggSpec(11)), TINY_VGG)),
        features=16,
        widths=(16, 32, 64, 128, 192),
        norm="renorm",
        heads=4,
        hidden=64,
        embedding=32,
    ),
    "small": IidmSpec(
        bands=1,
        vgg=VggSpec(16, _times(channels_of(VggSpec(16)), 1 / 4)),
        features=32,
        widths=(40, 80, 160, 320, 512),
        norm="renorm",
        heads=4,
        hidden=128,
    ),
    "paper": PAPER,
    "idm": IDM,
    "idm-tiny": IDM_TINY,
}
"""By name, for a condition of one band; `preset` gives it its own number. `tiny` and `small` have
batch renormalisation like `paper`, which names no norm: it folds into the convolutions when a map
is drawn, a pixel depends on no statistics of its tile, and PCA distillation can rotate it."""


def preset(name: str, bands: int) -> IidmSpec:
    """A specification by name.

    Args:
        name: one of `PRESETS`.
        bands: channels of the condition.

    Raises:
        ModelError: there is no such preset.
    """
    if name not in PRESETS:
        raise ModelError(f"no preset is called {name!r}; {nearest(name, PRESETS)}")
    return replace(PRESETS[name], bands=bands)


@dataclass(frozen=True)
class Row:
    """One row of the paper's Table 1 or 2, and what carbonmap takes its network to be.

    Args:
        name: the paper's, or for Table 1 the modules that the row has besides the mask.
        rmse: the paper's, its maps scaled to 0 … 1, inside the mask; context, not a target.
        vgg: trunk, or None.
        widths: of the U-Net.
        fusion: of condition and noisy map.
        base: the preset that everything else is taken from.
    """

    name: str
    rmse: float
    vgg: VggSpec | None
    widths: Widths
    fusion: Literal["concatenation", "attention"]
    base: Literal["paper", "idm"] = "paper"

    def spec(self, bands: int) -> IidmSpec:
        """At the paper's scale, for a condition of so many bands."""
        return replace(
            preset(self.base, bands), vgg=self.vgg, widths=self.widths, fusion=self.fusion
        )

    def tiny(self, bands: int) -> IidmSpec:
        """The row at the scale of `tiny`, so that an ablation fits a laptop.

        The paper's full U-Net gets `tiny`'s widths, any other the same share of them; a trunk keeps
        its depth and an eighth of its channels; the norm is `tiny`'s, as group norms of so few
        channels would be norms of each channel over the tile.
        """
        own, tiny = self.spec(bands), PRESETS["tiny"]
        sizes = zip(own.widths, FULL, tiny.widths, strict=True)
        return replace(
            own,
            vgg=own.vgg and VggSpec(own.vgg.depth, _times(channels_of(own.vgg), TINY_VGG)),
            features=tiny.features,
            widths=tuple(_times((width,), small / full)[0] for width, full, small in sizes),
            norm=tiny.norm,
            heads=tiny.heads,
            hidden=tiny.hidden,
            embedding=tiny.embedding,
        )


TABLE1 = (
    Row("mask", 0.1670, None, FULL, "concatenation"),
    Row("vgg", 0.1697, VggSpec(19), FULL, "concatenation"),
    Row("vgg, kd-unet", 0.1680, VggSpec(19), DISTILLED, "concatenation"),
    Row("kd-vgg", 0.1692, kd_vgg(19), FULL, "concatenation"),
    Row("kd-vgg, kd-unet", 0.1684, kd_vgg(19), DISTILLED, "concatenation"),
    Row("kd-unet", 0.1670, None, DISTILLED, "concatenation"),
    Row("attention", 0.1363, None, FULL, "attention"),
    Row("vgg, attention", 0.1229, VggSpec(19), FULL, "attention"),
    Row("vgg, kd-unet, attention", 0.1211, VggSpec(19), DISTILLED, "attention"),
    Row("kd-vgg, attention", 0.1288, kd_vgg(19), FULL, "attention"),
    Row("kd-vgg, kd-unet, attention", 0.1217, kd_vgg(19), DISTILLED, "attention"),
    Row("kd-unet, attention", 0.1306, None, DISTILLED, "attention"),
)
"""The ablation in the paper's order; its columns lost their alignment, and the number of marks in
each row fits this reading alone. All rows have the mask, which is the loss's and no part here."""

TABLE2 = (
    Row("IDM-VGG-11", 0.1797, VggSpec(11), IDM.widths, "concatenation", "idm"),
    Row("IDM-KD-VGG-11", 0.1814, kd_vgg(11), IDM.widths, "concatenation", "idm"),
    Row("IDM-VGG-16", 0.1769, VggSpec(16), IDM.widths, "concatenation", "idm"),
    Row("IDM-KD-VGG-16", 0.1794, kd_vgg(16), IDM.widths, "concatenation", "idm"),
    Row("IDM-VGG-19", 0.1732, VggSpec(19), IDM.widths, "concatenation", "idm"),
    Row("IDM-KD-VGG-19", 0.1766, kd_vgg(19), IDM.widths, "concatenation", "idm"),
    Row("IDM-UNet", 0.1500, None, FULL, "concatenation"),
    Row("IDM-KD-UNet", 0.1513, None, DISTILLED, "concatenation"),
    Row("Ours-KD-VGG-11", 0.1389, kd_vgg(11), DISTILLED, "attention"),
    Row("Ours-KD-VGG-16", 0.1367, kd_vgg(16), DISTILLED, "attention"),
    Row("Ours-KD-VGG-19", 0.1217, kd_vgg(19), DISTILLED, "attention"),
)
"""The diffusion models of the comparison. The paper does not define the first eight: "IDM-VGG" is
taken as IDM with that trunk for its EDSR, and "IDM-UNet" as IDM with the paper's U-Net for its own.
IDM-VGG-19 (0.1732) is then not Table 1's "vgg" (0.1697), as it must not be; but IDM-UNet and
IDM-KD-UNet are Table 1's "mask" and "kd-unet", for which that table has 0.1670 twice: two errors
for one network, which no reading removes."""
