"""Windows of rasters that lie on the project's lattice already."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from carbonmap import crs as crs_
from carbonmap.errors import GridMismatch
from carbonmap.grid import Grid
from carbonmap.io.raster import open_geotiff
from carbonmap.types import Raster


def read_on_grid(path: Path, grid: Grid, what: str = "raster", band: int = 1) -> Raster:
    """A window of a raster that already lies on the grid's lattice; NaN beyond its edges.

    Raises:
        GridMismatch: it lies on another lattice.
    """
    with open_geotiff(path, what) as source:
        return read_window(source, _own_grid(source, path, grid, what), grid, band)


def pixels_outside(path: Path, grid: Grid, what: str = "raster") -> int:
    """How many of the grid's pixels a raster of its lattice does not reach.

    Raises:
        GridMismatch: it lies on another lattice.
    """
    with open_geotiff(path, what) as source:
        common = _own_grid(source, path, grid, what).intersection(grid)
    return grid.size - (common.size if common else 0)


def _own_grid(source: rasterio.DatasetReader, path: Path, grid: Grid, what: str) -> Grid:
    own = lattice_grid(source, grid)
    if own is None:
        todo = "give one that was made for this region"
        raise GridMismatch(f"{what} {str(path)!r}", got=_where(source), want=grid, todo=todo)
    return own


def lattice_grid(source: rasterio.DatasetReader, lattice: Grid) -> Grid | None:
    """The grid of an opened raster in whole numbers of another's lattice, or None."""
    t = source.transform
    if source.crs is None or not crs_.same(source.crs.to_wkt(), lattice.crs):
        return None
    col = (t.c - lattice.anchor[0]) / lattice.pixel_m
    row = (lattice.anchor[1] - t.f) / lattice.pixel_m
    off = max(abs(col - round(col)), abs(row - round(row)), abs(t.a / lattice.pixel_m - 1))
    if off > 1e-4 or t.b or t.d:  # a ten-thousandth of a pixel: rounding in the file's transform
        return None
    return Grid(
        lattice.crs,
        lattice.pixel_m,
        round(row),
        round(col),
        source.height,
        source.width,
        lattice.anchor,
    )


def read_window(source: rasterio.DatasetReader, own: Grid, grid: Grid, band: int = 1) -> Raster:
    """The grid's pixels from an opened raster of the same lattice, NaN where it has none."""
    out = np.full(
        grid.shape, np.nan, dtype=np.float32 if source.dtypes[0] == "float32" else np.float64
    )
    common = own.intersection(grid)
    if common is not None:
        rows, cols = own.roi_of(common)
        window = Window.from_slices(rows, cols, height=own.height, width=own.width)
        data = source.read(band, window=window, masked=True)
        out[grid.roi_of(common)] = data.astype(out.dtype).filled(np.nan)
    return out


def _where(source: rasterio.DatasetReader) -> str:
    name = crs_.canonical(source.crs.to_wkt()) if source.crs else "no CRS"
    size = f"{source.height}×{source.width} px of {source.res[0]:g} m"
    return f"{size} in {name} at {tuple(source.bounds)}"
