"""How diffusion models learn and draw: the map itself, or what a regression leaves of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor, nn

from carbonmap.diffusion import objectives
from carbonmap.diffusion.samplers import Bounds, sample
from carbonmap.diffusion.schedules import draw_gammas
from carbonmap.diffusion.spec import DiffusionSpec
from carbonmap.errors import ModelError
from carbonmap.learning.learner import Batch, Noise, Part
from carbonmap.learning.regression import squared_error
from carbonmap.networks.iidm import Iidm
from carbonmap.networks.unet import Unet

FORGET = 0.01
"""Share of the residual's variance that a step replaces: over about 100 steps the mean changes
little, and 100 batches tell the variance to a few per cent."""

LEAST_VARIANCE = 1e-6
"""Of the residual: no label is good to 0.2 Mg C/ha on a scale of 400, and nothing divides by 0."""


def filled(values: Tensor, weight: Tensor) -> Tensor:
    """Known values, and each sample's mean of them elsewhere; 0 for a sample that has none.

    The target is −1 where it is unknown. Noised as it is, that would tell the network which pixels
    are unknown and that they hold nothing; and at prediction every pixel carries an estimate. The
    mean is the least telling value that any sample can have there.

    Args:
        values: ``(batch, 1, row, col)``; anything, even NaN, where unknown.
        weight: 1 where known, else 0; same shape.
    """
    known = torch.where(weight > 0, values, 0)
    mean = known.sum((1, 2, 3), keepdim=True) / weight.sum((1, 2, 3), keepdim=True).clamp(min=1)
    return torch.where(weight > 0, values, mean)


def clean_map(batch: Batch, spec: DiffusionSpec) -> Tensor:
    """y₀ = (target − centre) / spread of a batch, known everywhere (`filled`)."""
    return (filled(batch.target, batch.weight) - spec.centre) / spec.spread


def denoising_loss(
    network: Iidm,
    spec: DiffusionSpec,
    condition: Tensor,
    clean: Tensor,
    weight: Tensor,
    random: Generator,
) -> Tensor:
    """IIDM, eq. 4, as the specification has it: a noise level and noise for each sample.

    Args:
        network: learns.
        spec: what it predicts, and how errors count.
        condition: ``(batch, band, row, col)``.
        clean: y₀, known everywhere (`filled`), ``(batch, 1, row, col)``.
        weight: 1 where errors count, else 0.
        random: of the levels and the noise.
    """
    gamma = draw_gammas(spec, len(clean), random)
    noise = torch.randn(clean.shape, generator=random, device=clean.device)
    answer: Tensor = network(condition, objectives.noised(clean, noise, gamma), gamma)
    return objectives.loss(answer.float(), clean, noise, gamma, weight, spec)


def sampled(
    network: Iidm,
    spec: DiffusionSpec,
    condition: Tensor,
    noises: Sequence[Noise],
    bounds: Bounds = None,
) -> Iterator[Tensor]:
    """One map for each noise, ``(batch, 1, row, col)``; the condition's features are shared.

    One draw after the other, so that a draw's last bit does not depend on how many there are.
    """
    features = network.condition(condition)

    def predict(y: Tensor, gamma: Tensor) -> Tensor:
        return network.denoise(features, y, gamma).float()

    denoise = objectives.denoiser(predict, spec.predicts)
    for noise in noises:
        for step in sample(spec, denoise, partial(_step_noise, noise), bounds):
            final = step.y
        yield final


def _step_noise(noise: Noise, step: int) -> Tensor:
    return noise(f"step {step}" if step else "start", 1)


@dataclass(frozen=True)
class Diffusion:
    """The IIDM, or any of its ablations: the map is drawn from noise, given the layers.

    Args:
        network: the conditional denoiser.
        spec: noise levels, objective and sampler.
    """

    network: Iidm
    spec: DiffusionSpec

    @property
    def generative(self) -> bool:
        """Two draws start from two fields of noise."""
        return True

    @property
    def parts(self) -> tuple[Part, ...]:
        """The one."""
        return (Part("denoiser", self.network, self._loss),)

    def _loss(self, batch: Batch, random: Generator) -> Tensor:
        clean = clean_map(batch, self.spec)
        return denoising_loss(self.network, self.spec, batch.condition, clean, batch.weight, random)

    def draw(self, condition: Tensor, noise: Noise) -> Tensor:
        """One map, by the specification's sampler."""
        return next(self.draws(condition, [noise]))

    def draws(self, condition: Tensor, noises: Sequence[Noise]) -> Iterator[Tensor]:
        """One map for each noise, each as `draw` gives it; what they share is computed once."""
        for drawn in sampled(self.network, self.spec, condition, noises):
            yield (self.spec.centre + self.spec.spread * drawn).clamp(-1, 1)


class MeanAndResidual(nn.Module):
    """A regression U-Net, and a denoiser of what it leaves.

    Args:
        mean: of one channel, from the condition.
        residual: whose bands are the mean's and one more: the mean itself, in front.

    Raises:
        ModelError: the two do not fit together.
    """

    variance: Tensor
    counted: Tensor

    def __init__(self, mean: Unet, residual: Iidm) -> None:
        super().__init__()
        if mean.spec.out != 1 or residual.spec.bands != mean.spec.bands + 1:
            raise ModelError(
                f"a mean of {mean.spec.bands} bands in and {mean.spec.out} out does not go with a "
                f"residual of {residual.spec.bands} bands: want 1 out, and one band more"
            )
        self.mean = mean
        self.residual = residual
        self.register_buffer("variance", torch.ones(()))
        self.register_buffer("counted", torch.zeros((), dtype=torch.int64))

    @property
    def scale(self) -> Tensor:
        """What 1 of the denoiser's map is in the target's units: the residual's deviation."""
        return self.variance.sqrt()

    def estimate(self, condition: Tensor) -> Tensor:
        """The mean as a map has it, without gradients, its norms by their running statistics."""
        learning = self.mean.training
        self.mean.eval()
        with torch.no_grad():
            found: Tensor = self.mean(condition)
        self.mean.train(learning)
        return found.float()

    @torch.no_grad()
    def count(self, residual: Tensor, weight: Tensor) -> None:
        """Take a batch's residuals into their variance: a mean at first, then a running one."""
        now = objectives.masked_mean(residual.square(), weight)
        rate = torch.clamp(1 / (self.counted + 1), min=FORGET)
        some = (weight.sum() > 0).to(rate)
        self.variance.lerp_(now, rate * some).clamp_(min=LEAST_VARIANCE)
        self.counted.add_(some.long())


@dataclass(frozen=True)
class Residual:
    """A regression mean, and diffusion of what it leaves (CorrDiff: Mardani et al. 2025).

        map = μ(x) + s r,   r drawn given x and μ(x),   s² = mean (target − μ(x))²

    CorrDiff trains the mean first and freezes it; here both move from the first step, each by its
    own loss, so that the budget needs no split; no gradient of the residual reaches the mean. On
    tiles that the mean has learned by heart, s is too small: judge intervals on others.

    Args:
        network: both.
        spec: of the diffusion.
    """

    network: MeanAndResidual
    spec: DiffusionSpec

    @property
    def generative(self) -> bool:
        """Two draws have two residuals."""
        return True

    @property
    def parts(self) -> tuple[Part, ...]:
        """The mean moves first, then the denoiser by what is left."""
        return (
            Part("mean", self.network.mean, self._mean_loss),
            Part("residual", self.network.residual, self._residual_loss),
        )

    def _mean_loss(self, batch: Batch, _: Generator) -> Tensor:
        return squared_error(self.network.mean(batch.condition), batch)

    def _residual_loss(self, batch: Batch, random: Generator) -> Tensor:
        mean = self.network.estimate(batch.condition)
        left = filled(batch.target - mean, batch.weight)
        if self.network.training:
            self.network.count(left, batch.weight)
        condition = torch.cat([mean, batch.condition], 1)
        clean = left / self.network.scale
        return denoising_loss(
            self.network.residual, self.spec, condition, clean, batch.weight, random
        )

    def draw(self, condition: Tensor, noise: Noise) -> Tensor:
        """The mean and one residual, held within [−1, 1]."""
        return next(self.draws(condition, [noise]))

    def draws(self, condition: Tensor, noises: Sequence[Noise]) -> Iterator[Tensor]:
        """One map for each noise, each as `draw` gives it; what they share is computed once."""
        mean, scale = self.network.estimate(condition), self.network.scale
        seen, bounds = torch.cat([mean, condition], 1), ((-1 - mean) / scale, (1 - mean) / scale)
        for drawn in sampled(self.network.residual, self.spec, seen, noises, bounds):
            yield (mean + scale * drawn).clamp(-1, 1)
