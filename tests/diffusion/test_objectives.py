"""Objectives: algebra there and back, weights against the map's own error, masks by brute force."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from carbonmap.diffusion.objectives import (
    clean_of,
    denoiser,
    level_weight,
    loss,
    masked_mean,
    noised,
    target_of,
)
from carbonmap.diffusion.spec import DiffusionSpec

PREDICTS = ("noise", "v", "clean")


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CLEAN, NOISE, WRONG = (drawn(3, 1, 5, 4, seed=s) for s in (1, 2, 3))
GAMMA = torch.tensor([0.003, 0.4, 0.98], dtype=torch.float64)
KNOWN = (drawn(3, 1, 5, 4, seed=4) > 0).double()


def test_a_noisy_map_keeps_the_variance_of_a_map_of_unit_variance():
    big = [drawn(1, 1, 300, 300, seed=s) for s in (5, 6)]
    for gamma in (0.01, 0.5, 0.99):
        y = noised(*big, torch.tensor([gamma], dtype=torch.float64))
        assert y.var().item() == pytest.approx(1, abs=0.02)  # 4 standard errors of 300² pixels
        assert (y * big[0]).mean().item() == pytest.approx(gamma**0.5, abs=0.02)


@pytest.mark.parametrize("predicts", PREDICTS)
def test_a_perfect_prediction_gives_back_the_map_and_its_noise(predicts):
    y = noised(CLEAN, NOISE, GAMMA)
    prediction = target_of(CLEAN, NOISE, GAMMA, predicts)
    clean = clean_of(prediction, y, GAMMA, predicts)
    assert torch.allclose(clean, CLEAN, atol=1e-12)
    assert torch.equal(denoiser(lambda _y, _g: prediction, predicts)(y, GAMMA), clean)


def test_v_is_the_noise_at_no_noise_and_minus_the_map_at_nothing_else():
    v = target_of(CLEAN[:2], NOISE[:2], torch.tensor([1.0, 0.0], dtype=torch.float64), "v")
    assert torch.equal(v[0], NOISE[0])
    assert torch.equal(v[1], -CLEAN[1])


def test_v_is_how_the_noisy_map_turns():
    # y = cos φ y₀ + sin φ ε, and v is dy/dφ (Salimans & Ho 2022, App. D)
    turn = 1e-6
    angle = torch.arccos(GAMMA.sqrt())
    ahead, behind = (noised(CLEAN, NOISE, torch.cos(angle + d) ** 2) for d in (turn, -turn))
    v = target_of(CLEAN, NOISE, GAMMA, "v")
    assert torch.allclose((ahead - behind) / (2 * turn), v, atol=1e-8)


@given(
    st.floats(1e-4, 0.9999),
    st.sampled_from(PREDICTS),
    st.sampled_from(["none", "clean", "min-snr"]),
)
def test_a_weighting_is_what_it_says_in_the_maps_squared_error(gamma, predicts, weighting):
    g = torch.tensor([gamma], dtype=torch.float64)
    y, guess = noised(CLEAN[:1], NOISE[:1], g), WRONG[:1]
    error = guess - target_of(CLEAN[:1], NOISE[:1], g, predicts)
    of_map = clean_of(guess, y, g, predicts) - CLEAN[:1]
    snr = gamma / (1 - gamma)
    own = {"noise": snr, "v": snr + 1, "clean": 1}[predicts]
    want = {"none": own, "clean": 1, "min-snr": min(snr, 5)}[weighting]
    got = level_weight(g, predicts, weighting) * error.square()
    assert torch.allclose(got, want * of_map.square(), rtol=1e-7)


@pytest.mark.parametrize("predicts", PREDICTS)
@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_the_loss_is_the_mean_over_known_pixels(predicts, kind):
    spec = DiffusionSpec(predicts=predicts, loss=kind, weighting="min-snr")
    total, count = 0.0, 0
    factor = level_weight(GAMMA, predicts, "min-snr")
    want = target_of(CLEAN, NOISE, GAMMA, predicts)
    for place in KNOWN.nonzero():
        i = tuple(place.tolist())
        off = abs((WRONG[i] - want[i]).item())
        total += off * factor[i[0]].item() ** 0.5 if kind == "l1" else off**2 * factor[i[0]].item()
        count += 1
    got = loss(WRONG, CLEAN, NOISE, GAMMA, KNOWN, spec)
    assert got.item() == pytest.approx(total / count, rel=1e-12)


def test_an_unknown_pixel_moves_nothing():
    guess = WRONG.clone().requires_grad_()
    loss(guess, CLEAN, NOISE, GAMMA, KNOWN, DiffusionSpec()).backward()
    assert ((guess.grad != 0) == (KNOWN == 1)).all()


def test_a_batch_without_known_pixels_has_loss_0_and_a_gradient_of_0():
    guess = WRONG.clone().requires_grad_()
    nothing = loss(guess, CLEAN, NOISE, GAMMA, torch.zeros_like(KNOWN), DiffusionSpec())
    nothing.backward()
    assert nothing.item() == 0
    assert torch.equal(guess.grad, torch.zeros_like(guess))


def test_one_known_pixel_counts_fully():
    weight = torch.zeros_like(CLEAN)
    weight[1, 0, 2, 3] = 1
    assert masked_mean(CLEAN, weight) == CLEAN[1, 0, 2, 3]


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_l2_is_least_at_the_mean_of_skewed_densities_and_l1_at_their_median(kind):
    densities = torch.tensor([0.0, 0.1, 0.2, 0.4, 2.3], dtype=torch.float64).reshape(5, 1, 1, 1)
    spec = DiffusionSpec(predicts="clean", loss=kind)
    level = torch.full((5,), 0.5, dtype=torch.float64)
    guesses = torch.linspace(0, 1, 101, dtype=torch.float64)
    losses = [
        loss(g.expand(5, 1, 1, 1), densities, densities, level, torch.ones_like(densities), spec)
        for g in guesses
    ]
    want = {"l1": 0.2, "l2": 0.6}[kind]
    assert guesses[torch.stack(losses).argmin()].item() == pytest.approx(want)


def test_in_single_precision_the_purest_and_faintest_levels_stay_finite():
    gamma = torch.tensor([1e-6, 1 - 2.0**-20])
    clean, noise = CLEAN[:2].float(), NOISE[:2].float()
    y = noised(clean, noise, gamma)
    for predicts, weighting in product(PREDICTS, ("none", "clean", "min-snr")):
        if (predicts, weighting) != ("noise", "clean"):  # which a specification refuses
            spec = DiffusionSpec(predicts=predicts, weighting=weighting, loss="l1")
            value = loss(WRONG[:2].float(), clean, noise, gamma, torch.ones_like(y), spec)
            assert torch.isfinite(value)
