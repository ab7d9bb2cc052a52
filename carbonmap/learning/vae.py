"""How the conditional VAE learns and draws."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor, nn

from carbonmap.learning.learner import Batch, Noise, Part
from carbonmap.networks.rival_specs import VaeSpec
from carbonmap.networks.vae import Recognition, Vae, divergence

LEAST_VARIANCE = 1e-6
"""Of the likelihood: 0.2 Mg C/ha on a scale of 400, below what any label is good for. It keeps the
loss finite where a batch has no known pixel, or no error."""


@dataclass(frozen=True)
class VaeLearner:
    """Evidence lower bound with a normal likelihood of one variance, nats for each known pixel.

        L = ½ log σ² + β KL(q(z|x, y) ‖ p(z|x)) / n,   σ² = Σ w (y − ŷ)² / n,   n = Σ w

    Sohn et al. 2015, one z a tile. σ² is the best one for the batch (Rybkin et al. 2021), at which
    the squared error's own term is constant: so squared error and KL need no weight between them
    and β = 1 is the bound itself. A draw is the decoder's mean at a z from the
    prior, as VAEs are drawn: grain of variance σ² would lie on bare land too, where the clip at 0
    would turn it into carbon. So an ensemble is narrower than the truth by what z does not tell.

    Args:
        network: prior and decoder.
        recognition: q(z|x, y).
    """

    network: Vae
    recognition: Recognition

    @classmethod
    def of(cls, spec: VaeSpec) -> VaeLearner:
        """With fresh weights, by torch's own generator."""
        return cls(Vae(spec), Recognition(spec))

    @property
    def generative(self) -> bool:
        """Two draws have two z."""
        return True

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """One, that holds both networks."""
        both = nn.ModuleDict({"network": self.network, "recognition": self.recognition})
        return (Part("vae", both, self.loss),)

    def loss(self, batch: Batch, random: Generator) -> Tensor:
        """The negative bound, up to a constant; its z are drawn from `random`."""
        features = self.network.features(batch.condition)
        q = self.recognition(batch.condition, batch.target, batch.weight)
        noise = torch.randn(q.mean.shape, generator=random, device=q.mean.device)
        mean = self.network.decode(features, q.sample(noise)).float()
        error = torch.where(batch.weight > 0, mean - batch.target, 0)
        count = batch.weight.sum().clamp(min=1)
        variance = (error * error).sum() / count
        kl = divergence(q, self.network.prior(features)).sum() / count
        return (variance + LEAST_VARIANCE).log() / 2 + self.network.spec.kl_weight * kl

    def draw(self, condition: Tensor, noise: Noise) -> Tensor:
        """The decoder's mean at one z of the prior, clipped to [−1, 1]."""
        spec = self.network.spec
        drawn: Tensor = self.network(condition, noise("latent", spec.latent, spec.stride))
        return drawn.float().clamp(-1, 1)
