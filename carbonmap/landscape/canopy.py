"""Canopy height, and the carbon that is truly there."""

from __future__ import annotations

import dataclasses

import numpy as np

from carbonmap.fields import field_key, normal, places, smooth
from carbonmap.grid import Grid
from carbonmap.landscape.county import County
from carbonmap.landscape.cover import cover
from carbonmap.landscape.inventory import stands
from carbonmap.landscape.mesh import mesh
from carbonmap.types import Floats, Raster

CLUMPS = (("clumps", 90.0, 0.24), ("slopes", 300.0, 0.14))
"""Fields that vary the canopy inside stands: name, half-width (m) and strength."""

TREES_SD = 0.10
"""Strength of the variation from pixel to pixel."""

LOWEST = 0.12
"""Height of the deepest gaps ÷ the stand's mean; above 0, so that every pixel can hold carbon."""


def canopy_height(grid: Grid, county: County) -> Raster:
    """Height of the canopy, m, float32, shape ``(row, col)``; at most about 1.5 m off the forest.

    The mean height of the stands, mixed by exact area shares where several meet in a pixel, times
    a variation around 1: clumps and slopes, which images show, and each pixel by itself.
    """
    mean = cover(mesh(grid, county), grid).average(stands(grid, county).canopy_height)
    pixel = TREES_SD * normal(*places(grid), field_key(county.seed, "trees"))
    return (mean * np.maximum(LOWEST, clumping(grid, county) + pixel)).astype(np.float32)


def clumping(grid: Grid, county: County) -> Floats:
    """Variation of the canopy inside stands that an image can show, around 1."""
    total = np.ones(grid.shape)
    for name, spacing, strength in CLUMPS:
        total += strength * smooth(grid.y, grid.x, spacing, field_key(county.seed, name))
    return total


def carbon_density(grid: Grid, county: County) -> Raster:
    """True carbon of all pools, Mg C ha⁻¹, shape ``(row, col)``; 0 off the forest.

        CD_p = Σ_i C_i · (a_ip h_p) / (Σ_q a_iq h_q) / A_p           Yu et al., eq. 5–7

    with ``a`` the share of a pixel's area in stand i, exact, ``h`` the canopy height of the whole
    pixel and ``A`` its area. The sum over q runs over every pixel of the stand: where it reaches
    beyond the grid, the height is computed there too. So a tile equals the whole to the last bit
    (off an equal-area CRS, to the rounding of pixel areas), and a stand's pixels add up to its
    stock. This is what labels from a faultless inventory and canopy height must give.
    """
    here, inventory = mesh(grid, county), stands(grid, county)
    around = _footprint(here.lines, grid)
    height = canopy_height(around, county)
    weight = cover(here, around).total(height, len(inventory))
    stock = inventory.carbon_stock
    per_weight = np.divide(stock, weight, out=np.zeros(len(inventory)), where=stock > 0)
    density = height[around.roi_of(grid)] * cover(here, grid).average(per_weight)
    return np.asarray(density / grid.pixel_area_ha())


def _footprint(lines: Floats, grid: Grid) -> Grid:
    """The grid, grown until it holds every edge given."""
    x0, y0 = grid.anchor
    col = np.floor((lines[:, 0::2].min() - x0) / grid.pixel_m)
    row = np.floor((y0 - lines[:, 1::2].max()) / grid.pixel_m)
    last_col = np.floor((lines[:, 0::2].max() - x0) / grid.pixel_m)
    last_row = np.floor((y0 - lines[:, 1::2].min()) / grid.pixel_m)
    row, col = min(int(row), grid.row), min(int(col), grid.col)
    return dataclasses.replace(
        grid,
        row=row,
        col=col,
        height=max(int(last_row) + 1, grid.row + grid.height) - row,
        width=max(int(last_col) + 1, grid.col + grid.width) - col,
    )
