"""Surface reflectance from the top of the atmosphere: what the air did is undone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonmap import config
from carbonmap.atmosphere import AEROSOL_SCALE_M, coefficients, estimate_aod, surface
from carbonmap.darkobject import DARK_REFLECTANCE, subtract_haze
from carbonmap.errors import InputError
from carbonmap.sixs import Geometry, coefficients_at, parse_table

TABLE = parse_table(config.builtin("atmosphere_6s"))

HERE = Geometry(math.radians(35), math.radians(12), math.radians(110))

EAST = Geometry(math.radians(36), math.radians(28), math.radians(110))

LAND = np.array([0.03, 0.06, 0.05, 0.35])


def air_at(elevation, aod=0.3, aod_at=2000.0, geometry=HERE):
    thinned = aod * math.exp((aod_at - elevation) / AEROSOL_SCALE_M)
    return coefficients_at(TABLE, geometry, thinned, elevation)


def seen(land, air):
    """Land from above the air, per band: `surface` turned round."""
    x_a, x_b, x_c = air
    return (land / (1 - x_c * land) + x_b) / x_a


@given(st.lists(st.floats(800, 3900), min_size=1, max_size=6))
def test_land_of_any_elevation_comes_out_as_it_is(elevations):
    toa = np.stack([seen(LAND, air_at(h)) for h in elevations], axis=1)[:, None, :]
    air = coefficients(TABLE, [HERE], 0.3, 2000.0, (800.0, 3900.0))
    got = surface(toa, air, np.array([elevations]))
    np.testing.assert_allclose(got[:, 0], np.repeat(LAND[:, None], len(elevations), 1), atol=8e-5)


def test_one_elevation_for_all_is_the_raster_of_it():
    toa = np.random.default_rng(0).uniform(0.05, 0.5, (4, 3, 5)).astype(np.float32)
    air = coefficients(TABLE, [HERE], 0.2, 0.0, (500.0, 2500.0))
    got = surface(toa, air, 1234.0)
    assert got.dtype == np.float32
    assert np.array_equal(got, surface(toa, air, np.full((3, 5), 1234.0)))
    x_a, x_b, x_c = coefficients_at(TABLE, HERE, 0.2 * math.exp(-1234 / AEROSOL_SCALE_M), 1234.0)
    y = x_a[:, None, None] * toa - x_b[:, None, None]
    np.testing.assert_allclose(got, y / (1 + x_c[:, None, None] * y), atol=1e-4)


def test_from_side_to_side_the_air_changes_with_the_view():
    air = coefficients(TABLE, [HERE, EAST], 0.3, 2000.0, (1500.0, 2500.0))
    toa = np.stack([seen(LAND, air_at(2000.0, geometry=g)) for g in (HERE, EAST)], axis=1)
    across = np.array([[0.0, 1.0]])
    got = surface(toa[:, None, :], air, 2000.0, across)
    np.testing.assert_allclose(got[:, 0], np.repeat(LAND[:, None], 2, 1), atol=1e-4)
    assert abs(surface(toa[:, None, :], air, 2000.0, 0.0)[0, 0, 1] - LAND[0]) > 0.003
    middle = surface(toa.mean(axis=1)[:, None, None], air, 2000.0, 0.5)
    np.testing.assert_allclose(middle[:, 0, 0], LAND, atol=2e-3)


def test_a_tile_equals_the_whole():
    rng = np.random.default_rng(1)
    toa = rng.uniform(0.05, 0.5, (4, 20, 30)).astype(np.float32)
    z, across = rng.uniform(700, 3000, (20, 30)), np.linspace(0, 2, 30)[None, :].repeat(20, 0)
    air = coefficients(TABLE, [HERE, EAST, EAST], 0.2, 1000.0, (700.0, 3000.0))
    tile = np.s_[5:11, 7:23]
    part = surface(toa[:, *tile], air, z[tile], across[tile])
    assert np.array_equal(part, surface(toa, air, z, across)[:, *tile])


def test_level_land_needs_one_level_only_and_unknown_land_stays_unknown():
    air = coefficients(TABLE, [HERE], 0.2, 500.0, (500.0, 500.0))
    got = surface(np.full((4, 1, 3), 0.2), air, np.array([[500.0, 480.0, np.nan]]))
    assert np.array_equal(got[:, 0, 0], got[:, 0, 1])
    assert np.isnan(got[:, 0, 2]).all()


def test_land_beyond_the_scenes_elevations_and_sides_has_the_air_of_its_end():
    air = coefficients(TABLE, [HERE, EAST], 0.2, 500.0, (500.0, 1500.0))
    z, across = np.array([[500.0, 1500.0]]), np.array([[0.0, 1.0]])
    toa = np.full((4, 1, 2), 0.2)
    beyond = surface(toa, air, np.array([[300.0, 1600.0]]), np.array([[-1.0, 1.5]]))
    assert np.array_equal(beyond, surface(toa, air, z, across))


def test_land_darker_than_the_air_comes_out_below_zero_and_is_not_cut():
    air = coefficients(TABLE, [HERE], 0.2, 0.0, (0.0, 100.0))
    assert (surface(np.full((4, 1, 1), 0.001), air, 50.0) < 0).all()


def test_aerosols_thicken_towards_the_valley_until_the_table_ends():
    air = coefficients(TABLE, [HERE], 0.8, 2000.0, (0.0, 4000.0))
    most = float(TABLE.axes["aod_550"][-1])
    for level, height in enumerate(np.linspace(0.0, 4000.0, air.values.shape[-1])):
        here = coefficients_at(TABLE, HERE, min(0.8 * np.exp((2000 - height) / 2000), most), height)
        assert np.allclose(air.values[:, :, 0, level], here, rtol=1e-6), height
    with pytest.raises(InputError, match=r"optical depth is 1\.2"):
        coefficients(TABLE, [HERE], 1.2, 0.0, (0.0, 100.0))


@pytest.mark.parametrize("aod", [0.02, 0.15, 0.33, 0.7])
def test_the_aod_under_which_the_dark_object_was_seen_is_found(aod):
    dark = seen(np.full(4, DARK_REFLECTANCE), coefficients_at(TABLE, HERE, aod, 1800.0))
    assert estimate_aod(TABLE, HERE, dark, 1800.0) == pytest.approx(aod, abs=1e-6)


def test_one_band_without_dark_land_does_not_thicken_the_air():
    air = coefficients_at(TABLE, HERE, 0.2, 1800.0)
    dark = seen(np.array([0.01, 0.03, 0.01, 0.2]), air)
    assert estimate_aod(TABLE, HERE, dark, 1800.0) == pytest.approx(0.2, abs=1e-6)
    dark = seen(np.array([0.5, 0.01, 0.5, 0.2]), air)
    assert estimate_aod(TABLE, HERE, dark, 1800.0) == pytest.approx(0.2, abs=1e-6)


@given(st.lists(st.floats(0.0, 0.12), min_size=3, max_size=3), st.floats(0.1, 0.5))
def test_with_the_estimate_no_visible_dark_object_falls_below_one_percent(visible, nir):
    clean = seen(np.full(4, DARK_REFLECTANCE), coefficients_at(TABLE, HERE, 0.0, 1800.0))
    dark = clean + np.array([*visible, nir])
    try:
        aod = estimate_aod(TABLE, HERE, dark, 1800.0)
    except InputError:
        return
    x_a, x_b, x_c = coefficients_at(TABLE, HERE, aod, 1800.0)
    y = x_a * dark - x_b
    assert ((y / (1 + x_c * y))[:3] > DARK_REFLECTANCE - 1e-6).all()


def test_clean_air_and_none_at_all_are_told_apart_from_fog():
    assert estimate_aod(TABLE, HERE, np.array([0.02, 0.02, 0.02, 0.02]), 1800.0) == 0
    with pytest.raises(
        InputError, match=r"\[0.6, 0.6, 0.6\].*more than aerosols of optical depth 1"
    ):
        estimate_aod(TABLE, HERE, np.full(4, 0.6), 1800.0)


def test_dark_object_subtraction_leaves_land_too_dark_and_6s_with_its_aod_does_not():
    """The two ways from one dark object, on land under a simulated AOD of 0.25 at 2 km."""
    air = coefficients_at(TABLE, HERE, 0.25, 2000.0)
    dark, toa = seen(np.full(4, DARK_REFLECTANCE), air), seen(LAND, air)
    aod = estimate_aod(TABLE, HERE, dark, 2000.0)
    by_table = surface(
        toa[:, None, None], coefficients(TABLE, [HERE], aod, 2000.0, (1990.0, 2010.0)), 2000.0
    )
    np.testing.assert_allclose(by_table.ravel(), LAND, atol=1e-4)
    by_haze = subtract_haze(toa[:, None, None], dark - DARK_REFLECTANCE).ravel()
    raw, plain = np.abs(toa / LAND - 1), by_haze / LAND - 1
    assert (plain < 0).all()
    assert (plain > -0.25).all()
    assert raw[0] > 1.5
