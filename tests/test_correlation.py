"""Errors that resemble their neighbours: what is found of them, and what a sum makes of them."""

import json
import math

import numpy as np
import pytest

from carbonmap import correlation
from carbonmap.correlation import RANGES_M, Cells, Residuals, Structure, deviation
from carbonmap.grid import Grid

RMS = (2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 55.0)


def grid(height, width, row=0, col=0):
    return Grid("EPSG:32648", 16.0, row, col, height, width, (0.0, 0.0))


def structure(nugget=0.0, common=0.0, rms=RMS, **shares):
    """One by the shares of its ranges: ``r300=0.5``."""
    held = tuple(shares.get(f"r{length:g}", 0.0) for length in RANGES_M)
    return Structure(rms, nugget, held, common, 5000)


def covariance(one, apart):
    """C(d) of pixels so far apart, m."""
    found = one.common + one.nugget * (apart == 0)
    for share, length in zip(one.shares, RANGES_M, strict=True):
        found = found + share * np.exp(-apart / length)
    return found


def by_cell(where, values):
    cells = Cells.over(where)
    sums = np.zeros(cells.shape)
    cells.add(sums, where, values)
    return cells, sums


def distances(where):
    rows, cols = np.mgrid[: where.height, : where.width]
    apart = np.hypot(*(np.subtract.outer(x.ravel(), x.ravel()) for x in (rows, cols)))
    return apart * where.pixel_m


def fields_of(one, shape, number, seed=0):
    """Gaussian fields of a covariance, by the roots of its matrix; one a row."""
    apart = distances(grid(*shape))
    root = np.linalg.cholesky(covariance(one, apart) + 1e-9 * np.eye(len(apart)))
    drawn = np.random.default_rng(seed).standard_normal((number, len(apart)))
    return (drawn @ root.T).reshape(number, *shape)


def of_tiles(where, density, error, size):
    """Residuals from tiles of a size, in another order than they lie in."""
    found = Residuals(where)
    for row in reversed(range(0, where.height, size)):
        for col in range(0, where.width, size):
            roi = np.s_[row : row + size, col : col + size]
            found.add(where[roi], density[roi], error[roi])
    return found


@pytest.mark.parametrize(
    "one",
    [
        structure(nugget=1.0),
        structure(common=1.0),
        structure(r100=1.0),
        structure(nugget=0.3, r300=0.4, r3000=0.2, common=0.1),
    ],
)
def test_the_deviation_of_a_sum_is_the_root_of_the_sum_over_all_pairs(one):
    """Weights are even within a cell, where the sum over cells claims to be exact."""
    where = grid(32, 40, row=-8, col=16)
    coarse = np.random.default_rng(3).uniform(0.5, 2, (4, 5))
    weight = np.kron(coarse, np.ones((8, 8)))
    cells, sums = by_cell(where, weight)
    flat = weight.ravel()
    want = math.sqrt(flat @ covariance(one, distances(where)) @ flat)
    assert deviation(one, cells, sums, float((flat**2).sum())) == pytest.approx(want, rel=1e-9)


def test_uneven_weights_and_far_cells_change_the_deviation_little():
    where, one = grid(40, 96), structure(nugget=0.3, r100=0.3, r300=0.3, r1000=0.1)
    weight = np.random.default_rng(4).uniform(0, 2, where.shape)
    weight[10:30, 20:50] = 0
    cells, sums = by_cell(where, weight)
    flat = weight.ravel()
    want = math.sqrt(flat @ covariance(one, distances(where)) @ flat)
    assert deviation(one, cells, sums, float((flat**2).sum())) == pytest.approx(want, rel=0.01)


def test_white_errors_cancel_as_the_root_of_their_number_and_common_ones_not_at_all():
    where = grid(64, 64)
    cells, sums = by_cell(where, np.ones(where.shape))
    assert deviation(structure(nugget=1.0), cells, sums, 4096.0) == pytest.approx(64.0)
    assert deviation(structure(common=1.0), cells, sums, 4096.0) == pytest.approx(4096.0)


def test_cells_lie_on_the_lattice_and_sums_do_not_depend_on_tiles():
    where = grid(50, 61, row=13, col=-5)
    values = np.random.default_rng(0).standard_normal(where.shape)
    cells, whole = by_cell(where, values)
    assert cells.shape == ((13 + 49) // 8 - 13 // 8 + 1, (-5 + 60) // 8 - (-5) // 8 + 1)
    pieces = np.zeros(cells.shape)
    for roi in (np.s_[:17, :], np.s_[17:, :30], np.s_[17:, 30:]):
        cells.add(pieces, where[roi], values[roi])
    np.testing.assert_allclose(pieces, whole, atol=1e-12)
    assert whole[0, 0] == pytest.approx(values[:3, :5].sum())


def test_cells_of_a_large_region_are_few():
    assert Cells.over(grid(8192, 100)).edge_px == 8
    assert Cells.over(grid(8193, 100)).edge_px == 16
    assert Cells.over(grid(50_000, 60_000)).edge_px == 64


def test_pairs_are_those_that_brute_force_finds():
    values = np.random.default_rng(1).standard_normal((4, 6))
    want = np.zeros((4, 6))
    for (a, b), v in np.ndenumerate(values):
        for (c, d), w in np.ndenumerate(values):
            want[abs(a - c), abs(b - d)] += v * w
    np.testing.assert_allclose(correlation._pairs(values), want, atol=1e-12)


def test_what_is_found_tells_how_far_sums_of_new_fields_stray():
    """Structures of some fields foretell the spread of the sums of many others."""
    truth, shape = structure(nugget=0.2, r100=0.5, r300=0.3), (64, 64)
    where, flat = grid(*shape), np.full(shape, 50.0)
    drawn = fields_of(truth, shape, 240)
    part = np.s_[:, 8:40, 16:56]
    strayed = float(drawn[40:][part].sum((1, 2)).std())
    window = where[part[1:]]
    cells, sums = by_cell(window, np.ones(window.shape))
    foretold = []
    for one in drawn[:40]:
        found = Residuals(where)
        found.add(where, flat, one)
        held = found.structure()
        scale = held.rms_mg_c_ha[4]
        foretold.append(scale**2 * deviation(held, cells, sums, float(window.size)) ** 2)
    assert math.sqrt(np.mean(foretold)) == pytest.approx(strayed, rel=0.15)
    assert strayed > 4 * math.sqrt(window.size)  # what white errors would come to


def test_an_error_that_all_pixels_share_is_common():
    where = grid(64, 64)
    found = Residuals(where)
    found.add(where, np.full(where.shape, 12.0), np.full(where.shape, -3.0))
    held = found.structure()
    assert held.rms_mg_c_ha == pytest.approx((3.0,) * 8)
    assert held.common + sum(held.shares[3:]) == pytest.approx(1.0, abs=1e-3)
    cells, sums = by_cell(where, np.full(where.shape, 3.0))
    assert deviation(held, cells, sums, 9.0 * 4096) == pytest.approx(3.0 * 4096, rel=2e-3)


def test_each_class_of_density_has_its_own_size_of_error():
    where, random = grid(64, 64), np.random.default_rng(2)
    density = np.where(np.arange(64) < 32, 7.0, 100.0) * np.ones((64, 1))
    error = random.standard_normal(where.shape) * np.where(density < 10, 2.0, 20.0)
    found = Residuals(where)
    found.add(where, density, error)
    held = found.structure()
    assert held.rms_mg_c_ha[1] == pytest.approx(2.0, rel=0.05)
    assert held.rms_mg_c_ha[5] == pytest.approx(20.0, rel=0.05)
    assert held.rms_mg_c_ha[0] == held.rms_mg_c_ha[1]
    assert held.nugget == pytest.approx(1.0, abs=0.05)
    sigma = held.sigma(np.array([[7.0, 100.0, np.nan]]))
    assert sigma.tolist() == [[held.rms_mg_c_ha[1], held.rms_mg_c_ha[5], 0.0]]


def test_the_structure_depends_on_no_tile_and_passes_over_what_is_unknown():
    where, random = grid(72, 80, row=5, col=3), np.random.default_rng(5)
    density = random.uniform(0, 300, where.shape)
    error = random.standard_normal(where.shape).cumsum(1)
    error[random.random(where.shape) < 0.3] = np.nan
    whole, parts = (of_tiles(where, density, error, size).structure() for size in (80, 17))
    assert parts.pixels == whole.pixels == int(np.isfinite(error).sum())
    for key, value in whole.to_json().items():
        assert parts.to_json()[key] == pytest.approx(value, rel=1e-6, abs=1e-9)


def test_too_few_pixels_tell_nothing():
    where = grid(64, 64)
    error = np.full(where.shape, np.nan)
    error[:3, :3] = 1.0
    for values in (error, np.zeros(where.shape)):
        found = Residuals(where)
        found.add(where, np.ones(where.shape), values)
        assert found.structure() is None


@pytest.mark.parametrize(("edge", "number"), [(5, 60), (4, 80), (6, 40)])
def test_scattered_scraps_of_land_tell_no_structure(edge, number):
    """Of a thousand pixels in scraps nothing tells how errors begin to differ with distance."""
    where, random = grid(1600, 1600), np.random.default_rng(7)
    error = np.full(where.shape, np.nan)
    for row, col in random.integers(0, 1600 - edge, (number, 2)):
        error[row : row + edge, col : col + edge] = random.standard_normal()
    assert np.isfinite(error).sum() >= correlation.LEAST_PIXELS
    found = Residuals(where)
    found.add(where, np.full(where.shape, 50.0), error)
    assert found.structure() is None


def test_few_pixels_decide_no_class_and_the_densest_err_the_most():
    where, random = grid(128, 128), np.random.default_rng(8)
    density = np.full(where.shape, 50.0)
    density[:40] = 3.0
    error = random.standard_normal(where.shape) * np.where(density > 10, 20.0, 2.0)
    density[100, 100], error[100, 100] = 200.0, 0.5
    found = Residuals(where)
    found.add(where, density, error)
    rms = found.structure().rms_mg_c_ha
    assert rms[:2] == pytest.approx((2, 2), rel=0.1)
    assert rms[4:] == pytest.approx((20, 20, 20, 20), rel=0.1)


def test_a_structure_is_written_and_read_as_plain_values():
    one = structure(nugget=0.3, r300=0.6, common=0.1)
    assert Structure.from_json(json.loads(json.dumps(one.to_json()))) == one
    with pytest.raises(ValueError, match="want 8 deviations and 6 shares"):
        structure(rms=(1.0, 2.0))
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        structure(nugget=-0.1)


def test_maps_of_one_land_are_pooled_by_their_squared_errors():
    """What a total errs by is the root of the mean of its variances, not of its deviations."""
    where = grid(96, 96)
    random = np.random.default_rng(0)
    density = np.full(where.shape, 100.0)
    found, errors = [], []
    for spread, offset in ((1.0, 0.3), (1.0, 9.5)):
        one = Residuals(where)
        errors.append(offset + spread * random.standard_normal(where.shape))
        one.add(where, density, errors[-1])
        found.append(one)
    both = correlation.pooled(found)
    cells, weights = by_cell(where, both.sigma(density))
    squares = float(np.square(both.sigma(density)).sum())
    want = np.sqrt(np.mean([np.square(e.sum()) for e in errors]))
    assert deviation(both, cells, weights, squares) == pytest.approx(want, rel=0.02)
    assert both.pixels == 2 * where.size
    assert correlation.pooled(found[:1]) == found[0].structure()
