"""Whether a scene lies where a reference has the same land, before any of it is placed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from carbonmap import registration
from carbonmap.errors import InputError
from carbonmap.features import BANDS
from carbonmap.grid import Grid
from carbonmap.io import files, mosaic, ortho, raster, store
from carbonmap.io.ortho import HEIGHT_HALO_PX, Readers
from carbonmap.io.raster import Source
from carbonmap.lazy import image_days
from carbonmap.quality import NOT_MEASURED, has
from carbonmap.registration import MatchSettings, PatchShift, Shift
from carbonmap.rpc import Rpc
from carbonmap.stages.common import ahead
from carbonmap.stages.gf1.options import SceneOptions
from carbonmap.stages.gf1.raw import Placing
from carbonmap.types import Json, Raster

PATCH_PX = 256
"""Edge of a patch, 4 km: fields, roads and ridges enough to know it by."""

PATCHES = 25
"""Patches looked at: clouds may hide most of them, and five that agree decide."""

BAND = "red"
"""Of the scene that is compared: the sharpest contrast between fields, soil and forest."""

Reference = Callable[[Grid], Raster]


def describe(options: SceneOptions, archive: Path, region: str) -> Json:
    """The reference as output remembers it."""
    assert options.reference is not None  # asked for by scenes that have one
    if options.reference_is_day:
        path, _ = _layer(archive, region, options.reference)
        return {"layer": path.name, "sha256": files.sha256(path / "layer.json")}
    return files.fingerprint(Path(options.reference)) | {"band": options.band_of_reference}


def shift_of(
    placing: Placing,
    options: SceneOptions,
    archive: Path,
    region: str,
    folder: Path,
    threads: int,
) -> Shift:
    """The shift of a scene against the reference, by patches all over their common land."""
    read = _reference(options, archive, region, placing.grid, folder)
    places = registration.patch_places(placing.grid.shape, PATCH_PX, PATCHES)
    settings = MatchSettings()
    with Readers(placing.camera.path) as readers:

        def one(roi: tuple[slice, slice]) -> PatchShift:
            grid = placing.grid[roi]
            mine = _patch(placing, readers, grid)
            return registration.patch_shift(read(grid), mine, settings)

        return registration.combine(list(ahead(one, places, threads)), settings)


def moved(rpc: Rpc, grid: Grid, height: float, shift: Shift) -> Rpc:
    """The camera of the scene moved by a shift: by an offset of its image coordinates.

    That is the usual bias compensation of rational polynomial cameras: what lies off by a few
    pixels is the attitude of the satellite, which moves the image as a whole.
    """
    assert shift.rows is not None
    assert shift.cols is not None
    lon, lat = ortho.lonlat(grid, PATCH_PX)
    there = dataclasses.replace(
        grid,
        anchor=(
            grid.anchor[0] - shift.cols * grid.pixel_m,
            grid.anchor[1] + shift.rows * grid.pixel_m,
        ),
    )
    from_lon, from_lat = ortho.lonlat(there, PATCH_PX)
    level = np.full(lon.shape, height)
    wanted = rpc.project(from_lon, from_lat, level)
    now = rpc.project(lon, lat, level)
    lines, samples = (float(np.mean(w - n)) for w, n in zip(wanted, now, strict=True))
    return rpc.shifted(-lines, -samples)


def told(shift: Shift, pixel_m: float, align: bool) -> Json:
    """A shift for the report.

    Args:
        shift: of the scene.
        pixel_m: size of a pixel.
        align: whether the scene was to be moved by it; without a decision it is not.
    """
    rows, cols = shift.rows, shift.cols
    decided = rows is not None and cols is not None
    found: Json = {
        "patches": shift.patches,
        "spread_px": shift.spread,
        "aligned": align and decided,
    }
    if rows is None or cols is None:
        what = "the scene was NOT moved, as --align asked" if align else "place not checked"
        return found | {"undecided": shift.reason, "note": f"{what}: {shift.reason}"}
    return found | {"move_east_m": cols * pixel_m, "move_north_m": -rows * pixel_m}


def _layer(archive: Path, region: str, date: str) -> tuple[Path, store.LayerInfo]:
    """The one image that a day or a month selects."""
    days = image_days(archive, region, [date])
    if len(days) > 1:
        raise InputError(f"--reference {date} selects {', '.join(days)}; name one by its day")
    return next((p, i) for p, i in store.layers(archive, region) if i.date == days[0])


def _reference(
    options: SceneOptions, archive: Path, region: str, grid: Grid, folder: Path
) -> Reference:
    """What reads the reference on any part of the scene's grid, NaN where it has nothing."""
    assert options.reference is not None
    if options.reference_is_day:
        path, info = _layer(archive, region, options.reference)
        if BAND not in info.bands:
            raise InputError(f"image {info.name} has no {BAND} band to compare with")
        array, number = store.open_array(path / "data.zarr", info.kind), info.bands.index(BAND)
        return lambda part: array[(number, *info.grid.roi_of(part))]
    source = Source(Path(options.reference), options.band_of_reference)
    raster.check_source(source)
    return mosaic.join([source], grid, folder / "reference", raster.ByResolution()).read


def _patch(placing: Placing, readers: Readers, grid: Grid) -> Raster:
    """The scene's own red counts of a patch as its camera places them, NaN where it has none."""
    heights = placing.heights.over_ellipsoid(grid.padded(HEIGHT_HALO_PX))
    nothing = np.full(grid.shape, np.nan, np.float32)
    if np.isnan(heights).any():
        return nothing
    found = ortho.orthorectify(readers.get(), placing.camera, grid, heights)
    if found is None:
        return nothing
    counts, quality = found
    bad = has(quality, NOT_MEASURED)
    return np.where(bad, np.float32(np.nan), counts[BANDS.index(BAND)].astype(np.float32))
