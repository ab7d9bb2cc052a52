"""The simulated camera: exact both ways, and of GF-1's shape."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod

from carbonmap.errors import ConfigError
from carbonmap.landscape.camera import LOOK_DEG, Camera, camera_over
from carbonmap.landscape.rpc_fit import fit_rpc

SENSORS = sorted(LOOK_DEG)

GEOD = Geod(ellps="WGS84")

REAL = {
    "corners": [(88.2994, 25.0142), (90.154, 24.6393), (89.6848, 22.7438), (87.8577, 23.1154)],
    "size": (13719, 12000),
    "view": (90 - 81.2272, 281.853),
}
"""A WFV3 product of 2020-05-23: its corners, lines and samples, and where its satellite stood."""


def volume(camera, count=4000, heights=(-100.0, 5000.0)):
    """Points all over an image and the heights of its land."""
    rng = np.random.default_rng(7)
    line = rng.uniform(-0.5, camera.lines - 0.5, count)
    sample = rng.uniform(-0.5, camera.samples - 0.5, count)
    return line, sample, rng.uniform(*heights, count)


@given(
    st.sampled_from(SENSORS),
    st.floats(-180, 180),
    st.floats(-60, 60),
    st.integers(2, 14_000),
    st.integers(2, 12_000),
)
def test_a_pixels_ground_is_seen_by_that_pixel(sensor, lon, lat, lines, samples):
    camera = camera_over(lon, lat, sensor, lines, samples)
    line, sample, height = volume(camera, 20, (-500.0, 9000.0))
    there = camera.ground(line, sample, height)
    seen = camera.project(*there, height)
    assert np.allclose(seen, (line, sample), rtol=0, atol=1e-6)


@pytest.mark.parametrize("sensor", SENSORS)
def test_the_middle_of_the_image_shows_the_place_at_height_0(sensor):
    camera = camera_over(103.5, 26.4, sensor, 301, 201)
    lon, lat = camera.ground(np.array(150.0), np.array(100.0), np.array(0.0))
    assert (float(lon), float(lat)) == pytest.approx((103.5, 26.4), abs=1e-10)


@pytest.mark.parametrize("sensor", SENSORS)
def test_pixels_in_the_middle_are_16_m_both_ways(sensor):
    camera = camera_over(103.5, 26.4, sensor, 301, 201)
    line, sample = np.array([150.0, 151.0, 150.0]), np.array([100.0, 100.0, 101.0])
    lon, lat = camera.ground(line, sample, np.array(0.0))
    for at in (1, 2):
        edge = GEOD.inv(lon[0], lat[0], lon[at], lat[at])[2]
        assert edge == pytest.approx(16, rel=1e-4)


@pytest.mark.parametrize("sensor", SENSORS)
def test_what_stands_between_the_place_and_the_satellite_is_seen_by_the_same_pixel(sensor):
    camera = camera_over(103.5, 26.4, sensor, 301, 201)
    height = 1000.0
    away = height * np.tan(camera.view_zenith)
    lon, lat, _ = GEOD.fwd(103.5, 26.4, np.degrees(camera.view_azimuth), away)
    seen = camera.project(np.array(lon), np.array(lat), np.array(height))
    assert np.allclose(seen, (150, 100), rtol=0, atol=0.01)


def test_the_cameras_fields_lie_side_by_side_on_both_sides_of_the_track():
    edges = []
    for sensor in SENSORS:
        camera = camera_over(103.5, 26.4, sensor, 101, 12_000)
        (q, r), (b_q, b_r), f = camera._focal
        field = np.degrees(np.arctan2(b_q, -b_r) + np.arctan2([-6000, 6000], f))
        edges.append(field + np.degrees(np.arctan2(q, r)))  # from the nadir of the satellite
    assert [round(float(np.mean(e))) for e in edges] == [-24, -8, 8, 24]
    assert all(abs(left[1] - right[0]) < 1 for left, right in itertools.pairwise(edges))


def test_a_scene_lies_on_the_ground_as_the_real_one_does():
    lon, lat = np.mean(REAL["corners"], axis=0)
    lines, samples = REAL["size"]
    camera = camera_over(lon, lat, "WFV3", lines, samples)
    assert np.degrees(camera.view_zenith) == pytest.approx(REAL["view"][0], abs=0.1)
    assert np.degrees(camera.view_azimuth) == pytest.approx(REAL["view"][1], abs=0.5)
    line, sample = np.array([0, 0, lines, lines]) - 0.5, np.array([0, samples, samples, 0]) - 0.5
    ours = camera.ground(line, sample, np.array(0.0))
    for x, y, (real_x, real_y) in zip(*ours, REAL["corners"], strict=True):
        assert GEOD.inv(x, y, real_x, real_y)[2] < 5000  # the real lines are 2 % shorter


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("size", [(12_000, 12_000), (13_719, 12_000), (64, 90)])
def test_the_fitted_model_is_the_camera_to_a_thousandth_of_a_pixel(sensor, size):
    camera = camera_over(103.5, 26.4, sensor, *size)
    line, sample, height = volume(camera)
    seen = fit_rpc(camera).project(*camera.ground(line, sample, height), height)
    assert np.abs(seen[0] - line).max() < 1e-3
    assert np.abs(seen[1] - sample).max() < 1e-3


def test_the_model_holds_a_little_beyond_the_heights_it_was_fitted_for():
    camera = camera_over(103.5, 26.4, "WFV4", 12_000, 12_000)
    line, sample, height = volume(camera, heights=(5000.0, 7000.0))
    seen = fit_rpc(camera).project(*camera.ground(line, sample, height), height)
    assert np.abs(np.subtract(seen, (line, sample))).max() < 0.02


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"sensor": "WFV5"}, "WFV4"),
        ({"lines": 1}, "1 lines"),
        ({"pixel_m": 0.0}, "positive"),
        ({"lat": 85.0}, "81.9"),
    ],
)
def test_a_camera_that_cannot_be_is_refused_by_name(changed, says):
    settings = {"lon": 103.5, "lat": 26.4, "sensor": "WFV3", "lines": 9, "samples": 9} | changed
    with pytest.raises(ConfigError, match=says):
        Camera(**settings)
