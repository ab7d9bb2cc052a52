import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonmap.blending import (
    FINEST,
    FULL,
    STEPS,
    Shares,
    blended,
    nothing,
    quanta,
    quantum,
    weights,
)
from carbonmap.grid import Grid

AREA = Grid("EPSG:32612", 30.0, row=-7, col=11, height=40, width=31)


def cell(row, col, height, width):
    return Grid("EPSG:32612", 30.0, row, col, height, width)


def cut(lengths, first):
    """First coordinate and length of each of a row of cells."""
    starts = first + np.cumsum([0, *lengths])
    return list(zip(starts.tolist(), lengths, strict=False))


lattices = st.integers(0, 3).flatmap(
    lambda reach: st.tuples(
        st.just(reach),
        st.lists(st.integers(max(1, 2 * reach), 9), min_size=1, max_size=5),
        st.lists(st.integers(max(1, 2 * reach), 9), min_size=1, max_size=5),
    )
)


@given(lattices)
def test_weights_of_neighbours_make_a_whole_at_every_pixel(lattice):
    reach, down, across = lattice
    total = nothing(cell(-5, -5, sum(down) + 10, sum(across) + 10), 1)
    for row, height in cut(down, 0):
        for col, width in cut(across, 0):
            one = cell(row, col, height, width)
            weight = weights(one, reach)
            assert weight.shape == one.padded(reach).shape
            assert (weight >= 0).all()
            total.add(Shares(one.padded(reach), weight[None], weight))
    inner = total.weights[total.grid.roi_of(cell(0, 0, sum(down), sum(across)).padded(-reach))]
    assert (inner == FULL).all()


@pytest.mark.parametrize("reach", [1, 3, 6, 25, 51])
def test_a_window_fades_steadily_and_is_its_own_cells_first(reach):
    row = weights(cell(0, 0, 120, 1 + 2 * reach), reach)[:, 2 * reach]
    ramp = row[: 2 * reach] / STEPS
    assert (np.diff(ramp) >= 0).all()
    assert (ramp[:reach] <= STEPS / 2).all()
    assert (ramp[reach:] >= STEPS / 2).all()
    np.testing.assert_array_equal(row, row[::-1])
    t = (np.arange(2 * reach) + 0.5) / (2 * reach)
    np.testing.assert_allclose(ramp / STEPS, np.sin(np.pi / 2 * t) ** 2, atol=0.5 / STEPS + 1e-12)


def brute(windows, area, reach, count):
    """Every window added to one large raster."""
    total = nothing(area.padded(50), count)
    for one, values in windows:
        weight = weights(one, reach)
        total.add(Shares(one.padded(reach), values * weight, weight))
    inner = total.grid.roi_of(area)
    return total.sums[:, *inner], total.weights[inner]


@settings(max_examples=60)
@given(lattices, st.integers(1, 3), st.integers(-12, 3), st.integers(0, 12), st.data())
def test_strips_hold_what_all_windows_together_give_and_no_row_twice(
    lattice, count, row, col, data
):
    reach, down, across = lattice
    cells = [
        cell(r, c, h, w) for r, h in cut(down, row) for c, w in cut(across, col)
        if data.draw(st.booleans())
    ]  # fmt: skip
    touching = [one for one in cells if one.padded(reach).intersection(AREA)]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    values = [rng.integers(0, 1 << 20, (count, *one.padded(reach).shape)) for one in touching]
    windows = [(o, v.astype(np.int32)) for o, v in zip(touching, values, strict=True)]
    found, seen = nothing(AREA, count), np.zeros(AREA.height, int)
    for strip in blended(iter(windows), AREA, reach, count):
        rows, cols = AREA.roi_of(strip.grid)
        assert cols == slice(0, AREA.width)
        seen[rows] += 1
        found.add(strip)
    sums, weight = brute(windows, AREA, reach, count)
    np.testing.assert_array_equal(found.sums, sums)
    np.testing.assert_array_equal(found.weights, weight)
    assert (seen <= 1).all()
    assert (seen[weight.any(axis=1)] == 1).all()


def test_only_a_few_windows_heights_of_rows_are_held_at_a_time():
    area = cell(0, 0, 400, 20)
    windows = ((cell(r, 0, 20, 20), np.ones((5, 24, 24), np.int32)) for r in range(0, 400, 20))
    assert max(strip.grid.height for strip in blended(windows, area, 2, 5)) <= 20


def test_a_draw_is_the_mean_of_its_windows_by_their_weights():
    a, b = cell(0, 0, 8, 8), cell(0, 8, 8, 8)
    total = nothing(cell(0, 0, 8, 16), 2)
    for one, density in ((a, 40.0), (b, 120.0)):
        whole = quanta(np.full((2, *one.padded(2).shape), density, np.float32), FINEST)
        total.add(Shares(one.padded(2), whole * weights(one, 2), weights(one, 2)))
    drawn = total.draws(FINEST)
    share = np.sin(np.pi / 2 * (np.arange(4) + 0.5) / 4) ** 2
    share = np.round(share * STEPS) / STEPS
    np.testing.assert_array_equal(drawn[:, :, 6:10], np.tile(40 + 80 * share, (2, 8, 1)))
    np.testing.assert_array_equal(drawn[:, :, :6], 40)
    np.testing.assert_array_equal(drawn[:, :, 10:], 120)


def test_beside_a_window_that_was_left_out_the_other_answers_alone_and_beyond_nobody():
    one = cell(0, 0, 8, 8)
    total = nothing(cell(0, 0, 8, 16), 1)
    whole = quanta(np.full((1, 12, 12), 77.125, np.float32), FINEST)
    total.add(Shares(one.padded(2), whole * weights(one, 2), weights(one, 2)))
    drawn = total.draws(FINEST)
    np.testing.assert_array_equal(drawn[0, :, :10], 77.125)
    assert np.isnan(drawn[0, :, 10:]).all()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 250.0, 1056.9, 2047.0, 2100.0, 1e5, 3e7])
def test_a_sum_of_shares_fits_its_bits_and_a_quantum_is_as_fine_as_it_can_be(scale):
    step = quantum(scale)
    assert np.log2(step) % 1 == 0
    most = int(quanta(np.array([scale], np.float32), step)[0])
    assert most * FULL <= np.iinfo(np.int32).max
    assert step == FINEST or 2 * most * FULL > np.iinfo(np.int32).max / 2
    values = np.linspace(0, scale, 1001).astype(np.float32)
    np.testing.assert_allclose(quanta(values, step) * step, values, rtol=0, atol=step / 2)
