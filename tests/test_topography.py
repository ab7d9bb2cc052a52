"""Light on slopes: land of known light is levelled exactly; sums do not depend on tiles."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from carbonmap.errors import GridMismatch
from carbonmap.terrain import illumination, slope_aspect
from carbonmap.topography import MAX_FACTOR, MIN_PIXELS, LightSums, Relief, correct

SUN = math.radians(50), math.radians(140)

COS_ZENITH = math.cos(SUN[0])

SKYLIGHT = np.array([0.45, 0.35, 0.3, 0.2])
"""Share of a level pixel's light that comes from the sky and meets every slope alike."""

LEVEL = np.array([0.03, 0.05, 0.04, 0.3])


def slopes(shape=(60, 70), height=200.0):
    noise = np.random.default_rng(1).normal(size=shape)
    slope, aspect = slope_aspect(height * gaussian_filter(noise, 4), 16.0)
    return slope, illumination(slope, aspect, *SUN)


def lit(cos_i, rho=LEVEL[:, None, None]):
    """What the bands measure of land that would have `rho` if it were level."""
    d = SKYLIGHT[:, None, None]
    return rho * (d + (1 - d) * np.maximum(cos_i, 0) / COS_ZENITH)


def everywhere(cos_i):
    return np.ones(cos_i.shape, dtype=bool)


def test_land_of_known_light_is_levelled_exactly_by_the_c_correction():
    _, cos_i = slopes()
    seen = lit(cos_i)
    assert np.ptp(seen[3]) > 0.1
    c = LightSums.of(seen, cos_i, everywhere(cos_i)).fit()
    np.testing.assert_allclose(c, SKYLIGHT * COS_ZENITH / (1 - SKYLIGHT), rtol=1e-10)
    level = correct(seen, cos_i, 1.0, COS_ZENITH, c)
    sunlit = cos_i > 0
    np.testing.assert_allclose(level[:, sunlit], np.repeat(LEVEL[:, None], sunlit.sum(), 1))


def test_a_canopy_of_upright_trees_is_levelled_exactly_by_scs_c():
    """Soenen's own case: the sunlit canopy varies as (cos i + c) ÷ (cos s cos θ_z + c)."""
    slope, cos_i = slopes()
    c = np.array([0.6, 0.4, 0.3, 0.2])
    k = c[:, None, None]
    level_light = np.cos(slope) * COS_ZENITH
    seen = LEVEL[:, None, None] * (cos_i + k) / (level_light + k)
    got = correct(seen, cos_i, np.cos(slope), COS_ZENITH, c)
    sunlit = cos_i > 0
    np.testing.assert_allclose(got[:, sunlit], np.repeat(LEVEL[:, None], sunlit.sum(), 1))


def test_level_land_is_left_as_it_is():
    cos_i = np.full((4, 5), COS_ZENITH)
    seen = np.random.default_rng(0).uniform(0, 0.5, (4, 4, 5)).astype(np.float32)
    got = correct(seen, cos_i, 1.0, COS_ZENITH, np.array([0.0, 0.2, 1.0, np.inf]))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, seen, rtol=2e-7)


@given(st.lists(st.integers(1, 59), max_size=5), st.randoms())
def test_how_the_scene_is_cut_and_in_what_order_does_not_change_the_fit(cuts, order):
    _, cos_i = slopes()
    noise = np.random.default_rng(2).normal(1, 0.2, (4, *cos_i.shape))
    seen, usable = lit(cos_i) * noise, cos_i < 0.9
    whole = LightSums.of(seen, cos_i, usable)
    edges = [0, *sorted(set(cuts)), 60]
    parts = [LightSums.of(seen[:, a:b], cos_i[a:b], usable[a:b]) for a, b in pairwise(edges)]
    order.shuffle(parts)
    total = sum(parts, LightSums.none(4))
    assert total.count == whole.count
    np.testing.assert_allclose(total.fit(), whole.fit(), rtol=1e-11)


def test_the_fit_is_numpys_least_squares_over_the_usable_land_that_the_sun_meets():
    _, cos_i = slopes(height=700)
    assert (cos_i <= 0).any()
    seen = lit(cos_i) + np.random.default_rng(3).normal(0, 0.01, (4, *cos_i.shape))
    usable = everywhere(cos_i)
    usable[:10] = False
    seen[2, 30, 30] = np.nan
    taken = usable & (cos_i > 0)
    taken[30, 30] = False
    lines = [np.polyfit(cos_i[taken], band[taken], 1) for band in seen]
    want = [max(offset, 0) / slope for slope, offset in lines]
    np.testing.assert_allclose(LightSums.of(seen, cos_i, usable).fit(), want, rtol=1e-9)


def test_a_band_that_darkens_with_the_light_is_left_alone_and_the_others_are_not():
    _, cos_i = slopes()
    seen = lit(cos_i)
    seen[1] = 0.2 - 0.1 * cos_i
    c = LightSums.of(seen, cos_i, everywhere(cos_i)).fit()
    assert np.isinf(c).tolist() == [False, True, False, False]
    got = correct(seen, cos_i, 1.0, COS_ZENITH, c)
    assert np.array_equal(got[1], seen[1])
    assert not np.allclose(got[0], seen[0])


def test_no_line_is_fitted_to_few_pixels_or_to_level_land():
    slope, cos_i = slopes()
    few = np.zeros(cos_i.shape, dtype=bool)
    few.ravel()[: MIN_PIXELS - 1] = True
    assert np.isinf(LightSums.of(lit(cos_i), cos_i, few & (cos_i > 0)).fit()).all()
    assert np.isinf(LightSums.none(4).fit()).all()
    level = COS_ZENITH + 0.01 * (cos_i - COS_ZENITH)
    assert np.isinf(LightSums.of(lit(level), level, everywhere(level)).fit()).all()
    assert (slope > 0).all()


def test_a_line_through_less_than_nothing_becomes_the_cosine_and_no_pixel_explodes():
    cos_i = np.linspace(-0.2, 1, 4000).reshape(40, 100)
    seen = np.broadcast_to(0.3 * cos_i - 0.02, (4, 40, 100))
    c = LightSums.of(seen, cos_i, everywhere(cos_i)).fit()
    assert c.tolist() == [0, 0, 0, 0]
    ratio = correct(np.ones((4, 40, 100)), cos_i, 1.0, COS_ZENITH, c)
    assert ratio.max() == pytest.approx(MAX_FACTOR)
    free = cos_i > COS_ZENITH / MAX_FACTOR
    np.testing.assert_allclose(ratio[0][free], COS_ZENITH / cos_i[free])


def test_land_turned_away_is_not_amplified_and_unknown_slopes_give_nothing():
    cos_i = np.array([[-0.3, 0.0, 0.2, np.nan]])
    got = correct(np.full((1, 1, 4), 0.1), cos_i, 1.0, COS_ZENITH, np.array([0.1]))
    assert got[0, 0, :2].tolist() == [0.1, 0.1]
    assert got[0, 0, 2] > 0.2
    assert np.isnan(got[0, 0, 3])
    left = correct(np.full((1, 1, 4), 0.1), cos_i, 1.0, COS_ZENITH, np.array([np.inf]))
    assert left[0, 0, :3].tolist() == [0.1, 0.1, 0.1]
    assert np.isnan(left[0, 0, 3])


def test_arrays_of_two_tiles_are_refused_by_name():
    _, cos_i = slopes()
    with pytest.raises(GridMismatch, match="reflectance"):
        LightSums.of(np.zeros((4, 9, 9)), cos_i, everywhere(cos_i))
    with pytest.raises(GridMismatch, match="usable pixels"):
        LightSums.of(lit(cos_i), cos_i, np.ones((3, 3), dtype=bool))
    with pytest.raises(GridMismatch, match="reflectance"):
        correct(np.zeros((4, 9, 9)), cos_i, 1.0, 0.6, np.ones(4))


def test_a_scene_is_corrected_from_five_percent_of_steep_land_on():
    steep, gentle = math.radians(11), math.radians(9)
    slope = np.full((10, 10), gentle)
    slope[0, :5] = steep
    assert Relief.of(slope).needs_correction
    slope[0, 0] = gentle
    assert not Relief.of(slope).needs_correction
    slope[5:, :] = np.nan
    assert Relief.of(slope) == Relief(50, 4)
    assert Relief.of(slope).needs_correction
    assert not Relief().needs_correction


@given(st.integers(0, 60), st.integers(0, 60))
def test_relief_adds_up_over_tiles(a, b):
    slope, _ = slopes()
    first, second = sorted((a, b))
    parts = [Relief.of(slope[i:j]) for i, j in ((0, first), (first, second), (second, 60))]
    assert sum(parts, Relief()) == Relief.of(slope)
