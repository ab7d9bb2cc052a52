import math

import torch
from torch.nn import functional as F

from carbonmap.learning.gan import BETAS, GanLearner
from carbonmap.learning.learner import Batch
from carbonmap.networks.rival_specs import GanSpec

SPEC = GanSpec(2, (8, 8), discriminator=(4, 6))


def learner(spec=SPEC):
    torch.manual_seed(0)
    return GanLearner.of(spec)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(random, count=3, side=32):
    x = torch.randn(count, 2, side // 4, side // 4, generator=random)
    x = x.repeat_interleave(4, 2).repeat_interleave(4, 3)
    y = (0.5 * x[:, :1] - 0.2).clamp(-1, 1)
    weight = torch.zeros_like(y)
    weight[..., : side // 2, 4:] = 1
    return Batch(x, y, weight)


def gradients(module):
    return [p.grad for p in module.parameters() if p.grad is not None]


def test_the_losses_are_the_papers_over_patches_that_hold_a_known_pixel():
    found, data = learner(), batch(seeded())
    one, two = (part.loss(data, seeded(5)) for part in found.parts)
    noise = torch.randn(3, 1, 32, 32, generator=seeded(5))
    drawn = found.network(data.condition, noise)
    held = found.discriminator.seen(data.weight) > 0
    true = found.discriminator(data.condition, data.target, data.weight)[held].sigmoid()
    false = found.discriminator(data.condition, drawn, data.weight)[held].sigmoid()
    assert 0 < held.sum() < held.numel()
    want = -(true.log().mean() + (1 - false).log().mean()) / 2
    torch.testing.assert_close(one, want, rtol=1e-5, atol=1e-6)
    apart = F.l1_loss(drawn[data.weight > 0], data.target[data.weight > 0])
    torch.testing.assert_close(two, -false.log().mean() + 100 * apart, rtol=1e-5, atol=1e-5)


def test_each_part_moves_its_own_weights_all_of_them_and_no_others():
    for number in (0, 1):
        found = learner()
        found.parts[number].loss(batch(seeded()), seeded()).backward()
        others = found.parts[1 - number].module
        assert gradients(others) == []
        for name, p in found.parts[number].module.named_parameters():
            assert p.grad is not None, name
            assert p.grad.abs().max() > 0, name


def test_an_unknown_target_moves_neither_part():
    for number in (0, 1):
        found = []
        for junk in (-1.0, 0.7, math.nan):
            one, data = learner(), batch(seeded())
            data.target[data.weight == 0] = junk
            one.parts[number].loss(data, seeded()).backward()
            found.append(torch.cat([g.flatten() for g in gradients(one.parts[number].module)]))
        assert torch.equal(found[0], found[1])
        assert torch.equal(found[0], found[2])


def test_no_gradient_reaches_an_unknown_pixel_and_every_known_one_has_some():
    found, data = learner(GanSpec(2, (8, 8), discriminator=(4, 6), l1_weight=0.0)), batch(seeded())
    drawn = torch.zeros_like(data.target).requires_grad_()
    found.judged(drawn, data).backward()
    assert torch.equal(drawn.grad != 0, data.weight > 0)


def test_the_discriminator_has_no_cue_where_nothing_is_known():
    found, data = learner(), batch(seeded())
    data.weight.zero_()
    drawn = found.network(data.condition, torch.randn(3, 1, 32, 32, generator=seeded()))
    true, false = (
        found.discriminator(data.condition, y, data.weight) for y in (data.target, drawn)
    )
    assert torch.equal(true, false)
    for part in found.parts:
        assert part.loss(data, seeded()) == 0


def test_parts_are_in_order_with_the_papers_betas_and_one_network_to_keep():
    found = learner()
    assert [p.name for p in found.parts] == ["discriminator", "generator"]
    assert found.parts[-1].module is found.network
    assert found.parts is found.parts
    assert {p.betas for p in found.parts} == {BETAS} == {(0.5, 0.999)}


def test_it_learns_inside_the_weight():
    random, found = seeded(3), learner()
    optimisers = [
        torch.optim.AdamW(p.module.parameters(), lr=2e-3, betas=p.betas) for p in found.parts
    ]

    def apart(data):
        found.network.eval()
        with torch.no_grad():
            drawn = found.draw(data.condition, lambda _, c: torch.zeros(3, c, 32, 32))
        found.network.train()
        return (drawn - data.target)[data.weight > 0].abs().mean()

    data = batch(seeded(9))
    before = apart(data)
    for _ in range(60):
        step = batch(random)
        for part, optimiser in zip(found.parts, optimisers, strict=True):
            optimiser.zero_grad()
            part.loss(step, random).backward()
            optimiser.step()
    assert apart(data) < before / 2


def test_a_draw_asks_for_its_noise_by_name():
    found, asked = learner(), []
    condition = batch(seeded()).condition

    def noise(name, channels):
        asked.append((name, channels))
        return torch.zeros(3, channels, 32, 32)

    with torch.no_grad():
        found.network.eval()
        found.draw(condition, noise)
    assert asked == [("generator", 1)]
