"""Samples of scenes do not depend on tiles, and overlaps tell what was built into them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonmap.overlaps import LATTICE_POINTS, Fit, find_links, join, lattice_step, sample


def scene(seed, shape=(30, 40), bands=2):
    rng = np.random.default_rng(seed)
    image = rng.random((bands, *shape)).astype(np.float32)
    image[:, rng.random(shape) < 0.1] = np.nan
    return image, rng.choice([0, 0, 0, 16, 64], shape).astype(np.uint8)


@given(
    row=st.integers(-100, 100), col=st.integers(-100, 100), step=st.integers(1, 7),
    cut=st.tuples(st.integers(1, 29), st.integers(1, 39)), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_scene_has_the_same_samples_however_it_was_cut(row, col, step, cut, seed):
    image, quality = scene(seed)
    whole = join([sample(image, quality, row, col, step)], 2)
    parts = []
    for rows in (slice(cut[0], 30), slice(0, cut[0])):
        for cols in (slice(0, cut[1]), slice(cut[1], 40)):
            tile = image[:, rows, cols], quality[rows, cols]
            parts.append(sample(*tile, row + rows.start, col + cols.start, step))
    joined = join(parts, 2)
    np.testing.assert_array_equal(joined.place, whole.place)
    np.testing.assert_array_equal(joined.values, whole.values)


@given(row=st.integers(-9, 9), col=st.integers(-9, 9), step=st.integers(1, 7))
def test_samples_are_all_the_clear_pixels_of_the_lattice(row, col, step):
    image, quality = scene(1)
    expected = {
        (row + r, col + c): tuple(image[:, r, c])
        for r in range(30)
        for c in range(40)
        if (row + r) % step == (col + c) % step == 0
        and quality[r, c] == 0
        and np.isfinite(image[:, r, c]).all()
    }
    got = sample(image, quality, row, col, step)
    found = dict(zip(map(tuple, got.place.tolist()), map(tuple, got.values), strict=True))
    assert found == expected


def test_a_region_of_any_size_has_a_bounded_number_of_samples():
    for pixels in (1, 499_999, 23_000_000, 3_100_000_000):
        assert pixels / lattice_step(pixels) ** 2 < 4 * LATTICE_POINTS
    assert lattice_step(1000) == 1


def test_a_link_tells_gain_and_means_of_what_did_not_change():
    """The other is (one + 0.02) / 1.25 but for a tenth, which changed in one band only."""
    rng = np.random.default_rng(3)
    one = rng.normal(0.2, 0.03, (2, 50, 50)).astype(np.float32)
    other = ((one + 0.02) / 1.25).astype(np.float32)
    other[1, :5] += 0.2
    clear = np.zeros((50, 50), np.uint8)
    samples = [sample(i, clear, 0, 0, 1) for i in (one, other)]
    (link,) = find_links(samples, Fit())
    assert (link.one, link.other, link.pixels, link.kept) == (0, 1, 2500, 2250)
    np.testing.assert_allclose(link.ratio, 1 / 1.25, rtol=1e-4)
    np.testing.assert_allclose(link.mean_one, one[:, 5:].mean((1, 2)), rtol=1e-5)


@pytest.mark.parametrize(("pixels", "links"), [(49, 0), (50, 1)])
def test_fewer_common_pixels_than_asked_for_tell_nothing(pixels, links):
    image = np.linspace(0.1, 0.3, 200).reshape(1, 1, 200).astype(np.float32)
    clear = np.zeros((1, 200), np.uint8)
    samples = [sample(image, clear, 0, 0, 1), sample(image, clear, 0, 200 - pixels, 1)]
    at = Fit(min_pixels=50)
    shifted = list(find_links([samples[0], samples[0], samples[1]], at))
    assert len(shifted) == 1 + 2 * links


def test_scenes_that_agree_to_the_bit_are_linked():
    image, quality = scene(5)
    same = sample(image, quality, 0, 0, 1)
    (link,) = find_links([same, same], Fit())
    assert link.kept == link.pixels == len(same.values)
    np.testing.assert_array_equal(link.ratio, 1)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.4])
def test_a_link_holds_though_clouds_cover_much_of_one_scene(share):
    rng = np.random.default_rng(4)
    one = rng.normal(0.2, 0.03, (2, 60, 60)).astype(np.float32)
    other = (one + rng.normal(0, 0.003, one.shape)).astype(np.float32)
    cloudy = rng.random((60, 60)) < share
    other[:, cloudy] = rng.uniform(0.3, 0.8, cloudy.sum())
    clear = np.zeros((60, 60), np.uint8)
    (link,) = find_links([sample(i, clear, 0, 0, 1) for i in (one, other)], Fit())
    np.testing.assert_allclose(link.ratio, 1, atol=0.02)
    np.testing.assert_allclose(link.mean_other - link.mean_one, 0, atol=0.001)
