"""Prediction: a trained model over a region, block by block, one map a date."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import shapely
import xarray as xr

from carbonmap import applicability
from carbonmap.checkpoint import Checkpoint
from carbonmap.coverage import polygon_coverage
from carbonmap.errors import MissingInput, ModelError
from carbonmap.features import FeatureSpec, features_at, valid_pixels
from carbonmap.grid import Grid
from carbonmap.io import files, maps, output
from carbonmap.io.cog import Sums
from carbonmap.io.maps import MapFile
from carbonmap.io.output import Existing, Work
from carbonmap.models.protocol import Windowed
from carbonmap.project import Project
from carbonmap.stages import common, drawing, products, scope
from carbonmap.stages import region as region_
from carbonmap.stages.common import Report, Written
from carbonmap.stages.drawing import Drawn
from carbonmap.stages.mask import check_mask, read_forest
from carbonmap.stages.products import NAME
from carbonmap.stages.sharing import Asked, Sharing
from carbonmap.tiles import Tile
from carbonmap.types import Bool, Json, Raster

IN_BOUNDARY = 0.5
"""Least share of a pixel inside the region's boundary for it to be on the map: the neighbour's map
takes the other half."""


BEYOND = 1.25
"""A map's largest value over the labels' from which its reader is warned."""

SAMPLE_PX = 64
"""Edge of the windows by which land is compared with what the model learned."""

SAMPLES = 8
"""Such windows along each side of the region."""


@dataclass(frozen=True)
class Job:
    """What every tile of one map needs.

    Args:
        stack: the region's layers with the one image.
        grid: the region's.
        loaded: the model.
        mask: forest mask, or None.
        outline: the region's boundary, or None where it is a box.
    """

    stack: xr.Dataset
    grid: Grid
    loaded: Checkpoint
    mask: Path | None
    outline: shapely.Geometry | None

    def density(self, tile: Tile) -> dict[str, Raster] | None:
        """Mg C/ha of a tile, by a model that has no windows; None where the map has no data."""
        if (asked := self.asked(tile)) is None:
            return None
        found = self.loaded.model.predict(asked[0], tile.grid)
        out = np.where(asked[1], found, np.float32(np.nan))
        return {NAME: out} if np.isfinite(out).any() else None

    def asked(self, tile: Tile, reach: int = 0) -> Asked | None:
        """A tile's layers, and the pixels of it and `reach` around it that the map is meant for."""
        area = tile.grid.padded(reach)
        held = area.intersection(self.grid)
        assert held is not None  # a tile lies in its region
        wanted = np.zeros(area.shape, dtype=bool)
        wanted[area.roi_of(held)] = self._wanted(held)
        if not wanted.any():
            return None
        model = self.loaded.model
        layers = scope.read_layers(self.stack, self.grid, tile.grid, model.layers, model.halo)
        return layers, wanted

    def unlike(self, ranges: applicability.Ranges) -> dict[str, float]:
        """Share of pixels, in windows all over the region, beyond what the model learned."""
        learned = FeatureSpec.from_json(self.loaded.card["features"])
        spec = dataclasses.replace(learned, radii=())  # pixels alone, so that windows cost little
        found = []
        for rows, cols in itertools.product(_spots(self.grid.height), _spots(self.grid.width)):
            part = self.grid[rows, cols]
            layers = scope.read_layers(self.stack, self.grid, part, spec.layers, spec.halo)
            known = self._wanted(part) & valid_pixels(layers, spec)
            found.append(features_at(layers, spec, self.grid.pixel_m, known))
        seen = np.concatenate(found)
        return applicability.outside(seen, ranges) if len(seen) else {}

    def _wanted(self, part: Grid) -> Bool:
        """Pixels that the map is meant for."""
        wanted = np.ones(part.shape, dtype=bool)
        if self.outline is not None:
            cover = polygon_coverage(np.array([self.outline], dtype=object), part)
            share = np.bincount(cover.cell, cover.fraction, part.size)
            wanted = share.reshape(part.shape) >= IN_BOUNDARY
        forest = read_forest(self.mask, part)
        return wanted if forest is None else wanted & forest


def _spots(length: int) -> list[slice]:
    """Windows along one side of a region: in the middle of equal parts of it."""
    count = min(SAMPLES, math.ceil(length / SAMPLE_PX))
    starts = (max(0, (2 * k + 1) * length // (2 * count) - SAMPLE_PX // 2) for k in range(count))
    return [slice(start, min(start + SAMPLE_PX, length)) for start in starts]


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

    Raises:
        ModelError: the model does not fit the region's pixels or layers, or what is said of its
            drawing.
        MissingInput: a date has no image, or a layer that the model reads was never ingested.
    """
    drawn = drawing.drawn(model_folder, project.output.threads, samples, steps, device)
    loaded = drawn.loaded
    scope.require_grid(project, region, grid)
    if loaded.card["pixel_m"] != grid.pixel_m:
        raise ModelError(
            f"model {str(model_folder)!r} learned from pixels of {loaded.card['pixel_m']:g} m and "
            f"region {region!r} has pixels of {grid.pixel_m:g} m; train one for these"
        )
    check_mask(mask, grid)
    reports = [
        _one_map(project, region, grid, day, drawn, out, mask, existing)
        for day in scope.image_days(project.archive, region, dates)
    ]
    return Report("\n".join(map(str, reports)), {"maps": [r.data for r in reports]})


def _one_map(
    project: Project,
    region: str,
    grid: Grid,
    day: str,
    drawn: Drawn,
    out: Path,
    mask: Path | None,
    existing: Existing,
) -> Report:
    loaded = drawn.loaded
    final = out / f"{region}_{day[:7]}_{NAME}.tif"
    stack, _ = scope.one_image(project.archive, region, [day])
    names = scope.require_model_layers(stack, loaded.model.layers)
    _require_scale(stack, loaded.card, day)
    origin: Json = {
        "stage": "predict",
        "region": region_.region_json(project, region, grid),
        "date": day,
        "maps": products.names(drawn),
        "model": loaded.sha256,
        "mask": files.sha256(mask) if mask else None,
        "style_range_mg_c_ha": list(project.output.style_range_mg_c_ha),
        "inputs": scope.layer_hashes(
            project.archive, region, [f"image_{day}" if n == "image" else n for n in names]
        ),
        **drawn.origin,
    }
    with output.claim(maps.mark_of(final), origin, existing) as work:
        if work is None:
            return Report(f"{final} is up to date", {"map": str(final), "state": "up to date"})
        boxed = project.find_region(region).is_box
        outline = None if boxed else region_.outline_of(project, region)
        job = Job(stack, grid, loaded, mask, outline)
        made = products.map_files(project, region, grid, day, out, origin, drawn)
        written = _tiles(job, work, made, drawn, day)
        if not written[NAME].sums.count:
            raise MissingInput(
                f"{final} would be empty: no pixel of {region!r} on {day} has all that the model "
                f"reads ({', '.join(loaded.model.layers)}) inside mask and boundary"
            )
        paths = common.write_maps(grid, made, work, written, project.output.threads)
        others = [name for name in made if name != NAME]
        paths += [maps.write_sidecar(made[n], written[n].sums, origin) for n in others]
        facts = _facts(made[NAME], written[NAME], drawn, boxed, mask)
        facts["others"] = {n: _other(made[n], written[n].sums) for n in others}
        ranges = loaded.card["feature_ranges"]
        facts["outside_learned_range"] = job.unlike(ranges)
        facts["warnings"] = applicability.warnings(facts["outside_learned_range"], ranges)
        work.finish(paths, facts)
    return Report(_text(final, facts), {"state": "written", "map": str(final), **facts})


def _tiles(
    job: Job, work: Work, made: Mapping[str, MapFile], drawn: Drawn, day: str
) -> dict[str, Written]:
    """Compute and write every tile of the maps, as the model has windows or none."""
    model, what = job.loaded.model, f"mapping {day}"
    if not isinstance(model, Windowed):
        common.require_space(work, job.grid, len(made))
        return common.compute_tiles(
            job.grid, made, work, job.density, what, drawn.workers, drawn.stop
        )
    told = partial(products.summarise, drawn)
    sharing = Sharing(job.grid, work, model, drawn.samples, list(made), job.asked, told)
    common.require_space(work, job.grid, len(made), sharing.bytes())
    sharing.compute(what, drawn.workers, drawn.stop)
    return common.compute_tiles(job.grid, made, work, sharing.joined, f"joining {day}")


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
        *products.lines(facts),
        *(f"warning: {warning}" for warning in warnings),
    ]
    return "\n  ".join(lines)
