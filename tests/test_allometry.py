"""Claims about turning growing stock into carbon."""

import copy
import tomllib
from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonmap.allometry import (
    CO2_PER_C,
    assign_strata,
    carbon_stock,
    parse_profiles,
    pool_density,
)
from carbonmap.errors import ConfigError, LabelError

TEXT = resources.files("carbonmap").joinpath("data/profiles.toml").read_text("utf-8")
TABLES = tomllib.loads(TEXT)
PROFILES = parse_profiles(TABLES)
PAPER, IPCC = PROFILES["stock-expansion"], PROFILES["ipcc"]


def edited(change):
    tables = copy.deepcopy(TABLES)
    change(tables)
    return tables


def test_a_hundred_cubic_metres_hold_the_papers_carbon():
    stock = carbon_stock(np.array([100.0]), np.array([1.0]), PAPER)
    assert list(stock) == ["trees", "understory", "floor_and_soil"]
    np.testing.assert_allclose(np.concatenate(list(stock.values())), [47.5, 9.2625, 59.09], 1e-14)
    np.testing.assert_allclose(sum(stock.values()), [115.8525], 1e-14)


def test_a_tonne_of_carbon_is_44_twelfths_of_carbon_dioxide():
    assert CO2_PER_C * 12 == 44


@given(st.floats(0, 5000), st.floats(0, 1e5))
def test_the_pools_add_up_to_the_papers_equation(volume, area):
    stock = carbon_stock(np.array([volume]), np.array([area]), PAPER)
    total = sum(float(s[0]) for s in stock.values())
    assert total == pytest.approx(2.439 * 1.90 * 0.5 * 0.5 * volume * area, rel=1e-12)


def test_zero_volume_is_zero_carbon_and_unknown_volume_stays_unknown():
    stock = carbon_stock(np.array([0.0, np.nan]), np.array([3.0, 3.0]), PAPER)
    for pool in stock.values():
        np.testing.assert_array_equal(pool, [0.0, np.nan])


@pytest.mark.parametrize("volume", [-9999.0, -0.1, np.inf])
def test_a_nodata_code_read_as_volume_is_refused_by_name(volume):
    with pytest.raises(LabelError, match=r"stand 1: .*nodata"):
        carbon_stock(np.array([5.0, volume]), np.ones(2), PAPER)


@pytest.mark.parametrize("area", [[-1.0], [np.nan], [1.0, 2.0]])
def test_an_area_that_is_no_size_is_refused(area):
    with pytest.raises(LabelError, match="areas"):
        carbon_stock(np.array([5.0]), np.array(area), PAPER)


def place(name):
    return np.array([list(IPCC.strata).index(name)])


def test_ipcc_pines_follow_equation_2_14():
    # V = 150 m³/ha: BCEF 0.7 (101–200), biomass 105 t/ha: R 0.29 (50–150), CF 0.51
    density = pool_density(np.array([150.0]), IPCC, place("temperate-pines"))
    assert density["above_ground"][0] == pytest.approx(150 * 0.7 * 0.51)
    assert density["below_ground"][0] == pytest.approx(150 * 0.7 * 0.51 * 0.29)


@pytest.mark.parametrize(
    ("name", "volume", "bcef", "ratio"),
    [
        ("temperate-pines", 20, 1.8, 0.40),
        ("temperate-pines", 20.001, 1.0, 0.40),
        ("temperate-hardwoods", 500, 0.8, 0.24),
        ("subtropical-conifers", 80, 0.6, 0.20),
        ("subtropical-conifers", 150, 0.55, 0.20),
        ("subtropical-conifers", 300, 0.55, 0.24),
        ("subtropical-hardwoods", 10, 5.0, 0.20),
        ("boreal-larch", 60, 0.77, 0.39),
        ("tropical-natural", 250, 0.95, 0.24),
    ],
)
def test_classes_are_chosen_by_growing_stock_and_roots_by_biomass(name, volume, bcef, ratio):
    density = pool_density(np.array([float(volume)]), IPCC, place(name))
    fraction = IPCC.strata[name].carbon_fraction.value[0]
    assert density["above_ground"][0] == pytest.approx(volume * bcef * fraction)
    assert density["below_ground"][0] == pytest.approx(volume * bcef * fraction * ratio)


def test_each_stand_takes_its_own_stratum():
    names = ["云南松", " 栎类 ", "杨树"]
    volume = np.array([100.0, 100.0, 100.0])
    strata = assign_strata(IPCC, names, volume)
    together = pool_density(volume, IPCC, strata)["above_ground"]
    alone = [pool_density(volume[[i]], IPCC, strata[[i]])["above_ground"][0] for i in range(3)]
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_allclose(together, [100 * 0.55 * 0.47, 100 * 0.66 * 0.47, 100 * 1.4 * 0.48])


def test_a_species_without_stratum_is_named_and_counted():
    with pytest.raises(LabelError, match=r"'银杏' \(2\), '松' \(1\).*temperate-pines"):
        assign_strata(IPCC, ["松", "银杏", "银杏", "云南松"], np.full(4, 9.0))


def test_a_stand_without_wood_needs_no_stratum():
    assert assign_strata(IPCC, ["无", "无"], np.array([0.0, np.nan])).tolist() == [0, 0]


def test_one_stratum_can_be_chosen_for_the_rest():
    strata = assign_strata(IPCC, None, np.ones(2), stratum="temperate-pines")
    assert [list(IPCC.strata)[s] for s in strata] == ["temperate-pines"] * 2
    with pytest.raises(ConfigError, match="did you mean 'temperate-pines'"):
        assign_strata(IPCC, None, np.ones(2), stratum="temperate-pine")


def test_several_strata_and_no_choice_is_refused():
    with pytest.raises(LabelError, match="which stand belongs to which"):
        pool_density(np.ones(1), IPCC)
    with pytest.raises(LabelError, match="from 0 to 10"):
        pool_density(np.ones(1), IPCC, np.array([11]))


def test_every_number_says_where_it_comes_from():
    for profile in PROFILES.values():
        assert profile.description
        for stratum in profile.strata.values():
            for factor in stratum.factors.values():
                assert len(factor.source) > 10
                assert factor.uncertainty_source
                assert factor.unit


def paper_factor(tables):
    return tables["stock-expansion"]["strata"]["all"]["carbon_fraction"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["ipcc"].update(specie={}), "unknown key 'specie'; did you mean 'species'"),
        (
            lambda t: paper_factor(t).update(valeu=1),
            r"carbon_fraction.valeu'; did you mean 'value'",
        ),
        (
            lambda t: t["stock-expansion"]["strata"]["all"].update(pool={}),
            "unknown key 'strata.all.pool'; did you mean 'pools'",
        ),
        (lambda t: paper_factor(t).update(value="0.5"), "carbon_fraction.value: must be a number"),
        (lambda t: paper_factor(t).update(value=-1), "not negative"),
        (lambda t: paper_factor(t).update(value=[1, 2]), "2 entries for 1 classes"),
        (lambda t: paper_factor(t).update(up_to=[3]), "belong together"),
        (lambda t: paper_factor(t).pop("source"), "carbon_fraction.source"),
        (lambda t: t["ipcc"].update(default_stratum="x"), "unknown stratum 'x'"),
        (lambda t: t["ipcc"]["species"].update(松="pines"), "unknown stratum 'pines'"),
        (lambda t: t["ipcc"]["pools"].update(soil="s"), "a share of every pool"),
        (lambda t: t.update(mine=3), "profile 'mine' must be a table"),
    ],
)
def test_an_impossible_profile_is_refused_by_name(change, message):
    with pytest.raises(ConfigError, match=message):
        parse_profiles(edited(change))


def test_a_users_own_profile_is_a_table_per_species():
    def add(tables):
        tables["mine"] = {
            "description": "two species",
            "pools": {"wood": "stems"},
            "species": {"a": "light"},
            "default_stratum": "heavy",
            "strata": {
                name: {
                    "biomass": {"density": number(density)},
                    "carbon_fraction": number(0.5),
                    "pools": {"wood": number(1)},
                }
                for name, density in {"light": 0.25, "heavy": 1}.items()
            },
        }

    def number(value):
        return {
            "value": value,
            "unit": "1",
            "source": "made up here",
            "uncertainty_percent": 0,
            "uncertainty_source": "made up here",
        }

    mine = parse_profiles(edited(add))["mine"]
    strata = assign_strata(mine, ["a", "b"], np.ones(2))
    assert pool_density(np.ones(2), mine, strata)["wood"].tolist() == [0.125, 0.5]
