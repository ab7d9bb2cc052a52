"""What can be wrong with an inventory's outlines: geometry arrays in, findings out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from carbonmap import crs as crs_
from carbonmap.errors import LabelError
from carbonmap.findings import Findings, Kind
from carbonmap.types import Floats, Ints, Plots

Outlines = NDArray[Any]
"""One geometry per stand, shape ``(polygon,)``; None where there is none."""

POLYGON, MULTIPOLYGON, COLLECTION = 3, 6, 7
"""GEOS type numbers, as ``shapely.get_type_id`` gives them."""

OVERLAP_SHARE = 0.10
"""Part of the smaller stand above which an overlap is ground claimed twice and no longer a border
drawn twice: a stand's area may err by some 5 %, and two neighbours may both. Outlines that were
simplified one by one, as in real inventories, overlap by 1–3 % at most of their borders."""

MAX_OVERLAPS = 1_000_000
"""More overlapping pairs than this are several inventories in one file."""

OVERLAP_NOISE = 1e-4
"""Part of the smaller stand below which an overlap is rounding of coordinates: a millimetre along
its whole border."""

DETAILED = 1000
"""Vertices from which indexing an outline pays before its neighbours are held against it."""

CHUNK = 256
"""Stands asked for their neighbours at a time; bounds memory where everything overlaps."""

LONG_EDGE_M = 1000.0
"""Edges longer than this get vertices before they are reprojected; the straight edge of a kilometre
bends by about a centimetre between two projections."""

LONG_EDGE_DEGREES = 0.01
"""The same for geographic coordinates, about a kilometre."""

CROSSING = "crossing or touching rings and the like were made valid"

ROUNDING = "rings that touch crossed once brought to another projection, and were made valid"


@dataclass(frozen=True)
class Overlaps:
    """Pairs of stands that cover the same ground.

    Args:
        first: place of one stand, shape ``(pair,)``.
        second: place of the other, greater than `first`.
        area: of the common ground, in the square of the outlines' unit or, from `vector`, ha.
    """

    first: Ints
    second: Ints
    area: Floats


def check_outlines(outlines: Outlines, found: Findings) -> Outlines:
    """Polygons in the plane, valid by OGC's rules; what cannot become one goes into the findings.

    Args:
        outlines: as read.
        found: gets the problems.

    Returns:
        Polygons and multipolygons, same shape; None where refused.
    """
    good = outlines.copy()
    empty = shapely.is_missing(good) | shapely.is_empty(good)
    found.refused(Kind.NO_OUTLINE, empty, "these records have no outline")
    kind = shapely.get_type_id(good)
    other = ~empty & ~np.isin(kind, (POLYGON, MULTIPOLYGON, COLLECTION))
    names = Counter(g.geom_type for g in good[other])
    types = ", ".join(f"{n} {name}" for name, n in names.items())
    found.refused(Kind.NOT_A_POLYGON, other, f"{types}; a stand needs an area")
    good[empty | other] = None
    if shapely.has_z(good).any():
        found.notes.append("outlines have heights, which were dropped")
        good = shapely.force_2d(good)
    with np.errstate(invalid="ignore"):
        broken = ~(empty | other) & ~np.isfinite(shapely.bounds(good)).all(axis=1)
    found.refused(Kind.BROKEN_COORDINATES, broken, "coordinates are not finite numbers")
    good[broken] = None
    return _mended(good, found, CROSSING)


def _mended(good: Outlines, found: Findings, what: str) -> Outlines:
    """Invalid outlines made valid; of what comes out, the polygons.

    Args:
        good: outlines with finite coordinates; changed in place.
        found: gets `what` was done, once for each stand.
        what: what was wrong.
    """
    present = ~shapely.is_missing(good)
    wrong = present & (~shapely.is_valid(good) | (shapely.get_type_id(good) == COLLECTION))
    if not wrong.any():
        return good
    before = shapely.area(good[wrong]).sum()
    valid = shapely.make_valid(good[wrong], method="structure", keep_collapsed=False)
    good[wrong] = [_polygons(g) for g in valid]
    lost = wrong & shapely.is_missing(good)
    after = shapely.area(good[wrong & ~lost]).sum()
    change = f"{100 * (after / before - 1):+.3g} % area" if before > 0 else "area from none"
    told = {i for p in found.problems if p.kind is Kind.INVALID_OUTLINE for i in p.ids}
    found.repaired(
        Kind.INVALID_OUTLINE,
        wrong & ~lost & np.array([str(i) not in told for i in found.ids], dtype=bool),
        f"{what} ({change} over all of them)",
    )
    found.refused(Kind.NO_OUTLINE, lost, "nothing with an area is left of these invalid outlines")
    return good


def _polygons(geometry: Any) -> Any:
    """The polygon parts of a geometry as one; None where there are none."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    parts = parts[(shapely.get_type_id(parts) == POLYGON) & (shapely.area(parts) > 0)]
    if not parts.size:
        return None
    return parts[0] if parts.size == 1 else shapely.multipolygons(parts)


def check_repeated(outlines: Outlines, volume: Plots, found: Findings) -> None:
    """Find stands that share one outline exactly, wherever their rings begin.

    Which record is right cannot be known, so they stop the run; going on keeps the first of each.
    """
    first = _first_of_equals(outlines)
    later = first != np.arange(len(outlines))
    group = np.isin(first, first[later])
    agree = int((volume[later] == volume[first[later]]).sum())
    found.refused(
        Kind.REPEATED,
        group,
        f"{int(later.sum())} records repeat another's outline exactly, {agree} of them with the "
        f"same volume",
        drop=later,
    )


def _first_of_equals(outlines: Outlines) -> Ints:
    """For every outline, the place of the first that equals it; its own where none does."""
    own = np.arange(len(outlines))
    box = np.column_stack([shapely.bounds(outlines), shapely.area(outlines)])
    box[np.isnan(box).any(axis=1)] = np.nan
    _, group, size = np.unique(
        box, axis=0, return_inverse=True, return_counts=True, equal_nan=False
    )
    near = np.flatnonzero(size[group.ravel()] > 1)
    shape = np.array(shapely.to_wkb(shapely.normalize(outlines[near])), dtype=object)
    seen: dict[bytes, int] = {}
    for row, key in zip(near, shape, strict=True):
        own[row] = seen.setdefault(key, int(row))
    return own


def reprojected(outlines: Outlines, source: str, target: str) -> Outlines:
    """The outlines in another CRS; the very same where source and target are one.

    Long edges get vertices first, since what is straight in one projection bends in another.
    Coordinates that the target cannot show become infinite.
    """
    if crs_.same(source, target):
        return outlines
    longest = LONG_EDGE_DEGREES if crs_.parse(source).is_geographic else LONG_EDGE_M
    left, bottom, right, top = shapely.bounds(outlines).T
    wide = np.hypot(right - left, top - bottom) > longest
    dense = outlines.copy()
    dense[wide] = shapely.segmentize(outlines[wide], longest)

    def move(x: Floats, y: Floats) -> tuple[Floats, Floats]:
        return crs_.transform_points(source, target, x, y)

    return np.asarray(shapely.transform(dense, move, interleaved=False))


def placed(outlines: Outlines, source: str, target: str, found: Findings) -> Outlines:
    """The outlines in another CRS, and valid there.

    Rounding alone can break what only just is valid: a hole that touches an edge crosses it once
    both are reprojected, since the edge's own course between its ends is not.

    Args:
        outlines: valid polygons in the source; None stays None.
        source: their CRS.
        target: the CRS that is wanted.
        found: gets what could not be shown there, or had to be made valid.

    Returns:
        Valid polygons and multipolygons, same shape; None where refused.
    """
    moved = reprojected(outlines, source, target)
    if moved is outlines:
        return outlines
    astray = ~shapely.is_missing(outlines) & ~np.isfinite(shapely.bounds(moved)).all(axis=1)
    name = crs_.parse(target).name
    found.refused(Kind.BROKEN_COORDINATES, astray, f"CRS {name!r} cannot show where they lie")
    moved[astray] = None
    return _mended(moved, found, ROUNDING)


def find_overlaps(outlines: Outlines) -> Overlaps:
    """Every pair of outlines that share ground, with the area that they share.

    Args:
        outlines: valid polygons in the plane; None is skipped.

    Raises:
        LabelError: there are more than `MAX_OVERLAPS` pairs.
    """
    tree = shapely.STRtree(outlines)
    rows = np.flatnonzero(~shapely.is_missing(outlines))
    detail = shapely.get_num_coordinates(outlines)
    pairs: list[Ints] = []
    total = 0
    for start in range(0, rows.size, CHUNK):
        some = rows[start : start + CHUNK]
        near, other = tree.query(outlines[some])
        pair = np.stack([some[near], other])[:, some[near] < other]
        pair = pair[:, _interiors_meet(outlines, pair, detail)]
        pairs.append(pair)
        total += pair.shape[1]
        if total > MAX_OVERLAPS:
            raise LabelError(
                f"more than {MAX_OVERLAPS:,} pairs of stands overlap: the file seems to hold "
                f"several inventories (years, or layers); select one"
            )
    first, second = np.concatenate([np.empty((2, 0), dtype=np.intp), *pairs], axis=1)
    area = shapely.area(shapely.intersection(outlines[first], outlines[second]))
    size = shapely.area(outlines)
    real = area > OVERLAP_NOISE * np.minimum(size[first], size[second])
    return Overlaps(first[real], second[real], np.asarray(area)[real])


def _interiors_meet(outlines: Outlines, pair: Ints, detail: Ints) -> Any:
    """Which pairs share more than a border."""
    swap = detail[pair[0]] < detail[pair[1]]
    large, small = np.where(swap, pair[::-1], pair)
    shapely.prepare(outlines[large[detail[large] > DETAILED]])
    return shapely.relate_pattern(outlines[large], outlines[small], "T********")


def check_overlaps(overlaps: Overlaps, area_ha: Plots, found: Findings) -> None:
    """Report overlaps: borders drawn twice as such, the rest as what a stand list must not have.

    Both stands stay where the user goes on, since neither is known to be the wrong one; the ground
    that is counted twice is named, never summed in silence (`counted_twice` gives its carbon).

    Args:
        overlaps: pairs with their common area, ha.
        area_ha: of every stand, ha.
        found: gets the problems.
    """
    a, b = overlaps.first, overlaps.second
    share = overlaps.area / np.minimum(area_ha[a], area_ha[b])
    large = share > OVERLAP_SHARE
    for kind, pick in ((Kind.OVERLAP, large), (Kind.BORDER_OVERLAP, ~large)):
        if not pick.any():
            continue
        rows = np.union1d(a[pick], b[pick])
        worst = np.flatnonzero(pick)[int(np.argmax(overlaps.area[pick]))]
        detail = (
            f"{int(pick.sum())} pairs share {overlaps.area[pick].sum():.4g} ha, which count twice "
            f"(most: {found.ids[a[worst]]} and {found.ids[b[worst]]}, {overlaps.area[worst]:.4g} "
            f"ha, {100 * share[worst]:.3g} % of the smaller)"
        )
        if kind is Kind.OVERLAP:
            found.refused(kind, rows, detail, drop=np.empty(0, dtype=np.intp))
        else:
            found.repaired(kind, rows, detail + "; borders drawn twice, kept")


def counted_twice(overlaps: Overlaps, density: Plots) -> tuple[float, float]:
    """The carbon that overlaps put into a sum of stands once too often, least and most, t C.

    Which of two stands holds the common ground is unknown, so one of their densities is too many.

    Args:
        overlaps: pairs with their common area, ha.
        density: t C/ha of every stand, shape ``(polygon,)``; NaN where unknown, which adds nothing.
    """
    pair = np.nan_to_num(density)[np.stack([overlaps.first, overlaps.second])]
    return float(overlaps.area @ pair.min(axis=0)), float(overlaps.area @ pair.max(axis=0))
