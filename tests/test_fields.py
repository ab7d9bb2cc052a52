"""Fields by place: published figures, brute force, and independence of the request."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from carbonmap.fields import (
    bits,
    field_key,
    fractal,
    normal,
    places,
    smooth,
    smooth_at,
    uniform,
)
from carbonmap.grid import Grid

WORD = 2**64
STEP = 0x9E3779B97F4A7C15


def splitmix64(state: int) -> int:
    """Steele et al. 2014, in whole Python numbers."""
    z = state % WORD
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WORD
    return z ^ (z >> 31)


def test_the_oracle_gives_the_published_stream_of_seed_1234567():
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [splitmix64(1234567 + k * STEP) for k in (1, 2, 3)] == published


@given(st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62), st.integers(0, WORD - 1))
def test_bits_are_splitmix64_streams_by_row(row, col, key):
    want = splitmix64(splitmix64(key + row * STEP) + col * STEP)
    assert int(bits(np.array([row]), np.array([col]), key)[0]) == want


def test_keys_tell_fields_apart_and_never_change():
    assert field_key(1, "a", 2) == field_key(1, "a", 2)
    assert len({field_key(*k) for k in [(1, "a", 2), (1, "a2"), (1, "a", "3"), (2, "a", 2)]}) == 4
    assert field_key(26, "noise") == 13408057204077746002  # a map drawn today is drawn so tomorrow


def test_uniform_and_normal_have_their_distributions():
    rows, cols = places(Grid("EPSG:32648", 16.0, -150, -70, 300, 300))
    assert stats.kstest(uniform(rows, cols, 5).ravel(), "uniform").pvalue > 0.01
    values = normal(rows, cols, 5)
    assert stats.kstest(values.ravel(), "norm").pvalue > 0.01
    neighbours = [values[1:] * values[:-1], values[:, 1:] * values[:, :-1]]
    assert all(abs(pair.mean()) < 4 / 300 for pair in neighbours)  # 4 standard errors


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
def test_a_place_has_one_value_whoever_asks(row, col):
    rows, cols = row + np.arange(7)[:, None], col + np.arange(9)[None, :]
    whole = normal(rows, cols, 3)
    assert np.array_equal(whole[2:5, 3:8], normal(rows[2:5], cols[:, 3:8], 3))
    assert whole[4, 6] == normal(np.array([row + 4]), np.array([col + 6]), 3)[0]


@given(
    st.integers(0, 50),
    st.integers(0, 50),
    st.integers(1, 30),
    st.integers(1, 30),
    st.floats(1.5, 70),
)
def test_a_tile_of_a_smooth_field_equals_the_whole(top, left, height, width, spacing):
    y, x = 16.0 * np.arange(-40, 40), 16.0 * np.arange(1000, 1080)
    whole = smooth(y, x, 16 * spacing, 7)
    rows, cols = slice(top, top + height), slice(left, left + width)
    assert np.array_equal(smooth(y[rows], x[cols], 16 * spacing, 7), whole[rows, cols])


def test_a_smooth_field_is_the_same_at_scattered_points():
    y, x = np.linspace(900, -1300, 23), np.linspace(-500, 2500, 31)
    on_points = smooth_at(*np.meshgrid(y, x, indexing="ij"), 310.0, 11)
    np.testing.assert_allclose(smooth(y, x, 310.0, 11), on_points, atol=2e-6)


@pytest.mark.parametrize("place", [(0.0, 0.0), (13.7, 49.9), (50.0, 25.0)])
def test_every_place_of_a_smooth_field_is_standard_normal(place):
    """At one place between the knots, so far apart that no two values share a knot."""
    y, x = (phase + 500.0 * np.arange(3000) for phase in place)
    assert stats.kstest(smooth_at(y, x, 100.0, 4), "norm").pvalue > 0.01


def test_a_fractal_field_is_standard_normal_too():
    y = x = 33.0 + 500.0 * np.arange(3000)
    field = fractal(partial(smooth_at, y, x), 90.0, 6, octaves=4)
    assert stats.kstest(field, "norm").pvalue > 0.01


@pytest.mark.parametrize("spacing", [3.0, 40.0])
def test_knots_may_be_closer_than_pixels(spacing):
    y, x = np.arange(0.0, 900.0, 17.0), np.arange(0.0, 700.0, 17.0)
    on_points = smooth_at(*np.meshgrid(y, x, indexing="ij"), spacing, 8)
    np.testing.assert_allclose(smooth(y, x, spacing, 8), on_points, atol=2e-6)


def test_a_smooth_field_changes_little_over_a_small_part_of_its_spacing():
    y, x = np.arange(0.0, 400.0), np.zeros(1)
    field = smooth(y, x, 100.0, 2)[:, 0]
    assert np.abs(np.diff(field)).max() < 0.1
    assert field.std() > 0.2
