"""Several draws of one place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from carbonmap.errors import ModelError
from carbonmap.learning.learner import Learner, Noise


@runtime_checkable
class Sharing(Protocol):
    """A learner whose draws of one place have work in common."""

    def draws(self, condition: Tensor, noises: Sequence[Noise]) -> Iterator[Tensor]:
        """What `draw` gives for each noise, to the bit."""


def draws_of(learner: Learner, condition: Tensor, noises: Sequence[Noise]) -> Tensor:
    """Several maps of a batch of tiles.

    A perfect sampler's single draw has √2 times the root mean squared error of the true mean, and
    the mean of K draws √(1 + 1/K) times: say which it is wherever one is scored.

    Args:
        learner: its network in eval mode; gradients are off here.
        condition: as `Batch.condition`.
        noises: one for each draw.

    Returns:
        ``(draw, batch, 1, row, col)``; of a learner that is not generative there is one draw,
        however many noises.

    Raises:
        ModelError: no noise is given.
    """
    if not noises:
        raise ModelError("no draws were asked for; give one noise for each draw, 1 at least")
    wanted = noises if learner.generative else noises[:1]
    with torch.inference_mode():
        if isinstance(learner, Sharing):
            return torch.stack(list(learner.draws(condition, wanted)))
        return torch.stack([learner.draw(condition, noise) for noise in wanted])
