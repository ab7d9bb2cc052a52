import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonmap.normalise import CLIP, Inputs, Moments, Normalisation, encode
from carbonmap.terrain import horn_gradient

PIXEL_M = 16.0
ALL = Inputs(("image", "terrain", "canopy-height"))
IMAGE = Inputs(("image",))


def land(inputs=ALL, shape=(20, 20), seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(0, 100, shape).astype(np.float32) for name in inputs.layers}


def norm_of(inputs, mean=0.0, spread=1.0):
    wide = len(inputs.channels) - 1
    return Normalisation((float(mean),) * wide, (float(spread),) * wide)


def learned(inputs, seen):
    """Means and spreads of one tile."""
    x = encode(seen, inputs, norm_of(inputs, 0, 1e3), PIXEL_M)[:-1] * 1e3
    return Moments.of(x.reshape(len(x), -1).T.astype(float)).normalisation()


def test_channels_are_bands_terrain_and_height_in_one_order_whatever_the_order_asked_for():
    want = "blue green red nir elevation slope rise_east rise_north canopy_height known"
    assert Inputs(("canopy-height", "terrain", "image")).channels == tuple(want.split())
    assert Inputs(("image",)).channels == ("blue", "green", "red", "nir", "known")
    assert (ALL.halo, Inputs(("image",)).halo) == (1, 0)


def test_a_channel_is_the_layer_less_its_mean_over_its_spread():
    seen = land()
    found = encode(seen, ALL, norm_of(ALL, 3, 50), PIXEL_M)
    assert found.dtype == np.float32
    assert found.shape == (10, 18, 18)
    np.testing.assert_allclose(found[3], (seen["nir"][1:-1, 1:-1] - 3) / 50, rtol=1e-6)
    east, _ = horn_gradient(seen["elevation"], PIXEL_M)
    np.testing.assert_allclose(found[6], (east[1:-1, 1:-1] - 3) / 50, rtol=1e-5)


def test_a_pixel_that_lacks_a_layer_is_zero_everywhere_and_known_nowhere():
    seen = land()
    seen["red"][5, 7] = np.nan
    found = encode(seen, ALL, norm_of(ALL, 1000, 1), PIXEL_M)
    assert (found[:, 4, 6] == 0).all()
    assert found[-1].sum() == 18 * 18 - 1
    assert (found[:-1] != 0).all(axis=0).sum() == 18 * 18 - 1


def test_what_lies_far_out_is_cut():
    seen = land()
    seen["blue"][3, 3], seen["blue"][4, 4] = 1e9, -1e9
    blue = encode(seen, ALL, norm_of(ALL, 0, 1), PIXEL_M)[0]
    assert (blue[2, 2], blue[3, 3]) == (CLIP, -CLIP)


@pytest.mark.parametrize("lost", [[], ["red", "slope"]])
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 6), st.integers(0, 6))
def test_a_part_is_encoded_as_it_is_in_the_whole(lost, height, width, row, col):
    seen = land()
    norm = learned(ALL, seen)
    whole = encode(seen, ALL, norm, PIXEL_M, lost)
    part = {k: v[row : row + height + 2, col : col + width + 2] for k, v in seen.items()}
    found = encode(part, ALL, norm, PIXEL_M, lost)
    assert found.tobytes() == whole[:, row : row + height, col : col + width].tobytes()


def alike(count=400, seed=0):
    """Four bands of so many pixels, each much like the next, without a spike to be cut."""
    rng = np.random.default_rng(seed)
    common = rng.uniform(0, 100, (1, count))
    return {
        name: (common + 20 * rng.uniform(0, k, (1, count))).astype(np.float32)
        for k, name in enumerate(IMAGE.layers, 1)
    }


def standard(found, norm):
    """Standardised channels, ``(channel, pixel)``, as they were before they were joined."""
    return np.linalg.solve(norm.whitening, found[:-1].reshape(len(norm.mean), -1).astype(float))


@pytest.mark.parametrize("lost", [["red"], ["blue", "nir"], ["green", "blue", "nir"]])
def test_a_lost_channel_is_what_a_regression_on_the_others_expects(lost):
    seen = alike()
    norm = learned(IMAGE, seen)
    own = standard(encode(seen, IMAGE, norm, PIXEL_M), norm)
    found = standard(encode(seen, IMAGE, norm, PIXEL_M, lost), norm)
    hidden = [name in lost for name in IMAGE.layers]
    kept = np.logical_not(hidden)
    weights = np.linalg.lstsq(own[kept].T, own[hidden].T)[0]
    np.testing.assert_allclose(found[kept], own[kept], atol=1e-4)
    np.testing.assert_allclose(found[hidden], weights.T @ own[kept], atol=1e-4)
    assert found[hidden].std() > 0.5  # the others do tell much of it


def test_what_is_lost_is_not_read():
    seen = alike()
    norm = learned(IMAGE, seen)
    other = seen | {"red": 100 - seen["red"]}
    one, two = (encode(land, IMAGE, norm, PIXEL_M, ["red"]) for land in (seen, other))
    assert one.tobytes() == two.tobytes()


def test_when_all_is_lost_every_channel_is_its_mean():
    seen = alike()
    found = encode(seen, IMAGE, learned(IMAGE, seen), PIXEL_M, IMAGE.layers)
    assert (found[:-1] == 0).all()
    assert (found[-1] == 1).all()


@given(st.sets(st.sampled_from(ALL.channels[:-1])))
def test_no_channels_spread_grows_by_what_is_lost(lost):
    seen = land()
    seen["green"] = seen["blue"] + 0.1 * seen["green"]  # as bands resemble each other
    found = encode(seen, ALL, learned(ALL, seen), PIXEL_M, sorted(lost))[:-1].reshape(9, -1)
    spread = found.std(axis=1)
    assert (spread <= 1 + 1e-3).all()
    assert (spread[[n not in lost for n in ALL.channels[:-1]]] > 0.3).all()
    if not lost:
        np.testing.assert_allclose(spread, 1, atol=1e-3)


def test_without_whitening_a_lost_channel_is_its_mean_and_no_other_changes():
    seen = land()
    plain = dataclasses.replace(learned(ALL, seen), whitening=())
    found = encode(seen, ALL, plain, PIXEL_M, ["red", "slope"])
    want = encode(seen, ALL, plain, PIXEL_M)
    want[[2, 5]] = 0
    assert found.tobytes() == want.tobytes()


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6))
def test_moments_of_parts_add_to_those_of_the_whole(sizes):
    rng = np.random.default_rng(sum(sizes))
    parts = [rng.normal(1e4, 0.1, (size, 3)) for size in sizes]
    total = sum(map(Moments.of, parts), Moments.of(np.empty((0, 3))))
    whole = np.concatenate(parts)
    assert total.count == len(whole)
    if len(whole):
        np.testing.assert_allclose(total.mean, whole.mean(axis=0), rtol=1e-14)
        want = np.cov(whole.T, bias=True) * len(whole)
        np.testing.assert_allclose(total.products, want, rtol=1e-6, atol=1e-9)


def test_training_pixels_come_out_white():
    seen = land()
    seen["green"] = seen["blue"] + 0.1 * seen["green"]  # as bands resemble each other
    found = encode(seen, ALL, learned(ALL, seen), PIXEL_M)[:-1].reshape(9, -1)
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(found, bias=True), np.eye(9), atol=1e-3)
    assert (np.argmax(np.corrcoef(found, _plain(seen))[:9, 9:], axis=1) == np.arange(9)).all()


def _plain(seen):
    return encode(seen, ALL, norm_of(ALL, 0, 1e3), PIXEL_M)[:-1].reshape(9, -1)


@pytest.mark.parametrize("value", [0.0, 0.1, 7000.0])
def test_a_constant_channel_has_spread_one_and_comes_out_as_nothing(value):
    seen = land() | {"blue": np.full((20, 20), value, np.float32)}
    x = np.full((30_000, 1), np.float32(value))
    x[::2] = np.nextafter(x[::2], np.float32(8000)) if value else value  # rounding is no spread
    assert Moments.of(x).normalisation().spread == (1.0,)
    norm = learned(ALL, seen)
    assert norm.spread[0] == 1.0
    np.testing.assert_allclose(encode(seen, ALL, norm, PIXEL_M)[0], 0, atol=1e-3)


def test_a_normalisation_comes_back_from_json():
    norm = learned(ALL, land())
    assert Normalisation.from_json(norm.to_json()) == norm


@pytest.mark.parametrize(
    "value",
    [
        {"mean": [0.0], "spread": [0.0]},
        {"mean": [0.0], "spread": [1.0, 1.0]},
        {"mean": [0.0], "spread": [1.0], "median": [0.0]},
        {"mean": [None], "spread": [1.0]},
        {"mean": [0.0], "spread": [1.0], "whitening": [[1.0, 0.0]]},
    ],
)
def test_an_impossible_normalisation_is_refused(value):
    with pytest.raises(ValueError, match=r"spread|median|mean|whitening"):
        Normalisation.from_json(value)


def test_an_unknown_kind_of_input_is_refused_with_the_valid_ones():
    with pytest.raises(ValueError, match="did you mean 'image'"):
        Inputs(("imagery",))
