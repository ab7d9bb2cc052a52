"""Many source files as one: tiles that abut are joined before warping, so that no seam shows."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import rasterio

from carbonmap.grid import Grid
from carbonmap.io import files, raster
from carbonmap.io.raster import ByResolution, Source
from carbonmap.types import Raster

ALIGNED_PX = 0.01
"""Pixels by which tiles of one product may be off a common lattice:
rounding of degrees in headers."""


@dataclass(frozen=True)
class Head:
    """What must be equal for files to be parts of one raster."""

    source: Source
    crs: str
    dx: float
    dy: float
    left: float
    top: float
    width: int
    height: int
    dtype: str
    nodata: float | None
    turned: bool

    def fits(self, other: Head) -> bool:
        """Whether the two lie on one lattice and mean the same by their numbers.

        A file that is not north-up stays by itself, as a VRT would set it upright.
        """
        if self.turned or other.turned:
            return False
        if (self.crs, self.dtype, str(self.nodata), self.source.band) != (
            other.crs,
            other.dtype,
            str(other.nodata),
            other.source.band,
        ):
            return False
        if not math.isclose(self.dx, other.dx, rel_tol=1e-9) or not math.isclose(
            self.dy, other.dy, rel_tol=1e-9
        ):
            return False
        steps = ((self.left - other.left) / self.dx, (self.top - other.top) / self.dy)
        return all(abs(s - round(s)) < ALIGNED_PX for s in steps)


@dataclass(frozen=True)
class Group:
    """Files of one lattice that are opened and warped as one.

    Args:
        path: the file, or the VRT over several.
        band: number of its band from 1.
        nodata: the value that means nothing was measured.
        joined: whether it is a VRT of ours.
        bounds: in the grid's CRS, by which a tile knows what it needs not open.
        resampling: GDAL's name.
    """

    path: Path
    band: int
    nodata: float | None
    joined: bool
    bounds: tuple[float, float, float, float]
    resampling: str


@dataclass(frozen=True)
class Mosaic:
    """Sources joined into groups of one lattice each; the first group that has data counts."""

    groups: tuple[Group, ...]

    def read(self, grid: Grid) -> Raster:
        """The sources on a tile of the grid, NaN where none has data, float32."""
        out = np.full(grid.shape, np.nan, dtype=np.float32)
        for group in self.groups:
            if not _meet(group.bounds, grid.bounds) or not np.isnan(out).any():
                continue
            with _open(group.path, group.joined) as opened:
                data = raster.warp(opened, group.band, group.nodata, grid, group.resampling)
            out = np.where(np.isnan(out), data, out)
        return out


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@contextlib.contextmanager
def _open(path: Path, joined: bool) -> Iterator[rasterio.DatasetReader]:
    """A user's file by the GeoTIFF driver, or a VRT that we wrote over such files."""
    if not joined:
        with raster.open_geotiff(path) as opened:
            yield opened
        return
    with (
        raster.environment(),
        raster.reading(path, "mosaic"),
        rasterio.open(path, driver="VRT") as opened,
    ):
        yield opened


def join(
    sources: Sequence[Source], grid: Grid, work: Path, resampling: str | ByResolution | None = None
) -> Mosaic:
    """Group the sources and write a VRT over each group of several.

    Args:
        sources: files of one layer; where two of one lattice overlap, the one named first counts,
            and lattices count in the order of their first files.
        grid: the project's.
        work: folder for the VRTs.
        resampling: GDAL's name for all; else each group's own follows from its resolution, None
            averaging what is finer than the grid and interpolating the rest.
    """
    groups: list[list[Head]] = []
    for source in sources:
        head = _head(source)
        home = next((g for g in groups if g[0].fits(head)), None)
        if home is None:
            groups.append([head])
        else:
            home.append(head)
    rule = ByResolution() if resampling is None else resampling
    return Mosaic(
        tuple(_group(g, grid, work / f"mosaic{n}.vrt", rule) for n, g in enumerate(groups))
    )


def _group(heads: Sequence[Head], grid: Grid, vrt: Path, rule: str | ByResolution) -> Group:
    """One lattice's files, with a VRT over them where they are several."""
    first = heads[0]
    path, band, joined = first.source.path, first.source.band, len(heads) > 1
    if joined:
        files.write_text(vrt, _vrt(heads))
        path, band = vrt, 1
    bounds = _union([raster.footprint(h.source, grid.crs) for h in heads])
    method = rule if isinstance(rule, str) else rule.pick(first.source, grid)
    return Group(path, band, first.nodata, joined, bounds, method)


def _head(source: Source) -> Head:
    with raster.open_geotiff(source.path) as opened:
        t = opened.transform
        nodata = opened.nodata if source.nodata is None else source.nodata
        return Head(
            source, opened.crs.to_wkt(), t.a, t.e, t.c, t.f, opened.width, opened.height,
            opened.dtypes[source.band - 1], nodata, bool(t.b or t.d),
        )  # fmt: skip


def _union(boxes: Sequence[tuple[float, float, float, float]]) -> tuple[float, float, float, float]:
    left, bottom, right, top = zip(*boxes, strict=True)
    return min(left), min(bottom), max(right), max(top)


def _vrt(group: Sequence[Head]) -> str:
    """The group side by side; sources are laid down last first, so that the first one shows."""
    first = group[0]
    left = min(h.left for h in group)
    top = max(h.top for h in group) if first.dy < 0 else min(h.top for h in group)
    places = [(round((h.left - left) / h.dx), round((h.top - top) / h.dy)) for h in group]
    width = max(x + h.width for (x, _), h in zip(places, group, strict=True))
    height = max(y + h.height for (_, y), h in zip(places, group, strict=True))
    kind = raster.vrt_type(first.dtype)
    nodata = "" if first.nodata is None else f"<NoDataValue>{first.nodata!r}</NoDataValue>"
    mask = "" if first.nodata is None else f"<NODATA>{first.nodata!r}</NODATA>"
    body = "".join(
        f'<ComplexSource><SourceFilename relativeToVRT="0">{escape(str(h.source.path.absolute()))}'
        f"</SourceFilename><SourceBand>{h.source.band}</SourceBand>"
        f'<SrcRect xOff="0" yOff="0" xSize="{h.width}" ySize="{h.height}"/>'
        f'<DstRect xOff="{x}" yOff="{y}" xSize="{h.width}" ySize="{h.height}"/>'
        f"{mask}</ComplexSource>"
        for (x, y), h in reversed(list(zip(places, group, strict=True)))
    )
    return (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{escape(first.crs)}</SRS>'
        f"<GeoTransform>{left!r},{first.dx!r},0,{top!r},0,{first.dy!r}</GeoTransform>"
        f'<VRTRasterBand dataType="{kind}" band="1">{nodata}{body}</VRTRasterBand></VRTDataset>'
    )
