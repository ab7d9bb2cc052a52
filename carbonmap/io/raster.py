"""GeoTIFFs in and out; rasterio's first owner."""

from __future__ import annotations

import contextlib
import math
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from carbonmap import crs as crs_
from carbonmap.errors import GridError, InputError, WriteError
from carbonmap.grid import Grid
from carbonmap.io import files
from carbonmap.types import Json

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of TIFF and BigTIFF: GDAL picks a driver by content, so a VRT named .tif would open
other files (ENGINEERING 9)."""

SAFE = {
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GDAL_HTTP_MAX_RETRY": 0,
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",  # no network by accident
    "GDAL_PAM_ENABLED": "NO",  # no .aux.xml left beside anything we open
}
"""What every copy of GDAL is told, rasterio's and pyogrio's."""

OPTIONS = {"GDAL_CACHEMAX": 256} | SAFE  # MB; bounded whatever the machine

VRT_TYPES = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "float32": "Float32",
    "float64": "Float64",
}
"""Types that a VRT can name, by numpy's name."""

BILINEAR_REACH = 1.5
"""A source pixel this many times finer than the grid's is averaged, else interpolated: below it
bilinear weights already take in every source pixel."""

SAME_PX = 1e-6
"""Share by which two pixels may differ and still be of one size: rounding of a transformation."""


@dataclass(frozen=True)
class Source:
    """One raster file and how to read it.

    Args:
        path: a GeoTIFF.
        band: band number from 1.
        nodata: the stored value that means nothing was measured; None takes the file's own tag.
            A mask in or beside the file counts too, and so does NaN, whatever the value.
    """

    path: Path
    band: int = 1
    nodata: float | None = None


@dataclass(frozen=True)
class ByResolution:
    """Resampling by how large a source's pixel is beside the grid's.

    Args:
        finer: GDAL's name of the method where several source pixels fall into one of the grid.
        other: its name elsewhere.
        times: how many times finer a source must be for `finer`.
    """

    finer: str = "average"
    other: str = "bilinear"
    times: float = BILINEAR_REACH

    def pick(self, source: Source, grid: Grid) -> str:
        """The method for one source."""
        edge = pixel_edge(source, grid.crs) * self.times
        return self.finer if edge < grid.pixel_m * (1 - SAME_PX) else self.other


@contextlib.contextmanager
def environment() -> Iterator[None]:
    """GDAL's settings for everything that carbonmap opens.

    Raises:
        GridError: its PROJ has no database. Datums would then be shifted in silence.
    """
    with rasterio.Env(**OPTIONS):
        _require_projections()
        yield


@lru_cache
def _require_projections() -> None:
    try:
        CRS.from_epsg(4490)  # any code does
    except CRSError as error:
        raise GridError(
            f"GDAL cannot look up coordinate reference systems ({str(error).strip()}); run "
            f"`carbonmap doctor`, which says why"
        ) from None


@contextlib.contextmanager
def open_geotiff(path: str | Path, what: str = "raster") -> Iterator[rasterio.DatasetReader]:
    """Open a user's GeoTIFF by that driver alone.

    Raises:
        MissingInput: no such file.
        InputError: it is not a GeoTIFF, or it is damaged.
    """
    source = open_handle(path, what)
    with source, reading(Path(path), what):
        yield source


def open_handle(path: str | Path, what: str) -> rasterio.DatasetReader:
    """A user's GeoTIFF opened by that driver alone, for whoever closes it himself.

    Raises:
        MissingInput: no such file.
        InputError: it is empty, not a GeoTIFF, or damaged.
    """
    found = files.existing(path, what)
    files.require_bytes(found, what)
    with found.open("rb") as stream:
        if stream.read(4) not in MAGIC:
            raise InputError(
                f"{what} {str(path)!r} is not a GeoTIFF; convert it with gdal_translate"
            )
    try:
        with environment(), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # asked for by name later on
            return rasterio.open(found, driver="GTiff")
    except RasterioError as error:
        raise InputError(
            f"{what} {str(path)!r} cannot be opened: {error}; is it complete?"
        ) from None


@contextlib.contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """GDAL's settings while a file is read, and a message that names it where that fails.

    The settings are a thread's own: one that reads without them gives GDAL a twentieth of the
    machine's memory for its cache.

    Raises:
        InputError: something below failed inside GDAL.
    """
    try:
        with environment():
            yield
    except RasterioError as error:
        raise InputError(
            f"{what} {str(path)!r} cannot be read: {error.__cause__ or error}; the file is damaged "
            f"or cut short, fetch it again"
        ) from error


def vrt_type(dtype: str) -> str:
    """GDAL's name of a numpy type, as VRTs spell it.

    Raises:
        InputError: it is complex, and no layer of ours is.
    """
    if dtype not in VRT_TYPES:
        raise InputError(f"rasters of {dtype} cannot be joined; convert to {', '.join(VRT_TYPES)}")
    return VRT_TYPES[dtype]


def grid_like(path: str | Path) -> Grid:
    """The grid of a raster, anchored at its own origin (``--like``).

    Raises:
        InputError: it is rotated, has oblong pixels or no CRS.
        GridError: its CRS is not projected in metres.
    """
    with open_geotiff(path, "--like raster") as source:
        t = source.transform
        if source.crs is None:
            raise InputError(f"--like raster {str(path)!r} has no CRS; assign one with gdal_edit")
        if t.b or t.d or t.e >= 0 or abs(t.a + t.e) > 1e-9 * t.a:
            raise InputError(
                f"--like raster {str(path)!r} is not north-up with square pixels "
                f"({t.a:g} × {t.e:g}); warp it with gdalwarp -tr first"
            )
        crs = crs_.canonical(source.crs.to_wkt())
        crs_.require_metres(crs)
        return Grid(crs, t.a, 0, 0, source.height, source.width, (t.c, t.f))


def check_source(source: Source) -> str | None:
    """Look at a file before any work: its band, CRS, datum, and scale.

    Returns:
        A note on its datum and on a scale that its tags ask for, where there is one.

    Raises:
        InputError: no such band, no CRS, or a scale that cannot be meant.
        GridError: its datum's shift is unknown.
    """
    with open_geotiff(source.path) as opened:
        if not 1 <= source.band <= opened.count:
            raise InputError(
                f"raster {str(source.path)!r} has {opened.count} band(s), not a band {source.band}"
            )
        if opened.crs is None:
            raise InputError(
                f"raster {str(source.path)!r} has no CRS; assign one with gdal_edit -a_srs"
            )
        if opened.transform.is_identity:
            raise InputError(
                f"raster {str(source.path)!r} has no georeference; orthorectify it first"
            )
        notes = (crs_.datum_note(opened.crs.to_wkt()), _scale_note(opened, source))
        return "; ".join(n for n in notes if n) or None


def _scale_note(opened: rasterio.DatasetReader, source: Source) -> str | None:
    """What a band's own scale and offset do to its values, or None where it has neither."""
    scale, offset = opened.scales[source.band - 1], opened.offsets[source.band - 1]
    if scale == 0 or not (math.isfinite(scale) and math.isfinite(offset)):
        raise InputError(
            f"raster {str(source.path)!r} has the scale {scale:g} and the offset {offset:g} in the "
            f"tags of band {source.band}, which leave no value; set them right, such as by "
            f"gdal_edit -scale 1 -offset 0"
        )
    if (scale, offset) == (1.0, 0.0):
        return None
    return (
        f"stored values were read × {scale:g} + {offset:g}, by the scale and offset that the files "
        f"themselves state; --nodata means a stored value, --scale and --offset act after that"
    )


def footprint(source: Source, crs: str) -> tuple[float, float, float, float]:
    """Left, bottom, right, top of a file in another CRS."""
    with open_geotiff(source.path) as opened:
        return crs_.transform_bounds(opened.crs.to_wkt(), crs, tuple(opened.bounds))


def pixel_edge(source: Source, crs: str) -> float:
    """Edge, m, of a square as large as the file's pixel in another CRS.

    The pixel at the file's centre is carried over, since the box around a footprint that comes out
    turned is larger than the footprint.
    """
    with open_geotiff(source.path) as opened:
        t, text = opened.transform, opened.crs.to_wkt()
        col = opened.width / 2 + np.array([0, 1, 0])
        row = opened.height / 2 + np.array([0, 0, 1])
    x, y = crs_.transform_points(
        text, crs, t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f
    )
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    return float(np.sqrt(abs(area)))


def describe_source(source: Source) -> Json:
    """A source as output remembers it: what was read of which bytes, a mask beside it included."""
    mask = source.path.with_name(source.path.name + ".msk")
    return {
        "name": source.path.name,
        "band": source.band,
        "nodata": str(source.nodata),  # as text, since NaN does not equal itself
        "sha256": files.sha256(source.path),
    } | ({"mask_sha256": files.sha256(mask)} if mask.is_file() else {})


def write_tile(path: Path, data: np.ndarray[Any, Any], grid: Grid, nodata: float) -> int:
    """A part of a map, verified on the disk before it gets its name (ENGINEERING C3).

    GDAL only encodes it, in memory: where GDAL itself writes, a full disk is hidden with several
    threads (ENGINEERING 2), and else told by libtiff on stderr, line after line.

    Returns:
        The file's CRC-32.

    Raises:
        WriteError: the disk is full, or what was written does not read back.
    """
    with files.partial(path, contested=True) as partial:
        encoded, bits = _encode(data, grid, nodata), f"u{data.itemsize}"
        partial.write_bytes(encoded)
        try:
            with environment(), rasterio.open(partial, driver="GTiff") as back:
                same = np.array_equal(back.read(1).view(bits), data.view(bits))  # NaN is itself
        except RasterioError:
            same = False
        if not same:
            raise WriteError(
                f"{str(path)!r} does not read back as it was written; {files.free_text(path)}; "
                f"check the disk and run the same command again: what is finished is kept"
            )
    return zlib.crc32(encoded)


def _encode(data: np.ndarray[Any, Any], grid: Grid, nodata: float) -> bytes:
    """The bytes of a tile's GeoTIFF, as fast to write as to read: blocks, not compressed."""
    with environment(), MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            height=grid.height,
            width=grid.width,
            count=1,
            dtype=data.dtype,
            crs=grid.crs,
            transform=grid.transform,
            nodata=nodata,
            tiled=True,
            blockxsize=512,
            blockysize=512,
        ) as out:
            out.write(data, 1)
        return bytes(memory.getbuffer())
