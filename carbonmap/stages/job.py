"""What any kind of model is trained from, and what goes with its weights into its folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import xarray as xr

from carbonmap import checkpoint
from carbonmap.dates import apart
from carbonmap.errors import MissingInput, ModelError, OutputExists
from carbonmap.grid import Grid
from carbonmap.io import files, maps, output, vector
from carbonmap.io.output import Work
from carbonmap.lazy import image_days
from carbonmap.project import NETWORKS, Model, Project
from carbonmap.splits import Role, assign_roles
from carbonmap.stages import common, scope
from carbonmap.stages import region as region_
from carbonmap.stages.common import Report
from carbonmap.stages.labels import MARK, STANDS, TOTAL
from carbonmap.stages.mask import check_mask
from carbonmap.stages.sampler import Sampler
from carbonmap.types import Json

CIRCULAR = "canopy-height"
"""The input that a model finds again in its labels, whose weights it gave."""

SPLIT = "split.parquet"
"""The stands with their roles, by which an evaluation knows what the model has seen."""

ONLY_NETWORKS = ("preset", "network", "diffusion", "training", "samples", "band_drop", "storage")
"""Settings of `project.Model` that no regressor heeds."""


@dataclass(frozen=True)
class Job:
    """What every kind of model is trained from, once it is known to be there.

    Args:
        project: the settings.
        region: name of the region in the archive.
        grid: the region's.
        days: of the images.
        stacks: the region's layers with one image each.
        labels: folder that `build-labels` wrote.
        mask: forest mask, or None.
        origin: settings and inputs by which the model is known again.
    """

    project: Project
    region: str
    grid: Grid
    days: Sequence[str]
    stacks: Sequence[xr.Dataset]
    labels: Path
    mask: Path | None
    origin: Json

    @property
    def split_told(self) -> Json:
        """How the stands are parted, as plain values; cards made before the sample lack it."""
        told = dataclasses.asdict(self.project.model.split)
        if not told["reference_share"]:
            del told["reference_share"]
        return told

    def split(self) -> tuple[vector.Frame, Sampler]:
        """The stands with their roles, and what draws their pixels."""
        stands = vector.read_stands(self.labels / STANDS)
        settings = self.project.model
        roles = assign_roles(_usable(stands), settings.split, self.grid.anchor)
        stands["role"] = [Role(r).name.lower() for r in roles]
        least = self.project.labels.min_coverage
        return stands, Sampler(self.grid, self.labels, roles, least, self.mask, settings.seed)


def publish(
    job: Job, work: Work, out: Path, stands: vector.Frame, facts: Json, products: Sequence[Path]
) -> Report:
    """Write what goes with a model's weights, its card last, and tell of it."""
    vector.write_stands(stands[["id", "role", "geometry"]], out / SPLIT)
    facts = facts | _card(job, stands)
    work.finish([*products, out / SPLIT], facts)
    return Report(_text(out, facts), {"state": "written", "path": str(out), **facts})


def require_own(out: Path) -> None:
    """Refuse to put a model among other things, as where a folder's name is forgotten.

    Raises:
        OutputExists: the folder holds something, and neither a model nor one that was begun.
    """
    if not out.is_dir() or (out / checkpoint.MARK).exists():
        return
    if not output.work_folder(out / checkpoint.MARK).exists() and any(out.iterdir()):
        raise OutputExists(
            f"{str(out)!r} holds other things and no model; give a folder of the model's own by "
            f"-o, such as models/mine"
        )


def up_to_date(out: Path) -> Report:
    """Of a model that needs no training: what its card tells."""
    held = (files.read_json(out / checkpoint.MARK) or {})["report"]
    return Report(f"{out} is up to date", {"state": "up to date", "path": str(out), **held})


def job_of(
    project: Project,
    region: str,
    grid: Grid,
    dates: Sequence[str],
    labels: Path,
    mask: Path | None = None,
    start: Path | None = None,
) -> Job:
    """What a model is trained from; see `train`."""
    output.require_complete(labels / MARK, "labels")
    scope.require_grid(project, region, grid)
    check_mask(mask, grid)
    if maps.map_grid(labels / f"{TOTAL}.tif") != grid:
        raise MissingInput(
            f"labels {str(labels)!r} are of another grid than region {region!r}; build them anew"
        )
    days = image_days(project.archive, region, dates)
    stacks = [scope.one_image(project.archive, region, [day])[0] for day in days]
    names = scope.require_model_layers(stacks[0], project.model.features.layers)
    scope.image_scale(stacks)
    origin = _origin(project, region, grid, days, names, labels, mask)
    if start is not None:
        origin["start"] = files.sha256(files.existing(start, "VGG weights"))
    return Job(project, region, grid, days, stacks, labels, mask, origin)


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
        "model": settings_of(project.model),
        "min_coverage": project.labels.min_coverage,
        "dates": list(days),
        "mask": files.sha256(mask) if mask else None,
        "inputs": scope.layer_hashes(project.archive, region, layers)
        | {"labels": files.sha256(labels / MARK)},
    }


def require_same(name: str, folder: Path, card: Json, job: Job) -> None:
    """Refuse a model that learned by another split, or from other labels or pixels, than a job.

    Args:
        name: of the model, for the message.
        folder: of the model, likewise.
        card: its own; an older one tells neither mask nor coverage, and counts as made without a
            mask and with the job's coverage.
        job: whose held-out land it is to be judged on.

    Raises:
        ModelError: it did, and may have seen what it would be judged on, or learned of other land.
    """
    own = job.origin
    mine = {
        "split": job.split_told,
        "labels": own["inputs"]["labels"],
        "mask": own["mask"],
        "min_coverage": own["min_coverage"],
    }
    theirs = {
        "split": card.get("split"),
        "labels": card.get("inputs", {}).get("labels"),
        "mask": card.get("mask"),
        "min_coverage": card.get("min_coverage", own["min_coverage"]),
    }
    for what, want in mine.items():
        if theirs[what] != want:
            seen = what in ("split", "labels")
            so = "it may have seen what is held out" if seen else "it learned from other pixels"
            raise ModelError(
                f"model {name!r} at {str(folder)!r} was trained with another {what} "
                f"({theirs[what]}, here {want}), so {so}; train it anew"
            )


def settings_of(model: Model) -> Json:
    """The settings that a model of its kind heeds; the others may change without it."""
    network = model.kind in NETWORKS
    foreign = ("radii", "indices", "spread") if network else ONLY_NETWORKS
    return {k: v for k, v in dataclasses.asdict(model).items() if k not in foreign}


def _usable(stands: vector.Frame) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    """Outlines of the stands that can be learned from or held out; None for the others."""
    known = np.isfinite(stands["total_t_c"].to_numpy()) & (stands["inside_share"].to_numpy() > 0)
    outlines = np.array(stands.geometry.array, dtype=object)
    outlines[~known] = None
    return outlines


def label_scale(labels: Path) -> float:
    """Mg C/ha that are 1 on the 0–1 scale: the labels' largest, whatever a model draws of them."""
    held = maps.require_whole(labels / f"{TOTAL}.tif", by_size=True)["report"]["valid_pixels"]
    return float(held.get("max", 0)) or 1.0


def _card(job: Job, stands: vector.Frame) -> Json:
    """What else a model's card tells: where and on what it was trained."""
    roles, labels = stands["role"], output.require_complete(job.labels / MARK, "labels")["report"]
    counts = {r.name.lower(): int((roles == r.name.lower()).sum()) for r in Role}
    del counts[Role.OUTSIDE.name.lower()]
    return {
        "carbonmap": version("carbonmap"),
        "scikit_learn": version("scikit-learn"),
        "region": job.region,
        "crs": job.grid.crs,
        "training_bounds": list(job.grid.bounds),
        "dates": list(job.days),
        "inventory_year": labels.get("inventory_year"),
        "image_scale": list(scope.image_scale(job.stacks)),
        "profile": labels["profile"],
        "pools": ", ".join(labels["pools"]),
        "split": job.split_told,
        "inputs": job.origin["inputs"],
        "mask": job.origin["mask"],
        "min_coverage": job.origin["min_coverage"],
        "stands": counts,
    }


def _text(out: Path, facts: Json) -> str:
    judged, inputs = facts["validation"], facts["features"]["inputs"]
    head = (
        f"{out}: {facts['kind']} on {', '.join(inputs)}, "
        f"{facts['training_pixels']:,} pixels of {facts['stands']['train']:,} stands"
    )
    for one in apart(facts["inventory_year"], facts["dates"]):
        head += f"\n  warning: {one}, and the model learns it as noise"
    if CIRCULAR in inputs:
        head += (
            f"\n  warning: {CIRCULAR} is an input, and it spread the labels within stands: errors "
            f"against labels flatter this model"
        )
    if not judged["pixels"]:
        return f"{head}\n  the held-out blocks have no usable pixel, so nothing judges this model"
    stands, all_px = facts["stands"]["validation"], facts.get("held_out_pixels", judged["pixels"])
    some = (
        f", parts with {judged['pixels'] / all_px:.0%} of it" if judged["pixels"] < all_px else ""
    )
    told = f"{head}\n  held-out blocks ({stands:,} stands{some}): {common.error_line(judged)}"
    if skipped := facts.get("steps_skipped"):
        told += (
            f"\n  warning: {skipped:,} of {facts['steps']:,} steps were skipped, their loss or "
            f"gradient being no number; a lower model.training.learning_rate may mend that"
        )
    if facts.get("chosen_on_validation"):
        told += "\n  warning: these blocks chose when to stop, so their errors flatter this model"
    return told
