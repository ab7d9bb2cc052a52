"""Prediction: a trained model over a region, block by block, one map a date."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from carbonmap import applicability
from carbonmap.errors import MissingInput, ModelError
from carbonmap.grid import Grid
from carbonmap.io import files, maps, output
from carbonmap.io.cog import Sums
from carbonmap.io.maps import MapFile
from carbonmap.io.output import Existing, Work
from carbonmap.project import Project
from carbonmap.stages import cluster, common, drawing, products, scope
from carbonmap.stages import region as region_
from carbonmap.stages.common import Report, Written
from carbonmap.stages.drawing import Drawn
from carbonmap.stages.forecast import forecast
from carbonmap.stages.mapping import Opened, Plan, opened, release, tile_of
from carbonmap.stages.mask import check_mask
from carbonmap.stages.products import NAME
from carbonmap.types import Json

if TYPE_CHECKING:
    from carbonmap.stages.cluster import Client

BEYOND = 1.25
"""A map's largest value over the labels' from which its reader is warned."""


@dataclass(frozen=True)
class Run:
    """What all dates of one call share.

    Args:
        project: the archive and the style.
        region: name of the region in the archive.
        grid: the region's.
        drawn: the model.
        mask: forest mask, or None.
        out: folder of the maps.
        existing: what to do about maps made otherwise.
        client: of other processes that compute; None where this one does.
        threads: of each of those.
    """

    project: Project
    region: str
    grid: Grid
    drawn: Drawn
    mask: Path | None
    out: Path
    existing: Existing
    client: Client | None
    threads: int | None


def predict(
    project: Project,
    region: str,
    grid: Grid,
    dates: Sequence[str],
    model_folder: Path,
    out: Path,
    *,
    mask: Path | None = None,
    existing: Existing = Existing.REFUSE,
    samples: int | None = None,
    steps: int | None = None,
    device: str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    dry_run: bool = False,
) -> Report:
    """Map carbon density, Mg C/ha, for every date.

    Args:
        project: the archive and the style.
        region: name of the region in the archive.
        grid: the region's.
        dates: periods; every image of the archive in one of them is mapped.
        model_folder: what `train` wrote.
        out: folder of the maps, ``REGION_YYYY-MM_carbon_density.tif``.
        mask: forest mask; land that is not forest has no value on the map.
        existing: what to do about maps made otherwise.
        samples: of a network that draws, the draws whose mean is the map; its card's if None.
        steps: of a diffusion's sampler; its card's if None.
        device: that a network computes on; the CPU if None.
        workers: processes of this machine; this one alone if None. No byte depends on it.
        scheduler: address of a dask scheduler whose workers compute, on the disk that all share.
        dry_run: only tell what it would take; nothing is written.

    Raises:
        ModelError: the model does not fit the region's pixels or layers, or what is said of its
            drawing.
        MissingInput: a date has no image, or a layer that the model reads was never ingested.
        ConfigError: the processes cannot be had so.
    """
    cluster.require_possible(workers, scheduler)
    drawn = drawing.drawn(model_folder, project.output.threads, samples, steps, device)
    cluster.require_cpu(workers, drawn.told.get("device", "cpu"))
    learned = drawn.loaded.card["pixel_m"]
    scope.require_grid(project, region, grid)
    if learned != grid.pixel_m:
        raise ModelError(
            f"model {str(model_folder)!r} learned from pixels of {learned:g} m and region "
            f"{region!r} has pixels of {grid.pixel_m:g} m; train one for these"
        )
    check_mask(mask, grid)
    days = scope.image_days(project.archive, region, dates)
    threads = cluster.threads_each(workers, scheduler, project.output.threads)
    run = Run(project, region, grid, drawn, mask, out, existing, None, threads)
    if dry_run:
        return _foreseen(run, days, workers or 1)
    with cluster.processes(workers, scheduler) as client:
        run = dataclasses.replace(run, client=client)
        reports = [_one_map(run, day) for day in days]
    return Report("\n".join(map(str, reports)), {"maps": [r.data for r in reports]})


def _foreseen(run: Run, days: Sequence[str], processes: int) -> Report:
    """What all dates would take, each by itself."""
    lines, told = [], []
    for day in days:
        mark = maps.mark_of(_final(run, day))
        work = Work(mark, output.work_folder(mark), _origin(run, day), {})
        found = forecast(opened(_plan(run, day, work), run.drawn), run.out, processes)
        lines.append(found.text(day))
        told.append({"date": day, **found.to_json()})
    return Report("\n".join(lines), {"forecasts": told})


def _final(run: Run, day: str) -> Path:
    return run.out / f"{run.region}_{day[:7]}_{NAME}.tif"


def _origin(run: Run, day: str) -> Json:
    """Settings and inputs by which a day's maps are known again, once they fit the model."""
    project, loaded = run.project, run.drawn.loaded
    stack, _ = scope.one_image(project.archive, run.region, [day])
    names = scope.require_model_layers(stack, loaded.model.layers)
    _require_scale(stack, loaded.card, day)
    layers = [f"image_{day}" if name == "image" else name for name in names]
    return {
        "stage": "predict",
        "region": region_.region_json(project, run.region, run.grid),
        "date": day,
        "maps": products.names(run.drawn),
        "model": loaded.sha256,
        "mask": files.sha256(run.mask) if run.mask else None,
        "style_range_mg_c_ha": list(project.output.style_range_mg_c_ha),
        "inputs": scope.layer_hashes(project.archive, run.region, layers),
        **run.drawn.origin,
    }


def _one_map(run: Run, day: str) -> Report:
    project, region, drawn, final = run.project, run.region, run.drawn, _final(run, day)
    loaded, origin = drawn.loaded, _origin(run, day)
    with output.claim(maps.mark_of(final), origin, run.existing) as work:
        if work is None:
            held = (files.read_json(maps.mark_of(final)) or {})["report"]
            told = held | {"map": str(final), "state": "up to date"}
            return Report(f"{final} is up to date", told)
        plan = _plan(run, day, work)
        one = opened(plan, drawn)
        written = _tiles(run, one, day)
        if not written[NAME].sums.count:
            raise MissingInput(
                f"{final} would be empty: no pixel of {region!r} on {day} has all that the model "
                f"reads ({', '.join(loaded.model.layers)}) inside mask and boundary"
            )
        made = plan.made
        paths = common.write_maps(run.grid, made, work, written, project.output.threads)
        others = [name for name in made if name != NAME]
        paths += [maps.write_sidecar(made[n], written[n].sums, origin) for n in others]
        boxed = project.find_region(region).is_box
        facts = _facts(made[NAME], written[NAME], drawn, boxed, run.mask)
        facts["tiles"] = common.skipped(run.grid, work)
        facts["others"] = {n: _other(made[n], written[n].sums) for n in others}
        ranges = loaded.card["feature_ranges"]
        facts["outside_learned_range"] = one.job.unlike(ranges)
        facts["warnings"] = applicability.warnings(facts["outside_learned_range"], ranges)
        facts["interval"] = drawn.interval
        facts["warnings"] += _elsewhere(drawn, region, day)
        work.finish(paths, facts)
    return Report(_text(final, facts), facts | {"map": str(final), "state": "written"})


def _plan(run: Run, day: str, work: Work) -> Plan:
    """A day's map as other processes are told of it."""
    boxed = run.project.find_region(run.region).is_box
    made = products.map_files(
        run.project, run.region, run.grid, day, run.out.absolute(), work.origin, run.drawn
    )
    return Plan(
        run.project.archive.absolute(),
        run.region,
        run.grid,
        day,
        None if boxed else region_.outline_of(run.project, run.region),
        run.mask.absolute() if run.mask else None,
        run.drawn.folder.absolute(),
        run.drawn.loaded.sha256,
        run.drawn.told,
        run.drawn.interval,
        release(),
        run.threads,
        dataclasses.replace(work, mark=work.mark.absolute(), folder=work.folder.absolute()),
        made,
    )


def _tiles(run: Run, one: Opened, day: str) -> dict[str, Written]:
    """Compute and write every tile of a day's maps, here or by other processes."""
    plan, drawn, sharing = one.plan, run.drawn, one.sharing
    what, elsewhere = f"mapping {day}", None
    if run.client is not None:
        elsewhere = partial(cluster.elsewhere, run.client, partial(tile_of, plan.sent()))
    if sharing is None:
        common.require_space(plan.work, run.grid, len(plan.made))
        return common.compute_tiles(
            run.grid, plan.made, plan.work, one.job.density, what, drawn.workers, drawn.stop,
            elsewhere,
        )  # fmt: skip
    common.require_space(plan.work, run.grid, len(plan.made), sharing.disk_bytes())
    sharing.compute(what, drawn.workers, drawn.stop, elsewhere)
    return common.compute_tiles(run.grid, plan.made, plan.work, sharing.joined, f"joining {day}")


def _require_scale(stack: xr.Dataset, card: Json, day: str) -> None:
    """Refuse counts where the model learned reflectance, or the other way round.

    Raises:
        ModelError: the image was ingested with another scale or offset.
    """
    learned, found = card["image_scale"], list(scope.image_scale([stack]))
    if learned != found:
        raise ModelError(
            f"the model learned from images with --scale {learned[0]:g} --offset {learned[1]:g}, "
            f"and "
            f"that of {day} was ingested with --scale {found[0]:g} --offset {found[1]:g}; ingest "
            f"it "
            f"with the model's"
        )


def _facts(
    made: MapFile,
    written: common.Written,
    drawn: Drawn,
    boxed: bool,
    mask: Path | None,
) -> Json:
    """What a map amounts to, for its sidecar."""
    loaded = drawn.loaded
    low, high = loaded.card["label_range_mg_c_ha"]
    return maps.sidecar(made, written.sums) | {
        "model_folder": _seen_from(made.final.parent, drawn.folder),
        "model_sha256": loaded.sha256,
        **drawn.told,
        "label_range_mg_c_ha": [low, high],
        "t_c": written.tonnes,
        "area_share": written.sums.count / made.grid.size,
        "note": ("total of a box, not of a boundary" if boxed else "total inside the boundary")
        + (", forest only" if mask else ", all land: give --mask for the forest alone"),
    }


def _other(made: MapFile, sums: Sums) -> Json:
    """A map that goes with the densities, in short."""
    return {"map": made.final.name, "mean_mg_c_ha": sums.total / sums.count}


def _seen_from(folder: Path, model_folder: Path) -> str:
    """Where the model is as seen from the map, so that a project can be moved."""
    try:
        return Path(os.path.relpath(model_folder.absolute(), folder.absolute())).as_posix()
    except ValueError:  # on another drive of Windows
        return str(model_folder.absolute())


def _text(final: Path, facts: Json) -> str:
    valid, highest = facts["valid_pixels"], facts["label_range_mg_c_ha"][1]
    warnings = list(facts["warnings"])
    if valid["max"] > BEYOND * highest:
        warnings.append(
            f"the densest label that the model learned is {highest:.1f} Mg C/ha; what lies far "
            f"above it is extrapolated"
        )
    lines = [
        f"{final}: {valid['count']:,} pixels ({facts['area_share']:.1%} of the region's grid), "
        f"{valid['min']:.1f} to {valid['max']:.1f} Mg C/ha, {facts['t_c']:,.0f} t C "
        f"({facts['note']}; {drawing.estimate(facts)}, without an interval)",
        *_skipped(facts["tiles"]),
        *products.lines(facts),
        *(f"warning: {warning}" for warning in warnings),
    ]
    return "\n  ".join(lines)


def _elsewhere(drawn: Drawn, region: str, day: str) -> list[str]:
    """A warning where an interval was found on other land or another day than is mapped."""
    held = drawn.interval
    if held is None or (held["region"] == region and day in held["dates"]):
        return []
    return [
        f"the interval was found on {held['region']}, {', '.join(held['dates'])}; here it may hold "
        f"less than it did there"
    ]


def _skipped(told: Json) -> list[str]:
    if not told["skipped"]:
        return []
    return [
        f"{told['skipped']:,} of {told['all']:,} tiles skipped: outside the boundary, without "
        f"forest, or without data"
    ]
