"""`compare`: train or load every model on one split, judge all on the same land, write tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from carbonmap import checkpoint, progress
from carbonmap.checkpoint import Checkpoint
from carbonmap.ensembles import expected_factors
from carbonmap.errors import ModelError
from carbonmap.grid import Grid
from carbonmap.io import figures, files, output
from carbonmap.io.output import Existing, Work
from carbonmap.models.protocol import maps
from carbonmap.project import NETWORKS, Project
from carbonmap.splits import Role
from carbonmap.stages import scope, timing
from carbonmap.stages import train as train_
from carbonmap.stages.common import Report
from carbonmap.stages.compare import facts as facts_
from carbonmap.stages.compare import table
from carbonmap.stages.compare.entries import Entry, entries
from carbonmap.stages.compare.judge import (
    BLOCK_M,
    MEAN_OF,
    Ground,
    ground_of,
    judge,
    require_draws,
)
from carbonmap.stages.job import Job, job_of, require_same, settings_of
from carbonmap.stages.mask import read_forest
from carbonmap.tiles import Tile
from carbonmap.types import Json, Raster

SHOWN_PX = 384
"""Edge of the land in the figure, pixels: single stands can be seen."""

NAME = "comparison"

STYLE, DEVICE = "style_range_mg_c_ha", "device"


@dataclass(frozen=True)
class Task:
    """One comparison under way.

    Args:
        job: land, labels and split of all models.
        ground: on which they are judged.
        draws: of generative models.
        dates: as the user gave them, for training.
        existing: what to do about a model's folder of other settings.
        device: torch's name of what networks compute on.
        work: what is done of it.
        minutes: that the training of regressors took in an earlier comparison, by model, where it
            is the same model.
    """

    job: Job
    ground: Ground
    draws: int
    dates: Sequence[str]
    existing: Existing
    device: str
    work: Work
    minutes: Mapping[str, float | None]


def compare(
    project: Project,
    region: str,
    grid: Grid,
    dates: Sequence[str],
    labels: Path,
    out: Path,
    *,
    models: Sequence[str],
    loaded: Sequence[tuple[str, Path]] = (),
    draws: int = 32,
    mask: Path | None = None,
    existing: Existing = Existing.REFUSE,
    device: str = "cpu",
) -> Report:
    """Compare models on the stands held out by the project's split.

    A run that was stopped goes on by the same call: no model is trained or judged twice.

    Args:
        project: settings of all models; those of one family are heeded by it alone.
        region: name of the region in the archive.
        grid: the region's.
        dates: periods; every image of the archive in one of them is learned from and judged on.
        labels: folder that `build-labels` wrote.
        out: folder: ``models/``, ``comparison.md``, ``comparison.png`` and ``comparison.json``.
        models: families to train, or ``family:preset``.
        loaded: names and folders of models trained on the same labels and split.
        draws: of generative models.
        mask: forest mask; only forest is learned from and judged on.
        existing: what to do about a comparison made otherwise.
        device: that networks compute on.

    Raises:
        ModelError: a model is unknown, or a loaded one has seen what is held out here.
        MissingInput: labels, layers or images are not there.
    """
    require_draws(draws)
    device = _device(device)
    listed = entries(project, models, loaded, out)
    job = job_of(project, region, grid, dates, labels, mask)
    kinds = [_kind(entry, job) for entry in listed]
    mark = out / f"{NAME}.json"
    origin = _origin(job, listed, draws)
    if set(kinds) & set(NETWORKS):  # their times are of one clock
        origin[DEVICE] = device.partition(":")[0]
    minutes = _earlier_minutes(mark, origin)
    with output.claim(mark, origin, existing) as work:
        if work is None:
            held = files.read_json(mark) or {}
            return Report(table.markdown(held["report"]), held["report"])
        ground = ground_of(job)
        renewed = Existing.REFUSE if existing is Existing.REFUSE else Existing.RENEW
        task = Task(job, ground, draws, dates, renewed, device, work, minutes)
        part = timing.spot(ground.sampler, timing.TILE_PX)
        for entry in listed:
            if _judged_key(entry) not in work.done:
                work.record(_judged_key(entry), files.plain(_one(task, entry, part)))
        report = _report(task, listed)
        panels = _panels(task, listed)
        work.begin_publishing()  # only now, so that the old tables outlive a run that fails
        page, picture = out / f"{NAME}.md", out / f"{NAME}.png"
        files.write_text(page, table.markdown(report))
        _draw(picture, task, *panels)
        work.finish([page, picture], report)
    return Report(table.markdown(report), report)


def _device(name: str) -> str:
    """A device as torch names it; torch itself is imported for GPUs alone."""
    if name == "cpu":
        return name
    from carbonmap.learning import machine

    return machine.device_name(name)


def _kind(entry: Entry, job: Job) -> str:
    """A model's family; one that cannot be compared is refused before others train for hours."""
    if entry.project is not None:
        return entry.project.model.kind
    return str(_loaded(entry, job, "cpu").card["kind"])


def _origin(job: Job, listed: Sequence[Entry], draws: int) -> Json:
    """Settings and inputs by which a comparison is known again."""
    shared = {k: v for k, v in job.origin.items() if k != "model"}  # each model's own are told
    return shared | {
        "stage": "compare",
        "split": job.split_told,
        "models": {entry.name: _model_origin(entry) for entry in listed},
        "draws": draws,
        STYLE: list(job.project.output.style_range_mg_c_ha),
    }


def _model_origin(entry: Entry) -> Json | str:
    if entry.project is None:
        mark = output.require_complete(entry.folder / checkpoint.MARK, "model")
        return checkpoint.weights_hash(mark)
    return settings_of(entry.project.model)


def _earlier_minutes(mark: Path, origin: Json) -> dict[str, float | None]:
    """What training took, of the models that a finished comparison of the same land has trained."""
    held = files.read_json(mark) or {}
    now, before = files.plain(origin), held.get("origin", {})
    if any(now[k] != before.get(k) for k in now if k not in ("models", "draws", STYLE, DEVICE)):
        return {}
    told = held.get("report", {}).get("models", {})
    return {
        name: told[name]["training_min"]
        for name, settings in now["models"].items()
        if name in told and before["models"].get(name) == settings
    }


def _loaded(entry: Entry, job: Job, device: str) -> Checkpoint:
    """A model of the comparison, once it is known to fit the land and to have seen none of it.

    Raises:
        ModelError: it is of other pixels, layers, labels or another split.
    """
    found = checkpoint.load(entry.folder, job.project.output.threads, device)
    require_same(entry.name, entry.folder, found.card, job)
    if found.card["pixel_m"] != job.grid.pixel_m:
        raise ModelError(
            f"model {entry.name!r} learned from pixels of {found.card['pixel_m']:g} m and region "
            f"{job.region!r} has pixels of {job.grid.pixel_m:g} m; train one for these"
        )
    for stack in job.stacks:
        scope.require_model_layers(stack, found.model.layers)
    scale = list(scope.image_scale(job.stacks))
    if found.card["image_scale"] != scale:
        raise ModelError(
            f"model {entry.name!r} learned from images of scale and offset "
            f"{found.card['image_scale']}, and these were ingested with {scale}; ingest them alike"
        )
    return found


def _judged_key(entry: Entry) -> str:
    return f"judged {entry.name}"


def _one(task: Task, entry: Entry, part: Grid) -> Json:
    """Train a model where it is to be trained, judge it, and tell all of it."""
    minutes = None if entry.project is None else _trained(task, entry, entry.project)
    progress.say(f"{entry.name}: judging")
    found = _loaded(entry, task.job, task.device)
    card, ground = found.card, task.ground
    verdict = judge(entry.name, found.model, ground, task.draws)
    device = task.device if card["kind"] in NETWORKS else "cpu"
    taken = timing.seconds({"it": found.model}, ground.stacks[0], task.job.grid, part, device)
    return {
        "kind": card["kind"],
        "inputs": card["features"]["inputs"],
        "judged": facts_.to_json(verdict, ground.scale),
        "baseline": verdict.baseline.to_json(ground.scale),
        "parameters": card.get("parameters"),
        "bytes": sum(p.stat().st_size for p in _weights(entry.folder)),
        "device": device,
        "seconds_a_tile": taken["it"],
        "sampler_steps": card.get("network", {}).get("specs", {}).get("diffusion", {}).get("steps"),
        "training_min": _minutes(card, minutes),
        "training_steps": card.get("steps"),
        "stopped_early": card.get("stopped_early"),
        "chosen_on_validation": card.get("chosen_on_validation"),
    }


def _trained(task: Task, entry: Entry, project: Project) -> float | None:
    """Train a model, and say how many minutes of the CPU that took; None where nobody measured."""
    key, job, now = f"trained {entry.name}", task.job, timing.clock("cpu")
    progress.say(f"{entry.name}: training")
    began = now()
    told = train_.train(
        project, job.region, job.grid, task.dates, job.labels, entry.folder,
        mask=job.mask, existing=task.existing, device=task.device,
    )  # fmt: skip
    if told.data["state"] == "up to date":
        return task.work.done.get(key, {}).get("minutes", task.minutes.get(entry.name))
    minutes = (now() - began) / 60
    task.work.record(key, {"minutes": minutes})
    return minutes


def _minutes(card: Json, measured: float | None) -> float | None:
    """Of training: a regressor's as measured around it, a network's of its steps, by its card.

    A network may learn in several runs, which look at land that is held out as well; older
    cards tell no minutes.
    """
    return card.get("training_minutes") if card["kind"] in NETWORKS else measured


def _weights(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.suffix in (".safetensors", ".skops")]


def _report(task: Task, listed: Sequence[Entry]) -> Json:
    """All models together, in the order in which they were named."""
    models = {e.name: dict(task.work.done[_judged_key(e)]) for e in listed}
    baselines = [m.pop("baseline") for m in models.values()]
    baseline = max(baselines, key=lambda one: one["pixels"])  # alike where layers are
    job, ground = task.job, task.ground
    return {
        "region": job.region,
        "days": list(job.days),
        "mask": str(job.mask) if job.mask else None,
        "pixels": baseline["pixels"],
        "stands": int((ground.sampler.roles == Role.VALIDATION).sum()),
        "split": job.split_told,
        "scale_mg_c_ha": ground.scale,
        "mean_of": MEAN_OF,
        "mean_factor": expected_factors(MEAN_OF).mean,
        "draws": task.draws,
        "least_draws": facts_.RANKED,
        "block_m": BLOCK_M,
        "training_labels": ground.dummy.to_json(),
        "baseline": baseline,
        "models": models,
    }


def _panels(task: Task, listed: Sequence[Entry]) -> tuple[Grid, list[tuple[str, Raster]]]:
    """Labels and every model's map of one place."""
    ground, job = task.ground, task.job
    part = timing.spot(ground.sampler, SHOWN_PX)
    forest = read_forest(job.mask, part)
    panels = [("labels", _density(ground, part))]
    for entry in listed:
        model = _loaded(entry, job, task.device).model
        layers = scope.read_layers(ground.stacks[0], job.grid, part, model.layers, model.halo)
        drawn = maps(model, layers, part, MEAN_OF)
        if len(drawn) == 1:
            panels.append((entry.name, drawn[0]))
        else:
            panels.append((f"{entry.name}\none draw", drawn[0]))
            panels.append((f"{entry.name}\nmean of {MEAN_OF}", drawn.mean(0)))
    if forest is not None:
        panels = [(name, np.where(forest, values, np.nan)) for name, values in panels]
    return part, panels


def _density(ground: Ground, part: Grid) -> Raster:
    return ground.sampler.candidates(_tile(part), Role.VALIDATION)[1]


def _tile(part: Grid) -> Tile:
    return Tile("shown", (slice(0, part.height), slice(0, part.width)), part)


def _draw(path: Path, task: Task, part: Grid, panels: Sequence[tuple[str, Raster]]) -> None:
    """The maps side by side, with the land that no model has learned from outlined."""
    held, _ = task.ground.sampler.candidates(_tile(part), Role.VALIDATION)
    caption = (
        f"{task.job.region}, {task.job.days[0]}; outlined: held out; models may "
        f"have learned the rest"
    )
    limits = task.job.project.output.style_range_mg_c_ha
    figures.draw_comparison(path, panels, part.bounds, limits, caption, held)
