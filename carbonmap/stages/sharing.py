"""Maps of models that see windows: each window is computed once, and what it gives to the pixels of
the next tile waits on the disk until that tile is joined.

First pass: a tile's own windows, of which the middle of the tile follows at once and its rim is
kept as shares. Second pass: the shares of up to nine tiles, added up in each rim. Both passes may
take the tiles in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from carbonmap import progress
from carbonmap.blending import Shares, nothing
from carbonmap.grid import Grid
from carbonmap.io import files
from carbonmap.io.output import Work
from carbonmap.models.protocol import Windowed
from carbonmap.stages import common
from carbonmap.stages.common import Elsewhere
from carbonmap.tiles import Tile, tiles
from carbonmap.types import Bands, Bool, Floats, Json, Raster

Asked = tuple[Bands, Bool]
"""A tile's layers with the model's halo, and which pixels of it and its rim are wanted."""

BYTES_PER_VALUE = 4
"""A draw's sum or a weight of a rim's pixel, or a map's value."""


@dataclass(frozen=True)
class TwoPass:
    """The windows of some maps of one region.

    Args:
        grid: the region's.
        work: the maps' unfinished output.
        model: whose windows.
        count: of draws.
        names: of the maps.
        ask: for a tile, and the pixels that far around it; None where nothing is wanted of it.
        summarise: draws, ``(draw, row, col)``, to what each map says of them, pixel by pixel.
    """

    grid: Grid
    work: Work
    model: Windowed
    count: int
    names: Sequence[str]
    ask: Callable[[Tile, int], Asked | None]
    summarise: Callable[[Floats], dict[str, Raster]]

    def compute(
        self,
        what: str,
        workers: int,
        stop: Callable[[], None] | None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """The first pass, over the tiles that an earlier run did not finish.

        Args:
            what: shown while it runs.
            workers: tiles at a time.
            stop: as of `common.ahead`.
            elsewhere: other processes, instead of this one, which call `windows`.
        """
        left = [tile for tile in tiles(self.grid, common.TILE_PX) if not self._is_done(tile)]
        done = elsewhere(left) if elsewhere else common.ahead(self.windows, left, workers, stop)
        for name, facts in progress.track(done, what, len(left)):
            self.work.record(name, facts)

    def joined(self, tile: Tile) -> dict[str, Raster] | None:
        """The second pass: a tile of every map, or None where all of it is unknown."""
        if self._facts(tile).get("empty"):
            return None
        own = self._read(tile, self.names)
        rims = [rim.intersection(tile.grid) for rim in _rims(tile.grid, self.model.reach)]
        totals = [nothing(rim, self.count) for rim in rims if rim is not None]
        for share in self._shares(tile):
            for total in totals:
                total.add(share)
        for total in totals:
            for name, values in self.summarise(total.draws(self.model.quantum)).items():
                own[name][tile.grid.roi_of(total.grid)] = values
        return own if any(np.isfinite(one).any() for one in own.values()) else None

    def disk_bytes(self) -> int:
        """What the first pass keeps on the disk."""
        parts = list(tiles(self.grid, common.TILE_PX))
        rims = sum(rim.size for tile in parts for rim in _rims(tile.grid, self.model.reach))
        return BYTES_PER_VALUE * (rims * (self.count + 1) + self.grid.size * len(self.names))

    def windows(self, tile: Tile) -> tuple[str, Json]:
        """Compute a tile's windows and write what they give: its part of the journal."""
        asked = self.ask(tile, self.model.reach)
        maps = {n: np.full(tile.grid.shape, np.nan, np.float32) for n in self.names}
        rims = [nothing(rim, self.count) for rim in _rims(tile.grid, self.model.reach)]
        given = False
        if asked is not None:
            for strip in self.model.shares(asked[0], tile.grid, self.count, asked[1]):
                given = given or bool(strip.weights.any())
                for rim in rims:
                    rim.add(strip)
                for name, (part, values) in self._middle(tile.grid, strip).items():
                    maps[name][tile.grid.roi_of(part)] = values
        if not given:
            return _key(tile), {"empty": True}
        shares = {f"sums {n}": rim.sums for n, rim in enumerate(rims)}
        shares |= {f"weights {n}": rim.weights for n, rim in enumerate(rims)}
        return _key(tile), {"crc32": files.write_arrays(self._path(tile), {**maps, **shares})}

    def _middle(self, grid: Grid, strip: Shares) -> dict[str, tuple[Grid, Raster]]:
        """What the maps say where no other tile's windows reach."""
        reach = self.model.reach
        if min(grid.shape) <= 2 * reach:
            return {}
        part = grid.padded(-reach).intersection(strip.grid)
        if part is None:
            return {}
        roi = strip.grid.roi_of(part)
        own = Shares(part, strip.sums[:, *roi], strip.weights[roi])
        found = self.summarise(own.draws(self.model.quantum))
        return {name: (part, values) for name, values in found.items()}

    def _shares(self, tile: Tile) -> Iterator[Shares]:
        """What the windows of a tile and of those around it give to its rims."""
        reach = self.model.reach
        for other in tiles(self.grid, common.TILE_PX, tile.grid.padded(reach)):
            if self._facts(other).get("empty"):
                continue
            rims = {
                n: rim
                for n, rim in enumerate(_rims(other.grid, reach))
                if rim.intersection(tile.grid) is not None
            }
            held = self._read(other, [f"{what} {n}" for n in rims for what in ("sums", "weights")])
            for number, rim in rims.items():
                yield Shares(rim, held[f"sums {number}"], held[f"weights {number}"])

    def _read(self, tile: Tile, names: Iterable[str]) -> dict[str, np.ndarray[Any, Any]]:
        """Arrays of a tile, once they are known to be those that this run wrote."""
        return files.read_arrays(self._path(tile), self._facts(tile)["crc32"], names)

    def _facts(self, tile: Tile) -> Json:
        return self.work.done[_key(tile)]

    def _is_done(self, tile: Tile) -> bool:
        """Whether a tile's file is still what the journal says was written."""
        facts = self.work.done.get(_key(tile))
        if facts is None or facts.get("empty"):
            return facts is not None
        path = self._path(tile)
        return path.is_file() and files.crc32(path) == facts["crc32"]

    def _path(self, tile: Tile) -> Path:
        return self.work.folder / "windows" / f"{tile.name}.npz"


def _key(tile: Tile) -> str:
    """Of the journal."""
    return f"windows {tile.name}"


def _rims(grid: Grid, reach: int) -> list[Grid]:
    """Rectangles that are the pixels less than `reach` from a tile's edge, in or outside of it."""
    if not reach:
        return []
    wide, edge = grid.padded(reach), 2 * reach
    if min(grid.shape) <= edge:
        return [wide]
    middle = slice(edge, wide.height - edge)
    return [
        wide[:edge, :],
        wide[wide.height - edge :, :],
        wide[middle, :edge],
        wide[middle, wide.width - edge :],
    ]
