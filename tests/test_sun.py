"""The sun's place: published positions, a real product, closed forms."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonmap.errors import InputError
from carbonmap.sun import SUSPECT_DEG, angle_between, sun_field, sun_position

BEIJING = timezone(timedelta(hours=8))

STATED = math.radians(13.7242), math.radians(100.742)
"""SolarZenith and SolarAzimuth of GF1_WFV3_E89.0_N23.9_20200523_L1A0004819525.xml."""

WHEN = datetime(2020, 5, 23, 13, 3, 8, tzinfo=BEIJING)
"""Its CenterTime."""

CENTRE = 88.999, 23.878
"""Mean of its corners, degrees."""


def degrees(*position):
    return [float(np.degrees(angle)) for angle in position]


def apart(a, b):
    """Angle between two directions given as zenith and azimuth, degrees."""

    def toward(zenith, azimuth):
        flat = math.sin(zenith)
        return flat * math.sin(azimuth), flat * math.cos(azimuth), math.cos(zenith)

    return math.degrees(math.acos(min(1, np.dot(toward(*a), toward(*b)))))


@pytest.mark.parametrize(
    ("when", "lon", "lat", "zenith", "azimuth"),
    [
        # Reda & Andreas 2004 (NREL SPA), appendix A.5: elevation 39.872046° before refraction
        (datetime(2003, 10, 17, 19, 30, 30, tzinfo=UTC), -105.1786, 39.742476, 50.12795, 194.34024),
        # Meeus, example 25.b (full theory): δ = −7° 47′ 01.7″, so at the pole 90° + 7.78382°
        (datetime(1992, 10, 13, tzinfo=UTC), 0, 90, 97.78382, None),
    ],
)
def test_published_positions_are_met_within_two_hundredths_of_a_degree(
    when, lon, lat, zenith, azimuth
):
    got_zenith, got_azimuth = degrees(*sun_position(when, lon, lat))
    assert got_zenith == pytest.approx(zenith, abs=0.02)
    assert azimuth is None or got_azimuth == pytest.approx(azimuth, abs=0.02)


def test_a_real_product_states_the_sun_of_its_centre_time_read_as_utc_plus_8():
    assert apart(sun_position(WHEN, *CENTRE), STATED) < 0.03
    as_utc = sun_position(WHEN.replace(tzinfo=UTC), *CENTRE)
    assert apart(as_utc, STATED) > 60


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(InputError, match=r"2020-05-23 13:03:08 has no time zone.*UTC\+8"):
        sun_position(WHEN.replace(tzinfo=None), *CENTRE)


def test_the_zone_in_which_a_time_is_told_does_not_matter():
    assert sun_position(WHEN, *CENTRE) == sun_position(WHEN.astimezone(UTC), *CENTRE)


@given(st.integers(2013, 2030), st.integers(0, 364), st.floats(-170, 170))
def test_at_the_highest_the_sun_stands_on_the_meridian(year, day, lon):
    """And the zenith there is the latitude less the declination, which the pole sees."""
    noon = datetime(year, 1, 1, 12, tzinfo=UTC) + timedelta(days=day, hours=-lon / 15)
    times = [noon + timedelta(seconds=s) for s in range(-1800, 1801, 30)]
    heights = [sun_position(t, lon, 50.0) for t in times]
    zenith, azimuth = min(heights)
    declination = sun_position(noon, lon, 90)[0] - math.pi / 2
    assert zenith == pytest.approx(math.radians(50) + declination, abs=2e-4)
    assert azimuth == pytest.approx(math.pi, abs=0.02)
    assert heights[0][1] < math.pi < heights[-1][1], "in the morning it stands in the east"


def test_places_broadcast_and_equal_each_place_alone():
    lon, lat = np.array([88.0, 89.0, 90.0]), np.array([[23.0], [25.0]])
    zenith, azimuth = sun_position(WHEN, lon, lat)
    assert zenith.shape == azimuth.shape == (2, 3)
    for r in range(2):
        for c in range(3):
            alone = sun_position(WHEN, lon[c], lat[r, 0])
            assert alone == pytest.approx((zenith[r, c], azimuth[r, c]), abs=1e-14)


def test_a_scenes_sun_is_the_stated_one_at_its_centre_and_moves_as_computed():
    lon, lat = np.array([CENTRE[0], 88.0, 90.1]), np.array([CENTRE[1], 25.0, 22.8])
    field = sun_field(STATED, WHEN, CENTRE, lon, lat)
    assert (field.zenith[0], field.azimuth[0]) == pytest.approx(STATED, abs=1e-12)
    zenith, azimuth = sun_position(WHEN, lon, lat)
    np.testing.assert_allclose(np.diff(field.zenith), np.diff(zenith), atol=1e-12)
    np.testing.assert_allclose(np.diff(field.azimuth), np.diff(azimuth), atol=1e-12)
    assert np.ptp(np.degrees(field.zenith)) > 1
    assert field.disagreement_deg == pytest.approx(
        apart(sun_position(WHEN, *CENTRE), STATED), abs=1e-5
    )
    assert field.disagreement_deg < SUSPECT_DEG


def test_a_wrong_hour_disagrees_loudly():
    field = sun_field(STATED, WHEN + timedelta(hours=1), CENTRE, *CENTRE)
    assert field.disagreement_deg > 10


def test_the_shifted_sun_never_passes_the_zenith_and_azimuth_stays_in_one_turn():
    field = sun_field((0.001, 0.0), WHEN, CENTRE, np.linspace(85, 93, 9), CENTRE[1])
    assert (field.zenith >= 0).all()
    assert ((field.azimuth >= 0) & (field.azimuth < 2 * np.pi)).all()


DIRECTION = st.tuples(st.floats(0, math.pi), st.floats(-math.pi, 2 * math.pi))


@given(DIRECTION, DIRECTION)
def test_the_angle_between_two_directions_is_that_of_their_vectors(one, other):
    got = float(angle_between(*one, *other))
    assert got == pytest.approx(math.radians(apart(one, other)), abs=3e-8)
    assert got == pytest.approx(float(angle_between(*other, *one)), abs=1e-15)


def test_small_angles_are_kept():
    assert angle_between(0.5, 1, 0.5 + 1e-9, 1) == pytest.approx(1e-9, rel=1e-6)
    assert angle_between(math.pi / 2, 1, math.pi / 2, 1 + 1e-9) == pytest.approx(1e-9, rel=1e-6)
