import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonmap.windows import window_sum


@given(
    radius=st.integers(0, 9), rows=st.integers(1, 5), cols=st.integers(1, 5), seed=st.integers(0)
)
def test_a_window_sum_is_the_sum_of_its_window(radius, rows, cols, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(-1000, 1000, (rows + 2 * radius, cols + 2 * radius))
    windows = np.lib.stride_tricks.sliding_window_view(values, (2 * radius + 1, 2 * radius + 1))
    np.testing.assert_array_equal(window_sum(values, radius), windows.sum((2, 3)))


@given(
    radius=st.integers(1, 8), top=st.integers(0, 20), left=st.integers(0, 20), seed=st.integers(0)
)
def test_a_window_sum_has_the_same_bytes_wherever_the_array_is_cut(radius, top, left, seed):
    whole = np.random.default_rng(seed).lognormal(0, 5, (60, 60))
    part = window_sum(whole[top : top + 30, left : left + 35], radius)
    rows, cols = part.shape
    assert np.array_equal(window_sum(whole, radius)[top : top + rows, left : left + cols], part)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_a_window_of_small_numbers_does_not_overflow(dtype):
    assert window_sum(np.ones((41, 41), dtype), 20).item() == 41 * 41
