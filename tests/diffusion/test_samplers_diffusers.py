"""Schedules and samplers against diffusers (Hugging Face), with every default of its set.

Its tables are single precision and start at our level 1.
"""

from itertools import pairwise

import diffusers
import pytest
import torch

from carbonmap.diffusion.objectives import denoiser, target_of
from carbonmap.diffusion.samplers import ddim, ddpm, dpm_solver_pp_2m
from carbonmap.diffusion.schedules import gammas, sampling_gammas
from carbonmap.diffusion.spec import PAPER, DiffusionSpec

LEVELS, STEPS = 2000, 20

COMMON = {
    "num_train_timesteps": LEVELS,
    "beta_start": 1e-6,
    "beta_end": 1e-2,
    "beta_schedule": "linear",
    "trained_betas": None,
    "thresholding": False,
    "dynamic_thresholding_ratio": 0.995,  # read only with thresholding, as the next
    "sample_max_value": 1.0,
    "timestep_spacing": "trailing",  # T, T − T/n, … T/n, as our uniform spacing
    "steps_offset": 0,
    "rescale_betas_zero_snr": False,
}

PREDICTION_TYPES = {"noise": "epsilon", "v": "v_prediction", "clean": "sample"}


def ddim_scheduler(predicts, clip):
    return diffusers.DDIMScheduler(
        **COMMON,
        prediction_type=PREDICTION_TYPES[predicts],
        clip_sample=clip,
        clip_sample_range=1.0,
        set_alpha_to_one=True,  # ends at γ = 1
    )


def ddpm_scheduler(predicts, clip):
    return diffusers.DDPMScheduler(
        **COMMON,
        prediction_type=PREDICTION_TYPES[predicts],
        clip_sample=clip,
        clip_sample_range=1.0,
        variance_type="fixed_small",
    )


def dpm_scheduler(predicts):
    return diffusers.DPMSolverMultistepScheduler(
        **COMMON,
        prediction_type=PREDICTION_TYPES[predicts],
        solver_order=2,
        algorithm_type="dpmsolver++",
        solver_type="midpoint",
        lower_order_final=True,
        euler_at_final=False,
        use_karras_sigmas=False,
        use_exponential_sigmas=False,
        use_beta_sigmas=False,
        use_lu_lambdas=False,
        use_flow_sigmas=False,
        flow_shift=1.0,
        final_sigmas_type="zero",  # ends at γ = 1
        lambda_min_clipped=-float("inf"),
        variance_type=None,
        use_dynamic_shifting=False,
        time_shift_type="exponential",
    )


def predict(predicts):
    """A network that is wrong in a smooth way and often leaves [−1, 1]."""

    def of(y, gamma):
        clean = 1.3 * torch.tanh(y + 0.2) + 0.1 * torch.sin(5 * y)
        level = gamma[:, None, None, None]
        noise = (y - level.sqrt() * clean) / (1 - level).sqrt()
        return target_of(clean, noise, gamma, predicts)

    return of


def theirs(scheduler, predicts, y, **options):
    scheduler.set_timesteps(STEPS)
    for t in scheduler.timesteps:
        gamma = scheduler.alphas_cumprod[t].double().expand(len(y))
        y = scheduler.step(predict(predicts)(y, gamma), t, y, return_dict=True, **options)
        y = y.prev_sample
    return y


def levels(scheduler):
    """The levels that it visits, as its own table has them."""
    scheduler.set_timesteps(STEPS)
    return [*scheduler.alphas_cumprod[scheduler.timesteps].double().tolist(), 1.0]


def start():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 1, 8, 8, generator=generator, dtype=torch.float64)


def last(steps):
    *_, step = steps
    return step.y


def assert_close(ours, its):
    # DPM-Solver's levels are single precision there; found 2e-6 at most
    assert torch.allclose(ours, its.double(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_our_tables_are_those_of_diffusers(schedule):
    names = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
    scheduler = diffusers.DDIMScheduler(
        **{**COMMON, "beta_schedule": names[schedule]},
        prediction_type="epsilon",
        clip_sample=True,
        clip_sample_range=1.0,
        set_alpha_to_one=True,
    )
    ours = gammas(DiffusionSpec(schedule=schedule, levels=LEVELS))[1:]
    # the cosine ends at 1e-6 here and there at its last β of 0.999
    assert torch.allclose(ours, scheduler.alphas_cumprod.double(), rtol=3e-4, atol=1.1e-6)


def test_our_uniform_levels_are_its_trailing_timesteps():
    its = levels(ddim_scheduler("noise", True))
    assert sampling_gammas(PAPER) == pytest.approx(its, rel=3e-4)
    assert all(a < b for a, b in pairwise(its))


@pytest.mark.parametrize("predicts", PREDICTION_TYPES)
@pytest.mark.parametrize("clip", [True, False])
def test_ddim_takes_the_steps_of_diffusers(predicts, clip):
    scheduler = ddim_scheduler(predicts, clip)
    options = {"eta": 0.0, "use_clipped_model_output": True, "variance_noise": None}
    its = theirs(scheduler, predicts, start(), generator=None, **options)
    denoise = denoiser(predict(predicts), predicts)
    assert_close(
        last(ddim(denoise, start(), levels(scheduler), bounds=(-1.0, 1.0) if clip else None)), its
    )


@pytest.mark.parametrize("predicts", PREDICTION_TYPES)
@pytest.mark.parametrize("clip", [True, False])
def test_ddpm_takes_the_steps_of_diffusers_on_the_same_noise(predicts, clip):
    scheduler = ddpm_scheduler(predicts, clip)
    its = theirs(scheduler, predicts, start(), generator=torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(7)

    def noise(_k):
        return torch.randn(2, 1, 8, 8, generator=generator, dtype=torch.float64)

    denoise = denoiser(predict(predicts), predicts)
    assert_close(
        last(
            ddpm(denoise, start(), levels(scheduler), noise, bounds=(-1.0, 1.0) if clip else None)
        ),
        its,
    )


# diffusers 0.42 hands a tensor to np.array, which torch 2.13 does not answer as numpy 2 asks
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
@pytest.mark.parametrize("predicts", PREDICTION_TYPES)
def test_dpm_solver_pp_takes_the_steps_of_diffusers(predicts):
    scheduler = dpm_scheduler(predicts)
    its = theirs(scheduler, predicts, start(), generator=None, variance_noise=None)
    denoise = denoiser(predict(predicts), predicts)
    assert_close(last(dpm_solver_pp_2m(denoise, start(), levels(scheduler), bounds=None)), its)
