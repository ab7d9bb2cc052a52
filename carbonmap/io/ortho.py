"""A raw scene onto the grid: rational polynomial camera, heights, and the lines that were lost.

Every block is warped by itself from the window of the image that it needs. A pixel's value depends
on the image, the camera and the height of that pixel alone, so the cut into blocks, their order and
the number of threads change nothing.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile
from rasterio.rpc import RPC
from rasterio.warp import reproject
from rasterio.windows import Window
from scipy.ndimage import maximum_filter

from carbonmap import crs as crs_
from carbonmap.grid import Grid
from carbonmap.io.raster import environment, open_handle, reading
from carbonmap.io.warp import EXACT
from carbonmap.quality import NOT_MEASURED, Quality, QualityBits, has
from carbonmap.radiometry import Counts, count_quality
from carbonmap.rpc import Rpc
from carbonmap.types import Bool, Floats, Raster

KERNEL_PX = 2
"""Image pixels that the cubic kernel reaches on each side of the nearest one."""

MARGIN_PX = 8
"""Image pixels read around a block's own: the kernel, the reach of a bad pixel, and what the camera
bends between two nodes (below a hundredth of a pixel)."""

NODE_PX = 32
"""Spacing of the grid's nodes by which a block's window in the image is found."""

HEIGHT_HALO_PX = 2
"""Pixels of height around a block, between which GDAL interpolates at its rim."""


@dataclass(frozen=True)
class Camera:
    """A scene's image file and the camera that took it.

    Args:
        path: the GeoTIFF without map projection.
        rpc: its camera.
        missing: lines that were lost, ``(band, line)``.
        saturation: the count at which a pixel is saturated.
    """

    path: Path
    rpc: Rpc
    missing: Bool
    saturation: int


class Readers:
    """One open image a thread, since GDAL's handles must not be shared (ENGINEERING C4 21).

    Entered and left by the thread that starts the others: warnings are silenced for all of them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._own = threading.local()
        self._all: list[rasterio.DatasetReader] = []
        self._quiet = warnings.catch_warnings()

    def __enter__(self) -> Readers:
        self._quiet.__enter__()
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # raw images are just that
        return self

    def __exit__(self, *_: object) -> None:
        for source in self._all:
            source.close()
        self._quiet.__exit__(None, None, None)

    def get(self) -> rasterio.DatasetReader:
        """This thread's own handle."""
        if not hasattr(self._own, "source"):
            self._own.source = open_handle(self.path, "scene")
            self._all.append(self._own.source)
        source: rasterio.DatasetReader = self._own.source
        return source


def orthorectify(
    source: rasterio.DatasetReader,
    camera: Camera,
    grid: Grid,
    height: Raster,
    resampling: str = "cubic",
) -> tuple[Counts, QualityBits] | None:
    """One block of a scene on the grid.

    Args:
        source: the camera's image, opened.
        camera: of the scene.
        grid: the block's.
        height: m over the ellipsoid on ``grid.padded(HEIGHT_HALO_PX)``, without NaN.
        resampling: of the bands; GDAL's name.

    Returns:
        Counts ``(band, row, col)`` and quality ``(row, col)``: a pixel has the flags of every bad
        pixel of the image that its kernel touches. Counts are 0 where nothing was measured;
        saturated ones are kept, since they tell clouds. None where the scene does not reach at all.
    """
    window = image_window(camera.rpc, grid, height, source.height, source.width)
    if window is None:
        return None
    with reading(camera.path, "scene"):
        raw: Counts = source.read(window=window)
    rpc = camera.rpc.shifted(window.row_off, window.col_off)
    lines = slice(window.row_off, window.row_off + window.height)
    bad = count_quality(raw, camera.missing[:, lines], camera.saturation)
    with _heights(grid, height) as dem, reading(camera.path, "scene"):
        counts = _warp(raw, rpc, grid, dem, resampling)
        inside = _whole(source, camera.rpc, grid, height) and not bad.any()
        if inside:
            return counts, np.zeros(grid.shape, dtype=np.uint8)
        # 0 is left where the image does not reach; real flags are one more
        flags = _warp(_reached(bad)[np.newaxis] + 1, rpc, grid, dem, "nearest")[0]
    quality = np.where(flags == 0, np.uint8(Quality.OUTSIDE), flags - (flags > 0).astype(np.uint8))
    counts[:, has(quality, NOT_MEASURED & ~Quality.SATURATED)] = 0
    return counts, quality


def image_window(rpc: Rpc, grid: Grid, height: Raster, lines: int, samples: int) -> Window | None:
    """The part of an image that a block needs, or None where the block lies off it.

    What lies between the lowest and the highest land of the block is seen between where the camera
    sees the block at both heights.
    """
    line, sample = project_nodes(rpc, grid, (float(height.min()), float(height.max())))
    rows = _span(line, lines)
    cols = _span(sample, samples)
    if rows is None or cols is None:
        return None
    return Window.from_slices(rows, cols)


def project_nodes(rpc: Rpc, grid: Grid, heights: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Lines and samples of a grid's nodes, its rim included, at each of the heights."""
    left, bottom, right, top = grid.bounds
    x, y = np.meshgrid(
        np.linspace(left, right, grid.width // NODE_PX + 2),
        np.linspace(bottom, top, grid.height // NODE_PX + 2),
    )
    lon, lat = crs_.transform_points(grid.crs, "EPSG:4326", x.ravel(), y.ravel())
    return rpc.project(lon, lat, np.array(heights)[:, np.newaxis])


def footprint(
    rpc: Rpc, line: Floats, sample: Floats, heights: tuple[float, float], region: Grid
) -> Grid | None:
    """The part of a region that holds points of an image at both heights, or None.

    Args:
        rpc: the camera.
        line: of the image's rim.
        sample: likewise.
        heights: lowest and highest land, m over the ellipsoid.
        region: its grid.
    """
    lon, lat = (
        np.concatenate(ends)
        for ends in zip(*(rpc.ground(line, sample, np.float64(h)) for h in heights), strict=True)
    )
    x, y = crs_.transform_points("EPSG:4326", region.crs, lon, lat)
    bounds = (float(x.min()), float(y.min()), float(x.max()), float(y.max()))
    return Grid.covering(bounds, region.crs, region.pixel_m, region.anchor).intersection(region)


def lonlat(grid: Grid, step: int = 1) -> tuple[Floats, Floats]:
    """Longitude and latitude, degrees, of every so many pixels' centres, from the first."""
    x, y = np.meshgrid(grid.x[::step], grid.y[::step])
    lon, lat = crs_.transform_points(grid.crs, "EPSG:4326", x.ravel(), y.ravel())
    return lon.reshape(x.shape), lat.reshape(x.shape)


def _span(at: Floats, size: int) -> slice | None:
    if not np.isfinite(at).all():
        return None
    first = max(int(np.floor(at.min())) - MARGIN_PX, 0)
    last = min(int(np.ceil(at.max())) + MARGIN_PX + 1, size)
    return slice(first, last) if last > first else None


def _whole(source: rasterio.DatasetReader, rpc: Rpc, grid: Grid, height: Raster) -> bool:
    """Whether a block lies inside the image with the whole of its kernel's reach."""
    line, sample = project_nodes(rpc, grid, (float(height.min()), float(height.max())))
    return bool(
        line.min() > KERNEL_PX
        and sample.min() > KERNEL_PX
        and line.max() < source.height - 1 - KERNEL_PX
        and sample.max() < source.width - 1 - KERNEL_PX
    )


def _reached(bad: QualityBits) -> QualityBits:
    """The flags of every bad pixel that a kernel around each pixel touches, bit by bit."""
    found = np.zeros_like(bad)
    for bit in (Quality.MISSING_LINE, Quality.ZERO, Quality.SATURATED):
        held = bad & np.uint8(bit)
        if held.any():
            found |= maximum_filter(held, 2 * KERNEL_PX + 1, mode="constant")
    return found


@contextlib.contextmanager
def _heights(grid: Grid, height: Raster) -> Iterator[str]:
    """Heights as a file in memory, which is how GDAL takes them."""
    wide = grid.padded(HEIGHT_HALO_PX)
    with environment(), MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            height=wide.height,
            width=wide.width,
            count=1,
            dtype="float32",
            crs=wide.crs,
            transform=wide.transform,
        ) as dem:
            dem.write(height.astype(np.float32), 1)
        yield memory.name


Whole = TypeVar("Whole", bound=np.unsignedinteger[Any])


def _warp(data: NDArray[Whole], rpc: Rpc, grid: Grid, dem: str, resampling: str) -> NDArray[Whole]:
    """Bands of an image on the grid, 0 where it does not reach.

    The kernel's scale is fixed and every pixel transformed by itself; GDAL's defaults estimate the
    one and interpolate the other from chunk to chunk (ENGINEERING 4).
    """
    out = np.zeros((len(data), *grid.shape), dtype=data.dtype)
    reproject(
        data,
        out,
        rpcs=to_gdal(rpc),
        src_crs="EPSG:4326",
        dst_transform=grid.transform,
        dst_crs=grid.crs,
        resampling=Resampling[resampling],
        tolerance=EXACT,
        RPC_DEM=dem,
        XSCALE=1,
        YSCALE=1,
    )
    return out


def to_gdal(rpc: Rpc) -> RPC:
    """The camera as rasterio hands it to GDAL."""
    return RPC(
        height_off=rpc.height_off,
        height_scale=rpc.height_scale,
        lat_off=rpc.lat_off,
        lat_scale=rpc.lat_scale,
        line_den_coeff=list(rpc.line_den),
        line_num_coeff=list(rpc.line_num),
        line_off=rpc.line_off,
        line_scale=rpc.line_scale,
        long_off=rpc.long_off,
        long_scale=rpc.long_scale,
        samp_den_coeff=list(rpc.samp_den),
        samp_num_coeff=list(rpc.samp_num),
        samp_off=rpc.samp_off,
        samp_scale=rpc.samp_scale,
        err_bias=None,
        err_rand=None,
    )
