"""What the network learns: noisy maps, three ways to name what is in them, and the loss.

    y = √γ y₀ + √(1−γ) ε,   v = √γ ε − √(1−γ) y₀        Salimans & Ho 2022, App. D

Maps are ``(batch, channel, row, col)``; γ is ``(batch,)``, strictly between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from carbonmap.diffusion.spec import DiffusionSpec, Predicts, Weighting

SNR_CAP = 5.0
"""Largest weight of min-SNR, the γ that Hang et al. (2023) settle on."""


def noised(clean: Tensor, noise: Tensor, gamma: Tensor) -> Tensor:
    """The noisy map y = √γ y₀ + √(1−γ) ε."""
    signal, spread = _amplitudes(gamma)
    return signal * clean + spread * noise


def target_of(clean: Tensor, noise: Tensor, gamma: Tensor, predicts: Predicts) -> Tensor:
    """What the network should answer: ε, v or y₀."""
    if predicts == "noise":
        return noise
    if predicts == "clean":
        return clean
    signal, spread = _amplitudes(gamma)
    return signal * noise - spread * clean


def clean_of(prediction: Tensor, y: Tensor, gamma: Tensor, predicts: Predicts) -> Tensor:
    """The clean map that a prediction implies: (y − √(1−γ) ε)/√γ, √γ y − √(1−γ) v, or itself."""
    if predicts == "clean":
        return prediction
    signal, spread = _amplitudes(gamma)
    if predicts == "noise":
        return (y - spread * prediction) / signal
    return signal * y - spread * prediction


def denoiser(
    predict: Callable[[Tensor, Tensor], Tensor], predicts: Predicts
) -> Callable[[Tensor, Tensor], Tensor]:
    """What samplers ask for, from y and γ to the clean map, whatever the network predicts."""

    def denoise(y: Tensor, gamma: Tensor) -> Tensor:
        return clean_of(predict(y, gamma), y, gamma, predicts)

    return denoise


def level_weight(gamma: Tensor, predicts: Predicts, weighting: Weighting) -> Tensor:
    """Factor of a level's squared error, in the shape of `gamma`.

    A squared error of v is 1/(1−γ) of the clean map's and 1/γ of the noise's, so that "clean",
    weight 1 on the clean map, is 1−γ on v, and "min-snr", min(SNR, 5), is min(γ, 5 (1−γ)).
    """
    if weighting == "none":
        return torch.ones_like(gamma)
    on_v = {
        "clean": 1 - gamma,
        "min-snr": torch.minimum(gamma, SNR_CAP * (1 - gamma)),
    }[weighting]
    return on_v / {"v": torch.ones_like(gamma), "noise": gamma, "clean": 1 - gamma}[predicts]


def masked_mean(error: Tensor, weight: Tensor) -> Tensor:
    """Mean of `error` over the pixels of a batch that are known; 0, with a gradient, if none is.

    Args:
        error: finite everywhere.
        weight: 1 where known, else 0; same shape.
    """
    total = weight.sum()
    return (error * weight).sum() / torch.where(total > 0, total, torch.ones_like(total))


def loss(
    prediction: Tensor,
    clean: Tensor,
    noise: Tensor,
    gamma: Tensor,
    weight: Tensor,
    spec: DiffusionSpec,
) -> Tensor:
    """The loss of a batch, a scalar: mean over known pixels of |error| or error², by level.

    IIDM, eq. 4, is L1 on the noise. L1 is least at the median, L2 at the mean: where densities are
    skewed, as carbon's are, only means add up to a region's total, so L2 is the default.

    Args:
        prediction: the network's answer to ``noised(clean, noise, gamma)``.
        clean: y₀ within [−1, 1].
        noise: ε.
        gamma: ``(batch,)``.
        weight: 1 where y₀ is known, else 0, in its shape.
        spec: what is predicted, and how errors count; L1 takes the root of a level's weight.
    """
    error = prediction - target_of(clean, noise, gamma, spec.predicts)
    factor = level_weight(gamma, spec.predicts, spec.weighting)
    if spec.loss == "l1":
        return masked_mean(error.abs() * _over_maps(factor.sqrt()), weight)
    return masked_mean(error.square() * _over_maps(factor), weight)


def _amplitudes(gamma: Tensor) -> tuple[Tensor, Tensor]:
    """√γ and √(1−γ), to be multiplied with maps."""
    return _over_maps(gamma.sqrt()), _over_maps((1 - gamma).sqrt())


def _over_maps(values: Tensor) -> Tensor:
    return values[:, None, None, None]
