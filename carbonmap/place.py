"""Whether an inventory lies where its project does, and which mistake it looks like if not."""

from __future__ import annotations

import numpy as np

from carbonmap import crs as crs_
from carbonmap.errors import InputError
from carbonmap.grid import Grid
from carbonmap.types import Floats

ZONE = 1e6
"""m; a Gauss-Krüger easting with its zone number in front is zone × 1,000,000 + easting."""


def check_place(bounds: Floats, crs: str, grid: Grid, name: str) -> None:
    """Refuse an inventory of which nothing lies on the grid, and say what it looks like.

    Args:
        bounds: left, bottom, right, top of every stand in its CRS, shape ``(polygon, 4)``.
        crs: the inventory's CRS.
        grid: the project's.
        name: of the file, for the message.

    Raises:
        InputError: no stand's box meets the grid's.
    """
    want = np.array(crs_.transform_bounds(grid.crs, crs, grid.bounds))
    if _meet(bounds, want):
        return
    have = np.concatenate([bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)])
    raise InputError(
        f"nothing of inventory {name!r} lies on the grid: it covers {_box(have)}, the grid "
        f"{_box(want)} in the inventory's CRS {crs_.parse(crs).name!r}; {_guess(bounds, want)}"
    )


def _guess(bounds: Floats, want: Floats) -> str:
    """The mistake after whose correction the stands would meet the grid."""
    if _meet(bounds[:, [1, 0, 3, 2]], want):
        return "the axes look swapped (northing or latitude first); export it with x, then y"
    zones = np.round((bounds[:, 0] - want[0]) / ZONE)
    zone = int(np.median(zones[np.isfinite(zones)])) if np.isfinite(zones).any() else 0
    if zone and _meet(bounds - [zone * ZONE, 0, zone * ZONE, 0], want):
        if zone > 0:
            return (
                f"its eastings carry the zone number {zone} in front, which its CRS does not have; "
                f"give the CRS of zone {zone} with --assume-crs and remove the wrong .prj, or "
                f"subtract {zone},000,000"
            )
        return (
            f"its eastings lack the zone number {-zone} that its CRS puts in front; give the CRS "
            f"named by central meridian (CM) with --assume-crs and remove the wrong .prj"
        )
    return "check the region, the file's CRS, or --assume-crs"


def _meet(bounds: Floats, box: Floats) -> bool:
    left, bottom, right, top = box
    inside = (bounds[:, 0] < right) & (bounds[:, 2] > left)
    return bool(np.any(inside & (bounds[:, 1] < top) & (bounds[:, 3] > bottom)))


def _box(bounds: Floats) -> str:
    left, bottom, right, top = (f"{v:.10g}" for v in bounds)
    return f"x {left}…{right}, y {bottom}…{top}"
