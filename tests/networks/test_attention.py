import math

import pytest
import torch

from carbonmap.networks.attention import Concatenation, CrossAttention, Fusion


def drawn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normed(values, layer):
    """Each row to mean 0 and variance 1, scaled and shifted."""
    centred = values - values.mean(1, keepdim=True)
    scale = (centred.square().mean(1, keepdim=True) + layer.eps).sqrt()
    return centred / scale * layer.weight + layer.bias


def by_hand(net, u, f):
    """Softmax attention of one tile, pixel by pixel and head by head."""
    channels = u.shape[0]
    of_u = normed(u.reshape(channels, -1).T, net.norm_u)
    of_f = normed(f.reshape(f.shape[0], -1).T, net.norm_f)
    query, key, value = (
        of_u @ net.query.weight.T,
        of_f @ net.key.weight.T,
        of_f @ net.value.weight.T,
    )
    size, found = channels // net.heads, []
    for head in range(net.heads):
        own = slice(head * size, (head + 1) * size)
        for_pixel = []
        for pixel in range(len(query)):
            likeness = torch.exp(key[:, own] @ query[pixel, own] / math.sqrt(size))
            for_pixel.append((likeness / likeness.sum()) @ value[:, own])
        found.append(torch.stack(for_pixel))
    joined = torch.cat(found, 1) @ net.out.weight.T + net.out.bias
    return u + joined.T.reshape(u.shape)


@pytest.fixture
def attention():
    torch.manual_seed(0)
    net = CrossAttention(6, 5, 3).double()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return net


@pytest.mark.parametrize("size", [(4, 4), (3, 5), (1, 1)])
def test_attention_is_a_softmax_of_products_written_out(attention, size):
    u, f = drawn(2, 6, *size), drawn(2, 5, *size, seed=2)
    want = torch.stack([by_hand(attention, a, b) for a, b in zip(u, f, strict=True)])
    torch.testing.assert_close(attention(u, f), want, rtol=0, atol=1e-12)
    last = u.to(memory_format=torch.channels_last)
    torch.testing.assert_close(attention(last, f), want, rtol=0, atol=1e-12)


def test_concatenation_is_one_convolution_of_both_side_by_side():
    torch.manual_seed(0)
    net = Concatenation(4, 3).double()
    u, f = drawn(2, 4, 3, 5), drawn(2, 3, 3, 5, seed=2)
    weight = torch.cat([net.of_u.weight, net.of_f.weight], 1)
    want = torch.nn.functional.conv2d(torch.cat([u, f], 1), weight, net.of_u.bias)
    torch.testing.assert_close(net(u, f), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "net", [CrossAttention(4, 3, 2), Concatenation(4, 3), Fusion(4, 3, 1), Fusion(4, 3, None)]
)
def test_one_tiles_features_serve_all_of_its_draws(net):
    net = net.double()
    u, f = drawn(3, 4, 4, 4), drawn(1, 3, 4, 4, seed=2)
    apart = torch.cat([net(u[k : k + 1], f) for k in range(3)])
    torch.testing.assert_close(net(u, f), apart, rtol=0, atol=1e-12)
    torch.testing.assert_close(net(u, f.repeat(3, 1, 1, 1)), apart, rtol=0, atol=1e-12)


def test_a_pixel_sees_the_whole_tile_with_attention_and_itself_alone_without():
    torch.manual_seed(0)
    f = drawn(1, 3, 4, 4, seed=2)
    other = f.clone()
    other[:, 0, 0, 0] += 1
    u = drawn(1, 4, 4, 4)
    for heads, seen in ((1, 16), (None, 1)):
        net = Fusion(4, 3, heads).double()
        changed = (net(u, other) - net(u, f)).abs().sum(1) > 0
        assert changed.sum() == seen
        assert changed[0, 0, 0]


@pytest.mark.parametrize("heads", [1, 2, None])
def test_every_parameter_of_the_fusion_learns(heads):
    torch.manual_seed(0)
    net = Fusion(4, 3, heads).double()
    net(drawn(1, 4, 4, 4), drawn(1, 3, 4, 4, seed=2)).square().sum().backward()
    assert all(p.grad.abs().max() > 1e-9 for p in net.parameters())
