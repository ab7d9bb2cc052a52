"""What a command works on: its images, its layers, and a tile of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from carbonmap.errors import GridMismatch, MissingInput, ModelError
from carbonmap.grid import Grid
from carbonmap.io import files
from carbonmap.lazy import image_days as days_of
from carbonmap.lazy import open_stack, stack_grid
from carbonmap.project import Project
from carbonmap.types import Json, Raster

STATIC = ("elevation", "canopy_height")
"""Layers without a date; the others are bands of an image."""


def require_grid(project: Project, name: str, grid: Grid) -> None:
    """Refuse to work where the project's region no longer is the one that was ingested.

    Raises:
        GridMismatch: the archive's layers lie on another grid.
    """
    held = stack_grid(project.archive, name)
    if held != grid:
        raise GridMismatch(
            f"archive region {name!r}",
            got=held,
            want=grid,
            todo=f"set the region back, or delete {str(project.archive / name)!r} and ingest anew",
        )


def one_image(archive: Path, region: str, dates: Sequence[str]) -> tuple[xr.Dataset, str]:
    """The stack with the single image that the dates select, and its day.

    Raises:
        MissingInput: they select none, or several.
    """
    days = days_of(archive, region, dates)
    if not days:
        raise MissingInput(
            f"no date selects an image of {region!r}; name one, as in --dates 2020-11"
        )
    if len(days) > 1:
        raise MissingInput(
            f"{', '.join(dates)} selects {len(days)} images of {region!r} ({', '.join(days)}); "
            f"name "
            f"one by its day, as in --dates {days[0]}"
        )
    return open_stack(archive, region, days), days[0]


def image_days(archive: Path, region: str, dates: Sequence[str]) -> list[str]:
    """Days of the images that the dates select.

    Raises:
        MissingInput: a date selects none, or two images would be one month's map.
    """
    days = days_of(archive, region, dates)
    months = [day[:7] for day in days]
    twice = sorted({m for m in months if months.count(m) > 1})
    if twice:
        both = [d for d in days if d[:7] in twice]
        raise MissingInput(
            f"{', '.join(dates)} selects several images of one month ({', '.join(both)}), and a "
            f"map "
            f"is named by its month; name one of them by its day"
        )
    return days


def require_layers(stack: xr.Dataset, names: Sequence[str]) -> None:
    """Refuse to start without the layers that the work reads.

    Raises:
        MissingInput: one was never ingested.
    """
    commands = {"elevation": "dem", "canopy_height": "canopy-height", "image": "image"}
    for name in names:
        if name not in stack:
            raise MissingInput(
                f"region {stack.attrs['region']!r} has no {name.replace('_', ' ')} in the archive; "
                f"run `carbonmap ingest {commands[name]} …` first"
            )


def require_model_layers(stack: xr.Dataset, layers: Sequence[str]) -> list[str]:
    """Names of the archive's layers behind what a model reads.

    Raises:
        MissingInput: one was never ingested.
        ModelError: the image lacks a band.
    """
    bands = [name for name in layers if name not in STATIC]
    names = ["image"] if bands else []
    names += [name for name in layers if name in STATIC]
    require_layers(stack, names)
    if bands:
        have = [str(b) for b in stack["band"].values]
        if lost := [b for b in bands if b not in have]:
            day = ", ".join(str(t)[:10] for t in stack["time"].values)
            raise ModelError(
                f"the model reads band {', '.join(lost)}, and the image of {day} has "
                f"{', '.join(have)}; "
                f"ingest "
                f"it with all bands"
            )
    return names


def layer_hashes(archive: Path, region: str, names: Sequence[str]) -> Json:
    """By which the archive's layers are known again: their marks, which hold every chunk's hash."""
    return {name: files.sha256(archive / region / name / "layer.json") for name in names}


def read_layers(
    stack: xr.Dataset, grid: Grid, part: Grid, layers: Sequence[str], halo: int
) -> dict[str, Raster]:
    """Layers of a tile and the land around it, NaN beyond the region.

    Args:
        stack: the region's layers with one image.
        grid: the region's.
        part: the tile's.
        layers: bands of the image, ``elevation`` or ``canopy_height``.
        halo: pixels around the tile.

    Returns:
        By name, each of the shape of ``part.padded(halo)``.
    """
    wide = part.padded(halo)
    held = wide.intersection(grid)
    assert held is not None  # a tile lies in its region
    rows, cols = grid.roi_of(held)
    near = stack.isel(y=rows, x=cols)
    found = {}
    for name in layers:
        source = near[name] if name in near else near["image"].isel(time=0).sel(band=name)
        out = np.full(wide.shape, np.nan, dtype=np.float32)
        out[wide.roi_of(held)] = source.values
        found[name] = out
    return found


def image_scale(stacks: Sequence[xr.Dataset]) -> tuple[float, float]:
    """Scale and offset with which the images were ingested; (1, 0) where there is none.

    Raises:
        ModelError: they differ, so that one number would mean two things.
    """
    found = {
        (float(s["image"].attrs["scale_applied"]), float(s["image"].attrs["offset_applied"]))
        for s in stacks
        if "image" in s
    }
    if len(found) > 1:
        raise ModelError(
            f"the images were ingested with different --scale and --offset: {sorted(found)}; "
            f"ingest "
            f"them alike"
        )
    return next(iter(found), (1.0, 0.0))
