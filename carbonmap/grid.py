"""The project grid: the one frozen answer to every "where"."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from affine import Affine

from carbonmap import crs as crs_
from carbonmap.errors import GridError
from carbonmap.types import Floats

AREA_NODE_PX = 64
"""Spacing of the nodes between which the areal scale is interpolated; over a kilometre it bends by
less than 1e-7, and nodes sit on the lattice so that a pixel's area never depends on the request."""

EDGE_PX = 1e-6
"""How far past a pixel edge a bound may lie and still count as on it: coordinates in metres carry
about 1e-9 m of rounding, and nobody draws a boundary to the micropixel."""


@dataclass(frozen=True)
class Grid:
    """A rectangle of square pixels on an endless lattice.

    The lattice is CRS, pixel and anchor; a grid adds whole numbers only, so that a county's pixels
    are its province's pixels to the last bit.

    Args:
        crs: EPSG code or WKT of a projected CRS in metres.
        pixel_m: edge of a pixel, m.
        row: lattice row of the first (northernmost) pixel; rows grow southwards from the anchor.
        col: lattice column of the first (westernmost) pixel.
        height: number of rows.
        width: number of columns.
        anchor: easting and northing, m, of one pixel corner of the lattice.
    """

    crs: str
    pixel_m: float
    row: int
    col: int
    height: int
    width: int
    anchor: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def covering(
        cls,
        bounds: tuple[float, float, float, float],
        crs: str,
        pixel_m: float,
        anchor: tuple[float, float] = (0.0, 0.0),
    ) -> Grid:
        """The smallest grid of the lattice that holds a box (left, bottom, right, top), m.

        Raises:
            GridError: the box is empty or not finite, the pixel not positive, the CRS not metric.
        """
        crs_.require_metres(crs)
        left, bottom, right, top = bounds
        if not all(map(math.isfinite, bounds)) or left >= right or bottom >= top:
            raise GridError(
                f"bounds {bounds} are not a box; give left, bottom, right, top in {crs}"
            )
        if not (math.isfinite(pixel_m) and pixel_m > 0):
            raise GridError(
                f"pixel_m is {pixel_m}; a pixel's edge must be a positive length in metres"
            )
        x0, y0 = anchor
        col = math.floor((left - x0) / pixel_m + EDGE_PX)
        row = math.floor((y0 - top) / pixel_m + EDGE_PX)
        return cls(
            crs_.canonical(crs),
            pixel_m,
            row,
            col,
            max(1, math.ceil((y0 - bottom) / pixel_m - EDGE_PX) - row),
            max(1, math.ceil((right - x0) / pixel_m - EDGE_PX) - col),
            anchor,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """``(row, col)`` counts."""
        return self.height, self.width

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def transform(self) -> Affine:
        """From ``(col, row)`` of this grid to ``(x, y)``, m, of pixel corners."""
        left, _, _, top = self.bounds
        return Affine(self.pixel_m, 0.0, left, 0.0, -self.pixel_m, top)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top, m."""
        x0, y0 = self.anchor
        return (
            x0 + self.col * self.pixel_m,
            y0 - (self.row + self.height) * self.pixel_m,
            x0 + (self.col + self.width) * self.pixel_m,
            y0 - self.row * self.pixel_m,
        )

    @property
    def x(self) -> Floats:
        """Eastings of pixel centres, m, shape ``(col,)``."""
        return self.anchor[0] + (self.col + np.arange(self.width) + 0.5) * self.pixel_m

    @property
    def y(self) -> Floats:
        """Northings of pixel centres, m, north first, shape ``(row,)``."""
        return self.anchor[1] - (self.row + np.arange(self.height) + 0.5) * self.pixel_m

    @cached_property
    def equal_area(self) -> bool:
        """Whether every pixel weighs the same on the ellipsoid."""
        return crs_.is_equal_area(self.crs, self.bounds)

    @cached_property
    def wgs84_bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north, degrees."""
        return crs_.transform_bounds(self.crs, "EPSG:4326", self.bounds)

    def __getitem__(self, roi: tuple[slice, slice]) -> Grid:
        """The part that ``array[roi]`` would hold; takes the slices that an array takes."""
        (r0, r1, rs), (c0, c1, cs) = (s.indices(n) for s, n in zip(roi, self.shape, strict=True))
        if rs != 1 or cs != 1 or r1 <= r0 or c1 <= c0:
            raise GridError(f"slices {roi} select no rectangle of a grid of shape {self.shape}")
        return dataclasses.replace(
            self, row=self.row + r0, col=self.col + c0, height=r1 - r0, width=c1 - c0
        )

    def same_lattice(self, other: Grid) -> bool:
        """Whether the two grids' pixels coincide wherever both reach."""
        if self.pixel_m != other.pixel_m or not crs_.same(self.crs, other.crs):
            return False
        shifts = [(a - b) / self.pixel_m for a, b in zip(self.anchor, other.anchor, strict=True)]
        return all(abs(s - round(s)) < EDGE_PX for s in shifts)

    def roi_of(self, part: Grid) -> tuple[slice, slice]:
        """The slices under which a smaller grid of the same lattice lies in this one.

        Raises:
            GridError: the part has another lattice or reaches beyond this grid.
        """
        if part.anchor != self.anchor or not self.same_lattice(part):
            raise GridError(f"{part} is not on the lattice of {self}")
        r, c = part.row - self.row, part.col - self.col
        if r < 0 or c < 0 or r + part.height > self.height or c + part.width > self.width:
            raise GridError(f"{part} reaches beyond {self}")
        return slice(r, r + part.height), slice(c, c + part.width)

    def padded(self, halo: int) -> Grid:
        """The grid with `halo` more pixels on every side."""
        return dataclasses.replace(
            self,
            row=self.row - halo,
            col=self.col - halo,
            height=self.height + 2 * halo,
            width=self.width + 2 * halo,
        )

    def intersection(self, other: Grid) -> Grid | None:
        """The pixels that both grids hold, or None; both must share one lattice and anchor."""
        r0, c0 = max(self.row, other.row), max(self.col, other.col)
        r1 = min(self.row + self.height, other.row + other.height)
        c1 = min(self.col + self.width, other.col + other.width)
        if r1 <= r0 or c1 <= c0:
            return None
        return dataclasses.replace(self, row=r0, col=c0, height=r1 - r0, width=c1 - c0)

    def pixel_area_ha(self) -> Floats:
        """Area of every pixel on the ellipsoid, ha, broadcastable to ``(row, col)``.

        Shape ``(1, 1)`` where the CRS is equal-area. Elsewhere the map area is divided by the
        areal scale (Snyder 1987), interpolated bilinearly between lattice nodes.
        """
        flat = self.pixel_m**2 / 1e4
        if self.equal_area:
            return np.full((1, 1), flat)
        rows, row_weight = _nodes(self.row, self.height)
        cols, col_weight = _nodes(self.col, self.width)
        x = self.anchor[0] + cols * self.pixel_m
        y = self.anchor[1] - rows * self.pixel_m
        scale = crs_.areal_scale(self.crs, *np.meshgrid(x, y))
        return flat / (row_weight @ scale @ col_weight.T)

    def to_json(self) -> dict[str, object]:
        """Plain values for manifests."""
        return dataclasses.asdict(self) | {"anchor": list(self.anchor)}

    def __str__(self) -> str:
        name = self.crs if self.crs.startswith("EPSG") else crs_.parse(self.crs).name
        return f"{self.height}×{self.width} px of {self.pixel_m:g} m in {name} at {self.bounds}"


def _nodes(first: int, count: int) -> tuple[Floats, Floats]:
    """Lattice nodes around a run of pixels, and the weights that interpolate to its centres."""
    start = first // AREA_NODE_PX
    nodes = np.arange(start, (first + count) // AREA_NODE_PX + 2) * float(AREA_NODE_PX)
    at = (first + np.arange(count) + 0.5) / AREA_NODE_PX - start
    left = np.floor(at).astype(int)
    weight = np.zeros((count, nodes.size))
    weight[np.arange(count), left] = 1 - (at - left)
    weight[np.arange(count), left + 1] = at - left
    return nodes, weight
