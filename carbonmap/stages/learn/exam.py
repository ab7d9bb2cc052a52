"""How a network does on land that it never sees, while it learns and after."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from carbonmap import fields
from carbonmap.metrics import Errors, errors
from carbonmap.models.neural import Neural
from carbonmap.patches import CELL_PX
from carbonmap.splits import Role
from carbonmap.stages import scope
from carbonmap.stages.common import TILE_PX
from carbonmap.stages.sampler import Sampler
from carbonmap.tiles import Tile, tiles
from carbonmap.types import Ints

PART_PX = 4 * CELL_PX
"""Edge of the parts of land that are asked: as a laptop's patch, so that few windows
are computed for pixels that nobody asks for."""


@dataclass(frozen=True)
class Exam:
    """Held-out land on which a network is judged.

    Args:
        sampler: grid, labels and roles.
        stacks: the region's layers with one image each.
        parts: image, usable pixels and place of each part, in the order of their lots.
        pixels: usable ones in all, each image's.
    """

    sampler: Sampler
    stacks: Sequence[xr.Dataset]
    parts: tuple[tuple[int, int, Tile], ...]
    pixels: int

    def judge(self, model: Neural, most_px: int) -> Errors:
        """Errors of the model's map on the first parts that hold about so many pixels."""
        total = Errors()
        for image, stack in enumerate(self.stacks):
            asked = [part for number, part in self._first(most_px) if number == image]
            for tile in tiles(self.sampler.grid, TILE_PX):
                total += self._judged(model, stack, tile, asked)
        return total

    def _first(self, most_px: int) -> Iterator[tuple[int, Tile]]:
        seen = 0
        for image, count, part in self.parts:
            if seen >= most_px:
                return
            yield image, part
            seen += count

    def _judged(
        self, model: Neural, stack: xr.Dataset, tile: Tile, asked: Sequence[Tile]
    ) -> Errors:
        """Errors on the parts of a tile: each of the network's windows is computed once."""
        wanted = np.zeros(tile.grid.shape, bool)
        for part in asked:
            if (held := part.grid.intersection(tile.grid)) is not None:
                wanted[tile.grid.roi_of(held)] = True
        if not wanted.any():
            return Errors()
        usable, density = self.sampler.candidates(tile, Role.VALIDATION)
        truth = np.where(usable & wanted, density, np.nan).astype(np.float32)
        layers = scope.read_layers(stack, self.sampler.grid, tile.grid, model.layers, model.halo)
        return errors(model.predict(layers, tile.grid, np.isfinite(truth)), truth)


def exam_of(sampler: Sampler, stacks: Sequence[xr.Dataset], counts: Ints) -> Exam:
    """The held-out land of a region, in an order that depends on place and seed alone.

    Args:
        sampler: grid, labels and roles.
        stacks: the region's layers with one image each.
        counts: usable held-out pixels by image and cell of `CELL_PX`, as `patches.count_cells`
            leaves them.
    """
    key = fields.field_key(sampler.seed, "exam")
    ranked = []
    for image, part in itertools.product(range(len(stacks)), tiles(sampler.grid, PART_PX)):
        rows, cols = (slice(s.start // CELL_PX, -(-s.stop // CELL_PX)) for s in part.roi)
        if count := int(counts[image, rows, cols].sum()):
            place = np.array(part.grid.row // PART_PX), np.array(part.grid.col // PART_PX)
            lot = float(fields.uniform(*place, fields.field_key(key, image)))
            ranked.append((lot, image, count, part))
    ranked.sort(key=lambda one: one[:2])
    return Exam(sampler, stacks, tuple(one[1:] for one in ranked), int(counts.sum()))
