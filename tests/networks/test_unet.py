"""The plain U-Net: published counts, and the network again from its weights alone."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from carbonmap.errors import ModelError
from carbonmap.networks.layers import parameters
from carbonmap.networks.specs import UnetSpec
from carbonmap.networks.unet import Unet

TEACHER = (64, 128, 256, 512, 1024)
STUDENT = (44, 88, 176, 352, 704)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(6)


def by_functions(unet, x):
    """The network without normalisation from its weights, in the order in which they are met."""
    state = unet.state_dict()

    def double(name, x):
        for place in (0, 3):
            kernels, bias = state[f"{name}.{place}.weight"], state[f"{name}.{place}.bias"]
            x = F.conv2d(F.pad(x, (1, 1, 1, 1)), kernels, bias).clamp(min=0)
        return x

    skips = [double("first", x)]
    levels = len(unet.spec.widths) - 1
    for level in range(levels):
        skips.append(double(f"down.{level}", F.max_pool2d(skips[-1], 2)))
    x = skips.pop()
    for level in range(levels):
        b, _, rows, cols = x.shape
        each = torch.einsum("bcij,cdkl->bdikjl", x, state[f"rise.{level}.weight"])
        risen = each.reshape(b, -1, 2 * rows, 2 * cols)
        risen = risen + state[f"rise.{level}.bias"].view(1, -1, 1, 1)
        x = double(f"up.{level}", torch.cat([skips.pop(), risen], 1))
    return F.conv2d(x, state["last.weight"], state["last.bias"])


@pytest.mark.parametrize(
    ("spec", "published"),
    [
        (UnetSpec(3, TEACHER, 2), 31_037_698),
        (UnetSpec(3, TEACHER, 1), 31_037_633),
        (UnetSpec(3, STUDENT, 1), 14_673_253),
        (UnetSpec(3, STUDENT, 2), 14_673_298),
        (UnetSpec(7, STUDENT, 1), 14_673_253 + 1_584),
    ],
)
def test_the_network_has_the_published_parameters(spec, published):
    with torch.device("meta"):
        assert parameters(Unet(spec)) == published


@pytest.mark.parametrize(("widths", "out", "published"), [(TEACHER, 2, 96.34), (STUDENT, 1, 45.58)])
def test_the_network_multiplies_as_often_as_was_measured(widths, out, published):
    with torch.device("meta"), FlopCounterMode(display=False) as counted:
        Unet(UnetSpec(3, widths, out))(torch.empty(1, 3, 256, 256))
    assert counted.get_total_flops() / 1e9 == pytest.approx(published, abs=0.02)


@pytest.mark.parametrize("widths", [(4, 8, 16), (5, 3, 7, 4), (6,)])
def test_the_network_is_its_convolutions_poolings_and_skips(widths):
    unet = Unet(UnetSpec(2, widths, 3, "none"))
    x = torch.randn(2, 2, 24, 16)
    torch.testing.assert_close(unet(x), by_functions(unet, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "renorm", "channel", "group", "none"])
def test_every_parameter_learns(norm):
    unet = Unet(UnetSpec(3, (4, 8, 12), norm=norm, dropout=0.1))
    unet(torch.randn(2, 3, 16, 16)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in unet.parameters())


def test_a_tiles_map_does_not_depend_on_the_batch():
    unet = Unet(UnetSpec(3, (4, 8, 12)))
    unet(torch.randn(4, 3, 16, 16))  # statistics that are not the start's
    unet.eval()
    x = torch.randn(3, 3, 16, 16)
    apart = torch.cat([unet(tile[None]) for tile in x])
    torch.testing.assert_close(unet(x), apart, rtol=1e-5, atol=1e-6)


def test_dropout_drops_whole_channels_of_the_coarsest_level_and_only_in_training():
    unet = Unet(UnetSpec(3, (4, 64), norm="none", dropout=0.5))
    seen = []
    unet.dropout.register_forward_hook(lambda _, given, got: seen.append((given[0], got)))
    x = torch.randn(1, 3, 16, 16)
    unet(x)
    (before, after), channels = seen.pop(), (0, 2, 3)
    dead = after.abs().sum(channels) == 0
    silent = before.abs().sum(channels) == 0
    assert 10 < (dead & ~silent).sum() < 54  # of 64, half: 5 standard errors
    torch.testing.assert_close(after[:, ~dead], 2 * before[:, ~dead])
    unet.eval()
    assert torch.equal(unet(x), unet(x))


@pytest.mark.parametrize(("rows", "cols"), [(24, 20), (20, 24), (4, 8)])
def test_a_tile_that_cannot_be_halved_is_refused(rows, cols):
    with pytest.raises(ModelError, match=rf"U-Net got a tile of {rows} × {cols} pixels; .* of 8"):
        Unet(UnetSpec(1, (2, 2, 2, 2)))(torch.zeros(1, 1, rows, cols))
