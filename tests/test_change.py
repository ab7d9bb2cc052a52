"""What simulated change tells of the errors of a mapped one."""

import numpy as np
import pytest
from scipy import stats

from carbonmap.change import GAIN, LOSS, NONE, UNKNOWN, ChangeError, found
from carbonmap.correlation import EDGES, RANGES_M, Cells, Structure, deviation
from carbonmap.grid import Grid
from carbonmap.uncertainty import Z95


def grid(height, width, row=0, col=0):
    return Grid("EPSG:32648", 16.0, row, col, height, width, (0.0, 0.0))


def structure(rms, nugget=0.0, common=1.0):
    levels = (rms,) * (len(EDGES) + 1) if np.isscalar(rms) else rms
    return Structure(levels, nugget, (0.0,) * len(RANGES_M), common, 5000)


def error(still=2.0, maps=10.0, seen=1.0, z95=2.0):
    return ChangeError(structure(still), structure(maps), seen, z95)


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


def test_z_is_that_of_normal_differences_and_1_96_sd_hold_what_is_seen_to_change():
    random = np.random.default_rng(5)
    first = random.uniform(20, 300, 20_000)
    true = random.uniform(-200, 200, first.size)
    second = first + true + 25 * random.standard_normal(first.size)
    one = found(structure(4.0), structure(15.0), np.ones(500), first, second, true)
    assert one.z95 == pytest.approx(1.96, abs=1e-3)
    seen = np.abs(second - first) > one.z95 * 4
    assert np.array_equal(one.significant(first, second) != NONE, seen)
    within = np.abs(second - first - true) <= Z95 * one.deviation(first, second)
    assert within[seen].mean() == pytest.approx(0.95, abs=1e-3)


def test_land_that_differs_by_more_than_its_class_says_raises_z():
    """Of half the pixels with no difference at all, the others have 10 % beyond z."""
    none = np.array([100.0])
    spread = np.repeat([0.0, np.sqrt(2)], 500)
    one = found(structure(4.0), structure(15.0), spread, none, none, none)
    assert one.z95 == pytest.approx(np.sqrt(2) * stats.norm.ppf(0.95), rel=1e-4)


def test_where_no_change_is_seen_both_maps_err_apart():
    none = np.zeros(1000)
    one = found(structure(4.0), structure(15.0), none + 1, none + 50, none + 50, none)
    assert one.seen == 1.0


def test_significance_is_the_same_for_float32_maps_and_their_float64_sums():
    """At the edge of a class a mean of two float32 rounds into the next one."""
    levels = tuple(float(k + 1) for k in range(len(EDGES) + 1))
    one = ChangeError(structure(levels), structure(levels), 1.0, 0.1)
    below = np.nextafter(np.float32(EDGES[0]), np.float32(0))
    before, after = np.array([[below]]), np.array([[EDGES[0]]], np.float32)
    wide = [values.astype(np.float64) for values in (before, after)]
    assert one.by_chance(before, after) == one.by_chance(*wide)


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
