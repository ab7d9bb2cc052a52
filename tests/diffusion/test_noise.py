"""Noise by place: windows agree, names and channels do not."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from carbonmap.diffusion.noise import FAMILY, field, tiles_noise
from carbonmap.fields import field_key, normal, places
from carbonmap.grid import Grid

GRID = Grid("EPSG:32648", 16.0, -50, 70, 40, 60)


@given(st.integers(0, 39), st.integers(0, 59), st.integers(1, 40), st.integers(1, 60))
def test_two_tiles_see_the_same_noise_where_they_overlap(y, x, h, w):
    whole = field(GRID, 3, "start", 0, channels=2)
    roi = slice(y, min(y + h, 40)), slice(x, min(x + w, 60))
    assert torch.equal(field(GRID[roi], 3, "start", 0, channels=2), whole[:, *roi])


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.integers(0, 2**62))
def test_a_value_is_the_lattice_fields_own(row, col, seed):
    grid = dataclasses.replace(GRID, row=row, col=col, height=3, width=2)
    rows, cols = places(grid)
    want = normal(rows, cols, field_key(seed, FAMILY, "a", 7, 1)).astype(np.float32)
    got = field(grid, seed, "a", 7, channels=2)
    assert got.dtype == torch.float32
    assert np.array_equal(got[1].numpy(), want)


def test_channels_names_draws_and_seeds_are_independent_standard_normals():
    grid = dataclasses.replace(GRID, height=200, width=200)
    stack = torch.cat(
        [
            field(grid, 3, "start", 0, channels=3),
            field(grid, 3, "start", 1, channels=1),
            field(grid, 3, "step", 0, channels=1),
            field(grid, 4, "start", 0, channels=1),
        ]
    ).flatten(1)
    assert all(stats.kstest(f.double().numpy(), "norm").pvalue > 0.001 for f in stack)
    across = torch.corrcoef(stack) - torch.eye(6)
    assert across.abs().max() < 4 / 200  # 4 standard errors of a correlation of 200² pixels


def test_fewer_channels_are_the_first_of_many():
    assert torch.equal(field(GRID, 1, "a", channels=1), field(GRID, 1, "a", channels=4)[:1])


def test_a_batch_of_tiles_has_each_tiles_own_noise_whatever_was_asked_before():
    grids = [GRID, dataclasses.replace(GRID, row=-30)]
    noise, fresh = (tiles_noise(grids, seed=8, draw=2) for _ in range(2))
    start = noise("start", 3)
    assert start.shape == (2, 3, 40, 60)
    assert torch.equal(start[0, :, 20:], start[1, :, :20])
    assert torch.equal(start[1], field(grids[1], 8, 2, "start", channels=3))
    assert not torch.equal(noise("step", 3), start)
    assert torch.equal(fresh("step", 3), noise("step", 3))
    assert not torch.equal(tiles_noise(grids, seed=8, draw=3)("start", 3), start)


@pytest.mark.parametrize("stride", [1, 4, 8])
@pytest.mark.parametrize(("row", "col"), [(0, 0), (3, -5), (-13, 26), (8, 7)])
def test_coarse_noise_belongs_to_the_place_wherever_a_tile_begins(stride, row, col):
    """Within less than a stride of it: each tile's coarse pixels begin at its own corner."""
    whole = Grid("EPSG:32612", 30.0, -64, -64, 256, 256)
    part = Grid("EPSG:32612", 30.0, row, col, 32, 64)
    (large,) = tiles_noise([whole], 5, 0)("z", 2, stride)
    (small,) = tiles_noise([part], 5, 0)("z", 2, stride)
    assert small.shape == (2, 32 // stride, 64 // stride)
    top, left = (row + 64) // stride, (col + 64) // stride
    assert abs(top * stride - 64 - row) < stride
    want = large[:, top : top + small.shape[1], left : left + small.shape[2]]
    torch.testing.assert_close(small, want, rtol=0, atol=0)
