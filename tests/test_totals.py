"""What a total's interval consists of."""

import math
import tomllib
from importlib import resources

import numpy as np
import pytest

from carbonmap.allometry import pool_density
from carbonmap.profiles import parse_profiles
from carbonmap.sampling import Correction
from carbonmap.totals import (
    Halves,
    Pool,
    Stock,
    factors_percent,
    halves,
    sampled_halves,
    told,
    told_change,
)
from carbonmap.uncertainty import Z95, error_propagation

TEXT = resources.files("carbonmap").joinpath("data/profiles.toml").read_text("utf-8")
PROFILES = parse_profiles(tomllib.loads(TEXT))

STOCK = Stock({"total": Pool(1.0, 20.0), "trees": Pool(0.4, 10.0)}, 15.0, 500.0)


def test_the_volumes_part_is_taken_out_of_an_inventorys_half_width():
    """What is left is what propagation gives for volumes without error."""
    profile, random = PROFILES["stock-expansion"], np.random.default_rng(0)
    volume, area = random.uniform(10, 200, 40), random.uniform(1, 30, 40)
    volume[3] = np.nan
    for pool in (*profile.pools, "total"):
        both, alone = (
            error_propagation(volume, area, profile, volume_percent=percent)[pool]
            for percent in (15.0, 0.0)
        )
        carbon = np.sum([pool_density(volume, profile)[p] for p in profile.pools], 0) * area
        found = factors_percent(carbon, both.half_width_percent, 15.0)
        assert found == pytest.approx(alone.half_width_percent, rel=1e-9)


def test_an_inventory_without_carbon_has_no_half_width():
    assert factors_percent(np.zeros(3), math.nan, 15.0) == 0.0


def test_the_parts_add_up_in_quadrature_and_the_models_and_volumes_are_what_was_found():
    found = halves(20_000.0, 700.0, STOCK, "total")
    assert math.hypot(found.model, found.volume) == pytest.approx(Z95 * 700)
    assert found.volume == pytest.approx(0.15 * math.sqrt(20_000 * 500))
    assert found.factors == pytest.approx(0.2 * 20_000)
    assert found.all == pytest.approx(math.hypot(Z95 * 700, 4000))


def test_a_pool_has_its_share_of_the_maps_error_and_its_own_factors():
    whole, trees = (halves(20_000.0, 700.0, STOCK, pool) for pool in ("total", "trees"))
    assert (trees.model, trees.volume) == pytest.approx((0.4 * whole.model, 0.4 * whole.volume))
    assert trees.factors == pytest.approx(0.1 * 8_000)


def test_within_one_stand_the_volume_errs_whole_and_never_more_than_was_found():
    assert halves(100.0, 50.0, STOCK, "total").volume == pytest.approx(15.0)
    small = halves(100.0, 1.0, STOCK, "total")
    assert (small.model, small.volume) == pytest.approx((0.0, Z95))
    assert halves(-3.0, 1.0, STOCK, "total") == Halves(Z95, 0.0, 0.0)


def test_a_sample_speaks_for_the_model_and_volumes_err_all_the_same():
    """Of a sample of all stands nothing is left but what the inventory itself does not know."""
    whole = Correction(-100.0, 0.0, 40, 1.0)
    found = sampled_halves(20_000.0, 18_000.0, whole, 0.0, STOCK, "total")
    assert (found.model, found.sampling) == (0.0, 0.0)
    assert found.volume == pytest.approx(0.15 * math.sqrt(18_000 * 500))
    some = Correction(-100.0, 900.0, 40, 0.2)
    trees = sampled_halves(20_000.0, 18_000.0, some, 50.0, STOCK, "trees")
    assert trees.sampling == pytest.approx(0.4 * 900)
    assert trees.model == pytest.approx(0.4 * Z95 * 50)
    assert trees.factors == pytest.approx(0.1 * 8_000)


def test_bounds_are_never_below_zero_and_co2_is_44_twelfths():
    one = told(100.0, Halves(300.0, 0.0, 400.0))
    assert (one["low_95_t_c"], one["high_95_t_c"]) == (0.0, 600.0)
    assert one["high_95_t_co2"] == pytest.approx(2200.0)
    assert one["half_width_percent"] == pytest.approx(500.0)
    low = told(-5.0, Halves(2.0, 0.0, 0.0))
    assert (low["low_95_t_c"], low["high_95_t_c"]) == (0.0, 0.0)
    assert told(0.0, Halves(1.0, 0.0, 0.0))["half_width_percent"] is None


def test_a_changes_parts_are_the_pools_share_of_each_and_no_more_is_lost_than_there_was():
    pool = Pool(0.4, 25.0)
    one = told_change(-50.0, 1000.0, 300.0, 20.0, 30.0, pool)
    parts = {"chance": 1.96 * 20 * 0.4, "seen": 1.96 * 30 * 0.4, "factors": 0.25 * 300 * 0.4}
    assert one["half_t_c"] == pytest.approx(parts, rel=1e-4)
    half = math.hypot(*parts.values())
    assert one["t_c"] == pytest.approx(-20.0)
    assert one["low_95_t_c"] == pytest.approx(-20 - half, rel=1e-4)
    assert one["high_95_t_co2"] == pytest.approx((-20 + half) * 44 / 12, rel=1e-4)
    poor = told_change(-50.0, 100.0, 300.0, 20.0, 30.0, pool)
    assert poor["low_95_t_c"] == -100 * 0.4
    assert poor["high_95_t_c"] == one["high_95_t_c"]
