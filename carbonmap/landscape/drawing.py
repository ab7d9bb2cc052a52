"""What a camera sees of a land: an image in the sensor's own lines and samples.

The land is heights and values on one lattice of pixels, drawn where they are asked for. Between the
pixels, heights are bilinear, as an orthorectifier takes them from the same elevation model, and
values are interpolated by Keys' cubic. Every pixel of the image is worked out by itself from its
place on the image and on the lattice, so blocks of any cut hold the same to the last bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from carbonmap import crs as crs_
from carbonmap.errors import ConfigError
from carbonmap.grid import Grid
from carbonmap.landscape.camera import Camera
from carbonmap.types import Floats, Ints, Raster

Roi = tuple[slice, slice]
"""Lines and samples of a block, as an array of the whole image takes them."""

NODE_PX = 16
"""Spacing of the nodes, at multiples of which the camera is asked; between them the way from image
to map is taken as bilinear. It bends by 0.015 m there at most, a thousandth of a pixel (WFV4, whose
pixels grow by 5e-5 of their edge from one to the next)."""

ARRIVED_M = 0.01
"""Height within which a line of sight has met the land: 0.005 m aside at 27°, WFV4's view."""

ROUNDS = 60
"""Of the search along a line of sight; half of them may be bisections, which reach `ARRIVED_M` from
9 km in 20. Four or five are usual."""

AT_A_TIME = 1 << 15
"""Pixels worked out together: their numbers fit a core's cache, which saves a third of the time."""

REACH_PX = 2
"""Lattice pixels around a place that its value needs (the cubic kernel)."""


@dataclass(frozen=True)
class Land:
    """What there is to see.

    Args:
        lattice: any grid of the lattice; its CRS, pixel and anchor count, its extent does not.
        height: heights over the ellipsoid of a grid of that lattice, m, shape ``(row, col)``.
        values: what is seen there, shape ``(band, row, col)``; a function of place like the
            heights, whatever the grid.
        lowest: no land is lower, m.
        highest: no land is higher, m.
    """

    lattice: Grid
    height: Callable[[Grid], Raster]
    values: Callable[[Grid], Floats]
    lowest: float
    highest: float

    def __post_init__(self) -> None:
        """Check the heights.

        Raises:
            ConfigError: the lowest is not below the highest.
        """
        if not self.lowest < self.highest:
            raise ConfigError(
                f"land from {self.lowest:g} to {self.highest:g} m has no room for heights; flat "
                f"land needs bounds around it too"
            )


def draw(camera: Camera, roi: Roi, land: Land) -> Floats:
    """The values that a block of an image shows.

    Args:
        camera: the camera.
        roi: the block's lines and samples.
        land: what it looks at.

    Returns:
        Shape ``(band, line, sample)``, of the values' dtype.
    """
    row, col, _ = meet(camera, roi, land)
    grid = _around(land.lattice, row, col, REACH_PX)
    return _cubic(land.values(grid), grid, row, col)


def meet(camera: Camera, roi: Roi, land: Land) -> tuple[Floats, Floats, Floats]:
    """Where the lines of sight of a block's pixels meet the land.

    A line of sight starts above the highest land and ends below the lowest, so it meets the land
    somewhere: secant steps find a place, held in a bracket that is halved where they do not pay.
    Where a slope falls away from the camera more steeply than the line of sight (63° in WFV4, 81°
    in WFV3), land is hidden and a line meets the land in several places, of which any may be found.

    Returns:
        Rows and columns on the lattice (whole numbers are pixel centres) and heights, m; float64,
        shape ``(line, sample)``.
    """
    ways = _ways(camera, roi, land)
    middle, half = (land.lowest + land.highest) / 2, (land.highest - land.lowest) / 2
    ends = np.stack([_along(ways, level) for level in (-1.0, 0.0, 1.0)])
    grid = _around(land.lattice, ends[:, 0], ends[:, 1], 1)
    relief = (np.asarray(land.height(grid), dtype=np.float64) - middle) / half
    shape = ways.shape[2:]
    ways = ways.reshape(2, 3, -1)
    arrived = ARRIVED_M / half
    level = np.concatenate(
        [_meeting(ways[..., part], relief, grid, arrived) for part in _parts(ways.shape[-1])]
    )
    row, col = _along(ways, level)
    return row.reshape(shape), col.reshape(shape), (middle + half * level).reshape(shape)


def _ways(camera: Camera, roi: Roi, land: Land) -> Floats:
    """Lines of sight on the map: row and column as parabolas of the height.

    Returns:
        Coefficients of 1, t and t², t running from −1 at the lowest to 1 at the highest land; shape
        ``(2, 3, line, sample)``. The parabola is true to 1e-4 m, the curvature of the Earth being
        all that it bends by.
    """
    lines, samples = (
        np.arange(s.start, s.stop, dtype=np.float64)
        for s in (
            slice(*roi[0].indices(camera.lines)),
            slice(*roi[1].indices(camera.samples)),
        )
    )
    line, line_weight = _nodes(lines)
    sample, sample_weight = _nodes(samples)
    heights = np.array([land.lowest, (land.lowest + land.highest) / 2, land.highest])
    lon, lat = camera.ground(line[:, None], sample[None, :], heights[:, None, None])
    x, y = crs_.transform_points("EPSG:4326", land.lattice.crs, lon.ravel(), lat.ravel())
    x0, y0 = land.lattice.anchor
    places = np.stack([y0 - y, x - x0]).reshape(2, *lon.shape) / land.lattice.pixel_m - 0.5
    low, middle, high = np.moveaxis(places, 1, 0)
    nodes = np.stack([middle, (high - low) / 2, (high + low) / 2 - middle], axis=1)
    at = ((lines - line[0]) // NODE_PX).astype(np.int64)
    across = nodes[:, :, at] * (1 - line_weight)[:, None]
    across += nodes[:, :, at + 1] * line_weight[:, None]
    at = ((samples - sample[0]) // NODE_PX).astype(np.int64)
    return np.asarray(across[..., at] * (1 - sample_weight) + across[..., at + 1] * sample_weight)


def _nodes(at: Floats) -> tuple[Floats, Floats]:
    """Nodes around a run of pixels, and of each pixel the weight of the node after it."""
    nodes = np.arange(at[0] // NODE_PX, at[-1] // NODE_PX + 2) * NODE_PX
    return nodes, at / NODE_PX - at // NODE_PX


def _along(ways: Floats, level: Floats | float) -> Floats:
    """Row and column, at levels of the height, shape ``(2, …)``."""
    return np.asarray(ways[:, 0] + level * (ways[:, 1] + level * ways[:, 2]))


def _around(lattice: Grid, row: Floats, col: Floats, halo: int) -> Grid:
    """The grid of the lattice that holds places, and a halo for interpolating at them."""
    top, left = int(np.floor(row.min())), int(np.floor(col.min()))
    height, width = int(np.floor(row.max())) + 2 - top, int(np.floor(col.max())) + 2 - left
    grid = dataclasses.replace(lattice, row=top, col=left, height=height, width=width)
    return grid.padded(halo)


def _meeting(ways: Floats, relief: Floats, grid: Grid, arrived: float) -> Floats:
    """Levels at which lines of sight meet the relief, shape ``(pixel,)``."""
    found = np.zeros(ways.shape[-1])
    left = np.arange(found.size)
    low, high = np.full(found.size, -1.0), np.full(found.size, 1.0)
    level, last_level, last_miss = np.zeros(found.size), low, np.full(found.size, np.inf)
    for _ in range(ROUNDS):
        land = _bilinear(relief, grid, *_along(ways, level))
        miss = land - level
        found[left] = level
        low, high = np.where(miss > 0, level, low), np.where(miss > 0, high, level)
        with np.errstate(divide="ignore", invalid="ignore"):
            secant = level - miss * (level - last_level) / (miss - last_miss)
        step = np.where(np.isinf(last_miss), land, secant)
        pays = (low < step) & (step < high) & (2 * np.abs(miss) < np.abs(last_miss))
        last_level, last_miss = level, miss
        level = np.where(pays, step, (low + high) / 2)
        open_ = np.flatnonzero(np.abs(miss) > arrived)
        if not open_.size:
            break
        ways, left, low, high = ways[..., open_], left[open_], low[open_], high[open_]
        level, last_level, last_miss = level[open_], last_level[open_], last_miss[open_]
    return found


def _bilinear(raster: Floats, grid: Grid, row: Floats, col: Floats) -> Floats:
    """A raster between its pixel centres; the places, on the lattice, lie inside."""
    at, down, right = _corner(row, col, grid)
    flat, width = raster.ravel(), grid.width
    upper = flat[at] + right * (flat[at + 1] - flat[at])
    lower = flat[at + width] + right * (flat[at + width + 1] - flat[at + width])
    return np.asarray(upper + down * (lower - upper))


def _cubic(values: Floats, grid: Grid, row: Floats, col: Floats) -> Floats:
    """Keys' cubic (1981, a = −½) between pixel centres, exact for planes and parabolas.

    What overshoots the 16 pixels around is cut: no lens darkens the land beside a cloud.

    Args:
        values: ``(band, row, col)`` of the grid.
        grid: two pixels more than the places on every side.
        row: places on the lattice, whole numbers at pixel centres, shape ``(line, sample)``.
        col: the same across.
    """
    width = grid.width
    pixels = np.ascontiguousarray(np.moveaxis(values, 0, -1)).reshape(-1, len(values))
    total = np.zeros((len(values), row.size), dtype=values.dtype)
    for part in _parts(row.size):
        at, down, right = _corner(row.ravel()[part], col.ravel()[part], grid)
        rows, cols = (_weights(t).astype(values.dtype)[..., None] for t in (down, right))
        low = high = pixels[at]
        for i in range(4):
            taps = [pixels[at + (i - 1) * width + j - 1] for j in range(4)]
            across = sum(weight * tap for weight, tap in zip(cols, taps, strict=True))
            low, high = np.minimum.reduce([low, *taps]), np.maximum.reduce([high, *taps])
            total[:, part] += (rows[i] * across).T
        total[:, part] = total[:, part].clip(low.T, high.T)
    return total.reshape(len(values), *row.shape)


def _parts(pixels: int) -> list[slice]:
    return [slice(first, first + AT_A_TIME) for first in range(0, pixels, AT_A_TIME)]


def _corner(row: Floats, col: Floats, grid: Grid) -> tuple[Ints, Floats, Floats]:
    """Flat index of the pixel up and left of each place, and the way on from there.

    Places are the lattice's, so that the way on has the same bits in every grid.
    """
    top, left = np.floor(row), np.floor(col)
    at = (top - grid.row) * grid.width + (left - grid.col)
    return at.astype(np.int64), row - top, col - left


def _weights(t: Floats) -> Floats:
    """Of the four pixels around a place, shape ``(4, …)``; `t` from the second one, in [0, 1)."""
    return np.stack(
        [
            ((2 - t) * t - 1) * t / 2,
            ((3 * t - 5) * t * t + 2) / 2,
            ((4 - 3 * t) * t + 1) * t / 2,
            (t - 1) * t * t / 2,
        ]
    )
