"""A simulated county on the disk, as a bureau would hold it, with its true carbon beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from carbonmap import config, landscape
from carbonmap.grid import Grid
from carbonmap.io import output, vector
from carbonmap.io.cog import Layer
from carbonmap.io.maps import DENSITY_UNITS, MapFile
from carbonmap.io.output import Existing
from carbonmap.landscape import BANDS, County
from carbonmap.stages import common
from carbonmap.stages.common import Report
from carbonmap.stages.simulate_gf1 import Scenes, simulate_gf1
from carbonmap.tiles import Tile
from carbonmap.types import Floats, Json

MARK = "county.json"

INVENTORY = "inventory.shp"

SCALE = 1e-4
"""Reflectance of one count, as surface-reflectance products store it."""

PROFILE = "stock-expansion"
"""The carbon profile that is true in a county."""

NODATA = 65535
"""Counts under cloud and shadow."""

STATIC = {
    "dem": Layer("elevation", "elevation", "m"),
    "canopy_height": Layer("canopy_height", "canopy height", "m"),
    "truth": Layer("carbon_density", "true carbon density, all pools", DENSITY_UNITS),
}


def simulate(
    folder: Path,
    grid: Grid,
    county: County,
    scenes: Scenes | None = None,
    *,
    existing: Existing = Existing.REFUSE,
) -> Report:
    """Write a county: images, DEM, canopy height, GBK inventory and the truth.

    Args:
        folder: where; ``image_YYYY-MM-DD_BAND.tif`` (counts of reflectance × 10,000, 65535 under
            cloud and shadow), ``dem.tif`` (heights over the ellipsoid), ``canopy_height.tif``,
            ``inventory.shp``, ``truth.tif``.
        grid: the land.
        county: the settings that everything follows from.
        scenes: the GF-1 products to take of it besides, into ``gf1/``.
        existing: what to do about a county of other settings.

    Raises:
        ConfigError: the county has no image of a month that products are wanted of; nothing was
            drawn then.
    """
    for month in scenes.months if scenes else ():
        county.season(month)
    report = _county(folder, grid, county, existing)
    if scenes is None:
        return report
    taken = simulate_gf1(folder / "gf1", grid, county, scenes, existing=existing)
    return Report(f"{report}\n{taken}", report.data | {"gf1": taken.data})


def _county(folder: Path, grid: Grid, county: County, existing: Existing) -> Report:
    """The county itself."""
    origin: Json = {
        "stage": "simulate",
        "grid": grid.to_json(),
        "county": dataclasses.asdict(county),
    }
    made = _files(folder, grid, county)
    with output.claim(folder / MARK, origin, existing) as work:
        if work is None:
            return Report(f"{folder} is up to date", {"county": str(folder), "state": "up to date"})
        common.require_space(work, grid, len(made))
        written = common.compute_tiles(
            grid, made, work, lambda tile: _tile(tile, county), "drawing the county"
        )
        products = common.write_maps(grid, made, work, written, None)
        stands = landscape.stands(grid, county)
        frame = vector.frame(stands.columns(), stands.geometry, grid.crs)
        products += vector.write_shapefile(frame, folder / INVENTORY, "GBK")
        facts: Json = {
            "county": str(folder),
            "grid": grid.to_json(),
            "stands": len(stands),
            "true_t_c": written["truth"].tonnes,
        }
        work.finish(products, facts)
    text = f"{folder}: {grid}, {len(stands):,} stands, {written['truth'].tonnes:,.0f} t C in truth"
    return Report(text, facts)


def _files(folder: Path, grid: Grid, county: County) -> dict[str, MapFile]:
    """Every raster of the county by name."""
    tags = {"CARBONMAP_SIMULATED": "yes"}
    found = {
        name: MapFile(folder / f"{name}.tif", grid, layer, tags, catalogued=False)
        for name, layer in STATIC.items()
    }
    pools = ", ".join(config.builtin("profiles")[PROFILE]["pools"])
    found["truth"] = dataclasses.replace(found["truth"], tags=tags | {"CARBONMAP_POOLS": pools})
    for season in county.seasons:
        for band in BANDS:
            name = f"image_{season.date}_{band}"
            layer = Layer(band, f"surface reflectance x 10000, {band}", "1", "uint16", NODATA)
            found[name] = MapFile(
                folder / f"{name}.tif", grid, layer, tags, season.date, catalogued=False
            )
    return found


def _tile(tile: Tile, county: County) -> Mapping[str, Floats]:
    """Every raster's part in one tile."""
    grid = tile.grid
    drawn: dict[str, Floats] = {
        "dem": landscape.elevation(grid, county),
        "canopy_height": landscape.canopy_height(grid, county),
        "truth": landscape.carbon_density(grid, county),
    }
    for season in county.seasons:
        hidden = landscape.clouds(grid, county, season.month)
        hidden |= landscape.shadows(grid, county, season.month)
        for band, values in landscape.image(grid, county, season.month).items():
            counts = np.where(hidden, NODATA, np.round(values / SCALE))
            drawn[f"image_{season.date}_{band}"] = counts
    return drawn
