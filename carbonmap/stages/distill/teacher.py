"""The model to be distilled: its settings, its land, and its weights as they were learned."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from carbonmap import origins
from carbonmap.checkpoint import Checkpoint, tensors
from carbonmap.diffusion.spec import DiffusionSpec
from carbonmap.errors import ModelError
from carbonmap.learning.learner import Learner
from carbonmap.models.neural import Neural
from carbonmap.normalise import Normalisation
from carbonmap.project import Model
from carbonmap.stages.job import Job, require_same
from carbonmap.types import Json

KINDS = ("iidm", "unet")
"""Families whose networks PCA can distil."""


def require_kind(folder: Path, found: Checkpoint) -> Neural:
    """The model of a folder as a network that may be distilled.

    Raises:
        ModelError: it is of another family.
    """
    model, kind = found.model, found.card["kind"]
    if not isinstance(model, Neural) or kind not in KINDS:
        raise ModelError(
            f"{str(folder)!r} holds a model of the kind {kind!r}, and PCA distils "
            f"{' and '.join(KINDS)}; train one of these as the teacher"
        )
    return model


def settings_like(model: Model, card: Json, network: Json | None = None) -> Model:
    """The settings by which a network of the teacher's kind is built, trained and judged.

    Args:
        model: the project's, whose training and seed hold.
        card: the teacher's, whose kind, inputs, tile and draws hold.
        network: specification of the network; the teacher's own by default.
    """
    held = card["network"]
    own: Json = held["specs"]["network"]
    return dataclasses.replace(
        model,
        kind=card["kind"],
        inputs=tuple(card["features"]["inputs"]),
        preset="tiny",  # of which nothing is left, as every value is replaced
        network=network or own,
        diffusion=_whole(held["specs"].get("diffusion")),
        samples=held["samples"],
        training=dataclasses.replace(model.training, patch_px=held["tile_px"]),
    )


def _whole(diffusion: Json | None) -> Json:
    """A diffusion's values with those that an older card lacks, so that none is chosen anew."""
    return DiffusionSpec.from_json(diffusion).to_json() if diffusion else {}


def require_fit(folder: Path, card: Json, job: Job) -> None:
    """Refuse a teacher that learned from another split, labels, layers or region than the job has.

    Raises:
        ModelError: it did.
    """
    require_same("the teacher", folder, card, job)
    mine = {"region": job.region, "dates": list(job.days), "inputs": job.origin["inputs"]}
    theirs: dict[str, Any] = {name: card.get(name) for name in mine}
    if changed := origins.differences(theirs, mine):
        raise ModelError(
            f"the teacher at {str(folder)!r} was trained on other images or layers "
            f"({'; '.join(changed)}); give the --dates and --region of its training, or train it "
            f"anew"
        )


ALIKE = 1e-6
"""By which a mean or a weight may differ: sums of the same pixels round otherwise by the CPU."""


def require_norm(folder: Path, norm: Normalisation, here: Normalisation) -> None:
    """Refuse a teacher whose channels were standardised by other pixels than those here.

    Raises:
        ModelError: they were.
    """
    pairs = ((norm.mean, here.mean), (norm.spread, here.spread), (norm.whitening, here.whitening))
    if not all(np.shape(a) == np.shape(b) and np.allclose(a, b, ALIKE, ALIKE) for a, b in pairs):
        raise ModelError(
            f"the teacher at {str(folder)!r} learned from other pixels than are chosen here; give "
            f"the --mask and labels.min_coverage of its training"
        )


def starter(weights: Path) -> Callable[[Learner], None]:
    """What puts the weights of a file into a fresh network of the same specification."""
    held = tensors.read(weights)

    def put(learner: Learner) -> None:
        learner.network.load_state_dict(held)

    return put
