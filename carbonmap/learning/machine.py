"""What torch keeps for a whole process, changed inside a block and put back after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from carbonmap.errors import ModelError
from carbonmap.learning.learner import Learner

Device = torch.device

AUTO = "auto"
"""The name of the first GPU where there is one, else of the CPU."""


def device_name(name: str) -> str:
    """A device as torch names it, known to be there.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1`` or `AUTO`.

    Raises:
        ModelError: torch does not know it, or this machine has none.
    """
    there = torch.cuda.is_available()
    if name == AUTO:
        return "cuda" if there else "cpu"
    try:
        kind = torch.device(name)
    except RuntimeError:
        kind = None
    if kind is None or kind.type not in ("cpu", "cuda"):
        raise ModelError(f"device {name!r} is not known; say cpu, cuda, cuda:1 or auto")
    if kind.type == "cuda" and not (there and (kind.index or 0) < torch.cuda.device_count()):
        raise ModelError(
            f"device {name!r} is not there: torch {torch.__version__} finds "
            f"{torch.cuda.device_count()} GPUs; say cpu, or install torch for your GPU's CUDA"
        )
    return name


@contextmanager
def threads(count: int) -> Iterator[None]:
    """A fixed number of torch's threads: sums round by it."""
    held = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(held)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's generator, from which weights are drawn, seeded inside and untouched outside."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def require_fit(build: Callable[[], Learner], bands: int, edge: int) -> None:
    """Refuse a network that cannot draw a tile, before anything is begun and without computing.

    Args:
        build: makes the learner.
        bands: channels of the condition.
        edge: of the tile, pixels.

    Raises:
        ModelError: in the network's own words, such as a side that it cannot halve.
    """
    with torch.device("meta"), torch.inference_mode():
        learner = build()
        learner.network.eval()
        shape = (1, bands, edge, edge)
        learner.draw(
            torch.zeros(shape),
            lambda _, channels, stride=1: torch.zeros(1, channels, edge // stride, edge // stride),
        )
