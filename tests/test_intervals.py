import json

import numpy as np
import pytest
from scipy.stats import norm

from carbonmap.errors import ModelError
from carbonmap.intervals import (
    LEAST_REACH,
    Coverage,
    Sides,
    calibrate,
    coverage,
    interval,
    sides,
    within,
)


@pytest.mark.parametrize(("members", "ranks"), [(19, (0, 18)), (39, (1, 37)), (59, (2, 56))])
def test_bounds_are_the_order_statistics_that_have_nominal_coverage(members, ranks):
    draws = np.random.default_rng(0).gamma(2, size=(members, 4, 5))
    found = interval(draws)
    for bound, rank in zip(found, ranks, strict=True):
        np.testing.assert_allclose(bound, np.sort(draws, 0)[rank], rtol=1e-12)


@pytest.mark.parametrize(("members", "want"), [(19, 0.9), (32, 0.908), (39, 0.9)])
def test_exchangeable_draws_hold_the_share_that_the_docstring_states(members, want):
    draws = np.random.default_rng(1).normal(size=(members, 20_000))
    low, high = interval(draws)
    held = norm.cdf(high) - norm.cdf(low)  # the coverage given the draws: no noise from the truth
    assert held.mean() == pytest.approx(want, abs=2e-3)


def test_too_few_draws_have_no_interval():
    with pytest.raises(ModelError, match="draw at least 19"):
        interval(np.zeros((18, 3)))
    interval(np.zeros((19, 3)))
    interval(np.zeros((3, 3)), 0.5)


def test_coverage_counts_ends_in_and_unknowns_out():
    low, high = np.zeros(6), np.array([1.0, 1, 1, 1, np.nan, 3])
    truth = np.array([0.0, 1.0, 1.1, np.nan, 0.5, 2])
    assert within(low, high, truth).tolist() == [True, True, False, False, False, True]
    found = coverage(low, high, truth)
    assert found == Coverage(4, 3, 6.0)
    assert (found.share, found.width) == (0.75, 1.5)
    halves = coverage(low[:2], high[:2], truth[:2]) + coverage(low[2:], high[2:], truth[2:])
    assert halves == found
    assert Coverage().to_json() == {"pixels": 0, "coverage": None, "width_mg_c_ha": None}
    json.dumps(found.to_json())


@pytest.mark.parametrize("count", [1, 9, 10, 11, 100, 1003])
def test_the_calibrated_k_is_the_least_that_holds_the_share(count):
    rng = np.random.default_rng(count)
    mean, spread = rng.normal(size=count), rng.uniform(0.5, 2, count)
    truth = mean + 1.7 * spread * rng.normal(size=count)
    k = calibrate(mean, spread, truth)

    def share(k):
        return coverage(mean - k * spread, mean + k * spread, truth).share

    assert share(k * (1 + 1e-12)) >= 0.9 > share(k * (1 - 1e-12))


def test_normal_errors_are_calibrated_to_the_normal_quantile():
    rng = np.random.default_rng(3)
    spread = rng.uniform(1, 5, 100_000)
    truth = 2 * spread * rng.normal(size=spread.size)
    truth[:50] = np.nan
    assert calibrate(0 * spread, spread, truth) == pytest.approx(2 * 1.6449, rel=0.02)


def test_pixels_on_which_all_draws_agree_are_held_if_they_are_right():
    mean, spread = np.zeros(10), np.array([0.0] * 9 + [1.0])
    assert calibrate(mean, spread, np.array([0.0] * 9 + [3.0])) == 0
    with pytest.raises(ModelError, match="agree on wrong values"):
        calibrate(mean, spread, np.ones(10))


def test_nothing_to_calibrate_on_is_refused():
    with pytest.raises(ModelError, match="validation labels"):
        calibrate(np.zeros(3), np.ones(3), np.full(3, np.nan))


def test_few_draws_reach_one_deviation_either_way_and_many_to_their_quantiles():
    draws = np.random.default_rng(0).gamma(1.5, 40, (40, 6, 5))
    few, many = sides(draws[:31]), sides(draws)
    np.testing.assert_allclose(few.mean, draws[:31].mean(0), rtol=1e-6)
    np.testing.assert_allclose(few.below, draws[:31].std(0, ddof=1), rtol=1e-6)
    np.testing.assert_array_equal(few.below, few.above)
    low, high = interval(draws)
    np.testing.assert_allclose(many.mean - many.below, low, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(many.mean + many.above, high, rtol=1e-5)
    assert many.above.mean() > 1.5 * many.below.mean()  # carbon is skewed
    alike = sides(np.tile(draws[0], (4, 1, 1)))
    np.testing.assert_array_equal([alike.below, alike.above], LEAST_REACH)


def test_bounds_reach_k_times_as_far_but_never_below_no_carbon():
    held = Sides(np.array([10.0, 10]), np.array([2.0, 8]), np.array([3.0, 4]))
    low, high = held.bounds(2)
    assert (low.tolist(), high.tolist()) == ([6, 0], [16, 18])
    low, high = held.bounds(np.array([1.0, 0.5]))
    assert (low.tolist(), high.tolist()) == ([8, 6], [13, 12])


def test_the_reach_towards_a_truth_is_that_of_its_side():
    held = Sides(np.full(3, 10.0), np.full(3, 2.0), np.full(3, 3.0))
    assert held.towards(np.array([9.0, 10, 11])).tolist() == [2, 3, 3]


@pytest.mark.parametrize("members", [8, 32])
def test_a_k_found_on_one_half_of_skewed_truths_holds_its_share_of_the_other(members):
    """Draws that are too narrow by half, as an undertrained sampler's are."""
    rng = np.random.default_rng(members)
    centre = 100 + rng.gamma(4, 20, 40_000)
    truth = centre + 20 * (rng.gamma(2, 1, centre.size) - 2)
    draws = centre + 10 * (rng.gamma(2, 1, (members, centre.size)) - 2)
    held, half = sides(draws), np.arange(centre.size) % 2 == 0
    k = calibrate(held.mean[half], held.towards(truth)[half], truth[half])
    assert k > 1.2
    low, high = held.bounds(k)
    assert coverage(low[~half], high[~half], truth[~half]).share == pytest.approx(0.9, abs=0.01)
