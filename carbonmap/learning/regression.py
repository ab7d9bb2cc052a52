"""A plain U-Net that regresses: what the paper left out, and what a diffusion model must beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from carbonmap.diffusion.objectives import masked_mean
from carbonmap.learning.learner import Batch, Noise, Part
from carbonmap.networks.unet import Unet


def squared_error(estimate: Tensor, batch: Batch) -> Tensor:
    """Mean squared error over the known pixels of a batch, whatever stands in the others.

    L2, since the mean is what adds up to a region's total.
    """
    error = torch.where(batch.weight > 0, estimate.float() - batch.target, 0)
    return masked_mean(error.square(), batch.weight)


@dataclass(frozen=True)
class Regression:
    """The mean of a pixel's density given the layers around it, by squared error.

    Args:
        network: from condition to density, of one channel.
    """

    network: Unet

    @property
    def generative(self) -> bool:
        """Every draw is the same."""
        return False

    @property
    def parts(self) -> tuple[Part, ...]:
        """The one."""
        return (Part("network", self.network, self._loss),)

    def _loss(self, batch: Batch, _: Generator) -> Tensor:
        return squared_error(self.network(batch.condition), batch)

    def draw(self, condition: Tensor, noise: Noise) -> Tensor:  # noqa: ARG002
        """The estimate, held within [−1, 1]; no noise is asked for."""
        estimate: Tensor = self.network(condition)
        return estimate.float().clamp(-1, 1)
