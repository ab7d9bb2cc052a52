"""The forest mask, from thresholds or from a class raster that a user holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from carbonmap import masks
from carbonmap.errors import InputError, MissingInput
from carbonmap.grid import Grid
from carbonmap.io import cog, files, lattice, maps, mosaic, output, raster
from carbonmap.io.cog import Sums
from carbonmap.io.maps import MapFile
from carbonmap.io.output import Existing
from carbonmap.io.raster import ByResolution, Source
from carbonmap.io.style import MASK_COLOURS
from carbonmap.lazy import stack_grid
from carbonmap.masks import Threshold
from carbonmap.stages import common, scope
from carbonmap.stages.common import Report
from carbonmap.tiles import Tile
from carbonmap.types import Bool, Ints, Json

LAYER = cog.Layer(
    "forest",
    "forest mask: 255 forest, 0 other land",
    "1",
    "uint8",
    masks.UNKNOWN,
    "MODE",
    MASK_COLOURS,
)

NDVI_BANDS = ("red", "nir")

CLASSES = ByResolution("mode", "nearest", 1.0)
"""Of classes there is no mean: the most frequent of several in a pixel, else the nearest one."""

CODES_SHOWN = 20
"""Class codes that a message lists."""

Compute = Callable[[Tile], Ints]


def threshold_mask(
    archive: Path,
    region: str,
    dates: Sequence[str],
    settings: Threshold,
    out: Path,
    *,
    existing: Existing = Existing.REFUSE,
    threads: int | None = None,
) -> Report:
    """Forest where canopy height and greenness pass their bounds.

    Args:
        archive: holds canopy height and the image.
        region: its name there.
        dates: one period that selects one image.
        settings: the bounds.
        out: the mask, ``.tif``.
        existing: what to do about a mask made otherwise.
        threads: for tiles and compression; None takes every core.

    Raises:
        MissingInput: no image, or several; or no canopy height, or a band that NDVI needs.
    """
    stack, day = scope.one_image(archive, region, dates)
    scope.require_layers(stack, ("canopy_height",))
    lost = [band for band in NDVI_BANDS if band not in stack["band"].values]
    if lost:
        raise MissingInput(
            f"the image of {day} has no band {' and no '.join(lost)}, which NDVI needs; ingest it "
            f"with both, or name the image of another --dates"
        )
    image = stack["image"].isel(time=0)

    def compute(tile: Tile) -> Ints:
        part = image.isel(y=tile.roi[0], x=tile.roi[1])
        red, nir = (part.sel(band=b).values for b in NDVI_BANDS)
        height = stack["canopy_height"].isel(y=tile.roi[0], x=tile.roi[1]).values
        return masks.threshold_mask(height, masks.ndvi(red, nir), settings)

    origin: Json = {
        "stage": "mask",
        "method": "threshold",
        "min_height_m": settings.min_height_m,
        "min_ndvi": settings.min_ndvi,
        "inputs": scope.layer_hashes(archive, region, ("canopy_height", f"image_{day}")),
    }
    grid = stack_grid(archive, region)

    def hint() -> str:
        return "see --min-height, --min-ndvi and the units of both layers"

    return _write(grid, out, origin, lambda _: compute, hint, existing, threads)


def layer_mask(
    grid: Grid,
    sources: Sequence[Source],
    forest_classes: Sequence[int],
    out: Path,
    *,
    existing: Existing = Existing.REFUSE,
    threads: int | None = None,
) -> Report:
    """Forest where a class raster holds one of the given classes.

    Args:
        grid: the region's.
        sources: the class raster's files.
        forest_classes: its codes that mean forest, such as 41, 42, 43 of NLCD.
        out: the mask, ``.tif``.
        existing: what to do about a mask made otherwise.
        threads: for tiles and compression; None takes every core.

    Raises:
        InputError: no raster or no class was named, or a raster cannot be read.
    """
    if not sources:
        raise InputError("no class raster was named; give --layer, such as landcover.tif")
    if not forest_classes:
        raise InputError("no forest class was named; give --forest-classes, such as 41,42,43")
    for source in sources:
        raster.check_source(source)
    origin: Json = {
        "stage": "mask",
        "method": "layer",
        "forest_classes": sorted(forest_classes),
        "grid": grid.to_json(),
        "inputs": [raster.describe_source(s) for s in sources],
    }

    found: set[float] = set()

    def prepare(folder: Path) -> Compute:
        plan = mosaic.join(sources, grid, folder, CLASSES)

        def compute(tile: Tile) -> Ints:
            classes = plan.read(tile.grid)
            if len(found) < CODES_SHOWN:
                found.update(np.unique(classes[np.isfinite(classes)]).tolist())
            return masks.class_mask(classes, forest_classes)

        return compute

    def hint() -> str:
        seen = ", ".join(f"{code:g}" for code in sorted(found)[:CODES_SHOWN])
        return f"the raster holds the codes {seen}; see --forest-classes"

    return _write(grid, out, origin, prepare, hint, existing, threads)


def _write(
    grid: Grid,
    out: Path,
    origin: Json,
    prepare: Callable[[Path], Compute],
    hint: Callable[[], str],
    existing: Existing,
    threads: int | None,
) -> Report:
    if out.suffix.lower() != ".tif":
        raise InputError(f"the mask's name {str(out)!r} must end in .tif, such as forest.tif")
    made = {"forest": MapFile(out, grid, LAYER, common.provenance(origin))}
    with output.claim(maps.mark_of(out), origin, existing) as work:
        if work is None:
            return Report(f"{out} is up to date", {"map": str(out), "state": "up to date"})
        common.require_space(work, grid, 1)
        compute = prepare(work.folder)
        workers = min(common.WORKERS, threads or common.WORKERS)
        written = common.compute_tiles(
            grid, made, work, lambda t: {"forest": compute(t)}, "mask", workers
        )
        sums = written["forest"].sums
        share = _forest_share(sums)
        if not share:
            raise InputError(f"{out} would hold no forest at all: {hint()}")
        products = common.write_maps(grid, made, work, written, threads)
        work.finish(products, maps.sidecar(made["forest"], sums) | {"forest_share": share})
    return Report(
        f"{out}: forest on {share:.1%} of {sums.count:,} known pixels",
        {"map": str(out), "state": "written", "forest_share": share},
    )


def _forest_share(sums: Sums) -> float:
    if not sums.count:
        raise MissingInput("the mask's inputs hold no data in the region; ingest them first")
    return sums.total / masks.FOREST / sums.count


def check_mask(path: Path | None, grid: Grid) -> None:
    """Refuse a ``--mask`` that is unfinished, no mask, on another lattice, or short of the grid.

    Raises:
        InputError: its band is not a forest mask, or it does not reach over the whole grid: what
            lies beyond its edges would pass for land without forest.
        GridMismatch: it lies on another lattice.
    """
    if path is None:
        return
    head = maps.describe(files.existing(path, "--mask"))
    if head["name"] != LAYER.name:
        raise InputError(
            f"--mask {str(path)!r} holds {head['name']!r}, not a forest mask; make one with "
            f"`carbonmap mask --method layer --layer {path} --forest-classes …`"
        )
    maps.require_whole(path)
    missing = lattice.pixels_outside(path, grid, "--mask")
    if missing:
        raise InputError(
            f"--mask {str(path)!r} lacks {missing:,} of the region's {grid.size:,} pixels "
            f"({missing / grid.size:.1%}); make one of the whole region with `carbonmap mask`"
        )


def read_forest(path: Path | None, grid: Grid) -> Bool | None:
    """Where a mask says forest on a tile; None where there is no mask."""
    return None if path is None else masks.is_forest(lattice.read_on_grid(path, grid, "--mask"))
