"""Samplers against closed forms.

Of maps y₀ ~ N(μ, s²) the clean estimate is known, E[y₀ | y] = μ + √γ s² (y − √γ μ)/(γ s² + 1 − γ),
and so is where the probability flow takes a noisy map: it keeps its number of standard deviations.
"""

import dataclasses
import math
from itertools import pairwise
from typing import get_args

import pytest
import torch

from carbonmap.diffusion.samplers import (
    ANCESTRAL,
    DETERMINISTIC,
    ddim,
    ddpm,
    dpm_solver_pp_2m,
    sample,
)
from carbonmap.diffusion.schedules import sampling_gammas
from carbonmap.diffusion.spec import PAPER, DiffusionSpec, Sampler

MEAN, SPREAD = 0.3, 0.4
GAMMA_0 = 1e-3


def gaussian(mean=MEAN, spread=SPREAD):
    """The exact denoiser of independent N(mean, spread²) pixels."""

    def denoise(y, gamma):
        g = gamma[:, None, None, None]
        away = g.sqrt() * spread**2 / (g * spread**2 + 1 - g)
        return mean + away * (y - g.sqrt() * mean)

    return denoise


def flow(y, start, end, mean=MEAN, spread=SPREAD):
    """Where the probability flow takes `y` from one level to another."""
    width = [math.sqrt(g * spread**2 + 1 - g) for g in (start, end)]
    return math.sqrt(end) * mean + width[1] / width[0] * (y - math.sqrt(start) * mean)


def noise_of(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


START = noise_of(1, 2, 1, 6, 5)


def levels(steps, end=1.0):
    """Equal turns of the angle whose cosine is √γ."""
    first, last = math.acos(GAMMA_0**0.5), math.acos(end**0.5)
    turns = [first + (last - first) * k / steps for k in range(steps + 1)]
    return [GAMMA_0, *(math.cos(a) ** 2 for a in turns[1:-1]), end]


def last(steps):
    *_, step = steps
    return step


def error(sampler, steps, end):
    got = last(sampler(gaussian(), START, levels(steps, end), bounds=None)).y
    return (got - flow(START, GAMMA_0, end)).abs().max().item()


@pytest.mark.parametrize("end", [0.9, 1.0])
def test_ddim_nears_the_exact_flow_at_first_order(end):
    errors = [error(ddim, n, end) for n in (50, 100, 200, 400)]
    assert errors[-1] < 0.01
    for coarse, fine in pairwise(errors):
        assert 1.8 < coarse / fine < 2.2


def test_dpm_solver_pp_nears_the_exact_flow_at_second_order():
    errors = [error(dpm_solver_pp_2m, n, 0.9) for n in (50, 100, 200, 400)]
    assert errors[-1] < 1e-4
    for coarse, fine in pairwise(errors):
        assert 3.4 < coarse / fine < 4.6


def test_dpm_solver_pp_begins_and_ends_as_ddim_and_only_then():
    lead = levels(2)
    assert torch.allclose(
        last(dpm_solver_pp_2m(gaussian(), START, lead)).y, last(ddim(gaussian(), START, lead)).y
    )
    three = [last(f(gaussian(), START, levels(3))).y for f in (ddim, dpm_solver_pp_2m)]
    assert not torch.allclose(*three)


def test_dpm_solver_pp_is_exact_at_any_levels_where_the_estimate_stays():
    def constant(y, _gamma):
        return torch.full_like(y, 0.25)

    gammas = [0.01, 0.3, 0.31, 0.9, 1.0]
    for step in dpm_solver_pp_2m(constant, START, gammas):
        y_exact = (
            math.sqrt((1 - step.gamma) / (1 - gammas[0])) * (START - math.sqrt(gammas[0]) * 0.25)
            + math.sqrt(step.gamma) * 0.25
        )
        assert torch.allclose(step.y, y_exact, atol=1e-12)


def test_ddpm_draws_have_the_mean_and_spread_of_the_maps():
    start = noise_of(2, 4, 1, 100, 100)
    draws = last(ddpm(gaussian(), start, levels(400), lambda k: noise_of(100 + k, *start.shape)))
    free = last(
        ddpm(gaussian(), start, levels(400), lambda k: noise_of(100 + k, *start.shape), bounds=None)
    )
    assert not torch.equal(draws.y, free.y)  # N(0.3, 0.4²) reaches beyond 1
    n = start.numel()
    # exact recurrence of the mean and variance over the same steps, then 4 standard errors
    mean, var = 0.0, 1.0
    for now, then in pairwise(levels(400)):
        gain = now**0.5 * SPREAD**2 / (now * SPREAD**2 + 1 - now)
        of_clean = then**0.5 * (1 - now / then) / (1 - now)
        of_y = (now / then) ** 0.5 * (1 - then) / (1 - now)
        mean = of_clean * (MEAN + gain * (mean - now**0.5 * MEAN)) + of_y * mean
        var = (of_clean * gain + of_y) ** 2 * var + (1 - then) * (1 - now / then) / (1 - now)
    assert free.y.mean().item() == pytest.approx(mean, abs=4 * SPREAD / n**0.5)
    assert free.y.var().item() == pytest.approx(var, rel=4 * (2 / n) ** 0.5)
    assert mean == pytest.approx(MEAN, abs=0.02)
    assert var**0.5 == pytest.approx(SPREAD, rel=0.02)


def test_with_many_steps_all_samplers_draw_the_same_distribution():
    start = noise_of(3, 2, 1, 100, 100)
    ends = [
        last(f(gaussian(), start, levels(500), bounds=None)).y for f in (ddim, dpm_solver_pp_2m)
    ]
    assert (ends[0] - ends[1]).abs().max() < 0.02
    random = last(
        ddpm(gaussian(), start, levels(500), lambda k: noise_of(k, *start.shape), bounds=None)
    ).y
    for quantile in (0.1, 0.5, 0.9):
        assert random.quantile(quantile).item() == pytest.approx(
            ends[1].quantile(quantile).item(), abs=0.02
        )


@pytest.mark.parametrize("name", ["ddim", "dpm-solver++", "ddpm"])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_point_mass_is_hit_exactly_by_any_number_of_steps(name, steps):
    point = noise_of(4, 2, 1, 6, 5).clamp(-1, 1)
    spec = DiffusionSpec(sampler=name, steps=steps)
    *_, end = sample(spec, lambda _y, _gamma: point, lambda k: noise_of(k, 2, 1, 6, 5))
    assert end.gamma == 1
    assert torch.equal(end.y, point)


@pytest.mark.parametrize(("centre", "spread"), [(0.0, 1.0), (-0.75, 0.5)])
@pytest.mark.parametrize("name", ["ddim", "dpm-solver++", "ddpm"])
def test_a_clipped_sampler_stays_within_the_labels_range_and_an_unclipped_does_not(
    name, centre, spread
):
    def far(y, _):
        return 20 * y

    def labels(clip):
        """Each step's clean estimate in the labels' units, and the map."""
        spec = DiffusionSpec(sampler=name, steps=5, clip=clip, centre=centre, spread=spread)
        steps = list(sample(spec, far, lambda k: noise_of(k, 2, 1, 6, 5)))
        return centre + spread * torch.stack([*(step.clean for step in steps), steps[-1].y])

    held = labels(True)
    assert (held.min(), held.max()) == (-1, 1)
    assert labels(False).abs().max() > 2


@pytest.mark.parametrize("name", ["ddim", "dpm-solver++", "ddpm"])
def test_steps_visit_the_specified_levels_and_end_with_the_clean_estimate(name):
    spec = DiffusionSpec(sampler=name, steps=6)
    asked, noises = [], []

    def denoise(y, gamma):
        asked.append(gamma)
        return gaussian()(y, gamma)

    def noise(k):
        noises.append(k)
        return noise_of(k, 2, 1, 6, 5)

    steps = list(sample(spec, denoise, noise))
    want = sampling_gammas(spec)
    assert [s.gamma for s in steps] == want[1:]
    assert all(g.shape == (2,) and (g == w).all() for g, w in zip(asked, want[:-1], strict=True))
    assert torch.equal(steps[-1].y, steps[-1].clean)
    assert noises == ([0, 1, 2, 3, 4, 5] if name in ANCESTRAL else [0])


@pytest.mark.parametrize("name", ["ddim", "dpm-solver++", "ddpm"])
def test_a_map_does_not_depend_on_its_batch(name):
    spec = DiffusionSpec(sampler=name, steps=4)
    *_, both = sample(spec, gaussian(), lambda k: noise_of(k, 2, 1, 6, 5).float())
    *_, alone = sample(spec, gaussian(), lambda k: noise_of(k, 2, 1, 6, 5)[1:].float())
    assert both.y.dtype == torch.float32
    assert torch.equal(both.y[1:], alone.y)


def test_the_tables_hold_every_sampler_that_a_specification_can_name():
    assert {*DETERMINISTIC, *ANCESTRAL} == set(get_args(Sampler))


@pytest.mark.parametrize(
    ("spec", "spread", "want"),
    [
        (PAPER, 0.2, 0.72),
        (PAPER, 0.1, 0.51),
        (DiffusionSpec(), 0.2, 1.02),
        (DiffusionSpec(), 0.1, 1.03),
    ],
)
def test_twenty_steps_shrink_a_maps_spread_as_documented(spec, spread, want):
    start = torch.tensor([-1.0, 1.0], dtype=torch.float64)[:, None, None, None]
    free = dataclasses.replace(spec, clip=False)
    *_, end = sample(free, gaussian(0.0, spread), lambda _k: start)
    assert (end.y[1] - end.y[0]).item() / 2 / spread == pytest.approx(want, abs=0.006)
