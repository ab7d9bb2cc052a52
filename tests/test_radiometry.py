"""Counts to reflectance by hand, the sun by published positions, and counts that mean nothing."""

import datetime
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from carbonmap.calibration import Calibration
from carbonmap.errors import InputError
from carbonmap.quality import Quality
from carbonmap.radiometry import (
    count_quality,
    earth_sun_distance,
    missing_lines,
    radiance,
    toa_reflectance,
)

CALIBRATION = Calibration((0.2, 0.15, 0.12, 0.11), (0.0, 1.0, 0.0, -2.0), (1956.5,) * 4, 2020)


def test_radiance_is_gain_times_count_plus_bias_band_by_band():
    counts = np.full((4, 2, 3), 100, np.uint16)
    counts[3] = 1023
    made = radiance(counts, CALIBRATION)
    assert made.dtype == np.float32
    assert made.shape == counts.shape
    np.testing.assert_allclose(made[:, 1, 2], [20, 16, 12, 0.11 * 1023 - 2], rtol=1e-6)


def test_an_image_of_other_bands_has_no_radiance():
    with pytest.raises(InputError, match=r"has 3 band\(s\) and its calibration 4"):
        radiance(np.ones((3, 2, 2), np.uint16), CALIBRATION)


def test_reflectance_is_the_formula():
    made = toa_reflectance(
        np.full((4, 1, 1), 80, np.float32), (1956.54, 1840.78, 1540.95, 1083.98), 1.0127, 0.24
    )
    assert made.dtype == np.float32
    want = [math.pi * 80 * 1.0127**2 / (e * math.cos(0.24)) for e in (1956.54, 1840.78, 1540.95)]
    np.testing.assert_allclose(made[:3, 0, 0], want, rtol=1e-6)


def test_a_perfect_mirror_of_all_light_reflects_one():
    """A white lambertian surface at 1 AU under a sun at 60° sends back E cos θ / π."""
    light = np.array([1900.0, 1000.0])[:, None, None] * 0.5 / math.pi
    made = toa_reflectance(light, (1900.0, 1000.0), 1.0, math.pi / 3)
    np.testing.assert_allclose(made, 1, rtol=1e-12)


def test_the_suns_zenith_may_differ_by_pixel_and_where_it_is_not_up_nothing_is_measured():
    zenith = np.array([[0.0, math.pi / 3, 1.6]])
    made = toa_reflectance(np.full((2, 1, 3), 10.0), (100.0, 100.0), 1.0, zenith)
    np.testing.assert_allclose(made[1, 0], math.pi / 10 * np.array([1, 2, np.nan]), rtol=1e-12)


@pytest.mark.parametrize(
    ("day", "au"),
    [  # perihelia and aphelia, US Naval Observatory
        ("2013-01-02", 0.98329), ("2013-07-05", 1.01671), ("2020-01-05", 0.98324),
        ("2020-07-04", 1.01669), ("2023-01-04", 0.98330), ("2023-07-06", 1.01668),
    ],
)  # fmt: skip
def test_the_earth_is_as_far_from_the_sun_as_published(day, au):
    assert earth_sun_distance(datetime.date.fromisoformat(day)) == pytest.approx(au, abs=1e-4)


def test_of_all_days_of_a_year_the_nearest_is_in_early_january_and_the_farthest_in_early_july():
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(d) for d in range(366)]
    assert datetime.date(2020, 1, 2) <= min(days, key=earth_sun_distance) <= days[6]
    farthest = max(days, key=earth_sun_distance)
    assert datetime.date(2020, 7, 2) <= farthest <= datetime.date(2020, 7, 7)


# Counts.


def test_each_reason_has_its_bit_and_several_may_hold():
    counts = np.full((4, 3, 3), 500, np.uint16)
    counts[1, 0, 0] = 0
    counts[2, 0, 1] = 1023
    counts[0, 0, 2], counts[3, 0, 2] = 0, 2000
    counts[:, 2] = 0
    made = count_quality(counts, np.array([False, False, True]))
    assert made.dtype == np.uint8
    zero, full, lost = Quality.ZERO, Quality.SATURATED, Quality.MISSING_LINE
    assert made.tolist() == [[zero, full, zero | full], [0, 0, 0], [lost, lost, lost]]


def test_a_line_lost_in_one_band_is_lost():
    counts = np.full((4, 2, 3), 500, np.uint16)
    counts[2, 1] = 0
    missing = np.zeros((4, 2), bool)
    missing[2, 1] = True
    made = count_quality(counts, missing)
    assert made.tolist() == [[0, 0, 0], [Quality.MISSING_LINE] * 3]


def test_another_sensors_highest_count_can_be_told():
    counts = np.full((4, 1, 1), 1023, np.uint16)
    none = np.zeros(1, bool)
    assert count_quality(counts, none).item() == Quality.SATURATED
    assert count_quality(counts, none, saturation=4095).item() == 0


@given(
    hnp.arrays(np.uint16, (4, 6, 7), elements=st.sampled_from([0, 1, 500, 1022, 1023, 65535])),
    hnp.arrays(bool, (4, 6)),
    st.integers(1, 5),
    st.integers(1, 6),
)
def test_quality_is_brute_force_and_does_not_know_how_it_was_cut(counts, missing, row, col):
    made = count_quality(counts, missing)
    for r, c in np.ndindex(6, 7):
        lost = missing[:, r].any()
        want = Quality.MISSING_LINE if lost else Quality.ZERO * (0 in counts[:, r, c])
        want |= Quality.SATURATED * (counts[:, r, c].max() >= 1023)
        assert made[r, c] == want
    parts = [
        count_quality(counts[:, rows, cols], missing[:, rows])
        for rows in (slice(0, row), slice(row, 6))
        for cols in (slice(0, col), slice(col, 7))
    ]
    again = np.block([[parts[0], parts[1]], [parts[2], parts[3]]])
    np.testing.assert_array_equal(again, made)


def test_a_line_is_lost_when_more_than_half_of_it_is_zero():
    share = np.array([[0.0, 0.5, 0.51], [1.0, 0.2, 0.9]])
    assert missing_lines(share).tolist() == [[False, False, True], [True, False, True]]
