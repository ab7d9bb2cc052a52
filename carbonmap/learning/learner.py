"""What a family of networks is to the loop that trains it, and to the map that it draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Generator, Tensor, nn


@dataclass(frozen=True)
class Batch:
    """Patches to learn from.

    Args:
        condition: standardised layers, the last channel telling where they are known;
            ``(batch, band, row, col)``, 0 where nothing was measured.
        target: carbon density with the label scale at 1 and nothing at −1,
            ``(batch, 1, row, col)``; −1 where unknown.
        weight: 1 where the target is known and may be learned from, else 0; same shape.
    """

    condition: Tensor
    target: Tensor
    weight: Tensor


class Noise(Protocol):
    """Standard normal fields of a batch of tiles."""

    def __call__(self, name: str, channels: int, stride: int = 1) -> Tensor:
        """One field a tile: the same name gives the same, whatever was asked for before.

        Args:
            name: of the field.
            channels: how many, independent of each other.
            stride: pixels of the condition along each side of one of the field's. Tiles share a
                coarse field where they overlap, to within a stride, wherever they begin.

        Returns:
            ``(batch, channel, row / stride, col / stride)``.
        """


@dataclass(frozen=True)
class Part:
    """Parameters with an optimiser of their own, and the loss that moves them.

    Args:
        name: by which its optimiser's state is kept.
        module: whose parameters move.
        loss: of a batch; anything random comes from the generator. A scalar.
        betas: of its AdamW (decay of the two moments); None for the loop's own.
    """

    name: str
    module: nn.Module
    loss: Callable[[Batch, Generator], Tensor]
    betas: tuple[float, float] | None = None


class Learner(Protocol):
    """One family: its networks, how they learn, and how they draw maps."""

    @property
    def network(self) -> nn.Module:
        """All that a map needs: what is averaged over training and kept."""

    @property
    def parts(self) -> Sequence[Part]:
        """What moves at each step, one after the other; the network's own part last."""

    @property
    def generative(self) -> bool:
        """Whether two draws differ, so that a mean and an interval say more than one."""

    def draw(self, condition: Tensor, noise: Noise) -> Tensor:
        """One map of a batch of tiles, by `network`, in the target's units; gradients are off.

        Args:
            condition: as `Batch.condition`.
            noise: fields of the condition's batch and pixels.

        Returns:
            ``(batch, 1, row, col)``, within [−1, 1].
        """
