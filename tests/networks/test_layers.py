"""The pieces of networks: by hand, by brute force, and by what they must not depend on."""

import copy
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from carbonmap.errors import ModelError
from carbonmap.networks.iidm import Iidm
from carbonmap.networks.layers import (
    FORGET,
    FREE_STEPS,
    MOST_SCALE,
    MOST_SHIFT,
    PLAIN_STEPS,
    Answer,
    BatchRenorm,
    ChannelNorm,
    DoubleConv,
    he,
    normalisation,
    parameters,
    require_sides,
)
from carbonmap.networks.rival_specs import VaeSpec
from carbonmap.networks.specs import IidmSpec, Norm, UnetSpec
from carbonmap.networks.unet import Unet
from carbonmap.networks.vae import Vae

NORMS = get_args(Norm)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(4)


def test_the_channel_norm_is_its_formula():
    layer = ChannelNorm(6)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 6, 5, 4) * 3 + 1
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, correction=0)
    scale, shift = layer.weight.view(1, -1, 1, 1), layer.bias.view(1, -1, 1, 1)
    want = (x - mean) / (variance + layer.eps).sqrt() * scale + shift
    torch.testing.assert_close(layer(x), want)


def test_the_channel_norm_of_a_pixel_does_not_depend_on_the_tile_around_it():
    x = torch.randn(1, 8, 16, 16)
    layer = normalisation("channel", 8)
    assert torch.equal(layer(x)[..., 3:9, 5:6], layer(x[..., 3:9, 5:6]))


def test_the_channel_norm_keeps_channels_last_in_memory():
    x = torch.randn(2, 8, 4, 4).to(memory_format=torch.channels_last)
    assert normalisation("channel", 8)(x).is_contiguous(memory_format=torch.channels_last)


@given(st.integers(1, 300))
def test_groups_divide_the_channels_and_are_the_most_up_to_32(channels):
    groups = normalisation("group", channels).num_groups
    assert channels % groups == 0
    assert groups == 32 if channels % 32 == 0 else groups < 32
    assert not any(channels % more == 0 for more in range(groups + 1, 33))


def test_no_norm_changes_nothing():
    x = torch.randn(1, 3, 2, 2)
    assert normalisation("none", 3)(x) is x


@pytest.mark.parametrize("norm", NORMS)
def test_convolutions_have_a_bias_or_a_norm(norm):
    own = 1 if norm == "none" else 2  # a bias, or a scale and a shift, for each channel
    assert parameters(DoubleConv(3, 8, norm)) == 9 * 8 * (3 + 8) + own * 2 * 8


def test_two_convolutions_are_two_convolutions_padded_with_zeros():
    block = DoubleConv(2, 3, "none")
    first, second = (m for m in block if isinstance(m, nn.Conv2d))
    nn.init.normal_(first.bias)
    nn.init.normal_(second.bias)
    x = want = torch.randn(2, 2, 6, 5)
    for conv in (first, second):
        want = F.conv2d(F.pad(want, (1, 1, 1, 1)), conv.weight, conv.bias).clamp(min=0)
    torch.testing.assert_close(block(x), want)


@pytest.mark.parametrize("norm", NORMS)
def test_every_parameter_of_two_convolutions_learns(norm):
    block = DoubleConv(3, 8, norm)
    block(torch.randn(2, 3, 8, 8)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())


def a_unet():
    return Unet(UnetSpec(3, (16, 8)))(torch.randn(1, 3, 32, 32))


def an_iidm():
    net = Iidm(IidmSpec(3, None, 4, (4, 8), hidden=4, embedding=8, attention_stride=2))
    nn.init.normal_(net.last.weight)
    return net(torch.randn(1, 3, 32, 32), torch.randn(1, 1, 32, 32), torch.tensor([0.5]))


def a_vae():
    return Vae(VaeSpec(3, (16, 8)))(torch.randn(1, 3, 32, 32), torch.randn(1, 8, 16, 16))


@pytest.mark.parametrize("draw", [a_unet, an_iidm, a_vae])
def test_a_map_that_is_counted_in_bfloat16_does_not_come_in_its_steps(draw):
    torch.manual_seed(0)
    single = draw()
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = draw()
    assert got.dtype == torch.float32
    assert (got - single).abs().max() > 1e-4  # all but the last layer did count in bfloat16
    assert (got == got.bfloat16()).float().mean() < 0.01  # by chance, one in 2¹⁶
    assert got.unique().numel() > 900  # of 1024


def test_an_answer_is_a_convolution_of_what_it_is_given():
    x, layer = torch.randn(1, 3, 8, 8), Answer(3, 2, 3, padding=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = layer(x.bfloat16())
    assert torch.equal(got, F.conv2d(x.bfloat16().float(), layer.weight, layer.bias, padding=1))


def test_an_answer_has_a_shape_where_there_are_no_numbers():
    with torch.device("meta"):
        assert Answer(3, 2, 3, padding=1)(torch.empty(4, 3, 8, 6)).shape == (4, 2, 8, 6)


def test_hes_start_keeps_a_signal_alive_through_eight_layers():
    x = torch.randn(64, 512, 2, 2)
    for _ in range(8):
        x = he(nn.Conv2d(512, 512, 1))(x).relu()
    assert 1 / 3 < x.square().mean() < 3  # 4 standard errors; torch's own start gives 6⁻⁸


def test_hes_start_is_two_over_the_fan_in():
    conv, *_ = DoubleConv(64, 64, "none")  # where nothing normalises
    assert conv.weight.var().item() == pytest.approx(2 / (9 * 64), rel=0.04)  # 5 standard errors
    assert not conv.bias.any()


def test_only_what_training_moves_is_counted():
    layers = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    assert parameters(layers) == 9 + 6
    layers[0].requires_grad_(False)
    assert parameters(layers) == 6


@pytest.mark.parametrize("sides", [(31, 32), (32, 40), (8, 8)])
def test_a_tile_that_cannot_be_halved_is_refused_with_its_size(sides):
    with pytest.raises(ModelError, match=rf"the trunk got .* {sides[0]} × {sides[1]} .* of 16"):
        require_sides("the trunk", torch.zeros(1, 1, *sides), 16)
    require_sides("the trunk", torch.zeros(1, 1, 32, 48), 16)


def renorm(channels=3, steps=FREE_STEPS):
    """One that has learned for so many steps, with scales, shifts and statistics of its own."""
    layer = BatchRenorm(channels)
    nn.init.normal_(layer.weight, 1, 0.3)
    nn.init.normal_(layer.bias)
    layer.running_mean.normal_()
    layer.running_var.uniform_(0.5, 2)
    layer.num_batches_tracked.fill_(steps)
    return layer


def test_a_renormalised_batch_learns_by_the_numbers_that_a_map_is_drawn_by():
    x, layer = torch.randn(4, 3, 6, 5) * 1.5 + 0.4, renorm()
    drawn = copy.deepcopy(layer).eval()(x)
    torch.testing.assert_close(layer(x), drawn, rtol=1e-5, atol=1e-5)


def test_its_gradients_are_those_of_its_formula_with_r_and_d_held():
    x, layer = torch.randn(4, 3, 6, 5), renorm()
    wide = (1, 3, 1, 1)
    spread = (layer.running_var + layer.eps).sqrt().view(wide)
    shift = layer.running_mean.clone().view(wide)
    one, other = (x.clone().requires_grad_() for _ in range(2))
    var, mean = torch.var_mean(one, (0, 2, 3), correction=0, keepdim=True)
    own = (var + layer.eps).sqrt()
    r, d = (own / spread).detach(), ((mean - shift) / spread).detach()
    hand = ((one - mean) / own * r + d) * layer.weight.view(wide) + layer.bias.view(wide)
    weights = torch.randn_like(x)
    (hand * weights).sum().backward()
    by_hand, layer.weight.grad = layer.weight.grad, None
    (layer(other) * weights).sum().backward()
    torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.weight.grad, by_hand, rtol=1e-4, atol=1e-5)


def test_it_begins_as_batch_norm():
    plain, layer = nn.BatchNorm2d(3), BatchRenorm(3)
    layer.load_state_dict(plain.state_dict())
    for _ in range(3):
        x = torch.randn(2, 3, 4, 4) * 2 + 3
        torch.testing.assert_close(layer(x), plain(x))
    assert not torch.equal(layer.running_mean, plain.running_mean)


def test_its_running_statistics_are_a_plain_mean_at_first_and_then_a_slow_one():
    layer, means, variances = BatchRenorm(2), [], []
    for _ in range(5):
        x = torch.randn(2, 2, 3, 3)
        layer(x)
        means.append(x.mean((0, 2, 3)))
        variances.append(x.var((0, 2, 3)))
    torch.testing.assert_close(layer.running_mean, torch.stack(means).mean(0))
    torch.testing.assert_close(layer.running_var, torch.stack(variances).mean(0))
    layer.num_batches_tracked.fill_(10_000)
    before, x = layer.running_mean.clone(), torch.randn(2, 2, 3, 3)
    layer(x)
    want = (1 - FORGET) * before + FORGET * x.mean((0, 2, 3))
    torch.testing.assert_close(layer.running_mean, want)
    assert layer.num_batches_tracked == 10_001


@pytest.mark.parametrize(
    ("steps", "scale", "shift"),
    [
        (PLAIN_STEPS, 1.0, 0.0),
        ((PLAIN_STEPS + FREE_STEPS) // 2, (1 + MOST_SCALE) / 2, MOST_SHIFT / 2),
        (FREE_STEPS, MOST_SCALE, MOST_SHIFT),
    ],
)
def test_its_corrections_stay_within_bounds_that_open(steps, scale, shift):
    """A batch a hundred deviations off, and as much wider, meets both bounds."""
    layer = renorm(1, steps)
    layer.running_mean.zero_()
    layer.running_var.fill_(1)
    x = 100 + 100 * torch.randn(2, 1, 8, 8)
    var, mean = torch.var_mean(x, correction=0)
    plain = (x - mean) / (var + layer.eps).sqrt()
    torch.testing.assert_close(layer(x), (plain * scale + shift) * layer.weight + layer.bias)


def test_gradients_reach_through_a_renormalised_batchs_own_statistics():
    """With batch norm alone a batch's mean has no gradient; here too, as r and d have none."""
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    layer = renorm()
    (layer(x) * torch.randn(1, 3, 1, 1)).sum().backward()
    torch.testing.assert_close(x.grad.sum((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
