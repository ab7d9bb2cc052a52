"""Sun and shadow on mountains, and the land without either."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonmap.landscape import (
    BANDS,
    County,
    cast_shadows,
    county_grid,
    elevation,
    image,
    reflectance,
    view,
)
from carbonmap.landscape.light import sunlight, thrown
from carbonmap.landscape.scene import SKY_LIGHT

GRID = county_grid(70, 80)

MONTH = "2020-11"

CLEAR = dataclasses.replace(
    County(),
    sensor_noise=0.0,
    seasons=tuple(dataclasses.replace(s, cloud_cover=0.0) for s in County().seasons),
)


@pytest.mark.parametrize(("azimuth_deg", "down", "right"), [(0, 1, 0), (90, 0, -1), (225, -1, 1)])
def test_a_towers_shadow_is_as_long_as_its_height_times_the_tangent(azimuth_deg, down, right):
    halo, zenith = 30, math.radians(50)
    ground = np.zeros((101, 101), np.float32)
    ground[50, 50] = 160.0
    dark = thrown(ground, 10.0, zenith, math.radians(azimuth_deg), halo)
    longest = 160.0 * math.tan(zenith) / (10.0 * math.hypot(down, right))
    want = [(20 + k * down, 20 + k * right) for k in range(1, math.floor(longest) + 1)]
    assert sorted(map(tuple, np.argwhere(dark))) == sorted(want)


def test_shadows_are_those_of_a_search_along_every_ray():
    rng = np.random.default_rng(5)
    halo, pixel_m, zenith, azimuth = 12, 10.0, math.radians(65), math.radians(160)
    ground = rng.uniform(0, 40, (44, 40)).astype(np.float32)
    dark = thrown(ground, pixel_m, zenith, azimuth, halo)
    assert 0.1 < dark.mean() < 0.9
    for row, col in np.ndindex(dark.shape):
        hit = False
        for k in range(1, halo):
            r, c = row + halo + k, col + halo + k * math.sin(azimuth) / -math.cos(azimuth)
            left = math.floor(c)
            land = ground[r, left] * (left + 1 - c) + ground[r, left + 1] * (c - left)
            way = k * pixel_m / -math.cos(azimuth)
            hit |= bool(land > ground[row + halo, col + halo] + way / math.tan(zenith))
        assert dark[row, col] == hit


def test_the_sun_overhead_throws_no_shadow():
    ground = np.random.default_rng(1).uniform(0, 999, (20, 20)).astype(np.float32)
    assert not thrown(ground, 16.0, 0.0, 1.0, 4).any()


def test_shadows_are_followed_as_far_as_the_county_can_throw_them():
    grid = county_grid(200, 200)
    low_sun = dataclasses.replace(County().season(MONTH), sun_zenith_deg=70.0)
    county = dataclasses.replace(County(), seasons=(low_sun,))
    zenith, azimuth = math.radians(70), math.radians(low_sun.sun_azimuth_deg)
    near, further = (
        thrown(elevation(grid.padded(halo), county), 16.0, zenith, azimuth, halo)
        for halo in (60, 640)
    )
    assert (near != further).any()
    assert np.array_equal(cast_shadows(grid, county, MONTH), further)


@settings(max_examples=5)
@given(st.integers(0, 60), st.integers(0, 70))
def test_a_tile_has_the_wholes_shadows_light_and_land(top, left):
    part = np.s_[top : top + 10, left : left + 10]
    for layer in (cast_shadows, sunlight):
        whole, here = (layer(grid, County(), MONTH) for grid in (GRID, GRID[part]))
        assert np.array_equal(here, whole[part])
    for layer in (reflectance, view):
        whole, here = (layer(grid, County(), MONTH) for grid in (GRID, GRID[part]))
        assert all(np.array_equal(here[band], whole[band][part]) for band in BANDS)


def test_an_image_is_the_lands_reflectance_in_the_light_of_sun_and_sky():
    land, seen = reflectance(GRID, CLEAR, MONTH), image(GRID, CLEAR, MONTH)
    light = sunlight(GRID, CLEAR, MONTH)
    for sky, band in zip(SKY_LIGHT, BANDS, strict=True):
        assert np.allclose(seen[band], (land[band] * (sky + (1 - sky) * light)).clip(0, 1), 1e-5)


def test_the_view_is_the_image_without_noise_but_for_the_shadows_of_mountains():
    quiet = dataclasses.replace(County(), sensor_noise=0.0)
    seen, drawn = view(GRID, quiet, MONTH), image(GRID, quiet, MONTH)
    dark = cast_shadows(GRID, quiet, MONTH)
    assert 0 < dark.mean() < 0.5
    for band in BANDS:
        assert np.array_equal(seen[band][~dark], drawn[band][~dark])
        assert (seen[band][dark] <= drawn[band][dark]).all()
        assert (seen[band][dark] < drawn[band][dark]).any()
