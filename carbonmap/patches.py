"""Where the patches lie that a network learns from, and the eight ways to lay a map.

Nothing here holds a state: a patch follows from seed, step and slot, so that a resumed run draws
what an unbroken one would, and several processes what one alone would.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from carbonmap import fields
from carbonmap.errors import ModelError
from carbonmap.grid import Grid
from carbonmap.types import Bool, Floats, Ints

CELL_PX = 32
"""Edge of the cells by which usable pixels are counted: finer than a patch, so that patches lie
where the labels are, and coarse enough that a province has a few million."""

SYMMETRIES = 8
"""Ways to lay a square upon itself: four turns, each with or without a mirror image."""


@dataclass(frozen=True)
class Place:
    """One patch to learn from.

    Args:
        image: which image, by its number.
        grid: of the patch; it may reach beyond the region, where nothing is known.
        symmetry: how it is laid, for `turned`.
    """

    image: int
    grid: Grid
    symmetry: int


@dataclass(frozen=True)
class Places:
    """Draws patches in proportion to the usable pixels at their centres.

    The centre is uniform within a cell drawn by its count. So a patch at the region's edge reaches
    beyond it, and a network meets there what it will meet when it draws a map.

    Args:
        grid: the region's; patches lie on its lattice.
        counts: usable pixels by image and cell of `CELL_PX`, ``(image, row, col)``.
        patch_px: edge of a patch.
        seed: of the draw.
        augment: whether patches are laid in all `SYMMETRIES` rather than as they are.
    """

    grid: Grid
    counts: Ints
    patch_px: int
    seed: int
    augment: bool = True

    def __post_init__(self) -> None:
        if not self.counts.any():
            raise ModelError(
                "no pixel is usable for learning: check that labels, mask and images overlap, or "
                "lower labels.min_coverage"
            )

    @cached_property
    def _upto(self) -> NDArray[np.int64]:
        """Usable pixels up to each cell and with it, all images one after the other."""
        return np.cumsum(self.counts, dtype=np.int64)

    def place(self, step: int, slot: int) -> Place:
        """The patch of a step's slot."""
        lot = int(self._lot("cell", step, slot) * self._upto[-1])
        cell = int(np.searchsorted(self._upto, lot, side="right"))
        image, row, col = (int(i) for i in np.unravel_index(cell, self.counts.shape))
        height, width = (
            min(CELL_PX, size - CELL_PX * i)
            for size, i in zip(self.grid.shape, (row, col), strict=True)
        )
        down = CELL_PX * row + int(self._lot("row", step, slot) * height)
        right = CELL_PX * col + int(self._lot("col", step, slot) * width)
        way = int(self._lot("way", step, slot) * SYMMETRIES) if self.augment else 0
        patch = dataclasses.replace(
            self.grid,
            row=self.grid.row + down - self.patch_px // 2,
            col=self.grid.col + right - self.patch_px // 2,
            height=self.patch_px,
            width=self.patch_px,
        )
        return Place(image, patch, way)

    def dropped(self, step: int, slot: int, share: float, count: int) -> Bool:
        """Which of `count` things a patch goes without, each with the probability `share`."""
        return np.array([self._lot(f"drop {k}", step, slot) < share for k in range(count)], bool)

    def _lot(self, name: str, step: int, slot: int) -> float:
        """A number in (0, 1)."""
        key = fields.field_key(self.seed, "patch", name)
        return float(fields.uniform(np.array(step), np.array(slot), key))


def count_cells(usable: Bool, roi: tuple[slice, slice], counts: Ints) -> None:
    """Add a tile's usable pixels to the counts of the cells that it touches.

    Args:
        usable: of the tile, ``(row, col)``.
        roi: the tile's place in the region.
        counts: of the region's cells, ``(row, col)``, changed in place.
    """
    rows, cols = np.nonzero(usable)
    np.add.at(counts, ((rows + roi[0].start) // CELL_PX, (cols + roi[1].start) // CELL_PX), 1)


def cells_of(grid: Grid) -> tuple[int, int]:
    """Rows and columns of cells that a region has."""
    return -(-grid.height // CELL_PX), -(-grid.width // CELL_PX)


def turned(array: Floats, symmetry: int) -> Floats:
    """The array laid in one of the `SYMMETRIES`: quarter turns, then from 4 on a mirror image.

    Channels are turned as they are, those of the gradient too: where a slope rises to the north
    its channel says so however the patch is laid, and the sun still shines from where it did.
    Turned as a vector, light and slope would have no relation that a network could learn.

    Args:
        array: square in its last two axes.
        symmetry: 0–7; 0 leaves it as it is.
    """
    found = np.rot90(array, symmetry % 4, axes=(-2, -1))
    return np.ascontiguousarray(found[..., ::-1] if symmetry >= 4 else found)
