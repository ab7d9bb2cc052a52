"""What a network is made of, as frozen values: every switch of the ablation is a field here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from carbonmap.settings import STRICT, Spec

Depth = Literal[11, 16, 19]

Norm = Literal["batch", "renorm", "channel", "group", "none"]
"""Over batch and place (folded into the convolution when the network predicts), the same but with
running statistics while it learns too (`layers.BatchRenorm`), over the channels of each pixel, over
groups of channels and the whole tile, or none."""

Widths = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]

LAYERS_OF = {
    11: (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512),
    16: (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512),
    19: (
        64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512,
    ),
}  # fmt: skip
"""Channels of each 3×3 convolution, 0 a max-pooling (Simonyan & Zisserman 2015, table 1: A, D, E);
the pooling after the last convolution is left out, as nothing reads it here."""


@dataclass(frozen=True, config=STRICT)
class VggSpec(Spec):
    """A VGG trunk.

    Args:
        depth: which of the three.
        channels: of each convolution, in order; None for those of the paper. A distilled trunk
            has fewer.
    """

    depth: Depth = 19
    channels: Widths | None = None

    def __post_init__(self) -> None:
        full = [c for c in LAYERS_OF[self.depth] if c]
        if self.channels is not None and len(self.channels) != len(full):
            raise ValueError(
                f"`channels` lists {len(self.channels)}; VGG-{self.depth} has {len(full)}"
            )

    @property
    def layers(self) -> tuple[int, ...]:
        """Channels of each convolution, 0 a max-pooling."""
        held = iter(self.channels or [c for c in LAYERS_OF[self.depth] if c])
        return tuple(next(held) if c else 0 for c in LAYERS_OF[self.depth])


@dataclass(frozen=True, config=STRICT)
class UnetSpec(Spec):
    """A plain U-Net: two 3×3 convolutions a level, as in Ronneberger et al. 2015 with batch norm.

    Args:
        bands: channels in.
        widths: of each level, the finest first.
        out: channels out.
        norm: after each convolution.
        dropout: share of channels dropped at the coarsest level, when it learns.
    """

    bands: Annotated[int, Field(ge=1)]
    widths: Widths = (64, 128, 256, 512, 1024)
    out: Annotated[int, Field(ge=1)] = 1
    norm: Norm = "batch"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


@dataclass(frozen=True, config=STRICT)
class IidmSpec(Spec):
    """The conditional denoiser (IIDM 4.3–4.6); each switch of its Table 1 is a field.

    Args:
        bands: channels of the condition x.
        vgg: trunk that gives f⁰; None takes two 3×3 convolutions of x instead.
        features: channels of f⁰.
        widths: of the U-Net's levels, the finest first; each fⁱ below f⁰ has those of its level.
        block: "double" is two convolutions with the noise level's embedding added between them,
            as the KD-UNet's with max pooling; "residual" adds the input back, as SR3's and IDM's
            with strided convolutions.
        blocks: a level and path.
        norm: in the blocks, and between the fⁱ; a VGG trunk has none.
        fusion: of fⁱ and uⁱ before each upsampling: a 1×1 convolution of both, or cross-attention
            and a perceptron.
        attention_stride: attention only where a pixel is at least this many of the map's, since its
            cost grows with the square of the pixels; finer levels have the perceptron alone.
        heads: of the attention.
        upsampling: two-layer coordinate perceptrons, or transposed convolutions.
        hidden: of the coordinate perceptrons.
        embedding: of the noise level.
        dropout: before each block's second convolution, when it learns.
    """

    bands: Annotated[int, Field(ge=1)]
    vgg: VggSpec | None = VggSpec()
    features: Annotated[int, Field(ge=1)] = 64
    widths: Widths = (44, 88, 176, 352, 704)
    block: Literal["double", "residual"] = "double"
    blocks: Annotated[int, Field(ge=1, le=16)] = 1
    norm: Norm = "renorm"
    fusion: Literal["concatenation", "attention"] = "attention"
    attention_stride: Annotated[int, Field(ge=1)] = 8
    heads: Annotated[int, Field(ge=1)] = 1
    upsampling: Literal["implicit", "transposed"] = "implicit"
    hidden: Annotated[int, Field(ge=1)] = 256
    embedding: Annotated[int, Field(ge=2, multiple_of=2)] = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def __post_init__(self) -> None:
        attend = self.fusion == "attention"
        split = [w for i, w in enumerate(self.widths) if i and 2**i >= self.attention_stride]
        if attend and any(width % self.heads for width in split):
            raise ValueError(f"`heads` is {self.heads}, which does not divide the widths {split}")
