import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from carbonmap.errors import GridMismatch, ModelError
from carbonmap.metrics import SSIM_RADIUS, Errors, Similarity, errors, similarity


def pair(shape, seed=0, holes=0.0):
    """A map and a truth that resemble each other, with nodata in both."""
    rng = np.random.default_rng(seed)
    truth = rng.gamma(2, 40, shape)
    prediction = truth + rng.normal(3, 20, shape)
    for values in (prediction, truth):
        values[rng.random(shape) < holes] = np.nan
    return prediction.astype(np.float32), truth.astype(np.float32)


def test_the_figures_are_scikit_learns_and_scikit_images():
    prediction, truth = pair((40, 50))
    found = errors(prediction, truth)
    p, t = prediction.astype(float).ravel(), truth.astype(float).ravel()
    assert found.mae == pytest.approx(mean_absolute_error(t, p), rel=1e-12)
    assert found.rmse == pytest.approx(root_mean_squared_error(t, p), rel=1e-12)
    assert found.r2 == pytest.approx(r2_score(t, p), rel=1e-12)
    assert found.bias == pytest.approx(np.mean(p - t), rel=1e-9)
    want = peak_signal_noise_ratio(t, p, data_range=400)
    assert found.psnr(400) == pytest.approx(want, rel=1e-12)


def test_a_small_case_by_hand():
    found = errors(np.array([1.0, 4, np.nan, 7]), np.array([2.0, 2, 5, np.nan]))
    assert (found.count, found.missing) == (2, 1)
    assert (found.mae, found.bias) == (1.5, 0.5)
    assert found.rmse == math.sqrt(2.5)
    assert math.isnan(found.r2)  # the truth does not vary
    assert found.psnr(10) == pytest.approx(10 * math.log10(100 / 2.5))


@given(cuts=st.lists(st.integers(0, 600), max_size=6), seed=st.integers(0, 50))
def test_errors_of_parts_add_up_to_those_of_the_whole(cuts, seed):
    prediction, truth = pair(600, seed, holes=0.2)
    edges = [0, *sorted(cuts), 600]
    parts = [errors(prediction[a:b], truth[a:b]) for a, b in pairwise(edges)]
    total, whole = sum(parts, Errors()), errors(prediction, truth)
    assert (total.count, total.missing) == (whole.count, whole.missing)
    for name in ("mae", "rmse", "bias", "r2"):
        assert getattr(total, name) == pytest.approx(getattr(whole, name), rel=1e-12)


def test_r2_does_not_cancel_on_a_high_plateau():
    truth = 1e8 + np.arange(1000.0)
    halves = errors(truth[:500] + 1, truth[:500]) + errors(truth[500:] + 1, truth[500:])
    assert halves.r2 == pytest.approx(1 - 12 / (1000**2 - 1), rel=1e-9)


def test_nothing_has_no_error():
    found = Errors() + errors(np.array([np.nan]), np.array([1.0]))
    assert (found.count, found.missing) == (0, 1)
    assert all(map(math.isnan, (found.mae, found.rmse, found.bias, found.r2, found.psnr(1))))
    figures = found.to_json(100)
    assert figures["rmse_mg_c_ha"] is None
    json.dumps(figures, allow_nan=False)


def test_a_perfect_map_has_infinite_psnr_written_as_none():
    found = errors(np.arange(4.0), np.arange(4.0))
    assert found.psnr(1) == math.inf
    assert found.to_json(3)["psnr_db"] is None
    assert found.r2 == 1


def test_the_0_1_scale_is_the_error_of_scaled_maps():
    prediction, truth = pair(500)
    scaled = errors(prediction / np.float32(512), truth / np.float32(512))  # exact in binary
    figures = errors(prediction, truth).to_json(512)
    assert figures["mae_01"] == pytest.approx(scaled.mae, rel=1e-12)
    assert figures["rmse_01"] == pytest.approx(scaled.rmse, rel=1e-12)
    assert figures["bias_01"] == pytest.approx(scaled.bias, rel=1e-12)
    assert figures["psnr_db"] == pytest.approx(scaled.psnr(1), rel=1e-12)


def test_similarity_without_holes_is_scikit_images_own_mean():
    prediction, truth = (a.astype(np.float64) for a in pair((60, 47)))
    want = structural_similarity(
        prediction,
        truth,
        data_range=300,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    found = similarity(prediction, truth, 300)
    assert found.count == 50 * 37
    assert found.mean == pytest.approx(want, rel=1e-12)


def test_one_window_of_similarity_by_the_formula():
    prediction, truth = (a.astype(np.float64) for a in pair((11, 11)))
    at = np.arange(-5, 6)
    line = np.exp(-(at**2) / (2 * 1.5**2))
    weight = np.outer(line, line) / line.sum() ** 2
    mx, my = (weight * prediction).sum(), (weight * truth).sum()
    vx, vy = (weight * (prediction - mx) ** 2).sum(), (weight * (truth - my) ** 2).sum()
    cov = (weight * (prediction - mx) * (truth - my)).sum()
    c1, c2 = (0.01 * 250) ** 2, (0.03 * 250) ** 2
    want = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert similarity(prediction, truth, 250).total == pytest.approx(want, rel=1e-10)


def test_what_lies_under_a_hole_sways_no_similarity():
    prediction, truth = pair((40, 40))
    without = similarity(prediction, truth, 300).count
    hole = np.s_[18:21, 12:16]
    prediction[hole] = np.nan
    one = similarity(prediction, truth, 300)
    truth[hole] = 1e6
    assert similarity(prediction, truth, 300) == one
    assert without - one.count == (3 + 2 * SSIM_RADIUS) * (4 + 2 * SSIM_RADIUS)


@pytest.mark.parametrize("size", [7, 16, 25])
def test_similarity_of_tiles_adds_up_to_that_of_the_map(size):
    rows, cols, h = 41, 33, SSIM_RADIUS
    maps = [np.pad(a, h, constant_values=np.nan) for a in pair((rows, cols), holes=0.003)]
    whole = similarity(*maps, 300)
    total = Similarity()
    for r in range(0, rows, size):
        for c in range(0, cols, size):
            roi = np.s_[r : min(r + size, rows) + 2 * h, c : min(c + size, cols) + 2 * h]
            total += similarity(*(m[roi] for m in maps), 300)
    assert 0 < whole.count == total.count < rows * cols
    assert total.mean == pytest.approx(whole.mean, rel=1e-12)


def test_similarity_is_the_same_in_mg_and_on_the_0_1_scale():
    prediction, truth = pair((30, 30))
    one = similarity(prediction, truth, 256)
    two = similarity(prediction / np.float32(256), truth / np.float32(256), 1)
    assert one.mean == pytest.approx(two.mean, rel=1e-12)


def test_similarity_of_nothing_is_unknown():
    assert math.isnan(Similarity().mean)
    empty = np.full((20, 20), np.nan, np.float32)
    assert similarity(empty, empty, 1) == Similarity()


def test_maps_of_different_shapes_are_refused():
    for measure in (errors, lambda a, b: similarity(a, b, 1)):
        with pytest.raises(GridMismatch, match="prediction"):
            measure(np.zeros((20, 20)), np.zeros((20, 21)))


def test_a_tile_smaller_than_a_window_is_refused():
    with pytest.raises(ModelError, match="at least 11×11"):
        similarity(np.zeros((10, 30)), np.zeros((10, 30)), 1)
