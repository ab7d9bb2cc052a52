"""Regions: which land a project maps, and the grid that covers it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from carbonmap import crs as crs_
from carbonmap.errors import GridError
from carbonmap.grid import Grid
from carbonmap.settings import STRICT, ProjectPath

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""


MOST_PX = 10**12
"""Pixels of a grid at most; all of China at 4 m has fewer. More is a unit mistaken."""


def _readable(crs: str) -> str:
    crs_.parse(crs)
    return crs


def _fit_for_a_grid(crs: str) -> str:
    crs_.require_metres(crs)
    crs_.datum_note(crs)
    return crs


Crs = Annotated[str, AfterValidator(_readable)]
"""EPSG code or WKT."""

GridCrs = Annotated[str, AfterValidator(_fit_for_a_grid)]
"""A CRS that a project grid can stand on: projected, in metres, on a datum known to PROJ."""


@dataclass(frozen=True, config=STRICT)
class Region:
    r"""A named piece of land and the lattice on which its pixels lie.

    Args:
        name: letters (of any script), digits, ``_`` and ``-``; file names begin with it.
        crs: EPSG code or WKT of a projected CRS in metres.
        pixel_m: edge of a pixel, m.
        bounds: a box, in `bounds_crs`; either this or `boundary`.
        bounds_crs: CRS of the box; the region's own where None.
        boundary: a vector file with the outline.
        boundary_layer: of a boundary file that is a GeoPackage with several.
        boundary_crs: CRS of a boundary file that states none.
        anchor: easting and northing, m, of one pixel corner; the CRS origin unless the pixels of
            an existing raster are to be met.
    """

    name: Annotated[str, Field(pattern=r"^\w[\w-]*$")]
    crs: GridCrs
    pixel_m: Annotated[float, Field(gt=0)]
    bounds: Box | None = None
    bounds_crs: Crs | None = None
    boundary: ProjectPath | None = None
    boundary_layer: str | None = None
    boundary_crs: Crs | None = None
    anchor: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if (self.bounds is None) == (self.boundary is None):
            raise ValueError("needs either `bounds` (a box) or `boundary` (a vector file)")
        if self.bounds is None and self.bounds_crs is not None:
            raise ValueError(
                "`bounds_crs` stands without `bounds`; a boundary file has its own CRS, or else "
                "boundary_crs"
            )
        for key in ("boundary_layer", "boundary_crs"):
            if self.boundary is None and getattr(self, key) is not None:
                raise ValueError(f"`{key}` stands without `boundary`, the file that it is about")
        if self.bounds is not None:
            _require_box(self.bounds, self.pixel_m if self.bounds_crs is None else 0.0)

    @property
    def is_box(self) -> bool:
        """Whether only a box is known: its totals then hold the neighbours' land as well."""
        return self.boundary is None


def _require_box(bounds: Box, least: float) -> None:
    """Refuse a box that is empty, or smaller than a pixel (degrees taken for metres)."""
    left, bottom, right, top = bounds
    if left >= right or bottom >= top:
        raise ValueError(f"`bounds` is {list(bounds)}; it should be left, bottom, right, top")
    if right - left < least or top - bottom < least:
        raise ValueError(
            f"`bounds` is {list(bounds)}, smaller than a pixel of {least:g} m; "
            f'if these are degrees, add bounds_crs = "EPSG:4326"'
        )


def region_grid(region: Region, boundary_bounds: Box | None = None) -> Grid:
    """The smallest grid of the region's lattice that holds it.

    Args:
        region: the region.
        boundary_bounds: box around the outline in the boundary file, m, in the region's CRS; used
            for a region that has a boundary, and needed there.

    Raises:
        GridError: the box has no image in the region's CRS, the outline's box is missing, or there
            are more pixels than anybody can mean.
    """
    box = region.bounds if region.is_box else boundary_bounds
    if box is None:
        raise GridError(
            f"region {region.name!r} is outlined by {str(region.boundary)!r}; its grid needs the "
            f"box around that outline"
        )
    if region.is_box and region.bounds_crs is not None:
        box = crs_.transform_bounds(region.bounds_crs, region.crs, box)
    grid = Grid.covering(box, region.crs, region.pixel_m, region.anchor)
    if grid.size > MOST_PX:
        raise GridError(
            f"region {region.name!r} would have {grid.height:,} × {grid.width:,} pixels of "
            f"{region.pixel_m:g} m; give a larger pixel_m (metres), or smaller bounds"
        )
    return grid
