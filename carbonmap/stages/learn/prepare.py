"""All that a network's training needs before its first step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from carbonmap import origins
from carbonmap.checkpoint import families
from carbonmap.errors import ModelError
from carbonmap.learning import machine
from carbonmap.learning.choice import rate_for, specs_for, standardised
from carbonmap.learning.learner import Learner
from carbonmap.learning.precision import autocast
from carbonmap.learning.ranks import World
from carbonmap.learning.settings import Training
from carbonmap.models.neural import Neural, ready
from carbonmap.normalise import Inputs, Moments, Normalisation
from carbonmap.patches import Places
from carbonmap.project import Model
from carbonmap.splits import Role
from carbonmap.stages.learn.exam import Exam, exam_of
from carbonmap.stages.learn.keep import Keeper
from carbonmap.stages.patches import PatchSource, survey
from carbonmap.stages.sampler import Sampler
from carbonmap.types import Json


@dataclass(frozen=True)
class Setup:
    """All that a run needs besides its state.

    Args:
        settings: of the model; its training has a number of steps.
        learner: whose networks move.
        source: of patches.
        exam: held-out land.
        keeper: of state and log.
        device: torch's name of what computes.
        world: this process among those of one run.
    """

    settings: Model
    learner: Learner
    source: PatchSource
    exam: Exam
    keeper: Keeper
    device: str
    world: World

    @property
    def training(self) -> Training:
        """How it learns."""
        return self.settings.training

    @property
    def place(self) -> machine.Device:
        """The device itself."""
        return self.world.device(self.device)

    def model(self, samples: int) -> Neural:
        """The learner as it is now, as a model of maps."""
        return Neural(
            ready(self.learner),
            self.source.inputs,
            self.source.norm,
            self.training.patch_px,
            self.source.sampler.grid.pixel_m,
            self.source.scale,
            samples,
            self.settings.seed,
            self.training.threads,
            precision=self.training.precision,
        )


def setup_of(
    settings: Model,
    sampler: Sampler,
    stacks: Sequence[xr.Dataset],
    scale: float,
    folder: Path,
    device: str,
    world: World,
    start: Callable[[Learner], None] | None,
    norm: Normalisation | None = None,
) -> Setup:
    """All that a run needs before its first step; see `fit`."""
    inputs, training = Inputs(settings.features.inputs), settings.training
    rate = training.learning_rate or rate_for(settings.kind, settings.preset)
    training = dataclasses.replace(training, learning_rate=rate)
    settings = dataclasses.replace(settings, training=training)
    seen = survey(sampler, stacks, inputs, Role.TRAIN)
    held = survey(sampler, stacks, inputs, Role.VALIDATION)
    settings = dataclasses.replace(settings, diffusion=_standardised(settings, seen.labels, scale))
    learner = fresh(settings)
    if start is not None:
        start(learner)
    places = Places(sampler.grid, seen.counts, training.patch_px, settings.seed)
    slots = range(training.batch)[world.share(training.batch)]
    source = PatchSource(
        sampler,
        stacks,
        inputs,
        norm or seen.moments.normalisation(),
        scale,
        places,
        Role.TRAIN,
        slots,
        settings.band_drop,
    )
    exam = exam_of(sampler, stacks, held.counts)
    return Setup(settings, learner, source, exam, Keeper(folder), device, world)


def _standardised(settings: Model, labels: Moments, scale: float) -> dict[str, Any]:
    """The diffusion's values with what the labels to learn from are like."""
    if not labels.count:
        return settings.diffusion
    found = labels.normalisation()
    mean, deviation = 2 * found.mean[0] / scale - 1, 2 * found.spread[0] / scale
    kind, preset = settings.kind, settings.preset
    return standardised(kind, preset, settings.diffusion, mean, deviation)


def require_possible(settings: Model) -> None:
    """Refuse settings of which no network can be made, or none for patches of that edge.

    Raises:
        ModelError: as `fresh`, or the patch's edge does not suit the network.
    """
    bands = len(Inputs(settings.features.inputs).channels)
    machine.require_fit(lambda: fresh(settings), bands, settings.training.patch_px)


def fresh(settings: Model) -> Learner:
    """A learner with weights drawn by the seed, whatever was drawn before.

    Raises:
        ModelError: the preset, or a value that replaces one of its own, cannot be.
    """
    bands = len(Inputs(settings.features.inputs).channels)
    specs = specs_for(settings.kind, settings.preset, bands, settings.network, settings.diffusion)
    with machine.seeded(settings.seed):
        return families.build(settings.kind, specs)


def require_judged(setup: Setup) -> None:
    """Refuse to stop early where no land says when.

    Raises:
        ModelError: `patience` is set, and nothing is held out that could be judged.
    """
    if setup.training.patience is not None and not setup.exam.pixels:
        raise ModelError(
            "`model.training.patience` is set, and no held-out pixel has a label and all layers; "
            "leave it out, or hold out other blocks"
        )


def made_by(setup: Setup) -> Json:
    """By what a run is computed: noise, dropout and rounding follow from these."""
    place, precision = setup.place, setup.training.precision
    half = not isinstance(autocast(precision, place), nullcontext)
    return {
        "device": place.type,
        "processes": setup.world.size,
        "precision": "bfloat16" if half else "float32",
    }


def require_alike(began: Json, now: Json) -> None:
    """Refuse to go on with a run by other means than it began by.

    Raises:
        ModelError: they differ.
    """
    if changed := origins.differences(began, now):
        raise ModelError(
            f"this training was begun otherwise ({'; '.join(changed)}), and what it learns would "
            f"be neither's; go on as it was begun, or give --overwrite to begin anew"
        )
