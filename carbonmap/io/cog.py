"""Finished tiles to one cloud-optimised GeoTIFF that is verified before it gets its name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.errors import RasterioError

from carbonmap.errors import WriteError
from carbonmap.grid import Grid
from carbonmap.io import files
from carbonmap.io.raster import environment, vrt_type
from carbonmap.types import Json

READ_PX = 2048
"""Edge of the windows read back: four of a COG's 512-pixel blocks each way, 16 MB of float32."""

ROUNDING = 1e-6
"""Share by which a mean of float32 values may leave their range: a few of their last bits."""


@dataclass(frozen=True)
class Layer:
    """What one map holds, as its file will say.

    Args:
        name: band description and xarray variable, such as ``carbon_density``.
        long_name: a phrase for people.
        units: CF units; ``1`` for shares and classes.
        dtype: float32, uint8 or uint32.
        nodata: declared in the file.
        overviews: ``AVERAGE`` for quantities (cubic invents negatives), ``MODE`` for classes.
        colours: red, green, blue, alpha of each class, by which QGIS opens the map as a palette.
    """

    name: str
    long_name: str
    units: str
    dtype: str = "float32"
    nodata: float = math.nan
    overviews: str = "AVERAGE"
    colours: tuple[tuple[int, tuple[int, int, int, int]], ...] = ()


@dataclass(frozen=True)
class Sums:
    """What a map's valid pixels add up to; two parts of a map add as their maps do."""

    count: int = 0
    total: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    @classmethod
    def of(cls, data: np.ndarray[tuple[int, ...], np.dtype[np.generic]], nodata: float) -> Sums:
        """Of one array."""
        numbers = np.asarray(data)
        good = np.isfinite(numbers) if math.isnan(nodata) else numbers != nodata
        count = int(np.count_nonzero(good))
        if not count:
            return cls()
        values = numbers if count == numbers.size else numbers[good]
        return cls(
            count, float(values.sum(dtype=np.float64)), float(values.min()), float(values.max())
        )

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.count + other.count,
            self.total + other.total,
            min(self.low, other.low),
            max(self.high, other.high),
        )

    def agrees(self, other: Sums) -> bool:
        """Equal but for the order in which the totals were added up."""
        return (self.count, self.low, self.high) == (
            other.count,
            other.low,
            other.high,
        ) and math.isclose(self.total, other.total, rel_tol=1e-9, abs_tol=1e-6)

    def to_json(self) -> Json:
        """Plain numbers; no extremes where there is no pixel."""
        if not self.count:
            return {"count": 0}
        return {"count": self.count, "total": self.total, "min": self.low, "max": self.high}

    @classmethod
    def from_json(cls, value: Json) -> Sums:
        """What `to_json` gave."""
        if not value["count"]:
            return cls()
        return cls(value["count"], value["total"], value["min"], value["max"])


def write_cog(
    parts: Sequence[tuple[Path, Grid]],
    grid: Grid,
    layer: Layer,
    tags: Mapping[str, str],
    sums: Sums,
    final: Path,
    work: Path,
    threads: int = 1,
) -> None:
    """Join tiles into a COG (ENGINEERING C3).

    Args:
        parts: tile files and their grids; where there is none the map has no data.
        grid: the whole map's.
        layer: what the band holds.
        tags: dataset metadata.
        sums: what the tiles' pixels added up to when they were computed.
        final: the name the map will have.
        work: folder for the intermediate VRT.
        threads: compression threads; the COG driver, unlike the plain writer, reports a full disk.

    Raises:
        WriteError: the disk is full, or the file does not hold what the tiles held.
    """
    vrt = work / f"{layer.name}.vrt"  # overviews wait uncompressed beside the map: a tenth faster
    files.write_text(vrt, vrt_text(parts, grid, layer, tags))
    with files.partial(final) as partial:
        try:
            with environment(), rasterio.Env(COG_TMP_COMPRESSION="NONE"):
                rasterio.shutil.copy(
                    vrt,
                    partial,
                    driver="COG",
                    COMPRESS="DEFLATE",
                    PREDICTOR="YES",
                    LEVEL="6",
                    BLOCKSIZE="512",
                    OVERVIEW_RESAMPLING=layer.overviews,
                    STATISTICS="YES",
                    BIGTIFF="IF_SAFER",
                    NUM_THREADS=str(threads),
                )
            wrong = verify(partial, grid, layer, sums)
        except (RasterioError, rasterio._err.CPLE_BaseError) as error:
            raise WriteError(
                f"cannot write {str(final)!r}: {error.__cause__ or error}; "
                f"{files.free_text(final)}; make room and run the same command again: what is "
                f"finished is kept"
            ) from error
        if wrong:
            raise WriteError(
                f"{str(final)!r} does not hold what was computed ({wrong}); "
                f"{files.free_text(final)}; make room, or check the disk, and run the same command "
                f"again: what is finished is kept"
            )


def verify(path: Path, grid: Grid, layer: Layer, sums: Sums) -> str | None:
    """What is wrong with a finished map, or None.

    A killed copy opens, has all overviews and passes for valid while holding nothing (ENGINEERING
    3), so every tile of every overview must have bytes within the file, and every pixel is read
    back and summed.
    """
    with environment(), rasterio.open(path, driver="GTiff", num_threads=2) as source:
        if source.shape != grid.shape or source.transform != grid.transform:
            return f"grid {source.shape} {source.transform}"
        if missing := empty_tiles(source):
            return f"{missing} tiles without bytes"
        found = _sums_of(source, layer.nodata)
        if not found.agrees(sums):
            return f"{found} instead of {sums}"
        factors = source.overviews(1)
    for level in range(len(factors)):
        with environment(), rasterio.open(path, driver="GTiff", OVERVIEW_LEVEL=level) as overview:
            part = _sums_of(overview, layer.nodata)
        if sums.count and not part.count and layer.overviews == "AVERAGE":
            return f"overview {level} is empty"
        slack = ROUNDING * max(abs(sums.low), abs(sums.high))
        if part.count and not sums.low - slack <= part.low <= part.high <= sums.high + slack:
            return f"overview {level} spans {part.low} to {part.high}"
    return None


def _sums_of(source: rasterio.DatasetReader, nodata: float) -> Sums:
    """Of an opened raster, by windows."""
    found = Sums()
    for row in range(0, source.height, READ_PX):
        for col in range(0, source.width, READ_PX):
            window = (
                (row, min(row + READ_PX, source.height)),
                (col, min(col + READ_PX, source.width)),
            )
            found += Sums.of(source.read(1, window=window), nodata)
    return found


def empty_tiles(source: rasterio.DatasetReader) -> int:
    """How many tiles of a GeoTIFF, overviews included, have no bytes or reach past its end."""
    size = Path(source.name).stat().st_size
    block_rows, block_cols = source.block_shapes[0]
    missing = 0
    for level in range(-1, len(source.overviews(1))):
        factor = 1 if level < 0 else source.overviews(1)[level]
        for row in range(math.ceil(math.ceil(source.height / factor) / block_rows)):
            for col in range(math.ceil(math.ceil(source.width / factor) / block_cols)):
                where = {"dm": "TIFF", "bidx": 1, "ovr": level if level >= 0 else None}
                length = source.get_tag_item(f"BLOCK_SIZE_{col}_{row}", **where)
                start = source.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", **where)
                missing += not length or not start or int(start) + int(length) > size
    return missing


def vrt_text(
    parts: Sequence[tuple[Path, Grid]], grid: Grid, layer: Layer, tags: Mapping[str, str]
) -> str:
    """A VRT that lays tiles side by side; our own file over our own files, never a user's."""
    t = grid.transform
    kind = vrt_type(layer.dtype)
    meta = "".join(f"<MDI key={quoteattr(k)}>{escape(v)}</MDI>" for k, v in tags.items())
    band_meta = f'<MDI key="long_name">{escape(layer.long_name)}</MDI>'
    lines = [
        f'<VRTDataset rasterXSize="{grid.width}" rasterYSize="{grid.height}">',
        f"<SRS>{escape(grid.crs)}</SRS>",
        f"<GeoTransform>{t.c!r},{t.a!r},0,{t.f!r},0,{t.e!r}</GeoTransform>",
        f"<Metadata>{meta}</Metadata>",
        f'<VRTRasterBand dataType="{kind}" band="1" blockXSize="512" blockYSize="512">',
        f"<Metadata>{band_meta}</Metadata>",
        f"<Description>{escape(layer.name)}</Description>",
        f"<UnitType>{escape(layer.units)}</UnitType>",
        f"<NoDataValue>{layer.nodata:g}</NoDataValue>",
        *_palette(layer),
        *(_simple_source(path, part, grid, kind) for path, part in parts),
        "</VRTRasterBand>",
        "</VRTDataset>",
    ]
    return "\n".join(lines)


def _palette(layer: Layer) -> list[str]:
    if not layer.colours:
        return []
    entries = [dict(layer.colours).get(value, (0, 0, 0, 0)) for value in range(256)]
    rows = "".join(f'<Entry c1="{r}" c2="{g}" c3="{b}" c4="{a}"/>' for r, g, b, a in entries)
    return ["<ColorInterp>Palette</ColorInterp>", f"<ColorTable>{rows}</ColorTable>"]


def _simple_source(path: Path, part: Grid, grid: Grid, kind: str) -> str:
    rows, cols = grid.roi_of(part)
    size = f'xSize="{part.width}" ySize="{part.height}"'
    raster_size = f'RasterXSize="{part.width}" RasterYSize="{part.height}"'
    name = escape(str(path.absolute()))
    return (
        f'<SimpleSource><SourceFilename relativeToVRT="0">{name}</SourceFilename>'
        f"<SourceBand>1</SourceBand>"
        f'<SourceProperties {raster_size} DataType="{kind}" '
        f'BlockXSize="512" BlockYSize="512"/>'
        f'<SrcRect xOff="0" yOff="0" {size}/>'
        f'<DstRect xOff="{cols.start}" yOff="{rows.start}" {size}/></SimpleSource>'
    )
