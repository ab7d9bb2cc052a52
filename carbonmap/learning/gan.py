"""How pix2pix learns and draws."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor
from torch.func import functional_call
from torch.nn import functional as F

from carbonmap.learning.learner import Batch, Noise, Part
from carbonmap.networks.gan import PatchDiscriminator, PixGenerator
from carbonmap.networks.rival_specs import GanSpec

BETAS = (0.5, 0.999)
"""Of both optimisers (Isola et al. 2017, section 3.3; Radford et al. 2016: 0.9 oscillates)."""


@dataclass(frozen=True)
class GanLearner:
    """A conditional GAN with an L1 term (Isola et al. 2017, eq. 4), inside the weight.

        L_D = ½ [mean −log D(x, y) + mean −log(1 − D(x, G(x, z)))]
        L_G = mean −log D(x, G(x, z)) + λ Σ w |y − G(x, z)| / Σ w

    Means are over the patches that hold a known pixel. Where nothing is known, true and drawn maps
    enter D alike, so that D has no cue there and G no gradient. L1 targets a median, so where
    carbon is skewed totals come out low; and Isola et al. found that G learns to ignore z where L1
    is strong (section 3.1): how far draws differ is to be measured, not assumed.

    Args:
        network: the generator.
        discriminator: which no map needs.
    """

    network: PixGenerator
    discriminator: PatchDiscriminator

    @classmethod
    def of(cls, spec: GanSpec) -> GanLearner:
        """With fresh weights, by torch's own generator."""
        return cls(PixGenerator(spec), PatchDiscriminator(spec))

    @property
    def generative(self) -> bool:
        """Two draws have two fields of noise."""
        return True

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The discriminator moves first, then the generator against it, as in the paper's code."""
        return (
            Part("discriminator", self.discriminator, self.discriminator_loss, BETAS),
            Part("generator", self.network, self.generator_loss, BETAS),
        )

    def discriminator_loss(self, batch: Batch, random: Generator) -> Tensor:
        """L_D: true patches against drawn ones; no gradient reaches the generator."""
        with torch.no_grad():
            drawn = self._drawn(batch, random)
        true = self.discriminator(batch.condition, batch.target, batch.weight)
        false = self.discriminator(batch.condition, drawn, batch.weight)
        seen = self.discriminator.seen(batch.weight)
        return (_surprise(true, 1.0, seen) + _surprise(false, 0.0, seen)) / 2

    def generator_loss(self, batch: Batch, random: Generator) -> Tensor:
        """L_G; no gradient reaches the discriminator's weights."""
        return self.judged(self._drawn(batch, random), batch)

    def judged(self, drawn: Tensor, batch: Batch) -> Tensor:
        """L_G of a map that was drawn."""
        frozen = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        inputs = (batch.condition, drawn, batch.weight)
        answer = functional_call(self.discriminator, frozen, inputs)
        fooled = _surprise(answer, 1.0, self.discriminator.seen(batch.weight))
        apart = torch.where(batch.weight > 0, drawn.float() - batch.target, 0).abs().sum()
        return fooled + self.network.spec.l1_weight * apart / batch.weight.sum().clamp(min=1)

    def draw(self, condition: Tensor, noise: Noise) -> Tensor:
        """The generator's map, with running statistics in its norms.

        The paper's code takes those of the batch, of one tile, which would make a pixel's value
        depend on the tile.
        """
        drawn: Tensor = self.network(condition, noise("generator", self.network.spec.noise))
        return drawn.float()

    def _drawn(self, batch: Batch, random: Generator) -> Tensor:
        count, _, rows, cols = batch.condition.shape
        shape = (count, self.network.spec.noise, rows, cols)
        noise = torch.randn(shape, generator=random, device=batch.condition.device)
        drawn: Tensor = self.network(batch.condition, noise)
        return drawn


def _surprise(logits: Tensor, truth: float, seen: Tensor) -> Tensor:
    """Mean cross-entropy of the patches seen, nats; 0 where there are none."""
    each = F.binary_cross_entropy_with_logits(
        logits.float(), torch.full_like(logits, truth, dtype=torch.float32), reduction="none"
    )
    return (each * seen).sum() / seen.sum().clamp(min=1)
