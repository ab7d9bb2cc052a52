"""What the generative baselines are made of, as frozen values."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from carbonmap.networks.specs import Norm, Widths
from carbonmap.settings import STRICT, Spec

TINY_VAE = (24, 48, 96, 192)
"""1.78 million parameters draw maps of 8 bands, 0.67 million more recognise: for laptops."""

TINY_GAN = (36, 72, 144, 288)
"""1.96 million parameters with 8 bands; `TINY_PATCH` judges them with 0.17 million more."""

TINY_PATCH = (32, 64, 128)
"""Patches of 34 pixels, of which a training patch of 64 holds many."""


@dataclass(frozen=True, config=STRICT)
class VaeSpec(Spec):
    """A conditional variational autoencoder with a U-Net's skips.

    Args:
        bands: channels of the condition.
        widths: of each level, the finest first; the recognition network has the same.
        latent: channels of z, which lies on the coarsest level's pixels.
        norm: after each convolution.
        kl_weight: β of the loss; 1 is the bound on the likelihood itself.
    """

    bands: Annotated[int, Field(ge=1)]
    widths: Widths = (64, 128, 256, 512, 1024)
    latent: Annotated[int, Field(ge=1)] = 8
    norm: Norm = "batch"
    kl_weight: Annotated[float, Field(gt=0)] = 1.0

    @property
    def stride(self) -> int:
        """Pixels of the map along one pixel of z: both sides of a tile are multiples of it."""
        return int(2 ** (len(self.widths) - 1))


@dataclass(frozen=True, config=STRICT)
class GanSpec(Spec):
    """A pix2pix generator and the discriminator that teaches it (Isola et al. 2017).

    Args:
        bands: channels of the condition.
        widths: of the generator's levels, each of half the pixels of the one before; the eight of
            the paper bring a tile of 256² down to one pixel.
        noise: channels of noise beside the condition.
        discriminator: widths of the discriminator's convolutions; the four of the paper judge
            patches of 70² pixels.
        l1_weight: λ of the L1 term.
    """

    bands: Annotated[int, Field(ge=1)]
    widths: Annotated[Widths, Field(min_length=2)] = (64, 128, 256, 512, 512, 512, 512, 512)
    noise: Annotated[int, Field(ge=1)] = 1
    discriminator: Annotated[Widths, Field(min_length=2)] = (64, 128, 256, 512)
    l1_weight: Annotated[float, Field(ge=0)] = 100.0

    @property
    def stride(self) -> int:
        """Both sides of a tile are multiples of it."""
        return int(2 ** len(self.widths))

    @property
    def patch(self) -> int:
        """Edge of the patch that one answer of the discriminator sees, pixels."""
        edge = 1
        for step in (1, 1, *[2] * (len(self.discriminator) - 1)):  # from the last convolution back
            edge = (edge - 1) * step + 4
        return edge
