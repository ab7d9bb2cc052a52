"""A second image of land that is known: its light, its noise, and what has changed places in it."""

import numpy as np
import pytest

from carbonmap import second_image
from carbonmap.grid import Grid
from carbonmap.second_image import RIM_PX, SQUARE_PX, Exchange, grain, lights, regrained

N = SQUARE_PX


def grid(height, width, row=0, col=0):
    return Grid("EPSG:32648", 16.0, row, col, height, width, (0.0, 0.0))


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
    monkeypatch.setattr(second_image, "MOVED_SHARE", 0.4)


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


def test_seams_do_not_count_as_moved(part):
    one = exchanged(part)
    rows, cols = np.indices(part.shape)
    apart = (one.rows != rows) | (one.cols != cols)
    inner = squares(part, one.moved)[squares(part, apart).all((1, 2))]
    want = np.zeros((N, N), bool)
    want[RIM_PX:-RIM_PX, RIM_PX:-RIM_PX] = True
    assert (inner == want).all()
    assert one.moved.sum() == inner.sum()


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
    rows, cols = np.indices(part.shape)
    stays = (one.rows == rows) & (one.cols == cols)
    np.testing.assert_array_equal(one.heights(height)[stays], height[stays])


def test_a_square_whose_heights_have_gaps_is_not_exchanged(part):
    height = np.random.default_rng(3).uniform(2900, 3100, part.shape).astype(np.float32)
    height[N : 3 * N : 7, ::5] = np.nan
    one = exchanged(part, height=height)
    gaps = squares(part, np.isnan(height)).any((1, 2))
    moved = squares(part, one.moved).any((1, 2))
    assert moved.any()
    assert not (moved & gaps).any()
    assert np.abs(one.rise).max() < 200


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
    assert (share[squares(part, one.moved).any((1, 2))] >= second_image.LEAST_KNOWN).all()
    assert one.moved.any()
    assert not np.array_equal(exchanged(part).moved, exchanged(part, number=1).moved)


@pytest.mark.parametrize("shape", [(N - 1, 5), (N, N), (3 * N, 2)])
def test_land_without_two_squares_stays(shape):
    one = exchanged(grid(*shape))
    assert not one.moved.any()
    assert np.array_equal(one.rows, np.indices(shape)[0])
    assert not one.rise.any()


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5, 8])
def test_whatever_bands_a_model_leans_on_light_errs_as_told(bands):
    """Of any linear answer g the mean square is error² |g|², and its mean is 0."""
    drawn = lights(bands, 0.05) - 1
    assert drawn.shape[1] == bands
    g = np.random.default_rng(bands).normal(size=(bands, 50))
    np.testing.assert_allclose(np.square(drawn @ g).mean(0), 0.05**2 * np.square(g).sum(0))
    np.testing.assert_allclose(drawn.mean(0), 0, atol=1e-15)
    np.testing.assert_allclose(np.abs(drawn), 0.05)


def smooth(part):
    rows, cols = np.indices(part.shape)
    return 0.3 + 1e-3 * rows - 2e-3 * cols + 1e-6 * rows**2 + 2e-6 * rows * cols


def test_noise_is_found_under_slopes_and_curves(part):
    noisy = smooth(part) + 0.004 * np.random.default_rng(0).standard_normal(part.shape)
    assert np.median(grain(part, noisy)) == pytest.approx(0.004, rel=0.02)
    noisy[::N, ::N] = np.nan  # a gap in every square
    assert np.median(grain(part, noisy)) == pytest.approx(0.004, rel=0.05)
    noisy[: part.height // 2] = np.nan
    assert 0 < grain(part, noisy).size < squares(part, noisy).shape[0]


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
