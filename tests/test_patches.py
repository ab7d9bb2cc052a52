import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonmap.errors import ModelError
from carbonmap.grid import Grid
from carbonmap.patches import CELL_PX, SYMMETRIES, Places, cells_of, count_cells, turned
from carbonmap.tiles import tiles

GRID = Grid("EPSG:32612", 30.0, row=-11, col=70, height=100, width=130)


def places(counts, **more):
    return Places(GRID, np.asarray(counts), patch_px=16, seed=3, **more)


def even(images=2):
    return np.ones((images, *cells_of(GRID)), int)


def centre(place):
    return place.grid.row + 8 - GRID.row, place.grid.col + 8 - GRID.col


def test_a_patch_follows_from_seed_step_and_slot_alone():
    one, other = places(even()), places(even())
    late = [other.place(step, slot) for step in (9, 4) for slot in (5, 0)]
    assert late == [one.place(step, slot) for step in (9, 4) for slot in (5, 0)]
    assert len({p.grid for p in late}) == 4
    assert Places(GRID, even(), 16, seed=4).place(9, 5) != late[0]


def test_patches_lie_in_proportion_to_the_usable_pixels():
    counts = np.zeros((2, *cells_of(GRID)), int)
    counts[0, 1, 2], counts[1, 0, 0] = 300, 100
    drawn = [places(counts).place(step, 0) for step in range(2000)]
    cells = [(p.image, *(i // CELL_PX for i in centre(p))) for p in drawn]
    assert set(cells) == {(0, 1, 2), (1, 0, 0)}
    assert cells.count((1, 0, 0)) == pytest.approx(500, abs=4 * np.sqrt(2000 * 0.25 * 0.75))


def test_centres_are_uniform_within_a_cell_and_ways_are_even():
    counts = np.zeros((1, *cells_of(GRID)), int)
    counts[0, 1, 2] = 1
    drawn = [places(counts).place(0, slot) for slot in range(4000)]
    rows, cols = np.transpose([centre(p) for p in drawn])
    for at, first in ((rows, CELL_PX), (cols, 2 * CELL_PX)):
        assert (at.min(), at.max()) == (first, first + CELL_PX - 1)
        hits = np.bincount(at - first, minlength=CELL_PX)
        assert np.sum((hits - 125) ** 2 / 125) < 70  # χ² with 31 degrees: 1 in 10,000 above it
    ways = np.bincount([p.symmetry for p in drawn], minlength=SYMMETRIES)
    assert np.sum((ways - 500) ** 2 / 500) < 30
    assert abs(np.corrcoef(rows, cols)[0, 1]) < 0.07


@given(st.integers(0, 10**6), st.integers(0, 500))
def test_every_centre_lies_in_the_region(step, slot):
    row, col = centre(places(even()).place(step, slot))
    assert 0 <= row < GRID.height
    assert 0 <= col < GRID.width


def test_without_augmentation_patches_lie_as_the_map_does():
    plain = places(even(), augment=False)
    assert {plain.place(step, 0).symmetry for step in range(50)} == {0}
    assert plain.place(7, 1).grid == places(even()).place(7, 1).grid


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(ModelError, match="no pixel is usable"):
        places(0 * even())


@pytest.mark.parametrize("size", [32, 47, 1024])
def test_cells_count_each_usable_pixel_once_however_the_region_is_cut(size):
    usable = np.random.default_rng(0).random(GRID.shape) < 0.3
    counts = np.zeros(cells_of(GRID), int)
    for tile in tiles(GRID, size):
        count_cells(usable[tile.roi], tile.roi, counts)
    for row, col in np.ndindex(*counts.shape):
        cell = np.s_[row * CELL_PX : (row + 1) * CELL_PX, col * CELL_PX : (col + 1) * CELL_PX]
        assert counts[row, col] == usable[cell].sum()


def test_bands_are_dropped_as_often_as_asked_and_apart():
    lots = np.array([places(even()).dropped(step, 0, 0.25, 4) for step in range(3000)])
    assert lots.mean(axis=0) == pytest.approx([0.25] * 4, abs=0.035)
    assert np.abs(np.corrcoef(lots.T) - np.eye(4)).max() < 0.08
    assert not places(even()).dropped(0, 0, 0.0, 4).any()


def test_the_symmetries_are_the_eight_of_the_square():
    square = np.arange(9.0).reshape(3, 3)
    assert len({turned(square, s).tobytes() for s in range(SYMMETRIES)}) == 8
    np.testing.assert_array_equal(turned(square, 0), square)
    stacked = turned(np.stack([square, -square]), 5)
    np.testing.assert_array_equal(stacked[0], turned(square, 5))
    np.testing.assert_array_equal(stacked[1], -turned(square, 5))
