"""Cameras: GDAL's own transformer as the oracle, there and back, windows, browse images."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.rpc import RPC
from rasterio.transform import RPCTransformer

from carbonmap.errors import InputError
from carbonmap.gf1 import parse_rpb
from carbonmap.rpc import TERMS
from tests.gf1_products import camera, polynomial, real

SEED = 7


def bent(seed=SEED):
    """A camera all of whose 80 coefficients matter, as a real one's do."""
    rng = np.random.default_rng(seed)
    plain = camera(height=12000, width=12000)
    small = {
        name: tuple(
            np.array(getattr(plain, name)) + (np.arange(TERMS) > 0) * rng.normal(0, 3e-3, TERMS)
        )
        for name in ("line_num", "line_den", "samp_num", "samp_den")
    }
    return dataclasses.replace(plain, height_off=1500.0, **small)


def real_camera():
    return parse_rpb(real(".rpb").read_text("ascii"), "real.rpb")


def gdal(rpc):
    """The same camera as GDAL has it."""
    values = dataclasses.asdict(rpc)
    told = {f"{k}_coeff": list(v) for k, v in values.items() if isinstance(v, tuple)}
    told |= {k: v for k, v in values.items() if not isinstance(v, tuple)}
    return RPC(**told, err_bias=None, err_rand=None)


def points(rpc, count=40):
    """Pixels all over the image, and heights."""
    rng = np.random.default_rng(SEED)
    line = rpc.line_off + rpc.line_scale * rng.uniform(-0.8, 0.8, count)
    sample = rpc.samp_off + rpc.samp_scale * rng.uniform(-0.8, 0.8, count)
    return line, sample, rng.uniform(0, 3500, count)


@pytest.mark.parametrize("make", [camera, bent, real_camera])
def test_projecting_is_what_gdal_does_half_a_pixel_aside(make):
    rpc = make()
    line, sample, height = points(rpc)
    lon, lat = rpc.ground(line, sample, height)
    at_line, at_sample = rpc.project(lon, lat, height)
    with RPCTransformer(gdal(rpc)) as oracle:
        want = oracle.rowcol(lon, lat, zs=height, op=lambda v: v)
    np.testing.assert_allclose(at_line + 0.5, want[0], atol=1e-6)
    np.testing.assert_allclose(at_sample + 0.5, want[1], atol=1e-6)


@pytest.mark.parametrize("make", [camera, bent, real_camera])
def test_to_the_ground_and_back_is_the_same_pixel(make):
    rpc = make()
    line, sample, height = points(rpc)
    lon, lat = rpc.ground(line, sample, height)
    np.testing.assert_allclose(rpc.project(lon, lat, height), (line, sample), atol=1e-6)


@given(st.floats(-0.5, 12000), st.floats(-0.5, 12000), st.floats(-400, 8000), st.integers(0, 20))
def test_any_pixel_at_any_height_comes_back(line, sample, height, seed):
    rpc = bent(seed)
    lon, lat = rpc.ground(np.float64(line), np.float64(sample), np.float64(height))
    np.testing.assert_allclose(rpc.project(lon, lat, height), (line, sample), atol=1e-6)


def test_a_plane_camera_is_its_closed_form():
    rpc = camera(height=60, width=50)
    line, sample = rpc.project(np.float64(103.5), np.float64(26.5), np.array([0.0, 1000.0]))
    np.testing.assert_allclose(line, [29.5, 29.5])
    np.testing.assert_allclose(sample, [24.5, 24.5 + 150 / 16])  # leans 0.15 m a metre, east


def test_points_and_heights_broadcast():
    rpc = bent()
    lon, lat = rpc.ground(np.arange(3.0)[:, None], np.arange(4.0)[None], np.float64(500))
    assert lon.shape == lat.shape == (3, 4)
    one = rpc.ground(np.float64(2), np.float64(3), np.float64(500))
    np.testing.assert_allclose((lon[2, 3], lat[2, 3]), one, atol=1e-12)


def test_no_points_are_no_ground():
    none = np.zeros(0)
    lon, lat = bent().ground(none, none, none)
    assert lon.shape == lat.shape == (0,)


def test_what_lies_far_beyond_the_image_has_no_ground():
    rpc = bent()
    far = rpc.line_off + 9 * rpc.line_scale
    assert np.isnan(rpc.ground(np.array([far]), np.array([6000.0]), np.array([0.0]))).all()


def test_pixels_that_show_no_ground_have_none_wherever_the_iteration_ends():
    """A camera folded at its middle, where line grows as the square of the latitude."""
    folded = polynomial()[:8] + (1.0,) + (0.0,) * 11
    rpc = dataclasses.replace(camera(), line_num=folded)
    line = rpc.line_off + rpc.line_scale * np.linspace(-3, -0.01, 200)
    lon, lat = rpc.ground(line, np.full(200, 20.0), np.zeros(200))
    assert np.isnan(lon).all()
    assert np.isnan(lat).all()


def test_a_camera_that_sees_nothing_gives_nan_and_no_warning():
    rpc = dataclasses.replace(camera(), samp_num=polynomial(one=1))  # one sample for all ground
    lon, lat = rpc.ground(np.array([1.0, 2.0]), np.array([1.0, 2.0]), np.zeros(2))
    assert np.isnan(lon).all()
    assert np.isnan(lat).all()


def test_a_point_at_which_the_denominator_vanishes_has_no_pixel_and_no_warning():
    rpc = dataclasses.replace(camera(), line_den=polynomial(lon=1))
    line, sample = rpc.project(np.array([103.5]), np.array([26.5]), np.array([0.0]))
    assert not np.isfinite(line).any()
    assert np.isfinite(sample).all()


def test_a_window_sees_the_same_ground():
    rpc = bent()
    line, sample, height = points(rpc)
    window = rpc.shifted(1000, 250)
    np.testing.assert_allclose(
        window.ground(line - 1000, sample - 250, height), rpc.ground(line, sample, height),
        atol=1e-11,
    )  # fmt: skip


@pytest.mark.parametrize("factor", [10, 2.5])
def test_a_browse_images_outer_edges_are_the_whole_images(factor):
    rpc = bent()
    line, sample, height = points(rpc)  # edges of pixels, half a pixel before their centres
    small = rpc.reduced(factor)
    np.testing.assert_allclose(
        small.ground(line / factor - 0.5, sample / factor - 0.5, height),
        rpc.ground(line - 0.5, sample - 0.5, height),
        atol=1e-11,
    )
    assert small.line_off == (rpc.line_off + 0.5) / factor - 0.5
    assert small.samp_scale == rpc.samp_scale / factor


def test_the_real_browse_image_lies_where_the_real_image_does():
    rpc = real_camera()
    corners = np.array([-0.5, 1370.5]), np.array([-0.5, 1199.5])
    whole = np.array([-0.5, 13709.5]), np.array([-0.5, 11999.5])
    np.testing.assert_allclose(
        rpc.reduced(10).ground(*corners, np.zeros(2)), rpc.ground(*whole, np.zeros(2)), atol=1e-9
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"line_num": (1.0,) * 19}, "line_num has 19 coefficients; there must be 20"),
        ({"samp_den": (0.0,) * 20}, "samp_den is all zeros"),
        ({"line_den": (float("nan"),) + (0.0,) * 19}, "line_den .* finite"),
        ({"height_off": float("inf")}, "height_off is inf"),
        ({"lat_scale": 0.0}, "lat_scale is 0.0; a scale must be positive"),
        ({"samp_scale": -1.0}, "samp_scale is -1.0"),
        ({"lat_off": 91.0}, "nowhere on Earth"),
        ({"long_off": 1000.0}, "nowhere on Earth"),
    ],
)
def test_numbers_that_make_no_camera_are_refused_by_name(change, says):
    with pytest.raises(InputError, match=says):
        dataclasses.replace(camera(), **change)
