"""Noise levels: γ, the share of a noisy map's variance that is signal, from 1 down to almost 0.

A level is also a time t in [0, T]: γ(0) = 1 is the clean map, γ(T) pure noise.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from carbonmap.diffusion.spec import DiffusionSpec

BETAS = (1e-6, 1e-2)
"""First and last β of the linear schedule at 2000 levels (IDM's and SR3's configuration)."""

BETAS_LEVELS = 2000
"""Levels that `BETAS` are meant for; with fewer, each β grows so that the way stays the same."""

COSINE_OFFSET = 0.008
"""s of Nichol & Dhariwal (2021, eq. 17): keeps the first steps from being vanishingly small."""

FAINTEST = 1e-6
"""γ at which the cosine ends instead of 0, where 1/√γ has no value; here it is 1000, by which
single precision's 6e-8 becomes 6e-5 of the label range. IDM's linear schedule ends at 4.4e-5."""

PUREST = 1 - 2.0**-20
"""Largest γ to learn from: single precision still holds 1 − γ to 1/16 there. The first of 2000
linear levels has 1 − γ = 1e-6, the same."""


def gammas(spec: DiffusionSpec) -> Tensor:
    """γ_t of the whole times t = 0 … T, float64, shape ``(T + 1,)``; falls from exactly 1.

        linear  γ_t = Π_{i≤t} (1 − β_i)                       Ho et al. 2020, eq. 4
        cosine  γ_t = f(t)/f(0), f(t) = cos²((t/T + s)/(1 + s) · π/2)

    Nichol & Dhariwal cap β at 0.999; we squeeze the cosine into [`FAINTEST`, 1] instead, so that
    every level is fainter than the one before.
    """
    if spec.schedule == "linear":
        betas = torch.linspace(*BETAS, spec.levels, dtype=torch.float64, device="cpu")
        signal = torch.cumprod(1 - betas * (BETAS_LEVELS / spec.levels), dim=0)
        return torch.cat([torch.ones_like(signal[:1]), signal])
    t = torch.arange(spec.levels + 1, dtype=torch.float64, device="cpu") / spec.levels
    f = torch.cos((t + COSINE_OFFSET) / (1 + COSINE_OFFSET) * (math.pi / 2)) ** 2
    return torch.lerp(f / f[0], torch.ones_like(f), FAINTEST)


def gamma_at(spec: DiffusionSpec, t: Tensor) -> Tensor:
    """γ at any time within [0, T], float64, in the shape of `t`; √γ is straight between levels."""
    root = gammas(spec).sqrt().to(t.device)
    below = t.floor().clamp(0, spec.levels - 1)
    part = t.double() - below
    k = below.long()
    return torch.lerp(root[k], root[k + 1], part) ** 2


def draw_gammas(spec: DiffusionSpec, batch: int, generator: Generator) -> Tensor:
    """Noise levels to learn from, one for each sample: float32, shape ``(batch,)``.

    √γ is uniform between its neighbours in the table, for a uniform t (SR3; Chen et al. 2021,
    WaveGrad). IDM's code draws one t for the whole batch; here each sample has its own, one from
    each of `batch` equal parts of [0, T] in random order, so that a small batch still sees every
    range (after Kingma et al. 2021, VDM): each single t stays uniform.
    """
    device = generator.device
    order = torch.randperm(batch, generator=generator, device=device)
    jitter = torch.rand(batch, generator=generator, device=device)
    t = (order + jitter) / batch * spec.levels
    return gamma_at(spec, t).clamp(max=PUREST).float()


def sampling_gammas(spec: DiffusionSpec) -> list[float]:
    """The levels that a sampler visits, ``steps + 1`` of them, from γ(T) up to exactly 1.

        t_k = T (1 − k/n)^p, k = 0 … n; p = 1 uniform, p = 2 quadratic

    Quadratic is Song et al. (2020, App. D.2); the last step, which only takes the clean estimate,
    then starts from much less noise. Where the map's true spread around its mean is 0.2 (0.1) of
    the label range's half, the closed form of 20 steps draws a spread of 0.72 (0.51) times that
    with IIDM's linear, uniform DDIM; 1.02 (1.03) with cosine, quadratic DPM-Solver++(2M).
    """
    power = {"uniform": 1, "quadratic": 2}[spec.spacing]
    left = torch.arange(spec.steps, -1, -1, dtype=torch.float64, device="cpu") / spec.steps
    return gamma_at(spec, spec.levels * left**power).tolist()
