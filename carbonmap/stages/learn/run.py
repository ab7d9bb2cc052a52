"""The training of a network from archive and labels, resumable after any stop."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from carbonmap import progress
from carbonmap.applicability import learned_ranges
from carbonmap.checkpoint import neural, tensors
from carbonmap.learning import board, loop, machine, ranks
from carbonmap.learning import state as state_
from carbonmap.learning.learner import Batch, Learner
from carbonmap.learning.ranks import ALONE, World
from carbonmap.learning.settings import Training
from carbonmap.learning.state import State
from carbonmap.models.neural import as_batch
from carbonmap.normalise import Normalisation
from carbonmap.project import Model
from carbonmap.splits import Role
from carbonmap.stages import timing
from carbonmap.stages.learn.prepare import (
    Setup,
    fresh,
    made_by,
    require_alike,
    require_judged,
    setup_of,
)
from carbonmap.stages.patches import PatchSource, Prefetched
from carbonmap.stages.sampler import Sampler
from carbonmap.types import Json

LOG_EVERY = 10
"""Steps between lines of the log: enough for a curve, few enough to read."""

EXAM_PX = 20_000
"""Held-out pixels of a validation while it learns: tens of stands, at the price of some steps."""

EXAM_DRAWS = 2
"""Draws of which a validation judges the mean: one would judge the draw's own noise as much."""

CARD_PX = 200_000
"""Held-out pixels by which the finished model is judged; `evaluate` takes all."""

CARD_DRAWN_PX = 40_000
"""The same of a model that is drawn, at many steps a draw."""

RANGE_PX = 100_000
"""Pixels by which the learned ranges of the layers are told."""

TRIAL_STEPS = 8
"""Steps by which minutes become a number of steps; the first half warms up."""

BEST = "best.safetensors"
"""The averaged weights of the best validation, where training may stop early."""


@dataclass(frozen=True)
class Learned:
    """A trained network, and what its card tells.

    Args:
        learner: with its averaged weights in place.
        facts: for the card.
        log: the run's log.
    """

    learner: Learner
    facts: Json
    log: Path


def fit(
    settings: Model,
    sampler: Sampler,
    stacks: Sequence[xr.Dataset],
    scale: float,
    folder: Path,
    device: str = "cpu",
    world: World = ALONE,
    start: Callable[[Learner], None] | None = None,
    curves: Path | None = None,
    norm: Normalisation | None = None,
) -> Learned:
    """Train a network; a run that was stopped goes on from its last saved state.

    Args:
        settings: family, preset, training, inputs.
        sampler: grid, labels and roles.
        stacks: the region's layers with one image each.
        scale: density that counts as 1, Mg C/ha.
        folder: of the work in progress, where state and log lie.
        device: torch's name of what computes.
        world: this process among those of one run; the first one saves and judges.
        start: puts weights into the fresh network; None leaves those drawn by the seed.
        curves: folder in which TensorBoard finds the log's figures too.
        norm: of the channels; that of the pixels to learn from if None.

    Raises:
        ModelError: settings that cannot be, nothing to learn from, a run that began on another
            device or by other processes, or one that diverged.
        CorruptData: the saved state is damaged.
    """
    with machine.threads(settings.training.threads):
        setup = setup_of(settings, sampler, stacks, scale, folder, device, world, start, norm)
        require_judged(setup)
        state = state_.begin(setup.learner, setup.training, setup.place, world)
        fresh_facts: Json = {"validations": [], "seconds": 0.0, "by": made_by(setup)}
        kept = setup.keeper.resume(setup.learner, state, world.first) or fresh_facts
        require_alike(kept["by"], made_by(setup))
        setup, minutes = _planned(setup, state, kept)
        with board.board(curves if world.first else None, state.step) as write:
            keeper = dataclasses.replace(setup.keeper, board=write)
            _run(dataclasses.replace(setup, keeper=keeper), state, kept)
        facts = _finish(setup, state, kept) if world.first else {}
    return Learned(setup.learner, facts | minutes, setup.keeper.log)


def _planned(setup: Setup, state: State, kept: Json) -> tuple[Setup, Json]:
    """The setup with a number of steps, where the settings give minutes instead.

    The number is measured once and then kept, so that a resumed run has the same.
    """
    minutes = setup.training.minutes
    if minutes is None:
        return setup, {}
    if "steps" not in kept:
        kept["steps"] = int(ranks.told(_steps_in(setup, minutes), setup.world, setup.place))
        if setup.world.first:
            setup.keeper.save(setup.learner, state, kept)
    training = dataclasses.replace(setup.training, steps=kept["steps"], minutes=None)
    settings = dataclasses.replace(setup.settings, training=training)
    return dataclasses.replace(setup, settings=settings), {"budget_minutes": minutes}


def _steps_in(setup: Setup, minutes: float) -> int:
    """How many steps fit into so many minutes of this machine, by a few steps of a copy."""
    trial = dataclasses.replace(setup.training, steps=TRIAL_STEPS, minutes=None)
    clock = timing.clock(setup.device)
    marks = [clock()]
    with Prefetched(_asked(setup.source), range(2 * TRIAL_STEPS)) as made:  # as many ahead as ever
        ready_ones, learner = iter(made), fresh(setup.settings)
        for _ in loop.fit(
            learner, lambda _: next(ready_ones), trial, setup.place, world=setup.world
        ):
            marks.append(clock())
    took = [after - before for before, after in itertools.pairwise(marks)]
    return max(1, int(60 * minutes / statistics.median(took[TRIAL_STEPS // 2 :])))


def _asked(source: PatchSource) -> Callable[[int], Batch]:
    return lambda step: as_batch(*source.batch(step))


def _run(setup: Setup, state: State, kept: Json) -> None:
    """Train to the end, or until validations say stop."""
    training, first = setup.training, setup.world.first
    if _done(kept["validations"], training.patience):
        return  # it had stopped early, and was interrupted after that
    now = timing.clock(setup.device)
    with Prefetched(_asked(setup.source), range(state.step, training.steps)) as made:
        ready_ones = iter(made)
        steps = loop.fit(
            setup.learner,
            lambda _: next(ready_ones),
            training,
            setup.place,
            state,
            setup.world,
            setup.settings.seed,
        )
        told: list[loop.Progress] = []
        what, total, began = f"training {setup.settings.kind}", training.steps * first, now()
        for one in progress.track(steps, what, total, state.step):
            kept["seconds"] += now() - began
            told.append(one)
            if first and (one.step % LOG_EVERY == 0 or one.step == training.steps):
                setup.keeper.write(_line(told))
                told.clear()
            stop = False
            if _due(one.step, training) and setup.exam.pixels:
                stop = bool(ranks.told(_validate(setup, state, kept), setup.world, setup.place))
            if first and one.step % training.checkpoint_every == 0:
                setup.keeper.save(setup.learner, state, kept)
            if stop:
                break
            began = now()


def _due(step: int, training: Training) -> bool:
    """Whether a step is validated; the last one only where the best weights are chosen."""
    if step == training.steps:
        return training.patience is not None
    return step % training.validate_every == 0


def _line(told: Sequence[loop.Progress]) -> Json:
    """Some steps in a line of the log: the means of their losses, the sums of their times."""
    last = told[-1]
    mean = {name: sum(one.losses[name] for one in told) / len(told) for name in last.losses}
    return {
        "step": last.step,
        "losses": mean,
        "gradients": last.gradients,
        "learning_rate": last.learning_rate,
        "waiting_s": sum(one.waiting for one in told),
        "computing_s": sum(one.computing for one in told),
        "skipped": sum(bool(one.skipped) for one in told),
    }


def _validate(setup: Setup, state: State, kept: Json) -> bool:
    """Judge by sampling, note it, and say whether to stop; only the first process does."""
    if not setup.world.first:
        return False
    with state_.averaged(setup.learner, state):
        found = setup.exam.judge(setup.model(EXAM_DRAWS), EXAM_PX)
        best = min((v["rmse_mg_c_ha"] for v in kept["validations"]), default=float("inf"))
        if setup.training.patience is not None and found.rmse < best:
            tensors.write(setup.keeper.folder / BEST, setup.learner.network.state_dict())
    noted = {"step": state.step, "rmse_mg_c_ha": found.rmse, "bias_mg_c_ha": found.bias}
    kept["validations"].append(noted)
    setup.keeper.write({**noted, "validation_pixels": found.count})
    return _done(kept["validations"], setup.training.patience)


def _done(validations: Sequence[Json], patience: int | None) -> bool:
    """Whether so many validations in a row have brought nothing better."""
    figures = [one["rmse_mg_c_ha"] for one in validations]
    return (
        patience is not None
        and bool(figures)
        and len(figures) - 1 - figures.index(min(figures)) >= patience
    )


def _finish(setup: Setup, state: State, kept: Json) -> Json:
    """Put the averaged weights in place, the best ones where it chose, and judge them."""
    state.ema.copy_to(setup.learner.network)
    best = setup.keeper.folder / BEST
    chosen = setup.training.patience is not None and best.is_file()
    if chosen:
        setup.learner.network.load_state_dict(tensors.read(best))
    neural.round_to(setup.learner, setup.settings.storage)  # what is judged is what is kept
    setup.learner.network.eval()
    sampler, spec = setup.source.sampler, setup.source.inputs.features
    x, y = sampler.draw(setup.source.stacks, spec, Role.TRAIN, RANGE_PX)
    model = setup.model(setup.settings.samples)
    judged = setup.exam.judge(model, CARD_DRAWN_PX if model.generative else CARD_PX)
    whole = dataclasses.replace(model, learner=setup.learner)
    return neural.card(whole, setup.settings.storage) | {
        "label_range_mg_c_ha": [float(y.min()), float(y.max())],
        "feature_ranges": learned_ranges(x, spec.pixel_names),
        "training_pixels": int(setup.source.places.counts.sum()),
        "steps": state.step,
        "steps_skipped": state.skipped,
        "learning_rate": setup.training.learning_rate,
        "training_minutes": kept["seconds"] / 60,
        "stopped_early": state.step < setup.training.steps,
        "chosen_on_validation": chosen,
        "validations": kept["validations"],
        "validation": judged.to_json(model.scale),
        "held_out_pixels": setup.exam.pixels,
        "validation_draws": setup.settings.samples if model.generative else 1,
    }
