"""The forest mask, from thresholds or from a class raster that a user holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from carbonmap import masks
from carbonmap.errors import InputError, MissingInput
from carbonmap.grid import Grid
from carbonmap.io import cog, files, lattice, maps, mosaic, output, raster
from carbonmap.io.cog import Sums
from carbonmap.io.maps import MapFile
from carbonmap.io.output import Existing
from carbonmap.io.raster import Source
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

Compute = Callable[[Tile], Ints]


def threshold_mask(
    archive: Path,
    region: str,
    dates: Sequence[str],
    settings: Threshold,
    out: Path,
    *,
    existing: Existing = Existing.REFUSE,
) -> Report:
    """Forest where canopy height and greenness pass their bounds.

    Args:
        archive: holds canopy height and the image.
        region: its name there.
        dates: one period that selects one image.
        settings: the bounds.
        out: the mask, ``.tif``.
        existing: what to do about a mask made otherwise.
    """
    stack, day = scope.one_image(archive, region, dates)
    scope.require_layers(stack, ("canopy_height",))
    image = stack["image"].isel(time=0)

    def compute(tile: Tile) -> Ints:
        part = image.isel(y=tile.roi[0], x=tile.roi[1])
        red, nir = (part.sel(band=b).values for b in ("red", "nir"))
        height = stack["canopy_height"].isel(y=tile.roi[0], x=tile.roi[1]).values
        return masks.threshold_mask(height, masks.ndvi(red, nir), settings)

    origin: Json = {
        "stage": "mask",
        "method": "threshold",
        "min_height_m": settings.min_height_m,
        "min_ndvi": settings.min_ndvi,
        "inputs": scope.layer_hashes(archive, region, ("canopy_height", f"image_{day}")),
    }
    return _write(stack_grid(archive, region), out, origin, lambda _: compute, existing)


def layer_mask(
    grid: Grid,
    sources: Sequence[Source],
    forest_classes: Sequence[int],
    out: Path,
    *,
    existing: Existing = Existing.REFUSE,
) -> Report:
    """Forest where a class raster holds one of the given classes.

    Args:
        grid: the region's.
        sources: the class raster's files.
        forest_classes: its codes that mean forest, such as 41, 42, 43 of NLCD.
        out: the mask, ``.tif``.
        existing: what to do about a mask made otherwise.
    """
    if not forest_classes:
        raise InputError("no forest class was named; give --forest-classes, such as 41,42,43")
    for source in sources:
        raster.check_source(source)
    origin: Json = {
        "stage": "mask",
        "method": "layer",
        "forest_classes": sorted(forest_classes),
        "grid": grid.to_json(),
        "inputs": [{"name": s.path.name, "sha256": files.sha256(s.path)} for s in sources],
    }
    finer = raster.pick_resampling(sources[0], grid) == "average"

    def prepare(folder: Path) -> Compute:
        plan = mosaic.join(sources, grid, folder, "mode" if finer else "nearest")
        return lambda tile: masks.class_mask(plan.read(tile.grid), forest_classes)

    return _write(grid, out, origin, prepare, existing)


def _write(
    grid: Grid, out: Path, origin: Json, prepare: Callable[[Path], Compute], existing: Existing
) -> Report:
    if out.suffix.lower() != ".tif":
        raise InputError(f"the mask's name {str(out)!r} must end in .tif, such as forest.tif")
    made = {"forest": MapFile(out, grid, LAYER, common.provenance(origin))}
    with output.claim(maps.mark_of(out), origin, existing) as work:
        if work is None:
            return Report(f"{out} is up to date", {"map": str(out), "state": "up to date"})
        common.require_space(out, grid, 1)
        compute = prepare(work.folder)
        written = common.compute_tiles(grid, made, work, lambda t: {"forest": compute(t)}, "mask")
        sums = written["forest"].sums
        share = _forest_share(sums)
        products = common.write_maps(grid, made, work, written, None)
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
    """Refuse a ``--mask`` that is unfinished, no mask, or on another grid.

    Raises:
        InputError: its band is not a forest mask.
        GridMismatch: it lies on another lattice.
    """
    if path is None:
        return
    maps.require_whole(path)
    head = maps.describe(path)
    if head["name"] != LAYER.name:
        raise InputError(
            f"--mask {str(path)!r} holds {head['name']!r}, not a forest mask; make one with "
            f"`carbonmap mask --method layer --layer {path} --forest-classes …`"
        )
    lattice.read_on_grid(path, grid[:1, :1], "--mask")


def read_forest(path: Path | None, grid: Grid) -> Bool | None:
    """Where a mask says forest on a tile; None where there is no mask."""
    return None if path is None else masks.is_forest(lattice.read_on_grid(path, grid, "--mask"))
