"""Claims about the uncertainty of totals."""

import math
import tomllib
from importlib import resources

import numpy as np
import pytest

from carbonmap.allometry import carbon_stock, parse_profiles
from carbonmap.errors import LabelError
from carbonmap.uncertainty import error_propagation, monte_carlo

TEXT = resources.files("carbonmap").joinpath("data/profiles.toml").read_text("utf-8")
PROFILES = parse_profiles(tomllib.loads(TEXT))
PAPER, IPCC = PROFILES["stock-expansion"], PROFILES["ipcc"]


def number(value, percent):
    return {
        "value": value,
        "unit": "1",
        "source": "test",
        "uncertainty_percent": percent,
        "uncertainty_source": "test",
    }


def small(factor=6.0, fraction=2.0, roots=8.0, strata=("one",)):
    """A profile of modest uncertainties, where first-order propagation holds."""
    stratum = {
        "biomass": {"density": number(0.5, factor)},
        "carbon_fraction": number(0.5, fraction),
        "pools": {"shoots": number(1, 0), "roots": number(0.25, roots)},
    }
    table = {
        "description": "test",
        "pools": {"shoots": "", "roots": ""},
        "strata": dict.fromkeys(strata, stratum),
    }
    return parse_profiles({"small": table})["small"]


@pytest.mark.parametrize("n", [1, 4, 400])
def test_only_the_volumes_part_shrinks_with_the_number_of_stands(n):
    found = error_propagation(np.full(n, 80.0), np.full(n, 2.0), small(), volume_percent=10)
    assert found["shoots"].half_width_percent == pytest.approx(math.sqrt(100 / n + 36 + 4))
    assert found["roots"].half_width_percent == pytest.approx(math.sqrt(100 / n + 36 + 4 + 64))


def test_pools_share_their_factors_but_not_their_shares():
    found = error_propagation(np.array([80.0]), np.array([2.0]), small(), volume_percent=10)
    # roots are a fifth of the total; volume, density and fraction move both pools together
    assert found["total"].half_width_percent == pytest.approx(math.sqrt(140 + (8 / 5) ** 2))
    assert found["total"].total == pytest.approx(80 * 2 * 0.25 * 1.25)


def test_strata_err_independently():
    two = small(strata=("one", "two"))
    stands, areas = np.array([50.0, 50.0]), np.ones(2)
    found = error_propagation(stands, areas, two, np.array([0, 1]), volume_percent=0)
    assert found["shoots"].half_width_percent == pytest.approx(math.sqrt(40 / 2))
    same = error_propagation(stands, areas, two, np.array([1, 1]), volume_percent=0)
    assert same["shoots"].half_width_percent == pytest.approx(math.sqrt(40))


def test_classes_of_one_factor_err_together():
    stands, areas = np.array([10.0, 300.0]), np.array([30.0, 1.0])
    place = np.full(2, list(IPCC.strata).index("temperate-pines"))
    found = error_propagation(stands, areas, IPCC, place, volume_percent=0)["above_ground"]
    stock = carbon_stock(stands, areas, IPCC, place)["above_ground"]
    bcef = IPCC.strata["temperate-pines"].biomass["bcef"].uncertainty_percent
    fraction = IPCC.strata["temperate-pines"].carbon_fraction.uncertainty_percent[0]
    mean = np.average([bcef[0], bcef[-1]], weights=stock)
    assert found.half_width_percent == pytest.approx(math.hypot(mean, fraction))
    assert found.total == pytest.approx(stock.sum())


def test_both_approaches_agree_where_uncertainties_are_modest():
    rng = np.random.default_rng(1)
    stands, areas = rng.uniform(0, 200, 500), rng.uniform(0.1, 30, 500)
    profile = small(strata=("one", "two", "three"))
    place, half = rng.integers(0, 3, 500), rng.uniform(5, 40, 500)
    first = error_propagation(stands, areas, profile, place, volume_percent=half)
    second = monte_carlo(stands, areas, profile, place, n=40_000, seed=3, volume_percent=half)
    for key in ("shoots", "roots", "total"):
        # 40,000 draws know a percentile range to about 0.6 %; 3 standard errors
        assert second[key].half_width_percent == pytest.approx(
            first[key].half_width_percent, rel=0.02
        )
        assert second[key].low == pytest.approx(first[key].low, rel=0.002)
        assert second[key].total == first[key].total


def test_the_closed_form_of_the_sum_is_the_sum_of_stands_drawn_one_by_one():
    rng = np.random.default_rng(2)
    stands, areas = rng.uniform(50, 150, 20), rng.uniform(1, 3, 20)
    exact = small(0, 0, 0)
    found = monte_carlo(stands, areas, exact, n=40_000, volume_percent=30)["shoots"]
    errors = rng.standard_normal((40_000, 20)) * 0.3 / 1.96
    draws = ((1 + errors) * stands * areas).sum(axis=1) * 0.25
    np.testing.assert_allclose(
        [found.low, found.high], np.percentile(draws, [2.5, 97.5]), rtol=0.003
    )


def test_half_widths_of_the_paper_agree_within_what_lognormals_add():
    stands, areas = np.full(50, 100.0), np.full(50, 5.0)
    first = error_propagation(stands, areas, PAPER)
    second = monte_carlo(stands, areas, PAPER, n=20_000)
    assert first["trees"].half_width_percent == pytest.approx(
        math.sqrt(20**2 + 10**2 + 10**2 + 15**2 / 50)
    )
    for key, estimate in first.items():
        assert second[key].half_width_percent == pytest.approx(
            estimate.half_width_percent, rel=0.05
        )
    assert second["floor_and_soil"].low > 0


def test_a_seed_fixes_the_result_and_another_changes_it():
    stands, areas = np.full(5, 100.0), np.ones(5)
    assert monte_carlo(stands, areas, PAPER, n=500, seed=4) == monte_carlo(
        stands, areas, PAPER, n=500, seed=4
    )
    assert monte_carlo(stands, areas, PAPER, n=500, seed=4) != monte_carlo(
        stands, areas, PAPER, n=500, seed=5
    )


def test_the_order_of_stands_changes_nothing():
    rng = np.random.default_rng(5)
    stands, areas = rng.uniform(0, 300, 60), rng.uniform(0.1, 9, 60)
    place, turned = rng.integers(0, len(IPCC.strata), 60), rng.permutation(60)
    one = monte_carlo(stands, areas, IPCC, place, n=500)
    other = monte_carlo(stands[turned], areas[turned], IPCC, place[turned], n=500)
    for key in one:
        assert other[key].low == pytest.approx(one[key].low, rel=1e-12)


def test_unknown_volumes_are_left_out():
    known = error_propagation(np.array([80.0]), np.array([2.0]), PAPER)
    more = error_propagation(np.array([80.0, np.nan]), np.array([2.0, 9.0]), PAPER)
    assert known == more


def test_nothing_measured_has_no_percentage():
    for approach in (error_propagation, monte_carlo):
        found = approach(np.zeros(2), np.ones(2), PAPER)
        assert found["total"].total == 0
        assert math.isnan(found["total"].half_width_percent)


def test_too_few_draws_and_negative_volumes_are_refused():
    with pytest.raises(LabelError, match="1,000 or more"):
        monte_carlo(np.ones(1), np.ones(1), PAPER, n=10)
    with pytest.raises(LabelError, match="negative"):
        error_propagation(-np.ones(1), np.ones(1), PAPER)
