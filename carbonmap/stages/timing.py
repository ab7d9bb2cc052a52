"""How long maps take, on which land that is measured, and by which clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import xarray as xr

from carbonmap.grid import Grid
from carbonmap.models.protocol import Model, maps
from carbonmap.splits import Role
from carbonmap.stages import scope
from carbonmap.stages.sampler import Sampler
from carbonmap.tiles import tiles

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

    Args:
        models: by name.
        stack: the region's layers with one image.
        grid: the region's.
        part: where the map is made; of another size, its time is told for as many pixels.
        device: torch's name of what computes.
    """
    now = clock(device)
    least = dict.fromkeys(models, float("inf"))
    layers = {
        name: scope.read_layers(stack, grid, part, model.layers, model.halo)
        for name, model in models.items()
    }
    for _ in range(ROUNDS):
        for name, model in models.items():
            began = now()
            maps(model, layers[name], part, 1)
            least[name] = min(least[name], now() - began)
    return {name: found * TILE_PX**2 / part.size for name, found in least.items()}


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


def _widened(held: slice, edge: int, length: int) -> slice:
    """A span of that many pixels, moved off the region's end."""
    start = max(0, min(held.start, length - edge))
    return slice(start, min(start + edge, length))
