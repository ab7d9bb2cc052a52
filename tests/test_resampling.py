import json
import math

import numpy as np
import pytest

from carbonmap.errors import ModelError
from carbonmap.metrics import errors
from carbonmap.resampling import (
    block_bootstrap,
    effective_number,
    error_sums,
    mean_of,
    rmse_of,
)


def test_figures_of_summed_blocks_are_those_of_all_pixels():
    rng = np.random.default_rng(1)
    truth, block = rng.gamma(2, 50, 360), rng.permutation(np.arange(360) % 9)
    guess = truth + rng.normal(4, 20, truth.shape)
    sums = error_sums(block, guess - truth)
    for found, parts in ((sums, range(9)), (sums.sum(0)[None], [range(9)])):
        for row, part in zip(found, parts, strict=True):
            mine = np.isin(block, part)
            want = errors(guess[mine], truth[mine])
            assert row[0] == want.count
            assert mean_of(1)(row) == pytest.approx(want.bias, rel=1e-10)
            assert mean_of(2)(row) == pytest.approx(want.mae, rel=1e-10)
            assert rmse_of(row) == pytest.approx(want.rmse, rel=1e-10)


def test_the_error_of_a_mean_of_equal_blocks_is_the_textbooks():
    means = np.random.default_rng(2).normal(10, 3, 12)
    sums = np.stack([np.full(12, 7.0), 7 * means], 1)
    found = block_bootstrap(sums, mean_of(1), draws=40_000)
    want = means.std(ddof=1) / math.sqrt(12)
    assert found.value == pytest.approx(means.mean(), rel=1e-12)
    assert found.standard_error == pytest.approx(want, rel=0.015)  # 4 / √(2 × 40,000)
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * want, rel=0.07)


def test_bounds_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(3)
    hits = 0
    for trial in range(100):
        sums = np.stack([np.full(40, 5.0), 5 * rng.normal(1, 1, 40)], 1)
        found = block_bootstrap(sums, mean_of(1), draws=200, seed=trial)
        hits += found.low <= 1 <= found.high
    assert 0.85 < hits / 100 < 1


def test_a_models_gain_is_surer_than_either_model_by_the_same_blocks():
    rng = np.random.default_rng(4)
    hard = rng.gamma(2, 20, 30)  # blocks differ much more than the models
    one = np.array([[50, 0, 0, 50 * h * h] for h in hard])
    two = np.array([[50, 0, 0, 50 * (1.1 * h) ** 2] for h in hard])
    joint = np.hstack([one, two])
    gain = block_bootstrap(joint, lambda s: rmse_of(s[..., 4:]) / rmse_of(s))
    assert gain.value == pytest.approx(1.1, rel=1e-12)
    assert gain.standard_error < 1e-12
    assert block_bootstrap(one, rmse_of).standard_error > 1


def test_the_same_seed_draws_the_same_blocks_and_empty_ones_are_left_out():
    sums = np.random.default_rng(5).uniform(1, 2, (8, 2))
    more = np.vstack([sums, np.zeros((3, 2))])
    one, two = (block_bootstrap(s, mean_of(1), seed=9) for s in (sums, more))
    assert one == two
    assert one.blocks == 8
    assert one != block_bootstrap(sums, mean_of(1), seed=10)
    json.dumps(one.to_json(), allow_nan=False)


def test_two_blocks_are_too_few_to_draw_again():
    with pytest.raises(ModelError, match="2 blocks"):
        block_bootstrap(np.ones((2, 2)), mean_of(1))


@pytest.mark.parametrize("size", [1, 50])
def test_blocks_of_identical_pixels_count_once_each(size):
    value = np.random.default_rng(6).normal(size=25)
    count = np.full(25, float(size))
    assert effective_number(count, size * value, size * value**2) == pytest.approx(25, rel=1e-9)


def test_hits_alike_in_each_block_count_once_too():
    hits = np.array([1.0] * 18 + [0.0] * 2) * 30
    assert effective_number(np.full(20, 30.0), hits, hits) == pytest.approx(20, rel=1e-12)


def test_independent_pixels_count_each():
    rng = np.random.default_rng(7)
    value = rng.normal(size=(600, 40))
    found = [
        effective_number(np.full(200, 40.0), v.sum(1), (v * v).sum(1))
        for v in value.reshape(3, 200, 40)
    ]
    assert np.mean(found) == pytest.approx(8000, rel=0.25)  # 4 √(2 / 597), less what is capped
    assert max(found) <= 8000


def test_half_the_variance_in_common_has_the_known_design_effect():
    rng = np.random.default_rng(8)
    value = rng.normal(size=(2000, 1)) + rng.normal(size=(2000, 20))
    found = effective_number(np.full(2000, 20.0), value.sum(1), (value**2).sum(1))
    assert found == pytest.approx(40_000 / (1 + 19 * 0.5), rel=4 * math.sqrt(2 / 1999))  # Kish


def test_what_does_not_vary_has_no_number():
    assert math.isnan(effective_number(np.full(4, 9.0), np.full(4, 9.0), np.full(4, 9.0)))
    with pytest.raises(ModelError, match="one block"):
        effective_number(np.array([4.0, 0]), np.array([1.0, 0]), np.array([1.0, 0]))
