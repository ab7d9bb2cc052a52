"""Totals corrected by a random sample: right on average, whatever the map says."""

import math

import numpy as np
import pytest
from scipy import stats

from carbonmap.sampling import LEAST_SAMPLE, correction


def population(number=400, seed=0):
    """Stands' areas, ha, and inventory less map, t C: larger stands differ by more, all are low."""
    random = np.random.default_rng(seed)
    area = random.lognormal(2.5, 0.6, number)
    return area, area * (8 + 20 * random.standard_normal(number))


def test_the_correction_is_its_formula():
    area, difference = (values[:30] for values in population())
    found = correction(difference, area, 2000.0)
    ratio = difference.sum() / area.sum()
    share = area.sum() / 2000
    residual = ((difference - ratio * area) ** 2).sum() / 29
    variance = 2000**2 * (1 - share) * residual / (30 * area.mean() ** 2)
    assert found.t_c == pytest.approx(2000 * ratio)
    assert found.half == pytest.approx(stats.t(29).ppf(0.975) * math.sqrt(variance))
    assert (found.stands, found.share) == (30, pytest.approx(share))


def test_a_sample_of_all_stands_leaves_no_error():
    area, difference = population()
    found = correction(difference, area, float(area.sum()))
    assert found.t_c == pytest.approx(difference.sum())
    assert found.half == pytest.approx(0.0, abs=1e-6)


def test_intervals_hold_the_truth_as_often_as_they_say():
    area, difference = population()
    random, held, found = np.random.default_rng(1), [], []
    for _ in range(2000):
        some = random.permutation(len(area))[:60]
        one = correction(difference[some], area[some], float(area.sum()))
        held.append(abs(one.t_c - difference.sum()) <= one.half)
        found.append((one.t_c - difference.sum()) / one.half)
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)
    assert abs(np.mean(found)) < 0.05


def test_stands_without_land_there_do_not_count_and_too_few_correct_nothing():
    area, difference = (values[:40].copy() for values in population())
    area[LEAST_SAMPLE:] = 0
    assert correction(difference, area, 2000.0).stands == LEAST_SAMPLE
    area[0] = 0
    assert correction(difference, area, 2000.0) is None
