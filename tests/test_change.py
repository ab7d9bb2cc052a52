"""Simulated change, and what it tells of the errors of a mapped one."""

import numpy as np
import pytest

from carbonmap import change as change_
from carbonmap.change import (
    GAIN,
    LOSS,
    NONE,
    RIM_PX,
    SQUARE_PX,
    UNKNOWN,
    ChangeError,
    Exchange,
    found,
    grain,
    light,
    regrained,
)
from carbonmap.correlation import EDGES, RANGES_M, Cells, Structure, averaged, deviation
from carbonmap.grid import Grid
from carbonmap.uncertainty import Z95

N = SQUARE_PX


def grid(height, width, row=0, col=0):
    return Grid("EPSG:32648", 16.0, row, col, height, width, (0.0, 0.0))


def structure(rms, nugget=0.0, common=1.0):
    levels = (rms,) * (len(EDGES) + 1) if np.isscalar(rms) else rms
    return Structure(levels, nugget, (0.0,) * len(RANGES_M), common, 5000)


def error(still=2.0, maps=10.0, seen=1.0, z95=2.0):
    return ChangeError(structure(still), structure(maps), seen, z95)


@pytest.fixture
def part():
    """A tile that cuts squares at all sides."""
    return grid(10 * N, 9 * N, row=-5 * N - 3, col=7 * N + 11)


def squares(part, values):
    """The values of the squares that lie whole in a tile, ``(square, row, col)``."""
    top, left = -part.row % N, -part.col % N
    down, along = (part.height - top) // N, (part.width - left) // N
    cut = values[top : top + down * N, left : left + along * N].reshape(down, N, along, N)
    return cut.swapaxes(1, 2).reshape(-1, N, N)


def exchanged(part, number=0, height=None, known=None):
    known = np.ones(part.shape, bool) if known is None else known
    return Exchange.of(part, known, number, height)


@pytest.fixture(autouse=True)
def many_squares(monkeypatch):
    monkeypatch.setattr(change_, "MOVED_SHARE", 0.4)


def test_whole_squares_of_the_lattice_change_places_and_nothing_else_moves(part):
    one = exchanged(part)
    rows, cols = np.indices(part.shape)
    apart = (one.rows != rows) | (one.cols != cols)
    shift = [squares(part, moved - own) for moved, own in ((one.rows, rows), (one.cols, cols))]
    for by in shift:
        assert (by == by[:, :1, :1]).all()
        assert (by % N == 0).all()
    gone = squares(part, apart).all((1, 2))
    assert apart.sum() == gone.sum() * N * N > 0
    places = one.rows * part.width + one.cols
    assert np.array_equal(np.sort(places.ravel()), np.arange(places.size))


def test_seams_do_not_count_as_moved_nor_their_surroundings_as_staying(part):
    one = exchanged(part)
    rows, cols = np.indices(part.shape)
    apart = (one.rows != rows) | (one.cols != cols)
    inner = squares(part, one.moved)[squares(part, apart).all((1, 2))]
    want = np.zeros((N, N), bool)
    want[RIM_PX:-RIM_PX, RIM_PX:-RIM_PX] = True
    assert (inner == want).all()
    assert one.moved.sum() == inner.sum()
    assert not (one.stays & apart).any()
    near = np.argwhere(apart)
    for row, col in np.argwhere(one.stays)[::500]:
        assert np.abs(near - (row, col)).max(1).min() > change_.APART_PX


def test_a_square_is_shown_as_the_next_higher_one_at_its_own_mean_height(part):
    height = np.random.default_rng(3).uniform(0, 4000, part.shape).astype(np.float32)
    one = exchanged(part, height=height)
    mean = squares(part, height).mean((1, 2), dtype=np.float64)
    shown = squares(part, one.shown(height)).mean((1, 2), dtype=np.float64)
    moved = np.flatnonzero(squares(part, one.moved).any((1, 2)))
    order = moved[np.argsort(mean[moved])]
    np.testing.assert_allclose(shown[order], np.roll(mean[order], -1), rtol=1e-6)
    after = squares(part, one.heights(height)).mean((1, 2), dtype=np.float64)
    np.testing.assert_allclose(after, mean, rtol=1e-6)
    np.testing.assert_array_equal(one.heights(height)[one.stays], height[one.stays])


def test_the_halo_is_shown_as_it_is(part):
    values = np.random.default_rng(1).normal(size=np.add(part.shape, 10)).astype(np.float32)
    one = exchanged(part)
    wide = one.shown(values, halo=5)
    np.testing.assert_array_equal(wide[5:-5, 5:-5], one.shown(values[5:-5, 5:-5]))
    wide[5:-5, 5:-5] = values[5:-5, 5:-5]
    np.testing.assert_array_equal(wide, values)


def test_only_squares_whose_labels_are_known_are_exchanged_and_other_images_exchange_others(part):
    known = np.zeros(part.shape, bool)
    known[: part.height // 2] = True
    one = exchanged(part, known=known)
    share = squares(part, known).mean((1, 2))
    assert (share[squares(part, one.moved).any((1, 2))] >= change_.LEAST_KNOWN).all()
    assert one.moved.any()
    assert not np.array_equal(exchanged(part).moved, exchanged(part, number=1).moved)


@pytest.mark.parametrize("shape", [(N - 1, 5), (N, N), (3 * N, 2)])
def test_land_without_two_squares_stays(shape):
    one = exchanged(grid(*shape))
    assert one.stays.all()
    assert not one.moved.any()
    assert np.array_equal(one.rows, np.indices(shape)[0])


def test_light_errs_as_told_and_over_pairs_of_images_not_at_all():
    drawn = np.array([light(f"b{k}", number, 0.1) for k in range(500) for number in range(4)])
    by_band = drawn.reshape(500, 4)
    np.testing.assert_allclose(by_band.mean(1), 1.0)
    assert np.std(by_band[:, ::2] - 1) == pytest.approx(0.1, rel=0.07)
    assert abs(np.corrcoef(by_band[:, 0], by_band[:, 2])[0, 1]) < 0.15


def smooth(part):
    rows, cols = np.indices(part.shape)
    return 0.3 + 1e-3 * rows - 2e-3 * cols + 1e-6 * rows**2 + 2e-6 * rows * cols


def test_noise_is_found_under_slopes_and_curves(part):
    noisy = smooth(part) + 0.004 * np.random.default_rng(0).standard_normal(part.shape)
    assert np.median(grain(part, noisy)) == pytest.approx(0.004, rel=0.02)
    noisy[part.height // 2] = np.nan
    held = grain(part, noisy)
    assert 0 < held.size < squares(part, noisy).shape[0]


def test_a_second_image_has_other_noise_and_is_as_grainy(part):
    """Two images of one texture differ by √2 of their noise; 8/9 of it is renewed."""
    random = np.random.default_rng(0)
    texture = smooth(part) + 0.006 * random.standard_normal(part.shape)
    image = texture + 0.004 * random.standard_normal(part.shape)
    again = regrained(part, image, "red", 0, 0.004)
    assert np.std(again - image) == pytest.approx(0.004 * np.sqrt(2 * 8 / 9), rel=0.03)
    assert np.median(grain(part, again)) == pytest.approx(np.median(grain(part, image)), rel=0.03)
    assert abs((again - image).mean()) < 1e-5
    other = regrained(part, image, "red", 1, 0.004)
    assert np.corrcoef((other - image).ravel(), (again - image).ravel())[0, 1] < 0.7
    np.testing.assert_array_equal(regrained(part, image, "red", 0, 0.0), image)


def test_noise_goes_by_place_and_gaps_stay(part):
    wide = part.padded(9)
    values = smooth(wide) + 0.004 * np.random.default_rng(2).standard_normal(wide.shape)
    inner = (slice(9, -9),) * 2
    deep = (slice(6, -6),) * 2
    np.testing.assert_allclose(
        regrained(wide, values, "nir", 2, 0.004)[inner][deep],
        regrained(part, values[inner], "nir", 2, 0.004)[deep],
        rtol=1e-12,
    )
    values[50, 60] = np.nan
    again = regrained(wide, values, "nir", 2, 0.004)
    assert np.argwhere(np.isnan(again)).tolist() == [[50, 60]]
    assert again[51, 61] == values[51, 61]


def test_significance_and_deviation_are_as_their_formula():
    one = error(still=2.0, maps=10.0, seen=0.5, z95=3.0)
    before = np.array([[50.0, 50.0, 50.0, np.nan, 50.0]])
    after = np.array([[55.9, 56.1, 43.9, 50.0, np.nan]])
    assert one.significant(before, after).tolist() == [[NONE, GAIN, LOSS, UNKNOWN, UNKNOWN]]
    sd = one.deviation(before, after)
    seen = (2**2 + 0.5**2 * 2 * 10**2) ** 0.5
    np.testing.assert_allclose(sd, [[2.0, seen, seen, np.nan, np.nan]])


def test_each_part_goes_by_its_own_density():
    levels = tuple(float(k + 1) for k in range(len(EDGES) + 1))
    one = ChangeError(structure(levels), structure(levels), 1.0, 0.1)
    before, after = np.array([[200.0]]), np.array([[2.0]])
    assert one.by_chance(before, after)[0, 0] == 6.0  # of 101 Mg C/ha
    assert one.of_seen(before, after)[0, 0] == pytest.approx(np.hypot(7.0, 1.0))


def test_z_holds_95_percent_of_what_stayed_and_1_96_sd_of_what_is_seen_to_change():
    random = np.random.default_rng(5)
    moved = np.arange(40_000) % 4 == 0
    first = random.uniform(20, 300, moved.size)
    true = np.where(moved, random.uniform(-200, 200, moved.size), 0.0)
    second = first + true + np.where(moved, 25, 4) * random.standard_normal(moved.size)
    one = found(structure(4.0), structure(15.0), moved, first, second, true)
    assert one.z95 == pytest.approx(1.96, abs=0.06)
    codes = one.significant(first, second)
    assert (codes[~moved] == NONE).mean() == pytest.approx(0.95, abs=1e-3)
    seen = moved & (codes != NONE)
    within = np.abs(second - first - true) <= Z95 * one.deviation(first, second)
    assert within[seen].mean() == pytest.approx(0.95, abs=1e-3)


def test_where_no_change_is_seen_both_maps_err_apart():
    none = np.zeros(1000)
    one = found(structure(4.0), structure(15.0), none > 0, none + 50, none + 50, none)
    assert one.seen == 1.0
    assert one.z95 > 0


def test_an_area_errs_by_each_part_with_its_own_likeness():
    where = grid(64, 64)
    cells, one = Cells.over(where), error()
    chance, seen = np.full(where.shape, 0.3), np.zeros(where.shape)
    seen[:8, :8] = 0.7
    parts = []
    for weights in (chance, seen):
        sums = np.zeros(cells.shape)
        cells.add(sums, where, weights)
        parts.append((sums, float(np.square(weights).sum())))
    got = one.of_area(cells, *parts)
    assert got == pytest.approx((0.3 * 64 * 64, 0.7 * 64))  # all alike: errors add up
    assert got[0] == deviation(one.still, cells, *parts[0])


def test_it_is_the_same_after_it_was_kept():
    one = error(seen=0.123456789)
    assert ChangeError.from_json(one.to_json()) == one
    with pytest.raises(ValueError, match="z95"):
        ChangeError.from_json(one.to_json() | {"z95": -1.0})


def test_structures_of_the_same_land_are_averaged_in_their_squares():
    one, other = structure(3.0, nugget=0.2, common=0.8), structure(5.0, nugget=0.6, common=0.4)
    both = averaged([one, other])
    assert both.rms_mg_c_ha[0] == pytest.approx(np.sqrt(17))
    assert (both.nugget, both.common) == pytest.approx((0.4, 0.6))
    assert averaged([one, one]) == one
