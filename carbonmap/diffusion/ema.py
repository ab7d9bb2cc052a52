"""A network's running mean over its training, which draws better maps than its last step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

DECAY = 0.999
"""A mean over about 1,000 steps, a tenth of a short training; SR3's and IDM's 0.9999 needs more."""

Tensors = tuple[Tensor, ...] | list[Tensor]


class Ema:
    """Exponential moving average of a network: ``mean ← d · mean + (1 − d) · now``.

        d = min(decay, (1 + n)/(10 + n)), n the updates so far

    The first update copies, and d warms up (as TensorFlow's and timm's averages do), so that the
    weights of the start are forgotten. Running statistics of batch norms are averaged alike, since
    they describe the weights that they were taken with; whole numbers (their counters) are copied.

    Args:
        module: what is averaged; a copy of it becomes `module`, the mean.
        decay: the largest d.
    """

    def __init__(self, module: nn.Module, decay: float = DECAY) -> None:
        self.decay = decay
        self._averaged = AveragedModel(module, multi_avg_fn=self._average, use_buffers=True)
        self._averaged.requires_grad_(False)

    @property
    def module(self) -> nn.Module:
        """The mean as a network of its own."""
        return self._averaged.module

    def update(self, module: nn.Module) -> None:
        """Take in the network after a step of its training."""
        self._averaged.update_parameters(module)

    def state(self) -> dict[str, Tensor]:
        """All that a resumed training puts back, by name: the mean's own tensors, no copies."""
        return dict(self._averaged.state_dict())

    def copy_to(self, module: nn.Module) -> None:
        """Put the mean's values into a network of the same kind."""
        _copy(_values(self.module), _values(module))

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Within the block the network has the mean's values; afterwards its own, to the bit."""
        own = [value.detach().clone() for value in _values(module)]
        self.copy_to(module)
        try:
            yield
        finally:
            _copy(own, _values(module))

    def _average(self, means: Tensors, now: Tensors, _: Tensor | int) -> None:
        n = int(self._averaged.n_averaged)  # on the CPU; what is handed here may make a GPU wait
        if means[0].is_floating_point():
            torch._foreach_lerp_(means, now, 1 - min(self.decay, (1 + n) / (10 + n)))
        else:
            torch._foreach_copy_(means, now)


def _values(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


@torch.no_grad()
def _copy(source: list[Tensor], goal: list[Tensor]) -> None:
    for a, b in zip(source, goal, strict=True):
        b.copy_(a)
