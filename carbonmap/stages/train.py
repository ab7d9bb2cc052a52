"""Training: label pixels and layers to a model folder, with validation in blocks held out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from carbonmap import checkpoint, progress
from carbonmap.applicability import learned_ranges
from carbonmap.errors import ModelError
from carbonmap.grid import Grid
from carbonmap.io import output
from carbonmap.io.output import Existing
from carbonmap.metrics import errors
from carbonmap.models import regressors
from carbonmap.models.regressors import Regressor
from carbonmap.project import NETWORKS, Model, Project
from carbonmap.splits import Role
from carbonmap.stages.common import Report
from carbonmap.stages.job import job_of, label_scale, publish, require_own, up_to_date
from carbonmap.stages.sampler import Sampler
from carbonmap.types import Json

VALIDATION_PX = 200_000
"""Held-out pixels by which a model is judged at most when it is trained; `evaluate` takes all."""


def train(
    project: Project,
    region: str,
    grid: Grid,
    dates: Sequence[str],
    labels: Path,
    out: Path,
    *,
    mask: Path | None = None,
    existing: Existing = Existing.REFUSE,
    device: str = "cpu",
    start: Path | None = None,
    board: Path | None = None,
) -> Report:
    """Fit a model on the label pixels of training stands and judge it on held-out ones.

    Args:
        project: which model, on which inputs; the archive.
        region: name of the region in the archive.
        grid: the region's.
        dates: periods; every image of the archive in one of them is learned from.
        labels: folder that `build-labels` wrote.
        out: folder of the model.
        mask: forest mask; only forest is learned from.
        existing: what to do about a model made otherwise.
        device: that a network learns on; see `learning.machine.device_name`.
        start: VGG weights, in safetensors, that a network's trunk starts from.
        board: folder in which TensorBoard finds a network's log; no part of the model's origin.

    Raises:
        MissingInput: labels, layers or images are not there.
        ModelError: there are too few pixels, or a setting cannot be.
    """
    require_own(out)
    job = job_of(project, region, grid, dates, labels, mask, start)
    if project.model.kind in NETWORKS:
        from carbonmap.stages.learn import train as learn  # only now: it brings torch

        return learn.train(job, out, existing, device, start, board)
    if board is not None:
        raise ModelError(f"--tensorboard says nothing to {project.model.kind!r}; leave it out")
    if start is not None:
        raise ModelError(f"--vgg-weights say nothing to {project.model.kind!r}; leave them out")
    with output.claim(out / checkpoint.MARK, job.origin, existing) as work:
        if work is None:
            return up_to_date(out)
        stands, sampler = job.split()
        scale, threads = label_scale(labels), project.output.threads
        facts, model = _fit(project.model, sampler, job.stacks, scale, threads)
        work.begin_publishing()  # only now, so that the old model outlives a fit that fails
        weights = checkpoint.write_weights(out, model)
        return publish(job, work, out, stands, facts, [weights])


def _fit(
    settings: Model,
    sampler: Sampler,
    stacks: Sequence[xr.Dataset],
    scale: float,
    threads: int | None,
) -> tuple[Json, Regressor]:
    """Fit and judge: what the card tells of it, and the model."""
    spec, most = settings.features, regressors.recipe(settings.kind).most
    x, y = sampler.draw(stacks, spec, Role.TRAIN, most)
    progress.say(f"fitting {settings.kind} on {len(y):,} pixels, {len(spec.names)} features")
    model = regressors.fit(settings.kind, spec, x, y, sampler.grid.pixel_m, settings.seed, threads)
    model = dataclasses.replace(model, scale=scale)
    exam, truth = sampler.draw(stacks, spec, Role.VALIDATION, VALIDATION_PX)
    judged = errors(regressors.estimate(model.estimator, exam), truth)
    facts = checkpoint.card(model) | {
        "label_range_mg_c_ha": [float(y.min()), float(y.max())],
        "feature_ranges": learned_ranges(x, spec.pixel_names),
        "training_pixels": len(y),
        "validation": judged.to_json(model.scale),
    }
    return facts, model
