"""Noise levels: products by hand, the cosine's closed form, and what a draw is uniform in."""

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from carbonmap.diffusion.schedules import (
    FAINTEST,
    PUREST,
    draw_gammas,
    gamma_at,
    gammas,
    sampling_gammas,
)
from carbonmap.diffusion.spec import PAPER, DiffusionSpec

LINEAR = DiffusionSpec(schedule="linear")
COSINE = DiffusionSpec(schedule="cosine")

specs = st.builds(
    DiffusionSpec,
    schedule=st.sampled_from(["linear", "cosine"]),
    levels=st.integers(100, 3000),
    steps=st.integers(1, 100),
    spacing=st.sampled_from(["quadratic", "uniform"]),
)


def test_a_specification_survives_json_and_refuses_more_steps_than_levels():
    assert DiffusionSpec.from_json(PAPER.to_json()) == PAPER
    assert (PAPER.loss, PAPER.predicts, PAPER.schedule) == ("l1", "noise", "linear")
    with pytest.raises(ValueError, match="`steps` is 101, more than the 100 `levels`"):
        DiffusionSpec(levels=100, steps=101)
    with pytest.raises(ValueError, match="sampler"):
        DiffusionSpec.from_json({"sampler": "euler"})


def test_the_linear_schedule_is_the_product_of_its_signal_shares():
    want = 1.0
    table = gammas(LINEAR)
    for t in range(1, 2001):
        want *= 1 - (1e-6 + (1e-2 - 1e-6) * (t - 1) / 1999)
        assert table[t].item() == pytest.approx(want, rel=1e-12)
    assert want == pytest.approx(4.4e-5, rel=0.01)  # what IDM's configuration ends at


def test_fewer_linear_levels_go_the_same_way():
    coarse = gammas(dataclasses.replace(LINEAR, levels=500))
    for k, t in ((100, 400), (250, 1000), (500, 2000)):
        log, want = coarse[k].log().item(), gammas(LINEAR)[t].log().item()
        assert log == pytest.approx(want, rel=0.03)  # −ln(1 − 4β) is up to 1.5 β of 4β more


def test_the_cosine_schedule_has_its_closed_form_and_never_reaches_0():
    table = gammas(COSINE)
    for t in (0, 1, 700, 1999, 2000):
        f = [math.cos((s / 2000 + 0.008) / 1.008 * math.pi / 2) ** 2 for s in (t, 0)]
        assert table[t].item() == pytest.approx(f[0] / f[1], abs=1.01 * FAINTEST)
    assert table[-1].item() == pytest.approx(FAINTEST, rel=1e-9)


@given(specs)
def test_every_level_is_fainter_than_the_one_before_and_the_first_is_clean(spec):
    table = gammas(spec)
    assert table.shape == (spec.levels + 1,)
    assert table[0] == 1
    assert (table.diff() < 0).all()
    assert 0 < table[-1] < 1e-4


@given(specs)
def test_a_samplers_levels_rise_from_pure_noise_to_exactly_1(spec):
    levels = sampling_gammas(spec)
    assert len(levels) == spec.steps + 1
    assert all(a < b for a, b in pairwise(levels))
    assert levels[0] == pytest.approx(gammas(spec)[-1].item(), rel=1e-12)
    assert levels[-1] == 1


def test_samplers_visit_uniform_or_quadratic_times():
    table = gammas(COSINE)
    for spacing, times in (
        ("uniform", [2000, 1500, 1000, 500, 0]),
        ("quadratic", [2000, 1125, 500, 125, 0]),
    ):
        spec = dataclasses.replace(COSINE, steps=4, spacing=spacing)
        assert sampling_gammas(spec) == pytest.approx(table[times].tolist(), rel=1e-12)


def test_between_levels_the_signals_amplitude_is_straight():
    t = torch.tensor([0.0, 3.0, 3.25, 1999.5, 2000.0], dtype=torch.float64)
    root = gammas(LINEAR).sqrt()
    want = [1, root[3], 0.75 * root[3] + 0.25 * root[4], (root[1999] + root[2000]) / 2, root[2000]]
    got = gamma_at(LINEAR, t).sqrt()
    assert torch.allclose(got, torch.tensor(want, dtype=torch.float64), rtol=1e-13)


@pytest.mark.parametrize("spec", [LINEAR, COSINE])
def test_drawn_levels_are_uniform_in_time_and_one_lies_in_each_part_of_it(spec):
    generator = torch.Generator().manual_seed(5)
    drawn = torch.stack([draw_gammas(spec, 16, generator) for _ in range(500)])
    assert drawn.dtype == torch.float32
    root = gammas(spec).sqrt().numpy()
    t = np.interp(-drawn.double().sqrt().numpy(), -root, np.arange(len(root))) / spec.levels
    assert stats.kstest(t[:, 0], "uniform").pvalue > 0.01  # any one place of a batch
    parts = np.sort(np.floor(t * 16 - 1e-9), axis=1)
    assert (parts == np.arange(16)).mean() > 0.99  # single precision may cross a part's edge
    assert abs(np.corrcoef(t[:, 0], t[:, 1])[0, 1]) < 0.2  # neighbours in a batch: −1/15, no order


def test_drawn_levels_follow_the_generator_and_leave_some_noise():
    first, again = (draw_gammas(LINEAR, 9, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)
    many = draw_gammas(LINEAR, 400_000, torch.Generator().manual_seed(2))
    assert many.max() == PUREST  # reached: the first level is passed 200 times in so many
    assert many.min() >= gammas(LINEAR)[-1].float()
