"""How long maps take, on which land that is measured, and by which clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from carbonmap.grid import Grid
from carbonmap.models.protocol import Model, Windowed, maps
from carbonmap.splits import Role
from carbonmap.stages import scope
from carbonmap.stages.sampler import Sampler
from carbonmap.tiles import tiles
from carbonmap.types import Bands, Raster

TILE_PX = 256
"""Edge of the paper's tiles (IIDM, table A3), for which seconds are told."""

ROUNDS = 5
"""Of which the least counts: other work on the machine only ever adds."""


def clock(device: str) -> Callable[[], float]:
    """Seconds of the CPU, all threads together; on a GPU, which it only waits for, by the clock."""
    return time.process_time if device == "cpu" else time.perf_counter


def seconds(
    models: Mapping[str, Model], stack: xr.Dataset, grid: Grid, part: Grid, device: str
) -> dict[str, float]:
    """Seconds of one map of a 256² tile by each model: the least of `ROUNDS`, taken in turn.

    A tile is a share of a large map: a model that computes whole cells makes the map of its own
    there, since a single tile would cut those at its rim, and the time goes by area.

    Args:
        models: by name.
        stack: the region's layers with one image.
        grid: the region's.
        part: where the map is made, or where the cells begin.
        device: torch's name of what computes.
    """
    now = clock(device)
    least = dict.fromkeys(models, float("inf"))
    lands = {
        name: model.whole_cells(part) if isinstance(model, Windowed) else part
        for name, model in models.items()
    }
    layers = {
        name: _filled(scope.read_layers(stack, grid, lands[name], model.layers, model.halo))
        for name, model in models.items()
    }
    for _ in range(ROUNDS):
        for name, model in models.items():
            began = now()
            _map(model, layers[name], lands[name])
            least[name] = min(least[name], now() - began)
    return {name: found * TILE_PX**2 / lands[name].size for name, found in least.items()}


def _map(model: Model, layers: Bands, land: Grid) -> None:
    """One map, or of windows what theirs is: its neighbours' are not its land's work."""
    if isinstance(model, Windowed):
        for strip in model.shares(layers, land, 1):
            strip.draws(model.quantum)
    else:
        maps(model, layers, land, 1)


def _filled(layers: Bands) -> Bands:
    """Layers with the mean of what is known of each in the place of what is not.

    A model saves itself the windows and pixels of which nothing is known, such as those beyond a
    region that is smaller than its cells, and would seem to be faster than it is.
    """
    return {name: np.where(np.isfinite(held), held, _mean(held)) for name, held in layers.items()}


def _mean(values: Raster) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean(dtype=np.float64)) if known.size else 0.0


def spot(sampler: Sampler, edge: int) -> Grid:
    """Land of that edge, or as much as the region has, around the tile with most held-out pixels.

    Args:
        sampler: of the region's labels.
        edge: pixels.
    """
    found = [
        (int(sampler.candidates(tile, Role.VALIDATION)[0].sum()), -number, tile)
        for number, tile in enumerate(tiles(sampler.grid, edge))
    ]
    rows, cols = max(found, key=lambda one: one[:2])[2].roi
    grid = sampler.grid
    return grid[_widened(rows, edge, grid.height), _widened(cols, edge, grid.width)]


def middle(grid: Grid) -> Grid:
    """Land of a tile's edge in the middle of a region, or all of a smaller one."""
    rows, cols = (
        slice((length - min(TILE_PX, length)) // 2, (length + min(TILE_PX, length)) // 2)
        for length in grid.shape
    )
    return grid[rows, cols]


def _widened(held: slice, edge: int, length: int) -> slice:
    """A span of that many pixels, moved off the region's end."""
    start = max(0, min(held.start, length - edge))
    return slice(start, min(start + edge, length))
