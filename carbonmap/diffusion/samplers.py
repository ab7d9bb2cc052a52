"""Samplers: from pure noise to a map, as generators of steps.

A denoiser says what the clean map is, whichever way its network was trained
(`objectives.denoiser`), so that clipping and the noise that follows are the samplers' business and
look alike in all three. Levels rise to 1, where the last clean estimate is the map.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from carbonmap.diffusion.schedules import sampling_gammas
from carbonmap.diffusion.spec import DiffusionSpec

Denoise = Callable[[Tensor, Tensor], Tensor]
"""From the noisy map ``(batch, 1, row, col)`` and γ ``(batch,)`` to the clean estimate."""

StepNoise = Callable[[int], Tensor]
"""Standard normal noise of the map's shape by number: 0 to start from, k for the k-th step."""

Bounds = tuple[float | Tensor, float | Tensor] | None
"""Least and largest clean value, of all pixels or of each; None for no bounds."""

UNIT = (-1.0, 1.0)
"""What labels lie within on the papers' scale."""

Deterministic = Callable[[Denoise, Tensor, Sequence[float], Bounds], Iterator["Step"]]

Ancestral = Callable[[Denoise, Tensor, Sequence[float], StepNoise, Bounds], Iterator["Step"]]


@dataclass(frozen=True)
class Step:
    """Where a sampler stands.

    Args:
        gamma: level of `y`.
        y: the map at that level; the final one where γ = 1.
        clean: the clean estimate that led here.
    """

    gamma: float
    y: Tensor
    clean: Tensor


def ddpm(
    denoise: Denoise, y: Tensor, gammas: Sequence[float], noise: StepNoise, bounds: Bounds = UNIT
) -> Iterator[Step]:
    """Ancestral sampler (Ho et al. 2020, eq. 6–7 with σ² = β̃), over any rising levels.

    From γ to γ', with α = γ/γ', a draw from q(y' | y, y₀) at the clean estimate:

        mean √γ' (1−α)/(1−γ) y₀ + √α (1−γ')/(1−γ) y,   variance (1−γ') (1−α)/(1−γ)

    Args:
        denoise: the clean estimate.
        y: noise of unit variance at the first level.
        gammas: levels, rising, the last 1.
        noise: asked for k = 1, 2 … in turn, except for a step that ends at 1 and adds none.
        bounds: within which clean estimates are held; None lets them be.
    """
    for k, (now, then) in enumerate(pairwise(gammas), start=1):
        clean = _estimate(denoise, y, now, bounds)
        alpha = now / then
        kept = math.sqrt(alpha) * (1 - then) / (1 - now)
        y = math.sqrt(then) * (1 - alpha) / (1 - now) * clean + kept * y
        if then < 1:
            y = y + math.sqrt((1 - then) * (1 - alpha) / (1 - now)) * noise(k)
        yield Step(then, y, clean)


def ddim(
    denoise: Denoise, y: Tensor, gammas: Sequence[float], bounds: Bounds = UNIT
) -> Iterator[Step]:
    """Deterministic sampler (Song et al. 2020, eq. 12 with η = 0); first order.

    The noise is taken from the clipped estimate, so that the two stay consistent; IDM's code does
    not clip here and leaves out the last step.

    Args:
        denoise: the clean estimate.
        y: noise of unit variance at the first level.
        gammas: levels, rising, the last 1.
        bounds: within which clean estimates are held; None lets them be.
    """
    for now, then in pairwise(gammas):
        clean = _estimate(denoise, y, now, bounds)
        noise = (y - math.sqrt(now) * clean) / math.sqrt(1 - now)
        y = math.sqrt(then) * clean + math.sqrt(1 - then) * noise
        yield Step(then, y, clean)


def dpm_solver_pp_2m(
    denoise: Denoise, y: Tensor, gammas: Sequence[float], bounds: Bounds = UNIT
) -> Iterator[Step]:
    """DPM-Solver++(2M), deterministic (Lu et al. 2022, algorithm 2, data prediction).

    With λ = ½ ln(γ/(1−γ)), h and h₀ this step's and the last one's rise of λ, and r = h₀/h:

        D = (1 + 1/2r) y₀ − 1/2r y₀',   y ← √((1−γ')/(1−γ)) y − √γ' (e⁻ʰ − 1) D

    y₀' is the last step's estimate. The first step has none, and the one to γ' = 1 has h = ∞: both
    take D = y₀, first order (which is DDIM); all between are second order.

    Args:
        denoise: the clean estimate.
        y: noise of unit variance at the first level.
        gammas: levels, rising, the last 1.
        bounds: within which clean estimates are held; None lets them be.
    """
    last, rise = None, math.inf
    for now, then in pairwise(gammas):
        clean = _estimate(denoise, y, now, bounds)
        h = _log_snr(then) - _log_snr(now)
        ahead = clean if last is None or then == 1 else clean + h / (2 * rise) * (clean - last)
        y = math.sqrt((1 - then) / (1 - now)) * y - math.sqrt(then) * math.expm1(-h) * ahead
        yield Step(then, y, clean)
        last, rise = clean, h


DETERMINISTIC: Mapping[str, Deterministic] = {
    "ddim": ddim,
    "dpm-solver++": dpm_solver_pp_2m,
}
"""Samplers whose only noise is that of the start, by the specification's name."""

ANCESTRAL: Mapping[str, Ancestral] = {"ddpm": ddpm}
"""Samplers that take noise at every step, by the specification's name."""


def sample(
    spec: DiffusionSpec, denoise: Denoise, noise: StepNoise, bounds: Bounds = None
) -> Iterator[Step]:
    """The steps of the specified sampler; the last one's `y` is the map.

    Args:
        spec: sampler, its steps and their levels, and whether to clip.
        denoise: the clean estimate.
        noise: 0 gives the start, the others the noise of the steps, where they take any.
        bounds: of clean estimates, where they are others than the specification's and it clips.
    """
    held = bounds if bounds and spec.clip else spec.bounds
    levels = sampling_gammas(spec)
    if spec.sampler in ANCESTRAL:
        return ANCESTRAL[spec.sampler](denoise, noise(0), levels, noise, held)
    return DETERMINISTIC[spec.sampler](denoise, noise(0), levels, held)


def _estimate(denoise: Denoise, y: Tensor, gamma: float, bounds: Bounds) -> Tensor:
    """The clean estimate, held within bounds if asked."""
    level = torch.full((len(y),), gamma, dtype=y.dtype, device=y.device)
    clean = denoise(y, level)
    return torch.clip(clean, *bounds) if bounds else clean  # type: ignore[arg-type]


def _log_snr(gamma: float) -> float:
    """λ = ln(√γ/√(1−γ)), infinite where nothing is noise."""
    return math.inf if gamma == 1 else 0.5 * math.log(gamma / (1 - gamma))
