"""Training: label pixels and layers to a model folder, with validation in blocks held out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import xarray as xr

from carbonmap import checkpoint, fields, progress
from carbonmap.applicability import learned_ranges
from carbonmap.errors import MissingInput
from carbonmap.features import FeatureSpec, features_at, valid_pixels
from carbonmap.grid import Grid
from carbonmap.io import files, lattice, maps, output, vector
from carbonmap.io.output import Existing
from carbonmap.labels import trustworthy
from carbonmap.lazy import image_days
from carbonmap.metrics import errors
from carbonmap.models import regressors
from carbonmap.models.regressors import Regressor
from carbonmap.project import Model, Project
from carbonmap.splits import Role, assign_roles
from carbonmap.stages import common, scope
from carbonmap.stages import region as region_
from carbonmap.stages.common import TILE_PX, Report
from carbonmap.stages.labels import MARK, STAND, STANDS, TOTAL
from carbonmap.stages.mask import check_mask, read_forest
from carbonmap.tiles import Tile, tiles
from carbonmap.types import Bool, Floats, Ints, Json

CIRCULAR = "canopy-height"
"""The input that a model finds again in its labels, whose weights it gave."""

SPLIT = "split.parquet"
"""The stands with their roles, by which an evaluation knows what the model has seen."""

VALIDATION_PX = 200_000
"""Held-out pixels by which a model is judged at most when it is trained; `evaluate` takes all."""


@dataclass(frozen=True)
class Sampler:
    """Draws label pixels; which ones depends on place, role and seed, never on tiles.

    Args:
        grid: of region and labels.
        labels: folder.
        roles: of each stand, by row of its table.
        min_coverage: least share of a pixel inside known stands.
        mask: forest mask, or None.
        seed: of the draw.
    """

    grid: Grid
    labels: Path
    roles: Ints
    min_coverage: float
    mask: Path | None
    seed: int

    def candidates(self, tile: Tile, role: Role) -> tuple[Bool, Floats]:
        """Pixels of a role that may be used, and the density of all, ``(row, col)``."""
        density, share, stand = (
            lattice.read_on_grid(self.labels / f"{name}.tif", tile.grid, "labels")
            for name in (TOTAL, "coverage", STAND.name)
        )
        index = np.nan_to_num(stand).astype(np.int64)
        of_role = np.r_[int(Role.OUTSIDE), self.roles][index] == int(role)
        usable = of_role & trustworthy(share, self.min_coverage) & np.isfinite(density)
        forest = read_forest(self.mask, tile.grid)
        return usable if forest is None else usable & forest, density

    def count(self, role: Role) -> int:
        """Pixels of a role in the whole region."""
        return sum(int(self.candidates(t, role)[0].sum()) for t in tiles(self.grid, TILE_PX))

    def draw(
        self, stacks: Sequence[xr.Dataset], spec: FeatureSpec, role: Role, most: int
    ) -> tuple[Floats, Floats]:
        """Features, ``(pixel, feature)``, and densities of about `most` pixels of a role.

        Every pixel of every image has its own lot by its place on the lattice, so the draw depends
        on no tile.
        """
        rows: list[Floats] = [np.empty((0, len(spec.names)), np.float32)]
        densities: list[Floats] = [np.empty(0, np.float32)]
        share = most / max(1, self.count(role) * len(stacks))
        todo = list(tiles(self.grid, TILE_PX))
        for tile in progress.track(todo, f"reading {role.name.lower()} pixels", len(todo)):
            usable, density = self.candidates(tile, role)
            for number, stack in enumerate(stacks):
                key = fields.field_key(self.seed, "sample", role.name, number)
                taken = usable & (fields.uniform(*fields.places(tile.grid), key) < share)
                if not taken.any():
                    continue
                layers = scope.read_layers(stack, self.grid, tile.grid, spec.layers, spec.halo)
                taken &= valid_pixels(layers, spec)
                rows.append(features_at(layers, spec, self.grid.pixel_m, taken))
                densities.append(density[taken])
        return np.concatenate(rows), np.concatenate(densities)


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

    Raises:
        MissingInput: labels, layers or images are not there.
        ModelError: there are too few pixels.
    """
    held = output.require_complete(labels / MARK, "labels")
    scope.require_grid(project, region, grid)
    check_mask(mask, grid)
    if maps.map_grid(labels / f"{TOTAL}.tif") != grid:
        raise MissingInput(
            f"labels {str(labels)!r} are of another grid than region {region!r}; build them anew"
        )
    spec = project.model.features
    days = image_days(project.archive, region, dates)
    stacks = [scope.one_image(project.archive, region, [day])[0] for day in days]
    names = scope.require_model_layers(stacks[0], spec.layers)
    image_scale = scope.image_scale(stacks)
    origin = _origin(project, region, grid, days, names, labels, mask)
    with output.claim(out / checkpoint.MARK, origin, existing) as work:
        if work is None:
            return Report(f"{out} is up to date", {"model": str(out), "state": "up to date"})
        stands = vector.read_stands(labels / STANDS)
        roles = assign_roles(_usable(stands), project.model.split, grid.anchor)
        sampler = Sampler(
            grid, labels, roles, project.labels.min_coverage, mask, project.model.seed
        )
        threads = project.output.threads
        facts, model = _fit(project.model, sampler, stacks, _label_scale(labels), threads)
        work.begin_publishing()  # only now, so that the old model outlives a fit that fails
        weights = checkpoint.write_weights(out, model)
        stands["role"] = [Role(r).name.lower() for r in roles]
        vector.write_stands(stands[["id", "role", "geometry"]], out / SPLIT)
        facts |= _card(project, region, grid, days, held["report"], roles, image_scale)
        work.finish([weights, out / SPLIT], facts)
    return Report(_text(out, facts), {"state": "written", "path": str(out), **facts})


def _origin(
    project: Project,
    region: str,
    grid: Grid,
    days: Sequence[str],
    names: Sequence[str],
    labels: Path,
    mask: Path | None,
) -> Json:
    """Settings and inputs by which a model is known again."""
    layers = [n for n in names if n != "image"] + [f"image_{day}" for day in days]
    return {
        "stage": "train",
        "region": region_.region_json(project, region, grid),
        "model": dataclasses.asdict(project.model),
        "min_coverage": project.labels.min_coverage,
        "dates": list(days),
        "mask": files.sha256(mask) if mask else None,
        "inputs": scope.layer_hashes(project.archive, region, layers)
        | {"labels": files.sha256(labels / MARK)},
    }


def _usable(stands: vector.Frame) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    """Outlines of the stands that can be learned from or held out; None for the others."""
    known = np.isfinite(stands["total_t_c"].to_numpy()) & (stands["inside_share"].to_numpy() > 0)
    outlines = np.array(stands.geometry.array, dtype=object)
    outlines[~known] = None
    return outlines


def _label_scale(labels: Path) -> float:
    """Mg C/ha that are 1 on the 0–1 scale: the labels' largest, whatever a model draws of them."""
    held = maps.require_whole(labels / f"{TOTAL}.tif", by_size=True)["report"]["valid_pixels"]
    return float(held.get("max", 0)) or 1.0


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


def _card(
    project: Project,
    region: str,
    grid: Grid,
    days: Sequence[str],
    labels: Json,
    roles: Ints,
    image_scale: tuple[float, float],
) -> Json:
    """What else a model's card tells: where and on what it was trained."""
    counts = {r.name.lower(): int((roles == r).sum()) for r in Role if r is not Role.OUTSIDE}
    return {
        "carbonmap": version("carbonmap"),
        "scikit_learn": version("scikit-learn"),
        "region": region,
        "crs": grid.crs,
        "training_bounds": list(grid.bounds),
        "dates": list(days),
        "image_scale": list(image_scale),
        "profile": labels["profile"],
        "pools": ", ".join(labels["pools"]),
        "split": dataclasses.asdict(project.model.split),
        "stands": counts,
    }


def _text(out: Path, facts: Json) -> str:
    judged, inputs = facts["validation"], facts["features"]["inputs"]
    head = (
        f"{out}: {facts['kind']} on {', '.join(inputs)}, "
        f"{facts['training_pixels']:,} pixels of {facts['stands']['train']:,} stands"
    )
    if CIRCULAR in inputs:
        head += (
            f"\n  warning: {CIRCULAR} is an input, and it spread the labels within stands: errors "
            f"against labels flatter this model"
        )
    if not judged["pixels"]:
        return f"{head}\n  the held-out blocks have no usable pixel, so nothing judges this model"
    return (
        f"{head}\n  held-out blocks ({facts['stands']['validation']:,} stands): "
        f"{common.error_line(judged)}"
    )
