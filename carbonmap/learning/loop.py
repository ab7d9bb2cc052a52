"""The loop that trains any family: each step a function of its number, the seed and the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from time import perf_counter

import torch
from torch import Generator, Tensor, nn
from torch.optim import AdamW

from carbonmap.errors import ModelError
from carbonmap.fields import field_key
from carbonmap.learning.learner import Batch, Learner, Part
from carbonmap.learning.precision import autocast
from carbonmap.learning.ranks import ALONE, World, agree, average
from carbonmap.learning.settings import Training
from carbonmap.learning.state import State, begin, modules_of

MOST_FAILING = 10
"""Steps in a row that may leave weights unmoved: one bad patch passes, a run that has diverged
does not come back."""

Batches = Callable[[int], Batch]
"""The patches of a step, from 0: always the same for the same step."""


@dataclass(frozen=True)
class Progress:
    """What a step tells.

    Args:
        step: steps done with it.
        losses: by part, before the update; means over the known pixels of all ranks.
        gradients: norm of each part's gradients, before clipping.
        learning_rate: of this step.
        waiting: seconds until its patches were there and on the device.
        computing: seconds that the rest took.
        skipped: parts that were left unmoved, since their loss or gradient was not finite.
    """

    step: int
    losses: dict[str, float]
    gradients: dict[str, float]
    learning_rate: float
    waiting: float
    computing: float
    skipped: tuple[str, ...] = ()


def fit(
    learner: Learner,
    batches: Batches,
    settings: Training,
    device: torch.device,
    state: State | None = None,
    world: World = ALONE,
    seed: int = 0,
) -> Iterator[Progress]:
    """Train, a step each time that the next progress is asked for.

    A step takes its patches, its noise and its dropout from its number alone, so that a run that
    goes on from a saved state equals an unbroken one: bit for bit on a CPU with as many threads.
    Between two steps the caller may save, validate or stop.

    Args:
        learner: whose networks move; they are put on the device.
        batches: this rank's share of a step's patches.
        settings: as they were from the first step on.
        device: that computes.
        state: as `begin` made or `restore` left it, and moved on with each step; anew if None.
        world: this rank and how many there are.
        seed: of noise and dropout.

    Yields:
        One for each step that `state` has still to do.

    Raises:
        ModelError: nothing was finite several times in a row, no gradient reaches some parameter,
            or the device lacks the precision asked for.
    """
    state = begin(learner, settings, device, world) if state is None else state
    while state.step < settings.steps:
        yield _step(learner, batches, settings, device, state, world, seed)


def _step(
    learner: Learner,
    batches: Batches,
    settings: Training,
    device: torch.device,
    state: State,
    world: World,
    seed: int,
) -> Progress:
    """Move every part, then the averaged weights."""
    start = perf_counter()
    batch = _moved(batches(state.step), device)
    ready = perf_counter()
    rate, moving = settings.rate(state.step), _Moving(settings, device, state, world, seed, batch)
    counted = [*modules_of(learner).train().buffers()]
    before = [buffer.clone() for buffer in counted]
    told = {part.name: moving.move(part, rate) for part in learner.parts}
    skipped = tuple(name for name, (_, _, moved) in told.items() if not moved)
    if skipped:  # what norms have counted may not be finite either
        for buffer, value in zip(counted, before, strict=True):
            buffer.copy_(value)
    state.step += 1
    state.skipped += bool(skipped)
    state.failing = state.failing + 1 if skipped else 0
    if state.failing >= MOST_FAILING:
        raise _diverged(skipped, state.step, rate)
    agree(counted, world)
    if not skipped:
        state.ema.update(learner.network)
    return Progress(
        state.step,
        {name: loss for name, (loss, _, _) in told.items()},
        {name: norm for name, (_, norm, _) in told.items()},
        rate,
        ready - start,
        perf_counter() - ready,
        skipped,
    )


@dataclass(frozen=True)
class _Moving:
    """What all parts of a step share."""

    settings: Training
    device: torch.device
    state: State
    world: World
    seed: int
    batch: Batch

    def move(self, part: Part, rate: float) -> tuple[float, float, bool]:
        """Update one part by its own loss: the loss, its gradients' norm, and whether it moved."""
        optimiser = self.state.optimisers[part.name]
        parameters = [p for p in part.module.parameters() if p.requires_grad]
        optimiser.zero_grad()
        loss = self._loss(part)
        torch.autograd.backward(loss, inputs=parameters)
        gradients = _gradients(part)
        average([*gradients, loss], self.batch.weight.sum(), self.world)
        norm = nn.utils.clip_grad_norm_(parameters, self.settings.clip_norm)
        told, size = torch.stack([loss.detach().float(), norm.float()]).tolist()
        moved = isfinite(told) and isfinite(size)
        if moved:
            _update(optimiser, rate)
            self.state.updates[part.name] = self.state.updates.get(part.name, 0) + 1
        return told, size, moved

    def _loss(self, part: Part) -> Tensor:
        place = ("learning", self.state.step, self.world.rank, part.name)
        noise, dropout = (field_key(self.seed, *place, use) for use in ("noise", "drop"))
        with _seeded(dropout, self.device), autocast(self.settings.precision, self.device):
            return part.loss(self.batch, Generator(self.device).manual_seed(noise))


def _update(optimiser: AdamW, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()


def _moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on the device, its channels last as the convolutions want them."""
    condition, target, weight = (
        t.to(device, non_blocking=True, memory_format=torch.channels_last)
        for t in (batch.condition, batch.target, batch.weight)
    )
    return Batch(condition, target, weight)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's global generators, which dropout draws from, seeded inside and untouched outside."""
    if device.type != "cuda":
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
        return
    with torch.cuda.device(device), torch.random.fork_rng(devices=[torch.cuda.current_device()]):
        torch.default_generator.manual_seed(seed)
        torch.cuda.manual_seed(seed)  # of the current one
        yield


def _gradients(part: Part) -> list[Tensor]:
    """The gradients of a part's parameters.

    Raises:
        ModelError: some have none, so that what they do would stay what they were drawn to do.
    """
    held = {name: p.grad for name, p in part.module.named_parameters() if p.requires_grad}
    idle = [name for name, gradient in held.items() if gradient is None]
    if idle:
        raise ModelError(
            f"no gradient of the loss of {part.name!r} reaches {', '.join(idle)}; leave these "
            f"parameters out of the network, or freeze them"
        )
    return [gradient for gradient in held.values() if gradient is not None]


def _diverged(skipped: tuple[str, ...], step: int, rate: float) -> ModelError:
    parts = " and ".join(map(repr, skipped))
    return ModelError(
        f"the loss or gradient of {parts} has not been finite for {MOST_FAILING} steps up to step "
        f"{step}, at a learning rate of {rate:.2g}; lower learning_rate, set "
        f'precision = "float32", or look for layers with values far off the others'
    )
