"""Heights of the land over the ellipsoid, which is what a rational polynomial camera wants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from carbonmap.errors import GridMismatch, InputError, MissingInput
from carbonmap.grid import Grid
from carbonmap.io import files, raster, store, warp
from carbonmap.io.store import WholeArray
from carbonmap.stages.gf1.options import SceneOptions
from carbonmap.types import Json, Raster

UNDULATION_M = (-110.0, 90.0)
"""The geoid lies from 106 m below the ellipsoid (south of India) to 85 m above (New Guinea)."""


@dataclass(frozen=True)
class Heights:
    """The land's heights on a region's grid.

    Args:
        region: the grid of all of it.
        elevation: the archive's DEM on that grid; None for flat land.
        flat_m: the height of flat land over the ellipsoid.
        geoid: raster of the geoid's height over the ellipsoid, m; None where the DEM needs none.
        told: where the heights are from, for the report.
    """

    region: Grid
    elevation: WholeArray | None
    flat_m: float
    geoid: Path | None
    told: str

    def elevations(self, grid: Grid) -> Raster:
        """As the DEM has them, m, float32, on any part of the lattice; NaN beyond the region."""
        out = np.full(grid.shape, np.nan, dtype=np.float32)
        held = grid.intersection(self.region)
        if held is not None:
            given = self.flat_m
            if self.elevation is not None:
                given = self.elevation[self.region.roi_of(held)]
            out[grid.roi_of(held)] = given
        return out

    def over_ellipsoid(self, grid: Grid) -> Raster:
        """Over the ellipsoid, m; beyond the region, where no pixel is wanted, its rim's go on.

        Raises:
            InputError: the geoid's file does not reach here.
        """
        held = grid.intersection(self.region)
        assert held is not None  # asked for around a part of the region
        heights = self.elevations(held)
        if self.geoid is not None:
            heights = heights + self._undulation(held)
        rows, cols = grid.roi_of(held)
        around = (
            (rows.start, grid.height - rows.stop),
            (cols.start, grid.width - cols.stop),
        )
        return np.pad(heights, around, mode="edge")

    def _undulation(self, grid: Grid) -> Raster:
        assert self.geoid is not None
        with raster.open_geotiff(self.geoid, "geoid") as opened:
            found = warp.warp(opened, grid, "bilinear")
        if not np.isfinite(found).all():
            raise InputError(
                f"geoid {str(self.geoid)!r} does not cover {grid.wgs84_bounds} (degrees); give one "
                f"that covers the region"
            )
        low, high = float(found.min()), float(found.max())
        if low < UNDULATION_M[0] or high > UNDULATION_M[1]:
            raise InputError(
                f"geoid {str(self.geoid)!r} runs from {low:g} to {high:g} m here, and the geoid "
                f"lies within {UNDULATION_M} of the ellipsoid; is it a DEM?"
            )
        return found

    def to_json(self) -> Json:
        """As output remembers them."""
        mark = None if self.elevation is None else self.elevation.path.parent / "layer.json"
        return {
            "dem": None if mark is None else files.sha256(mark),
            "flat_m": None if mark else self.flat_m,
        }


def heights_of(archive: Path, region: str, grid: Grid, options: SceneOptions) -> Heights:
    """The region's heights as the options have them.

    Raises:
        MissingInput: there is no DEM, and no flat height was named.
        InputError: nobody says what the DEM is measured from, or it is the geoid and no geoid's
            height is given.
        GridMismatch: the DEM lies on another grid.
    """
    if options.flat_height_m is not None:
        told = f"flat land at {options.flat_height_m:g} m over the ellipsoid"
        return Heights(grid, None, options.flat_height_m, None, told)
    found = [(p, i) for p, i in store.layers(archive, region) if i.kind == "elevation"]
    if not found:
        raise MissingInput(
            f"region {region!r} has no elevation in the archive, without which land at 2,000 m is "
            f"placed up to a kilometre off; run `carbonmap ingest dem FILE…` first, or give "
            f"--flat-height M where the land is level"
        )
    path, info = found[0]
    if info.grid != grid:
        raise GridMismatch(f"elevation of {region!r}", got=info.grid, want=grid)
    array = store.open_array(path / "data.zarr", info.kind)
    datum = info.vertical or options.heights
    if options.heights and info.vertical and options.heights != info.vertical:
        raise InputError(
            f"the elevation of {region!r} was ingested as heights over the {info.vertical}, and "
            f"--heights says {options.heights}; leave it out, or ingest the DEM anew"
        )
    if datum is None:
        raise InputError(
            f"nobody says what the elevation of {region!r} is measured from, and a camera wants "
            f"heights over the ellipsoid, tens of metres away from sea level; give --heights "
            f"ellipsoid (such as ASF's ALOS RTC DEMs) or --heights geoid with --geoid FILE (SRTM, "
            f"ASTER, national DEMs)"
        )
    if datum == "geoid" and options.geoid is None:
        raise InputError(
            f"the elevation of {region!r} is over the geoid and a camera wants heights over the "
            f"ellipsoid; give --geoid FILE, a GeoTIFF of the geoid's height such as PROJ's "
            f"us_nga_egm96_15.tif"
        )
    if datum == "ellipsoid" and options.geoid is not None:
        raise InputError(
            f"the elevation of {region!r} is over the ellipsoid already; leave --geoid out"
        )
    return Heights(grid, array, np.nan, options.geoid, f"DEM over the {datum}")
