"""Folded networks: the same outputs, no batch norm, and nothing else touched."""

import pytest
import torch
from torch import nn

from carbonmap.networks.fold import folded
from carbonmap.networks.layers import ChannelNorm, DoubleConv
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


@pytest.mark.parametrize("norm", ["batch", "channel", "group", "none"])
def test_a_folded_unet_draws_the_same_map(norm):
    unet = lived(Unet(UnetSpec(3, (8, 16, 24), norm=norm, dropout=0.3)))
    x = torch.randn(2, 3, 32, 32)
    fast = folded(unet)
    with torch.inference_mode():
        want = unet.eval()(x)
        got = fast(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5 * want.abs().max().item())
    assert len(norms(fast)) == (0 if norm == "batch" else len(norms(unet)))


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
    """A convolution and a batch norm that something comes between, and a norm on its own."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2)
        self.last = nn.Sequential(nn.ConvTranspose2d(2, 2, 2), nn.BatchNorm2d(2), nn.ReLU())

    def forward(self, x):
        return self.last(self.norm(self.conv(x) + 1))


def test_a_norm_that_does_not_follow_its_convolution_in_a_sequence_stays():
    module = lived(Apart()).eval()
    x = torch.randn(1, 2, 8, 8)
    fast = folded(module)
    assert len(norms(fast)) == 2
    torch.testing.assert_close(fast(x), module(x))
