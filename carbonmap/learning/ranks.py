"""Several processes that train one network, as `torchrun` starts them, or one alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from carbonmap.errors import ModelError


@dataclass(frozen=True)
class World:
    """Which process this is, and of how many.

    Args:
        rank: from 0, over all machines.
        size: processes.
        local: rank on its own machine, by which it takes a GPU.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.rank < self.size and self.local >= 0):
            raise ModelError(
                f"rank {self.rank} (local {self.local}) of {self.size} processes cannot be; "
                f"start them with `torchrun`, which numbers them"
            )

    @property
    def first(self) -> bool:
        """Whether this one reports and saves."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Which of a step's `count` patches are this rank's; shares differ by one at most.

        Raises:
            ModelError: there are fewer patches than ranks.
        """
        if count < self.size:
            raise ModelError(
                f"a batch of {count} cannot be shared by {self.size} processes; "
                f"raise `batch` to {self.size} at least, or start fewer"
            )
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def device(self, name: str) -> torch.device:
        """The device of that name that this rank works on: ``cuda`` is its own GPU."""
        return torch.device("cuda", self.local) if name == "cuda" else torch.device(name)


ALONE = World()
"""The world of a run that nobody else takes part in."""


def world_of(environment: Mapping[str, str]) -> World:
    """The world that `torchrun` tells of by RANK, WORLD_SIZE and LOCAL_RANK.

    Raises:
        ModelError: one of them is missing beside the others, or is no number.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    held = [environment[name] for name in names if name in environment]
    if not held:
        return ALONE
    if len(held) < len(names) or not all(value.isdecimal() for value in held):
        raise ModelError(
            f"{', '.join(names)} should be three numbers or not set at all, got {held}; start "
            f"several processes with `torchrun`, or unset them"
        )
    return World(*map(int, held))


@contextmanager
def joined(device: torch.device, world: World | None = None) -> Iterator[World]:
    """Meet the other processes, and part from them at the end.

    Args:
        device: that this rank works on: NCCL between GPUs, Gloo between CPUs.
        world: what the environment says, unless told.

    Raises:
        ModelError: this torch has no such means.
    """
    world = world_of(os.environ) if world is None else world
    if world.size == 1:
        yield world
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    if not (dist.is_available() and dist.is_backend_available(backend)):
        raise ModelError(
            f"this torch {torch.__version__} has no {backend}, by which {world.size} processes on "
            f"{device} would share gradients; train in one process"
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(backend, rank=world.rank, world_size=world.size)
    try:
        yield world
    finally:
        dist.destroy_process_group()


def average(tensors: Sequence[Tensor], weight: Tensor, world: World) -> None:
    """Put the weighted mean over all ranks into every rank's tensors.

        g = Σ_r n_r g_r / Σ_r n_r

    With `n_r` the known pixels of rank r's patches, the gradients of means over known pixels
    become those of one mean over all of them. Losses that are no such means, of the VAE (the
    logarithm of one) and the GAN's discriminator (a mean over its patches), become a mean of the
    ranks' losses weighted alike. One exchange, of all tensors end to end.

    Args:
        tensors: floating, of the same shapes on every rank.
        weight: `n_r`, a scalar.
        world: a world of one leaves everything as it is.
    """
    if world.size == 1:
        return
    flat = _joined([t.float() for t in tensors]) * weight
    flat = torch.cat([flat, weight.reshape(1).to(flat)])
    dist.all_reduce(flat)
    _put(flat[:-1] / flat[-1].clamp(min=1), tensors)


def agree(tensors: Iterable[Tensor], world: World) -> None:
    """Give every rank the first one's values: of weights at the start, of norms after each step.

    Batch norms count only a rank's own patches, so their running means would drift apart.

    Args:
        tensors: of the same shapes and types on every rank.
        world: a world of one leaves everything as it is.
    """
    if world.size == 1:
        return
    alike: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        alike.setdefault(tensor.dtype, []).append(tensor)
    for group in alike.values():
        flat = _joined(group)
        dist.broadcast(flat, src=0)
        _put(flat, group)


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors of one type end to end, each in the order of its indices."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def _put(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    """What `_joined` put end to end, back in place."""
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.detach().copy_(part.view(tensor.shape))


def told(value: float, world: World, device: torch.device) -> float:
    """What the first rank says, on every rank, such as whether to stop."""
    if world.size == 1:
        return value
    said = torch.tensor(value, dtype=torch.float64, device=device)
    dist.broadcast(said, src=0)
    return said.item()
