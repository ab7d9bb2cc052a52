"""Horn's slope and aspect: planes in closed form, brute force, edges, NaN, tiles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonmap.errors import GridError
from carbonmap.terrain import (
    HALO_PX,
    horn_gradient,
    illumination,
    slope_aspect,
)

PIXEL = 16.0


def plane(east: float, north: float, shape: tuple[int, int] = (6, 7)) -> np.ndarray:
    """Elevation that rises by so much per metre."""
    row, col = np.indices(shape)
    return 2000 + PIXEL * (east * col - north * row)


def rough(shape: tuple[int, int] = (12, 15), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(2000, 30, shape)


def horn_at(z: np.ndarray, r: int, c: int) -> tuple[float, float]:
    """The formula, one pixel at a time."""
    (nw, n, ne), (w, _, e), (sw, s, se) = z[r - 1 : r + 2, c - 1 : c + 2]
    p = ((ne + 2 * e + se) - (nw + 2 * w + sw)) / (8 * PIXEL)
    q = ((nw + 2 * n + ne) - (sw + 2 * s + se)) / (8 * PIXEL)
    return p, q


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_a_plane_has_its_own_gradient_up_to_the_last_row_and_column(east, north):
    p, q = horn_gradient(plane(east, north), PIXEL)
    np.testing.assert_allclose(p, east, atol=1e-11)
    np.testing.assert_allclose(q, north, atol=1e-11)


@given(st.floats(0.01, 3), st.floats(0, 2 * math.pi, exclude_max=True))
def test_a_plane_has_its_slope_and_faces_downhill(rise, facing):
    slope, aspect = slope_aspect(plane(-rise * math.sin(facing), -rise * math.cos(facing)), PIXEL)
    np.testing.assert_allclose(slope, math.atan(rise), atol=1e-9)
    np.testing.assert_allclose(np.cos(aspect - facing), 1, atol=1e-9)
    assert (aspect >= 0).all()
    assert (aspect < 2 * np.pi).all()


@pytest.mark.parametrize(
    ("east", "north", "degrees"),
    [(0, -1, 0), (-1, 0, 90), (0, 1, 180), (1, 0, 270), (-1, -1, 45), (1, 1, 225)],
)
def test_aspect_is_clockwise_from_north(east, north, degrees):
    _, aspect = slope_aspect(plane(east, north), PIXEL)
    np.testing.assert_allclose(np.degrees(aspect[2, 2]), degrees, atol=1e-9)


def test_inside_the_gradient_is_horns_formula():
    z = rough()
    p, q = horn_gradient(z, PIXEL)
    for r in range(1, z.shape[0] - 1):
        for c in range(1, z.shape[1] - 1):
            assert (p[r, c], q[r, c]) == pytest.approx(horn_at(z, r, c), abs=1e-12)


def test_a_hole_stays_a_hole_and_a_planes_slope_survives_beside_it():
    z = plane(0.2, -0.1)
    z[2, 3] = np.nan
    p, q = horn_gradient(z, PIXEL)
    assert np.argwhere(np.isnan(p)).tolist() == [[2, 3]]
    np.testing.assert_allclose(p[~np.isnan(p)], 0.2, atol=1e-11)
    np.testing.assert_allclose(q[~np.isnan(q)], -0.1, atol=1e-11)


def test_where_both_opposite_neighbours_are_missing_the_centre_stands_in():
    z = plane(0.2, 0.4)
    z[1:4, 2], z[1:4, 4] = np.nan, np.nan  # west and east of the column at 3
    p, q = horn_gradient(z, PIXEL)
    assert p[2, 3] == 0
    assert q[2, 3] == pytest.approx(0.4 / 2)  # two of the four weights are left


def test_a_single_known_pixel_is_flat():
    z = np.full((3, 3), np.nan)
    z[1, 1] = 1500
    slope, _ = slope_aspect(z, PIXEL)
    assert slope[1, 1] == 0
    assert np.isnan(slope).sum() == 8


@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 5), st.integers(1, 6))
def test_a_tile_read_with_its_halo_equals_the_whole(top, left, height, width):
    z = rough().astype(np.float32)
    around = z[top - HALO_PX : top + height + HALO_PX, left - HALO_PX : left + width + HALO_PX]
    tile = [a[HALO_PX:-HALO_PX, HALO_PX:-HALO_PX] for a in slope_aspect(around, PIXEL)]
    whole = [a[top : top + height, left : left + width] for a in slope_aspect(z, PIXEL)]
    assert np.array_equal(tile, whole)


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (9,)])
def test_land_too_narrow_for_a_slope_is_refused_by_its_shape(shape):
    with pytest.raises(GridError, match=r"shape \(.*halo of 1"):
        slope_aspect(np.zeros(shape), PIXEL)


@given(st.floats(0, 1.5), st.floats(0, 6.2), st.floats(0, 1.5), st.floats(0, 6.2))
def test_illumination_is_the_dot_product_of_normal_and_sun(slope, aspect, zenith, azimuth):
    def direction(from_zenith, bearing):
        flat = math.sin(from_zenith)
        return flat * math.sin(bearing), flat * math.cos(bearing), math.cos(from_zenith)

    want = np.dot(direction(slope, aspect), direction(zenith, azimuth))
    got = illumination(np.array([[slope]]), np.array([[aspect]]), zenith, azimuth)
    assert got.item() == pytest.approx(want, abs=1e-12)


def test_a_slope_square_to_the_sun_gets_all_of_its_light_and_its_back_less_than_none():
    sun = math.radians(60), math.radians(150)
    slope = np.full((1, 2), sun[0])
    aspect = np.array([[sun[1], sun[1] - math.pi]])
    np.testing.assert_allclose(illumination(slope, aspect, *sun), [[1, -0.5]], atol=1e-12)


def test_flat_land_has_no_slope_and_aspect_zero():
    slope, aspect = slope_aspect(np.full((4, 5), 700.0), 16.0)
    assert not slope.any()
    assert not aspect.any()
