"""One band onto the grid, the same to the last bit however the grid is cut into tiles."""

from __future__ import annotations

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from carbonmap.grid import Grid
from carbonmap.io.raster import environment
from carbonmap.types import Raster

EXACT = 1e-12
"""Source pixels by which a transformed point may be off: below rounding, so GDAL's approximation is
never accepted and each point is transformed itself. Zero, the honest way to
say so, crashes GDAL 3.10."""


def warp(opened: rasterio.DatasetReader, grid: Grid, resampling: str) -> Raster:
    """A source's only band on the grid, NaN where it has nothing, float32 ``(row, col)``.

    Values are physical ones, stored × scale + offset by the band's own tags. Every pixel's value
    depends on the source and that pixel alone, to the last bit, because the kernel's scale is fixed
    and the transformation is exact at every pixel; GDAL's defaults estimate both per chunk
    (ENGINEERING 4), and ``rasterio.warp.reproject`` before 1.5 cannot be told not to.

    Args:
        opened: the source, NaN where nothing was measured.
        grid: where to.
        resampling: GDAL's name of the method.
    """
    with (
        environment(),
        WarpedVRT(
            opened,
            crs=grid.crs,
            transform=grid.transform,
            height=grid.height,
            width=grid.width,
            resampling=Resampling[resampling],
            src_nodata=np.nan,
            nodata=np.nan,
            dtype="float32",
            tolerance=EXACT,
            XSCALE=1,
            YSCALE=1,
        ) as warped,
    ):
        data: Raster = warped.read(1)
    scale, offset = opened.scales[0], opened.offsets[0]
    if (scale, offset) != (1.0, 0.0):
        data = (data.astype(np.float64) * scale + offset).astype(np.float32)
    return data
