"""A map and its truth, tile by tile, by what the model knew of the land."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import shapely

from carbonmap.coverage import polygon_coverage
from carbonmap.grid import Grid
from carbonmap.io import lattice
from carbonmap.labels import trustworthy
from carbonmap.metrics import SSIM_RADIUS, Errors, Similarity, errors, similarity
from carbonmap.splits import Role
from carbonmap.stages.mask import read_forest
from carbonmap.tiles import Tile
from carbonmap.types import Bool, Ints, Json, Raster

CORE = (slice(SSIM_RADIUS, -SSIM_RADIUS),) * 2
"""A tile without the margin that similarity looks at."""


@dataclass(frozen=True)
class Judged:
    """Errors and similarity of some pixels; those of two sets add."""

    errors: Errors = field(default_factory=Errors)
    similarity: Similarity = field(default_factory=Similarity)

    def __add__(self, other: Judged) -> Judged:
        return Judged(self.errors + other.errors, self.similarity + other.similarity)

    def to_json(self, scale: float) -> Json:
        """Every figure by name."""
        mean = self.similarity.mean
        ssim = {"ssim": mean if math.isfinite(mean) else None, "ssim_pixels": self.similarity.count}
        return self.errors.to_json(scale) | ssim


def judged(estimate: Raster, truth: Raster, scale: float) -> Judged:
    """Errors and similarity of a tile.

    Args:
        estimate: Mg C/ha, with a margin of `SSIM_RADIUS` pixels that only similarity looks at.
        truth: same shape; NaN where it does not count.
        scale: Mg C/ha that are 1 on the 0–1 scale.
    """
    return Judged(errors(estimate[CORE], truth[CORE]), similarity(estimate, truth, scale))


@dataclass(frozen=True)
class Comparison:
    """A map, its truth and who learned what.

    Args:
        path: the map.
        truth: the density raster.
        coverage: share of the pixel inside known stands, or None where the truth has none.
        min_coverage: least share for a pixel to count.
        stands: polygons of the model's stands, shape ``(stand,)``.
        roles: their `Role` values.
        buffer_m: land without a stand that is nearer to a training stand than this counts as the
            buffer's, m.
        mask: forest mask, or None.
        scale: Mg C/ha that are 1 on the 0–1 scale.
    """

    path: Path
    truth: Path
    coverage: Path | None
    min_coverage: float
    stands: np.ndarray[tuple[int], np.dtype[np.object_]]
    roles: Ints
    buffer_m: float
    mask: Path | None
    scale: float

    def tile(self, tile: Tile) -> tuple[dict[Role, Judged], Raster, Raster, Ints]:
        """Errors of a tile by role, and its map, truth and roles (255 where nothing counts)."""
        wide = tile.grid.padded(SSIM_RADIUS)
        estimate = lattice.read_on_grid(self.path, wide, "map")
        truth = lattice.read_on_grid(self.truth, wide, "truth")
        role = np.where(self._usable(wide), self._roles(wide), 255)
        found = {}
        for one in Role:
            seen = np.where(role == one, truth, np.nan)
            found[one] = judged(estimate, seen, self.scale)
        return found, estimate[CORE], truth[CORE], role[CORE]

    def _usable(self, grid: Grid) -> Bool:
        usable = np.ones(grid.shape, dtype=bool)
        if self.coverage is not None:
            share = lattice.read_on_grid(self.coverage, grid, "truth")
            usable &= trustworthy(share, self.min_coverage)
        forest = read_forest(self.mask, grid)
        return usable if forest is None else usable & forest

    def _roles(self, grid: Grid) -> Ints:
        """The role of every pixel; one that stands of two roles share counts as the buffer's."""
        cover = polygon_coverage(self.stands, grid)
        role = self.roles[cover.stand]
        held = {r: np.bincount(cover.cell[role == r], minlength=grid.size) > 0 for r in Role}
        out = np.full(grid.size, Role.OUTSIDE, np.uint8)
        for one in (Role.TRAIN, Role.VALIDATION, Role.REFERENCE):
            out[held[one]] = one
        shared = sum(held[r].astype(np.uint8) for r in Role if r != Role.OUTSIDE) > 1
        out[held[Role.BUFFER] | shared] = Role.BUFFER
        near = polygon_coverage(self._surroundings(grid), grid).cell
        out[near[out[near] == Role.OUTSIDE]] = Role.BUFFER
        return out.reshape(grid.shape)

    def _surroundings(self, grid: Grid) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
        """The land around the training stands that lie on or near a tile."""
        learned = self.stands[self.roles == Role.TRAIN]
        around = shapely.buffer(shapely.box(*grid.bounds), self.buffer_m)
        return np.asarray(
            shapely.buffer(learned[shapely.intersects(learned, around)], self.buffer_m)
        )
