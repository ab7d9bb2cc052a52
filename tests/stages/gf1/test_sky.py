"""Sun and satellite over a scene, from its camera and its clock."""

import numpy as np
import pytest

from carbonmap import crs as crs_
from carbonmap.gf1 import parse_rpb, parse_xml
from carbonmap.grid import Grid
from carbonmap.stages.gf1.sky import PLACES, sky_of
from tests.gf1_products import real


@pytest.fixture(scope="module")
def scene():
    return parse_xml(real(".xml").read_bytes(), "real.xml")


@pytest.fixture(scope="module")
def sky(scene):
    """The real scene's on UTM 45, whose grid north is 0.8° off true north there."""
    rpc = parse_rpb(real(".rpb").read_text(), "real.rpb")
    grid = Grid.covering((590_000, 2_510_000, 830_000, 2_770_000), "EPSG:32645", 16.0)
    return sky_of(scene, rpc, grid, 0.0)


def test_the_camera_s_rays_come_from_where_the_metadata_see_the_satellite(scene, sky):
    middle = PLACES // 2
    assert np.degrees(sky.view_zenith[middle]) == pytest.approx(scene.view_zenith_deg, abs=0.1)
    azimuth = np.degrees(sky.view_azimuth[middle]) % 360
    convergence = 0.81  # of UTM 45 at 89° E, 23.9° N: (89 − 87)° · sin 23.9°
    assert azimuth + convergence == pytest.approx(scene.view_azimuth_deg, abs=0.3)


def test_a_wide_swath_is_seen_from_different_angles(sky):
    zenith = np.degrees(sky.view_zenith)
    assert zenith.min() < 1
    assert zenith.max() > 17


def test_the_sun_is_the_product_s_at_the_centre_and_the_clock_s_elsewhere(scene, sky):
    left, _, _, top = sky.grid.bounds
    x, y = crs_.transform_points("EPSG:4326", sky.grid.crs, *np.array([scene.centre]).T)
    row, col = int((top - y[0]) / 16), int((x[0] - left) / 16)
    zenith, azimuth = sky.sun_at(sky.grid[row : row + 1, col : col + 1])
    assert np.degrees(zenith.item()) == pytest.approx(scene.sun_zenith_deg, abs=0.005)
    assert np.degrees(azimuth.item()) + 0.81 == pytest.approx(scene.sun_azimuth_deg, abs=0.1)
    assert sky.disagreement_deg < 0.05
    ends, _ = sky.sun_at(sky.grid, 256)
    assert np.degrees(np.ptp(ends)) > 2


def test_a_part_has_what_a_larger_one_has_there(sky):
    larger, part = sky.grid[2900:3300, 600:1400], sky.grid[3000:3100, 700:1300]
    inner = slice(100, 200), slice(100, 700)
    for one, other in zip(sky.sun_at(part), sky.sun_at(larger), strict=True):
        assert np.allclose(one, other[inner], atol=1e-7)
    assert np.allclose(sky.across_at(part), sky.across_at(larger)[inner], atol=1e-5)


def test_block_means_are_the_middles_of_their_pixels(sky):
    part = sky.grid[1024:1152, 2048:2304]
    fine, coarse = sky.sun_at(part)[0], sky.sun_at(part, 4)[0]
    means = fine.reshape(32, 4, 64, 4).mean(axis=(1, 3))
    assert np.allclose(coarse, means, atol=1e-6)


def test_the_mark_s_plane_is_the_view_all_over_the_swath(scene, sky):
    zenith, azimuth, (down, right) = sky.view_plane()
    assert azimuth == pytest.approx(scene.view_azimuth_deg, abs=1.0)
    part = sky.grid[4000:12000, 5000:11000]
    step = 500
    seen = np.degrees(sky.view_at(part, step).zenith)
    rows = part.row - sky.grid.row + (np.arange(seen.shape[0]) + 0.5) * step - sky.grid.height / 2
    cols = part.col - sky.grid.col + (np.arange(seen.shape[1]) + 0.5) * step - sky.grid.width / 2
    plane = zenith + down * rows[:, None] + right * cols
    assert np.abs(plane - seen).max() < 0.5
    assert np.ptp(seen) > 5
