"""What a camera sees lies where it should, whatever the land and the blocks."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from carbonmap import crs as crs_
from carbonmap.errors import ConfigError
from carbonmap.landscape import County, county_grid, elevation
from carbonmap.landscape.camera import LOOK_DEG, camera_over
from carbonmap.landscape.county import HUIZE
from carbonmap.landscape.drawing import Land, _cubic, draw, meet
from carbonmap.landscape.rpc_fit import fit_rpc

COUNTY = County()

LATTICE = county_grid(2, 2)

ORIGIN = float(LATTICE.x[0]), float(LATTICE.y[0])


def places(grid):
    """Easting and northing from the county's middle, m, as two bands."""
    return np.stack(np.meshgrid(grid.x - ORIGIN[0], grid.y - ORIGIN[1]))


def heights(grid):
    return elevation(grid, COUNTY)


LAND = Land(LATTICE, heights, places, *COUNTY.elevation_m)


def level(height):
    """Level land."""
    return Land(LATTICE, lambda grid: np.full(grid.shape, height), places, height - 9, height + 500)


def pixels(roi):
    return np.meshgrid(*(np.arange(s.start, s.stop, dtype=float) for s in roi), indexing="ij")


def on_map(lon, lat):
    x, y = crs_.transform_points("EPSG:4326", LATTICE.crs, lon.ravel(), lat.ravel())
    return (x - ORIGIN[0]).reshape(lon.shape), (y - ORIGIN[1]).reshape(lon.shape)


CORNER = np.s_[11_900:12_000, 0:90]
"""A block in a corner of a full scene, 130 km from its middle."""


@pytest.mark.parametrize("sensor", sorted(LOOK_DEG))
@pytest.mark.parametrize("roi", [np.s_[5990:6060, 5960:6040], CORNER])
def test_every_pixel_shows_its_own_place_to_a_thousandth_of_a_pixel(sensor, roi):
    camera = camera_over(*HUIZE, sensor, 12_000, 12_000)
    east, north = draw(camera, roi, LAND)
    _, _, height = meet(camera, roi, LAND)
    x, y = on_map(*camera.ground(*pixels(roi), height))
    assert np.hypot(east - x, north - y).max() < 0.016


@pytest.mark.parametrize("sensor", ["WFV1", "WFV3"])
def test_every_line_of_sight_ends_on_the_land(sensor):
    camera = camera_over(*HUIZE, sensor, 12_000, 12_000)
    row, col, height = meet(camera, CORNER, LAND)
    top, left = int(row.min()) - 1, int(col.min()) - 1
    grid = dataclasses.replace(
        LATTICE, row=top, col=left, height=int(np.ptp(row)) + 4, width=int(np.ptp(col)) + 4
    )
    land = map_coordinates(heights(grid).astype(float), [row - top, col - left], order=1)
    assert np.abs(land - height).max() < 0.02
    assert np.ptp(height) > 100


def test_level_land_is_seen_where_the_camera_says():
    camera = camera_over(*HUIZE, "WFV4", 300, 200)
    roi = np.s_[0:300, 0:200]
    assert np.allclose(
        draw(camera, roi, level(1234.0)),
        on_map(*camera.ground(*pixels(roi), np.array(1234.0))),
        rtol=0,
        atol=0.016,
    )


def test_high_land_is_seen_far_from_where_level_land_would_be():
    """What an image shows without a DEM: hundreds of metres off."""
    camera = camera_over(*HUIZE, "WFV4", 80, 80)
    roi = np.s_[0:80, 0:80]
    off = np.hypot(*(draw(camera, roi, LAND) - draw(camera, roi, level(0.0))))
    assert off.min() > 300


@pytest.mark.parametrize("facing", [1, -1])
def test_a_slope_of_60_degrees_is_met_where_it_is(facing):
    """A closed form: the plane and the line of sight, both straight."""
    steep = np.tan(np.radians(60))
    land = Land(
        LATTICE,
        lambda grid: facing * steep * places(grid)[0],
        places,
        -9000.0,
        9000.0,
    )
    camera = camera_over(*HUIZE, "WFV4", 40, 40)
    roi = np.s_[0:40, 0:40]
    _, col, height = meet(camera, roi, land)
    x = (col + 0.5) * 16 - ORIGIN[0]
    assert np.abs(facing * steep * x - height).max() < 0.02


def test_the_product_lands_back_on_the_truth():
    """An orthorectifier's own way: each map pixel's height, through the RPC, into the image."""
    camera = camera_over(*HUIZE, "WFV1", 260, 260)
    image = draw(camera, np.s_[0:260, 0:260], LAND)
    target = dataclasses.replace(
        LATTICE, row=LATTICE.row + 40, col=LATTICE.col + 40, height=60, width=60
    )
    # the middle of the image shows height 0, and so this land lies elsewhere in it
    x, y = np.meshgrid(target.x, target.y)
    lon, lat = crs_.transform_points(LATTICE.crs, "EPSG:4326", x.ravel(), y.ravel())
    line, sample = fit_rpc(camera).project(lon, lat, heights(target).astype(float).ravel())
    inside = (line > 4) & (line < 255) & (sample > 4) & (sample < 255)
    assert inside.mean() > 0.5
    got = [map_coordinates(band, [line, sample], order=3) for band in image]
    off = np.hypot(*(np.array(got) - places(target).reshape(2, -1)))[inside] / 16
    assert np.sqrt(np.mean(off**2)) < 0.1


@settings(max_examples=8)
@given(st.data())
def test_blocks_of_any_cut_hold_the_same_to_the_last_bit(data):
    camera = camera_over(*HUIZE, "WFV2", 12_000, 12_000)
    whole = draw(camera, np.s_[7000:7040, 30:80], LAND)
    top, left = data.draw(st.integers(0, 38)), data.draw(st.integers(0, 48))
    bottom, right = data.draw(st.integers(top + 1, 40)), data.draw(st.integers(left + 1, 50))
    part = draw(camera, np.s_[7000 + top : 7000 + bottom, 30 + left : 30 + right], LAND)
    assert np.array_equal(part, whole[:, top:bottom, left:right])


def test_values_between_pixels_are_keys_cubic():
    rng = np.random.default_rng(3)
    grid = dataclasses.replace(LATTICE, row=0, col=0, height=9, width=11)
    values = rng.normal(size=(2, 9, 11))
    row, col = rng.uniform(2, 6, 50), rng.uniform(2, 8, 50)

    def weight(t):
        t = abs(t)
        if t < 1:
            return 1.5 * t**3 - 2.5 * t**2 + 1
        return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0

    want = [
        [
            sum(
                weight(r - i) * weight(c - j) * band[i, j]
                for i in range(band.shape[0])
                for j in range(band.shape[1])
            )
            for r, c in zip(row, col, strict=True)
        ]
        for band in values
    ]
    assert np.allclose(_cubic(values, grid, row, col), want)


def test_a_parabola_is_kept_between_pixels():
    grid = dataclasses.replace(LATTICE, row=0, col=0, height=9, width=11)
    i, j = np.mgrid[0:9, 0:11]
    row, col = np.array([2.25, 5.5]), np.array([3.75, 7.0])
    got = _cubic((i * i - 2.0 * j * j + i)[None], grid, row, col)
    assert np.allclose(got, row * row - 2 * col * col + row)


def test_land_without_room_for_heights_is_refused():
    with pytest.raises(ConfigError, match="no room"):
        Land(LATTICE, heights, places, 100.0, 100.0)
