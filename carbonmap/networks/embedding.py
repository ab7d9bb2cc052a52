"""The noise level as a vector, which tells every block how much of its input to believe."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

FASTEST, SLOWEST = 4.0, 1 / 16
"""Radians per unit of log-SNR. The slowest wave turns by less than 2 rad over all levels, so no two
look alike; the fastest turns by 4 rad where the noise changes by 1.65×, so near levels differ."""

EDGE = 3e-7
"""γ and 1 − γ count as at least this: γ = 0 or 1 has no finite log-SNR, and float32 holds γ near 1
to 6e-8. It bounds log-SNR at ±15; IDM's schedule, 1 − 1e-6 to 4e-5, lies within."""


def log_snr_waves(gamma: Tensor, width: int) -> Tensor:
    """Sines and cosines of log(γ / (1 − γ)), their frequencies in geometric steps.

    SR3 and IDM take the sinusoids of Vaswani et al. 2017 of √γ itself. Those were made for
    positions 0 … 10,000: over [0, 1] most of them hardly move, and γ = 0.999 and 0.9999, between
    which the noise falls to a third, differ by 4e-4 rad. The logarithm of signal over noise (Kingma
    et al. 2021) is what the best estimate depends on, and resolves both ends alike.

    Args:
        gamma: share of signal variance, ``(batch,)``, in [0, 1].
        width: of the vector, even.

    Returns:
        ``(batch, width)``, in [−1, 1].
    """
    log_snr = torch.logit(gamma.float(), eps=EDGE)
    frequencies = torch.logspace(
        math.log(SLOWEST), math.log(FASTEST), width // 2, base=math.e, device=gamma.device
    )
    angles = log_snr[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


class NoiseLevel(nn.Module):
    """A two-layer perceptron of `log_snr_waves`, for each block's own linear layer to read.

    As SR3's, ``width`` to ``4 · width`` to ``width``, but for an activation at the end as well:
    without one, its last layer and the block's would be one linear map.

    Args:
        width: of the waves and of the vector, even.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(
            nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width), nn.SiLU()
        )

    def forward(self, gamma: Tensor) -> Tensor:
        """γ, ``(batch,)``, to ``(batch, width)``."""
        level: Tensor = self.layers(log_snr_waves(gamma, self.width))
        return level
