"""The running mean against its recurrence in plain numbers, and resumption to the bit."""

import copy

import pytest
import torch
from torch import nn

from carbonmap.diffusion.ema import Ema


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 1, 1))


def train(net, ema, generator, steps):
    """Steps of an optimiser without a memory of its own."""
    net.train()
    for _ in range(steps):
        x = torch.randn(4, 2, 6, 6, generator=generator)
        net.zero_grad()
        net(x).square().mean().backward()
        with torch.no_grad():
            for p in net.parameters():
                p -= 0.1 * p.grad
        ema.update(net)


def test_the_mean_follows_the_recurrence_with_its_decay_warming_up():
    net = nn.Linear(1, 1, bias=False)
    ema = Ema(net, decay=0.8)
    want = None
    for n, value in enumerate([3.0, -1.0, 4.0, 1.0, -5.0, *map(float, range(50))]):
        with torch.no_grad():
            net.weight.fill_(value)
        ema.update(net)
        d = min(0.8, (1 + n) / (10 + n)) if n else 0.0  # the first update copies
        want = value if want is None else d * want + (1 - d) * value
        assert ema.module.weight.item() == pytest.approx(want, rel=1e-5)


def test_a_network_that_stands_still_is_its_mean_to_the_bit():
    net = network()
    ema = Ema(net)
    for _ in range(20):
        ema.update(net)
    for mine, its in zip(ema.module.state_dict().values(), net.state_dict().values(), strict=True):
        assert torch.equal(mine, its)


def test_batch_norms_statistics_are_averaged_and_their_counters_copied():
    net = network()
    ema = Ema(net)
    for k in range(3):
        net[1].running_mean.fill_(float(k))
        net[1].num_batches_tracked.fill_(10 + k)
        ema.update(net)
    first = 2 / 11 * 0 + 9 / 11 * 1
    want = 3 / 12 * first + 9 / 12 * 2
    assert torch.allclose(ema.module[1].running_mean, torch.full((3,), want))
    assert ema.module[1].num_batches_tracked.item() == 12


def test_the_mean_is_a_copy_that_learns_nothing_itself():
    net = network()
    ema = Ema(net)
    train(net, ema, torch.Generator().manual_seed(0), 3)
    before = ema.module[0].weight.clone()
    with torch.no_grad():
        net[0].weight.add_(1)
    assert torch.equal(ema.module[0].weight, before)
    assert not any(p.requires_grad for p in ema.module.parameters())
    assert all(p.requires_grad for p in net.parameters())


def test_a_resumed_mean_equals_an_unbroken_one_to_the_bit():
    generator = torch.Generator().manual_seed(0)
    net = network()
    ema = Ema(net, 0.9)
    train(net, ema, generator, 7)
    saved, weights = copy.deepcopy(ema.state()), copy.deepcopy(net.state_dict())
    place = generator.get_state()
    train(net, ema, generator, 6)

    again = network(seed=5)
    again.load_state_dict(weights)
    resumed = Ema(again, 0.9)
    for name, value in resumed.state().items():
        value.copy_(saved[name])
    train(again, resumed, torch.Generator().set_state(place), 6)
    assert ema.state().keys() == resumed.state().keys()
    assert all(torch.equal(ema.state()[k], resumed.state()[k]) for k in ema.state())
    assert all(isinstance(value, torch.Tensor) for value in saved.values())


def test_applied_lends_the_mean_and_gives_back_the_networks_own_values_even_after_an_error():
    net = network()
    ema = Ema(net)
    train(net, ema, torch.Generator().manual_seed(0), 5)
    own = copy.deepcopy(net.state_dict())

    def use():
        with ema.applied(net):
            assert all(torch.equal(v, ema.module.state_dict()[k]) for k, v in _state(net))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        use()
    assert all(torch.equal(v, own[k]) for k, v in _state(net))
    assert not torch.equal(own["0.weight"], ema.module[0].weight)


def _state(net):
    return net.state_dict().items()


def test_copy_to_makes_another_network_the_mean():
    net, other = network(), network(seed=9)
    ema = Ema(net)
    train(net, ema, torch.Generator().manual_seed(0), 5)
    ema.copy_to(other)
    assert all(torch.equal(v, ema.module.state_dict()[k]) for k, v in _state(other))
    assert other[0].weight.requires_grad
