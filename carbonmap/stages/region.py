"""The region that a command works on: its grid, its outline, and how output remembers it.

Vector files are read by those regions alone that have a boundary, and their libraries loaded then:
they take longer than many a command.
"""

from __future__ import annotations

import shapely

from carbonmap.grid import Grid
from carbonmap.project import Project
from carbonmap.regions import Region, region_grid
from carbonmap.types import Json


def grid_of(region: Region) -> Grid:
    """The grid of a region, its boundary file read where it has one."""
    if region.boundary is None:
        return region_grid(region)
    return region_grid(region, _boundary(region).bounds)


def _boundary(region: Region) -> shapely.Geometry:
    """What is inside a region's boundary file, in the region's CRS."""
    from carbonmap.io import stands

    assert region.boundary is not None  # asked for by regions that have one
    return stands.read_boundary(
        region.boundary, region.crs, layer=region.boundary_layer, assume_crs=region.boundary_crs
    )


def region_of(project: Project, name: str | None) -> tuple[str, Grid]:
    """Name and grid of the region that a command works on."""
    region = project.find_region(name)
    return region.name, grid_of(region)


def outline_of(project: Project, name: str) -> shapely.Geometry:
    """The land of a region in its grid's CRS: its boundary, or the grid's box where it has none."""
    region = project.find_region(name)
    if region.boundary is None:
        return shapely.box(*grid_of(region).bounds)
    return _boundary(region)


def region_json(project: Project, name: str, grid: Grid) -> Json:
    """A region as output remembers it: its grid, and its boundary's content and reading."""
    region, held = project.find_region(name), None
    if region.boundary is not None:
        from carbonmap.io import vector

        held = vector.hash_inputs(region.boundary)
        held |= {k: getattr(region, k) for k in ("boundary_layer", "boundary_crs")}
    return {"name": name, "grid": grid.to_json(), "boundary": held}
