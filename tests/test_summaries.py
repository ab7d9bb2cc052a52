import numpy as np
import pytest

from carbonmap.summaries import deviation, mean


@pytest.fixture
def draws():
    found = np.random.default_rng(0).gamma(2, 40, (7, 33, 21)).astype(np.float32)
    found[:, 3, 4] = np.nan
    found[:, 5, 6] = 1.1
    return found


def test_mean_and_deviation_are_those_of_the_draws(draws):
    wide = draws.astype(np.float64)
    np.testing.assert_allclose(mean(draws), wide.mean(0), rtol=1e-6)
    np.testing.assert_allclose(deviation(draws), wide.std(0, ddof=1), rtol=1e-6, atol=1e-6)
    for found in (mean(draws), deviation(draws)):
        assert found.dtype == np.float32
        assert np.isnan(found).sum() == 1
    assert mean(draws)[5, 6] == np.float32(1.1)


def test_a_part_has_the_bytes_of_the_whole(draws):
    for summary in (mean, deviation):
        whole = summary(draws)
        for roi in (np.s_[:, :1], np.s_[7:8, 3:20], np.s_[::, 20:]):
            part = np.ascontiguousarray(draws[:, *roi])
            assert summary(part).tobytes() == np.ascontiguousarray(whole[roi]).tobytes()
