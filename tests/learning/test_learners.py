"""What the regression and the diffusion learners are trained by, and how they draw."""

import copy
import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from carbonmap.diffusion.spec import DiffusionSpec  # noqa: E402
from carbonmap.errors import ModelError  # noqa: E402
from carbonmap.learning.diffusion import (  # noqa: E402
    Diffusion,
    MeanAndResidual,
    Residual,
    filled,
)
from carbonmap.learning.draws import draws_of  # noqa: E402
from carbonmap.learning.learner import Batch  # noqa: E402
from carbonmap.learning.regression import Regression, squared_error  # noqa: E402
from tests import learners  # noqa: E402
from tests.learners import BANDS, noise, patches, settings, trained  # noqa: E402

MAKERS = [learners.regression, learners.diffusion, learners.residual]


class Knowing(nn.Module):
    """A denoiser that reads the target in the condition's first band, and on which scale it is."""

    def __init__(self, centre=0.0, spread=1.0):
        super().__init__()
        self.centre, self.spread, self.asked = centre, spread, 0

    def condition(self, x):
        self.asked += 1
        return ((x[:, :1] - self.centre) / self.spread,)

    def denoise(self, features, *_):
        return features[0]

    def forward(self, x, y, gamma):
        return self.denoise(self.condition(x), y, gamma)


def gradients(learner, batch):
    """Of every part, at one noise, by name; the learner stays as it is."""
    learner, found = copy.deepcopy(learner), {}
    for part in learner.parts:
        learner.network.zero_grad()
        torch.manual_seed(0)
        part.loss(batch, torch.Generator().manual_seed(5)).backward()
        held = {n: p.grad for n, p in learner.network.named_parameters() if p.grad is not None}
        found |= {(part.name, n): g.clone() for n, g in held.items()}
    return found


@pytest.mark.parametrize("value", [1.0, 40.0, float("nan")])
@pytest.mark.parametrize("make", MAKERS)
def test_what_stands_where_nothing_is_known_changes_no_gradient(make, value):
    learner = make()
    trained(learner, settings(3))
    seen = patches(0)
    other = dataclasses.replace(seen, target=torch.where(seen.weight > 0, seen.target, value))
    one, two = gradients(learner, seen), gradients(learner, other)
    assert learners.same(one, two)
    assert all(g.isfinite().all() for g in one.values())
    assert any(g.abs().max() > 0 for g in one.values())


@pytest.mark.parametrize("make", MAKERS)
def test_what_is_known_does_change_them(make):
    learner = make()
    trained(learner, settings(3))
    seen = patches(0)
    other = dataclasses.replace(seen, target=seen.target * 0.9)
    assert not learners.same(gradients(learner, seen), gradients(learner, other))


@pytest.mark.parametrize("make", MAKERS)
def test_a_batch_of_which_nothing_is_known_has_a_loss_of_nothing(make):
    learner = make()
    seen = patches(0, gap=1.0)
    for part in learner.parts:
        assert part.loss(seen, torch.Generator().manual_seed(0)).item() == 0


@given(
    arrays(np.float32, (2, 1, 3, 4), elements=st.floats(-1, 1, width=32)),
    arrays(np.bool_, (2, 1, 3, 4)),
)
def test_the_unknown_is_filled_with_its_samples_mean(values, known):
    got = filled(torch.from_numpy(values), torch.from_numpy(known).float()).numpy()
    for sample, have, mask in zip(got, values, known, strict=True):
        want = have[mask].astype(np.float64).mean() if mask.any() else 0.0
        np.testing.assert_array_equal(sample[mask], have[mask])
        np.testing.assert_allclose(sample[~mask], want, atol=1e-6)


def test_squared_error_is_the_mean_over_known_pixels():
    target = torch.tensor([0.0, 0.5, -1.0]).view(1, 1, 1, 3)
    weight = torch.tensor([1.0, 1.0, 0.0]).view(1, 1, 1, 3)
    estimate = torch.tensor([1.0, 0.0, 9.0]).view(1, 1, 1, 3)
    assert squared_error(estimate, Batch(target, target, weight)).item() == (1 + 0.25) / 2


@pytest.mark.parametrize("predicts", ["noise", "v", "clean"])
@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm-solver++"])
def test_a_draw_is_a_map_of_its_noise_alone(sampler, predicts):
    learner = learners.diffusion(sampler=sampler, predicts=predicts)
    trained(learner, settings(3))
    learner.network.eval()
    condition = patches(0, count=2).condition
    with torch.no_grad():
        asked = noise(1)
        one = learner.draw(condition, asked)
        assert torch.equal(one, learner.draw(condition, noise(1)))
        assert not torch.equal(one, learner.draw(condition, noise(2)))
    assert one.shape == (2, 1, 16, 16)
    assert one.abs().max() <= 1
    assert asked.asked == (["start", "step 1", "step 2"] if sampler == "ddpm" else ["start"])


@pytest.mark.parametrize("scale", [{}, {"centre": -0.75, "spread": 0.25}, {"spread": 2.0}])
@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm-solver++"])
def test_a_denoiser_that_knows_the_map_draws_it_and_has_no_loss(sampler, scale):
    """In the target's units from end to end, on whatever scale it is noised."""
    spec = DiffusionSpec(predicts="clean", sampler=sampler, steps=4, **scale)
    learner = Diffusion(Knowing(**scale), spec)
    condition = torch.rand(2, BANDS, 16, 16) * 2 - 1
    condition[:, 0, 0, :2] = torch.tensor([-1.0, 1.0])
    got = learner.draw(condition, noise(0))
    torch.testing.assert_close(got, condition[:, :1], rtol=0, atol=1e-6)
    batch = Batch(condition, condition[:, :1], torch.ones(2, 1, 16, 16))
    assert learner.parts[0].loss(batch, torch.Generator().manual_seed(0)).item() == 0


@pytest.mark.parametrize("predicts", ["noise", "v", "clean"])
def test_a_centre_and_a_spread_are_as_if_the_labels_had_been_on_that_scale(predicts):
    learner = learners.diffusion(predicts=predicts, centre=-0.75, spread=0.25)
    nn.init.normal_(learner.network.last.weight)  # at its start it says nothing of any map
    seen = patches(0)
    by_hand = dataclasses.replace(seen, target=(seen.target + 0.75) / 0.25)
    plain = Diffusion(learner.network.eval(), DiffusionSpec(predicts=predicts))
    losses = [
        one.parts[0].loss(batch, torch.Generator().manual_seed(2)).item()
        for one, batch in ((learner, seen), (plain, by_hand), (plain, seen))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] != pytest.approx(losses[2], rel=1e-3)


def test_a_residual_denoiser_that_says_nothing_draws_the_mean():
    """A fresh network ends in zeros, so that its clean estimate is 0."""
    learner = learners.residual(predicts="clean")
    learner.network.eval()
    condition = patches(0, count=2).condition
    with torch.no_grad():
        want = learner.network.mean(condition).clamp(-1, 1)
        torch.testing.assert_close(learner.draw(condition, noise(0)), want, rtol=0, atol=1e-6)


def test_a_drawn_residual_is_a_spread_long_where_the_denoiser_says_one():
    learner = learners.residual(predicts="clean")
    nn.init.constant_(learner.network.residual.last.bias, 0.5)
    nn.init.zeros_(learner.network.mean.last.weight)
    nn.init.constant_(learner.network.mean.last.bias, 0.25)
    learner.network.variance.fill_(0.01)
    learner.network.eval()
    with torch.no_grad():
        got = learner.draw(patches(0, count=2).condition, noise(0))
    torch.testing.assert_close(got, torch.full_like(got, 0.25 + 0.1 * 0.5))


def test_the_residuals_spread_is_that_of_the_known_pixels():
    network = learners.residual().network
    left = 0.1 * torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    weight = torch.ones_like(left)
    weight[2:] = 0
    network.count(torch.where(weight > 0, left, 5.0), weight)
    want = left[:2].square().mean()
    torch.testing.assert_close(network.variance, want)
    network.count(2 * left, weight)
    torch.testing.assert_close(network.variance, (want + 4 * want) / 2)
    network.count(left, 0 * weight)
    torch.testing.assert_close(network.variance, (want + 4 * want) / 2)
    assert network.counted == 2
    torch.testing.assert_close(network.scale, (2.5 * want).sqrt())


def test_the_spread_forgets_the_start():
    network = learners.residual().network
    ones = torch.ones(1, 1, 4, 4)
    network.count(100 * ones, ones)
    for _ in range(2000):
        network.count(0.1 * ones, ones)
    assert network.scale.item() == pytest.approx(0.1, rel=1e-3)


def test_neither_part_of_a_residual_learner_moves_the_other():
    learner = learners.residual()
    trained(learner, settings(2))
    found = gradients(learner, patches(0))
    reached = {part: {n.split(".")[0] for p, n in found if p == part} for part, _ in found}
    assert reached == {"mean": {"mean"}, "residual": {"residual"}}


def test_the_residual_is_taken_from_the_mean_that_a_map_has():
    """Running statistics, no dropout, and nothing counted by the way."""
    network = learners.residual().network.train()
    condition = patches(0).condition
    before = learners.values(network)
    got = network.estimate(condition)
    assert network.mean.training
    assert learners.same(learners.values(network), before)
    assert torch.equal(got, network.mean.eval()(condition))


def test_a_mean_and_a_residual_that_do_not_fit_are_refused():
    with pytest.raises(ModelError, match=r"a mean of 3 bands in and 1 out .* one band more"):
        MeanAndResidual(learners.unet(), learners.iidm(BANDS))


def test_what_draws_share_is_computed_once():
    network = Knowing()
    learner = Diffusion(network, DiffusionSpec(predicts="clean", steps=2))
    condition = torch.zeros(2, BANDS, 16, 16)
    draws_of(learner, condition, [noise(k) for k in range(3)])
    assert network.asked == 1


@pytest.mark.parametrize("make", [learners.diffusion, learners.residual])
def test_several_draws_are_those_of_each_noise_to_the_bit(make):
    learner = make()
    trained(learner, settings(3))
    learner.network.eval()
    condition = patches(0, count=2).condition
    drawn = draws_of(learner, condition, [noise(k) for k in range(3)])
    with torch.no_grad():
        for k, one in enumerate(drawn):
            assert torch.equal(one, learner.draw(condition, noise(k)))
    assert not drawn.requires_grad


def test_what_is_not_generative_is_drawn_once_and_held_within_the_range():
    learner = Regression(learners.unet())
    nn.init.constant_(learner.network.last.bias, 50.0)
    learner.network.eval()
    asked = noise(0)
    drawn = draws_of(learner, patches(0).condition, [asked] * 5)
    assert drawn.shape == (1, 4, 1, 16, 16)
    assert torch.equal(drawn[0], torch.ones(4, 1, 16, 16))
    assert asked.asked == []
    assert not learner.generative
    assert isinstance(learners.residual(), Residual)
    assert learners.residual().generative
    assert learners.diffusion().generative


def test_no_draws_are_refused():
    with pytest.raises(ModelError, match="1 at least"):
        draws_of(learners.regression(), patches(0).condition, [])
