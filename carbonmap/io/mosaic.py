"""Source files as one: tiles that abut are joined before warping, so that no seam shows.

One file or many, GDAL reads them through a VRT of ours, in which NaN alone means that nothing was
measured: a type that holds NaN leaves every value of a narrower one to the data, and land without a
file is unknown.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import MaskFlags

from carbonmap.errors import InputError
from carbonmap.grid import Grid
from carbonmap.io import files, raster
from carbonmap.io.raster import ByResolution, Source
from carbonmap.io.warp import warp
from carbonmap.types import Raster

ALIGNED_PX = 0.01
"""Pixels by which tiles of one product may be off a common lattice:
rounding of degrees in headers."""


KINDS = dict.fromkeys(("uint8", "int8", "uint16", "int16", "float32"), "Float32") | dict.fromkeys(
    ("uint32", "int32", "uint64", "int64", "float64"), "Float64"
)
"""GDAL's name of a type that holds NaN and a numpy type's values; a double rounds integers beyond
2⁵³, and so does the float32 on the grid beyond 2²⁴."""

NOTHING = "<NODATA>nan</NODATA>"
"""Clause of a VRT's source by which NaN overwrites nothing."""


@dataclass(frozen=True)
class Head:
    """What a file is, as far as it matters to what it can be joined with.

    Args:
        source: the file.
        crs: its CRS, WKT.
        transform: from its pixels to that CRS.
        width: columns, px.
        height: rows, px.
        dtype: numpy's name of its band's type.
        nodata: the stored value that means nothing was measured, by tag or by hand.
        masked: whether a mask or an alpha band says where something was measured.
        scale: by which the band's tags multiply stored values.
        offset: which they add after that.
    """

    source: Source
    crs: str
    transform: Affine
    width: int
    height: int
    dtype: str
    nodata: float | None
    masked: bool
    scale: float
    offset: float

    @property
    def turned(self) -> bool:
        """Whether its columns do not run along its CRS's axis."""
        return bool(self.transform.b or self.transform.d)

    @property
    def meaning(self) -> tuple[object, ...]:
        """By what its numbers mean what they mean."""
        return (
            self.crs, self.dtype, str(self.nodata), self.source.band, self.scale, self.offset
        )  # fmt: skip

    def fits(self, other: Head) -> bool:
        """Whether the two lie on one lattice and mean the same by their numbers.

        A file that is not north-up stays by itself, as a VRT would set it upright.
        """
        if self.turned or other.turned or self.meaning != other.meaning:
            return False
        t, o = self.transform, other.transform
        if not math.isclose(t.a, o.a, rel_tol=1e-9) or not math.isclose(t.e, o.e, rel_tol=1e-9):
            return False
        steps = ((t.c - o.c) / t.a, (t.f - o.f) / t.e)
        return all(abs(s - round(s)) < ALIGNED_PX for s in steps)


@dataclass(frozen=True)
class Group:
    """Files of one lattice that are opened and warped as one.

    Args:
        path: the first file.
        size: how many files.
        vrt: the VRT over them.
        bounds: in the grid's CRS, by which a tile knows what it needs not open.
        resampling: GDAL's name.
    """

    path: Path
    size: int
    vrt: Path
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
            with _open(group) as opened:
                data = warp(opened, grid, group.resampling)
            out = np.where(np.isnan(out), data, out)
        return out


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@contextlib.contextmanager
def _open(group: Group) -> Iterator[rasterio.DatasetReader]:
    """The VRT that we wrote; whose files are GeoTIFFs was seen then."""
    what = "raster" if group.size == 1 else f"mosaic of {group.size} rasters, the first"
    with (
        raster.environment(),
        raster.reading(group.path, what),
        rasterio.open(group.vrt, driver="VRT") as opened,
    ):
        yield opened


def join(
    sources: Sequence[Source], grid: Grid, work: Path, resampling: str | ByResolution | None = None
) -> Mosaic:
    """Group the sources and write a VRT over each group.

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
    """One lattice's files, with a VRT over them."""
    first = heads[0].source
    files.write_text(vrt, _vrt(heads))
    bounds = _union([raster.footprint(h.source, grid.crs) for h in heads])
    method = rule if isinstance(rule, str) else rule.pick(first, grid)
    return Group(first.path, len(heads), vrt, bounds, method)


def _head(source: Source) -> Head:
    with raster.open_geotiff(source.path) as opened:
        band = source.band - 1
        nodata = opened.nodatavals[band] if source.nodata is None else source.nodata
        flags = opened.mask_flag_enums[band]
        masked = MaskFlags.all_valid not in flags and flags != [MaskFlags.nodata]
        return Head(
            source, opened.crs.to_wkt(), opened.transform, opened.width, opened.height,
            opened.dtypes[band], nodata, masked, opened.scales[band], opened.offsets[band],
        )  # fmt: skip


def _union(boxes: Sequence[tuple[float, float, float, float]]) -> tuple[float, float, float, float]:
    left, bottom, right, top = zip(*boxes, strict=True)
    return min(left), min(bottom), max(right), max(top)


def _vrt(group: Sequence[Head]) -> str:
    """The group side by side; sources are laid down last first, so that the first one shows."""
    first = group[0]
    t = first.transform
    left = min(h.transform.c for h in group)
    top = (max if t.e < 0 else min)(h.transform.f for h in group)
    places = [_place(h, left, top) for h in group]
    width = max(x + h.width for (x, _), h in zip(places, group, strict=True))
    height = max(y + h.height for (_, y), h in zip(places, group, strict=True))
    body = "".join(_part(h, place) for place, h in reversed(list(zip(places, group, strict=True))))
    where = (
        f"<SRS>{escape(first.crs)}</SRS>"
        f"<GeoTransform>{left!r},{t.a!r},{t.b!r},{top!r},{t.d!r},{t.e!r}</GeoTransform>"
    )
    tags = f"<Offset>{first.offset!r}</Offset><Scale>{first.scale!r}</Scale>"
    return _dataset(width, height, _kind(first), tags + body, where)


def _place(head: Head, left: float, top: float) -> tuple[int, int]:
    """Column and row of a file's first pixel in a VRT; one that is turned stands alone in it."""
    t = head.transform
    return (0, 0) if head.turned else (round((t.c - left) / t.a), round((t.f - top) / t.e))


def _kind(head: Head) -> str:
    if head.dtype not in KINDS:
        raise InputError(
            f"raster {str(head.source.path)!r} holds {head.dtype}, which is no number that can be "
            f"mapped; convert it to one of {', '.join(KINDS)}"
        )
    return KINDS[head.dtype]


def _clauses(head: Head) -> list[str]:
    """What a file's pixels that mean nothing are known by, one clause of a VRT each."""
    found = ["<UseMaskBand>true</UseMaskBand>"] if head.masked else []
    kind = np.dtype(head.dtype)
    if head.nodata is not None and not math.isnan(head.nodata):
        limits = np.iinfo(kind) if kind.kind in "iu" else None
        # GDAL would cut 0.5 down to a 0 that is data; no integer equals what is left out here
        if limits is None or (
            limits.min <= head.nodata <= limits.max and head.nodata == round(head.nodata)
        ):
            found.append(f"<NODATA>{head.nodata!r}</NODATA>")
    if kind.kind == "f" or len(found) > 1:  # what the first leaves out is NaN in its VRT
        found.append(NOTHING)
    return found or [""]


def _part(head: Head, place: tuple[int, int]) -> str:
    """A file's pixels that mean something, at their place.

    A source of a VRT obeys one clause, and none of the others in silence; each further one takes
    a VRT within, whose text stands where a file's name would.
    """
    name, band = str(head.source.path.absolute()), head.source.band
    *within, last = _clauses(head)
    for clause in within:
        body = _source(name, band, head, (0, 0), clause)
        name, band = _dataset(head.width, head.height, _kind(head), body), 1
    return _source(name, band, head, place, last)


def _source(name: str, band: int, head: Head, place: tuple[int, int], clause: str) -> str:
    size = f'xSize="{head.width}" ySize="{head.height}"'
    return (
        f'<ComplexSource><SourceFilename relativeToVRT="0">{escape(name)}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand>"
        f'<SrcRect xOff="0" yOff="0" {size}/><DstRect xOff="{place[0]}" yOff="{place[1]}" {size}/>'
        f"{clause}</ComplexSource>"
    )


def _dataset(width: int, height: int, kind: str, body: str, where: str = "") -> str:
    """A VRT of one band that is NaN where its sources lay nothing down."""
    return (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">{where}'
        f'<VRTRasterBand dataType="{kind}" band="1"><NoDataValue>nan</NoDataValue>{body}'
        f"</VRTRasterBand></VRTDataset>"
    )
