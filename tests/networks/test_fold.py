"""Folded networks: the same outputs, no batch norm, and nothing else touched."""

import pytest
import torch
from torch import nn

from carbonmap.networks.fold import folded
from carbonmap.networks.gan import PixGenerator
from carbonmap.networks.layers import ChannelNorm, DoubleConv
from carbonmap.networks.rival_specs import GanSpec
from carbonmap.networks.specs import UnetSpec, VggSpec
from carbonmap.networks.unet import Unet
from carbonmap.networks.vgg import Pyramid


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(7)


def lived(module):
    """The module with such statistics, scales and shifts as training leaves."""
    for held in module.modules():
        if isinstance(held, nn.BatchNorm2d):
            nn.init.normal_(held.running_mean)
            nn.init.uniform_(held.running_var, 0.3, 3)
            nn.init.normal_(held.weight, 1, 0.3)
            nn.init.normal_(held.bias)
    return module


def norms(module):
    return [
        m for m in module.modules() if isinstance(m, nn.BatchNorm2d | nn.GroupNorm | ChannelNorm)
    ]


@pytest.mark.parametrize("norm", ["batch", "renorm", "channel", "group", "none"])
def test_a_folded_unet_draws_the_same_map(norm):
    unet = lived(Unet(UnetSpec(3, (8, 16, 24), norm=norm, dropout=0.3)))
    x = torch.randn(2, 3, 32, 32)
    fast = folded(unet)
    with torch.inference_mode():
        want = unet.eval()(x)
        got = fast(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5 * want.abs().max().item())
    assert len(norms(fast)) == (0 if norm in ("batch", "renorm") else len(norms(unet)))


def test_a_folded_gan_draws_the_same_map_without_a_norm():
    """Its encoder's norms follow convolutions, its decoder's transposed ones."""
    network = lived(PixGenerator(GanSpec(3, (4, 6, 10, 8)))).eval()
    x, noise = torch.randn(2, 3, 32, 32), torch.randn(2, 1, 32, 32)
    fast = folded(network)
    with torch.inference_mode():
        want = network(x, noise)
        torch.testing.assert_close(fast(x, noise), want, rtol=0, atol=1e-6)
    assert want.std() > 1e-3
    assert len(norms(network)) == 2 + 3
    assert norms(fast) == []


def test_the_pyramid_which_has_no_norms_stays_as_it_is():
    pyramid = Pyramid(VggSpec(11, (4,) * 8), 3, 4).eval()
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(folded(pyramid)(x), pyramid(x), rtol=1e-5, atol=1e-5)


def test_the_folded_convolution_is_the_formula():
    block = lived(DoubleConv(2, 4, "batch"))
    conv, norm, *_ = block
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    fast = folded(block)
    torch.testing.assert_close(fast[0].weight, conv.weight * scale.view(-1, 1, 1, 1))
    torch.testing.assert_close(fast[0].bias, norm.bias - norm.running_mean * scale)


def test_the_folded_transposed_convolution_is_the_formula():
    conv, norm = block = lived(nn.Sequential(nn.ConvTranspose2d(2, 3, 4, 2, 1), nn.BatchNorm2d(3)))
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    fast = folded(block)[0]
    torch.testing.assert_close(fast.weight, conv.weight * scale.view(1, -1, 1, 1))
    torch.testing.assert_close(fast.bias, norm.bias + (conv.bias - norm.running_mean) * scale)


def test_the_network_itself_goes_on_learning_unchanged():
    unet = lived(Unet(UnetSpec(3, (4, 8)))).train()
    before = {key: value.clone() for key, value in unet.state_dict().items()}
    fast = folded(unet)
    assert unet.training
    assert not fast.training
    after = unet.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert unet.first[0].weight.is_contiguous()


def test_weights_lie_with_their_channels_last():
    weight = folded(Unet(UnetSpec(3, (4, 8)))).first[3].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


class Apart(nn.Module):
    """A batch norm on its own, one before its convolution, and one that something comes before."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2)
        self.last = nn.Sequential(
            nn.BatchNorm2d(2), nn.ConvTranspose2d(2, 2, 2), nn.ReLU(), nn.BatchNorm2d(2)
        )

    def forward(self, x):
        return self.last(self.norm(self.conv(x) + 1))


def test_a_norm_that_does_not_follow_its_convolution_in_a_sequence_stays():
    module = lived(Apart()).eval()
    x = torch.randn(1, 2, 8, 8)
    fast = folded(module)
    assert len(norms(fast)) == 3
    torch.testing.assert_close(fast(x), module(x))
