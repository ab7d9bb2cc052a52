"""Settings of training: the learning rate in closed form, and what is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from carbonmap.learning.settings import RATE, Training


def test_the_rate_rises_on_a_line_and_falls_on_half_a_cosine():
    chosen = Training(steps=1100, warmup_steps=100, learning_rate=0.2)
    assert [chosen.rate(k) for k in (0, 49, 99)] == pytest.approx([0.002, 0.1, 0.2])
    assert chosen.rate(100) == 0.2
    assert chosen.rate(100 + 500) == pytest.approx(0.1)
    assert chosen.rate(100 + 250) == pytest.approx(0.1 * (1 + math.sqrt(0.5)))
    assert 0 < chosen.rate(1099) < 1e-6


def test_without_a_rate_of_its_own_a_run_learns_at_that_of_tiny_networks():
    assert Training(steps=1000).rate(100) == RATE == 2e-3


@given(steps=st.integers(1, 90), warm=st.integers(0, 100))
def test_every_rate_is_positive_and_the_peak_is_reached_once_warm(steps, warm):
    chosen = Training(steps=steps, warmup_steps=warm, learning_rate=0.5)
    rates = [chosen.rate(k) for k in range(steps)]
    assert all(0 < rate <= 0.5 for rate in rates)
    peak = rates.index(max(rates))
    assert max(rates) == 0.5
    assert peak <= min(warm, steps // 10)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"steps": 10.0},
        {"batch": "8"},
        {"learning_rate": 0.0},
        {"learning_rate": math.inf},
        {"ema": 1.0},
        {"precision": "float16"},
        {"epochs": 3},
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Training(**wrong)
