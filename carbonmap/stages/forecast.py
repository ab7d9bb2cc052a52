"""What a prediction would take: tiles, disk, memory and time, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely

from carbonmap.cores import cpu_threads
from carbonmap.grid import Grid
from carbonmap.io import files
from carbonmap.models.protocol import Model, Windowed
from carbonmap.stages import common, timing
from carbonmap.stages.mapping import Opened
from carbonmap.tiles import Tile, tiles
from carbonmap.types import Json

LIBRARIES_BYTES = 450e6
"""Resident memory of a process that has loaded torch and the raster libraries, measured."""

COPIES = 3
"""Arrays of a tile's layers that are there at once: as read, with their halo, and as features."""


@dataclass(frozen=True)
class Forecast:
    """What a day's maps would take.

    Args:
        tiles: of the region's box.
        beside: of these, how many lie wholly outside the boundary.
        disk: bytes, at most, while it runs.
        free: bytes of that disk.
        memory: bytes of all processes together, about.
        seconds: about, from one tile's worth of land measured now.
    """

    tiles: int
    beside: int
    disk: int
    free: int
    memory: float
    seconds: float

    def text(self, what: str) -> str:
        """In a line."""
        outside = f", {self.beside:,} of them outside the boundary" if self.beside else ""
        return (
            f"{what}: {self.tiles:,} tiles of {common.TILE_PX}²{outside}; "
            f"{self.disk / 1e6:,.0f} MB of disk ({self.free / 1e6:,.0f} MB are free), about "
            f"{self.memory / 1e9:.1f} GB of memory, about {_span(self.seconds)} on this machine"
        )

    def to_json(self) -> Json:
        """Plain values for ``--json``."""
        return {
            "tiles": self.tiles,
            "tiles_outside_boundary": self.beside,
            "disk_bytes": self.disk,
            "disk_free_bytes": self.free,
            "memory_bytes": self.memory,
            "seconds": self.seconds,
        }


def forecast(one: Opened, out: Path, processes: int) -> Forecast:
    """Look ahead at a day's maps.

    Land without forest or data costs less than is told: only reading it would show where it is.

    Args:
        one: the opened plan.
        out: folder of the maps.
        processes: that compute.
    """
    grid, model = one.plan.grid, one.drawn.loaded.model
    parts = list(tiles(grid, common.TILE_PX))
    beside = _beside(parts, one.plan.outline)
    disk = common.map_bytes(grid, len(one.plan.made))
    disk += one.sharing.disk_bytes() if one.sharing is not None else 0
    land = sum(part.grid.size for part, away in zip(parts, beside, strict=True) if not away)
    alone = one.drawn.workers if processes == 1 else 1
    memory = processes * (LIBRARIES_BYTES + alone * _tile_bytes(model, grid, one.drawn.samples))
    each = timing.seconds(
        {"it": model}, one.job.stack, grid, timing.middle(grid), one.drawn.told.get("device", "cpu")
    )["it"]
    wall = each * one.drawn.samples * land / timing.TILE_PX**2 / _at_a_time(one, processes)
    return Forecast(len(parts), sum(beside), disk, files.free_bytes(out), memory, wall)


def _beside(parts: list[Tile], outline: shapely.Geometry | None) -> list[bool]:
    if outline is None:
        return [False] * len(parts)
    boxes = shapely.box(*np.array([part.grid.bounds for part in parts]).T)
    shapely.prepare(outline)
    return [not near for near in shapely.intersects(outline, boxes)]


def _tile_bytes(model: Model, grid: Grid, samples: int) -> float:
    """About what one tile under way takes."""
    edge = min(common.TILE_PX, max(grid.shape)) + 2 * model.halo
    layers = len(model.layers) * edge**2 * common.BYTES_PER_PIXEL * COPIES
    if not isinstance(model, Windowed):
        return layers
    return layers + samples * common.TILE_PX * common.BYTES_PER_PIXEL * 4 * model.halo


def _at_a_time(one: Opened, processes: int) -> float:
    """Cores that compute side by side, as the seconds were of the CPU; a GPU's are by the clock."""
    if one.drawn.told.get("device", "cpu") != "cpu":
        return 1
    threads = one.plan.threads or cpu_threads()
    return min(processes * threads, cpu_threads())


def _span(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"
