"""The calibration table, value by value, and what is made of its rows."""

import json
from pathlib import Path

import pytest

from carbonmap import config
from carbonmap.calibration import GAIN_RANGE, Calibration, calibrate
from carbonmap.errors import ConfigError
from carbonmap.gf1 import SENSORS

TABLE = config.builtin("gf1_wfv")

GATHERED = Path(__file__).parents[1] / "../shared/data/gf1_wfv3/gf1_wfv_coefficients.json"


@pytest.fixture
def gathered():
    if not GATHERED.is_file():
        pytest.skip("the coefficients as gathered are not at hand (../shared/data/gf1_wfv3)")
    return json.loads(GATHERED.read_text("utf-8"))


def test_every_gathered_gain_and_bias_is_in_the_table(gathered):
    assert set(TABLE["sensor"]) == set(gathered["gain_bias"]) == set(SENSORS)
    for sensor, rows in gathered["gain_bias"].items():
        assert set(TABLE["sensor"][sensor]) == set(rows)
        for year, row in rows.items():
            ours = TABLE["sensor"][sensor][year]
            assert (ours["gain"], ours["bias"]) == (row["gain"], row["bias"])
            assert ours.get("single_source", False) == row.get("single_source", False)
            assert ours["form"] == ("inverse" if year == "2013" else "direct")


def test_every_gathered_irradiance_is_in_the_table(gathered):
    sets = gathered["esun_W_m-2_um-1"]
    assert set(TABLE["esun"]) == {name[0] for name in sets} | {"default", "why"}
    for name, values in sets.items():
        ours = TABLE["esun"][name[0]]
        assert {s: ours[s] for s in SENSORS} == values


def test_every_gathered_conflict_is_in_the_table_with_both_values(gathered):
    bands = ["blue", "green", "red", "nir"]
    wanted = set()
    for conflict in gathered["conflicts"]:
        one, other = conflict["snowy-dove"], conflict["zhaoguanhua"]
        for value, theirs in (("gain", "gain"), ("bias", "offset")):
            for band, a, b in zip(bands, one[value], other[theirs], strict=True):
                if a != b:
                    wanted.add((conflict["sensor"], conflict["year"], band, value, b, a))
    ours = {
        (c["sensor"], c["year"], c["band"], c["value"], c["used"], c["other"])
        for c in TABLE["conflict"]
    }
    assert ours == wanted


def test_every_row_names_sources_that_are_told():
    sources = set(TABLE["source"])
    for rows in TABLE["sensor"].values():
        for row in rows.values():
            assert row["source"]
            assert set(row["source"]) <= sources
            assert row.get("single_source", False) == (len(row["source"]) == 1)
    for conflict in TABLE["conflict"]:
        row = TABLE["sensor"][conflict["sensor"]][str(conflict["year"])]
        place = ["blue", "green", "red", "nir"].index(conflict["band"])
        assert row[conflict["value"]][place] == conflict["used"]
        assert conflict["why"]


@pytest.mark.parametrize("sensor", SENSORS)
def test_every_year_gives_gains_of_one_size(sensor):
    """A row taken the wrong way round would be forty times as large."""
    for year in range(2013, 2024):
        made = calibrate(TABLE, sensor, year)
        assert made.year == year
        assert len(made.gain) == len(made.bias) == len(made.esun) == 4
        assert all(0.09 < g < 0.26 for g in made.gain)
        assert all(abs(b) < 0.01 for b in made.bias)
        assert all(900 < e < 2100 for e in made.esun)


def test_the_form_of_2013_is_turned_around():
    made = calibrate(TABLE, "WFV1", 2013)
    stars = (0.1709, 0.1398, 0.1195, 0.1338)  # Terradue's program stores the inverse
    assert made.gain == pytest.approx(stars, abs=5e-5)
    counts = 5.851 * 60 + 0.0039  # what a radiance of 60 gives, as published
    assert made.gain[0] * counts + made.bias[0] == pytest.approx(60, rel=1e-12)


def test_a_plain_year_is_the_tables_row_and_needs_no_word():
    assert calibrate(TABLE, "WFV3", 2020) == Calibration(
        gain=(0.2106, 0.1825, 0.1346, 0.1187),
        bias=(0.0,) * 4,
        esun=(1956.54, 1840.78, 1540.95, 1083.98),
        year=2020,
    )


@pytest.mark.parametrize(("year", "used"), [(2026, 2023), (2012, 2013)])
def test_a_year_without_a_row_takes_the_nearest_and_says_so(year, used):
    made = calibrate(TABLE, "WFV4", year)
    assert made.year == used
    assert made.notes[0] == f"no calibration of WFV4 for {year} is known; that of {used} was taken"


def test_of_two_years_equally_near_the_earlier_is_taken():
    table = {**TABLE, "sensor": {"WFV1": {y: TABLE["sensor"]["WFV1"][y] for y in ("2015", "2017")}}}
    assert calibrate(table, "WFV1", 2016).year == 2015


def test_single_sources_and_conflicts_are_told():
    (note,) = calibrate(TABLE, "WFV2", 2022).notes
    assert "one source only" in note
    (note,) = calibrate(TABLE, "WFV1", 2019).notes
    assert "two gains of WFV1 green for 2019" in note
    assert "0.1657 was taken and not 0.1647" in note
    assert calibrate(TABLE, "WFV2", 2019).notes == ()


def test_a_users_own_numbers_take_the_rows_place_and_are_told():
    made = calibrate(TABLE, "WFV1", 2019, gain=[0.2, 0.15, 0.12, 0.13])
    assert (made.gain, made.bias) == ((0.2, 0.15, 0.12, 0.13), (0.0,) * 4)
    assert "0.2, 0.15, 0.12, 0.13 are the user's" in made.notes[-1]
    made = calibrate(TABLE, "WFV1", 2030, gain=(0.2,) * 4, bias=(1, -1, 0.5, 0))
    assert made.bias == (1.0, -1.0, 0.5, 0.0)
    assert len(made.notes) == 2  # nothing of the table is in use, and nothing of it is told


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"gain": [0.2] * 3}, r"gain has 3 number\(s\); give 4, for blue, green, red, nir"),
        ({"gain": [0.2, 0.2, -0.2, 0.2]}, "gain of red is -0.2; it must lie from 0.01 to 1"),
        ({"gain": [0.2, float("nan"), 0.2, 0.2]}, "gain of green is nan"),
        ({"gain": [5.851, 7.153, 8.368, 7.474]}, "gain of blue is 5.851.*1/gain"),
        ({"bias": [0, 0, 0, 99]}, "bias of nir is 99; it must lie from -50 to 50"),
        ({"bias": [float("inf")] * 4}, "bias of blue is inf"),
    ],
)
def test_a_users_numbers_that_are_no_calibration_are_refused(given, says):
    with pytest.raises(ConfigError, match=says):
        calibrate(TABLE, "WFV1", 2020, **given)


def test_the_range_of_gains_holds_every_row_and_no_inverse_one():
    rows = [row for rows in TABLE["sensor"].values() for row in rows.values()]
    for row in rows:
        inside = all(GAIN_RANGE[0] <= g <= GAIN_RANGE[1] for g in row["gain"])
        assert inside == (row["form"] == "direct")


def test_an_unknown_sensor_is_named_with_the_valid_ones():
    with pytest.raises(ConfigError, match=r"'PMS1' has no calibration; .*WFV1, WFV2, WFV3, WFV4"):
        calibrate(TABLE, "PMS1", 2020)
