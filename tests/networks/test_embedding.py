import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from carbonmap.networks.embedding import FASTEST, SLOWEST, NoiseLevel, log_snr_waves

LEVELS = st.floats(1e-5, 1 - 1e-5)


def log_odds(gamma):
    return math.log(gamma / (1 - gamma))


@given(LEVELS, LEVELS)
def test_the_distance_of_two_levels_is_that_of_waves_of_their_log_snr(one, two):
    """|e(λ) − e(μ)|² = Σ 2 − 2 cos(ω (λ − μ)): nothing but the ratio of the two odds counts."""
    one, two = np.float32(one).item(), np.float32(two).item()
    a, b = log_snr_waves(torch.tensor([one, two]), 16).double()
    frequencies = np.geomspace(SLOWEST, FASTEST, 8)
    want = (2 - 2 * np.cos(frequencies * (log_odds(one) - log_odds(two)))).sum()
    assert ((a - b) ** 2).sum().item() == pytest.approx(want, abs=2e-4)


def test_levels_near_no_noise_differ_here_and_not_in_sinusoids_of_their_root():
    near, nearer = torch.tensor([0.999, 0.9999])
    ours = log_snr_waves(torch.stack([near, nearer]), 64)
    rates = torch.exp(-math.log(1e4) * torch.arange(32) / 32)
    theirs = torch.stack([near, nearer]).sqrt()[:, None] * rates
    theirs = torch.cat([theirs.sin(), theirs.cos()], 1)
    assert (ours[0] - ours[1]).norm() > 4
    assert (theirs[0] - theirs[1]).norm() < 1e-3


def test_neighbours_of_a_schedule_of_2000_levels_differ_and_no_two_levels_coincide():
    gammas = torch.cumprod(1 - torch.linspace(1e-6, 1e-2, 2000, dtype=torch.float64), 0)
    waves = log_snr_waves(gammas[:-1], 32)
    assert (waves[1:] - waves[:-1]).norm(dim=1).min() > 1e-2
    some = waves[::40]
    far = torch.cdist(some, some) + 9 * torch.eye(len(some))
    assert far.min() > 0.3


def test_pure_signal_and_pure_noise_have_finite_waves():
    waves = log_snr_waves(torch.tensor([0.0, 1.0]), 8)
    assert waves.isfinite().all()
    assert waves.abs().max() <= 1


def test_a_level_does_not_depend_on_its_batch_and_every_parameter_learns():
    torch.manual_seed(0)
    level = NoiseLevel(16)
    gammas = torch.tensor([0.1, 0.5, 0.999])
    whole = level(gammas)
    torch.testing.assert_close(whole[1:2], level(gammas[1:2]))
    assert whole.shape == (3, 16)
    whole.square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in level.parameters())
