"""What the rest of carbonmap asks of a model, whatever computes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from carbonmap.blending import Shares
from carbonmap.grid import Grid
from carbonmap.types import Bands, Bool, Floats, Raster


class Model(Protocol):
    """Carbon density of a tile from its layers.

    A tile's prediction must be the bytes that a prediction of the whole map has there: it depends
    on the layers within the halo and on the grid's place on its lattice (by which a model may key
    its noise), never on the tile's shape, on threads or on what was predicted before.
    """

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that it needs."""

    @property
    def halo(self) -> int:
        """Pixels by which its layers must reach beyond the tile."""

    @property
    def pixel_m(self) -> float:
        """Edge of the pixels that it was trained on, m; it cannot be used on others."""

    @property
    def scale(self) -> float:
        """Density that counts as 1 on the 0–1 scale, Mg C/ha."""

    def predict(self, layers: Bands, grid: Grid) -> Raster:
        """Carbon density of a tile.

        Args:
            layers: at least `layers`, each ``(row + 2 halo, col + 2 halo)``; NaN is nodata.
            grid: the tile's own, without the halo.

        Returns:
            Float32, Mg C/ha, the grid's shape; NaN where it cannot tell.

        Raises:
            ModelError: a layer is missing or has another shape, or the pixel is another.
        """


@runtime_checkable
class Generative(Model, Protocol):
    """A model that can draw many maps of a tile, each as good as another."""

    @property
    def generative(self) -> bool:
        """Whether two draws differ; where they do not, one says all."""

    def draws(self, layers: Bands, grid: Grid, count: int, wanted: Bool | None = None) -> Floats:
        """Maps of a tile, the first of them the same however many are asked for.

        Args:
            layers: as for `predict`, whose map is the mean of some of these.
            grid: the tile's own, without the halo.
            count: how many.
            wanted: pixels that are asked for, ``(row, col)``; what is far from all of them may
                stay NaN. None asks for all.

        Returns:
            Float32, Mg C/ha, ``(draw, row, col)``; NaN where it cannot tell.

        Raises:
            ModelError: as `predict`.
        """


@runtime_checkable
class Windowed(Protocol):
    """A model that sees windows of its lattice, each of which gives a share to its neighbours'
    pixels: so a large map computes every window once, and adds up what tiles give each other.
    """

    @property
    def reach(self) -> int:
        """Pixels beyond a tile of whole cells to which its windows give a share."""

    @property
    def quantum(self) -> float:
        """Of the densities that it shares, Mg C/ha."""

    def shares(
        self, layers: Bands, grid: Grid, count: int, wanted: Bool | None = None
    ) -> Iterator[Shares]:
        """What the windows of a tile's cells give to its pixels and to those around it.

        The shares of all tiles that touch a pixel add up to what `Generative.draws` has there.

        Args:
            layers: as for `Model.predict`.
            grid: the tile's own; where it cuts a cell, no other tile may hold the rest.
            count: of draws; one suffices of a model whose draws are all alike.
            wanted: pixels that are asked for, of the tile and `reach` around it. None asks for all.

        Yields:
            Strips of rows of ``grid.padded(reach)``, from the top; rows that nothing is given to
            may be left out.

        Raises:
            ModelError: as `Model.predict`.
        """

    def whole_cells(self, grid: Grid) -> Grid:
        """Whole cells from the one that holds a grid's first pixel on, of about the grid's size.

        As many as it computes at once, or a multiple: their time is that of their land alone.
        """


def maps(model: Model, layers: Bands, grid: Grid, count: int, wanted: Bool | None = None) -> Floats:
    """Maps of a tile: so many draws of a model that draws, the one map of any other.

    Args:
        model: of either sort.
        layers: as for `Model.predict`.
        grid: the tile's own.
        count: of draws.
        wanted: as for `Generative.draws`.

    Returns:
        Float32, Mg C/ha, ``(map, row, col)``.
    """
    if isinstance(model, Generative):
        return model.draws(layers, grid, count if model.generative else 1, wanted)
    return model.predict(layers, grid)[None]


@dataclass(frozen=True)
class Fake:
    """A model that gives away a tile put in the wrong place or read with the wrong halo.

    A pixel is 100 of its own layer, plus 10 of the difference of the layers at the two far corners
    of its halo, plus its lattice row and column modulo 10, each in its own digit for a layer of
    single digits.
    """

    layer: str = "nir"
    halo: int = 3
    pixel_m: float = 30.0
    scale: float = 1000.0

    @property
    def layers(self) -> tuple[str, ...]:
        """The one layer."""
        return (self.layer,)

    def predict(self, layers: Bands, grid: Grid) -> Raster:
        """As the class says."""
        values, h = layers[self.layer], 2 * self.halo
        rows, cols = grid.shape
        own = values[self.halo : self.halo + rows, self.halo : self.halo + cols]
        apart = values[h : h + rows, h : h + cols] - values[:rows, :cols]
        row, col = np.ogrid[grid.row : grid.row + rows, grid.col : grid.col + cols]
        return np.asarray(100 * own + 10 * apart + row % 10 + col % 10 / 10, np.float32)
