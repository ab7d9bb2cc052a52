"""`compare`: train or load every model on one split, judge all on the same land, write tables."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from carbonmap import checkpoint, progress
from carbonmap.classes import Dummy
from carbonmap.ensembles import expected_factors
from carbonmap.grid import Grid
from carbonmap.io import figures, files, output
from carbonmap.io.output import Existing, Work
from carbonmap.models.protocol import Model
from carbonmap.project import Project
from carbonmap.splits import Role
from carbonmap.stages import scope
from carbonmap.stages import train as train_
from carbonmap.stages.common import TILE_PX, Report
from carbonmap.stages.compare import facts as facts_
from carbonmap.stages.compare import table
from carbonmap.stages.compare.entries import Entry, entries
from carbonmap.stages.compare.judge import BLOCK_M, MEAN_OF, Ground, judge
from carbonmap.stages.job import Job, job_of, label_scale, require_same, settings_of
from carbonmap.tiles import Tile, tiles
from carbonmap.types import Json, Raster

SHOWN_PX = 384
"""Edge of the land in the figure, pixels: single stands can be seen."""

TILE_OF_TABLE = 256
"""Edge of the paper's tiles (Table A3), for which seconds are told."""


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
        device: that networks learn on.

    Raises:
        ModelError: a model is unknown, or a loaded one has seen what is held out here.
        MissingInput: labels, layers or images are not there.
    """
    listed = entries(project, models, loaded, out)
    first = job_of(project, region, grid, dates, labels, mask)
    origin = first.origin | {
        "stage": "compare",
        "models": {e.name: _origin(e) for e in listed},
        "draws": draws,
    }
    with output.claim(out / "comparison.json", origin, existing) as work:
        if work is None:
            held = files.read_json(out / "comparison.json") or {}
            return Report(table.markdown(held["report"]), held["report"])
        _, sampler = first.split()
        scale = label_scale(labels)
        ground = Ground(sampler, first.stacks, scale, project.model.split.block_m)
        for entry in listed:
            if entry.name not in work.done:
                told = _one(entry, first, dates, ground, draws, _renewed(existing), device)
                work.record(entry.name, told)
        report = _report(first, listed, work, ground, draws)
        work.begin_publishing()
        page, picture = out / "comparison.md", out / "comparison.png"
        files.write_text(page, table.markdown(report))
        _figure(picture, listed, ground, first, project.output.style_range_mg_c_ha, device)
        work.finish([page, picture], report)
    return Report(table.markdown(report), report)


def _renewed(existing: Existing) -> Existing:
    """What to do about a model's folder: one of the same origin is kept, whatever is renewed."""
    return Existing.REFUSE if existing is Existing.REFUSE else Existing.RENEW


def _origin(entry: Entry) -> Json | str:
    """By which a model of the comparison is known again."""
    if entry.project is None:
        mark = output.require_complete(entry.folder / checkpoint.MARK, "model")
        return checkpoint.weights_hash(mark)
    return settings_of(entry.project.model)


def _one(
    entry: Entry,
    first: Job,
    dates: Sequence[str],
    ground: Ground,
    draws: int,
    existing: Existing,
    device: str,
) -> Json:
    """Train a model where it is to be trained, judge it, and tell all of it."""
    minutes = None
    if entry.project is not None:
        progress.say(f"{entry.name}: training")
        began = time.process_time()
        told = train_.train(
            entry.project, first.region, first.grid, dates, first.labels, entry.folder,
            mask=first.mask, existing=existing, device=device,
        )  # fmt: skip
        if told.data["state"] != "up to date":
            minutes = (time.process_time() - began) / 60
    progress.say(f"{entry.name}: judging")
    found = checkpoint.load(entry.folder, device=device)
    require_same(entry.name, entry.folder, found.card, first)
    verdict = judge(found.model, ground, draws)
    return {
        "kind": found.card["kind"],
        "judged": facts_.to_json(verdict, ground.scale),
        "parameters": found.card.get("parameters"),
        "steps": found.card.get("steps"),
        "bytes": sum(path.stat().st_size for path in _weights(entry.folder)),
        "training_cpu_min": minutes,
        "seconds_a_tile": _seconds(found.model, ground),
        "baseline": facts_.baseline(_mean_label(ground), verdict.pixels).to_json(ground.scale),
    }


def _weights(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.suffix in (".safetensors", ".skops")]


def _mean_label(ground: Ground) -> float:
    """Mean label of the training stands: what a map that knows nothing has everywhere."""
    total = Dummy()
    for tile in tiles(ground.sampler.grid, TILE_PX):
        usable, density = ground.sampler.candidates(tile, Role.TRAIN)
        total += Dummy.of(density[usable])
    return total.mean


def _seconds(model: Model, ground: Ground) -> float:
    """CPU seconds of one map of a tile as the paper's, the least of three."""
    grid = _spot(ground, TILE_OF_TABLE).grid
    layers = scope.read_layers(
        ground.stacks[0], ground.sampler.grid, grid, model.layers, model.halo
    )
    share = grid.size / TILE_OF_TABLE**2
    times = []
    for _ in range(3):
        began = time.process_time()
        if getattr(model, "generative", False):
            model.draws(layers, grid, 1)  # type: ignore[attr-defined]
        else:
            model.predict(layers, grid)
        times.append(time.process_time() - began)
    return min(times) / share


def _spot(ground: Ground, edge: int) -> Tile:
    """The tile of that edge with most held-out pixels."""
    grid = ground.sampler.grid
    found = [
        (int(ground.sampler.candidates(tile, Role.VALIDATION)[0].sum()), -number, tile)
        for number, tile in enumerate(tiles(grid, edge))
    ]
    return max(found, key=lambda one: one[:2])[2]


def _report(first: Job, listed: Sequence[Entry], work: Work, ground: Ground, draws: int) -> Json:
    """All models together, in the order in which they were named."""
    models = {entry.name: dict(work.done[entry.name]) for entry in listed}
    baselines = [m.pop("baseline") for m in models.values()]
    held = (ground.sampler.roles == Role.VALIDATION).sum()
    return {
        "region": first.region,
        "days": list(first.days),
        "pixels": baselines[0]["pixels"],
        "stands": int(held),
        "scale_mg_c_ha": ground.scale,
        "mean_of": MEAN_OF,
        "mean_factor": expected_factors(MEAN_OF).mean,
        "draws": draws,
        "block_m": BLOCK_M,
        "inputs": list(first.project.model.inputs),
        "baseline": baselines[0],
        "models": models,
    }


def _figure(
    path: Path,
    listed: Sequence[Entry],
    ground: Ground,
    first: Job,
    limits: tuple[float, float],
    device: str,
) -> None:
    """Labels and every model's map of one place, side by side."""
    spot = _spot(ground, SHOWN_PX)
    _, density = ground.sampler.candidates(spot, Role.VALIDATION)
    panels: list[tuple[str, Raster]] = [("labels", density)]
    for entry in listed:
        model = checkpoint.load(entry.folder, device=device).model
        panels += _panels(entry.name, model, ground, spot.grid)
    figures.draw_comparison(
        path, panels, spot.grid.bounds, limits, f"{first.region}, {first.days[0]}"
    )


def _panels(name: str, model: Model, ground: Ground, grid: Grid) -> list[tuple[str, Raster]]:
    layers = scope.read_layers(
        ground.stacks[0], ground.sampler.grid, grid, model.layers, model.halo
    )
    if not getattr(model, "generative", False):
        return [(name, model.predict(layers, grid))]
    maps = model.draws(layers, grid, MEAN_OF)  # type: ignore[attr-defined]
    return [(f"{name}, one draw", maps[0]), (f"{name}, mean of {MEAN_OF}", maps.mean(0))]
