import numpy as np
import pytest
import threadpoolctl

from carbonmap import features as features_module
from carbonmap.errors import ModelError
from carbonmap.features import BANDS, FeatureSpec, features_at
from carbonmap.grid import Grid
from carbonmap.models import regressors
from carbonmap.models.regressors import RECIPES, Regressor, estimate, fit, recipe

KINDS = list(RECIPES)
SPEC = FeatureSpec(inputs=("image",), radii=(1,))
GRID = Grid("EPSG:32612", 30.0, row=5, col=-3, height=40, width=30)


def land(grid=GRID, seed=0):
    """Layers with their halo, and a density that follows from them."""
    rng = np.random.default_rng(seed)
    h = SPEC.halo
    layers = {b: rng.uniform(0.02, 0.5, grid.padded(h).shape).astype(np.float32) for b in BANDS}
    nir, red = (layers[b][h : h + grid.height, h : h + grid.width] for b in ("nir", "red"))
    return layers, 300 * np.maximum(nir - red, 0)


def learnt(kind, **more):
    layers, truth = land()
    x = features_at(layers, SPEC, 30.0, np.ones(GRID.shape, bool))
    return fit(kind, SPEC, x, truth.ravel(), 30.0, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_a_density_that_follows_from_the_layers(kind):
    model = learnt(kind)
    layers, truth = land(seed=1)
    found = model.predict(layers, GRID)
    assert found.dtype == np.float32
    assert found.shape == GRID.shape
    assert found.min() >= 0
    assert np.sqrt(np.mean((found - truth) ** 2)) < 0.5 * truth.std()


@pytest.mark.parametrize("kind", KINDS)
def test_a_pixels_estimate_is_the_same_in_any_batch(kind):
    model = learnt(kind)
    layers, _ = land(seed=2)
    x = features_at(layers, SPEC, 30.0, np.ones(GRID.shape, bool))
    whole = estimate(model.estimator, x)
    for size in (1, 7, 333):
        parts = [estimate(model.estimator, x[i : i + size]) for i in range(0, len(x), size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("roi", [np.s_[0:40, 0:11], np.s_[17:18, 4:5], np.s_[21:40, 13:30]])
def test_a_tile_has_the_bytes_of_the_whole_map(kind, roi, monkeypatch):
    monkeypatch.setattr(features_module, "STRIP_PX", 16)
    model = learnt(kind)
    layers, _ = land()
    whole = model.predict(layers, GRID)
    rows, cols = (slice(s.start, s.stop + 2 * model.halo) for s in roi)
    part = model.predict({k: v[rows, cols] for k, v in layers.items()}, GRID[roi])
    assert part.tobytes() == whole[roi].tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_our_estimates_are_scikit_learns(kind):
    model = learnt(kind)
    x = features_at(land(seed=3)[0], SPEC, 30.0, np.ones(GRID.shape, bool))
    want = np.maximum(model.estimator.predict(x.astype(np.float64)), 0)
    np.testing.assert_allclose(estimate(model.estimator, x), want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_no_bit_of_what_was_learnt(kind):
    x = features_at(land(seed=4)[0], SPEC, 30.0, np.ones(GRID.shape, bool))
    found = []
    for threads in (1, 2, 3):
        with threadpoolctl.threadpool_limits(threads):
            found.append(estimate(learnt(kind, threads=threads).estimator, x).tobytes())
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("kind", ["random-forest", "gradient-boosting"])
def test_a_seed_is_another_model_and_the_same_seed_the_same(kind):
    x = features_at(land(seed=5)[0], SPEC, 30.0, np.ones(GRID.shape, bool))
    first, again, other = (estimate(learnt(kind, seed=s).estimator, x) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_ols_finds_the_exact_line():
    spec = FeatureSpec(inputs=("image",), radii=(), indices=False)
    x = np.random.default_rng(0).uniform(0, 1, (50, 4)).astype(np.float32)
    y = 7 + x.astype(np.float64) @ [10, 20, 30, 40]
    model = fit("ols", spec, x, y, 30.0)
    np.testing.assert_allclose(estimate(model.estimator, x), y, rtol=1e-12)


def test_ols_does_not_run_away_on_features_that_repeat_each_other():
    spec = FeatureSpec(inputs=("image",), radii=(), indices=False)
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (500, 4)).astype(np.float32)
    x[:, 3] = x[:, 0]
    y = 50 * x[:, 0].astype(np.float64) + rng.normal(0, 1, 500)
    model = fit("ols", spec, x, y, 30.0)
    x[:, 3] += np.float32(1e-3)
    assert np.abs(estimate(model.estimator, x) - y).max() < 10


def test_a_negative_estimate_becomes_zero():
    spec = FeatureSpec(inputs=("image",), radii=(), indices=False)
    x = np.random.default_rng(0).uniform(0, 1, (50, 4)).astype(np.float32)
    model = fit("ols", spec, x, 100 * x[:, 0].astype(np.float64), 30.0)
    assert estimate(model.estimator, -x).max() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_pixel_without_its_layers_has_no_estimate(kind):
    model = learnt(kind)
    layers, _ = land()
    holes = np.random.default_rng(6).random(GRID.shape) < 0.1
    layers["green"][SPEC.halo : -SPEC.halo, SPEC.halo : -SPEC.halo][holes] = np.nan
    np.testing.assert_array_equal(np.isnan(model.predict(layers, GRID)), holes)
    layers["green"][:] = np.nan
    assert np.isnan(model.predict(layers, GRID)).all()


def test_the_scale_is_the_largest_density_learnt():
    assert learnt("ols").scale == land()[1].max()
    x = np.random.default_rng(0).random((99, len(SPEC.names)), np.float32)
    assert fit("ols", SPEC, x, np.zeros(99), 30.0).scale == 1


def test_an_unknown_kind_is_refused_with_the_nearest():
    with pytest.raises(ModelError, match="did you mean 'random-forest'"):
        recipe("random_forest")


def test_too_few_pixels_are_refused():
    with pytest.raises(ModelError, match="3 pixels to learn"):
        fit("ols", SPEC, np.zeros((3, len(SPEC.names)), np.float32), np.zeros(3), 30.0)


def test_pixels_that_are_not_finite_are_refused():
    x = np.ones((99, len(SPEC.names)), np.float32)
    x[5, 2] = np.nan
    with pytest.raises(ModelError, match="should be finite"):
        fit("ols", SPEC, x, np.zeros(99), 30.0)


def test_pixels_of_another_size_are_refused():
    layers, _ = land()
    coarse = Grid("EPSG:32612", 16.0, 0, 0, *GRID.shape)
    with pytest.raises(ModelError, match="30 m and the tile has pixels of 16 m"):
        learnt("ols").predict(layers, coarse)


def test_a_regressor_is_a_model():
    model: regressors.Regressor = learnt("ols")
    assert isinstance(model, Regressor)
    assert model.layers == BANDS
    assert model.halo == 1
    assert model.pixel_m == 30
