"""Which label pixels may be learned from or held out, and a draw of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from carbonmap import fields, progress
from carbonmap.features import FeatureSpec, features_at, valid_pixels
from carbonmap.grid import Grid
from carbonmap.io import lattice
from carbonmap.labels import trustworthy
from carbonmap.splits import Role
from carbonmap.stages import scope
from carbonmap.stages.common import TILE_PX
from carbonmap.stages.labels import STAND, TOTAL
from carbonmap.stages.mask import read_forest
from carbonmap.tiles import Tile, tiles
from carbonmap.types import Bool, Floats, Ints, Raster


@dataclass(frozen=True)
class Sampler:
    """Draws label pixels; which ones depends on place, role and seed, never on tiles.

    Args:
        grid: of region and labels.
        labels: folder.
        roles: of each stand, by row of its table.
        min_coverage: least share of a pixel inside known stands.
        mask: forest mask, or None.
        seed: of the draw.
    """

    grid: Grid
    labels: Path
    roles: Ints
    min_coverage: float
    mask: Path | None
    seed: int

    def candidates(self, tile: Tile, role: Role) -> tuple[Bool, Floats]:
        """Pixels of a role that may be used, and the density of all, ``(row, col)``."""
        density, share = (self._read(name, tile.grid) for name in (TOTAL, "coverage"))
        of_role = np.r_[self.roles, int(Role.OUTSIDE)][self.stands(tile.grid)] == int(role)
        usable = of_role & trustworthy(share, self.min_coverage) & np.isfinite(density)
        forest = read_forest(self.mask, tile.grid)
        return usable if forest is None else usable & forest, density

    def stands(self, grid: Grid) -> Ints:
        """The stand of every pixel, ``(row, col)``: its row in the stands' table, −1 for none."""
        return np.nan_to_num(self._read(STAND.name, grid)).astype(np.int64) - 1

    def _read(self, name: str, grid: Grid) -> Raster:
        return lattice.read_on_grid(self.labels / f"{name}.tif", grid, "labels")

    def count(self, role: Role) -> int:
        """Pixels of a role in the whole region."""
        return sum(int(self.candidates(t, role)[0].sum()) for t in tiles(self.grid, TILE_PX))

    def draw(
        self, stacks: Sequence[xr.Dataset], spec: FeatureSpec, role: Role, most: int
    ) -> tuple[Floats, Floats]:
        """Features, ``(pixel, feature)``, and densities of about `most` pixels of a role.

        Every pixel of every image has its own lot by its place on the lattice, so the draw depends
        on no tile.
        """
        rows: list[Floats] = [np.empty((0, len(spec.names)), np.float32)]
        densities: list[Floats] = [np.empty(0, np.float32)]
        share = most / max(1, self.count(role) * len(stacks))
        todo = list(tiles(self.grid, TILE_PX))
        for tile in progress.track(todo, f"reading {role.name.lower()} pixels", len(todo)):
            usable, density = self.candidates(tile, role)
            for number, stack in enumerate(stacks):
                key = fields.field_key(self.seed, "sample", role.name, number)
                taken = usable & (fields.uniform(*fields.places(tile.grid), key) < share)
                if not taken.any():
                    continue
                layers = scope.read_layers(stack, self.grid, tile.grid, spec.layers, spec.halo)
                taken &= valid_pixels(layers, spec)
                rows.append(features_at(layers, spec, self.grid.pixel_m, taken))
                densities.append(density[taken])
        return np.concatenate(rows), np.concatenate(densities)
