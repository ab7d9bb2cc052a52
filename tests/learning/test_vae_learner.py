import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from carbonmap.learning.learner import Batch
from carbonmap.learning.vae import VaeLearner
from carbonmap.networks.rival_specs import VaeSpec

SPEC = VaeSpec(2, (8, 16), latent=2)


def learner(spec=SPEC):
    torch.manual_seed(0)
    return VaeLearner.of(spec)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(random, count=4, side=16, block=4):
    """Maps of which x tells a part, and the blocks' levels (deviation 0.3) are the rest."""
    x = torch.randn(count, 2, side, side, generator=random)
    x[:, 1] = 1
    level = torch.randn(count, 1, side // block, side // block, generator=random)
    level = level.repeat_interleave(block, 2).repeat_interleave(block, 3)
    grain = torch.randn(count, 1, side, side, generator=random)
    y = (0.2 * x[:, :1] + 0.3 * level + 0.1 * grain).clamp(-1, 1)
    return Batch(x, y, torch.ones_like(y))


def test_the_loss_is_the_bound():
    found, data = learner(), batch(seeded())
    data.weight[..., :5, :] = 0
    (part,) = found.parts
    got = part.loss(data, seeded(7))
    features = found.network.features(data.condition)
    q = found.recognition(data.condition, data.target, data.weight)
    p = found.network.prior(features)
    z = q.mean + q.log_deviation.exp() * torch.randn(q.mean.shape, generator=seeded(7))
    held = data.weight > 0
    mean, y = found.network.decode(features, z)[held], data.target[held]
    sigma = (mean - y).square().mean().sqrt()
    likelihood = Normal(mean, sigma).log_prob(y).mean() + math.log(2 * math.pi) / 2 + 0.5
    kl = kl_divergence(*(Normal(d.mean, d.log_deviation.exp()) for d in (q, p))).sum() / len(y)
    torch.testing.assert_close(got, kl - likelihood, rtol=1e-4, atol=1e-5)


def test_every_parameter_moves_and_is_in_the_part():
    found = learner()
    (part,) = found.parts
    part.loss(batch(seeded()), seeded()).backward()
    inside = {id(p) for p in part.module.parameters()}
    for network in (found.network, found.recognition):
        for name, p in network.named_parameters():
            assert id(p) in inside
            assert p.grad is not None, name
            assert p.grad.abs().max() > 0, name


def test_an_unknown_target_moves_nothing():
    gradients = []
    for junk in (-1.0, math.nan):
        found, data = learner(), batch(seeded())
        data.weight[..., 3:, :] = 0
        data.target[data.weight == 0] = junk
        found.parts[0].loss(data, seeded()).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in found.parts[0].module.parameters()]))
    assert torch.equal(*gradients)


def test_a_batch_of_which_nothing_is_known_has_a_finite_gradient():
    found, data = learner(), batch(seeded())
    data.weight.zero_()
    found.parts[0].loss(data, seeded()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in found.network.parameters())


def test_the_kl_weighs_as_the_specification_says():
    specs = [VaeSpec(2, (8, 16), latent=2, kl_weight=w) for w in (1.0, 2.0, 3.0)]
    one, two, three = (learner(s).loss(batch(seeded()), seeded()).item() for s in specs)
    assert two - one == pytest.approx(three - two, rel=1e-3)
    assert two > one


def test_it_learns_what_x_tells_and_draws_what_it_does_not():
    random, found = seeded(3), learner(VaeSpec(2, (8, 16, 16), latent=1))
    (part,) = found.parts
    optimiser = torch.optim.AdamW(part.module.parameters(), lr=5e-3)
    for _ in range(120):
        optimiser.zero_grad()
        part.loss(batch(random, 8), random).backward()
        optimiser.step()
    found.network.eval()
    data = batch(random, 16)

    def noise(name, channels, stride):
        assert name == "latent"
        return torch.randn(16, channels, 16 // stride, 16 // stride, generator=random)

    with torch.no_grad():
        draws = torch.stack([found.draw(data.condition, noise) for _ in range(16)])
    assert draws.abs().max() <= 1
    assert draws.std(0).mean() == pytest.approx(0.3, rel=0.3)
    within_block = draws[..., :4, :4] - 0.2 * data.condition[:, :1, :4, :4]
    assert within_block.std((-1, -2)).mean() < 0.17  # a block's pixels share its level
    one, mean = (d.sub(data.target).square().mean().sqrt() for d in (draws[0], draws.mean(0)))
    assert 1.15 < one / mean < math.sqrt(2) + 0.1
