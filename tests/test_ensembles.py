import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from carbonmap.ensembles import Scores, expected_factors, scores
from carbonmap.errors import GridMismatch, ModelError


def ensemble(members, shape, seed=0, holes=0.0, width=1.0):
    """Draws and truth that are exchangeable given a place's mean and spread, when width is 1."""
    rng = np.random.default_rng(seed)
    mean, spread = rng.gamma(2, 40, shape), rng.uniform(5, 30, shape)
    truth = mean + spread * rng.normal(size=shape)
    draws = mean + width * spread * rng.normal(size=(members, *shape))
    truth[rng.random(shape) < holes] = np.nan
    draws[rng.random((members, *shape)) < holes / members] = np.nan
    return draws, truth


def brute(x, y, *, fair):
    """CRPS of one pixel, all pairs."""
    k = len(x)
    pairs = k * (k - 1) if fair else k * k
    return np.mean(np.abs(x - y)) - np.abs(x[:, None] - x[None]).sum() / (2 * pairs)


@given(members=st.integers(2, 9), seed=st.integers(0, 50))
def test_crps_is_that_of_all_pairs(members, seed):
    draws, truth = ensemble(members, (3, 4), seed)
    pixels = list(zip(draws.reshape(members, -1).T, truth.ravel(), strict=True))
    found = scores(draws, truth)
    for fair, got in ((False, found.crps), (True, found.fair_crps)):
        want = np.mean([brute(x, y, fair=fair) for x, y in pixels])
        assert got == pytest.approx(want, rel=1e-12, abs=1e-10)


def test_crps_is_the_area_between_the_steps():
    x, y = np.array([1.0, 2.0, 6.0]), 3.0
    want = 1 / 9 + 4 / 9 + 3 / 9  # (1/3)² over [1, 2], (2/3)² over [2, 3], (1/3)² over [3, 6]
    assert scores(x[:, None, None], np.full((1, 1), y)).crps == pytest.approx(want, rel=1e-12)


def test_fair_crps_of_few_normal_draws_is_the_closed_form():
    y, k = 0.7, 4
    rng = np.random.default_rng(1)
    draws, truth = rng.normal(size=(k, 200, 200)), np.full((200, 200), y)
    want = y * (2 * norm.cdf(y) - 1) + 2 * norm.pdf(y) - 1 / math.sqrt(math.pi)
    found = scores(draws, truth)
    assert found.fair_crps == pytest.approx(want, abs=8e-3)  # 4 standard errors
    assert found.crps == pytest.approx(want + 1 / (k * math.sqrt(math.pi)), abs=8e-3)


def test_one_draw_scores_its_absolute_error():
    draws, truth = ensemble(1, (5, 6))
    found = scores(draws, truth)
    assert found.crps == found.draw.mae == found.mean.mae
    assert all(map(math.isnan, (found.fair_crps, found.limit_rmse, found.spread_skill)))


@given(cuts=st.lists(st.integers(0, 60), max_size=5), seed=st.integers(0, 20))
def test_scores_of_tiles_add_up_to_those_of_the_map(cuts, seed):
    draws, truth = ensemble(6, (60, 3), seed, holes=0.2)
    edges = [0, *sorted(cuts), 60]
    parts = [scores(draws[:, a:b], truth[a:b]) for a, b in pairwise(edges)]
    total, whole = sum(parts, Scores()), scores(draws, truth)
    assert total.to_json(1)["mean"]["pixels_missing"] == whole.mean.missing > 0
    assert total.ranks == pytest.approx(whole.ranks, abs=1e-9)
    for name in ("crps", "fair_crps", "limit_rmse", "spread_skill"):
        assert getattr(total, name) == pytest.approx(getattr(whole, name), rel=1e-10)


def test_ensembles_of_different_size_do_not_add():
    one, two = (scores(*ensemble(k, (2, 2))) for k in (3, 4))
    with pytest.raises(ModelError, match="3 draws cannot be added to one of 4"):
        one + two


def test_a_perfect_sampler_has_the_expected_factors():
    members = 8
    found = scores(*ensemble(members, (200, 200)))
    want = expected_factors(members)
    assert (want.draw, want.mean) == (math.sqrt(2), math.sqrt(9 / 8))
    sigma = math.sqrt((30**3 - 5**3) / (3 * 25))  # of a uniform spread
    assert found.limit_rmse == pytest.approx(sigma, rel=2e-2)
    assert found.draw.rmse / found.limit_rmse == pytest.approx(want.draw, rel=2e-2)
    assert found.mean.rmse / found.limit_rmse == pytest.approx(want.mean, rel=2e-2)
    assert found.spread_skill == pytest.approx(1, rel=2e-2)


def test_the_limit_is_that_of_the_true_mean_for_an_imperfect_sampler_too():
    found = scores(*ensemble(4, (200, 200), width=3.0))
    sigma = math.sqrt((30**3 - 5**3) / (3 * 25))
    assert found.limit_rmse == pytest.approx(sigma, rel=6e-2)  # 4 standard errors
    assert found.spread_skill == pytest.approx(3 * math.sqrt(5 / (4 + 9)), rel=2e-2)


@pytest.mark.parametrize("members", [1, 4, 32])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_coverage_by_rank_is_nominal_for_exchangeable_draws(members, level):
    found = scores(*ensemble(members, (100, 100)))
    assert found.coverage(level) == pytest.approx(level, abs=4 * 0.5 / 100)


def test_coverage_by_rank_counts_cut_places_in_part():
    ranks = np.eye(33)
    got = [Scores(32, ranks=tuple(row)).coverage() for row in ranks]
    assert got[:3] == pytest.approx([0, 0.35, 1]) == got[:-4:-1]  # 33 × 0.05 = 1.65 places cut off
    assert sum(got) / 33 == pytest.approx(0.9, rel=1e-12)


def test_narrow_draws_cover_less():
    assert scores(*ensemble(32, (100, 100), width=0.5)).coverage() < 0.65


def test_a_truth_equal_to_draws_is_shared_by_its_ranks():
    draws = np.array([0.0, 0, 1, 2]).reshape(4, 1, 1)
    at = {y: scores(draws, np.full((1, 1), y)).ranks for y in (0.0, 0.5, 1.0, 9.0)}
    assert at[0.0] == pytest.approx((1 / 3, 1 / 3, 1 / 3, 0, 0))
    assert at[0.5] == (0, 0, 1, 0, 0)
    assert at[1.0] == pytest.approx((0, 0, 0.5, 0.5, 0))
    assert at[9.0] == (0, 0, 0, 0, 1)


def test_draws_and_truth_without_a_value_are_left_out_and_counted():
    draws, truth = ensemble(3, (4, 4))
    truth[0, 0] = draws[1, 2, 2] = np.nan
    found = scores(draws, truth)
    assert (found.mean.count, found.mean.missing) == (14, 1)
    keep = np.isfinite(truth) & np.isfinite(draws[1])
    assert found.crps == pytest.approx(scores(draws[:, keep], truth[keep]).crps, rel=1e-12)


def test_figures_are_json_even_of_nothing():
    empty = scores(np.full((2, 3, 3), np.nan), np.full((3, 3), np.nan))
    for found in (Scores(), empty, scores(*ensemble(2, (3, 3)))):
        json.dumps(found.to_json(100), allow_nan=False)
    told = scores(*ensemble(2, (3, 3))).to_json(100)
    assert told["draw"]["pixels"] == told["mean"]["pixels"] == 9
    assert told["draw_factor_expected"] == math.sqrt(2)


def test_what_cannot_be_judged_is_refused():
    draws, truth = ensemble(2, (3, 3))
    with pytest.raises(GridMismatch, match="ensemble"):
        scores(draws[:, :2], truth)
    with pytest.raises(ModelError, match="no draws"):
        scores(draws[:0], truth)
