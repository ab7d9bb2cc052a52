"""Where a network's windows lie."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonmap.grid import Grid
from carbonmap.models.windows import PERIOD_PX, cells, halo, reach, windows
from carbonmap.stages.common import TILE_PX


@given(st.integers(-3000, 3000), st.integers(-3000, 3000), st.integers(1, 90), st.integers(1, 90))
def test_every_pixel_has_one_window_centred_on_its_cell(row, col, height, width):
    grid = Grid("EPSG:32612", 30.0, row, col, height, width)
    count = np.zeros(grid.shape, int)
    for window in windows(grid, 32):
        count[grid.roi_of(window.cell.intersection(grid))] += 1
        assert window.grid.shape == (32, 32)
        window.grid.roi_of(window.cell.padded(3))  # or it would reach beyond
    assert (count == 1).all()


@pytest.mark.parametrize("tile_px", [16, 32, 64, 96, 128, 256, 512])
def test_the_stages_tiles_are_cut_without_remainder(tile_px):
    assert PERIOD_PX == TILE_PX
    grid = Grid("EPSG:32612", 30.0, row=-PERIOD_PX, col=PERIOD_PX, height=2048, width=10)
    found = {(w.cell.row, w.cell.height) for w in windows(grid, tile_px)}
    n = cells(tile_px)
    assert len(found) == 2 * n
    low, high = PERIOD_PX // n, math.ceil(PERIOD_PX / n)
    assert {h for _, h in found} <= {low, high}
    assert tile_px - high >= 2 * (tile_px // 10)
    assert n == 1 or PERIOD_PX / (n - 1) > tile_px - 2 * (tile_px // 10)


@pytest.mark.parametrize("tile_px", [16, 32, 96])
def test_the_halo_is_just_what_some_tile_needs(tile_px):
    farthest = 0
    for at in range(PERIOD_PX):
        place = Grid("EPSG:32612", 30.0, row=at, col=0, height=1, width=1)
        for window in windows(place.padded(reach(tile_px)), tile_px):
            sides = at - window.grid.row, window.grid.row + tile_px - 1 - at
            farthest = max(farthest, *sides)
    assert halo(tile_px) == farthest
