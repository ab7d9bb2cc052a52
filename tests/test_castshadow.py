"""Cast shadows: walls in closed form, rays marched one by one, tiles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

from carbonmap.castshadow import cast_shadow, shadow_reach_px
from carbonmap.errors import GridError

PIXEL = 16.0

ZENITH = math.radians(55)


def hills(shape=(40, 46), seed=0, height=2000.0):
    noise = np.random.default_rng(seed).normal(size=shape)
    return 2000 + height * gaussian_filter(noise, 3)


def marched(z, zenith, azimuth):
    """Shadows by a ray from every pixel's centre, a row or column a step, heights bilinear."""
    down, right = -math.cos(azimuth), math.sin(azimuth)
    longest = max(abs(down), abs(right))
    down, right = round(down / longest, 12), round(right / longest, 12)
    rise = PIXEL * math.hypot(down, right) / math.tan(zenith)
    shadow = np.zeros(z.shape, dtype=bool)
    for r, c in np.ndindex(z.shape):
        y, x, height = r + down, c + right, z[r, c] + rise
        while 0 <= y <= z.shape[0] - 1 and 0 <= x <= z.shape[1] - 1 and not shadow[r, c]:
            shadow[r, c] = bilinear(z, y, x) > height
            y, x, height = y + down, x + right, height + rise
    return shadow


def bilinear(z, y, x):
    top, left = min(int(y), z.shape[0] - 2), min(int(x), z.shape[1] - 2)
    v, u = y - top, x - left
    (nw, ne), (sw, se) = z[top : top + 2, left : left + 2]
    return (1 - v) * ((1 - u) * nw + u * ne) + v * ((1 - u) * sw + u * se)


@pytest.mark.parametrize("azimuth", [0, 45, 90, 135, 180, 225, 270, 315])
def test_along_rows_columns_and_diagonals_shadows_are_those_of_marched_rays(azimuth):
    z, azimuth = hills(seed=azimuth), math.radians(azimuth)
    want = marched(z, ZENITH, azimuth)
    assert 0.1 < want.mean() < 0.9
    assert np.array_equal(cast_shadow(z, ZENITH, azimuth, PIXEL), want)


@pytest.mark.parametrize("azimuth", [10, 63, 100, 160, 200, 222, 300, 350])
def test_in_other_directions_only_shadows_edges_differ_by_their_half_pixel(azimuth):
    z, azimuth = hills(seed=azimuth), math.radians(azimuth)
    want = marched(z, ZENITH, azimuth)
    got = cast_shadow(z, ZENITH, azimuth, PIXEL)
    edge = maximum_filter(want, 3) != minimum_filter(want, 3)
    wrong = (got != want)[1:-1, 1:-1]  # in the outermost pixels a ray lacks its neighbour
    assert not wrong[~edge[1:-1, 1:-1]].any()
    assert wrong.mean() < 0.05
    assert abs(got.mean() - want.mean()) < 0.02


@pytest.mark.parametrize("height", [80.0, 200.0, 431.0])
def test_a_walls_shadow_is_its_height_times_the_tangent_of_the_zenith(height):
    z = np.full((5, 60), 300.0)
    z[:, 50] += height
    shadow = cast_shadow(z, ZENITH, math.radians(90), PIXEL)
    length = height * math.tan(ZENITH) / PIXEL
    dark = math.ceil(length) - 1  # pixels whose centre is nearer than the shadow's end
    assert np.array_equal(shadow.sum(axis=1), [dark] * 5)
    assert shadow[:, 50 - dark : 50].all()
    assert shadow_reach_px(height, ZENITH, PIXEL) >= dark


@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(0.1, 1.4), st.floats(0, 6.28))
def test_a_plane_throws_no_shadow_on_itself_unless_it_turns_its_back(east, north, zenith, azimuth):
    row, col = np.indices((9, 11))
    z = PIXEL * (east * col - north * row)
    ahead = east * math.sin(azimuth) + north * math.cos(azimuth)  # rise towards the sun
    margin = ahead - 1 / math.tan(zenith)
    shadow = cast_shadow(z, zenith, azimuth, PIXEL)
    if margin < -1e-6:
        assert not shadow.any()
    elif margin > 1e-6:
        assert shadow[3:-3, 3:-3].all(), shadow


@given(
    st.sampled_from([0.0, 0.6, 1.7, 2.4, 3.3, 3.9, 5.0, 6.1]),
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(-90000, 90000), st.integers(-90000, 90000)),
)
def test_a_tile_read_with_its_halo_equals_the_whole_exactly(azimuth, window, origin):
    z = hills((94, 98), seed=3, height=500).astype(np.float32)
    z[44:46, 48] = np.nan
    halo = shadow_reach_px(float(np.nanmax(z) - np.nanmin(z)), 1.0, PIXEL)
    assert halo < 40
    top, left = 40 + window[0], 40 + window[1]
    rows, cols = slice(top, top + window[2]), slice(left, left + window[3])
    around = z[top - halo : rows.stop + halo, left - halo : cols.stop + halo]
    corner = origin[0] + top - halo, origin[1] + left - halo
    tile = cast_shadow(around, 1.0, azimuth, PIXEL, corner)[halo:, halo:]
    whole = cast_shadow(z, 1.0, azimuth, PIXEL, origin)
    assert whole.any()
    assert np.array_equal(tile[: window[2], : window[3]], whole[rows, cols])


def test_unknown_land_throws_no_shadow_and_receives_none():
    z = np.zeros((7, 40))
    z[:, 30] = 300
    z[3, 30] = np.nan
    shadow = cast_shadow(z, ZENITH, math.radians(90), PIXEL)
    assert not shadow[3].any()
    assert shadow[2, 15:30].all()
    z[2, 20] = np.nan
    assert not cast_shadow(z, ZENITH, math.radians(90), PIXEL)[2, 20]


@pytest.mark.parametrize("azimuth", [20, 70, 110, 250])
def test_level_land_full_of_gaps_has_no_shadow(azimuth):
    z = np.full((20, 20), 500.0)
    z[::3, ::4] = np.nan
    assert not cast_shadow(z, ZENITH, math.radians(azimuth), PIXEL).any()


def test_under_a_sun_overhead_nothing_is_dark():
    assert not cast_shadow(hills(), 0.0, 1.0, PIXEL).any()


@pytest.mark.parametrize("degrees", [-1, 90, 120, math.nan])
def test_a_sun_below_the_horizon_is_refused(degrees):
    for call in (
        lambda zenith: cast_shadow(hills(), zenith, 1.0, PIXEL),
        lambda zenith: shadow_reach_px(500, zenith, PIXEL),
    ):
        with pytest.raises(GridError, match="above the horizon"):
            call(math.radians(degrees))


def test_what_is_no_raster_is_refused():
    with pytest.raises(GridError, match=r"shape \(5,\)"):
        cast_shadow(np.zeros(5), ZENITH, 1.0, PIXEL)
