"""Scenes as GF-1 would deliver them: counts that mean what they should, and metadata that parse."""

import dataclasses
import datetime
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonmap import config, gf1
from carbonmap import crs as crs_
from carbonmap.calibration import calibrate
from carbonmap.errors import ConfigError
from carbonmap.landscape import County, clouds, county_grid, county_land, county_shot, fit_rpc, view
from carbonmap.landscape.camera import camera_over
from carbonmap.landscape.county import HUIZE
from carbonmap.landscape.drawing import draw
from carbonmap.landscape.metadata import rpb_text, xml_text
from carbonmap.landscape.product import CHINA, HAZE, lean_of, top_of_atmosphere
from carbonmap.radiometry import earth_sun_distance, radiance, toa_reflectance
from carbonmap.sun import sun_degrees
from tests.gf1_products import real

LATTICE = county_grid(2, 2)

COUNTY = County()

CAMERA = camera_over(*HUIZE, "WFV3", 90, 70)

WHOLE = np.s_[0:90, 0:70]


def taken(month="2020-05", camera=CAMERA, county=COUNTY, **changed):
    """A shot of the county."""
    calibration = calibrate(config.builtin("gf1_wfv"), camera.sensor, 2020)
    return dataclasses.replace(county_shot(camera, LATTICE, county, month, calibration), **changed)


@pytest.mark.parametrize("bias", [0.0, -3.0, 2.5])
def test_counts_are_the_reflectance_above_the_atmosphere_to_half_a_count(bias):
    calibration = dataclasses.replace(taken().calibration, bias=(bias,) * 4)
    shot = taken(calibration=calibration, noise_counts=0.0)
    counts = shot.counts(WHOLE)
    distance = earth_sun_distance(shot.time.date())
    zenith = np.radians(shot.sun_zenith_deg)
    got = toa_reflectance(radiance(counts, calibration), calibration.esun, distance, zenith)
    one = toa_reflectance(
        np.array(calibration.gain)[:, None, None], calibration.esun, distance, zenith
    )
    truth = draw(CAMERA, WHOLE, county_land(LATTICE, COUNTY, "2020-05"))
    clear = (counts > 0) & (counts < 1023)
    assert clear.mean() > 0.7
    assert (np.abs(got - truth) / one)[clear].max() < 0.502


def test_the_atmosphere_adds_its_own_light_and_takes_from_the_lands():
    grid = county_grid(20, 20)
    above, below = top_of_atmosphere(grid, COUNTY, "2020-05"), view(grid, COUNTY, "2020-05")
    for b, rho in enumerate(below.values()):
        assert np.allclose(above[b], HAZE.path[b] + HAZE.transmittance[b] * rho, atol=1e-6)


def test_noise_has_the_strength_asked_for_and_differs_between_bands_and_products():
    one, other = taken(noise_counts=20.0), taken(noise_counts=20.0, number=1)
    quiet = taken(noise_counts=0.0).counts(WHOLE).astype(float)
    noise = [shot.counts(WHOLE) - quiet for shot in (one, other)]
    inside = (quiet > 100) & (quiet < 900)
    for bands in noise:
        assert np.std(bands[inside]) == pytest.approx(20, rel=0.05)
    both = inside[0] & inside[1]
    assert abs(np.corrcoef(noise[0][0][both], noise[0][1][both])[0, 1]) < 0.1
    assert abs(np.corrcoef(noise[0][0][inside[0]], noise[1][0][inside[0]])[0, 1]) < 0.1


@settings(max_examples=5)
@given(st.integers(0, 80), st.integers(0, 60))
def test_blocks_of_any_cut_hold_the_same_counts(top, left):
    shot = taken(missing=((12, 30),))
    whole = shot.counts(WHOLE)
    assert np.array_equal(
        shot.counts(np.s_[top : top + 10, left : left + 10]),
        whole[:, top : top + 10, left : left + 10],
    )


def test_missing_lines_are_zero_in_every_band_and_no_other_line_changes():
    lost, whole = taken(missing=((12, 30), (88, 90))).counts(WHOLE), taken().counts(WHOLE)
    gone = np.zeros(90, bool)
    gone[12:30] = gone[88:90] = True
    assert not lost[:, gone].any()
    assert np.array_equal(lost[:, ~gone], whole[:, ~gone])


def test_clouds_are_the_brightest_just_where_the_county_has_them():
    cloudy = tuple(dataclasses.replace(s, cloud_cover=0.5) for s in COUNTY.seasons)
    county = dataclasses.replace(COUNTY, seasons=cloudy)
    grid = county_grid(64, 64, pixel_m=160.0)
    values = county_land(grid, county, "2020-08").values(grid)
    hidden = clouds(grid, county, "2020-08")
    assert 0.05 < hidden.mean() < 0.95
    assert values[0][hidden].min() > values[0][~hidden].max()


@pytest.mark.parametrize("sensor", ["WFV1", "WFV2", "WFV3", "WFV4"])
def test_a_camera_that_looks_aside_sees_clouds_aside(sensor):
    """Higher land moves in the image as the clouds above it do: the camera itself is the oracle."""
    camera = camera_over(*HUIZE, sensor, 400, 400)
    grid = county_grid(300, 300)
    east, north = lean_of(camera, grid)
    lon, lat = camera.ground(np.array([200.0]), np.array([200.0]), np.array([0.0]))
    up_lon, up_lat = camera.ground(np.array([200.0]), np.array([200.0]), np.array([1500.0]))
    x, y = crs_.transform_points("EPSG:4326", grid.crs, lon, lat)
    up_x, up_y = crs_.transform_points("EPSG:4326", grid.crs, up_lon, up_lat)
    assert (up_x - x).item() / 1500 == pytest.approx(east, abs=4e-3)
    assert (up_y - y).item() / 1500 == pytest.approx(north, abs=4e-3)
    seen, below = (clouds(grid, COUNTY, "2020-08", lean) for lean in ((east, north), (0.0, 0.0)))
    rows, cols = round(1500 * north / 16), round(1500 * east / 16)
    moved = np.roll(below, (rows, -cols), axis=(0, 1))
    inner = slice(80, 220)
    assert np.array_equal(seen[inner, inner], moved[inner, inner])


@pytest.mark.parametrize("month", [s.month for s in COUNTY.seasons])
@pytest.mark.parametrize("sensor", ["WFV1", "WFV3"])
def test_xml_says_what_the_scene_is(month, sensor):
    shot = taken(month, camera_over(*HUIZE, sensor, 900, 700))
    found = gf1.parse_xml(xml_text(shot).encode(), f"{shot.name}.xml")
    assert found.id == shot.name
    assert found.sensor == sensor
    assert found.acquired == shot.time
    assert (found.height, found.width) == (900, 700)
    assert found.sun_zenith_deg == pytest.approx(shot.sun_zenith_deg, abs=1e-3)
    assert found.sun_azimuth_deg == pytest.approx(shot.sun_azimuth_deg, abs=1e-3)
    assert found.view_zenith_deg == pytest.approx(np.degrees(shot.camera.view_zenith), abs=1e-3)
    assert found.view_azimuth_deg == pytest.approx(np.degrees(shot.camera.view_azimuth), abs=1e-3)
    assert np.allclose(found.corners, shot.corners, rtol=0, atol=5.1e-5)
    assert found.cloud_percent == pytest.approx(shot.cloud_percent, abs=0.51)
    assert found.notes == ()


@pytest.mark.parametrize("sensor", ["WFV1", "WFV2", "WFV3", "WFV4"])
def test_rpb_says_what_the_camera_is_and_fits_the_xml(sensor):
    shot = taken(camera=camera_over(*HUIZE, sensor, 900, 700))
    rpc = fit_rpc(shot.camera)
    found = gf1.parse_rpb(rpb_text(rpc), "a.rpb")
    for field in dataclasses.fields(rpc):
        assert np.allclose(
            getattr(found, field.name), getattr(rpc, field.name), rtol=1e-15, atol=1e-15
        )
    scene = gf1.parse_xml(xml_text(shot).encode(), f"{shot.name}.xml")
    gf1.require_fit(found, scene)
    assert gf1.footprint_gap_m(found, scene, 0.0) < 12  # four decimals of a degree


def test_rpb_is_laid_out_as_a_real_products():
    """Line by line, but for the numbers: keys, their order, groups, lists, tabs."""

    def layout(text):
        return re.sub(r"[-+]?[0-9.]+(E[-+][0-9]+)?", "0", text).replace("=   ", "= ").split("\n")

    theirs = layout(real(".rpb").read_text("ascii"))
    ours = layout(rpb_text(fit_rpc(camera_over(*HUIZE, "WFV3", 900, 700))))
    assert [" ".join(line.split()) for line in ours] == [" ".join(x.split()) for x in theirs]
    assert [line[:1] for line in ours] == [line[:1] for line in theirs]


@pytest.mark.parametrize("month", [s.month for s in COUNTY.seasons])
def test_the_sun_stands_where_the_scene_says_at_the_time_it_says(month):
    shot = taken(month)
    zenith, azimuth = sun_degrees(shot.time, *HUIZE)
    assert zenith == pytest.approx(shot.sun_zenith_deg, abs=0.5)
    aside = (azimuth - shot.sun_azimuth_deg) * np.sin(np.radians(zenith))
    assert abs(aside) < 0.5
    assert 10 <= shot.time.astimezone(CHINA).hour <= 12


def test_the_suns_azimuth_counts_from_true_north():
    """West of the projection's middle meridian the grid's north leans west of true north."""
    assert COUNTY.season("2020-05").sun_azimuth_deg - taken().sun_azimuth_deg == pytest.approx(
        1.5 * np.sin(np.radians(36)), abs=0.05
    )


def test_the_name_is_that_of_a_product():
    shot = taken("2020-08", number=26)
    assert shot.name == "GF1_WFV3_E103.5_N26.4_20200815_L1A0000000026"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"time": datetime.datetime(2020, 8, 15, 3)}, "no zone"),
        ({"sun_zenith_deg": 95.0}, "sun zenith"),
        ({"number": 10**10}, "ten digits"),
        ({"noise_counts": -1.0}, "noise"),
    ],
)
def test_a_scene_that_cannot_be_is_refused(changed, says):
    with pytest.raises(ConfigError, match=says):
        taken(**changed)


def test_a_month_that_the_county_lacks_is_refused():
    with pytest.raises(ConfigError, match="2020-08"):
        taken("2020-07")
