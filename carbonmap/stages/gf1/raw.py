"""The first pass over a scene: its raw image read once, then laid on the grid block by block.

Counts and flags on the grid wait in the scene's work folder for the second pass, with block means
of 4 × 4 pixels, by which a whole scene is judged in bounded memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carbonmap import progress
from carbonmap.castshadow import cast_shadow, shadow_reach_px
from carbonmap.clouds import FACTOR, reduce
from carbonmap.errors import InputError
from carbonmap.features import BANDS
from carbonmap.grid import Grid
from carbonmap.io import ortho, raster, store
from carbonmap.io.ortho import HEIGHT_HALO_PX, Camera, Readers
from carbonmap.io.output import Work
from carbonmap.io.scenes import Draft
from carbonmap.quality import NOT_MEASURED, Quality, has
from carbonmap.radiometry import SATURATION, Counts, missing_lines
from carbonmap.stages import blocks as blocks_
from carbonmap.stages.blocks import Chunk, Roi
from carbonmap.stages.common import ahead
from carbonmap.stages.gf1.heights import Heights
from carbonmap.stages.gf1.sky import Sky
from carbonmap.terrain import HALO_PX, illumination, slope_aspect
from carbonmap.topography import Relief
from carbonmap.types import Bool, Floats, Ints, Json, Raster

SCAN_PX = 6_000_000
"""Pixels of the raw image read at a time: 48 MB of counts, 500 lines of a full scene."""

NO_HOLES = (
    "ingest a DEM that covers the scene and has no holes (gdal_fillnodata.py fills them), or give "
    "--flat-height M where the land is level"
)

DRAFT = "draft.zarr"
"""What waits between the two passes, in the work folder."""

HOLE_STEP = 8
"""Every how many pixels the DEM is looked at for holes before any work."""


@dataclass(frozen=True)
class Scan:
    """What one reading of the raw image tells.

    Args:
        histogram: pixels by count, ``(band, SATURATION + 1)``.
        missing: lines that were lost, ``(band, line)``.
    """

    histogram: Ints
    missing: Bool


def scan(readers: Readers, lines: int, width: int, threads: int) -> Scan:
    """Read the whole raw image once: damage shows here, before anything is written.

    Raises:
        InputError: it cannot be read, holds counts that the sensor cannot give, or no line at all.
    """
    step = max(1, SCAN_PX // width)

    def one(first: int) -> tuple[Ints, Floats]:
        with raster.reading(readers.path, "scene"):
            source = readers.get()
            window = ((first, min(first + step, lines)), (0, width))
            counts = source.read(window=window)
        if counts.max() > SATURATION:
            raise InputError(
                f"scene {readers.path.name!r} has counts up to {counts.max()}, and a WFV camera "
                f"gives 10 bits, {SATURATION} at most; is it an L1A product?"
            )
        found = [np.bincount(band.ravel(), minlength=SATURATION + 1) for band in counts]
        return np.stack(found), (counts == 0).mean(axis=2)

    parts = list(ahead(one, range(0, lines, step), threads))
    missing = missing_lines(np.concatenate([z for _, z in parts], axis=1))
    if missing.any(axis=0).all():
        raise InputError(
            f"scene {readers.path.name!r} is empty: each of its {lines:,} lines is zeros in some "
            f"band, as where a transfer reserved the room and went no further; fetch it again"
        )
    return Scan(np.sum([h for h, _ in parts], axis=0), missing)


@dataclass(frozen=True)
class Placing:
    """All that lays a scene's blocks on the grid.

    Args:
        grid: the scene's.
        camera: its image and camera.
        heights: of the land.
        sky: sun and satellite.
        resampling: of the bands.
        relief_m: lowest to highest land of the scene; 0 where shadows are not sought.
    """

    grid: Grid
    camera: Camera
    heights: Heights
    sky: Sky
    resampling: str
    relief_m: float


def place(placing: Placing, out: Draft, work: Work, threads: int, name: str) -> None:
    """Orthorectify every block that an earlier run did not finish."""
    blocks = store.chunk_rois(placing.grid.shape, (store.CHUNK_PX, store.CHUNK_PX))
    todo = blocks_.left(work, work.folder / DRAFT, "placed", blocks)
    with Readers(placing.camera.path) as readers:

        def one(roi: tuple[slice, slice]) -> tuple[str, Json]:
            facts, chunks = _place_block(placing, readers, out, roi)
            held = blocks_.write(work.folder / DRAFT, chunks)
            return blocks_.key_of("placed", roi), facts | held

        done = ahead(one, todo, threads)
        for key, facts in progress.track(done, f"orthorectifying {name}", len(todo)):
            work.record(key, facts)


def relief_of(work: Work) -> Relief:
    """How steep the land is that was placed."""
    facts = [f for key, f in work.done.items() if key.startswith("placed")]
    return sum((Relief(f["known"], f["steep"]) for f in facts), Relief())


def _place_block(
    placing: Placing, readers: Readers, out: Draft, roi: Roi
) -> tuple[Json, list[Chunk]]:
    """What the journal tells of a block, and its chunks."""
    grid = placing.grid[roi]
    rows, cols = (slice(s.start // FACTOR, -(-s.stop // FACTOR)) for s in roi)
    found = _orthorectified(placing, readers, grid)
    if found is None:
        counts = np.zeros((len(BANDS), *grid.shape), np.uint16)
        flags = np.full(grid.shape, int(Quality.OUTSIDE), np.uint8)
        facts: Json = {"known": 0, "steep": 0}
        light = np.full(tuple(-(-n // FACTOR) for n in grid.shape), np.nan, np.float32)
    else:
        counts, flags = found
        slope, cos_i = slope_light(placing, grid)
        shadow = terrain_shadow(placing, grid, cos_i)
        flags[shadow] |= np.uint8(Quality.TERRAIN_SHADOW)
        inside = ~has(flags, Quality.OUTSIDE)
        relief = Relief.of(np.where(inside, slope, np.nan))
        facts = {"known": relief.known, "steep": relief.steep}
        light = reduce(np.where(shadow, np.float32(0), cos_i))
    known = ~has(flags, NOT_MEASURED & ~Quality.SATURATED)
    small = (rows, cols)
    chunks = [Chunk(out.flags, None, roi, flags), Chunk(out.light, None, small, light)]
    for number, band in enumerate(counts):
        means = reduce(np.where(known, band, np.float32(np.nan)))
        chunks += [Chunk(out.counts, number, roi, band), Chunk(out.means, number, small, means)]
    return facts, chunks


def flag_counts(flags: NDArray[np.uint8]) -> Json:
    """Pixels under each bit that is there."""
    return {b.name.lower(): n for b in Quality if b.name and (n := int(has(flags, b).sum()))}


def _orthorectified(
    placing: Placing, readers: Readers, grid: Grid
) -> tuple[Counts, NDArray[np.uint8]] | None:
    """Counts and flags of one block.

    Raises:
        InputError: the DEM has holes where the scene has land.
    """
    heights = placing.heights.over_ellipsoid(grid.padded(HEIGHT_HALO_PX))
    hole = np.isnan(heights)
    if hole.all():
        heights = np.zeros_like(heights)
    elif hole.any():  # filled only to see whether the scene has land there
        heights = np.where(hole, np.float32(np.nanmean(heights)), heights)
    found = ortho.orthorectify(readers.get(), placing.camera, grid, heights, placing.resampling)
    if found is not None and hole.any():
        inner = (slice(HEIGHT_HALO_PX, -HEIGHT_HALO_PX),) * 2
        wanted = hole[inner] & ~has(found[1], Quality.OUTSIDE)
        if wanted.any():
            refuse_holes(grid, wanted)
    return found


def refuse_holes(grid: Grid, wanted: Bool) -> None:
    """Say where the DEM has no height and the scene has land.

    Raises:
        InputError: always.
    """
    row, col = np.argwhere(wanted)[0]
    raise InputError(
        f"the elevation has no height at {int(wanted.sum()):,} pixels of the scene, the first at "
        f"x {grid.x[col]:.0f}, y {grid.y[row]:.0f}; {NO_HOLES}"
    )


def require_heights(
    placing: Placing, lines: int, samples: int, threads: int
) -> tuple[tuple[float, float], float]:
    """Look for holes before any work, at every 8th pixel; the blocks look at all of them.

    Returns:
        Lowest and highest land of the scene, m; and the height of the highest over the lowest land
        within a chunk of it, from which ridges throw their shadows.

    Raises:
        InputError: the DEM does not cover the scene.
    """
    wide = placing.grid.padded(store.CHUNK_PX).intersection(placing.heights.region)
    assert wide is not None  # the scene lies in its region

    def one(roi: tuple[slice, slice]) -> tuple[Ends, Ends]:
        part = wide[roi].intersection(placing.grid)
        seen = NO_ENDS if part is None else _seen_land(placing, part, lines, samples)
        return _ends(placing.heights.elevations(wide[roi])), seen

    rois = store.chunk_rois(wide.shape, (store.CHUNK_PX, store.CHUNK_PX))
    around, inside = (_union(ends) for ends in zip(*ahead(one, rois, threads), strict=True))
    if around == NO_ENDS:  # no DEM at all here; a block that wants it will say so
        return (0.0, 0.0), 0.0
    return around if inside == NO_ENDS else inside, around[1] - around[0]


Ends = tuple[float, float]
"""Lowest and highest land, m."""

NO_ENDS = (np.inf, -np.inf)
"""Of no land."""


def _ends(land: Raster) -> Ends:
    known = land[np.isfinite(land)]
    return (float(known.min()), float(known.max())) if known.size else NO_ENDS


def _union(many: Sequence[Ends]) -> Ends:
    return min(low for low, _ in many), max(high for _, high in many)


def _seen_land(placing: Placing, grid: Grid, lines: int, samples: int) -> Ends:
    """Lowest and highest land of a block that the image holds, of every 8th pixel.

    Raises:
        InputError: some of it has no height.
    """
    height = placing.heights.elevations(grid)[::HOLE_STEP, ::HOLE_STEP]
    inside = _seen(placing, grid, height, lines, samples)
    if (wanted := np.isnan(height) & inside).any():
        raise InputError(
            f"the elevation has no height on {wanted.sum() / inside.sum():.1%} of the scene's land "
            f"around x {grid.x[grid.width // 2]:.0f}, y {grid.y[grid.height // 2]:.0f}; {NO_HOLES}"
        )
    return _ends(height[inside])


def _seen(placing: Placing, grid: Grid, height: Raster, lines: int, samples: int) -> Bool:
    """Which of a block's every 8th pixels the image holds, holes taken at the block's mean."""
    lon, lat = ortho.lonlat(grid, HOLE_STEP)
    mean = np.nanmean(height) if np.isfinite(height).any() else 0.0
    line, sample = placing.camera.rpc.project(lon, lat, np.where(np.isnan(height), mean, height))
    return np.asarray((line >= 0) & (line <= lines - 1) & (sample >= 0) & (sample <= samples - 1))


def slope_light(placing: Placing, grid: Grid) -> tuple[Raster, Raster]:
    """Slope (radians) and cosine of the sun's angle to it over a block, float32."""
    land = placing.heights.elevations(grid.padded(HALO_PX))
    slope, aspect = (
        v[HALO_PX:-HALO_PX, HALO_PX:-HALO_PX].astype(np.float32)
        for v in slope_aspect(land, grid.pixel_m)
    )
    cos_i = illumination(slope, aspect, *placing.sky.sun_at(grid))
    return slope, cos_i.astype(np.float32)


def terrain_shadow(placing: Placing, grid: Grid, cos_i: Raster) -> Bool:
    """Land of a block that is turned away from the sun, or that a ridge hides from it."""
    shadow: Bool = cos_i <= 0
    if placing.relief_m:
        zenith, azimuth = placing.sky.sun_mean
        reach = shadow_reach_px(placing.relief_m, zenith, grid.pixel_m)
        wide = grid.padded(reach)
        land, origin = placing.heights.elevations(wide), (wide.row, wide.col)
        cast = cast_shadow(land, zenith, azimuth, grid.pixel_m, origin)
        shadow |= cast[reach:-reach, reach:-reach]
    return shadow
