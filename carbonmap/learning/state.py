"""What a training run has come to: all that a resumed one needs to equal an unbroken one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from carbonmap.diffusion.ema import Ema
from carbonmap.errors import ModelError
from carbonmap.learning.learner import Learner, Part
from carbonmap.learning.ranks import ALONE, World, agree
from carbonmap.learning.settings import Training
from carbonmap.types import Json

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of each weight, by its own names, besides the number of its updates."""

BETAS = (0.9, 0.999)
"""Decays of the two moments: torch's default and the paper's (Kingma & Ba 2015)."""

COUNTERS = ("step", "skipped", "failing")
"""Whole numbers of a `State` that are kept."""

LISTED = 3
"""Names that an error gives, of however many."""


@dataclass
class State:
    """A run between two steps; `fit` moves it on.

    Args:
        ema: the network's averaged weights.
        optimisers: AdamW of each part, by its name.
        step: steps done.
        skipped: of these, how many left some part unmoved since something was not finite.
        failing: the last so many were such.
        updates: of each part, those that moved it.
    """

    ema: Ema
    optimisers: Mapping[str, AdamW]
    step: int = 0
    skipped: int = 0
    failing: int = 0
    updates: dict[str, int] = field(default_factory=dict)


def modules_of(learner: Learner) -> nn.ModuleList:
    """The network and each part's module as one; what they share is in it once."""
    return nn.ModuleList([learner.network, *(part.module for part in learner.parts)])


def begin(
    learner: Learner, settings: Training, device: torch.device, world: World = ALONE
) -> State:
    """Put a learner's networks on a device, alike on all ranks, before the first step.

    Convolutions get their channels last, in which CPUs and GPUs compute them faster.
    """
    modules = modules_of(learner)
    modules.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    agree([*modules.parameters(), *modules.buffers()], world)
    optimisers = {part.name: _optimiser(part, settings) for part in learner.parts}
    return State(
        Ema(learner.network, settings.ema), optimisers, updates=dict.fromkeys(optimisers, 0)
    )


@contextmanager
def averaged(learner: Learner, state: State) -> Iterator[None]:
    """Within the block the learner draws by its averaged weights, gradients off; then goes on.

    Norms use their running statistics inside, and no dropout acts; afterwards the network has its
    own weights again, to the bit.
    """
    learning = learner.network.training
    learner.network.eval()
    try:
        with state.ema.applied(learner.network), torch.inference_mode():
            yield
    finally:
        learner.network.train(learning)


def take(learner: Learner, state: State) -> tuple[dict[str, Tensor], Json]:
    """All that a resumed run needs: tensors by name, copied to the CPU, and plain counters."""
    tensors = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in _held(learner, state).items()
    }
    return tensors, {name: getattr(state, name) for name in COUNTERS} | {
        "updates": dict(state.updates)
    }


def restore(learner: Learner, state: State, tensors: Mapping[str, Tensor], counters: Json) -> None:
    """Go on from what `take` gave; nothing changes where it does not fit.

    Args:
        learner: of the same specification.
        state: as `begin` made it for the learner.
        tensors: by name.
        counters: plain values.

    Raises:
        ModelError: a tensor is missing, has no place here, or is of another shape or type, or the
            counters are not a run's.
    """
    resumed = State(state.ema, state.optimisers, **_checked(learner, counters))
    for part in learner.parts:
        _prepare(part, resumed.optimisers[part.name], resumed.updates[part.name])
    goal = _held(learner, resumed)
    try:
        _require_fitting(goal, tensors)
    except ModelError:
        for part in learner.parts:
            _prepare(part, state.optimisers[part.name], 0)
        raise
    with torch.no_grad():
        for name, tensor in goal.items():
            tensor.copy_(tensors[name])
    for name in (*COUNTERS, "updates"):
        setattr(state, name, getattr(resumed, name))


def _optimiser(part: Part, settings: Training) -> AdamW:
    """AdamW (Loshchilov & Hutter 2019) that decays kernels, and no bias nor gain of a norm."""
    moving = [p for p in part.module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in moving if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in moving if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW([g for g in groups if g["params"]], lr=settings.rate(0), betas=part.betas or BETAS)


def _held(learner: Learner, state: State) -> dict[str, Tensor]:
    """Every tensor of a run by name, each once; those that move are the run's own, not copies."""
    held = {f"network.{k}": v for k, v in learner.network.state_dict(keep_vars=True).items()}
    seen = {id(tensor) for tensor in held.values()}
    for part in learner.parts:
        for name, tensor in part.module.state_dict(keep_vars=True).items():
            if id(tensor) not in seen:
                held[f"part.{part.name}.{name}"] = tensor
        for name, parameter in part.module.named_parameters():
            kept = state.optimisers[part.name].state.get(parameter, {})
            held |= {f"moments.{part.name}.{name}.{m}": kept[m] for m in MOMENTS if m in kept}
    return held | {f"ema.{name}": tensor for name, tensor in state.ema.state().items()}


def _prepare(part: Part, optimiser: AdamW, updates: int) -> None:
    """Give an optimiser the moments of so many updates, all 0 yet, laid out as their weights."""
    optimiser.state.clear()
    for parameter in part.module.parameters():
        if updates and parameter.requires_grad:
            moments = {name: torch.zeros_like(parameter) for name in MOMENTS}
            optimiser.state[parameter] = {"step": torch.tensor(float(updates)), **moments}


def _checked(learner: Learner, counters: Json) -> Json:
    """The counters, once they are known to be those of such a run."""
    names = {part.name for part in learner.parts}
    updates = counters.get("updates")
    whole = [counters.get(name) for name in COUNTERS]
    if not isinstance(updates, dict) or set(updates) != names:
        raise ModelError(
            f"the saved run counts updates of {updates}, and this one has the parts "
            f"{', '.join(sorted(names))}; resume with the model that it was begun with"
        )
    if not all(type(n) is int and n >= 0 for n in (*whole, *updates.values())):
        raise ModelError(
            f"the saved run's counters are {counters}, want whole numbers for "
            f"{', '.join(COUNTERS)} and updates; begin the run anew"
        )
    return {**dict(zip(COUNTERS, whole, strict=True)), "updates": dict(updates)}


def _require_fitting(goal: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors of a state that are not those of this run."""
    _refuse("lacks", sorted(goal.keys() - tensors.keys()))
    _refuse("has, without a place here,", sorted(tensors.keys() - goal.keys()))
    _refuse(
        "has, of another shape or type,",
        [
            f"{name} ({_kind(tensors[name])}, want {_kind(want)})"
            for name, want in goal.items()
            if _kind(tensors[name]) != _kind(want)
        ],
    )


def _kind(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _refuse(fault: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
        raise ModelError(
            f"the saved run {fault} {', '.join(names[:LISTED])}{more}; resume with the "
            f"specification and the carbonmap that it was begun with"
        )
