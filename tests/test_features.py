import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from carbonmap import features as module
from carbonmap.errors import ModelError
from carbonmap.features import BANDS, INDICES, FeatureSpec, features, features_at, valid_pixels

PIXEL_M = 30.0
EVERYTHING = FeatureSpec(inputs=("image", "terrain", "canopy-height"), radii=(1, 3))


def landscape(rows, cols, seed=0, holes=0.0):
    """Layers of a rough land; a share of every layer is missing."""
    rng = np.random.default_rng(seed)
    layers = {band: rng.integers(1, 30_000, (rows, cols)) for band in BANDS}
    layers |= {"elevation": rng.uniform(600, 4000, (rows, cols))}
    layers |= {"canopy_height": rng.uniform(0, 40, (rows, cols))}
    lost = {name: rng.random((rows, cols)) < holes for name in layers}
    return {k: np.where(lost[k], np.nan, v).astype(np.float32) for k, v in layers.items()}


def padded(layers, margin):
    return {k: np.pad(v, margin, constant_values=np.nan) for k, v in layers.items()}


def named(layers, spec):
    """Every feature by name, of layers without halo."""
    return dict(zip(spec.names, features(padded(layers, spec.halo), spec, PIXEL_M), strict=True))


@given(
    top=st.integers(0, 15),
    left=st.integers(0, 15),
    rows=st.integers(1, 9),
    cols=st.integers(1, 9),
    radii=st.lists(st.integers(1, 6), max_size=3).map(tuple),
    seed=st.integers(0, 99),
)
def test_a_tile_with_its_halo_has_the_bytes_of_the_whole(top, left, rows, cols, radii, seed):
    spec = FeatureSpec(inputs=("image", "terrain", "canopy-height"), radii=radii)
    layers = padded(landscape(24, 24, seed, holes=0.05), spec.halo)
    whole = features(layers, spec, PIXEL_M)
    h = 2 * spec.halo
    tile = {k: v[top : top + rows + h, left : left + cols + h] for k, v in layers.items()}
    part = features(tile, spec, PIXEL_M)
    assert part.tobytes() == whole[:, top : top + rows, left : left + cols].tobytes()


def test_windows_agree_with_brute_force():
    layers = landscape(9, 11, holes=0.1)
    found = named(layers, EVERYTHING)
    valid = np.all([np.isfinite(v) for v in layers.values()], axis=0)
    assert 0 < valid.sum() < valid.size
    for radius in EVERYTHING.radii:
        for row, col in np.argwhere(valid):
            window = np.s_[
                max(row - radius, 0) : row + radius + 1, max(col - radius, 0) : col + radius + 1
            ]
            for name in EVERYTHING.pixel_names:
                around = found[name][window][valid[window]].astype(np.float64)
                own = float(found[name][row, col])
                want = {
                    "mean": around.mean(),
                    "std": around.std(),
                    "above": own - around.mean(),
                }
                for statistic in EVERYTHING.statistics(name):
                    got = found[f"{name}_{statistic}_{radius}px"][row, col]
                    close = 1e-5 * max(1, np.abs(around).max())  # a pixel's own value is float32
                    assert got == pytest.approx(want[statistic], rel=1e-5, abs=close)


def test_a_pixel_is_valid_where_its_own_layers_are_known_and_nowhere_else():
    layers = landscape(12, 12, holes=0.05)
    known = np.all([np.isfinite(v) for v in layers.values()], axis=0)
    stack = features(padded(layers, EVERYTHING.halo), EVERYTHING, PIXEL_M)
    for plane in stack:
        np.testing.assert_array_equal(np.isfinite(plane), known)
    found = valid_pixels(padded(layers, EVERYTHING.halo), EVERYTHING)
    np.testing.assert_array_equal(found, known)


def test_a_layer_that_is_not_asked_for_may_be_missing_anywhere():
    spec = FeatureSpec(inputs=("image",))
    layers = landscape(6, 6)
    layers["elevation"][:] = np.nan
    del layers["canopy_height"]
    assert np.isfinite(features(padded(layers, spec.halo), spec, PIXEL_M)).all()


def test_indices_are_normalised_differences():
    layers = {b: np.full((3, 3), v, np.float32) for b, v in zip(BANDS, (1, 2, 3, 9), strict=True)}
    found = named(layers, FeatureSpec(inputs=("image",), radii=()))
    assert found["ndvi"][1, 1] == np.float32(0.5)
    assert found["gndvi"][1, 1] == np.float32(7 / 11)
    assert found["rbi"][1, 1] == np.float32(0.5)
    assert set(INDICES) < set(found)


def test_bands_at_or_below_zero_give_no_runaway_index():
    layers = {b: np.zeros((4, 4), np.float32) for b in BANDS}
    layers["nir"][:2] = 0.02
    layers["red"][:2] = -0.01999
    found = named(layers, FeatureSpec(inputs=("image",), radii=()))
    assert found["ndvi"][0, 0] == 1
    assert found["ndvi"][3, 3] == 0


def test_a_plane_has_one_slope_up_to_its_edges():
    layers = landscape(8, 8)
    east, north = np.arange(8) * PIXEL_M, -np.arange(8)[:, None] * PIXEL_M
    layers["elevation"] = (1000 + 0.3 * east - 0.4 * north).astype(np.float32)
    found = named(layers, FeatureSpec(inputs=("terrain",), radii=(2,)))
    edges = np.ones((8, 8), bool)
    edges[np.ix_([0, -1], [0, -1])] = False  # a corner has only one neighbour on either diagonal
    assert found["slope"][edges] == pytest.approx(0.5, abs=1e-5)
    assert found["rise_east"][edges] == pytest.approx(0.3, abs=1e-5)
    assert found["rise_north"][edges] == pytest.approx(-0.4, abs=1e-5)
    assert found["slope_std_2px"][3:5, 3:5] == pytest.approx(0, abs=1e-4)
    assert found["elevation_above_2px"][4, 4] == pytest.approx(0, abs=1e-3)


def test_no_feature_tells_the_mean_elevation_of_a_neighbourhood():
    names = FeatureSpec().names
    assert "elevation_above_5px" in names
    assert not [n for n in names if n.startswith(("elevation_mean", "elevation_std"))]


def test_names_are_unique_and_as_many_as_planes():
    stack = features(padded(landscape(4, 4), EVERYTHING.halo), EVERYTHING, PIXEL_M)
    assert stack.dtype == np.float32
    assert stack.shape == (len(EVERYTHING.names), 4, 4)
    assert len(set(EVERYTHING.names)) == len(EVERYTHING.names)


@pytest.mark.parametrize(
    ("spec", "gone", "left"),
    [
        (FeatureSpec(indices=False), "ndvi", "nir_mean_2px"),
        (FeatureSpec(spread=False), "nir_std_2px", "nir_mean_2px"),
        (FeatureSpec(radii=()), "nir_mean_2px", "ndvi"),
        (FeatureSpec(inputs=("terrain",)), "nir", "slope"),
    ],
)
def test_every_switch_takes_its_features_away(spec, gone, left):
    assert gone in FeatureSpec(radii=(2,)).names
    assert gone not in spec.names
    assert left in spec.names
    assert len(features(padded(landscape(3, 3), spec.halo), spec, PIXEL_M)) == len(spec.names)


def test_the_order_of_inputs_and_radii_makes_no_difference():
    one = FeatureSpec(inputs=("terrain", "image"), radii=(5, 2, 5))
    assert one == FeatureSpec(inputs=("image", "terrain"), radii=(2, 5))


@given(
    inputs=st.lists(st.sampled_from(list(module.INPUTS)), min_size=1).map(tuple),
    radii=st.lists(st.integers(1, module.MAX_RADIUS)).map(tuple),
    indices=st.booleans(),
    spread=st.booleans(),
)
def test_a_spec_survives_json(inputs, radii, indices, spread):
    spec = FeatureSpec(inputs, radii, indices, spread)
    assert FeatureSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"inputs": ("terain",)}, "did you mean 'terrain'"),
        ({"inputs": ()}, "at least one kind"),
        ({"radii": (0,)}, "greater than or equal to 1"),
        ({"radii": (1000,)}, "less than or equal to 64"),
        ({"radius": (1,)}, "radius"),
        ({"indices": 1}, "boolean"),
    ],
)
def test_an_impossible_spec_is_refused_by_name(wrong, says):
    with pytest.raises(ValidationError, match=says):
        FeatureSpec(**wrong)


def test_a_missing_layer_is_named():
    layers = landscape(20, 20)
    del layers["nir"]
    with pytest.raises(ModelError, match="needs layer 'nir'"):
        features(layers, FeatureSpec(), PIXEL_M)


@pytest.mark.parametrize("size", [1, 2])
def test_layers_without_their_halo_are_refused(size):
    with pytest.raises(ModelError, match="halo of"):
        features(landscape(size, size), FeatureSpec(), PIXEL_M)


def test_layers_of_different_shapes_are_refused():
    layers = landscape(40, 40)
    layers["red"] = layers["red"][1:]
    with pytest.raises(ModelError, match="should share one"):
        features(layers, FeatureSpec(), PIXEL_M)


def test_features_of_some_pixels_are_those_of_the_stack(monkeypatch):
    monkeypatch.setattr(module, "STRIP_PX", 4)
    spec = FeatureSpec(radii=(2,))
    layers = padded(landscape(11, 7, holes=0.05), spec.halo)
    wanted = np.random.default_rng(1).random((11, 7)) < 0.4
    wanted[4:8] = False
    want = features(layers, spec, PIXEL_M)[:, wanted].T
    np.testing.assert_array_equal(features_at(layers, spec, PIXEL_M, wanted), want)
    none = features_at(layers, spec, PIXEL_M, np.zeros((11, 7), bool))
    assert none.shape == (0, len(spec.names))
