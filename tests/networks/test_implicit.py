import numpy as np
import pytest
import torch

from carbonmap.networks.implicit import ImplicitUpsample


def gathered(net, images):
    """For each fine pixel: the coarse pixel it lies in, its offset from it, two layers of these."""
    rows, cols = (2 * n for n in images.shape[-2:])
    place = [(torch.arange(n, dtype=images.dtype) + 0.5) / 2 - 0.5 for n in (rows, cols)]
    row, col = torch.meshgrid(*place, indexing="ij")
    nearest = torch.floor(row + 0.5).long(), torch.floor(col + 0.5).long()
    offset = torch.stack([row - nearest[0], col - nearest[1]], -1)
    feature = images[:, :, nearest[0], nearest[1]].permute(0, 2, 3, 1)
    inputs = torch.cat([feature, offset.expand(len(images), -1, -1, -1)], -1)
    first = torch.cat([net.of_feature.weight[:, :, 0, 0], net.of_offset.weight], 1)
    hidden = torch.relu(inputs @ first.T + net.of_feature.bias)
    return (hidden @ net.last.weight.T + net.last.bias).permute(0, 3, 1, 2)


def drawn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(cin=3, cout=2, hidden=7):
    torch.manual_seed(0)
    return ImplicitUpsample(cin, cout, hidden)


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (3, 5), (4, 7), (8, 8)])
def test_it_is_a_perceptron_of_nearest_feature_and_offset_gathered_for_each_pixel(size):
    net, images = network().double(), drawn(2, 3, *size)
    torch.testing.assert_close(net(images), gathered(net, images), rtol=0, atol=1e-12)


def test_single_precision_and_channels_last_change_rounding_alone():
    net, images = network(), drawn(2, 3, 5, 3).float()
    want = gathered(net, images)
    torch.testing.assert_close(net(images), want, rtol=0, atol=1e-6)
    last = images.to(memory_format=torch.channels_last)
    torch.testing.assert_close(net(last), want, rtol=0, atol=1e-6)
    assert net(last).is_contiguous(memory_format=torch.channels_last)


def test_offsets_are_the_centres_of_quarters_of_a_pixel():
    net = network(1, 1, 2).double()
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
        net.of_offset.weight.copy_(torch.eye(2))
        net.of_feature.bias.fill_(1.0)
        net.last.weight.copy_(torch.tensor([[10.0, 1.0]]))
    got = net(torch.zeros(1, 1, 1, 1, dtype=torch.float64))[0, 0].detach().numpy()
    np.testing.assert_array_equal(got, [[7.5 + 0.75, 7.5 + 1.25], [12.5 + 0.75, 12.5 + 1.25]])


def test_it_is_no_linear_map_and_every_parameter_learns():
    net, images = network().double(), drawn(1, 3, 4, 4)
    nothing = net(torch.zeros_like(images))
    assert (net(2 * images) - nothing - 2 * (net(images) - nothing)).abs().max() > 1e-2
    net(images).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in net.parameters())
