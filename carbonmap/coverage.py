"""Exact shares of pixels under polygons; exactextract's one owner."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from exactextract import exact_extract
from exactextract.feature import JSONFeature, JSONFeatureSource
from exactextract.raster import NumPyRasterSource

from carbonmap.grid import Grid
from carbonmap.types import Floats, Ints

CELLS_AT_ONCE = 100_000_000
"""Above any tile's size, so that exactextract never cuts a polygon's list of pixels in two."""


SLIVER = 1e-9
"""Share of a polygon below which its part inside an outline is the rounding of a border."""


@dataclass(frozen=True)
class Coverage:
    """Which polygons lie on which pixels, one entry for each pair that meets.

    Args:
        stand: polygon index, shape ``(entry,)``.
        cell: pixel index, row by row, same shape.
        fraction: share of the pixel's area under the polygon, 0–1, float32 (exactextract's own
            precision), same shape.
    """

    stand: Ints
    cell: Ints
    fraction: Floats


def polygon_coverage(
    polygons: np.ndarray[tuple[int], np.dtype[np.object_]], grid: Grid
) -> Coverage:
    """The exact fraction of every pixel that every polygon covers.

    Args:
        polygons: shapely polygons in the grid's CRS, valid, shape ``(polygon,)``; parts beyond the
            grid count for nothing.
        grid: the pixels.
    """
    source = NumPyRasterSource(np.broadcast_to(np.float32(0), grid.shape), *grid.bounds)
    near = np.flatnonzero(shapely.intersects(polygons, shapely.box(*grid.bounds)))
    found = exact_extract(
        source,
        Polygons(near, shapely.to_wkb(polygons[near])),
        ["cell_id", "coverage"],
        include_cols=["id"],
        max_cells_in_memory=CELLS_AT_ONCE,
    )
    parts = [f["properties"] for f in found]
    counts = [len(p["cell_id"]) for p in parts]
    stand = np.repeat(np.array([f["id"] for f in found], np.int32), counts)
    empty = np.empty(0)
    cell = np.concatenate([empty, *(p["cell_id"] for p in parts)]).astype(np.int64)
    fraction = np.concatenate([empty, *(p["coverage"] for p in parts)]).astype(np.float32)
    some = fraction > 0  # a polygon that only touches a pixel's edge
    return Coverage(stand[some], cell[some].astype(np.int32), fraction[some])


class _Polygon(JSONFeature):  # type: ignore[misc]  # exactextract ships no types
    """One polygon as WKB, which spares exactextract a trip through text."""

    def __init__(self, number: int = -1, wkb: bytes | None = None) -> None:
        super().__init__({"type": "Feature", "id": number, "properties": {}})
        self.wkb = wkb

    def geometry(self) -> bytes | None:
        return self.wkb


class Polygons(JSONFeatureSource):  # type: ignore[misc]
    """Polygons as exactextract reads them fastest, each with its number as ``id``."""

    def __init__(self, numbers: Ints, wkbs: np.ndarray[tuple[int], np.dtype[np.object_]]) -> None:
        super().__init__([])
        self.numbers, self.wkbs = numbers, wkbs

    def count(self) -> int:
        """How many there are."""
        return len(self.numbers)

    def __iter__(self) -> Iterator[_Polygon]:
        for number, wkb in zip(self.numbers, self.wkbs, strict=True):
            yield _Polygon(int(number), wkb)


def share_inside(
    polygons: np.ndarray[tuple[int], np.dtype[np.object_]], outline: shapely.Geometry
) -> tuple[np.ndarray[tuple[int], np.dtype[np.object_]], Floats]:
    """The parts of polygons inside an outline, and the share of each one's area that they are.

    Args:
        polygons: valid polygons, shape ``(polygon,)``.
        outline: one valid polygon or multipolygon in the same CRS.

    Returns:
        The parts, equal to the polygons that lie inside whole; and 0–1, exactly 1 for those. What
        is left of a polygon by rounding alone is nothing.
    """
    shapely.prepare(outline)
    whole = shapely.covers(outline, polygons)
    parts, share = polygons.copy(), np.ones(len(polygons))
    cut = np.flatnonzero(~whole)
    parts[cut] = _areal(shapely.intersection(polygons[cut], outline))
    share[cut] = shapely.area(parts[cut]) / shapely.area(polygons[cut])
    slivers = share < SLIVER
    parts[slivers], share[slivers] = shapely.Polygon(), 0.0
    return parts, share


def _areal(
    shapes: np.ndarray[tuple[int], np.dtype[np.object_]],
) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    """Without the lines and points at which shapes only touch."""
    mixed = shapely.get_type_id(shapes) == shapely.GeometryType.GEOMETRYCOLLECTION
    for k in np.flatnonzero(mixed):
        pieces = shapely.get_parts(shapes[k])
        shapes[k] = shapely.union_all(pieces[shapely.get_dimensions(pieces) == 2])
    flat = shapely.get_dimensions(shapes) < 2
    shapes[flat] = shapely.Polygon()
    return shapes
